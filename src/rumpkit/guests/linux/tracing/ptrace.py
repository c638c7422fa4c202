"""ptrace(2) as functions: what the files of this package ask Linux about a stopped thread.

Above `libc`.  Linux answers only the thread that has seized the other, so all of it is called from one `tracer.Tracer`'s thread.
Each raises OSError; ESRCH where the thread is not stopped, or is gone.
"""

from struct import Struct
from typing import Any, Final, NamedTuple

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
FOLLOW: Final = O_TRACESYSGOOD | O_TRACEFORK | O_TRACEVFORK | O_TRACECLONE | O_TRACEEXEC
"""Everything that a thread starts is traced, too."""

EVENT_FORK: Final = 1
EVENT_VFORK: Final = 2
EVENT_CLONE: Final = 3
EVENT_EXEC: Final = 4
EVENT_EXIT: Final = 6
EVENT_STOP: Final = 128

NT_PRSTATUS: Final = 1
"""The general registers of GETREGSET (elf.h)."""
NT_FPREGSET: Final = 2

ENTRY: Final = 1
EXIT: Final = 2
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
    """ENTRY, EXIT, or something else: then nothing further is known."""
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


def syscall_stop(thread: int) -> Stop:
    """Which call the thread has stopped in."""
    data, _ = _into(GET_SYSCALL_INFO, thread, _INFO_SIZE, _INFO_SIZE)
    kind, _, pc, sp = _HEAD.unpack_from(data)
    if kind == ENTRY:
        number, *arguments = _ENTRY.unpack_from(data, _HEAD.size)
        return Stop(kind, pc, sp, number, tuple(arguments), 0, False)
    result, failed = _EXIT.unpack_from(data, _HEAD.size)
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


def set_registers(thread: int, data: bytes, which: int = NT_PRSTATUS) -> None:
    """Change them."""
    import ctypes

    buffer = ctypes.create_string_buffer(data, len(data))
    vector = ctypes.create_string_buffer(_IOVEC.pack(ctypes.addressof(buffer), len(data)), _IOVEC.size)
    ptrace(SETREGSET, thread, which, ctypes.addressof(vector))
