"""Hypercalls: the services that a host gives its kernels, and the face that clients use to enter them.

The rule of the schedule (NetBSD's rump kernels call it that too): kernel code runs only between `enter` and
`leave`, one caller at a time for all kernels of a host.  A hypercall that may take time gives the schedule up
first (`unschedule`) and takes it back after (`schedule`), so a slow disk never delays a ping.
"""

from abc import ABC, abstractmethod

from mypy_extensions import mypyc_attr

from .frame import Frame
from .link import Receiver
from .mutex import Mutex, SingleThreadMutex
from .time import Duration, Instant


@mypyc_attr(allow_interpreted_subclasses=True)
class Waiter(ABC):
    """Something that a wait queue can wake."""

    @abstractmethod
    def wake(self) -> None:
        """Called on the schedule when the awaited thing may have happened.  Must not enter a kernel."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Parker(Waiter):
    """The host's way to make a caller sleep."""

    @abstractmethod
    def park(self, deadline: Instant) -> bool:
        """Called on the schedule; gives it up while asleep.  Returns on `wake` (True) or at `deadline` (False).
        A wake that came before the call is not lost.  May raise KeyboardInterrupt and the like."""


@mypyc_attr(allow_interpreted_subclasses=True)
class AlarmTarget(ABC):
    """What an alarm calls: a kernel with timers to run."""

    @abstractmethod
    def on_alarm(self, now: Instant) -> None:
        """The deadline has passed.  Called on the schedule."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Alarm(ABC):
    """One settable deadline.  A kernel has one and keeps all its timers under it."""

    @abstractmethod
    def set(self, deadline: Instant) -> None:
        """Ring at `deadline`, instead of what was set before (`FOREVER`: not at all)."""

    @abstractmethod
    def close(self) -> None:
        """Never ring again."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Hypercalls(ABC):
    """What kernels may ask of their host, and what clients use to get in.  Subclassed by every host."""

    def __init__(self) -> None:
        self.now: Instant = 0
        """The monotonic time of this entry into the kernel: the host refreshes it at each entry and batch."""

    # Services for kernels ------------------------------------------------------------------------------

    @abstractmethod
    def wall(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""

    @abstractmethod
    def random(self, size: int) -> bytes:
        """`size` bytes fit for keys (in simulation: from the seed)."""

    @abstractmethod
    def alarm(self, target: AlarmTarget) -> Alarm:
        """A new alarm for `target`."""

    @abstractmethod
    def post(self, receiver: Receiver, frame: Frame, delay: Duration = 0) -> None:
        """Deliver `frame` to `receiver` after the current entry has left the kernel, in order of time and then
        of posting; then `flush` each receiver of the batch."""

    @abstractmethod
    def console_write(self, data: bytes) -> None:
        """Show what a kernel or its console device says."""

    def schedule(self) -> None:
        """Take the schedule back after `unschedule`."""
        return None

    def unschedule(self) -> None:
        """Give the schedule up around a host call that may take time."""
        return None

    def background(self, target: AlarmTarget, delay: Duration) -> None:
        """Call `target` once, in `delay` nanoseconds, on the schedule, where it delays nobody when it sleeps in block I/O.  Called on
        the schedule.  A host that has no such place never calls it."""
        return None

    def mutex(self) -> Mutex:
        """A new lock for kernel code that sleeps in block I/O.  Hosts with several threads override this: the lock
        must be taken without holding the schedule while it waits."""
        return SingleThreadMutex()

    def assert_unscheduled(self, what: str) -> None:
        """In a debug build, raise if this thread holds the schedule while it makes a host call that may block."""
        return None

    # The way in for clients ----------------------------------------------------------------------------

    @abstractmethod
    def enter(self) -> None:
        """Take the schedule and refresh `now`."""

    @abstractmethod
    def leave(self) -> None:
        """Deliver what was posted, run what is due, give the schedule up."""

    @abstractmethod
    def parker(self) -> Parker:
        """A way for the calling thread to sleep until woken."""
