"""One awaited call that has to wait: what it waits for, and what happens when it is woken, at its deadline, or given up.

Below `aio_gate.py`, whose coroutines sleep on the suspension and call `resume` when they go on.  The contract of the wait is that of
kern/wait.py.
"""

from typing import final

from ..hyper.calls import Hypercalls, Waiter
from ..hyper.time import FOREVER, Instant
from ..kern.wait import Blocked
from .suspend import Expiry


@final
class AioWait:
    """Made on the schedule; `resume` and `abandon` are called off it."""

    def __init__(self, host: Hypercalls, waits: "list[AioWait]", blocked: Blocked, suspension: Waiter) -> None:
        """Queue `suspension` for a call that has blocked, and note the wait in `waits` until it ends."""
        self.host: Hypercalls = host
        self.waits: list[AioWait] = waits
        self.blocked: Blocked = blocked
        self.deadline: Instant = blocked.deadline
        """The first Blocked's, which holds over retries."""
        self.suspension: Waiter = suspension
        self.expiry: Expiry | None = None
        self.queued: bool = True
        """Whether the suspension is on the queue, or was woken from there and nobody looked yet."""
        self.interrupted: bool = False
        self.ended: bool = False
        if blocked.deadline < FOREVER:
            self.expiry = Expiry(host, suspension, blocked.deadline)
        waits.append(self)
        blocked.queue.add(suspension)

    def interrupt(self) -> None:
        """End the wait as a signal does.  On the schedule."""
        self.interrupted = True
        self.suspension.wake()

    def resume(self) -> object:
        """Go on after a wake: the call's result, or Blocked if it sleeps on.  Raises what the call raises."""
        host = self.host
        host.enter()
        try:
            result = self._look()
            if not isinstance(result, Blocked):
                self._end()
            return result
        except BaseException:
            self._end()
            raise
        finally:
            host.leave()

    def abandon(self) -> None:
        """Nobody will go on."""
        if not self.ended:
            self.host.enter()
            try:
                self._end()
            finally:
                self.host.leave()

    def _look(self) -> object:
        blocked = self.blocked
        suspension = self.suspension
        woken = not blocked.queue.remove(suspension)
        self.queued = False
        if self.interrupted:
            if woken:
                blocked.queue.wake_one()
            return blocked.interrupted()
        if not woken and self.host.now >= self.deadline:
            return blocked.expired()
        result = blocked.retry()
        if isinstance(result, Blocked):
            self.blocked = result
            result.queue.add(suspension)
            self.queued = True
        return result

    def _end(self) -> None:
        """Clear up; one that was given up after it was woken passes the wake-up on."""
        self.ended = True
        if self.queued and not self.blocked.queue.remove(self.suspension):
            self.blocked.queue.wake_one()
        if self.expiry is not None:
            self.expiry.close()
        self.waits.remove(self)
        self.blocked.cancel()
