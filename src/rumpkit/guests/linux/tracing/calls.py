"""The trace of a guest's calls: each is decoded as strace would, as soon as it has returned, and told to a `Log`.

A `tracer.Viewer`; the decoding is `decode`'s, the writing of lines the log's.  All calls are seen as the program sees them: those that
the kernel answers and those that Linux does.
"""

import os
import time
from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple, final

from .. import libc
from ..fences import name_of
from . import ptrace
from .decode import writer
from .decode.call import STRING_SIZE, Call
from .decode.names import signal_name
from .expression import Chosen
from .peek import Peek
from .tracer import Viewer

PENDING_LIMIT: Final = 65536
"""Threads that may be within a call."""
_SIGINFO: Final = Struct("<iii4xQ")
"""siginfo_t: number, errno, code, then an address, or a process and a user."""
_FAULTS: Final = {
    "SIGSEGV": {1: "SEGV_MAPERR", 2: "SEGV_ACCERR"},
    "SIGBUS": {1: "BUS_ADRALN", 2: "BUS_ADRERR", 3: "BUS_OBJERR"},
    "SIGFPE": {1: "FPE_INTDIV", 2: "FPE_INTOVF"},
    "SIGILL": {1: "ILL_ILLOPC", 2: "ILL_ILLOPN"},
    "SIGCHLD": {1: "CLD_EXITED", 2: "CLD_KILLED", 3: "CLD_DUMPED", 5: "CLD_STOPPED", 6: "CLD_CONTINUED"},
}
_SENT: Final = {0: "SI_USER", -1: "SI_QUEUE", -2: "SI_TIMER", -6: "SI_TKILL", 0x80: "SI_KERNEL"}


class Entry(NamedTuple):
    """One line of a trace."""

    kind: str
    """ "call", "signal", "exit"."""
    when: float
    """Seconds since the epoch: when the call began."""
    thread: int
    """As the program sees it."""
    host_thread: int
    call: str
    """The call, or the signal's name."""
    arguments: list[str]
    result: str
    """As text; "?" where the call has not returned; what a signal says, how an exit went."""
    value: int | None
    """The same as a number; minus the errno of a call that has failed."""
    seconds: float
    """How long the call took."""


Log = Callable[[Entry], None]


@final
class _Pending(NamedTuple):
    call: Call
    when: float
    begun: float


@final
class CallViewer(Viewer):
    """Decodes what is `chosen`."""

    def __init__(self, log: Log, chosen: Chosen, strings: int = STRING_SIZE) -> None:
        self._log = log
        self._chosen = chosen
        self.calls = bool(chosen.calls)
        self.wanted = chosen.calls
        self._strings = strings
        self._machine = libc.machine()
        self._peek = Peek()
        self._pending: dict[int, _Pending] = {}
        self._inside: dict[int, int] = {}

    def started(self, thread: int) -> None:
        self._inside[thread] = inside(thread)

    def executed(self, thread: int, former: int) -> None:
        # The others are gone without a word; and this thread has the first one's id now.
        if former != thread:
            self._pending.pop(thread, None)
            self._inside.pop(former, None)
            if former in self._pending:
                self._pending[thread] = self._pending.pop(former)
        self._inside[thread] = inside(thread)

    def entered(self, thread: int, stop: ptrace.Stop) -> None:
        self._pending.pop(thread, None)
        name = name_of(self._machine, stop.number)
        if name not in self._chosen.calls or len(self._pending) >= PENDING_LIMIT:
            return
        call = Call(self._peek, thread, name, stop.arguments, self._strings)
        writer.begin(call)
        self._pending[thread] = _Pending(call, time.time(), time.monotonic())

    def left(self, thread: int, stop: ptrace.Stop) -> None:
        pending = self._pending.pop(thread, None)
        if pending is None:
            return
        call = pending.call
        call.result, call.failed = stop.result, stop.failed
        seconds = time.monotonic() - pending.begun
        words, text = writer.arguments(call), writer.result(call) + writer.polled(call)
        self._tell("call", pending.when, thread, call.name, words, text, stop.result, seconds)

    def signalled(self, thread: int, number: int) -> int:
        if number in self._chosen.signals:
            try:
                text = describe_signal(ptrace.signal_info(thread))
            except OSError:
                text = ""
            self._tell("signal", time.time(), thread, signal_name(number), [], text, number)
        return number

    def ended(self, thread: int, status: int) -> None:
        pending = self._pending.pop(thread, None)
        if pending is not None:
            call = pending.call
            words = writer.arguments(call, returned=False)
            text = "?" if call.name in ("exit", "exit_group") else "? <unfinished ...>"
            self._tell("call", pending.when, thread, call.name, words, text, None)
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            text = f"exited with {code}"
        else:
            text = f"killed by {signal_name(-code)}{' (core dumped)' if os.WCOREDUMP(status) else ''}"
        self._tell("exit", time.time(), thread, "", [], text, code)
        self._inside.pop(thread, None)

    def _tell(
        self,
        kind: str,
        when: float,
        thread: int,
        name: str,
        words: list[str],
        text: str,
        value: int | None,
        took: float = 0.0,
    ) -> None:
        self._log(Entry(kind, when, self._inside.get(thread, thread), thread, name, words, text, value, took))


def inside(thread: int) -> int:
    """A thread's id as its own namespace has it; as ours where it is gone."""
    try:
        with open(f"/proc/{thread}/status", "rb") as status:
            for line in status:
                if line.startswith(b"NSpid:"):
                    return int(line.split()[-1])
    except OSError:
        pass
    return thread


def describe_signal(info: bytes) -> str:
    """A siginfo_t (sigaction(2))."""
    number, _, code, value = _SIGINFO.unpack_from(info)
    name = signal_name(number)
    shown = _FAULTS.get(name, {}).get(code) or _SENT.get(code, str(code))
    text = f"si_signo={name}, si_code={shown}"
    if name in _FAULTS and name != "SIGCHLD" and code > 0:
        text += f", si_addr={f'{value:#x}' if value else 'NULL'}"
    elif name == "SIGSYS":
        nr = int.from_bytes(info[24:28], "little")
        text += f", si_syscall={name_of(libc.machine(), nr)}"
    elif code in (0, -1, -6) or name == "SIGCHLD":
        text += f", si_pid={value & 0xFFFFFFFF}, si_uid={value >> 32}"
    if name == "SIGCHLD":
        status = int.from_bytes(info[24:28], "little", signed=True)
        text += f", si_status={status if code == 1 else signal_name(status)}"
    return f"{{{text}}}"
