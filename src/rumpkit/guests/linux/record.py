"""Records: one for each of the program's sockets, and the way from the schedule to them.

Between the bottom layers and `context`, which keeps them; `stream` and `carrier` have the two kinds.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

from mypy_extensions import mypyc_attr

from ...hosts.posix.host import PosixHost
from ...hosts.task import Task
from ...hyper.calls import AlarmTarget
from ...hyper.time import Instant
from ...kern.abi.socket import AF_INET6
from ...kern.socket import Socket
from ...kern.wait import Observer

if TYPE_CHECKING:
    from .context import Context


@mypyc_attr(allow_interpreted_subclasses=True)
class Attended(Observer):
    """Something that is noted on the schedule, in any thread, and seen to off it, in the loop's."""

    def __init__(self, work: "Work") -> None:
        self._work: Work = work
        self.noted: bool = False

    def notify(self) -> None:
        """Leave a note.  On the schedule."""
        if not self.noted:
            self.noted = True
            self._work.add(self)

    def attend(self) -> None:
        """See to what was noted.  Off the schedule."""


@final
class Bell(AlarmTarget):
    """A host's alarm, which rings on the schedule, for what is seen to off it."""

    def __init__(self, rung: Attended) -> None:
        self._rung: Attended = rung

    def on_alarm(self, now: Instant) -> None:
        self._rung.notify()


@mypyc_attr(allow_interpreted_subclasses=True)
class Record(Attended):
    """One socket of the program: its own end by inode, and the kernel's socket behind it, of which it holds a reference."""

    def __init__(self, context: "Context", inode: int, family: int, socket: Socket) -> None:
        super().__init__(context.work)
        self.context: Context = context
        self.inode: int = inode
        self.family: int = family
        """As the program asked for."""
        self.socket: Socket = socket
        self.six: bool = socket.family == AF_INET6
        """Whether the kernel's socket is of IPv6.  Where the kernel has none, an AF_INET one stands behind every socket."""
        self.v6only: bool = False
        """IPV6_V6ONLY of a socket that has no IPv6."""
        self.remembered: dict[tuple[int, int], bytes] = {}
        """Options that change nothing here, for getsockopt."""
        self.place: tuple[int, int] = (0, -1)
        """A thread and a number where the program had the socket last that we know of."""

    def port(self) -> int:
        """The port it can be reached at by who does not know it yet; 0 if it cannot."""
        return 0

    def expire(self, now: Instant) -> Instant:
        """End what has waited too long; returns when that is next."""
        raise NotImplementedError

    def closed(self) -> None:
        """The program has closed its last descriptor of the socket.  Off the schedule."""
        self.context.run(self.socket.release, self.context.host.now)


@final
class Work(Task):
    """The notes that were left: the host's driver sees to them as soon as it is off the schedule."""

    def __init__(self, host: PosixHost) -> None:
        self._host: PosixHost = host
        self._notes: deque[Attended] = deque()
        self._closed: bool = False

    def add(self, one: Attended) -> None:
        """Have `one.attend` called soon, unless the guest has ended.  On the schedule."""
        if not self._closed:
            self._notes.append(one)
            if len(self._notes) == 1:
                self._host.outside(self)

    def close(self) -> None:
        """Take no more notes.  On the schedule."""
        self._closed = True

    def run(self, now: Instant) -> None:
        """See to them.  Off the schedule."""
        for _ in range(0 if self._closed else len(self._notes)):
            one = self._notes.popleft()
            one.noted = False
            guarded(one.attend)
        if self._notes and not self._closed:
            self._host.outside(self)


def guarded(function: Callable[[], Any]) -> None:
    """Call; an exception is a bug of ours: it is shown, as of a thread, and everything else goes on."""
    try:
        function()
    except Exception as problem:
        complain(problem)


def complain(problem: Exception) -> None:
    """Show the traceback of what should not have happened."""
    what = (type(problem), problem, problem.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(what))
