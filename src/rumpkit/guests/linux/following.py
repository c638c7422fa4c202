"""A private file of a program's that follows something in the kernel, such as resolv.conf its name servers.

Above `record` and `spawn`; `guest` makes one for each such file.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from ...kern.wait import WaitQueue
from .record import Attended
from .spawn import Program

if TYPE_CHECKING:
    from .context import Context


@final
class FollowedFile(Attended):
    """Writes the file again when something changes."""

    def __init__(
        self, context: "Context", program: Program, path: str, changes: WaitQueue, text: Callable[[], str]
    ) -> None:
        """`text` is called on the schedule.  This is called off it."""
        super().__init__(context.work)
        self._context = context
        self._program = program
        self._path = path
        self._changes = changes
        self._text = text
        self._written: str | None = None
        context.run(self._begin)

    def _begin(self) -> None:
        self._changes.subscribe(self)
        self.notify()  # of what has changed meanwhile

    def attend(self) -> None:
        text = self._context.run(self._text)
        if text != self._written:
            self._written = text
            self._program.write_file(self._path, text.encode())

    def close(self) -> None:
        """Follow no longer.  Off the schedule."""
        self._context.run(self._changes.unsubscribe, self)
