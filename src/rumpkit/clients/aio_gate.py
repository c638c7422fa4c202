"""The gate of awaited calls: as `gate.py`, for coroutines.  The only wait loop of the asynchronous client.

A call enters the kernel on the thread of the event loop and is there for microseconds; where it has to wait, the coroutine is
suspended, off the schedule, and goes on when it is woken.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..hosts.sim.host import SimHost
from ..hyper.calls import Hypercalls
from ..kern.abi.errno import ENOSYS, error
from ..kern.kernel import RumpKernel
from ..kern.process import Process
from ..kern.wait import Blocked
from .aio_wait import AioWait
from .suspend import AsyncioSuspension, SimSuspension, Suspension, running_loop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from .drive import Drive


class AioGate:
    """One process's way into its kernel for coroutines."""

    def __init__(self, kernel: RumpKernel, process: Process) -> None:
        self.kernel = kernel
        self.host: Hypercalls = kernel.hyper
        self.process = process
        self._waits: list[AioWait] = []
        self._drive: Drive | None = None
        """The one that was held last: a program has few loops."""

    def interrupt(self) -> None:
        """End every wait of this process's coroutines, as a signal does (EINTR, or what was done so far)."""
        self.host.enter()
        try:
            for waiting in self._waits:
                waiting.interrupt()
        finally:
            self.host.leave()

    def service(self, interface: str) -> object:
        """The call object of a faction.  Raises ENOSYS where the kernel was built without it."""
        found = self.kernel.service(interface)
        if found is None:
            raise error(ENOSYS)
        return found

    async def run(self, name: str, method: Callable[..., object], *arguments: object) -> object:
        """Make the system call `method(process, *arguments)`, called `name` in traces, and wait for its result."""
        trace = self.kernel.trace
        host = self.host
        host.enter()
        try:
            result = method(self.process, *arguments)
            if trace.sink is not None:
                trace.emit(host.now, self.process.pid, name, arguments, result)
            if not isinstance(result, Blocked):
                return result
            try:
                suspension, drive = self._bed()
            except RuntimeError:
                result.cancel()
                raise
            waiting = AioWait(host, self._waits, result, suspension)
        except OSError as problem:
            trace.emit(host.now, self.process.pid, name, arguments, problem)
            raise
        finally:
            host.leave()
        if drive is not None:
            drive.hold()
        try:
            while isinstance(result, Blocked):
                await suspension
                result = waiting.resume()
        except OSError as problem:
            trace.emit(host.now, self.process.pid, name, arguments, problem)
            raise
        finally:
            if not waiting.ended:
                waiting.abandon()
            if drive is not None:
                drive.drop()
        if trace.sink is not None:
            trace.emit(host.now, self.process.pid, name, arguments, result)
        return result

    def _bed(self) -> "tuple[Suspension, Drive | None]":
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
