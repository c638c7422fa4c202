"""The gate: how a plain call of a client enters a kernel, waits, and leaves.  The only wait loop of the local client.

It stands between the typed face (`local.py`) and the factions' call objects.  A call runs on the host's schedule from
`enter` to `leave`; where it has to wait, the calling thread parks, which gives the schedule up meanwhile.
"""

from collections.abc import Callable
from typing import final

from mypy_extensions import mypyc_attr

from ..hyper.calls import Hypercalls, Parker
from ..kern.abi.errno import ENOSYS, error
from ..kern.kernel import RumpKernel
from ..kern.process import Process
from ..kern.trace import Trace
from ..kern.wait import Blocked


@final
class Sleeper:
    """One call that waits, so that `Gate.interrupt` can end it."""

    def __init__(self, parker: Parker) -> None:
        self.parker: Parker = parker
        self.interrupted: bool = False


@mypyc_attr(allow_interpreted_subclasses=True)
class Gate:
    """One process's way into its kernel.  Threads may share it; each call is made on the caller's own thread."""

    def __init__(self, kernel: RumpKernel, process: Process) -> None:
        self.kernel: RumpKernel = kernel
        self.host: Hypercalls = kernel.hyper
        self.process: Process = process
        self._trace: Trace = kernel.trace
        self._sleepers: list[Sleeper] = []

    def interrupt(self) -> None:
        """End every wait of this process, as a signal does: its calls raise EINTR or return what they did so far.
        To be called from another thread (or, in simulation, another task); calls that begin later are not affected."""
        host = self.host
        host.enter()
        try:
            for sleeper in self._sleepers:
                sleeper.interrupted = True
                sleeper.parker.wake()
        finally:
            host.leave()

    def service(self, interface: str) -> object:
        """The call object of a faction.  Raises ENOSYS where the kernel was built without it."""
        found = self.kernel.service(interface)
        if found is None:
            raise error(ENOSYS)
        return found

    def run(self, name: str, method: Callable[..., object], *arguments: object) -> object:
        """Make the system call `method(process, *arguments)`, called `name` in traces, and wait for its result."""
        host = self.host
        host.enter()
        try:
            if self._trace.sink is not None:
                return self._run_traced(name, method, arguments)
            result = method(self.process, *arguments)
            return self.wait(result) if isinstance(result, Blocked) else result
        finally:
            host.leave()

    def run_named(self, interface: str, name: str, *arguments: object) -> object:
        """As `run`, for the method `name` of the call object `interface`."""
        method: Callable[..., object] = getattr(self.service(interface), name)
        return self.run(name, method, *arguments)

    def traced(self) -> bool:
        """Whether somebody listens to the kernel's trace, so that calls have to go through `run`."""
        return self._trace.sink is not None

    def wait(self, blocked: Blocked) -> object:
        """Sleep until the call can end; its result.  Called on the schedule, which it gives up while asleep.

        The contract is that of kern/wait.py; whatever ends the wait, the last Blocked is cancelled.
        """
        deadline = blocked.deadline
        sleeper = Sleeper(self.host.parker())
        parker = sleeper.parker
        self._sleepers.append(sleeper)
        try:
            while True:
                queue = blocked.queue
                queue.add(parker)
                woken = True
                try:
                    parker.park(deadline)
                except BaseException:
                    if not queue.remove(parker):
                        queue.wake_one()
                    raise
                woken = not queue.remove(parker)
                if sleeper.interrupted:
                    if woken:
                        queue.wake_one()
                    return blocked.interrupted()
                if not woken and self.host.now >= deadline:
                    return blocked.expired()
                result = blocked.retry()
                if not isinstance(result, Blocked):
                    return result
                blocked = result
        finally:
            self._sleepers.remove(sleeper)
            blocked.cancel()

    def _run_traced(self, name: str, method: Callable[..., object], arguments: tuple[object, ...]) -> object:
        """Make the call and tell the trace what came of it; a call that waits is told of twice."""
        trace = self._trace
        pid = self.process.pid
        try:
            result = method(self.process, *arguments)
            if isinstance(result, Blocked):
                trace.emit(self.host.now, pid, name, arguments, result)
                result = self.wait(result)
        except OSError as problem:
            trace.emit(self.host.now, pid, name, arguments, problem)
            raise
        trace.emit(self.host.now, pid, name, arguments, result)
        return result
