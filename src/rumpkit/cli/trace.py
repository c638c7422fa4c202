"""`rump run --trace`: every system call that a kernel serves, a line each, on the host's console (stderr)."""

from typing import final

from ..compose.kernel import Kernel
from ..hyper.calls import Hypercalls
from ..kern.abi.errno import NAMES
from ..kern.trace import TraceEvent, TraceSink
from ..kern.wait import Blocked

MAX_BYTES = 32
"""Of a byte string, that are shown."""


def attach(kernel: Kernel) -> None:
    """Show the kernel's calls from now on."""
    kernel.core.trace.sink = Printer(kernel.host)


@final
class Printer(TraceSink):
    """Writes through the host's console, which does so off the schedule."""

    def __init__(self, host: Hypercalls) -> None:
        super().__init__()
        self._host = host
        self._start = host.now

    def event(self, event: TraceEvent) -> None:
        """One call."""
        seconds = (event.when - self._start) / 1e9
        arguments = ", ".join(show(argument) for argument in event.arguments)
        line = f"{seconds:10.6f} [{event.pid}] {event.call}({arguments}) = {show(event.result)}\n"
        self._host.console_write(line.encode())


def show(value: object) -> str:
    """A value as strace would show it."""
    if isinstance(value, OSError):
        return f"-1 {NAMES.get(value.errno or 0, value.errno)} ({value.strerror})"
    if isinstance(value, Blocked):
        return "..."
    if isinstance(value, bytes) and len(value) > MAX_BYTES:
        return f"{value[:MAX_BYTES]!r}+{len(value) - MAX_BYTES}"
    return repr(value)
