"""What a debugger does to a program: stop all its threads, resume some, look at it.  In the tracer's thread, all of it.

Between `threads`, `breakpoints`, `registers` and `session`, which says what gdb wants.  Of several processes the first is debugged; its
children are let go, without the breakpoints that were in their parent's memory.
"""

import os
import signal
from errno import ECHILD, ESRCH
from typing import Final, NamedTuple, final

from .. import ptrace
from .breakpoints import Breakpoints
from .registers import Layout
from .threads import MAX_THREADS, Mode, Thread

FOLLOW: Final = ptrace.FOLLOW & ~ptrace.O_TRACESYSGOOD
_STOPPING: Final = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_NEW: Final = (ptrace.EVENT_FORK, ptrace.EVENT_VFORK)


class Stopped(NamedTuple):
    """Why all threads stand still: what has happened to one."""

    thread: int
    signal: int
    executed: str = ""
    """The program that has just begun, after an exec."""


class Ended(NamedTuple):
    """The process is gone."""

    status: int
    """A wait status."""


@final
class Debugger:
    """One process."""

    def __init__(self, process: int, layout: Layout) -> None:
        self.process = process
        self.layout = layout
        self.threads: dict[int, Thread] = {process: Thread(process, layout)}
        self.passed: frozenset[int] = frozenset()
        """Signals that are delivered without gdb's hearing of them."""
        self.interrupted = False
        """Whether the next SIGSTOP is ours.  Set by any thread."""
        self.ended: Ended | None = None
        self._resumed: set[int] = set()
        self._children: set[int] = set()
        self._strays: dict[int, int] = {}
        """New processes and threads that have stopped before we heard whose they are; and their wait status."""
        self._program: Breakpoints | None = None

    @property
    def memory(self) -> Breakpoints:
        """The process's memory, once it runs a program."""
        if self._program is None:
            self._program = Breakpoints(self.process, self.layout.trap)
        return self._program

    # Waiting --------------------------------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Wait for the program's first instruction; False if it ends before."""
        while self.ended is None:
            found = self._next()
            if found is None:
                continue
            thread, number, event = found
            if event == ptrace.EVENT_EXEC:
                thread.mode = Mode.STOPPED
                return True
            thread.resume(Mode.RUNNING, 0 if event else number)
        return False

    def wait(self) -> Stopped | Ended:
        """Wait until something has happened that gdb wants to hear of; all threads stand still then."""
        while self.ended is None:
            if all(one.mode is Mode.STOPPED and one.event is None for one in self.threads.values()):
                return Stopped(next(iter(self.threads), self.process), 0)  # those that were to go on have gone
            found = self._pending() or self._next()
            if found is not None:
                told = self._judge(*found)
                if told is not None:
                    self._stop_all()
                    return told if self.ended is None else self.ended
        return self.ended

    def bury(self) -> Ended:
        """Wait for the end, which is certain."""
        while self.ended is None:
            found = self._next()
            if found is not None:
                found[0].resume(Mode.RUNNING, 0)
        return self.ended

    def killed(self) -> bool:
        """While all threads stand still: whether somebody has killed the process nevertheless."""
        try:
            id, status = os.waitpid(-1, ptrace.WALL | ptrace.NOTHREAD | os.WNOHANG)
        except ChildProcessError:
            return True
        if not id or os.WIFSTOPPED(status):
            return False
        self.threads.pop(id, None)
        if id == self.process:
            self.ended = Ended(status)
        return True

    def _pending(self) -> tuple[Thread, int, int] | None:
        for thread in self.threads.values():
            if thread.event is not None and thread.id in self._resumed:
                (number, event), thread.event = thread.event, None
                return thread, number, event
        return None

    def _next(self) -> tuple[Thread, int, int] | None:
        """The next of our threads that stops, with a signal and an event; None where something else has happened."""
        try:
            id, status = os.waitpid(-1, ptrace.WALL | ptrace.NOTHREAD)
        except OSError as problem:
            if problem.errno != ECHILD:
                raise
            self.ended = self.ended or Ended(signal.SIGKILL)
            return None
        if not os.WIFSTOPPED(status):
            self.threads.pop(id, None)
            self._children.discard(id)
            if id == self.process:
                self.ended = Ended(status)
            return None
        thread = self.threads.get(id)
        if thread is None:
            self._welcome(id, status)
            return None
        thread.mode = Mode.STOPPED
        return thread, os.WSTOPSIG(status), status >> 16

    def _welcome(self, id: int, status: int) -> None:
        """A process or thread has stopped that is new."""
        if id in self._children:
            self._let_go(id)
        elif os.path.exists(f"/proc/{self.process}/task/{id}"):
            if len(self.threads) < MAX_THREADS:
                self.threads[id] = Thread(id, self.layout)
                self._go(self.threads[id], Mode.RUNNING)
        else:
            self._strays[id] = status

    def _let_go(self, id: int) -> None:
        self._children.discard(id)
        try:
            self.memory.clean(id)
        except OSError:
            pass
        try:
            ptrace.ptrace(ptrace.DETACH, id)
        except OSError:
            pass

    def _let_all_go(self) -> None:
        """Those whose first stop has not come yet, too: whoever is traced when the tracer ends is killed."""
        for id in [*self._strays]:
            self._let_go(id)
        self._strays.clear()
        for id in [*self._children]:
            try:
                os.waitpid(id, ptrace.WALL | ptrace.NOTHREAD)  # it stops before its first instruction, or is gone
            except ChildProcessError:
                pass
            self._let_go(id)

    def _judge(self, thread: Thread, number: int, event: int) -> Stopped | None:
        """What a stop means; None where the thread goes on."""
        if event == ptrace.EVENT_EXEC:
            for other in [id for id in self.threads if id != thread.id]:
                del self.threads[other]
            self.memory.reopen()
            return Stopped(thread.id, signal.SIGTRAP, os.readlink(f"/proc/{self.process}/exe"))
        if event in _NEW:
            self._born(ptrace.event_message(thread.id), event)
        if event == ptrace.EVENT_STOP and number in _STOPPING:
            ptrace.ptrace(ptrace.LISTEN, thread.id)
            thread.mode = Mode.RUNNING
            return None
        if event:
            self._go(thread, Mode.RUNNING)
            return None
        if number == signal.SIGSTOP and self.interrupted:
            self.interrupted = False
            return Stopped(thread.id, signal.SIGINT)
        if number in self.passed:
            self._go(thread, Mode.RUNNING, number)
            return None
        return Stopped(thread.id, number)

    def _born(self, child: int, event: int) -> None:
        self._children.add(child)
        if self._strays.pop(child, None) is not None:
            self._let_go(child)

    def _go(self, thread: Thread, mode: Mode, number: int = 0) -> None:
        try:
            thread.resume(mode, number)
        except OSError as problem:
            if problem.errno != ESRCH:  # killed; its end comes next
                raise
            thread.mode = Mode.RUNNING

    # Stopping and resuming ------------------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Have all threads stand still.  What happens to them meanwhile waits for its turn."""
        self._interrupt_running()
        while self.ended is None and any(one.mode is not Mode.STOPPED for one in self.threads.values()):
            found = self._next()
            if found is None:
                self._interrupt_running()
                continue
            thread, number, event = found
            if event in _NEW:
                self._born(ptrace.event_message(thread.id), event)
            elif event == ptrace.EVENT_EXEC or not (event or self._rewind(thread, number)):
                thread.event = (number, event)

    def _interrupt_running(self) -> None:
        """All threads that run shall stop.  Who can't, has gone: a first thread that has left the others behind is a zombie."""
        for thread in [one for one in self.threads.values() if one.mode is not Mode.STOPPED]:
            try:
                ptrace.ptrace(ptrace.INTERRUPT, thread.id)
            except OSError:
                del self.threads[thread.id]

    def _rewind(self, thread: Thread, number: int) -> bool:
        """Where a thread has run into a breakpoint at the same time as another into what is told, it shall do so again."""
        if number != signal.SIGTRAP:
            return False
        place = thread.pc() - self.layout.pc_behind
        if place not in self.memory:
            return False
        if self.layout.pc_behind:
            thread.put(self.layout.pc, place.to_bytes(8, "little"))
        return True

    def resume(self, actions: dict[int, tuple[Mode, int]]) -> None:
        """Let threads go on, each in its way and with a signal.  Where one has something to be told still, nobody moves."""
        self._resumed = set(actions)
        if any(id in self.threads and self.threads[id].event is not None for id in actions):
            return
        for id, (mode, number) in actions.items():
            thread = self.threads.get(id)
            if thread is not None and thread.mode is Mode.STOPPED:
                self._go(thread, mode, number)

    def detach(self) -> None:
        """Let the program go on by itself.  All threads stand still."""
        self._let_all_go()
        self.memory.remove_all()
        for thread in self.threads.values():
            number = thread.event[0] if thread.event is not None and not thread.event[1] else 0
            try:
                thread.write_back()
                ptrace.ptrace(ptrace.DETACH, thread.id, 0, 0 if number == signal.SIGTRAP else number)
            except OSError:
                pass
        self.threads.clear()

    def close(self) -> None:
        """Nothing more is asked."""
        if self._program is not None:
            self._program.close()
