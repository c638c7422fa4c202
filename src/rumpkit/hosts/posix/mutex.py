"""Mutexes of the POSIX host: locks that threads may wait for without holding the schedule.

Who waits is woken in the order of arrival.  Whoever comes while the lock is free takes it at once, as waking a thread takes long; but
nobody is passed over more than MOST_PASSED times: then the lock is handed to him.
"""

import threading
from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.mutex import Mutex

MOST_PASSED: Final = 8
"""So often others may take a lock before the first of those who wait for it."""


@final
class _Waiter:
    """Somebody who waits."""

    def __init__(self) -> None:
        self.signal = threading.Lock()
        """Taken while he sleeps."""
        self.signal.acquire()
        self.woken: bool = False
        self.given: bool = False
        """The lock is his."""
        self.passed: int = 0


@final
class PosixMutex(Mutex):
    """A lock that gives the schedule up while it waits.  Its state is changed on the schedule alone."""

    def __init__(self, hyper: Hypercalls) -> None:
        self._hyper: Hypercalls = hyper
        self._taken: bool = False
        self._waiters: list[_Waiter] = []

    def acquire(self) -> None:
        """Take the lock."""
        if self._taken:
            self._wait()
            return
        waiters = self._waiters
        if waiters:
            if waiters[0].passed >= MOST_PASSED:
                self._wait()
                return
            waiters[0].passed += 1
        self._taken = True

    def release(self) -> None:
        """Give the lock up."""
        if not self._taken:
            raise RuntimeError("a mutex is given up that nobody took")
        waiters = self._waiters
        if not waiters:
            self._taken = False
            return
        first = waiters[0]
        if first.passed >= MOST_PASSED:
            del waiters[0]
            first.given = True
        else:
            self._taken = False
        self._wake(first)

    def _wait(self) -> None:
        waiter = _Waiter()
        try:
            self._waiters.append(waiter)
            while not self._is_mine(waiter):
                pass
        except BaseException:  # Ctrl-C, say
            self._give_up(waiter)
            raise

    def _is_mine(self, waiter: _Waiter) -> bool:
        """Sleep; whether the lock is his now."""
        hyper = self._hyper
        hyper.unschedule()
        try:
            hyper.assert_unscheduled("a mutex")
            waiter.signal.acquire()
        finally:
            hyper.schedule()
        waiter.woken = False
        if waiter.given:
            return True
        if self._taken:
            return False
        self._waiters.remove(waiter)
        self._taken = waiter.given = True
        return True

    def _wake(self, waiter: _Waiter) -> None:
        if not waiter.woken:
            waiter.woken = True
            waiter.signal.release()

    def _give_up(self, waiter: _Waiter) -> None:
        """A signal has ended the waiting: whatever he has been given is the next one's."""
        if waiter.given:
            self.release()
            return
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if not self._taken and self._waiters:
            self._wake(self._waiters[0])
