"""The system calls that a program tried and may not make: refused here, and counted for whoever wants to know why it does not work.

Between `fences`, which says what is allowed, and `guest`.
"""

from collections import Counter
from typing import Final, final

from ...hyper.named import NamedTuple
from . import libc
from .fences import errno_of, name_of
from .listener import Listener, Notification

LIMIT: Final = 512
"""Different calls of different programs that are told apart; what comes then is refused all the same."""


class Refusal(NamedTuple):
    """Who tried what."""

    command: str
    """The process's name (comm of proc(5)), "?" where it has ended."""
    call: str
    errno: int
    """What the call failed with."""


@final
class Refusals:
    """One guest's."""

    def __init__(self) -> None:
        self.counts: Counter[Refusal] = Counter()
        """How often, in the order in which they first came."""
        self._machine = libc.machine()

    def refuse(self, listener: Listener, call: Notification) -> None:
        """Let the call fail.  Off the schedule."""
        name = name_of(self._machine, call.number)
        errno = errno_of(name)
        refusal = Refusal(_command(call.thread), name, errno)
        if refusal in self.counts or len(self.counts) < LIMIT:
            self.counts[refusal] += 1
        listener.fail(call.id, errno)


def _command(thread: int) -> str:
    try:
        with open(f"/proc/{thread}/comm", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
