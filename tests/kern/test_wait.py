"""Wait queues: order, wake one and all, observers in turn, and what a Blocked gives when it ends."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rumpkit.hyper.calls import Waiter
from rumpkit.kern.abi.errno import EAGAIN, EINPROGRESS, EINTR
from rumpkit.kern.wait import Blocked, ExclusiveObserver, Observer, WaitQueue
from tests.kern.helpers import Bell, Ear, Raises


class Numbered(Waiter):
    def __init__(self, number: int, log: list[int]) -> None:
        self.number = number
        self.log = log

    def wake(self) -> None:
        self.log.append(self.number)


class QueueMachine(RuleBasedStateMachine):
    """A wait queue against a list: everybody is woken at most once per `add`, in order, and nobody is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = WaitQueue()
        self.model: list[Numbered] = []
        self.gone: list[Numbered] = []
        self.log: list[int] = []
        self.expected: list[int] = []
        self.ears: list[tuple[Ear, int]] = []

    @rule()
    def add(self):
        waiter = Numbered(len(self.model) + len(self.gone), self.log)
        self.queue.add(waiter)
        self.model.append(waiter)

    @rule(data=st.data())
    def remove(self, data):
        known = self.model + self.gone
        if known:
            waiter = data.draw(st.sampled_from(known))
            assert self.queue.remove(waiter) == (waiter in self.model)
            if waiter in self.model:
                self.model.remove(waiter)
                self.gone.append(waiter)

    @rule()
    def wake_one(self):
        self.queue.wake_one()
        if self.model:
            self.expected.append(self.model[0].number)
            self.gone.append(self.model.pop(0))
        self.ears = [(ear, count + 1) for ear, count in self.ears]

    @rule()
    def wake_all(self):
        self.queue.wake_all()
        self.expected += [waiter.number for waiter in self.model]
        self.gone += self.model
        self.model = []
        self.ears = [(ear, count + 1) for ear, count in self.ears]

    @rule()
    def subscribe(self):
        ear = Ear()
        self.queue.subscribe(ear)
        self.ears.append((ear, 0))

    @rule(data=st.data())
    def unsubscribe(self, data):
        if self.ears:
            pair = data.draw(st.sampled_from(self.ears))
            self.queue.unsubscribe(pair[0])
            self.ears.remove(pair)

    @invariant()
    def agrees(self):
        assert self.log == self.expected
        assert all(ear.heard == count for ear, count in self.ears)
        assert self.queue.waited_on() == bool(self.model)
        assert self.queue.idle() == (not self.model and not self.ears)


TestQueue = QueueMachine.TestCase


def test_waiters_that_a_wake_adds_wait_for_the_next_one():
    queue = WaitQueue()

    class Again(Bell):
        def wake(self) -> None:
            super().wake()
            queue.add(self)

    again = Again()
    queue.add(again)
    queue.wake_all()
    assert again.rings == 1
    queue.wake_all()
    assert again.rings == 2


def test_an_observer_may_leave_while_it_is_told():
    queue = WaitQueue()

    class Once(Observer):
        heard = 0

        def notify(self) -> None:
            self.heard += 1
            queue.unsubscribe(self)

    first, second, ear = Once(), Once(), Ear()
    for observer in (first, second, ear):
        queue.subscribe(observer)
    queue.wake_all()
    queue.wake_all()
    assert (first.heard, second.heard, ear.heard) == (1, 1, 2)


class Taker(ExclusiveObserver):
    def __init__(self, takes: bool) -> None:
        self.takes = takes
        self.offers = 0

    def offer(self) -> bool:
        self.offers += 1
        return self.takes


def test_exclusive_observers_take_turns():
    queue = WaitQueue()
    takers = [Taker(True), Taker(True), Taker(True)]
    for taker in takers:
        queue.subscribe_exclusive(taker)
    for _ in range(6):
        queue.wake_all()
    assert [taker.offers for taker in takers] == [2, 2, 2]


def test_an_event_that_one_does_not_take_is_offered_to_the_next():
    queue = WaitQueue()
    idle, busy, behind = Taker(False), Taker(True), Taker(True)
    for taker in (idle, busy, behind):
        queue.subscribe_exclusive(taker)
    queue.wake_one()
    assert (idle.offers, busy.offers, behind.offers) == (1, 1, 0)
    queue.unsubscribe(busy)
    queue.wake_one()
    assert (idle.offers, busy.offers, behind.offers) == (2, 1, 1)


def test_what_a_blocked_call_gives_depends_on_what_was_done():
    nothing = Blocked(WaitQueue(), timeout_errno=EINPROGRESS)
    with Raises(EINPROGRESS):
        nothing.expired()
    with Raises(EINTR):
        nothing.interrupted()
    with Raises(EAGAIN):
        nothing.refused()
    some = Blocked(WaitQueue(), progress=5)
    assert some.expired() == some.interrupted() == some.refused() == 5


def test_a_refused_call_is_cancelled():
    class Cancelling(Blocked):
        cancelled = 0

        def cancel(self) -> None:
            self.cancelled += 1

    blocked = Cancelling(WaitQueue())
    with Raises(EAGAIN):
        blocked.refused()
    assert blocked.cancelled == 1


def test_retry_calls_the_action_and_says_where_there_is_none():
    assert Blocked(WaitQueue(), retry=lambda: 7).retry() == 7
    with pytest.raises(RuntimeError):
        Blocked(WaitQueue()).retry()
