"""Wait queues, and what a system call returns when it has to wait.

Nothing in a kernel sleeps.  A call that can't go on returns `Blocked`; the client that made it adds a waiter to
the queue it names, sleeps in its own way (a parked thread, an awaited future, a parked notification, simulated
events) and retries when woken, gives up at the deadline, or is interrupted.
"""

from collections.abc import Callable
from typing import final

from mypy_extensions import mypyc_attr

from ..hyper.calls import Waiter
from ..hyper.time import FOREVER, Instant
from .abi.errno import EAGAIN, EINTR, error


@mypyc_attr(allow_interpreted_subclasses=True)
class Observer:
    """Somebody who wants to hear of every event on a queue until it unsubscribes: epoll sets, relays, guests."""

    def notify(self) -> None:
        """Readiness may have changed.  Called on the schedule; note it and return, never re-enter the caller."""
        raise NotImplementedError


@final
class WaitQueue:
    """Waiters for one condition, first come first woken, and observers, who hear of every event."""

    def __init__(self) -> None:
        self._waiters: list[Waiter] | None = None
        self._observers: list[Observer] | None = None

    def add(self, waiter: Waiter) -> None:
        """Queue a one-shot waiter: it is forgotten when woken."""
        if self._waiters is None:
            self._waiters = [waiter]
        else:
            self._waiters.append(waiter)

    def remove(self, waiter: Waiter) -> None:
        """Forget a waiter that was not woken; nothing happens if it was."""
        if self._waiters is not None and waiter in self._waiters:
            self._waiters.remove(waiter)

    def subscribe(self, observer: Observer) -> None:
        """Tell `observer` of every event from now on."""
        if self._observers is None:
            self._observers = [observer]
        else:
            self._observers.append(observer)

    def unsubscribe(self, observer: Observer) -> None:
        """Stop telling `observer`; nothing happens if it was never told."""
        if self._observers is not None and observer in self._observers:
            self._observers.remove(observer)

    def wake_one(self) -> None:
        """Wake the waiter that has waited longest, and tell all observers."""
        waiters = self._waiters
        if waiters:
            waiters.pop(0).wake()
        if self._observers is not None:
            self._tell()

    def wake_all(self) -> None:
        """Wake everybody."""
        waiters = self._waiters
        if waiters:
            self._waiters = None
            for waiter in waiters:
                waiter.wake()
        if self._observers is not None:
            self._tell()

    def _tell(self) -> None:
        observers = self._observers
        if observers is None:
            return
        if len(observers) == 1:
            observers[0].notify()
            return
        for observer in list(observers):
            observer.notify()

    def idle(self) -> bool:
        """Whether nobody waits and nobody listens."""
        return not self._waiters and not self._observers


@mypyc_attr(allow_interpreted_subclasses=True)
class Blocked:
    """A system call that has to wait: on what, until when, and how it goes on.

    `retry` is called on the schedule after a wake and returns a result or `Blocked` again; None repeats the call
    from its start.  `progress` is what the call returns when it is interrupted or times out after part of the work
    is done (POSIX: a partial count rather than EINTR); None means that nothing was done yet.
    """

    def __init__(
        self,
        queue: WaitQueue,
        deadline: Instant = FOREVER,
        retry: Callable[[], object] | None = None,
        progress: object | None = None,
        timeout_errno: int = EAGAIN,
    ) -> None:
        self.queue: WaitQueue = queue
        self.deadline: Instant = deadline
        self.retry: Callable[[], object] | None = retry
        self.progress: object | None = progress
        self.timeout_errno: int = timeout_errno

    def expired(self) -> object:
        """The call's result when its deadline has passed.  Raises OSError(timeout_errno) where nothing was done."""
        if self.progress is not None:
            return self.progress
        raise error(self.timeout_errno)

    def interrupted(self) -> object:
        """The call's result when a signal interrupts it.  Raises OSError(EINTR) where nothing was done."""
        if self.progress is not None:
            return self.progress
        raise error(EINTR)

    def cancel(self) -> None:
        """The caller will not come back: undo what the wait set up.  Called once, after whatever ended the wait."""
        return None
