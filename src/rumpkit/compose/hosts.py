"""The host that kernels of this Python process share, unless they are given one: made for the first, closed after the last.

One host means one schedule and one set of switches, so that `switch:lan` of two kernels is the same switch.
"""

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..hosts.posix.host import PosixHost


class SharedHost:
    """A posix host with a count of its users."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._host: PosixHost | None = None
        self._users = 0

    def acquire(self) -> "PosixHost":
        """The host; made if this is the first user."""
        from ..hosts.posix.host import PosixHost

        with self._lock:
            if self._host is None:
                self._host = PosixHost()
            self._users += 1
            return self._host

    def release(self) -> None:
        """One user less; the last one closes the host."""
        with self._lock:
            self._users -= 1
            host = self._host if self._users == 0 else None
            if host is not None:
                self._host = None
        if host is not None:
            host.close()


SHARED = SharedHost()
