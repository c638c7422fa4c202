"""Mutexes: what protects kernel data while its user sleeps in block I/O, off the schedule.

Everything else needs no lock: on the schedule a caller is alone.  A mutex is held across `Hypercalls.unschedule`,
so whoever finds it taken must not wait on the schedule, which the holder needs to go on.
"""

from abc import ABC, abstractmethod
from typing import final

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Mutex(ABC):
    """A lock of a mount or a device.  Not recursive; `acquire` and `release` are called on the schedule."""

    @abstractmethod
    def acquire(self) -> None:
        """Take the lock: try first and, where it is taken, `unschedule`, wait for it, `schedule`.

        The caller is on the schedule before and after, but others may have run meanwhile: what it knew of data
        that the lock doesn't protect is stale.
        """

    @abstractmethod
    def release(self) -> None:
        """Give the lock up; one waiter gets it, in the order they came, or somebody who has come just now: a few times, and no more."""

    def retake(self) -> None:
        """Take the lock, whatever signals arrive meanwhile: for who has given it up for a while, and whose callers count on it."""
        interruption: BaseException | None = None
        while True:
            try:
                self.acquire()
                break
            except KeyboardInterrupt as problem:
                interruption = problem
        if interruption is not None:
            raise interruption


@final
class SingleThreadMutex(Mutex):
    """The mutex of hosts with one thread: block I/O returns at once there, so nobody ever finds it taken.

    Raises RuntimeError where somebody does, as waiting would be for ever.
    """

    def __init__(self) -> None:
        self._taken: bool = False

    def acquire(self) -> None:
        """Take the lock."""
        if self._taken:
            raise RuntimeError("a mutex is taken twice in a host with one thread")
        self._taken = True

    def release(self) -> None:
        """Give the lock up."""
        if not self._taken:
            raise RuntimeError("a mutex is given up that nobody took")
        self._taken = False
