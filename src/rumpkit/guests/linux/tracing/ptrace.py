"""ptrace(2) as functions: what the files of this package ask Linux about a stopped thread.

Above `libc`.  Linux answers only the thread that has seized the other, so all of it is called from one `tracer.Tracer`'s thread.
Each raises OSError; ESRCH where the thread is not stopped, or is gone.
"""

from struct import Struct
from typing import Any, Final, NamedTuple, final

from .. import libc

CONT: Final = 7
SINGLESTEP: Final = 9
DETACH: Final = 17
SYSCALL: Final = 24
SETOPTIONS: Final = 0x4200
GETEVENTMSG: Final = 0x4201
GETSIGINFO: Final = 0x4202
GETREGSET: Final = 0x4204
SETREGSET: Final = 0x4205
SEIZE: Final = 0x4206
INTERRUPT: Final = 0x4207
LISTEN: Final = 0x4208
GET_SYSCALL_INFO: Final = 0x420E

O_TRACESYSGOOD: Final = 0x01
O_TRACEFORK: Final = 0x02
O_TRACEVFORK: Final = 0x04
O_TRACECLONE: Final = 0x08
O_TRACEEXEC: Final = 0x10
O_TRACEEXIT: Final = 0x40
O_TRACESECCOMP: Final = 0x80
O_EXITKILL: Final = 0x100000
FOLLOW: Final = O_TRACESYSGOOD | O_TRACEFORK | O_TRACEVFORK | O_TRACECLONE | O_TRACEEXEC | O_EXITKILL
"""Everything that a thread starts is traced, too; and is killed with its tracer."""

EVENT_FORK: Final = 1
EVENT_VFORK: Final = 2
EVENT_CLONE: Final = 3
EVENT_EXEC: Final = 4
EVENT_EXIT: Final = 6
EVENT_SECCOMP: Final = 7
EVENT_STOP: Final = 128

NT_PRSTATUS: Final = 1
"""The general registers of GETREGSET (elf.h)."""
NT_FPREGSET: Final = 2

ENTRY: Final = 1
EXIT: Final = 2
SECCOMP: Final = 3
"""Kinds of a `Stop`."""

WALL: Final = 0x40000000
NOTHREAD: Final = 0x20000000
"""Flags of waitpid: threads, too; and of this very thread only, so that nobody else's children are taken from him."""

_HEAD: Final = Struct("<B3xIQQ")
_ENTRY: Final = Struct("<7Q")
_EXIT: Final = Struct("<qB")
_IOVEC: Final = Struct("<QQ")
_INFO_SIZE: Final = 128
MAX_REGISTERS: Final = 4096
SIGINFO_SIZE: Final = 128

_function: Any = None


class Stop(NamedTuple):
    """Where a thread has stopped in a system call."""

    kind: int
    """ENTRY, EXIT, SECCOMP, or something else: then nothing further is known."""
    pc: int
    sp: int
    number: int
    arguments: tuple[int, ...]
    result: int
    failed: bool


def ptrace(request: int, thread: int, address: int = 0, data: int = 0) -> int:
    """The call itself."""
    global _function
    import ctypes

    if _function is None:
        # Never sleeps, so Python's lock is kept: to give it up and get it back costs more than the call.
        _function = ctypes.PyDLL(None, use_errno=True).ptrace
        _function.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_ulong, ctypes.c_ulong)
        _function.restype = ctypes.c_long
    result: int = _function(request, thread, address, data)
    if result == -1:
        raise libc.failed("ptrace")
    return result


def _into(request: int, thread: int, address: int, size: int) -> tuple[bytes, int]:
    import ctypes

    buffer = ctypes.create_string_buffer(size)
    count = ptrace(request, thread, address, ctypes.addressof(buffer))
    return buffer.raw, count


def seize(thread: int, options: int) -> None:
    """Begin to trace a thread, which goes on meanwhile.  EPERM where tracing is forbidden."""
    ptrace(SEIZE, thread, 0, options)


@final
class Stops:
    """Asks which calls threads have stopped in: one buffer for all questions of a tracer."""

    def __init__(self) -> None:
        import ctypes

        self._buffer = ctypes.create_string_buffer(_INFO_SIZE)
        self._address = ctypes.addressof(self._buffer)

    def at(self, thread: int) -> Stop:
        """Which one this thread has."""
        ptrace(GET_SYSCALL_INFO, thread, _INFO_SIZE, self._address)
        kind, _, pc, sp = _HEAD.unpack_from(self._buffer)
        if kind in (ENTRY, SECCOMP):
            fields = _ENTRY.unpack_from(self._buffer, _HEAD.size)
            return Stop(kind, pc, sp, fields[0], fields[1:7], 0, False)
        result, failed = _EXIT.unpack_from(self._buffer, _HEAD.size)
        return Stop(kind, pc, sp, -1, (), result, bool(failed))


def event_message(thread: int) -> int:
    """What an event is about: a new thread's id, an exit status."""
    data, _ = _into(GETEVENTMSG, thread, 0, 8)
    return int.from_bytes(data, "little")


def signal_info(thread: int) -> bytes:
    """The siginfo_t of the signal that has stopped it."""
    return _into(GETSIGINFO, thread, 0, SIGINFO_SIZE)[0]


def registers(thread: int, which: int = NT_PRSTATUS) -> bytes:
    """A set of registers, laid out as Linux does (struct user_regs_struct, struct user_pt_regs)."""
    import ctypes

    buffer = ctypes.create_string_buffer(MAX_REGISTERS)
    vector = ctypes.create_string_buffer(_IOVEC.pack(ctypes.addressof(buffer), MAX_REGISTERS), _IOVEC.size)
    ptrace(GETREGSET, thread, which, ctypes.addressof(vector))
    size: int = _IOVEC.unpack(vector.raw)[1]
    return buffer.raw[:size]


_LAST_ARGUMENT: Final = {"x86_64": 8 * 8, "aarch64": 5 * 8}
"""Where the register of a call's sixth argument lies among the general ones: r9, x5."""


def set_last_argument(thread: int, value: int) -> None:
    """Change the sixth argument of the call in which a thread has stopped."""
    place = _LAST_ARGUMENT[libc.machine()]
    data = registers(thread)
    set_registers(thread, data[:place] + value.to_bytes(8, "little") + data[place + 8 :])


def set_registers(thread: int, data: bytes, which: int = NT_PRSTATUS) -> None:
    """Change them."""
    import ctypes

    buffer = ctypes.create_string_buffer(data, len(data))
    vector = ctypes.create_string_buffer(_IOVEC.pack(ctypes.addressof(buffer), len(data)), _IOVEC.size)
    ptrace(SETREGSET, thread, which, ctypes.addressof(vector))
