"""What is to be started: all that is decided about a program before anything is done for it.

Between `compose`, which makes a plan from a config, a request or a call, and `guest` and `spawn`, which carry it out.  What only the
kernel can say, and only at the start, is a `KernelSide`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ...hyper.named import NamedTuple

if TYPE_CHECKING:
    from .cgroups import Group
    from .ids import Identity
    from .root import Root
    from .tracing.tracer import Tracing

ROOT: Final = -1
"""The place among the mounts of a root that is the kernel's."""


class ShownMount(NamedTuple):
    """A mount of the kernel that the program shall see at the same path."""

    path: str
    read_only: bool = False


class ProgramPlan(NamedTuple):
    """One program and what it gets.  What isn't here it inherits as from a shell: process group, terminal, limits, umask, ignored
    signals."""

    command: Sequence[str]
    """Found on its own PATH."""
    environment: Mapping[str, str] | None = None
    """All of it; None: ours."""
    directory: str = ""
    """Where it is, in its own root; "": where we are, or "/" of a root of its own."""
    stdio: tuple[int, int, int] = (0, 1, 2)
    """Our descriptors for its 0, 1 and 2."""
    terminal: bool = False
    """It leads a session of its own, whose terminal is its standard input."""
    user: "Identity | None" = None
    """Whom to change to (`ids` says what that means to an ordinary user); None: whom we are."""
    hostname: str = ""
    """Its own; "": the host's."""
    files: Mapping[str, bytes] | None = None
    """Private contents of paths."""
    root: "Root | None" = None
    """None: the host's files as they are, to be changed as its user may."""
    shown: Sequence[ShownMount] = ()
    """Mounts of the kernel that it sees."""
    allow: Sequence[str] = ()
    """System calls that it may make besides those of `fences`."""
    limits: Sequence[tuple[int, int, int]] = ()
    """Resources with a soft and a hard limit, no more than our own (setrlimit(2)), which it can't raise."""
    group: "Group | None" = None
    """A control group for it and all that it starts, which goes with it."""
    processors: int = 0
    """How many it is started on, as it can change; 0: all of ours."""
    tracer: "Tracing | None" = None
    """Who looks at it from outside."""

    @property
    def traced(self) -> Collection[str]:
        """Calls that stop for the tracer."""
        return () if self.tracer is None else self.tracer.traced


class KernelMount(NamedTuple):
    """A FUSE mount in the program's namespace."""

    path: str
    options: str
    """Further options of mount(2), such as "allow_other"."""
    read_only: bool


class KernelSide(NamedTuple):
    """What the kernel shows in the program's namespaces, and who is called while they are made."""

    six: bool = False
    """Whether it has IPv6."""
    sysctls: Mapping[str, bytes] | None = None
    """What the program shall see below /proc/sys/net."""
    mounts: Sequence[KernelMount] = ()
    mirrored: Mapping[str, Sequence[str]] | None = None
    """Directories to be shown as read-only copies, with places to mount on added."""
    root_options: str = ""
    """Of the FUSE mount of a root that is the kernel's."""
    serve: Callable[[int, int], None] | None = None
    """Is given the place among `mounts`, or `ROOT`, and the /dev/fuse of each; all descriptors below are taken over, too."""
    devices: int = 0
    """How many open /dev/net/tun of its network namespace `wire` is given at most."""
    wire: Callable[[int, Sequence[int], bool], None] | None = None
    """Is given a netlink channel of that namespace, those devices, and whether it has IPv6."""
    show_sockets: Callable[[int], None] | None = None
    """Is given the /dev/fuse of its /proc/net."""
    attach: Callable[[int], None] | None = None
    """Is given its process id before its first instruction."""
    meanwhile: Callable[[], object] | None = None
    """Is called once all is told to those who start the program, who need some milliseconds for it, and a processor of their own."""
    guard: Callable[[str], None] | None = None
    """Raises where a start would be on the schedule."""


NO_KERNEL: Final = KernelSide()
"""For a program alone."""
