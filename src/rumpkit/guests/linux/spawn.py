"""Launching a program in its sandbox, and what can be done with it from outside: signals, its end, killing it.

Above `launcher` and `starter` (the other side of the conversation), below `guest`.  Takes a few milliseconds where a launcher has
a starter ready, and otherwise some 30, and waits meanwhile: never call it on the schedule.

Who gets a signal: the program stays in the caller's process group and session.  Ctrl-C on a terminal therefore reaches
it directly, as under a shell, and the supervisor as well, which must not pass SIGINT on a second time.  `send` is for
signals that come to the supervisor alone.
"""

import marshal
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, TypedDict, cast, final

from ...kern.abi.errno import EPIPE
from . import abi, check, handed, ids, libc, own_group
from .family import pid_of, send_to_group
from .filter import build, build_tracing
from .launcher import Launcher
from .plan import NO_KERNEL, KernelSide, ProgramPlan
from .root import Root, planned

_NOTE_SIZE: Final = 1 << 16
_WITH_IPV6: Final = 4
"""Descriptors that come with the note of being ready, at least, if the namespace has IPv6."""
_MOST_DEVICES: Final = 128
_MOST_DESCRIPTORS: Final = 1 + _MOST_DEVICES
"""Descriptors that come with one note, at most."""
START_TIMEOUT: Final = 20.0
"""Seconds that a start may take on a loaded machine before it counts as failed."""


class RootPlan(TypedDict):
    """What the program's root is; see `root.Root`."""

    source: str
    kernel: bool
    read_only: bool
    shown: list[tuple[str, bool]]
    hidden: list[str]
    scratch: list[tuple[str, int]]
    size: int
    options: str
    name: str


class StarterPlan(TypedDict):
    """What the starter is told: of a `ProgramPlan` what it can't know or decide itself, and of a `KernelSide`."""

    supervisor: int
    namespaces: int
    users: list[tuple[int, int, int]]
    groups: list[tuple[int, int, int]]
    helpers: list[str]
    hostname: str
    files: dict[str, bytes]
    hidden: list[str]
    mirrored: dict[str, list[str]]
    root: RootPlan | None
    mounts: list[tuple[str, str, bool]]
    six: bool
    devices: int
    sockets_shown: bool
    sysctls: dict[str, bytes]
    filter: bytes
    tracing: bytes
    """A second one, for a tracer; empty where there is none that wants it."""
    user: tuple[int, int, list[int]] | None
    directory: str
    mask: list[int]
    command: list[str]
    environment: dict[str, str]
    terminal: bool
    limits: list[tuple[int, int, int]]
    group: str
    group_shown: str
    """What it sees where it has none of its own."""


HIDDEN: Final = ("/run/systemd/resolve", "/run/nscd", "/var/run/nscd")
"""Where the host's own name services listen: behind them a program would see the host's network and not ours."""


