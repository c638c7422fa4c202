"""The POSIX host: hypercalls over the threads, the clock and the event loop of a Unix process (Linux).

Theory of operation:

* The schedule is one lock. A thread's system call runs under it (`enter` ... `leave`), and its `leave` delivers
  what the call has sent and runs what is due, so that most calls need no other thread.
* Somebody has to drive the event loop, for links and alarms, and only one can: whoever holds the driver's seat
  (`_seat`). That is the loop thread if `start_thread` was called, an asyncio program that has called `claim`, or else the
  parked callers themselves: the first to park takes the seat, the others sleep on a lock of their own, and
  when the driver's wait ends it wakes one of them to take over.
* The driver sleeps in `epoll_wait` until the agenda's next event. `sleep_until` says so to the other threads: who adds
  something earlier, or wakes the driver's own parker, writes to the loop's eventfd. The driver sets it *before* it looks at what it
  sleeps for, so that nothing can slip through between the look and the sleep.
* What kernels write to the console is collected and written once the schedule has been given up: a terminal may block.

With RUMPKIT_DEBUG=lock in the environment the schedule's lock is a checked one (`checked.py`), and host calls that may
block raise when they are made on the schedule.  Without it the checks cost nothing.
"""

import os
import sys
import threading
from collections import deque
from time import monotonic_ns, time_ns
from typing import Final, final

from ...hyper.calls import Alarm, AlarmTarget, Hypercalls, Parker
from ...hyper.frame import Frame
from ...hyper.link import Receiver
from ...hyper.mutex import Mutex
from ...hyper.time import FOREVER, Duration, Instant
from ..agenda import Agenda, AgendaAlarm, Arrival, Event, Later
from ..switch import SwitchBoard
from ..task import Task
from .background import Background
from .checked import CheckedLock
from .loop import Loop, Source
from .mutex import PosixMutex

RANDOM_BUFFER: Final = 4096
FAILURE_LIMIT: Final = 1000
"""Things that may raise in one entry before it is others' turn."""
CONSOLE_LIMIT: Final = 65536
"""Bytes of console output that wait to be written at most; more is dropped and counted."""
LEAD: Final = 1
"""How much less nice the loop thread is than its process when it may be (`take_the_lead`).  With 5 it would in turn take the processor
from programs and their clients at the first byte that they write, and go round for each request alone: twice the work."""
SWITCH_INTERVAL: Final = 0.0001
"""Seconds until a busy Python thread lets the loop thread run (the interpreter's default, 5 ms, is a round trip's ruin)."""

_AWAKE: Final = 0
_ASLEEP: Final = 1
_DRIVING: Final = 2


@final
class PosixParker(Parker):
    """One sleeping thread: on its gate, or in the driver's seat."""

    def __init__(self, host: "PosixHost") -> None:
        self._host: PosixHost = host
        self._gate = threading.Lock()
        self._gate.acquire()
        self.woken: bool = False
        self.mode: int = _AWAKE

    def wake(self) -> None:
        """End the sleep.  Called on the schedule, by any thread."""
        self.woken = True
        if self.mode == _ASLEEP:
            self.open_gate()
        elif self.mode == _DRIVING:
            self._host.interrupt_sleep()

    def open_gate(self) -> None:
        """Let the sleeper look around, and perhaps take the driver's seat."""
        if self._gate.locked():
            try:
                self._gate.release()
            except RuntimeError:
                pass  # two threads opened it at once

    def sleep(self, timeout: Duration) -> None:
        """Sleep on the gate for at most `timeout` nanoseconds.  May end early."""
        self._gate.acquire(True, min(timeout / 1e9, threading.TIMEOUT_MAX))

    def park(self, deadline: Instant) -> bool:
        host = self._host
        if not self.woken:
            host.leave()
            try:
                host.wait(self, deadline)
            finally:
                self.mode = _AWAKE
                host.reenter()
        woken = self.woken
        self.woken = False
        return woken


