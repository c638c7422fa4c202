"""What gdb's packets mean, one function each, and the life of a debugged program: it waits for gdb before its first instruction.

Between `line`, which has the packets, and `debugger`, which does what they say.
"""

import os
import signal
import socket
from collections.abc import Callable
from queue import Empty
from typing import Final, final

from ... import libc
from .. import ptrace
from ..tracer import Tracing
from .debugger import FOLLOW, Debugger, Ended, Stopped
from .files import Files
from .line import CLOSED, CONNECTED, PACKET, Line, stop
from .packets import MAX_PACKET, escape, unescape
from .registers import LAYOUTS, read
from .signals import FROM_GDB, TO_GDB, UNKNOWN
from .threads import Mode, Thread

PATIENCE: Final = 0.2
"""Seconds after which we look whether the stopped program has been killed: only who waits for each of its threads learns of that."""
SIZE: Final = MAX_PACKET // 4
"""Bytes of an answer at most, before they are escaped."""
OK: Final = b"OK"
REFUSED: Final = b"E01"
FEATURES: Final = b";".join(
    (
        b"PacketSize=%x" % SIZE,
        b"QStartNoAckMode+;QPassSignals+;vContSupported+;exec-events+",
        b"qXfer:features:read+;qXfer:auxv:read+;qXfer:exec-file:read+;qXfer:siginfo:read+;qXfer:threads:read+",
    )
)


@final
class GdbServer(Tracing):
    """Debugs one program for whoever connects to `listener`.  `say` is told what a user wants to know."""

    options = FOLLOW

    def __init__(self, listener: socket.socket, say: Callable[[str], None]) -> None:
        super().__init__()
        self._listener = listener
        self._say = say

    def trace(self, process: int) -> None:
        debugger = Debugger(process, LAYOUTS[libc.machine()]())
        if not debugger.begin():
            self._listener.close()
            return
        line = Line(self._listener, lambda: self._interrupt(debugger))
        session = Session(debugger, line)
        try:
            while session.serve():
                self._say("gdb has hung up; the program waits for another")
        finally:
            line.close()
            debugger.close()
            session.files.close()

    @staticmethod
    def _interrupt(debugger: Debugger) -> None:
        """Ctrl-C, in the line's thread."""
        debugger.interrupted = True
        stop(debugger.process)


