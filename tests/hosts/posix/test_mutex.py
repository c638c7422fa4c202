"""Locks that threads wait for: nobody is passed over for ever, and a signal leaves nothing taken."""

from __future__ import annotations

import signal
import threading

import pytest

from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.mutex import MOST_PASSED, PosixMutex


@pytest.fixture
def host():
    host = PosixHost(console=-1)
    yield host
    host.close()


def waiting(host: PosixHost, mutex: PosixMutex, got: list[int], number: int) -> threading.Thread:
    """A thread that waits for the lock, and notes when it has it."""
    there = threading.Event()

    def work() -> None:
        host.enter()
        there.set()
        mutex.acquire()
        got.append(number)
        mutex.release()
        host.leave()

    thread = threading.Thread(target=work)
    thread.start()
    assert there.wait(60)
    while True:  # it waits once the schedule is free while it hasn't got the lock
        host.enter()
        if len(mutex._waiters) == number + 1:
            return thread
        host.leave()


def test_who_waits_is_not_passed_over_for_ever(host):
    mutex = PosixMutex(host)
    host.enter()
    mutex.acquire()
    host.leave()
    got: list[int] = []
    thread = waiting(host, mutex, got, 0)
    taken = 0
    while not got:  # on the schedule all the time: the other one has no turn but by our waiting
        mutex.release()
        mutex.acquire()
        taken += 1
    assert taken == MOST_PASSED + 1
    mutex.release()
    host.leave()
    thread.join(60)


def test_those_who_wait_get_it_in_their_order(host):
    mutex = PosixMutex(host)
    host.enter()
    mutex.acquire()
    host.leave()
    got: list[int] = []
    threads = []
    for number in range(4):
        threads.append(waiting(host, mutex, got, number))
        host.leave()
    host.enter()
    mutex.release()
    host.leave()
    for thread in threads:
        thread.join(60)
    assert got == [0, 1, 2, 3]
    host.enter()
    mutex.acquire()
    mutex.release()
    with pytest.raises(RuntimeError):
        mutex.release()
    host.leave()


def test_a_signal_ends_the_waiting_and_leaves_nothing(host):
    """In the main thread, which is the one that Ctrl-C interrupts."""
    mutex = PosixMutex(host)
    there, done = threading.Event(), threading.Event()

    def hold() -> None:
        host.enter()
        mutex.acquire()
        host.leave()
        there.set()
        done.wait(60)
        host.enter()
        mutex.release()
        host.leave()

    def interrupt() -> None:
        while True:
            host.enter()
            waits = len(mutex._waiters)
            host.leave()
            if waits:
                break
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    holder = threading.Thread(target=hold)
    holder.start()
    assert there.wait(60)
    other = threading.Thread(target=interrupt)
    other.start()
    host.enter()
    with pytest.raises(KeyboardInterrupt):
        mutex.acquire()
    assert not mutex._waiters
    done.set()
    mutex.acquire()
    mutex.release()
    host.leave()
    holder.join(60)
    other.join(60)
