"""Several viewers of one tracer: Linux lets one alone trace a process, and more than one wants to know of it.

Above `tracer`.
"""

from collections.abc import Sequence
from typing import final

from . import ptrace
from .tracer import Viewer


@final
class Together(Viewer):
    """Tells each what happens, in their order."""

    def __init__(self, viewers: Sequence[Viewer]) -> None:
        self._viewers = tuple(viewers)
        self.calls = any(viewer.calls for viewer in viewers)
        wanted = [viewer.wanted for viewer in viewers if viewer.calls]
        every = None in wanted
        self.wanted = None if every else frozenset().union(*(one for one in wanted if one is not None))
        for viewer in viewers:
            self.options |= viewer.options

    def started(self, thread: int) -> None:
        for viewer in self._viewers:
            viewer.started(thread)

    def executed(self, thread: int, former: int) -> None:
        for viewer in self._viewers:
            viewer.executed(thread, former)

    def entered(self, thread: int, stop: ptrace.Stop) -> None:
        for viewer in self._viewers:
            viewer.entered(thread, stop)

    def left(self, thread: int, stop: ptrace.Stop) -> None:
        for viewer in self._viewers:
            viewer.left(thread, stop)

    def signalled(self, thread: int, number: int) -> int:
        for viewer in self._viewers:
            number = viewer.signalled(thread, number)
        return number

    def exiting(self, thread: int) -> None:
        for viewer in self._viewers:
            viewer.exiting(thread)

    def ended(self, thread: int, status: int) -> None:
        for viewer in self._viewers:
            viewer.ended(thread, status)

    def finished(self) -> None:
        for viewer in self._viewers:
            viewer.finished()
