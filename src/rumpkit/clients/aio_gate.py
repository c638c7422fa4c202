"""The gate of awaited calls: as `gate.py`, for coroutines.  The only wait loop of the asynchronous client.

A call enters the kernel on the thread of the event loop and is there for microseconds; where it has to wait, the coroutine is
suspended, off the schedule, and goes on when it is woken.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..hosts.sim.host import SimHost
from ..hyper.calls import Hypercalls
from ..hyper.time import FOREVER
from ..kern.abi.errno import ENOSYS, error
from ..kern.kernel import RumpKernel
from ..kern.process import Process
from ..kern.wait import Blocked
from .suspend import AsyncioSuspension, Expiry, SimSuspension, Suspension, running_loop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from .drive import Drive


class _Sleeper:
    """One call that waits: for what, and what wakes it."""

    def __init__(self, blocked: Blocked, suspension: Suspension, drive: "Drive | None") -> None:
        self.blocked = blocked
        self.deadline = blocked.deadline
        """The first Blocked's, which holds over retries."""
        self.suspension = suspension
        self.drive = drive
        self.expiry: Expiry | None = None
        self.queued = True
        """Whether the suspension is on the queue, or was woken from there and nobody looked yet."""
        self.interrupted = False
        self.ended = False


class AioGate:
    """One process's way into its kernel for coroutines."""

    def __init__(self, kernel: RumpKernel, process: Process) -> None:
        self.kernel = kernel
        self.host: Hypercalls = kernel.hyper
        self.process = process
        self._sleepers: list[_Sleeper] = []
        self._drive: Drive | None = None
        """The one found last: a program has few loops."""

    def interrupt(self) -> None:
        """End every wait of this process's coroutines, as a signal does (EINTR, or what was done so far)."""
        self.host.enter()
        try:
            for sleeper in self._sleepers:
                sleeper.interrupted = True
                sleeper.suspension.wake()
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
            sleeper = self._begin(result)
        except OSError as problem:
            trace.emit(host.now, self.process.pid, name, arguments, problem)
            raise
        finally:
            host.leave()
        try:
            result = await self._wait(sleeper)
        except OSError as problem:
            trace.emit(host.now, self.process.pid, name, arguments, problem)
            raise
        trace.emit(host.now, self.process.pid, name, arguments, result)
        return result

    def _begin(self, blocked: Blocked) -> "_Sleeper":
        """Queue a suspension for a call that has blocked.  Called on the schedule."""
        loop = running_loop()
        if loop is not None:
            sleeper = _Sleeper(blocked, AsyncioSuspension(loop), self._drive_of(loop))
        elif isinstance(self.host, SimHost):
            sleeper = _Sleeper(blocked, SimSuspension(self.host), None)
        else:
            blocked.cancel()
            raise RuntimeError("nobody runs this coroutine: await it under asyncio, or in a simulation")
        if blocked.deadline < FOREVER:
            sleeper.expiry = Expiry(self.host, sleeper.suspension, blocked.deadline)
        self._sleepers.append(sleeper)
        blocked.queue.add(sleeper.suspension)
        return sleeper

    def _drive_of(self, loop: "AbstractEventLoop") -> "Drive":
        found = self._drive
        if found is None or found.loop is not loop or found.stopped:
            # Here, as it imports asyncio, and looking it up for each call costs more than the call.
            from .drive import drive

            found = self._drive = drive(self.host, loop)
        return found

    async def _wait(self, sleeper: "_Sleeper") -> object:
        """Sleep until the call can end; its result.  The contract is that of kern/wait.py."""
        host = self.host
        drive = sleeper.drive
        if drive is not None:
            drive.hold()
        try:
            while True:
                await sleeper.suspension
                host.enter()
                try:
                    result = self._look(sleeper)
                    if not isinstance(result, Blocked):
                        self._end(sleeper)
                        return result
                finally:
                    host.leave()
        finally:
            if not sleeper.ended:
                host.enter()
                try:
                    self._end(sleeper)
                finally:
                    host.leave()
            if drive is not None:
                drive.drop()

    def _look(self, sleeper: "_Sleeper") -> object:
        """The call's result after a wake, or Blocked if it sleeps on."""
        blocked = sleeper.blocked
        woken = not blocked.queue.remove(sleeper.suspension)
        sleeper.queued = False
        if sleeper.interrupted:
            if woken:
                blocked.queue.wake_one()
            return blocked.interrupted()
        if not woken and self.host.now >= sleeper.deadline:
            return blocked.expired()
        result = blocked.retry()
        if isinstance(result, Blocked):
            sleeper.blocked = result
            result.queue.add(sleeper.suspension)
            sleeper.queued = True
        return result

    def _end(self, sleeper: "_Sleeper") -> None:
        """Clear up, whatever ended the wait; one that was cancelled after it was woken passes the wake-up on."""
        sleeper.ended = True
        if sleeper.queued and not sleeper.blocked.queue.remove(sleeper.suspension):
            sleeper.blocked.queue.wake_one()
        if sleeper.expiry is not None:
            sleeper.expiry.close()
        self._sleepers.remove(sleeper)
        sleeper.blocked.cancel()
