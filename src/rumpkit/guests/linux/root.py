"""What a program has as its root, and what of the host it sees there: the supervisor's side.

Between `compose`, which decides it, and `spawn`, whose plan bears it to `starter`, where `roots` does it.
"""

import os
import stat
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, final

from ...hyper.named import NamedTuple
from .places import below, real

if TYPE_CHECKING:
    from .spawn import RootPlan

SCRATCH: Final = (("/tmp", 0o1777), ("/var/tmp", 0o1777), ("/run", 0o755))
"""Directories that programs on one kernel have in memory, and not of the host or an image; with their modes."""
DATAGRAM: Final = "0002"
"""Of a socket in /proc/net/unix: its type.  Those that take connections are refused when a program connects (`named`)."""
UNIX_SOCKETS: Final = "/proc/net/unix"
MOST_HIDDEN: Final = 4096
"""Sockets that are hidden one by one, at most."""
MOST_RELATIVE: Final = 64
"""Different names of sockets that are looked for in the working directories of all processes, at most."""
DEFAULT_SIZE: Final = 1 << 30


@final
class Scratch:
    """The memory behind `SCRATCH` of one kernel's programs.  The first program's start makes it; each hands it on to the next, as a mount
    that is nowhere (open_tree(2)).  It goes with the last program and this object."""

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        self.size = size
        """Bytes that it has at most."""
        self._fd = -1
        self._lock = threading.Lock()

    def take(self) -> int:
        """The mount, -1 for none yet.  Others wait until `give`."""
        self._lock.acquire()
        fd, self._fd = self._fd, -1
        return fd

    def give(self, fd: int) -> None:
        """Have a mount for the next start; -1: there is none, as the start has failed."""
        self._fd = fd
        self._lock.release()

    def close(self) -> None:
        """Let go of it."""
        fd = self.take()
        if fd >= 0:
            os.close(fd)
        self.give(-1)


class Root(NamedTuple):
    """A program's root.  Paths are absolute."""

    scratch: Scratch
    source: str = ""
    """A directory of the host's; "": the host's root."""
    kernel_path: str = ""
    """Instead, a directory of the kernel's files, by FUSE."""
    read_only: bool = True
    """Of the host's root always so."""
    writable: Sequence[str] = ()
    """Files and directories of the host that are there as on the host, and may be changed."""
    visible: Sequence[str] = ()
    """Such that may be read though they lie in `SCRATCH`, or in a root that isn't the host's."""
    hidden: Sequence[str] = ()
    """Such that are shown empty."""
    name: str = ""
    """What it is called in messages; "" of the host's."""

    @property
    def foreign(self) -> bool:
        """Whether it is not the host's."""
        return bool(self.source or self.kernel_path)


def planned(root: Root, options: str) -> "RootPlan":
    """What the starter is told; `options` are of the FUSE mount of a root that is the kernel's."""
    shown: dict[str, bool] = {}
    for path in root.writable:
        shown[os.path.abspath(path)] = True
    covered = [place for place, _ in SCRATCH]
    for path in dict.fromkeys(map(os.path.abspath, root.visible)):
        if root.foreign or _within(path, covered) or _within(real(path), covered):
            shown.setdefault(path, False)
    hidden = [path for path in map(os.path.abspath, root.hidden) if os.path.lexists(path)]
    if not root.foreign:
        given = [path for path, may in shown.items() if may]
        seen = [path for path, may in shown.items() if not may]
        hidden += [
            path
            for path in host_datagrams()
            if not _within(path, given) and (_within(path, seen) or not _within(path, covered))
        ]
    return {
        "source": root.source,
        "kernel": bool(root.kernel_path),
        "read_only": root.read_only,
        "shown": sorted((path, may) for path, may in shown.items() if not _shown_anyway(path, may, shown)),
        "hidden": hidden,
        "scratch": list(SCRATCH),
        "size": root.scratch.size,
        "options": options,
        "name": root.name,
    }


def _within(path: str, places: Sequence[str]) -> bool:
    return any(below(path, one) for one in places)


def _shown_anyway(path: str, writable: bool, shown: dict[str, bool]) -> bool:
    """Whether it lies in another that is shown in the same way."""
    return any(path != other and below(path, other) and may == writable for other, may in shown.items())


def host_datagrams() -> list[str]:
    """Unix sockets of the host's for datagrams that are files (proc_net(5)).  A program that could send to them would
    reach what its kernel isn't asked about."""
    found: set[str] = set()
    relative: set[str] = set()
    try:
        with open(UNIX_SOCKETS, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()[1:]
    except OSError:
        return []
    for line in lines:
        words = line.split(None, 7)
        if len(words) == 8 and words[4] == DATAGRAM and not words[7].startswith("@"):
            (found if words[7].startswith("/") else relative).add(words[7])
    if relative:
        found.update(_below_someone(sorted(relative)[:MOST_RELATIVE]))
    return sorted(found)[:MOST_HIDDEN]


def _below_someone(names: list[str]) -> list[str]:
    """Where sockets are that were bound by relative names: Linux doesn't tell, but most who bind one stay in that directory."""
    directories = set()
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            directories.add(os.readlink(f"/proc/{process}/cwd"))
        except OSError:  # it has gone, or is somebody else's
            pass
    return [path for one in directories for path in (f"{one.rstrip('/')}/{name}" for name in names) if _is_socket(path)]


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
