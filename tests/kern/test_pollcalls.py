"""The calls poll and select."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.kern.abi.errno import EBADF, EINVAL
from rumpkit.kern.abi.poll import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI
from rumpkit.kern.pollcalls import PollCalls
from rumpkit.kern.wait import Blocked
from tests.kern.helpers import Bell, Raises, Switchable, make_kernel


class Poller:
    def __init__(self) -> None:
        self.kernel = make_kernel()
        calls = self.kernel.service("PollCalls")
        assert isinstance(calls, PollCalls)
        self.calls = calls
        self.process = self.kernel.process()

    def file(self, bits: int = 0) -> tuple[int, Switchable]:
        file = Switchable(bits)
        return self.process.files.install(file), file

    def block(self, *entries: tuple[int, int]) -> tuple[Blocked, Bell]:
        blocked = self.calls.poll(self.process, entries, -1)
        assert isinstance(blocked, Blocked)
        bell = Bell()
        blocked.queue.add(bell)
        return blocked, bell


@pytest.fixture
def it():
    return Poller()


@given(
    state=st.lists(st.integers(0, 31), min_size=1, max_size=6),
    asked=st.lists(st.tuples(st.integers(-2, 8), st.integers(0, 31)), max_size=8),
)
def test_poll_reports_what_was_asked_for_and_what_always_counts(state, asked):
    it = Poller()
    for bits in state:
        it.file(bits)
    expected = []
    for fd, events in asked:
        if fd >= len(state):
            expected.append((fd, POLLNVAL))
        elif fd >= 0 and state[fd] & (events | POLLERR | POLLHUP):
            expected.append((fd, state[fd] & (events | POLLERR | POLLHUP)))
    assert it.calls.poll(it.process, asked, 0) == expected


def test_a_poll_that_sleeps_hears_of_each_file_and_forgets_them_all_in_the_end(it):
    (one, first), (two, second) = it.file(), it.file()
    blocked, bell = it.block((one, POLLIN), (two, POLLOUT))
    second.set(POLLIN)
    assert bell.rings == 1
    assert blocked.retry() is blocked
    blocked.queue.add(bell)
    second.set(POLLOUT)
    assert bell.rings == 2
    assert blocked.retry() == [(two, POLLOUT)]
    blocked.cancel()
    assert first.queue.idle() and second.queue.idle()


def test_a_poll_that_does_not_sleep_subscribes_to_nothing(it):
    fd, file = it.file(POLLIN)
    assert it.calls.poll(it.process, [(fd, POLLIN)], -1) == [(fd, POLLIN)]
    assert it.calls.poll(it.process, [(fd, POLLOUT)], 0) == []
    assert file.queue.idle()


def test_the_same_file_twice(it):
    fd, file = it.file()
    blocked, _ = it.block((fd, POLLIN), (fd, POLLOUT))
    file.set(POLLIN | POLLOUT)
    assert blocked.retry() == [(fd, POLLIN), (fd, POLLOUT)]
    blocked.cancel()
    assert file.queue.idle()


def test_a_file_that_closes_is_not_valid_any_more(it):
    fd, _ = it.file()
    blocked, bell = it.block((fd, POLLIN))
    it.process.files.close(fd, 0)
    assert bell.rings == 1
    assert blocked.retry() == [(fd, POLLNVAL)]


def test_timeouts_are_deadlines(it):
    fd, _ = it.file()
    blocked = it.calls.poll(it.process, [(fd, POLLIN)], 1500)
    assert blocked.deadline == it.kernel.hyper.now + 1500
    assert blocked.expired() == []


def test_too_many_entries(it):
    with Raises(EINVAL):
        it.calls.poll(it.process, [(0, POLLIN)] * 1025, 0)


def test_select_sorts_by_what_was_asked(it):
    a, _ = it.file(POLLIN | POLLOUT)
    b, _ = it.file(POLLHUP)
    c, _ = it.file(POLLPRI)
    assert it.calls.select(it.process, [b, a, c], [a, b], [c, a], 0) == ([b, a], [a], [c])
    assert it.calls.select(it.process, [c], [], [], 0) == ([], [], [])


def test_a_select_that_sleeps(it):
    a, first = it.file()
    b, second = it.file()
    blocked = it.calls.select(it.process, [a], [a, b], [], -1)
    second.set(POLLOUT)
    assert blocked.retry() == ([], [b], [])
    assert blocked.expired() == ([], [], [])
    blocked.cancel()
    assert first.queue.idle() and second.queue.idle()


def test_select_wants_open_files(it):
    a, _ = it.file()
    with Raises(EBADF):
        it.calls.select(it.process, [a, 7], [], [], 0)
    blocked = it.calls.select(it.process, [a], [], [], -1)
    it.process.files.close(a, 0)
    with Raises(EBADF):
        blocked.retry()
