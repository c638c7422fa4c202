"""The event loop, and sources that go while it is about to call them."""

from __future__ import annotations

import os
import sys
import threading
import time
from select import EPOLLIN

import pytest

from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.loop import Source

pytestmark = pytest.mark.once


class Noted(Source):
    """Counts its events."""

    calls = 0

    def on_events(self, events: int, now: int) -> None:
        self.calls += 1


def enters(thread: threading.Thread) -> bool:
    """Whether a thread is waiting for the schedule."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_name == "enter":
            return True
        frame = frame.f_back
    return False


def test_a_source_that_is_closed_while_the_loop_waits_for_the_schedule_is_not_called() -> None:
    host = PosixHost()
    eventfd = os.eventfd(1)
    source = Noted(eventfd)
    host.loop.register(source, EPOLLIN)
    host.enter()
    thread = threading.Thread(target=lambda: host.loop.dispatch(host.loop.wait(0), host))
    thread.start()
    end = time.monotonic() + 60
    while not enters(thread):
        assert time.monotonic() < end
        time.sleep(0.001)
    host.loop.unregister(source)
    os.close(eventfd)
    host.leave()
    thread.join()
    assert source.calls == 0
    host.close()
