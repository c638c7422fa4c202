"""Calls that wait: notifications whose answer comes later, in the order in which they came.

A call may stop waiting without telling: its thread was killed, or ran a signal handler.  That shows when the answer finds
nobody (ENOENT), so nothing is done for a parked call that can't be undone.
"""

from collections.abc import Iterator
from typing import NamedTuple, final

from ...hyper.time import FOREVER, Instant
from .listener import Listener, Notification


class Waiting(NamedTuple):
    """One call."""

    call: Notification
    flags: int
    """accept4's."""
    deadline: Instant
    late: int = 0
    """The errno that it gets then."""


@final
class Parked:
    """The calls that wait for one thing."""

    def __init__(self, listener: Listener) -> None:
        self._listener: Listener = listener
        self._calls: list[
            Waiting
        ] = []  # few, and most often none: a deque takes half a kilobyte and the time to make it

    def add(self, call: Notification, flags: int = 0, deadline: Instant = FOREVER, late: int = 0) -> None:
        """Let a call wait, until its deadline passes: then it fails with `late`."""
        self._calls.append(Waiting(call, flags, deadline, late))

    def next(self) -> Waiting | None:
        """Take the call that has waited longest."""
        return self._calls.pop(0) if self._calls else None

    def fail_all(self, error: int) -> None:
        """End all waits with an errno; 0 is success."""
        while self._calls:
            waiting = self._calls.pop(0)
            if error:
                self._listener.fail(waiting.call.id, error)
            else:
                self._listener.answer(waiting.call.id)

    def expire(self, now: Instant) -> None:
        """End the waits whose deadline has passed."""
        for waiting in list(self._calls):
            if waiting.deadline <= now:
                self._calls.remove(waiting)
                self._listener.fail(waiting.call.id, waiting.late)

    def deadline(self) -> Instant:
        """The earliest of all deadlines."""
        return min((waiting.deadline for waiting in self._calls), default=FOREVER)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)
