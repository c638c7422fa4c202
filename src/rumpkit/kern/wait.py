"""Wait queues, and what a system call returns when it has to wait.

Nothing in a kernel sleeps.  A call that can't go on returns `Blocked`; the client that made it adds a waiter to
the queue it names, sleeps in its own way (a parked thread, an awaited future, a parked notification, simulated
events) and retries when woken, gives up at the deadline, or is interrupted.

The contract of a wait, which every client keeps (`clients/local.py` is the model):

1. `queue.add(waiter)`, sleep, then `queue.remove(waiter)`, which says whether the waiter was still there.
2. A waiter that was gone has been woken: `retry()`.  It returns the call's result, raises the call's error, or
   returns `Blocked` (the same or another), and the wait goes on with that, under the *first* Blocked's deadline.
3. A waiter that was still there and whose deadline has passed: `expired()`; a signal: `interrupted()`.
4. Whoever was woken and yet does not retry passes the wake-up on: `queue.wake_one()`.
5. Whatever ended the wait, the last Blocked's `cancel()` is called once.
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


@mypyc_attr(allow_interpreted_subclasses=True)
class ExclusiveObserver(Observer):
    """An observer that is content if another one of its kind takes the event (EPOLLEXCLUSIVE)."""

    def offer(self) -> bool:
        """As `notify`; returns whether it took the event: the next exclusive observer is asked only if it didn't."""
        raise NotImplementedError


@final
class WaitQueue:
    """Waiters for one condition, first come first woken, and observers, who hear of every event."""

    def __init__(self) -> None:
        self._waiters: list[Waiter] | None = None
        self._observers: list[Observer] | None = None
        self._exclusive: list[ExclusiveObserver] | None = None
        self.hint: int = 0
        """While observers are told: the POLL* bits that may have come, or 0 for any.  Edge-triggered watches look at it."""

    def add(self, waiter: Waiter) -> None:
        """Queue a one-shot waiter: it is forgotten when woken."""
        if self._waiters is None:
            self._waiters = [waiter]
        else:
            self._waiters.append(waiter)

    def remove(self, waiter: Waiter) -> bool:
        """Forget a waiter that was not woken.  False: it was woken (or never added)."""
        waiters = self._waiters
        if waiters is None or waiter not in waiters:
            return False
        waiters.remove(waiter)
        return True

    def subscribe(self, observer: Observer) -> None:
        """Tell `observer` of every event from now on."""
        if self._observers is None:
            self._observers = [observer]
        else:
            self._observers.append(observer)

    def subscribe_exclusive(self, observer: ExclusiveObserver) -> None:
        """Offer events to `observer` in turn with others of its kind."""
        if self._exclusive is None:
            self._exclusive = [observer]
        else:
            self._exclusive.append(observer)

    def unsubscribe(self, observer: Observer) -> None:
        """Stop telling `observer`; nothing happens if it was never told."""
        if self._observers is not None and observer in self._observers:
            self._observers.remove(observer)
        elif self._exclusive is not None and isinstance(observer, ExclusiveObserver) and observer in self._exclusive:
            self._exclusive.remove(observer)

    def waited_on(self) -> bool:
        """Whether a waiter sleeps here."""
        return bool(self._waiters)

    def wake_one(self) -> None:
        """Wake the waiter that has waited longest, and tell all observers."""
        waiters = self._waiters
        if waiters:
            waiters.pop(0).wake()
        if self._observers is not None or self._exclusive is not None:
            self._tell()

    def wake_all(self) -> None:
        """Wake everybody."""
        waiters = self._waiters
        if waiters:
            self._waiters = None
            for waiter in waiters:
                waiter.wake()
        if self._observers is not None or self._exclusive is not None:
            self._tell()

    def wake_for(self, bits: int) -> None:
        """As `wake_all`, where nothing but these POLL* bits can have come."""
        self.hint = bits
        self.wake_all()
        self.hint = 0

    def tell(self, bits: int) -> None:
        """Tell observers, and no waiters, that these POLL* bits have come once more."""
        if self._observers is not None or self._exclusive is not None:
            self.hint = bits
            self._tell()
            self.hint = 0

    def _tell(self) -> None:
        observers = self._observers
        if observers:
            if len(observers) == 1:
                observers[0].notify()
            else:
                for observer in list(observers):
                    observer.notify()
        if self._exclusive:
            self._offer()

    def _offer(self) -> None:
        """Ask the exclusive observers until one takes the event; the taker goes to the end of the line."""
        exclusive = self._exclusive
        if exclusive is None:
            return
        for observer in list(exclusive):
            if observer.offer():
                if observer in exclusive:
                    exclusive.remove(observer)
                    exclusive.append(observer)
                return

    def idle(self) -> bool:
        """Whether nobody waits and nobody listens."""
        return not self._waiters and not self._observers and not self._exclusive


@mypyc_attr(allow_interpreted_subclasses=True)
class Blocked:
    """A system call that has to wait: on what, until when, and how it goes on.

    `progress` is what the call returns when it is interrupted or times out after part of the work is done (POSIX: a
    partial count rather than EINTR); None means that nothing was done yet.
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
        self.action: Callable[[], object] | None = retry
        """What `retry` does.  None where an open file leaves it to the system call to repeat its own operation
        (kern/blocking.py); what reaches a client can always be retried."""
        self.progress: object | None = progress
        self.timeout_errno: int = timeout_errno

    def retry(self) -> object:
        """Go on after a wake: the call's result, or `Blocked` again.  Called on the schedule; raises OSError."""
        action = self.action
        if action is None:
            raise RuntimeError("a wait without an action reached a client")
        return action()

    def so_far(self) -> object | None:
        """What the call returns if it ends now; None if nothing was done yet."""
        return self.progress

    def expired(self) -> object:
        """The call's result when its deadline has passed.  Raises OSError(timeout_errno) where nothing was done."""
        done = self.so_far()
        if done is not None:
            return done
        raise error(self.timeout_errno)

    def interrupted(self) -> object:
        """The call's result when a signal interrupts it.  Raises OSError(EINTR) where nothing was done."""
        done = self.so_far()
        if done is not None:
            return done
        raise error(EINTR)

    def refused(self) -> object:
        """The call's result for a caller that doesn't wait (O_NONBLOCK, MSG_DONTWAIT): cancels, then returns the
        progress, or raises EAGAIN where nothing was done."""
        self.cancel()
        done = self.so_far()
        if done is not None:
            return done
        raise error(EAGAIN)

    def cancel(self) -> None:
        """The caller will not come back: undo what the wait set up.  Called once, after whatever ended the wait.

        What the call has started and POSIX lets run on (a connection attempt) runs on.
        """
        return None
