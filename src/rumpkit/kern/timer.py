"""Timers: many lazy deadlines under the one alarm that a host gives a kernel.

A timer's deadline is a plain attribute.  Moving it later costs a store: the heap's old entry finds out when it
comes up and is queued again.  Only moving it earlier touches the heap.
"""

from heapq import heappop, heappush
from typing import final

from mypy_extensions import mypyc_attr

from ..hyper.calls import Alarm, AlarmTarget, Hypercalls
from ..hyper.time import FOREVER, Instant


@mypyc_attr(allow_interpreted_subclasses=True)
class Timer:
    """A deadline and what to do then.  Subclass it and override `expire`."""

    def __init__(self) -> None:
        self.deadline: Instant = FOREVER
        self.queued: Instant = FOREVER
        """The earliest entry of this timer in the heap; kept by `TimerQueue`."""

    def expire(self, now: Instant) -> None:
        """The deadline has passed.  `deadline` is FOREVER by then; `TimerQueue.set` arms the timer again."""
        raise NotImplementedError


@final
class TimerQueue(AlarmTarget):
    """All timers of one kernel."""

    def __init__(self, hyper: Hypercalls) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._count: int = 0
        self._alarm: Alarm = hyper.alarm(self)
        self._alarm_at: Instant = FOREVER

    def set(self, timer: Timer, deadline: Instant) -> None:
        """Let `timer` expire at `deadline` (FOREVER: never).  Ties expire in the order they were set."""
        timer.deadline = deadline
        if deadline < timer.queued:
            timer.queued = deadline
            self._count += 1
            heappush(self._heap, (deadline, self._count, timer))
            if deadline < self._alarm_at:
                self._alarm_at = deadline
                self._alarm.set(deadline)

    def next_deadline(self) -> Instant:
        """When `run` is wanted next: a lower bound, as moved timers are found out lazily."""
        return self._heap[0][0] if self._heap else FOREVER

    def on_alarm(self, now: Instant) -> None:
        """Expire what is due and set the alarm for what is next."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, timer = heappop(heap)
            if when != timer.queued:
                continue
            timer.queued = FOREVER
            if timer.deadline <= now:
                timer.deadline = FOREVER
                timer.expire(now)
            elif timer.deadline < FOREVER:
                timer.queued = timer.deadline
                self._count += 1
                heappush(heap, (timer.deadline, self._count, timer))
        self._alarm_at = self.next_deadline()
        self._alarm.set(self._alarm_at)

    def close(self) -> None:
        """Forget all timers."""
        self._heap.clear()
        self._alarm.close()
