"""Timers: many lazy deadlines under the one alarm that a host gives a kernel.

A timer's deadline is a plain attribute.  Moving it later costs a store: the heap's old entry finds out when it
comes up and is queued again.  Only moving it earlier touches the heap.
"""

from heapq import heapify, heappop, heappush
from typing import Final, final

from mypy_extensions import mypyc_attr

from ..hyper.calls import Alarm, AlarmTarget, Hypercalls
from ..hyper.time import FOREVER, Instant

STALE_LIMIT: Final = 64
"""Entries of timers that moved earlier since, beyond which the heap is rid of them once they are more than half of it."""


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
        self._stale: int = 0
        """At most this many entries count no more."""
        self._alarm: Alarm = hyper.alarm(self)
        self._alarm_at: Instant = FOREVER

    def set(self, timer: Timer, deadline: Instant) -> None:
        """Let `timer` expire at `deadline` (FOREVER: never).  Ties expire in the order they came into the heap, which is
        that of `set` unless a timer was moved later."""
        timer.deadline = deadline
        if deadline < timer.queued:
            if timer.queued < FOREVER:
                self._drop_stale()
            timer.queued = deadline
            self._count += 1
            heappush(self._heap, (deadline, self._count, timer))
            if deadline < self._alarm_at:
                self._alarm_at = deadline
                self._alarm.set(deadline)

    def cancel(self, timer: Timer) -> None:
        """`timer` is not needed any more.  As `set` to FOREVER, but the heap doesn't keep many of these until they come up."""
        timer.deadline = FOREVER
        if timer.queued < FOREVER:
            self._drop_stale()

    def next_deadline(self) -> Instant:
        """When `run` is wanted next: a lower bound, as moved timers are found out lazily."""
        return self._heap[0][0] if self._heap else FOREVER

    def on_alarm(self, now: Instant) -> None:
        """Expire what is due and set the alarm for what is next, even if a timer raises."""
        try:
            self._expire_due(now)
        finally:
            self._alarm_at = self.next_deadline()
            self._alarm.set(self._alarm_at)

    def _expire_due(self, now: Instant) -> None:
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, timer = heappop(heap)
            if when != timer.queued or timer.deadline == FOREVER:
                self._stale = max(0, self._stale - 1)
                if when == timer.queued:
                    timer.queued = FOREVER
                continue
            timer.queued = FOREVER
            if timer.deadline <= now:
                timer.deadline = FOREVER
                timer.expire(now)
            elif timer.deadline < FOREVER:
                timer.queued = timer.deadline
                self._count += 1
                heappush(heap, (timer.deadline, self._count, timer))

    def _drop_stale(self) -> None:
        """One more entry is about to become stale; remove them all when they are the most."""
        self._stale += 1
        if self._stale > STALE_LIMIT and self._stale * 2 > len(self._heap):
            # In place: `on_alarm` may be going through it.
            self._heap[:] = [entry for entry in self._heap if self._counts(entry[0], entry[2])]
            heapify(self._heap)
            self._stale = 0

    def _counts(self, when: Instant, timer: Timer) -> bool:
        """Whether the entry of `timer` at `when` will have an effect; forgets that it was there if not."""
        if when != timer.queued:
            return False
        if timer.deadline == FOREVER:
            timer.queued = FOREVER
            return False
        return True

    def close(self) -> None:
        """Forget all timers."""
        self._heap.clear()
        self._alarm.close()
