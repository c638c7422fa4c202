"""Signals that ask a run to end: noted in the handler, seen where somebody waits.

A handler that raised could strike anywhere: between a relay's read and the byte's way into the kernel, or while the schedule is
held.  This one only writes to a pipe; the host's loop then wakes who waits on `queue`.  `cli.run` sets it, `programs` waits.

Python runs a handler when the main thread gets to its next step, which it does not while it sleeps: a signal that comes just before that,
or to another thread, would not be heard.  So Python's own C handler writes to the pipe, too (`signal.set_wakeup_fd`).
"""

import os
import signal
import threading
from contextlib import suppress
from select import EPOLLIN
from typing import Final, final

from ..hosts.posix.host import PosixHost
from ..hosts.posix.loop import Source
from ..hyper.time import Instant
from ..kern.wait import WaitQueue

_AT_ONCE: Final = 4096
"""Bytes of the pipe that are read at a time, one for each signal."""


@final
class Interruption(Source):
    """The number of a signal that has come and that nobody has taken yet.  Made in the main thread, it wakes who waits for each signal that
    has a handler in Python."""

    def __init__(self, host: PosixHost) -> None:
        """Off the schedule; close it before the host."""
        end, self._other_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        super().__init__(end)
        self._host = host
        self.pending = 0
        self.queue = WaitQueue()
        host.loop.register(self, EPOLLIN)
        self._main = threading.current_thread() is threading.main_thread()
        self._before = signal.set_wakeup_fd(self._other_end, warn_on_full_buffer=False) if self._main else -1

    def set(self, number: int) -> None:
        """A signal has come.  Called in its handler: touches nothing that whoever it has interrupted may be in the midst of."""
        self.pending = number
        with suppress(BlockingIOError):  # it is full, so that they are being woken
            os.write(self._other_end, b"\0")

    def take(self) -> int:
        """The signal's number, which is then no longer pending; 0 if there is none."""
        number, self.pending = self.pending, 0
        return number

    def on_events(self, events: int, now: Instant) -> None:
        """On the schedule."""
        os.read(self.fd, _AT_ONCE)
        self.queue.wake_all()

    def close(self) -> None:
        """Watch no more.  In the thread that made it."""
        if self._main:
            signal.set_wakeup_fd(self._before)
        self._host.loop.unregister(self)
        os.close(self.fd)
        os.close(self._other_end)
