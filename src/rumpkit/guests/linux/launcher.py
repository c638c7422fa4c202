"""A starter that is kept ready, so that a program need not wait until a Python interpreter has started.

Between `ready`, which it runs, and `spawn`, which gives it plans.  The starter is a child of this process, does nothing until it gets a
plan, and goes when its service socket is closed, here or by our death.  A program inherits from its starter what it would inherit from
us: limits, umask, process group, ignored signals, control group.  So where any of that has changed since the starter began, or this
is not the process that has started it, it is exchanged for a new one.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Final, final

_STATUS: Final = (
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "Cap",
    "NoNewPrivs",
    "Seccomp:",
    "SigIgn",
    "Cpus_allowed:",
    "Mems_allowed:",
)
"""The lines of /proc/self/status that say what a child inherits."""
_LINKS: Final = ("root", "ns/mnt", "ns/net", "ns/user", "ns/pid_for_children", "ns/ipc", "ns/uts", "ns/cgroup")
_FILES: Final = ("limits", "cgroup", "oom_score_adj", "personality")
_OUT_OF_THE_WAY: Final = 10
_NUMBER: Final = 4
"""The size of a process id."""
SERVICE: Final = 3
"""The starter's number for its service socket."""
START: Final = b"S"
DISCARD: Final = b"D"
"""What it is told to do with the descriptors that come."""


def surroundings() -> tuple[object, ...]:
    """What a child of this process inherits, as far as it can change meanwhile."""
    found: list[object] = [os.getpid(), os.getpgrp(), os.getsid(0), os.getpriority(os.PRIO_PROCESS, 0)]
    found += [line for line in _read("status").splitlines() if line.startswith(_STATUS)]
    found += map(_read, _FILES)
    for name in _LINKS:
        try:
            found.append(os.readlink(f"/proc/self/{name}"))
        except OSError:
            found.append("")
    return tuple(found)


def _read(name: str) -> str:
    try:
        with open(f"/proc/self/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


@final
class Launcher:
    """At most one starter.  May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._service: socket.socket | None = None
        self._process = 0
        self._surroundings: tuple[object, ...] = ()

    def prepare(self) -> None:
        """Have a starter ready soon.  Raises OSError."""
        with self._lock:
            self._ensure()

    def launch(self, descriptors: tuple[int, ...]) -> None:
        """Give the starter a program to start: its standard streams, the plan in a memory file, the control and supply sockets.
        Raises OSError."""
        with self._lock:
            try:
                self._send(descriptors)
            except (BrokenPipeError, ConnectionResetError):  # somebody has killed it
                self._give_up()
                self._send(descriptors)

    def discard(self, descriptors: Sequence[int]) -> None:
        """Close descriptors whose last close takes long: Linux waits for tens of milliseconds while a network device or a packet socket
        goes.  Where there is a starter, it has a child of its own wait."""
        with self._lock:
            try:
                if descriptors and self._service is not None and self._surroundings[0] == os.getpid():
                    socket.send_fds(self._service, [DISCARD], descriptors)
            except OSError:  # they are closed here, then
                pass
        for fd in descriptors:
            os.close(fd)

    def _send(self, descriptors: tuple[int, ...]) -> None:
        socket.send_fds(self._ensure(), [START], descriptors)

    def _ensure(self) -> socket.socket:
        now = surroundings()
        if self._service is not None and now != self._surroundings:
            self._give_up()
        if self._service is None:
            self._service, self._process = _start()
            self._surroundings = now
        else:
            _bury_unneeded(self._service, socket.MSG_DONTWAIT)
        return self._service

    def _give_up(self) -> None:
        service, self._service = self._service, None
        if service is None:
            return
        with service:
            if self._surroundings[0] != os.getpid():
                return
            service.shutdown(socket.SHUT_WR)
            _bury_unneeded(service, 0)
        _bury(self._process)

    def close(self) -> None:
        """Let the starter go; what it has started stays."""
        with self._lock:
            self._give_up()


def _bury_unneeded(service: socket.socket, flags: int) -> None:
    """The inits that the starter says have been for nothing; without `flags`, until it ends."""
    try:
        while note := service.recv(_NUMBER, flags):
            _bury(int.from_bytes(note, sys.byteorder))
    except (BlockingIOError, ConnectionResetError):  # there are none, or somebody has killed the starter
        pass


def _bury(process: int) -> None:
    try:
        os.waitpid(process, 0)
    except ChildProcessError:  # somebody waits for any child in this process
        pass


def _start() -> tuple[socket.socket, int]:
    """posix_spawn, which is safe where there are threads; our end, and the starter's process id."""
    package = os.path.abspath(__file__).rsplit("/", 4)[0]
    code = "import gc, sys; gc.disable(); "  # it would look for garbage a dozen times while it loads
    code += f"sys.path.insert(0, {package!r}); from rumpkit.guests.linux.ready import main; main()"
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        try:
            actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
                (os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in range(SERVICE)
            ]
            # Ours may be one of the numbers above.
            with socket.socket(fileno=_moved(its.fileno())) as moved:
                actions.append((os.POSIX_SPAWN_DUP2, moved.fileno(), SERVICE))
                process = os.posix_spawn(
                    sys.executable,
                    [sys.executable, "-I", "-S", "-c", code],
                    {},
                    file_actions=actions,
                    setsigmask=signal.valid_signals(),
                )
        except BaseException:
            ours.close()
            raise
    return ours, process


def _moved(fd: int) -> int:
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    return fcntl(fd, F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)


# The one that all programs of this process share ---------------------------------------------------------------------

_shared: Final = Launcher()
_shares: Final[set["Share"]] = set()
_lock: Final = threading.Lock()


def prepare() -> None:
    """A program will be started in a moment: have a starter ready.  What fails now is told when it is."""
    try:
        _shared.prepare()
    except OSError:
        pass


@final
class Share:
    """A part in the launcher of this process, which keeps a starter ready until the last part is closed."""

    def __init__(self) -> None:
        self.launcher = _shared
        with _lock:
            _shares.add(self)

    def close(self) -> None:
        """Start no more programs.  A second call does nothing."""
        with _lock:
            if self in _shares:
                _shares.remove(self)
                if not _shares:
                    _shared.close()
