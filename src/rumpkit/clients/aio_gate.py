"""The gate of awaited calls: as `gate.py`, for coroutines.  The only wait loop of the asynchronous client.

A call enters the kernel on the thread of the event loop and is there for microseconds; where it has to wait, the coroutine is
suspended, off the schedule, and goes on when it is woken (aio_call.py).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from ..hosts.sim.host import SimHost
from ..hyper.calls import Hypercalls
from ..kern.abi.errno import ENOSYS, error
from ..kern.kernel import RumpKernel
from ..kern.process import Process
from .aio_call import AioCall
from .aio_wait import AioWait
from .suspend import AsyncioSuspension, SimSuspension, Suspension, running_loop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from .drive import Drive


@mypyc_attr(allow_interpreted_subclasses=True)
class AioGate:
    """One process's way into its kernel for coroutines."""

    def __init__(self, kernel: RumpKernel, process: Process) -> None:
        self.kernel = kernel
        self.host: Hypercalls = kernel.hyper
        self.process = process
        self.waits: list[AioWait] = []
        """The calls that sleep now."""
        self._drive: Drive | None = None
        """The one that was held last: a program has few loops."""

    def interrupt(self) -> None:
        """End every wait of this process's coroutines, as a signal does (EINTR, or what was done so far)."""
        self.host.enter()
        try:
            for waiting in self.waits:
                waiting.interrupt()
        finally:
            self.host.leave()

    def service(self, interface: str) -> object:
        """The call object of a faction.  Raises ENOSYS where the kernel was built without it."""
        found = self.kernel.service(interface)
        if found is None:
            raise error(ENOSYS)
        return found

    def run(self, name: str, method: Callable[..., object], *arguments: object) -> AioCall[object]:
        """The system call `method(process, *arguments)`, called `name` in traces, to be awaited for its result."""
        return AioCall(self, name, method, arguments)

    def bed(self) -> "tuple[Suspension, Drive | None]":
        """How a call that has blocked sleeps here, and who drives the host meanwhile.  Raises RuntimeError."""
        drive = self._drive
        if drive is not None and drive.usable():
            return AsyncioSuspension(drive.loop), drive
        loop = running_loop()
        if loop is not None:
            return AsyncioSuspension(loop), self._new_drive(loop)
        if isinstance(self.host, SimHost):
            return SimSuspension(self.host), None
        raise RuntimeError("nobody runs this coroutine: await it under asyncio, or in a simulation")

    def _new_drive(self, loop: "AbstractEventLoop") -> "Drive":
        # Only here, as it imports asyncio.
        from .drive import drive

        self._drive = drive(self.host, loop)
        return self._drive
