"""Epoll sets against poll, and the rules of epoll(7) one by one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rumpkit.kern.abi.errno import EBADF, EEXIST, EINVAL, ELOOP, ENOENT, ENOSPC, EPERM
from rumpkit.kern.abi.fcntl import O_NONBLOCK
from rumpkit.kern.abi.poll import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLONESHOT,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
)
from rumpkit.kern.epoll import EpollFile
from rumpkit.kern.pollcalls import PollCalls
from rumpkit.kern.wait import Blocked
from tests.kern.helpers import Bell, Raises, Switchable, make_kernel

BITS = st.sampled_from([0, POLLIN, POLLOUT, POLLIN | POLLOUT, POLLHUP, POLLIN | POLLERR])
MODES = st.sampled_from([0, 0, EPOLLET, EPOLLONESHOT, EPOLLET | EPOLLONESHOT])


class EpollMachine(RuleBasedStateMachine):
    """One set over files whose readiness changes at will, against a model that looks at every watch every time.

    A level-triggered watch is reported whenever it is ready.  An edge-triggered one is reported if it is ready and something
    happened to its file since it was last reported.  A one-shot one is reported once until it is modified.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoll = EpollFile(100)
        self.epoll.hold()
        self.files = [Switchable() for _ in range(5)]
        for file in self.files:
            file.hold()
        self.watches: dict[int, list[int]] = {}
        """Number to events, armed, happened."""

    def ready(self, fd: int) -> int:
        return self.files[fd].bits & (self.watches[fd][0] | POLLERR | POLLHUP)

    @rule(fd=st.integers(0, 4), events=BITS, mode=MODES)
    def add(self, fd, events, mode):
        if fd in self.watches:
            with Raises(EEXIST):
                self.epoll.add(fd, self.files[fd], events | mode, fd)
        else:
            self.epoll.add(fd, self.files[fd], events | mode, fd)
            self.watches[fd] = [events | mode, 1, 1]

    @rule(fd=st.integers(0, 4), events=BITS, mode=MODES)
    def modify(self, fd, events, mode):
        if fd in self.watches:
            self.epoll.modify(fd, self.files[fd], events | mode, fd)
            happened = self.watches[fd][2]
            self.watches[fd] = [events | mode, 1, 1 if self.files[fd].bits & (events | POLLERR | POLLHUP) else happened]
        else:
            with Raises(ENOENT):
                self.epoll.modify(fd, self.files[fd], events | mode, fd)

    @rule(fd=st.integers(0, 4))
    def remove(self, fd):
        if self.watches.pop(fd, None):
            self.epoll.remove(fd, self.files[fd])
        else:
            with Raises(ENOENT):
                self.epoll.remove(fd, self.files[fd])

    @rule(fd=st.integers(0, 4), bits=BITS)
    def change(self, fd, bits):
        self.files[fd].set(bits)
        if fd in self.watches and self.ready(fd) and self.watches[fd][1]:
            self.watches[fd][2] = 1

    @rule(fd=st.integers(0, 4))
    def close(self, fd):
        self.files[fd].release(0)
        self.watches.pop(fd, None)
        self.files[fd] = Switchable()
        self.files[fd].hold()

    @rule(limit=st.integers(1, 6))
    def collect(self, limit):
        expected = {}
        for fd, (events, armed, happened) in self.watches.items():
            bits = self.ready(fd)
            if bits and armed and (happened or not events & EPOLLET):
                expected[fd] = bits
        found = self.epoll.collect(limit)
        assert len(found) == min(limit, len(expected))
        assert dict(found).items() <= expected.items() and len(dict(found)) == len(found)
        for fd, _ in found:
            watch = self.watches[fd]
            if watch[0] & EPOLLONESHOT:
                watch[1] = 0
            if watch[0] & (EPOLLET | EPOLLONESHOT):
                watch[2] = 0

    @invariant()
    def poll_agrees(self):
        expected = any(
            self.ready(fd) and armed and (happened or not events & EPOLLET)
            for fd, (events, armed, happened) in self.watches.items()
        )
        assert bool(self.epoll.poll() & POLLIN) == expected


TestEpoll = EpollMachine.TestCase


class Set:
    """An epoll set of one process, and its calls."""

    def __init__(self) -> None:
        self.kernel = make_kernel()
        poll = self.kernel.service("PollCalls")
        assert isinstance(poll, PollCalls)
        self.calls = poll
        self.process = self.kernel.process()
        self.epfd = poll.epoll_create1(self.process)

    def file(self, bits: int = 0) -> tuple[int, Switchable]:
        file = Switchable(bits)
        return self.process.files.install(file), file

    def ctl(self, operation: int, fd: int, events: int = POLLIN, data: int | None = None, epfd: int | None = None):
        self.calls.epoll_ctl(self.process, self.epfd if epfd is None else epfd, operation, fd, events, data)

    def wait(self, limit: int = 10) -> object:
        return self.calls.epoll_wait(self.process, self.epfd, limit, 0)

    def block(self) -> tuple[Blocked, Bell]:
        blocked = self.calls.epoll_wait(self.process, self.epfd, 10, -1)
        assert isinstance(blocked, Blocked)
        bell = Bell()
        blocked.queue.add(bell)
        return blocked, bell


