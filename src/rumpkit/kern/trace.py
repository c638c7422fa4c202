"""The system-call trace of a kernel: who called what, and what came of it, as events for whoever listens."""

from typing import Any, NamedTuple, final

from mypy_extensions import mypyc_attr

from ..hyper.time import Instant


class TraceEvent(NamedTuple):
    """One finished (or blocked) system call."""

    when: Instant
    pid: int
    call: str
    arguments: tuple[Any, ...]
    result: Any  # mypyc does not find `object` here
    """The call's value, an OSError, or Blocked."""


@mypyc_attr(allow_interpreted_subclasses=True)
class TraceSink:
    """Receives trace events; must not enter the kernel."""

    def event(self, event: TraceEvent) -> None:
        """One system call."""
        raise NotImplementedError


@final
class Trace:
    """Where a kernel's trace goes: nowhere, until a sink is set."""

    def __init__(self) -> None:
        self.sink: TraceSink | None = None

    def emit(self, when: Instant, pid: int, call: str, arguments: tuple[object, ...], result: object) -> None:
        """Tell the sink, if there is one.  Callers check `sink` first where it matters."""
        sink = self.sink
        if sink is not None:
            sink.event(TraceEvent(when, pid, call, arguments, result))
