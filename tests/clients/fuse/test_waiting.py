"""Waiting for requests: awake for a moment where they come in quick succession, and asleep otherwise."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator

import pytest

from rumpkit.clients.fuse.waiting import ENOUGH, Waiting

pytestmark = pytest.mark.once


class Bell:
    """A descriptor that somebody rings."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC)
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        self.waiting = Waiting(poll)

    def ring(self) -> None:
        os.eventfd_write(self.fd, 1)

    def answer(self) -> None:
        self.waiting.wait()
        os.eventfd_read(self.fd)


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell()
    yield bell
    os.close(bell.fd)


def hurry(bell: Bell) -> None:
    """So many requests in quick succession that the next is awaited awake."""
    for _ in range(ENOUGH):
        bell.ring()
        bell.answer()


def test_nothing_is_missed(bell: Bell) -> None:
    rounds = 300
    answered = threading.Semaphore(0)

    def serve() -> None:
        for _ in range(rounds):
            bell.answer()
            answered.release()

    server = threading.Thread(target=serve)
    server.start()
    for number in range(rounds):
        if number % 50 == 49:
            time.sleep(0.002)
        bell.ring()
        assert answered.acquire(timeout=30)
    server.join(30)
    assert not server.is_alive()


def test_an_idle_wait_costs_nothing(bell: Bell) -> None:
    """After a hurry, too: a thread that looked for half a second would take far more processor time than that."""
    hurry(bell)
    timer = threading.Timer(0.5, bell.ring)
    timer.start()
    before = time.thread_time()
    bell.answer()
    assert time.thread_time() - before < 0.1
    timer.join()
