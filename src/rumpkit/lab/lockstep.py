"""Several synchronous callers in one simulation, of which exactly one runs at a time.  Between `hosts.sim` and `world`.

Every caller but the first has a thread, and there is one baton. Who has it runs; who parks runs the simulation's events on
its own thread, until it is woken itself or an event says that another caller goes on: then it hands the baton over and sleeps
until it gets it back. So hand-overs are events, in the order of the simulation, and the same seed gives the same run. The
operating system's scheduler decides nothing.

Where no event is left, the baton goes to the first caller (`main`), who is in a deadlock if it waits for something.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, final

from ..clients.suspend import SimSuspension
from ..hosts.sim.host import Deadlock, ParkerSource, SimHost
from ..hosts.task import Task
from ..hyper.calls import Parker
from ..hyper.time import FOREVER, Instant

LOOK_UP: Final = 0.2
"""Seconds after which who sleeps looks whether there was an interrupt: Python's lock misses one that comes just before it waits, or that
another thread takes."""


class WorldClosed(BaseException):
    """Raised in callers that still wait when their world is closed, so that they end.  Not an Exception: nobody catches it
    by accident."""


@final
class Caller(Task):
    """One synchronous caller.  As a task: give it the baton."""

    def __init__(self, lockstep: "Lockstep", name: str) -> None:
        self.name = name
        self.over = False
        self._lockstep = lockstep
        self._given = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def run(self, now: Instant) -> None:
        """An event says that this caller goes on.  Comes back when the caller who ran into the event has the baton again."""
        if not self.over:
            self._lockstep.hand_to(self)

    def take(self) -> None:
        """Sleep until the baton comes.  Raises KeyboardInterrupt, once everybody else waits or has ended."""
        interruption: KeyboardInterrupt | None = None
        while True:
            try:
                # The gate alone does not tell: an interrupt may come when it has opened and nobody knows yet.
                while not self._given:
                    self._gate.acquire(timeout=LOOK_UP)
                break
            except KeyboardInterrupt as problem:
                self._lockstep.closing = True
                interruption = problem
        self._given = False
        if interruption is not None:
            raise interruption

    def give(self) -> None:
        """Here is the baton."""
        self._given = True
        with suppress(RuntimeError):  # the gate is open still, as an interrupt let the caller by
            self._gate.release()


@final
class LockstepParker(Parker):
    """A park of one caller."""

    def __init__(self, lockstep: "Lockstep", caller: Caller) -> None:
        self._lockstep = lockstep
        self._caller = caller
        self._woken = False
        self._parked = False

    def wake(self) -> None:
        self._woken = True
        if self._parked:
            # Even if the caller is the one who runs events now: it may hand the baton over before it looks.
            self._lockstep.host.at(self._lockstep.host.now, self._caller)

    def park(self, deadline: Instant) -> bool:
        lockstep = self._lockstep
        host = lockstep.host
        appointment = host.at(max(deadline, host.now), self._caller) if deadline < FOREVER else None
        self._parked = True
        try:
            while not self._woken:
                if lockstep.closing and self._caller is not lockstep.main:
                    raise WorldClosed
                if host.now >= deadline:
                    return False
                if not host.step():
                    lockstep.stuck(self._caller)
        finally:
            self._parked = False
            if appointment is not None:
                appointment.wanted = False
        self._woken = False
        return True


@final
class Lockstep(ParkerSource):
    """The callers of one simulated host."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        self.main = Caller(self, "main")
        self.current = self.main
        """Who has the baton."""
        self.closing = False
        self._callers: list[tuple[Caller, threading.Thread]] = []
        host.parkers = self

    def make(self) -> Parker:
        return LockstepParker(self, self.current)

    def hand_to(self, caller: Caller) -> None:
        """Give the baton to `caller` and sleep until it comes back.  Called by who has it."""
        me = self.current
        if caller is not me:
            self.current = caller
            caller.give()
            me.take()

    def stuck(self, caller: Caller) -> None:
        """`caller` waits and nothing is left to happen.  Called on the schedule.  Raises Deadlock if it is the first one."""
        if caller is self.main:
            waiting = [other.name for other, _ in self._callers if not other.over]
            others = f"; so do {', '.join(waiting)}" if waiting else ""
            raise Deadlock(f"a caller waits for ever: nothing is left to happen after {self.host.now} ns{others}")
        self.host.unschedule()
        self.hand_to(self.main)
        self.host.schedule()

    def start(self, name: str, function: Callable[[], Any]) -> "Outcome":
        """Let `function` run as a caller of its own, from the present instant on."""
        caller = Caller(self, name)
        outcome = Outcome(self.host)
        thread = threading.Thread(target=self._live, args=(caller, function, outcome), name=name, daemon=True)
        self._callers.append((caller, thread))
        thread.start()
        self.host.at(self.host.now, caller)
        return outcome

    def _live(self, caller: Caller, function: Callable[[], Any], outcome: "Outcome") -> None:
        caller.take()
        try:
            if not self.closing:
                outcome.value = function()
        except WorldClosed:
            pass
        except BaseException as problem:
            outcome.problem = problem
        caller.over = True
        if not self.closing:
            self.host.enter()
            outcome.suspension.wake()
            self.host.leave()
        self.current = self.main
        self.main.give()

    def close(self) -> None:
        """End all callers but the first, where they wait.  Called by the first, off the schedule."""
        self.closing = True
        for caller, thread in self._callers:
            while not caller.over:
                self.hand_to(caller)
            thread.join()
        self._callers.clear()
        self.host.parkers = None


class Outcome:
    """What became of a caller, and who is to hear of it."""

    def __init__(self, host: SimHost) -> None:
        self.value: Any = None
        self.problem: BaseException | None = None
        self.suspension = SimSuspension(host)

    async def get(self) -> Any:
        """Wait for the caller's end; what it returned.  Raises what it raised."""
        await self.suspension
        if self.problem is not None:
            raise self.problem
        return self.value