@final
class Session:
    """A program in gdb's hands."""

    def __init__(self, debugger: Debugger, line: Line) -> None:
        self.debugger = debugger
        self.files = Files(debugger.process)
        self._line = line
        self._current = debugger.process
        self._last: Stopped | Ended = Stopped(debugger.process, signal.SIGTRAP)
        self._over = False

    def serve(self) -> bool:
        """Answer one gdb until it hangs up, which gives True; False once there is nothing more to debug."""
        connected = False
        while not self._over:
            try:
                what, data, self._line.answering = self._line.inbox.get(timeout=PATIENCE)
            except Empty:
                if self.debugger.killed():
                    self._last = self.debugger.bury()
                    return False
                continue
            if what == PACKET and connected:
                self._answer(data)
            elif what == CONNECTED:
                connected = True
            elif what == CLOSED and connected:
                return True
        return False

    def _answer(self, packet: bytes) -> None:
        for prefix, handler in _HANDLERS:
            if packet.startswith(prefix):
                try:
                    reply = handler(self, packet[len(prefix) :])
                except (OSError, ValueError, IndexError):
                    reply = REFUSED
                if reply is not None:
                    self._line.send(reply)
                return
        self._line.send(b"")

    # What there is --------------------------------------------------------------------------------------------------

    def supported(self, data: bytes) -> bytes:
        """qSupported."""
        return FEATURES

    def no_acknowledgements(self, data: bytes) -> None:
        """QStartNoAckMode; the last one that is acknowledged."""
        self._line.send(OK)
        self._line.stop_acknowledging()

    def transfer(self, data: bytes) -> bytes:
        """qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH."""
        kind, what, annex, place = data.split(b":", 3)
        source = _OBJECTS.get(kind)
        if source is None or what != b"read":
            return b""
        offset, length = (int(word, 16) for word in place.split(b","))
        whole = source(self, annex)
        piece = whole[offset : offset + min(length, SIZE)]
        return (b"l" if offset + len(piece) >= len(whole) else b"m") + escape(piece)

    def features(self, annex: bytes) -> bytes:
        """The registers."""
        return self.debugger.layout.target_xml()

    def auxiliary(self, annex: bytes) -> bytes:
        """Where the dynamic linker has put things."""
        with open(f"/proc/{self.debugger.process}/auxv", "rb") as file:
            return file.read()

    def executable(self, annex: bytes) -> bytes:
        """The path of the program."""
        return os.fsencode(os.readlink(f"/proc/{self.debugger.process}/exe"))

    def signal_info(self, annex: bytes) -> bytes:
        """A siginfo_t."""
        return ptrace.signal_info(self._current)

    def thread_list(self, annex: bytes) -> bytes:
        """The threads with their names."""
        rows = "".join(f'<thread id="{id:x}" name="{_escaped(name_of(id))}"/>' for id in self.debugger.threads)
        return f'<?xml version="1.0"?><threads>{rows}</threads>'.encode()

    # Threads and registers ------------------------------------------------------------------------------------------

    def why(self, data: bytes) -> bytes:
        """?"""
        return self._told(self._last)

    def choose(self, data: bytes) -> bytes:
        """Hg, Hc: of which thread further packets speak."""
        id = int(data, 16)
        if id > 0:
            if id not in self.debugger.threads:
                return REFUSED
            self._current = id
        return OK

    def alive(self, data: bytes) -> bytes:
        """T: whether a thread is there."""
        return OK if int(data, 16) in self.debugger.threads else REFUSED

    def current(self, data: bytes) -> bytes:
        """qC."""
        return b"QC%x" % self._current

    def first_threads(self, data: bytes) -> bytes:
        """qfThreadInfo."""
        return b"m" + b",".join(b"%x" % id for id in self.debugger.threads)

    def no_more_threads(self, data: bytes) -> bytes:
        """qsThreadInfo."""
        return b"l"

    def _thread(self) -> Thread:
        thread = self.debugger.threads.get(self._current)
        if thread is None:
            self._current, thread = next(iter(self.debugger.threads.items()))
        return thread

    def all_registers(self, data: bytes) -> bytes:
        """g."""
        return read(self.debugger.layout, self._thread().sets()).hex().encode()

    def change_registers(self, data: bytes) -> bytes:
        """G."""
        values = bytes.fromhex(data.decode())
        at = 0
        for register in self.debugger.layout.registers:
            if at + register.size <= len(values):
                self._thread().put(register, values[at : at + register.size])
            at += register.size
        return OK

    def register(self, data: bytes) -> bytes:
        """p."""
        return self._thread().get(self.debugger.layout.registers[int(data, 16)]).hex().encode()

    def change_register(self, data: bytes) -> bytes:
        """P."""
        number, value = data.split(b"=")
        self._thread().put(self.debugger.layout.registers[int(number, 16)], bytes.fromhex(value.decode()))
        return OK

    # Memory and breakpoints -----------------------------------------------------------------------------------------

    def memory(self, data: bytes) -> bytes:
        """m."""
        address, length = (int(word, 16) for word in data.split(b","))
        return self.debugger.memory.read(address, min(length, SIZE // 2)).hex().encode()

    def change_memory(self, data: bytes) -> bytes:
        """M."""
        head, content = data.split(b":", 1)
        self.debugger.memory.write(int(head.split(b",")[0], 16), bytes.fromhex(content.decode()))
        return OK

    def change_memory_binary(self, data: bytes) -> bytes:
        """X."""
        head, content = data.split(b":", 1)
        self.debugger.memory.write(int(head.split(b",")[0], 16), unescape(content))
        return OK

    def insert(self, data: bytes) -> bytes:
        """Z0."""
        self.debugger.memory.insert(int(data.split(b",")[0], 16))
        return OK

    def remove(self, data: bytes) -> bytes:
        """z0."""
        self.debugger.memory.remove(int(data.split(b",")[0], 16))
        return OK

    # Going on -------------------------------------------------------------------------------------------------------

    def pass_signals(self, data: bytes) -> bytes:
        """QPassSignals."""
        numbers = (int(word, 16) for word in data.split(b";") if word)
        self.debugger.passed = frozenset(FROM_GDB[number] for number in numbers if number in FROM_GDB)
        return OK

    def go_on(self, data: bytes) -> bytes:
        """vCont;ACTION[:THREAD]...: the first that fits a thread is its."""
        actions: dict[int, tuple[Mode, int]] = {}
        for word in data.split(b";"):
            action, _, thread = word.partition(b":")
            mode = Mode.STEPPING if action[:1] in b"sS" else Mode.RUNNING
            number = FROM_GDB.get(int(action[1:], 16), 0) if action[:1] in b"CS" else 0
            for id in [int(thread, 16)] if thread and thread != b"-1" else list(self.debugger.threads):
                # What has stopped one thread is that one's, not all others'.
                told = number if thread or id == self._current or mode is Mode.STEPPING else 0
                actions.setdefault(id, (mode, told))
        self.debugger.resume(actions)
        self._last = self.debugger.wait()
        if isinstance(self._last, Stopped):
            self._current = self._last.thread
        else:
            self._over = True
        self._line.awaiting = False
        return self._told(self._last)

    def which_actions(self, data: bytes) -> bytes:
        """vCont?"""
        return b"vCont;c;C;s;S"

    def _told(self, last: Stopped | Ended) -> bytes:
        if isinstance(last, Ended):
            code = os.waitstatus_to_exitcode(last.status)
            return b"W%02x" % (code & 0xFF) if code >= 0 else b"X%02x" % TO_GDB.get(-code, UNKNOWN)
        executed = b"exec:%b;" % os.fsencode(last.executed).hex().encode() if last.executed else b""
        return b"T%02x%bthread:%x;" % (TO_GDB.get(last.signal, UNKNOWN), executed, last.thread)

    def let_go(self, data: bytes) -> None:
        """D: the program goes on alone."""
        self.debugger.detach()
        self._over = True
        self._line.send(OK)

    def kill(self, data: bytes) -> bytes:
        """k, vKill: the program ends."""
        os.kill(self.debugger.process, signal.SIGKILL)
        self._last = self.debugger.bury()
        self._over = True
        return OK

    def file(self, data: bytes) -> bytes:
        """vFile: the program's files, as it sees them."""
        return self.files.answer(data)

    def attached(self, data: bytes) -> bytes:
        """qAttached: no, it was started for gdb; so gdb ends it when it quits."""
        return b"0"

    def fine(self, data: bytes) -> bytes:
        """What needs nothing done."""
        return OK


Handler = Callable[[Session, bytes], "bytes | None"]
_HANDLERS: Final[tuple[tuple[bytes, Handler], ...]] = (
    (b"qSupported", Session.supported),
    (b"QStartNoAckMode", Session.no_acknowledgements),
    (b"QPassSignals:", Session.pass_signals),
    (b"qXfer:", Session.transfer),
    (b"qAttached", Session.attached),
    (b"qSymbol:", Session.fine),
    (b"qfThreadInfo", Session.first_threads),
    (b"qsThreadInfo", Session.no_more_threads),
    (b"qC", Session.current),
    (b"vCont?", Session.which_actions),
    (b"vCont;", Session.go_on),
    (b"vFile:", Session.file),
    (b"vKill", Session.kill),
    (b"k", Session.kill),
    (b"D", Session.let_go),
    (b"?", Session.why),
    (b"Hg", Session.choose),
    (b"Hc", Session.fine),
    (b"T", Session.alive),
    (b"g", Session.all_registers),
    (b"G", Session.change_registers),
    (b"p", Session.register),
    (b"P", Session.change_register),
    (b"m", Session.memory),
    (b"M", Session.change_memory),
    (b"X", Session.change_memory_binary),
    (b"Z0,", Session.insert),
    (b"z0,", Session.remove),
)
"""Packets by how they begin; to all others the answer is nothing: they aren't known."""
_OBJECTS: Final[dict[bytes, Callable[[Session, bytes], bytes]]] = {
    b"features": Session.features,
    b"auxv": Session.auxiliary,
    b"exec-file": Session.executable,
    b"siginfo": Session.signal_info,
    b"threads": Session.thread_list,
}


def name_of(thread: int) -> str:
    """A thread's name; "" where it is gone."""
    try:
        with open(f"/proc/{thread}/comm", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def _escaped(text: str) -> str:
    return "".join(c if c.isalnum() or c in " -_.:/" else "?" for c in text)
