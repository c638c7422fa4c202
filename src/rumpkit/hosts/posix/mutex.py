"""Mutexes of the POSIX host: locks that threads may wait for without holding the schedule."""

import threading
from typing import final

from ...hyper.calls import Hypercalls
from ...hyper.mutex import Mutex


@final
class PosixMutex(Mutex):
    """A lock that gives the schedule up while it waits."""

    def __init__(self, hyper: Hypercalls) -> None:
        self._hyper: Hypercalls = hyper
        self._lock = threading.Lock()

    def acquire(self) -> None:
        """Take the lock."""
        if self._lock.acquire(False):
            return
        hyper = self._hyper
        hyper.unschedule()
        hyper.assert_unscheduled("a mutex")
        try:
            self._lock.acquire()
        finally:
            hyper.schedule()

    def release(self) -> None:
        """Give the lock up."""
        self._lock.release()
