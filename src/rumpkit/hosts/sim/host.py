"""The simulated host: hypercalls over one queue of events.  It stands between `hyper` and tests or `rumpkit.lab`.

Theory of operation:

* Time is a number that jumps to the next event and stands still while code runs, so computing costs nothing.
* Everything that will happen lies in one heap ordered by (when, order of posting): frames under way, alarms,
  tasks. The same seed and the same calls therefore give the same frames at the same nanoseconds.
* `leave` runs what kernels have to do at this instant and never moves time. A caller that has to wait parks; its park
  runs events until it is woken. Tasks (code of users) run only from there or from `run`, so that
  no user code runs inside a system call of another.
* Where nothing is left that could wake a parked caller, the park raises Deadlock: a test fails at once and does not
  hang.

There are no threads in here; `rumpkit.lab` puts its own parkers in (`parkers`) to run several synchronous callers.
"""

from random import Random
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.calls import AlarmTarget, Parker
from ...hyper.time import FOREVER, SECOND, Duration, Instant
from ..agenda import AgendaAlarm, Event, Later, SingleHost, Start
from ..switch import SwitchBoard
from ..task import Task

EPOCH: Final = 1_000_000_000 * SECOND
"""What `wall` says at instant 0, unless told otherwise: 2001-09-09 01:46:40 UTC."""


class Deadlock(Exception):
    """Somebody waits for what can no longer happen: no event is left in the simulation."""


@final
class _Deadline(Event):
    """Makes time stop at a parked caller's deadline."""

    def __init__(self) -> None:
        self.wanted: bool = True

    def live(self, when: Instant) -> bool:
        return self.wanted


@mypyc_attr(allow_interpreted_subclasses=True)
class ParkerSource:
    """Makes the parkers of a simulated host."""

    def make(self) -> Parker:
        """A parker for the calling thread."""
        raise NotImplementedError


@final
class SimParker(Parker):
    """Sleeps by running the simulation."""

    def __init__(self, host: "SimHost") -> None:
        self._host: SimHost = host
        self._woken: bool = False

    def wake(self) -> None:
        self._woken = True

    def park(self, deadline: Instant) -> bool:
        host = self._host
        marker = _Deadline()
        if deadline < FOREVER:
            host.add_event(max(deadline, host.now), marker)
        try:
            while not self._woken:
                if host.now >= deadline:
                    return False
                if not host.step():
                    raise Deadlock(f"a caller waits for ever: nothing is left to happen after {host.now} ns")
        finally:
            marker.wanted = False
        self._woken = False
        return True


@final
class SimHost(SingleHost):
    """A world of its own.  Make one, give it to kernels, and use clients as ever."""

    def __init__(self, seed: int = 0, epoch: int = EPOCH) -> None:
        super().__init__()
        self._epoch: int = epoch
        self._random: Random = Random(seed)
        self._charged: Duration = 0
        self.parkers: ParkerSource | None = None
        """Who makes parkers instead, where several synchronous callers share the world."""
        self.switches: SwitchBoard = SwitchBoard(self)
        self.console: bytearray = bytearray()
        """What kernels wrote to their console."""

    # Hypercalls ----------------------------------------------------------------------------------------

    def wall(self) -> int:
        return self._epoch + self.now

    def random(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def console_write(self, data: bytes) -> None:
        self.console += data

    def background(self, target: AlarmTarget, delay: Duration) -> None:
        AgendaAlarm(self._agenda, target).set(self.now + max(delay, 1))

    def enter(self) -> None:
        if self._scheduled:
            raise RuntimeError("enter() by a caller that holds the schedule")
        self._scheduled = True

    def leave(self) -> None:
        self.check_scheduled("leave")
        try:
            self._agenda.run(self.now)
            if self._charged:
                until = self.now + self._charged
                self._charged = 0
                self.parker().park(until)
        finally:
            self._scheduled = False

    def parker(self) -> Parker:
        if self.parkers is not None:
            return self.parkers.make()
        return SimParker(self)

    # For drivers of the simulation ---------------------------------------------------------------------

    def charge(self, duration: Duration) -> None:
        """Make the present system call take `duration` longer: its `leave` comes back only then.  For simulated block
        devices, whose calls return at once."""
        self._charged += duration

    def defer(self, task: Task) -> None:
        """Run `task` on the schedule at the end of the present entry."""
        self._agenda.defer(task)

    def later(self, task: Task, delay: Duration = 0) -> None:
        """Run `task` on the schedule after `delay` nanoseconds (at least one)."""
        self._agenda.add(self.now + max(delay, 1), Later(task))

    def at(self, when: Instant, task: Task) -> Start:
        """Run `task` off the schedule at `when` (now, if that is past), when kernels have nothing left to do then.  Clear
        `wanted` of what it returns to call that off."""
        start = Start(task)
        if when <= self.now:
            self._agenda.ready.append(task)
        else:
            self._agenda.add(when, start)
        return start

    def add_event(self, when: Instant, event: Event) -> None:
        """Queue `event`; after all that are queued for the same instant."""
        self._agenda.add(when, event)

    def next_event(self) -> Instant:
        """When something happens next; FOREVER if nothing will."""
        agenda = self._agenda
        if agenda.ready or agenda.busy():
            return self.now
        when = agenda.next_live()
        return max(when, self.now) if when < FOREVER else FOREVER

    def step(self) -> bool:
        """Let the next thing happen, moving time if it must; False if nothing is left.  Called on the schedule."""
        when = self.next_event()
        if when == FOREVER:
            return False
        self.now = when
        agenda = self._agenda
        agenda.run(when)
        if agenda.ready:
            task = agenda.ready.pop(0)
            self._scheduled = False
            try:
                task.run(self.now)
            finally:
                self._scheduled = True
        return True

    def run(self, until: Instant = FOREVER) -> None:
        """Let everything happen up to `until`, where time then stands.  Called off the schedule."""
        self.enter()
        try:
            while self.next_event() <= until and self.step():
                pass
            if until < FOREVER:
                self.now = max(self.now, until)
        finally:
            self._scheduled = False
