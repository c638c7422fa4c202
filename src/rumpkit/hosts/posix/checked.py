"""The schedule's lock, checked: what `RUMPKIT_DEBUG=lock` puts in the place of the plain lock."""

import threading
from typing import final


@final
class CheckedLock:
    """A lock that knows its holder: it raises RuntimeError where a plain lock would hang or be given up by a stranger."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int = 0

    def acquire(self) -> bool:
        """Take the lock.  Raises RuntimeError if this thread has it."""
        me = threading.get_ident()
        if self._holder == me:
            raise RuntimeError("the schedule is taken by a thread that has it")
        self._lock.acquire()
        self._holder = me
        return True

    def release(self) -> None:
        """Give the lock up.  Raises RuntimeError unless this thread has it."""
        if self._holder != threading.get_ident():
            raise RuntimeError("the schedule is given up by a thread that does not have it")
        self._holder = 0
        self._lock.release()

    def held(self) -> bool:
        """Whether this thread has the lock."""
        return self._holder == threading.get_ident()
