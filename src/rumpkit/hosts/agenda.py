"""What a host has to do for its kernels: frames to deliver, alarms to ring, deferred tasks.  Shared by `sim` and `posix`.

The agenda knows no clock and no lock. A host calls `run(now)` on its schedule when a caller leaves, and
that does everything that is due, in order of time and then of posting, and everything that this leads to at the same instant.

Events with a time lie in one heap. An alarm that is moved leaves its old entry there, which is dead and is dropped
when it comes up; so moving an alarm never searches the heap.
"""

from abc import ABC, abstractmethod
from heapq import heappop, heappush
from typing import final

from mypy_extensions import mypyc_attr

from ..hyper.calls import Alarm, AlarmTarget, Hypercalls
from ..hyper.frame import Frame
from ..hyper.link import Receiver
from ..hyper.time import FOREVER, Duration, Instant
from .delivery import DeliveryQueue
from .task import Task


@mypyc_attr(allow_interpreted_subclasses=True)
class Event:
    """Something that happens at an instant."""

    def live(self, when: Instant) -> bool:
        """Whether the entry for `when` still counts."""
        return True


@mypyc_attr(allow_interpreted_subclasses=True)
class Sleeper(ABC):
    """Who sleeps until the agenda's next event."""

    @abstractmethod
    def interrupt(self) -> None:
        """Something earlier has come up: end the sleep.  Called from any thread."""


@final
class Arrival(Event):
    """A frame reaches its receiver."""

    def __init__(self, receiver: Receiver, frame: Frame) -> None:
        self.receiver: Receiver = receiver
        self.frame: Frame = frame


@final
class Start(Event):
    """A task of a user may run: it is put into the agenda's `ready`."""

    def __init__(self, task: Task) -> None:
        self.task: Task = task
        self.wanted: bool = True
        """False: never mind; then the event does not even move simulated time."""

    def live(self, when: Instant) -> bool:
        """Whether it is still wanted."""
        return self.wanted


@final
class Later(Event):
    """A task runs on the schedule, in an entry to come."""

    def __init__(self, task: Task) -> None:
        self.task: Task = task


@final
class Agenda:
    """The list of what is to be done.  All methods are called on the schedule."""

    def __init__(self) -> None:
        self._events: list[tuple[int, int, Event]] = []
        self._order: int = 0
        self._frames: DeliveryQueue = DeliveryQueue()
        self._deferred: list[Task] = []
        self.ready: list[Task] = []
        """Tasks of users whose time has come; the host runs them off the schedule."""
        self.next: Instant = FOREVER
        """When the first entry of the heap is due (it may be dead)."""
        self.sleeper: Sleeper | None = None
        self.sleep_until: Instant = 0
        """How long the sleeper sleeps: it is interrupted for what is due before."""

    def post(self, receiver: Receiver, frame: Frame) -> None:
        """Deliver `frame` in the next run."""
        self._frames.add(receiver, frame)

    def defer(self, task: Task) -> None:
        """Run `task` on the schedule in the next run, after the frames."""
        self._deferred.append(task)

    def add(self, when: Instant, event: Event) -> None:
        """Let `event` happen at `when`, after all that are there for the same instant."""
        self._order += 1
        heappush(self._events, (when, self._order, event))
        if when < self.next:
            self.next = when
            if when < self.sleep_until and self.sleeper is not None:
                self.sleep_until = 0
                self.sleeper.interrupt()

    def busy(self) -> bool:
        """Whether there are frames or deferred tasks."""
        return self._frames.waiting() > 0 or bool(self._deferred)

    def next_live(self) -> Instant:
        """When something really happens next, FOREVER if nothing will; drops dead entries."""
        events = self._events
        while events and not events[0][2].live(events[0][0]):
            heappop(events)
        self.next = events[0][0] if events else FOREVER
        return self.next

    def run(self, now: Instant) -> None:
        """Do what is due, and what that leads to at this instant."""
        frames = self._frames
        while True:
            if self.next <= now:
                self._take(now)
            elif frames.waiting():
                frames.drain(now)
            elif self._deferred:
                self._run_deferred(now)
            else:
                return

    def _run_deferred(self, now: Instant) -> None:
        """Run the tasks that are there.  Where one raises, those behind it stay."""
        tasks = self._deferred
        self._deferred = []
        done = 0
        try:
            for task in tasks:
                done += 1
                task.run(now)
        finally:
            if done < len(tasks):
                self._deferred = tasks[done:] + self._deferred

    def _take(self, now: Instant) -> None:
        """Take the first event out of the heap and let it happen."""
        events = self._events
        when, _, event = heappop(events)
        self.next = events[0][0] if events else FOREVER
        if isinstance(event, Arrival):
            self._frames.add(event.receiver, event.frame)
        elif isinstance(event, Ring):
            if event.live(when):
                # Frames that were due before the alarm come first.
                self._frames.drain(now)
                event.alarm.deadline = FOREVER
                event.alarm.target.on_alarm(now)
        elif isinstance(event, Later):
            event.task.run(now)
        elif isinstance(event, Start) and event.wanted:
            self.ready.append(event.task)

    def clear(self) -> None:
        """Forget everything."""
        self._events.clear()
        self._frames.clear()
        self._deferred.clear()
        self.ready.clear()
        self.next = FOREVER


@final
class AgendaAlarm(Alarm):
    """The alarm of one kernel, on an agenda."""

    def __init__(self, agenda: Agenda, target: AlarmTarget) -> None:
        self.agenda: Agenda = agenda
        self.target: AlarmTarget = target
        self.deadline: Instant = FOREVER

    def set(self, deadline: Instant) -> None:
        """Ring at `deadline`, instead of what was set before."""
        if deadline != self.deadline:
            self.deadline = deadline
            if deadline < FOREVER:
                self.agenda.add(deadline, Ring(self))

    def close(self) -> None:
        """Never ring again."""
        self.deadline = FOREVER


@final
class Ring(Event):
    """An alarm rings, unless it was moved."""

    def __init__(self, alarm: AgendaAlarm) -> None:
        self.alarm: AgendaAlarm = alarm

    def live(self, when: Instant) -> bool:
        """Whether the alarm is still set to this time."""
        return self.alarm.deadline == when


@mypyc_attr(allow_interpreted_subclasses=True)
class SingleHost(Hypercalls):
    """What hosts of one thread have in common: the schedule is a flag, whose misuse raises, and all that kernels ask for lies in the
    agenda, which a `leave` runs."""

    def __init__(self) -> None:
        super().__init__()
        self._agenda: Agenda = Agenda()
        self._scheduled: bool = False

    def alarm(self, target: AlarmTarget) -> Alarm:
        return AgendaAlarm(self._agenda, target)

    def post(self, receiver: Receiver, frame: Frame, delay: Duration = 0) -> None:
        if delay <= 0:
            self._agenda.post(receiver, frame)
        else:
            self._agenda.add(self.now + delay, Arrival(receiver, frame))

    def schedule(self) -> None:
        if self._scheduled:
            raise RuntimeError("schedule() by a caller that holds the schedule")
        self._scheduled = True

    def unschedule(self) -> None:
        self.check_scheduled("unschedule")
        self._scheduled = False

    def assert_unscheduled(self, what: str) -> None:
        if self._scheduled:
            raise RuntimeError(f"{what} may block, and was called on the schedule")

    def check_scheduled(self, what: str) -> None:
        """Raise RuntimeError unless the caller of `what` holds the schedule."""
        if not self._scheduled:
            raise RuntimeError(f"{what}() by a caller that does not hold the schedule")
