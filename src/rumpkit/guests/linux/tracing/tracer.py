"""The thread that traces a guest: it seizes the program before its first instruction, follows all it starts, and tells a `Viewer` what
happens.

Between `ptrace` and the viewers.  Linux lets one thread alone trace a process, and only that thread may ask about it: whatever a viewer
asks, it asks within its methods, which are called here.
"""

import os
import signal
import threading
from collections.abc import Collection
from errno import ECHILD, ESRCH
from typing import Final, final

from .. import libc
from ..fences import name_of
from ..filter import LAST_ARGUMENT, SEEN, decided_here
from ..numbers import NUMBERS
from ..record import complain
from . import ptrace

START_TIMEOUT: Final = 20.0
SINGLE_LIMIT: Final = 128
"""Calls that the filter chooses; who wants more has all of them stop, and the filter stays short."""
_STOPPING: Final = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Viewer:
    """Hears of what happens to the traced threads, each of which is stopped meanwhile.  Thread ids are those of our namespace."""

    calls = True
    """Whether it hears of system calls."""
    wanted: frozenset[str] | None = None
    """Of which alone it needs to hear; None: all, which costs some tens of microseconds each."""
    options = 0
    """Further options of PTRACE_SEIZE."""

    def started(self, thread: int) -> None:
        """A thread is there."""

    def executed(self, thread: int, former: int) -> None:
        """A program has begun: the process has other memory now, and no thread but this, which had the id `former` until now."""

    def entered(self, thread: int, stop: ptrace.Stop) -> None:
        """A system call begins."""

    def left(self, thread: int, stop: ptrace.Stop) -> None:
        """It has ended."""

    def signalled(self, thread: int, number: int) -> int:
        """A signal is about to be delivered; returns which is to be (0: none)."""
        return number

    def exiting(self, thread: int) -> None:
        """A thread is about to go, with its memory still there (only with O_TRACEEXIT)."""

    def ended(self, thread: int, status: int) -> None:
        """A thread has gone; a wait status."""

    def finished(self) -> None:
        """There is nothing more to trace."""


