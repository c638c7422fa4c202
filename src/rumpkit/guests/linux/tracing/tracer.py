"""The thread that traces a guest: it seizes the program before its first instruction, follows all it starts, and tells a `Viewer` what
happens.

Between `ptrace` and the viewers.  Linux lets one thread alone trace a process, and only that thread may ask about it: whatever a viewer
asks, it asks within its methods, which are called here.
"""

import os
import signal
import threading
from errno import ECHILD, ESRCH
from typing import Final, final

from ..record import complain
from . import ptrace

START_TIMEOUT: Final = 20.0
_STOPPING: Final = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Viewer:
    """Hears of what happens to the traced threads, each of which is stopped meanwhile.  Thread ids are those of our namespace."""

    calls = True
    """Whether it hears of system calls; they cost some tens of microseconds each then."""
    options = 0
    """Further options of PTRACE_SEIZE."""

    def started(self, thread: int) -> None:
        """A thread is there."""

    def executed(self, thread: int) -> None:
        """A program has begun: the process has other memory now, and no thread but this."""

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
        except Exception as problem:
            self._problem = problem
            self._attached.set()
            return
        self._attached.set()
        try:
            self.trace(process)
        except Exception as problem:
            complain(problem)  # Linux lets the program go when this thread ends

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
        self._resume = ptrace.SYSCALL if viewer.calls else ptrace.CONT
        self._threads: set[int] = set()
        self._running = False
        """Whether the program has begun; what happens before is ours, not its."""

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
        ptrace.ptrace(self._resume, thread, 0, deliver)

    def _in_call(self, thread: int) -> None:
        if self._running:
            stop = ptrace.syscall_stop(thread)
            if stop.kind == ptrace.ENTRY:
                self._viewer.entered(thread, stop)
            elif stop.kind == ptrace.EXIT:
                self._viewer.left(thread, stop)

    def _happened(self, thread: int, event: int) -> None:
        if event == ptrace.EVENT_EXEC:
            if not self._running:
                self._running = True
                self._viewer.started(thread)
            self._viewer.executed(thread)
        elif event == ptrace.EVENT_EXIT and self._running:
            self._viewer.exiting(thread)
