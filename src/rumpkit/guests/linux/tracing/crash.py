"""How a program died: a viewer that remembers its last calls, and when a signal kills it takes down where it was, before its memory goes.

Above `calls` and `symbols`.  The stack is followed by frame pointers, which many programs are built without: the report says so.
"""

import os
import signal
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, final

from .. import libc
from ..numbers_i386 import NAMES
from . import ptrace
from .calls import CallViewer, Entry, describe_signal
from .decode.names import signal_name
from .expression import parse
from .gdb.registers import LAYOUTS, get
from .peek import Peek
from .symbols import describe, mappings
from .tracer import Viewer

CALLS: Final = 64
"""The last of them that are kept."""
MAX_STACK: Final = 64
_FATAL: Final = {
    signal.SIGSEGV,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSYS,
    signal.SIGTRAP,
    signal.SIGQUIT,
}
"""Signals that mean a fault, whoever sends them (those that leave a core, signal(7))."""


class Crash(NamedTuple):
    """What was found."""

    process: int
    thread: int
    """As the program saw them."""
    command: str
    signal: str
    info: str
    registers: dict[str, int]
    stack: list[str]
    calls: list[Entry]
    mappings: list[str]


@final
class CrashViewer(Viewer):
    """Tells `report` of every process that a fault kills."""

    options = ptrace.O_TRACEEXIT

    def __init__(self, report: Callable[[Crash], None]) -> None:
        self._report = report
        self._calls: deque[Entry] = deque(maxlen=CALLS)
        self._viewer = CallViewer(self._calls.append, parse(["!memory,futex,clock", "signal=all"]))
        self._faults: dict[int, str] = {}
        """By thread: the last signal that may have killed it."""
        self._told: set[int] = set()
        self._peek = Peek()

    def started(self, thread: int) -> None:
        self._viewer.started(thread)

    def executed(self, thread: int, former: int) -> None:
        self._viewer.executed(thread, former)

    def entered(self, thread: int, stop: ptrace.Stop) -> None:
        self._viewer.entered(thread, stop)

    def left(self, thread: int, stop: ptrace.Stop) -> None:
        self._viewer.left(thread, stop)

    def ended(self, thread: int, status: int) -> None:
        self._faults.pop(thread, None)
        self._told.discard(thread)
        self._viewer.ended(thread, status)

    def signalled(self, thread: int, number: int) -> int:
        self._viewer.signalled(thread, number)
        if number in _FATAL:
            self._faults[thread] = describe_signal(ptrace.signal_info(thread))
        return number

    def exiting(self, thread: int) -> None:
        status = ptrace.event_message(thread)
        number = status & 0x7F
        process = _status(thread, "Tgid")[-1]
        if number not in _FATAL or process in self._told:
            return
        others = os.listdir(f"/proc/{process}/task")
        if thread not in self._faults and any(int(other) in self._faults for other in others):
            return  # another has died of it, and comes later
        self._told.add(process)
        self._report(self._look(thread, number))

    def _look(self, thread: int, number: int) -> Crash:
        machine = libc.machine()
        layout = LAYOUTS[machine]()
        sets = {which: ptrace.registers(thread, which) for which in (ptrace.NT_PRSTATUS, ptrace.NT_FPREGSET)}
        general = [one for one in layout.registers if one.set == ptrace.NT_PRSTATUS]
        registers = {one.name: int.from_bytes(get(one, sets), "little") for one in general}
        there = mappings(thread)
        frame = registers["rbp" if machine == "x86_64" else "x29"]
        stack = [
            f"{pc:#018x} {describe(thread, pc, there)}" for pc in self._walk(thread, registers[layout.pc.name], frame)
        ]
        info = self._faults.get(thread, "")
        if number == signal.SIGSYS and not info and machine == "x86_64":
            call = registers["orig_rax"] & 0xFFFFFFFF
            info = f"killed by the fence: {NAMES.get(call, 'unknown')}, system call {call} of another architecture (32-bit)"
        with open(f"/proc/{thread}/comm", errors="replace") as file:
            command = file.read().strip()
        shown = [f"{one.start:#x}-{one.end:#x} {one.access} {one.offset:#x} {one.name}" for one in there]
        ids = _status(thread, "NSpid")[-1], _status(thread, "NStgid")[-1]
        return Crash(ids[1], ids[0], command, signal_name(number), info, registers, stack, list(self._calls), shown)

    def _walk(self, thread: int, pc: int, frame: int) -> list[int]:
        """The program counter and the return addresses behind it, as far as frame pointers lead."""
        found = [pc]
        while len(found) < MAX_STACK and frame and not frame % 8:
            try:
                data = self._peek.read(thread, frame, 16)
            except OSError:
                break
            before, back = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:16], "little")
            if len(data) < 16 or not back:
                break
            found.append(back)
            if before <= frame:
                break
            frame = before
        return found


def _status(thread: int, key: str) -> list[int]:
    """The numbers of a line of /proc/PID/status.  Raises OSError."""
    with open(f"/proc/{thread}/status") as file:
        for line in file:
            if line.startswith(f"{key}:"):
                return [int(word) for word in line.split()[1:]]
    return [thread]
