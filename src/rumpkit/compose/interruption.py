"""Signals that ask a run to end: noted in the handler, seen where somebody waits.

A handler that raised could strike anywhere: between a relay's read and the byte's way into the kernel, or while the schedule is
held.  This one only writes to an eventfd; the host's loop then wakes who waits on `queue`.  `cli.run` sets it, `programs` waits.
"""

import os
from select import EPOLLIN
from typing import final

from ..hosts.posix.host import PosixHost
from ..hosts.posix.loop import Source
from ..hyper.time import Instant
from ..kern.wait import WaitQueue


@final
class Interruption(Source):
    """The number of a signal that has come and that nobody has taken yet."""

    def __init__(self, host: PosixHost) -> None:
        """Off the schedule; close it before the host."""
        super().__init__(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        self._host = host
        self.pending = 0
        self.queue = WaitQueue()
        host.loop.register(self, EPOLLIN)

    def set(self, number: int) -> None:
        """A signal has come.  Called in its handler: touches nothing that whoever it has interrupted may be in the midst of."""
        self.pending = number
        os.eventfd_write(self.fd, 1)

    def take(self) -> int:
        """The signal's number, which is then no longer pending; 0 if there is none."""
        number, self.pending = self.pending, 0
        return number

    def on_events(self, events: int, now: Instant) -> None:
        """On the schedule."""
        os.eventfd_read(self.fd)
        self.queue.wake_all()

    def close(self) -> None:
        """Watch no more."""
        self._host.loop.unregister(self)
        os.close(self.fd)
