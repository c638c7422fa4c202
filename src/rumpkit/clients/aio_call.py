"""One system call that a coroutine awaits.

Between `aio_gate.py`, which makes one for each call, and `aio_wait.py`, which is the wait of one that has blocked.  It is an object and not
a coroutine function, as that would take longer than the call itself; with the methods of coroutines (collections.abc.Coroutine) it goes
wherever one goes: `await`, tasks, `asyncio.gather`.
"""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, final

from ..hyper.calls import Hypercalls
from ..kern.process import Process
from ..kern.socket import Received
from ..kern.trace import Trace
from ..kern.wait import Blocked
from .aio_wait import AioWait
from .suspend import Suspension

if TYPE_CHECKING:
    from .aio_gate import AioGate
    from .drive import Drive

Result = TypeVar("Result")

_FRESH: Final = 0
_MADE: Final = 1


@final
class AioCall(Generic[Result]):
    """The system call `method(process, *arguments)`, called `name` in traces.  It is made when it is first awaited.

    With `only_data` its result, a Received, is taken for its data alone.
    """

    def __init__(
        self,
        gate: "AioGate",
        name: str,
        method: Callable[..., object],
        arguments: tuple[object, ...],
        only_data: bool = False,
    ) -> None:
        self._gate: AioGate = gate
        self._name: str = name
        self._method: Callable[..., object] = method
        self._arguments: tuple[object, ...] = arguments
        self._only_data: bool = only_data
        self._state: int = _FRESH
        self._result: object = None
        self._waiting: AioWait | None = None
        self._suspension: Suspension | None = None
        self._drive: Drive | None = None
        self._iterator: Generator[Any, None, Result] | None = None

    # What `await` and tasks ask of a coroutine ---------------------------------------------------------------------

    def __await__(self) -> "Generator[Any, None, Result]":
        if self._state != _FRESH:
            raise RuntimeError("this call has been awaited already")
        ended = self._start()
        if not ended:
            try:
                while not ended:
                    pending = cast(Suspension, self._suspension).sleep()
                    if pending is not None:
                        yield pending
                    ended = self._resume()
            finally:
                if not ended:
                    self._give_up()
        result = self._result
        self._result = None
        return cast(Result, cast(Received, result).data if self._only_data else result)

    def send(self, value: None) -> object:
        """Go on: for tasks that are made of this call alone."""
        return self._steps().send(value)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> object:
        """End the wait and raise the exception: a cancellation, mostly."""
        return self._steps().throw(kind if value is None else value)

    def close(self) -> None:
        """Nobody will go on."""
        self._steps().close()

    def _steps(self) -> "Generator[Any, None, Result]":
        if self._iterator is None:
            self._iterator = self.__await__()
        return self._iterator

    # The call ------------------------------------------------------------------------------------------------------

    def _start(self) -> bool:
        """Make the call; whether it has ended.  Raises what it raises."""
        gate = self._gate
        host: Hypercalls = gate.host
        process: Process = gate.process
        trace: Trace = gate.kernel.trace
        self._state = _MADE
        host.enter()
        try:
            result = self._method(process, *self._arguments)
            if trace.sink is not None:
                trace.emit(host.now, process.pid, self._name, self._arguments, result)
            if not isinstance(result, Blocked):
                self._result = result
                return True
            try:
                suspension, drive = gate.bed()
            except RuntimeError:
                result.cancel()
                raise
            self._waiting = AioWait(host, gate.waits, result, suspension)
        except OSError as problem:
            trace.emit(host.now, process.pid, self._name, self._arguments, problem)
            raise
        finally:
            host.leave()
        self._suspension = suspension
        self._drive = drive
        if drive is not None:
            drive.hold()
        return False

    def _resume(self) -> bool:
        """Go on after a wake; whether the call has ended."""
        waiting = cast(AioWait, self._waiting)
        cast(Suspension, self._suspension).rise()
        try:
            result = waiting.resume()
        except OSError as problem:
            self._leave_wait()
            self._emit(problem)
            raise
        except BaseException:
            self._leave_wait()
            raise
        if isinstance(result, Blocked):
            return False
        self._leave_wait()
        self._result = result
        self._emit(result)
        return True

    def _give_up(self) -> None:
        """Nobody goes on with a call that sleeps."""
        waiting = self._waiting
        if waiting is not None:
            cast(Suspension, self._suspension).rise()
            waiting.abandon()
            self._leave_wait()

    def _leave_wait(self) -> None:
        self._waiting = None
        drive, self._drive = self._drive, None
        if drive is not None:
            drive.drop()

    def _emit(self, outcome: object) -> None:
        trace: Trace = self._gate.kernel.trace
        if trace.sink is not None:
            trace.emit(self._gate.host.now, self._gate.process.pid, self._name, self._arguments, outcome)