@final
class PosixHost(Hypercalls):
    """A host for any number of kernels and threads in one process.  Close it after its kernels and links."""

    def __init__(self, console: int = 2) -> None:
        """`console` is the descriptor that kernels' consoles write to; -1 for none."""
        super().__init__()
        self._checked: CheckedLock | None = CheckedLock() if _debug_lock() else None
        lock = threading.Lock()
        self._acquire = lock.acquire if self._checked is None else self._checked.acquire
        self._release = lock.release if self._checked is None else self._checked.release
        self._background: Background = Background(self)
        self._agenda: Agenda = Agenda()
        self.loop: Loop = Loop()
        self._agenda.sleeper = self.loop
        self.switches: SwitchBoard = SwitchBoard(self)
        self._console: int = console
        self._written: list[bytes] = []
        self._written_size: int = 0
        self.console_drops: int = 0
        self._random: bytes = b""
        self._random_used: int = 0
        self._seat = threading.Lock()
        """Held by whoever drives the loop."""
        self._claimed: bool = False
        """Somebody wants the seat for longer: parked callers leave it."""
        self._idle: deque[PosixParker] = deque()
        """Parked callers who may take the seat."""
        # Not "_thread": mypyc would name it __thread, which C has taken.
        self._loop_thread: threading.Thread | None = None
        self._stopping: bool = False
        self._outside: deque[Task] = deque()
        """What the driver is to do off the schedule."""
        self._failures: list[Exception] = []
        """What has raised while somebody drove, and is not reported yet."""
        self._old_switch_interval: float = 0.0
        self._new_switch_interval: float = 0.0
        self.now = monotonic_ns()

    # Hypercalls ----------------------------------------------------------------------------------------

    def wall(self) -> int:
        return time_ns()

    def random(self, size: int) -> bytes:
        end = self._random_used + size
        if end > len(self._random):
            if size > RANDOM_BUFFER // 4:
                return os.urandom(size)
            self._random = os.urandom(RANDOM_BUFFER)
            self._random_used = 0
            end = size
        data = self._random[self._random_used : end]
        self._random_used = end
        return data

    def alarm(self, target: AlarmTarget) -> Alarm:
        return AgendaAlarm(self._agenda, target)

    def post(self, receiver: Receiver, frame: Frame, delay: Duration = 0) -> None:
        if delay <= 0:
            self._agenda.post(receiver, frame)
        else:
            self._agenda.add(self.now + delay, Arrival(receiver, frame))

    def console_write(self, data: bytes) -> None:
        if self._written_size + len(data) > CONSOLE_LIMIT:
            self.console_drops += len(data)
            return
        self._written.append(data)
        self._written_size += len(data)

    def background(self, target: AlarmTarget, delay: Duration) -> None:
        self._background.add(target, self.now + delay)

    def schedule(self) -> None:
        self.reenter()

    def unschedule(self) -> None:
        agenda = self._agenda
        if agenda.busy():
            # The driver is to deliver what the call has sent so far, as the call itself may now take long.
            agenda.add(self.now, Event())
        self._release()

    def mutex(self) -> Mutex:
        return PosixMutex(self)

    def assert_unscheduled(self, what: str) -> None:
        checked = self._checked
        if checked is not None and checked.held():
            raise RuntimeError(f"{what} may block, and was called on the schedule")

    # The way in ----------------------------------------------------------------------------------------

    def enter(self) -> None:
        self._acquire()
        self.now = monotonic_ns()

    def leave(self) -> None:
        """As `Hypercalls.leave`.  What raises in what others have asked for is no error of the caller, who only lends its
        thread: it is reported (threading.excepthook), and the rest is done all the same."""
        try:
            self._work_off()
        finally:
            self._release()
        if self._failures:
            self._report()
        if self._written:
            self._write_console()

    def leave_as_driver(self) -> None:
        """Leave on behalf of others, with the console and what has failed still to be looked after."""
        try:
            self._work_off()
        finally:
            self._release()
        if self._written:
            self._write_console()

    def _work_off(self) -> None:
        """Do what is due, whatever raises: each try does at least one thing less, if these don't ask for ever more of the kind."""
        agenda = self._agenda
        while True:
            try:
                agenda.run(self.now)
                return
            except Exception as error:
                self._failures.append(error)
                if len(self._failures) >= FAILURE_LIMIT:
                    if agenda.busy():
                        agenda.add(self.now, Event())
                    return
            except BaseException:
                if agenda.busy():
                    # What is left of it is for whoever comes next.
                    agenda.add(self.now, Event())
                raise

    def reenter(self) -> None:
        """Enter, whatever signals arrive meanwhile: for `finally` clauses whose callers count on holding the schedule."""
        interruption: BaseException | None = None
        while True:
            try:
                self._acquire()
                break
            except KeyboardInterrupt as error:
                interruption = error
        self.now = monotonic_ns()
        if interruption is not None:
            raise interruption

    def parker(self) -> Parker:
        return PosixParker(self)

    def defer(self, task: Task) -> None:
        """Run `task` on the schedule at the end of the present entry.  Called on the schedule."""
        self._agenda.defer(task)

    def later(self, task: Task, delay: Duration = 0) -> None:
        """Run `task` on the schedule in an entry to come, after `delay` nanoseconds at least, so that others get their turn
        before.  Called on the schedule."""
        self._agenda.add(self.now + max(delay, 1), Later(task))

    def outside(self, task: Task) -> None:
        """Run `task` off the schedule, soon, in the thread that drives the loop.  Called on the schedule."""
        self._outside.append(task)
        self.interrupt_sleep()

    # Driving -------------------------------------------------------------------------------------------

    def wait(self, parker: PosixParker, deadline: Instant) -> None:
        """Sleep until `parker` is woken or `deadline` has passed, driving the loop if nobody else does.  Called off the
        schedule."""
        self.assert_unscheduled("a park")
        try:
            while not parker.woken:
                left = deadline - monotonic_ns() if deadline < FOREVER else FOREVER
                if left <= 0:
                    return
                if self._got_seat(parker, left):
                    self._drive(parker, deadline)
        finally:
            self._hand_over()

    def _got_seat(self, parker: PosixParker, timeout: Duration) -> bool:
        """Take the seat; where that fails, sleep until woken or until the seat may be free."""
        # In this order: a driver that gives its seat up after our try finds us here.
        parker.mode = _ASLEEP
        self._idle.append(parker)
        try:
            if not self._claimed and self._seat.acquire(False):
                return True
            if not parker.woken:
                parker.sleep(timeout)
            return False
        finally:
            self._idle.remove(parker)

    def _drive(self, parker: PosixParker, deadline: Instant) -> None:
        """Drive the loop, in the seat, until `parker` need not sleep any longer or somebody claims the seat."""
        parker.mode = _DRIVING
        try:
            while not parker.woken and not self._claimed and monotonic_ns() < deadline:
                self._turn(parker, deadline)
        finally:
            self._seat.release()

    def _hand_over(self) -> None:
        """If nobody is in the seat, wake somebody who can take it."""
        if not self._claimed and not self._seat.locked():
            try:
                self._idle[0].open_gate()
            except IndexError:
                pass

    def _turn(self, parker: PosixParker | None, deadline: Instant) -> None:
        """Sleep until something is due, and do it.  In the seat, off the schedule."""
        agenda = self._agenda
        loop = self.loop
        agenda.sleep_until = FOREVER
        when = min(agenda.next, deadline) if not self._outside else 0
        # Only the thread ends with `stop`: a caller that has the seat before `stop` returns must sleep, not spin.
        if parker.woken if parker is not None else self._stopping:
            agenda.sleep_until = 0
            return
        timeout = FOREVER
        if when < FOREVER:
            timeout = when - monotonic_ns()
        try:
            happened = loop.wait(timeout)
        finally:
            agenda.sleep_until = 0
        self._serve(happened)

    def _serve(self, happened: list[tuple[int, int]]) -> None:
        """Call the sources, and run what is due.  What raises there is reported."""
        if happened:
            self.loop.dispatch(happened, self)
        if self._agenda.next <= monotonic_ns():
            self.enter()
            self.leave_as_driver()
        # Those that come up meanwhile are for the next turn, as descriptors want theirs.
        for _ in range(len(self._outside)):
            try:
                self._outside.popleft().run(self.now)
            except Exception as error:
                self._failures.append(error)
        if self._failures:
            self._report()

    def interrupt_sleep(self) -> None:
        """End the driver's sleep, if it sleeps.  Called from any thread."""
        if self._agenda.sleep_until > 0:
            self._agenda.sleep_until = 0
            self.loop.interrupt()

    def run_once(self, timeout: Duration = FOREVER) -> None:
        """Drive the loop for one round: sleep until something happens, at most `timeout` nanoseconds, and do it.  Only for
        who has claimed the seat."""
        self._turn(None, FOREVER if timeout >= FOREVER else monotonic_ns() + timeout)

    def claim(self) -> None:
        """Take the driver's seat and keep it: from now on the caller drives (`run_once`, or `fileno` and `poll_once`)
        and parked callers only sleep.  Called off the schedule.  Raises RuntimeError if somebody has it already."""
        if self._claimed:
            raise RuntimeError("the loop is driven by somebody else already")
        self._take_seat()

    def claimed(self) -> bool:
        """Whether somebody (the loop thread, another event loop) drives for good, so that others need not."""
        return self._claimed

    def _take_seat(self) -> None:
        self._claimed = True
        self.loop.interrupt()
        self._seat.acquire()

    def unclaim(self) -> None:
        """Give the seat up; a parked caller drives from now on."""
        self._agenda.sleep_until = 0
        self._claimed = False
        self._seat.release()
        self._hand_over()

    # For other event loops -----------------------------------------------------------------------------

    def fileno(self) -> int:
        """A descriptor that is readable when `poll_once` has something to do."""
        return self.loop.fileno()

    def poll_once(self) -> Instant:
        """Do what there is to do without sleeping; returns when to call again at the latest (`next_deadline`).  For who has
        claimed the seat.  From then on the descriptor also becomes readable when that moves to an earlier time."""
        self._agenda.sleep_until = 0
        self._serve(self.loop.wait(0))
        self._agenda.sleep_until = FOREVER
        if self._outside:
            self.interrupt_sleep()
        return self.next_deadline()

    def next_deadline(self) -> Instant:
        """When something is due next on the clock `time.monotonic_ns`; FOREVER if nothing is."""
        return self._agenda.next

    # The loop thread -----------------------------------------------------------------------------------

    def start_thread(self) -> None:
        """Let a thread of its own drive the loop, so that kernels answer while no caller is in them.  Nothing happens if
        somebody drives it already."""
        if self._claimed:
            return
        interval = sys.getswitchinterval()
        if interval > SWITCH_INTERVAL:
            self._old_switch_interval = interval
            sys.setswitchinterval(SWITCH_INTERVAL)
            self._new_switch_interval = sys.getswitchinterval()
        self._stopping = False
        self._claimed = True
        self._loop_thread = threading.Thread(target=self._run_thread, name="rumpkit", daemon=True)
        self._loop_thread.start()

    def take_the_lead(self) -> None:
        """Have whom the loop thread wakes not take the processor from it at once.  It writes to who waits for a packet or a byte, and
        else is put to sleep at each of these writes, just to be woken for the next frame; so it finishes its round first, which is
        a third less work for all of them.  Where the user may not do that (CAP_SYS_NICE, RLIMIT_NICE), it stays as it is."""
        thread = self._loop_thread
        if thread is None or thread.native_id is None:
            return
        try:
            os.setpriority(os.PRIO_PROCESS, thread.native_id, os.getpriority(os.PRIO_PROCESS, 0) - LEAD)
        except OSError:
            pass

    def _run_thread(self) -> None:
        self._take_seat()
        try:
            while not self._stopping:
                self._turn(None, FOREVER)
        finally:
            self.unclaim()

    def failed(self, source: Source, error: Exception) -> None:
        """A source raised: that is a bug of ours.  Watch it no more, so that everything else goes on."""
        self._failures.append(error)
        try:
            self.loop.unregister(source)
        except OSError:
            pass  # it has closed its descriptor already

    def _report(self) -> None:
        """Say what has raised, off the schedule."""
        failures = self._failures
        self._failures = []
        for error in failures:
            what = threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread()))
            threading.excepthook(what)

    def stop(self) -> None:
        """End the loop thread; parked callers drive from then on.  Nothing happens if there is none."""
        thread = self._loop_thread
        if thread is None or thread is threading.current_thread():
            return
        self._stopping = True
        self.loop.interrupt()
        thread.join()
        self._loop_thread = None
        self._stopping = False
        if self._old_switch_interval and sys.getswitchinterval() == self._new_switch_interval:
            sys.setswitchinterval(self._old_switch_interval)
        self._old_switch_interval = 0.0

    def close(self) -> None:
        """End the threads and close the loop.  Kernels, links and sources are to be closed before."""
        self._background.close()
        self.stop()
        self._agenda.sleeper = None
        self._agenda.clear()
        self.loop.close()
        self._write_console()

    def _write_console(self) -> None:
        """Write what kernels said, off the schedule."""
        written = self._written
        self._written = []
        self._written_size = 0
        data = b"".join(written)
        while data and self._console >= 0:
            try:
                data = data[os.write(self._console, data) :]
            except OSError:
                self.console_drops += len(data)
                return


def _debug_lock() -> bool:
    return "lock" in os.environ.get("RUMPKIT_DEBUG", "").split(",")
