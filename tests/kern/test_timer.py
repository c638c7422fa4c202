"""Timers: lazy moves never lose an expiry nor bring one forward, and the alarm is never late."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import FOREVER, Instant
from rumpkit.kern.timer import Timer, TimerQueue


class Logged(Timer):
    def __init__(self, queue: TimerQueue, period: int = 0) -> None:
        super().__init__()
        self.owner = queue
        self.period = period
        self.fired: list[Instant] = []

    def expire(self, now: Instant) -> None:
        self.fired.append(now)
        if self.period:
            self.owner.set(self, now + self.period)


class TimerMachine(RuleBasedStateMachine):
    """Timers on a simulated host against a table of deadlines: each fires at its deadline, to the nanosecond, and once."""

    def __init__(self) -> None:
        super().__init__()
        self.host = SimHost()
        self.queue = TimerQueue(self.host)
        self.timers = [Logged(self.queue) for _ in range(6)]
        self.deadlines = [FOREVER] * 6
        self.expected: list[list[Instant]] = [[] for _ in range(6)]

    @rule(which=st.integers(0, 5), delay=st.integers(0, 50))
    def set(self, which, delay):
        deadline = self.host.now + delay
        self.queue.set(self.timers[which], deadline)
        self.deadlines[which] = deadline

    @rule(which=st.integers(0, 5))
    def stop(self, which):
        self.queue.set(self.timers[which], FOREVER)
        self.deadlines[which] = FOREVER

    @rule(which=st.integers(0, 5), times=st.integers(1, 70))
    def cancel(self, which, times):
        for _ in range(times):
            self.queue.cancel(self.timers[which])
        self.deadlines[which] = FOREVER

    @rule(step=st.integers(0, 80))
    def advance(self, step):
        until = self.host.now + step
        self.host.run(until)
        for which, deadline in enumerate(self.deadlines):
            if deadline <= until:
                self.expected[which].append(deadline)
                self.deadlines[which] = FOREVER

    @invariant()
    def agrees(self):
        assert [timer.fired for timer in self.timers] == self.expected
        assert [timer.deadline for timer in self.timers] == self.deadlines
        assert self.queue.next_deadline() <= min(self.deadlines)


TestTimers = TimerMachine.TestCase


def test_a_timer_may_set_itself_again_as_it_expires():
    host = SimHost()
    queue = TimerQueue(host)
    timer = Logged(queue, period=10)
    queue.set(timer, 10)
    host.run(45)
    assert timer.fired == [10, 20, 30, 40]


def test_ties_expire_in_the_order_they_were_set():
    host = SimHost()
    queue = TimerQueue(host)
    order: list[str] = []

    class Named(Timer):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def expire(self, now: Instant) -> None:
            order.append(self.name)

    for name in "cab":
        queue.set(Named(name), 5)
    host.run(5)
    assert order == ["c", "a", "b"]


def test_moving_a_timer_later_again_and_again_leaves_one_entry():
    queue = TimerQueue(SimHost())
    timer = Logged(queue)
    for deadline in range(10, 10_000):
        queue.set(timer, deadline)
    assert len(queue._heap) == 1


def test_moving_a_timer_to_and_fro_does_not_pile_up_entries():
    queue = TimerQueue(SimHost())
    timer = Logged(queue)
    for deadline in range(100_000, 1, -1):
        queue.set(timer, deadline)
    assert len(queue._heap) < 1000


def test_cancelled_timers_do_not_pile_up():
    queue = TimerQueue(SimHost())
    kept = [Logged(queue) for _ in range(10)]
    for number, timer in enumerate(kept):
        queue.set(timer, number + 5)
    for deadline in range(1000, 11_000):
        timer = Logged(queue)
        queue.set(timer, deadline)
        queue.cancel(timer)
    assert len(queue._heap) < 200
    assert {entry[2] for entry in queue._heap} >= set(kept)


def test_a_timer_that_raises_keeps_no_other_from_expiring():
    class Broken(Timer):
        def expire(self, now: Instant) -> None:
            raise ValueError("a bug")

    host = SimHost()
    queue = TimerQueue(host)
    before, behind, far = Logged(queue), Logged(queue), Logged(queue)
    queue.set(before, 10)
    queue.set(Broken(), 10)
    queue.set(behind, 10)
    queue.set(far, 30)
    with pytest.raises(ValueError, match="a bug"):
        host.run(20)
    host.run(20)
    assert (before.fired, behind.fired) == ([10], [10])
    soon = Logged(queue)
    queue.set(soon, 25)
    host.run(40)
    assert (soon.fired, far.fired) == ([25], [30])


def test_closed_timers_never_expire():
    host = SimHost()
    queue = TimerQueue(host)
    timer = Logged(queue)
    queue.set(timer, 5)
    queue.close()
    host.run(10)
    assert timer.fired == []