class Tracing:
    """A thread that has seized a program.  `attach` is called while the program waits for its start (`spawn`)."""

    options = ptrace.FOLLOW
    """Of PTRACE_SEIZE."""
    traced: frozenset[str] = frozenset()
    """The calls that are to stop for it by the program's filter (`filter.build`)."""
    allow: Collection[str] = ()
    """What that allows besides the usual."""

    def __init__(self) -> None:
        self._problem: Exception | None = None
        self._attached = threading.Event()
        self._thread: threading.Thread | None = None

    def attach(self, process: int) -> None:
        """Trace a process from now on.  Raises OSError."""
        self._thread = threading.Thread(target=self._run, args=(process,), name="rump-tracer", daemon=True)
        self._thread.start()
        if not self._attached.wait(START_TIMEOUT):
            raise TimeoutError("the tracer does not start")
        if self._problem is not None:
            raise self._problem

    def join(self, timeout: float | None = None) -> None:
        """Wait until the guest has ended and all is told of it."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self, process: int) -> None:
        try:
            ptrace.seize(process, self.options)
            self.seized(process)
        except Exception as problem:
            self._problem = problem
            self._attached.set()
            return
        self._attached.set()
        try:
            self.trace(process)
        except Exception as problem:
            complain(problem)  # Linux ends the program with this thread

    def seized(self, process: int) -> None:
        """It is traced from now on, and waits for its start still.  May raise OSError."""

    def trace(self, process: int) -> None:
        """Until there is nothing more to trace."""
        raise NotImplementedError


@final
class Tracer(Tracing):
    """Tells a viewer what happens."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.options = ptrace.FOLLOW | viewer.options
        self._viewer = viewer
        single = viewer.calls and viewer.wanted is not None and len(viewer.wanted) <= SINGLE_LIMIT
        if single and viewer.wanted:
            self.traced = viewer.wanted
            self.options |= ptrace.O_TRACESECCOMP
        self._resume = ptrace.SYSCALL if viewer.calls and not single else ptrace.CONT
        self._stops = ptrace.Stops()
        self._executes = frozenset(NUMBERS[libc.machine()][name] for name in ("execve", "execveat"))
        self._threads: set[int] = set()
        self._within: dict[int, int] = {}
        """Threads within a call that was chosen by the filter; what its last argument was before the mark, or -1."""
        self._running = False
        """Whether the program has begun; what happens before is ours, not its."""

    def seized(self, process: int) -> None:
        if self._resume == ptrace.SYSCALL:
            ptrace.ptrace(ptrace.INTERRUPT, process)  # so that it goes on with stops at calls, the execve among them

    def trace(self, process: int) -> None:
        self._threads.add(process)
        try:
            while self._step():
                pass
        finally:
            self._viewer.finished()

    def _step(self) -> bool:
        try:
            thread, status = os.waitpid(-1, ptrace.WALL | ptrace.NOTHREAD)
        except OSError as problem:
            if problem.errno == ECHILD:
                return False
            raise
        if not os.WIFSTOPPED(status):
            self._threads.discard(thread)
            self._within.pop(thread, None)
            self._viewer.ended(thread, status)
            return True
        try:
            self._stopped(thread, os.WSTOPSIG(status), status >> 16)
        except OSError as problem:
            if problem.errno != ESRCH:  # killed while it was stopped: its end comes next
                raise
        return True

    def _stopped(self, thread: int, number: int, event: int) -> None:
        if self._running and thread not in self._threads:
            self._threads.add(thread)
            self._viewer.started(thread)
        deliver = 0
        if number == signal.SIGTRAP | 0x80:
            self._in_call(thread)
        elif event == ptrace.EVENT_STOP and number in _STOPPING:
            ptrace.ptrace(ptrace.LISTEN, thread)
            return
        elif event:
            self._happened(thread, event)
        else:
            deliver = self._viewer.signalled(thread, number) if self._running else number
        ptrace.ptrace(ptrace.SYSCALL if thread in self._within else self._resume, thread, 0, deliver)

    def _in_call(self, thread: int) -> None:
        stop = self._stops.at(thread)
        if stop.kind == ptrace.ENTRY:
            self._entered(thread, stop)
        elif stop.kind == ptrace.EXIT:
            before = self._within.pop(thread, -1)
            if before >= 0:
                ptrace.set_last_argument(thread, before)
            if self._running:
                self._viewer.left(thread, stop)

    def _entered(self, thread: int, stop: ptrace.Stop) -> None:
        # What becomes the program is the last that happens before it.
        if self._running or stop.number in self._executes:
            self._viewer.entered(thread, stop)

    def _chosen(self, thread: int) -> None:
        """The filter has stopped a thread: where it asks for the mark and doesn't get it, the call would go past the kernel."""
        stop = self._stops.at(thread)
        self._within[thread] = -1
        if self._to_be_marked(stop.number):
            try:
                ptrace.set_last_argument(thread, SEEN)
            except OSError:
                os.kill(thread, signal.SIGKILL)
                raise
            self._within[thread] = stop.arguments[LAST_ARGUMENT]
        self._entered(thread, stop)

    def _to_be_marked(self, number: int) -> bool:
        """Whether the filter decides a call.  Changes of users and groups, which it may decide, can be marked in any case."""
        name = name_of(libc.machine(), number)
        return name not in NUMBERS[libc.machine()] or decided_here(libc.machine(), name, self.allow, True)

    def _happened(self, thread: int, event: int) -> None:
        if event == ptrace.EVENT_SECCOMP:
            self._chosen(thread)
        elif event == ptrace.EVENT_EXEC:
            if not self._running:
                self._running = True
                self._viewer.started(thread)
            former = ptrace.event_message(thread)
            if former != thread:
                self._threads.discard(former)
                self._within.pop(thread, None)
                if former in self._within:
                    self._within[thread] = self._within.pop(former)
            self._viewer.executed(thread, former)
        elif event == ptrace.EVENT_EXIT and self._running:
            self._viewer.exiting(thread)