@pytest.fixture
def it():
    return Set()


def test_level_triggered_reports_until_it_is_over(it):
    fd, file = it.file(POLLIN | POLLOUT)
    it.ctl(EPOLL_CTL_ADD, fd, POLLIN, 77)
    assert it.wait() == [(77, POLLIN)] == it.wait()
    file.set(POLLOUT)
    assert it.wait() == []


def test_reports_are_fair(it):
    fds = [it.file(POLLIN)[0] for _ in range(4)]
    for fd in fds:
        it.ctl(EPOLL_CTL_ADD, fd)
    seen = [it.wait(1)[0][0] for _ in range(8)]
    assert seen == fds + fds


def test_edge_triggered_reports_each_event_once(it):
    fd, file = it.file(POLLIN)
    it.ctl(EPOLL_CTL_ADD, fd, POLLIN | EPOLLET)
    assert it.wait() == [(fd, POLLIN)]
    assert it.wait() == []
    file.set(POLLIN)
    file.set(POLLIN)
    assert it.wait() == [(fd, POLLIN)]
    assert it.wait() == []


def test_one_shot_sleeps_until_modified(it):
    fd, file = it.file(POLLIN)
    it.ctl(EPOLL_CTL_ADD, fd, POLLIN | EPOLLONESHOT)
    assert it.wait() == [(fd, POLLIN)]
    file.set(POLLIN)
    assert it.wait() == []
    it.ctl(EPOLL_CTL_MOD, fd, POLLIN | EPOLLONESHOT)
    assert it.wait() == [(fd, POLLIN)]


def test_closing_a_file_removes_it_but_a_duplicate_keeps_it(it):
    fd, file = it.file(POLLIN)
    other = it.process.files.install(file)
    it.ctl(EPOLL_CTL_ADD, fd)
    it.process.files.close(fd, 0)
    assert it.wait() == [(fd, POLLIN)]
    it.process.files.close(other, 0)
    assert it.wait() == []
    assert file.queue.idle()


def test_a_number_taken_again_is_another_watch(it):
    fd, _ = it.file(POLLIN)
    it.ctl(EPOLL_CTL_ADD, fd)
    it.process.files.close(fd, 0)
    again, _ = it.file(POLLIN)
    assert again == fd
    it.ctl(EPOLL_CTL_ADD, fd)
    assert it.wait() == [(fd, POLLIN)]


def test_closing_the_set_lets_go_of_its_files(it):
    fd, file = it.file(POLLIN)
    it.ctl(EPOLL_CTL_ADD, fd)
    it.process.files.close(it.epfd, 0)
    assert file.queue.idle()


def test_a_wait_that_sleeps_wakes_only_for_what_it_asked_for(it):
    fd, file = it.file()
    it.ctl(EPOLL_CTL_ADD, fd, POLLIN)
    blocked, bell = it.block()
    file.set(POLLOUT)
    assert bell.rings == 0
    file.set(POLLIN | POLLOUT)
    assert bell.rings == 1
    assert blocked.retry() == [(fd, POLLIN)]


def test_events_wake_one_waiter_each_and_a_level_goes_on_to_the_next(it):
    fd, file = it.file()
    it.ctl(EPOLL_CTL_ADD, fd, POLLIN)
    (first, bell), (second, other) = it.block(), it.block()
    file.set(POLLIN)
    assert (bell.rings, other.rings) == (1, 0)
    assert first.retry() == [(fd, POLLIN)]
    assert other.rings == 1
    assert second.retry() == [(fd, POLLIN)]


def test_an_edge_wakes_one_waiter(it):
    fd, file = it.file()
    it.ctl(EPOLL_CTL_ADD, fd, POLLIN | EPOLLET)
    (first, _), (_, other) = it.block(), it.block()
    file.set(POLLIN)
    assert first.retry() == [(fd, POLLIN)]
    assert other.rings == 0


def test_closing_the_set_ends_a_wait_on_it(it):
    blocked, bell = it.block()
    it.process.files.close(it.epfd, 0)
    assert bell.rings == 1
    with Raises(EBADF):
        blocked.retry()


def test_a_wait_that_times_out_gives_nothing(it):
    blocked, _ = it.block()
    assert blocked.expired() == []


