"""How an awaited call sleeps: a suspension is a waiter that a coroutine can await.

There are two kinds.  Under asyncio (`AsyncioSuspension`) it is a future, and `drive.py` sees to it that the host's
loop is driven meanwhile.  In a simulation (`SimSuspension`) it is given to whoever runs the coroutine, a `SimTask`; then no event loop
is needed, and coroutines take turns in the order of the simulation's events.
"""

import sys
from abc import abstractmethod
from collections.abc import Coroutine, Generator
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ..hosts.sim.host import SimHost
from ..hosts.task import Task
from ..hyper.calls import AlarmTarget, Hypercalls, Parker, Waiter
from ..hyper.time import FOREVER, Instant

if TYPE_CHECKING:
    import asyncio

Result = TypeVar("Result")


class Suspension(Waiter):
    """One sleeping coroutine.  `await` it off the schedule; a wake that came before is not lost."""

    woken = False

    @abstractmethod
    def sleep(self) -> object | None:
        """What to yield to whoever runs the coroutine, or None if it was woken already."""

    @abstractmethod
    def rise(self) -> None:
        """The coroutine goes on, or was given up: what woke it is forgotten."""

    def __await__(self) -> Generator[Any, None, None]:
        pending = self.sleep()
        try:
            if pending is not None:
                yield pending
        finally:
            self.rise()


class Expiry(AlarmTarget):
    """Wakes a suspension at its deadline, by an alarm of the host."""

    def __init__(self, host: Hypercalls, suspension: Waiter, deadline: Instant) -> None:
        self._suspension = suspension
        self._alarm = host.alarm(self)
        self._alarm.set(deadline)

    def on_alarm(self, now: Instant) -> None:
        self._suspension.wake()

    def close(self) -> None:
        """Never mind.  Called on the schedule."""
        self._alarm.close()


class AsyncioSuspension(Suspension):
    """A coroutine of an asyncio program."""

    def __init__(self, loop: "asyncio.AbstractEventLoop") -> None:
        self._loop = loop
        self._owner = get_ident()
        self._future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        # In this order: `sleep` shows its future before it looks at `woken`.
        self.woken = True
        future = self._future
        if future is None:
            return
        if get_ident() == self._owner:
            _finish(future)
        else:
            self._loop.call_soon_threadsafe(_finish, future)

    def sleep(self) -> object | None:
        future = self._future = self._loop.create_future()
        if self.woken:
            return None
        # As Future.__await__ marks what it yields to a task.
        future._asyncio_future_blocking = True
        return future

    def rise(self) -> None:
        self._future = None
        self.woken = False


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class SimSuspension(Suspension):
    """A coroutine of a simulation."""

    def __init__(self, host: SimHost) -> None:
        self._host = host
        self.task: Task | None = None
        """Who goes on when this wakes; set by the task to which it was yielded."""

    def wake(self) -> None:
        self.woken = True
        task, self.task = self.task, None
        if task is not None:
            self._host.at(self._host.now, task)

    def sleep(self) -> object | None:
        return None if self.woken else self

    def rise(self) -> None:
        self.woken = False


class SimTask(Task, Generic[Result]):
    """A coroutine that runs in a simulation, beside synchronous callers and others of its kind.

    It starts at once, in its turn; awaits calls of `process.aio`; and can itself be awaited, or joined from plain code.
    """

    def __init__(self, host: SimHost, coroutine: Coroutine[Any, Any, Result]) -> None:
        """Called off the schedule."""
        self._host = host
        self._coroutine = coroutine
        self._done = False
        self._result: Result | None = None
        self._problem: BaseException | None = None
        self._joiners: list[Parker | Suspension] = []
        self.looked_at = False
        """Whether somebody has asked for the result: a world raises the problems that nobody asked about."""
        host.at(host.now, self)

    def run(self, now: Instant) -> None:
        """Go on until the coroutine sleeps or ends.  Called by the host, off the schedule."""
        if self._done:
            return
        try:
            suspension = self._coroutine.send(None)
            if not isinstance(suspension, SimSuspension):
                raise RuntimeError(f"a simulated task can only await calls of a simulated kernel, not {suspension!r}")
        except StopIteration as end:
            self._end(end.value, None)
        except BaseException as problem:
            self._end(None, problem)
            if not isinstance(problem, Exception):
                raise
        else:
            suspension.task = self

    def done(self) -> bool:
        """Whether it has ended."""
        return self._done

    def problem(self) -> BaseException | None:
        """What it raised, if it has ended by that."""
        return self._problem

    def cancel(self) -> None:
        """End it where it sleeps, without a result."""
        if not self._done:
            self._coroutine.close()
            self._end(None, RuntimeError("the task was cancelled"))
            self.looked_at = True

    def result(self) -> Result:
        """What the coroutine returned.  Raises what it raised, and RuntimeError before its end."""
        self.looked_at = True
        if not self._done:
            raise RuntimeError("the task has not ended")
        if self._problem is not None:
            raise self._problem
        return cast(Result, self._result)

    def join(self, deadline: Instant = FOREVER) -> Result:
        """Let the simulation run until the task has ended; its result.  Raises TimeoutError at `deadline`."""
        host = self._host
        host.enter()
        try:
            while not self._done:
                parker = host.parker()
                self._joiners.append(parker)
                if not parker.park(deadline) and not self._done:
                    self._joiners.remove(parker)
                    raise TimeoutError("the task has not ended")
        finally:
            host.leave()
        return self.result()

    def __await__(self) -> Generator[Any, None, Result]:
        while not self._done:
            suspension = SimSuspension(self._host)
            self._joiners.append(suspension)
            yield from suspension.__await__()
        return self.result()

    def _end(self, result: Result | None, problem: BaseException | None) -> None:
        self._done, self._result, self._problem = True, result, problem
        joiners, self._joiners = self._joiners, []
        self._host.enter()
        try:
            for joiner in joiners:
                joiner.wake()
        finally:
            self._host.leave()


def running_loop() -> "asyncio.AbstractEventLoop | None":
    """The asyncio loop that runs on this thread, if any; asyncio is not imported for it."""
    module = sys.modules.get("asyncio")
    if module is None:
        return None
    return cast("asyncio.AbstractEventLoop | None", module._get_running_loop())