@final
class Program:
    """A running program, from the supervisor's side.  Not thread-safe: one thread calls `poll` and `wait`."""

    def __init__(
        self,
        init: int,
        pidfd: int,
        listener: int,
        control: socket.socket,
        supply: socket.socket,
    ) -> None:
        self.init = init
        """Process id of its init; killing that ends everything."""
        self.pidfd = pidfd
        """Of the program's first process; readable when that has ended."""
        self.listener = listener
        self.inject = -1
        self.capture = -1
        self.inject6 = -1
        self.capture6 = -1
        """The same of IPv6; -1 where the kernel has none."""
        self.obituaries = -1
        """Where Linux tells of closed UDP sockets; -1 if it does not."""
        self.supply = supply
        self.own_proc = True
        """Whether /proc shows the program its own process ids."""
        self.files: dict[str, int] = {}
        """Descriptors of its private files."""
        self.uncovered: list[str] = []
        """Private files that could not be shown because the host has no such file."""
        self.refused: dict[str, str] = {}
        """Mounts that could not be made in its namespace, and why."""
        self.status: int | None = None
        """The wait status of the first process once it has ended (os.waitstatus_to_exitcode knows it)."""
        self.control = control
        """Readable when there is something for `poll`."""
        self.discard: Callable[[Sequence[int]], None] = close_all
        """Closes descriptors whose last close takes Linux long."""

    def write_file(self, path: str, content: bytes) -> None:
        """Write a private file again.  Nothing happens where it has none of that path."""
        fd = self.files.get(path, -1)
        if fd >= 0:
            os.pwrite(fd, content, 0)
            os.ftruncate(fd, len(content))

    def take(self, name: str) -> int:
        """Take one of the descriptors over: the caller closes it."""
        fd: int = getattr(self, name)
        setattr(self, name, -1)
        return fd

    def send(self, number: int) -> bool:
        """Send a signal to the program's first process, and to what it has started in its process group, as timeout(1) does;
        False if the first process has ended."""
        leader = pid_of(self.pidfd)
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return False
        if leader > 0:
            send_to_group(self.init, leader, number)
        return True

    def poll(self) -> int | None:
        """The wait status if the program has ended.  Never blocks."""
        return self._listen(0.0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the program ends (at most `timeout` seconds); its wait status, or None."""
        return self._listen(timeout)

    def _listen(self, timeout: float | None) -> int | None:
        if self.status is not None:
            return self.status
        self.control.settimeout(timeout)
        try:
            note = self.control.recv(_NOTE_SIZE)
        except (BlockingIOError, TimeoutError):
            return None
        # Without a last word init itself was killed, and took the program with it.
        self.status = marshal.loads(note)[1] if note else signal.SIGKILL
        _reap(self.init)
        return self.status

    def kill(self) -> None:
        """End the program and everything it has started; `poll` and `wait` then tell of it."""
        if self.status is None:
            os.kill(self.init, signal.SIGKILL)

    def close(self) -> None:
        """Kill what still runs and let go of all descriptors that are still ours."""
        self.kill()
        self.wait()
        self.supply.close()
        self.control.close()
        for name in ("pidfd", "listener", "inject", "capture", "inject6", "capture6", "obituaries"):
            fd = getattr(self, name)
            if fd >= 0:
                os.close(fd)
                setattr(self, name, -1)
        while self.files:
            os.close(self.files.popitem()[1])


def spawn(plan: ProgramPlan, kernel: KernelSide = NO_KERNEL, launcher: Launcher | None = None) -> Program:
    """Start a program on a kernel, and return once it runs.  Who starts many keeps a launcher.

    Raises Missing if the machine forbids it, OSError if the command cannot be run: `filename` is then the command,
    or the directory."""
    if kernel.guard is not None:
        kernel.guard("spawn")
    check.require()
    handed.require(plan.stdio)
    starter = launcher or Launcher()
    try:
        return _start(starter, _told(plan, kernel), plan.stdio, _Hand(plan.root), kernel)
    finally:
        if launcher is None:
            starter.close()


def _told(plan: ProgramPlan, kernel: KernelSide) -> StarterPlan:
    namespaces = _namespaces(bool(plan.hostname))
    numbers = ids.plan(plan.user)
    virtual = bool(namespaces & abi.CLONE_NEWUSER) and numbers.virtual
    root, user, files, traced, machine = plan.root, plan.user, plan.files or {}, plan.traced, libc.machine()
    return {
        "supervisor": os.getpid(),
        "namespaces": namespaces,
        "users": [(one.inside, one.outside, one.size) for one in numbers.users],
        "groups": [(one.inside, one.outside, one.size) for one in numbers.groups],
        "helpers": numbers.helpers,
        "hostname": plan.hostname,
        "files": dict(files),
        "mirrored": {directory: list(targets) for directory, targets in (kernel.mirrored or {}).items()},
        "mounts": [(mount.path, mount.options, mount.read_only) for mount in kernel.mounts],
        "root": None if root is None else planned(root, kernel.root_options),
        "hidden": [directory for directory in HIDDEN if "/etc/resolv.conf" in files],
        "six": kernel.six,
        "devices": min(kernel.devices, _MOST_DEVICES),
        "sockets_shown": kernel.show_sockets is not None,
        "sysctls": dict(kernel.sysctls or {}),
        "filter": build(machine, plan.allow, virtual, traced),
        "tracing": build_tracing(machine, traced, plan.allow, virtual) if traced else b"",
        "user": None if user is None else (user[0], user[1], list(user[2])),
        "directory": os.path.join("/" if root is not None and root.foreign else os.getcwd(), plan.directory),
        "mask": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "command": [os.fspath(word) for word in plan.command],
        "environment": dict(os.environ if plan.environment is None else plan.environment),
        "terminal": plan.terminal,
        "limits": list(plan.limits),
        "group": "" if plan.group is None else str(plan.group.path),
        "group_shown": own_group.shown() if plan.group is None else "",
    }


def _start(
    starter: Launcher, plan: StarterPlan, stdio: tuple[int, int, int], hand: "_Hand", kernel: KernelSide
) -> Program:
    """Give the plan to the starter, and follow what it says.  Raises what went wrong, leaving nothing behind."""
    control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supply, its_supply = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with its_control, its_supply:
            _launch(starter, plan, (*stdio, its_control.fileno(), its_supply.fileno()), hand.take())
        program = _Conversation(control, plan, kernel, hand).follow(supply)
        program.discard = starter.discard
        return program
    except BaseException:
        control.close()
        supply.close()
        raise
    finally:
        hand.give(-1)


@final
class _Hand:
    """Hands the scratch file system of a kernel's programs from the start before this one to the next."""

    def __init__(self, root: Root | None) -> None:
        self._scratch = None if root is None else root.scratch
        self._fd = -1

    def take(self) -> tuple[int, ...]:
        """The descriptors to give to the starter."""
        if self._scratch is None:
            return ()
        self._fd = self._scratch.take()
        return (self._fd,) if self._fd >= 0 else ()

    def give(self, fd: int) -> None:
        """The starter has given one back, or won't (-1).  Only the first call counts."""
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            if self._fd >= 0:
                os.close(self._fd)
            scratch.give(fd)
        elif fd >= 0:
            os.close(fd)


def _namespaces(named: bool) -> int:
    """The flags of those that a program gets; a user namespace only where we can't do without."""
    flags = abi.CLONE_NEWNS | abi.CLONE_NEWPID | abi.CLONE_NEWNET | abi.CLONE_NEWIPC
    if os.path.exists("/proc/self/ns/cgroup"):
        flags |= abi.CLONE_NEWCGROUP
    return flags | (abi.CLONE_NEWUTS if named else 0) | (0 if check.privileged() else abi.CLONE_NEWUSER)


def _launch(
    starter: Launcher, plan: StarterPlan, descriptors: tuple[int, int, int, int, int], more: tuple[int, ...]
) -> None:
    memory = os.memfd_create("plan")
    try:
        os.write(memory, marshal.dumps(cast(dict[str, Any], plan)))
        starter.launch((*descriptors[:3], memory, *descriptors[3:], *more))
    finally:
        os.close(memory)


@final
class _Conversation:
    """What the starter and its init say, as far as the start goes.  The two speak at the same time: the news which
    process is init may come before or after init's own first word."""

    def __init__(self, control: socket.socket, plan: StarterPlan, kernel: KernelSide, hand: _Hand) -> None:
        self._control = control
        self._plan = plan
        self._hand = hand
        self._kernel = kernel
        self._refused: dict[str, str] = {}
        self._files: dict[str, int] = {}
        self._init = 0
        self._status: int | None = None
        """Of a program that has ended already."""
        self._held: list[int] = []

    def follow(self, supply: socket.socket) -> Program:
        """Follow the start to its end.  Raises what went wrong, leaving nothing behind."""
        self._control.settimeout(START_TIMEOUT)
        try:
            if self._kernel.meanwhile is not None:
                self._kernel.meanwhile()
            _, own_proc, uncovered = self._expect("ready")
            _, number = self._expect("main")
            try:
                self._held.append(libc.pidfd_getfd(self._held[-1], number))
            except PermissionError as problem:
                raise check.Missing(check.TRACING, problem.strerror or "EPERM") from None
            if self._kernel.attach is not None:
                self._kernel.attach(pid_of(self._held[-2]))
            self._control.send(b"G")
            self._expect("running")
            self._find_init()
        except BaseException:
            self._give_up()
            raise
        *carriers, pidfd, listener = self._held
        program = Program(self._init, pidfd, listener, self._control, supply)
        program.inject, program.capture = carriers[:2]
        if len(carriers) >= _WITH_IPV6:
            program.inject6, program.capture6 = carriers[2:4]
        if len(carriers) % 2:
            program.obituaries = carriers[-1]
        program.own_proc = own_proc
        program.files = self._files
        program.uncovered = uncovered
        program.refused = self._refused
        if self._status is not None:
            program.status = self._status
            _reap(self._init)
        return program

    def _next(self) -> tuple[Any, ...]:
        note, fds, _, _ = socket.recv_fds(self._control, _NOTE_SIZE, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        message: tuple[Any, ...] = marshal.loads(note) if note else ("gone",)
        if message[0] == "mounted":
            self._begin_to_serve(message[1], fds[0])
            return message
        if message[0] == "scratch":
            os.set_inheritable(fds[0], False)
            self._hand.give(fds[0])
            return message
        if message[0] == "sockets" and self._kernel.show_sockets is not None:
            self._kernel.show_sockets(fds[0])
            return message
        if message[0] == "wired":
            self._take_wires(message[1], fds)
            return message
        if message[0] == "file":
            os.set_inheritable(fds[0], False)
            self._files[message[1]] = fds[0]
            return message
        self._held += fds
        if message[0] == "init":
            self._init = message[1]
        elif message[0] == "refused":
            self._refused[self._plan["mounts"][message[1]][0]] = message[3]
        return message

    def _begin_to_serve(self, place: int, fd: int) -> None:
        os.set_inheritable(fd, False)
        if self._kernel.serve is None:
            os.close(fd)
        else:
            self._kernel.serve(place, fd)

    def _take_wires(self, six: bool, fds: Sequence[int]) -> None:
        for fd in fds:
            if self._kernel.wire is None:
                os.close(fd)
            else:
                os.set_inheritable(fd, False)
        if self._kernel.wire is not None:
            self._kernel.wire(fds[0], fds[1:], six)

    def _expect(self, what: str) -> tuple[Any, ...]:
        message = self._next()
        while message[0] in ("init", "mounted", "refused", "wired", "sockets", "file", "scratch"):
            message = self._next()
        if message[0] == what:
            return message
        if message[0] == "gone":
            raise OSError(EPIPE, "the starter of the program has died")
        _, stage, code, text = message
        if stage == "root":  # of a path that the config names
            root = self._plan["root"]
            raise OSError(code, os.strerror(code), f"{text} of {root['name']}" if root and root["name"] else text)
        subject = {"exec": self._plan["command"][0], "directory": self._plan["directory"]}.get(stage)
        raise check.explain(stage, code, text) if subject is None else OSError(code, text, subject)

    def _find_init(self) -> None:
        """Wait until the starter has said which process init is: on a busy machine a short program has ended by then."""
        while not self._init:
            message = self._next()
            if message[0] == "gone":
                break
            if message[0] == "exit":
                self._status = message[1]

    def _give_up(self) -> None:
        for fd in (*self._held, *self._files.values()):
            os.close(fd)
        self._control.shutdown(socket.SHUT_WR)  # init ends, if it has not
        try:
            self._find_init()
        except OSError:
            pass
        self._control.close()
        if self._init:
            _reap(self._init)


def close_all(descriptors: Sequence[int]) -> None:
    """Close them here and now."""
    for fd in descriptors:
        os.close(fd)


def _reap(process: int) -> None:
    try:
        os.waitpid(process, 0)
    except ChildProcessError:  # somebody waits for any child in this process
        pass