def test_what_ctl_refuses(it):
    fd, _ = it.file()
    with Raises(ENOENT):
        it.ctl(EPOLL_CTL_MOD, fd)
    with Raises(ENOENT):
        it.ctl(EPOLL_CTL_DEL, fd)
    it.ctl(EPOLL_CTL_ADD, fd)
    with Raises(EEXIST):
        it.ctl(EPOLL_CTL_ADD, fd)
    with Raises(EBADF):
        it.ctl(EPOLL_CTL_ADD, 99)
    with Raises(EBADF):
        it.ctl(EPOLL_CTL_ADD, fd, epfd=99)
    with Raises(EINVAL):
        it.ctl(EPOLL_CTL_ADD, it.epfd)
    with Raises(EINVAL):
        it.ctl(EPOLL_CTL_ADD, fd, epfd=fd)
    with Raises(EINVAL):
        it.ctl(9, fd)
    with Raises(EINVAL):
        it.wait(0)
    with Raises(EINVAL):
        it.calls.epoll_create1(it.process, O_NONBLOCK)


def test_files_that_cannot_wait_are_refused(it):
    class Regular(Switchable):
        def pollable(self) -> bool:
            return False

    with Raises(EPERM):
        it.ctl(EPOLL_CTL_ADD, it.process.files.install(Regular(POLLIN)))


def test_a_set_has_a_limit(it):
    it.kernel.sysctl.set("kern.max_watches", 2)
    epfd = it.calls.epoll_create1(it.process)
    for _ in range(2):
        it.ctl(EPOLL_CTL_ADD, it.file()[0], epfd=epfd)
    with Raises(ENOSPC):
        it.ctl(EPOLL_CTL_ADD, it.file()[0], epfd=epfd)


def test_sets_nest(it):
    inner = it.calls.epoll_create1(it.process)
    fd, file = it.file()
    it.ctl(EPOLL_CTL_ADD, fd, POLLIN, epfd=inner)
    it.ctl(EPOLL_CTL_ADD, inner, POLLIN)
    _, bell = it.block()
    file.set(POLLIN)
    assert bell.rings == 1
    found = it.wait()
    assert [data for data, _ in found] == [inner]
    file.set(0)
    assert it.wait() == []


def test_circles_and_long_chains_are_refused(it):
    sets = [it.calls.epoll_create1(it.process) for _ in range(6)]
    for upper, lower in pairwise(sets[:5]):
        it.ctl(EPOLL_CTL_ADD, lower, epfd=upper)
    with Raises(ELOOP):
        it.ctl(EPOLL_CTL_ADD, sets[0], epfd=sets[4])
    with Raises(ELOOP):
        it.ctl(EPOLL_CTL_ADD, sets[0], epfd=sets[1])
    with Raises(ELOOP):
        it.ctl(EPOLL_CTL_ADD, sets[5], epfd=sets[4])
    it.process.files.close(sets[2], 0)
    it.ctl(EPOLL_CTL_ADD, sets[5], epfd=sets[4])


def test_exclusive_sets_wake_one_waiter_among_them():
    it = Set()
    fd, file = it.file()
    epfds = [it.calls.epoll_create1(it.process) for _ in range(3)]
    bells = []
    for epfd in epfds:
        it.ctl(EPOLL_CTL_ADD, fd, POLLIN | EPOLLEXCLUSIVE, epfd=epfd)
        it.epfd = epfd
        bells.append(it.block()[1])
    file.set(POLLIN)
    assert sum(bell.rings for bell in bells) == 1
    file.set(POLLIN)
    assert sum(bell.rings for bell in bells) == 2


def test_exclusive_has_rules(it):
    fd, _ = it.file()
    with Raises(EINVAL):
        it.ctl(EPOLL_CTL_ADD, fd, POLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT)
    with Raises(EINVAL):
        it.ctl(EPOLL_CTL_ADD, it.calls.epoll_create1(it.process), POLLIN | EPOLLEXCLUSIVE)
    it.ctl(EPOLL_CTL_ADD, fd, POLLIN | EPOLLEXCLUSIVE)
    with Raises(EINVAL):
        it.ctl(EPOLL_CTL_MOD, fd, POLLIN)


def test_a_wait_looks_at_ready_files_only(it):
    class Counting(Switchable):
        looks = 0

        def poll(self) -> int:
            Counting.looks += 1
            return self.bits

    files = [Counting() for _ in range(500)]
    for file in files:
        it.ctl(EPOLL_CTL_ADD, it.process.files.install(file), POLLIN)
    files[250].set(POLLIN)
    Counting.looks = 0
    assert len(it.wait()) == 1
    assert Counting.looks <= 3


def test_adding_and_removing_what_is_ready_does_not_pile_up(it):
    fd, _ = it.file(POLLIN)
    epoll = it.process.files.get(it.epfd)
    for _ in range(1000):
        it.ctl(EPOLL_CTL_ADD, fd)
        it.ctl(EPOLL_CTL_DEL, fd)
    assert len(epoll._ready) < 100
