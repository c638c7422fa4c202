"""Structures that calls point to, other than those of sockets: stat, timespec, pollfd, epoll_event and others (the man pages of each)."""

import os
from struct import Struct
from typing import Final

from . import names
from .call import LIST_SIZE, Call

_PAIR: Final = Struct("<qq")
_POLLFD: Final = Struct("<ihh")
_STATX86: Final = Struct("<QQQIII4xQqqq")
_STATARM: Final = Struct("<QQIIIIQ8xqi4xq")
_PACKED: Final = Struct("<Iq")
_ALIGNED: Final = Struct("<I4xq")
_STATX: Final = Struct("<I4xQ12xH10xQ")
_ENTRY: Final = Struct("<16xHx")
MOST_ENTRIES: Final = 1 << 20
"""Bytes of directory entries that are counted."""
_SYSINFO: Final = Struct("<q9QH6xQQI4x")
_SYSTEM: Final = "totalram freeram sharedram bufferram totalswap freeswap procs totalhigh freehigh mem_unit".split()
_TWO: Final = Struct("<ii")
_SIGSET: Final = 64
_ACTION: Final = Struct("<QQQ")
_RESTORER: Final = 0x04000000
ARM: Final = os.uname().machine == "aarch64"


def pair(call: Call, where: int, first: str, second: str) -> str:
    """Two longs: struct timespec, timeval, rlimit.  Raises EFAULT."""
    if not where:
        return "NULL"
    one, other = call.unpack(_PAIR, where)
    return f"{{{first}={one}, {second}={other}}}"


def pairs(call: Call, where: int, count: int) -> str:
    """An array of struct timespec.  Raises EFAULT."""
    if not where:
        return "NULL"
    return f"[{', '.join(pair(call, where + place * _PAIR.size, 'tv_sec', 'tv_nsec') for place in range(count))}]"


def limit(call: Call, where: int) -> str:
    """A struct rlimit64.  Raises EFAULT."""
    if not where:
        return "NULL"
    now, most = ("RLIM64_INFINITY" if value == -1 else _kilo(value) for value in call.unpack(_PAIR, where))
    return f"{{rlim_cur={now}, rlim_max={most}}}"


def _kilo(value: int) -> str:
    return f"{value // 1024}*1024" if value > 1024 and value % 1024 == 0 else str(value)


def status(call: Call, where: int) -> str:
    """A struct stat.  Raises EFAULT."""
    if ARM:
        _, _, mode, _, _, _, device, size, _, _ = call.unpack(_STATARM, where)
    else:
        _, _, _, mode, _, _, device, size, _, _ = call.unpack(_STATX86, where)
    kind = mode & 0o170000
    if kind in (0o020000, 0o060000):
        last = f"st_rdev=makedev({os.major(device):#x}, {os.minor(device):#x})"
    else:
        last = f"st_size={size}"
    return f"{{st_mode={file_mode(mode)}, {last}, ...}}"


def file_mode(mode: int) -> str:
    """A type and permissions."""
    return f"{names.FILE_TYPES.get(mode & 0o170000, hex(mode & 0o170000))}|{mode & 0o7777:#05o}".replace("0o", "0")


def permissions(mode: int) -> str:
    """As C has them."""
    return f"0{mode:o}".rjust(3, "0") if mode < 0o100 else f"0{mode:o}"


def polled(call: Call, where: int, count: int, returned: bool) -> str:
    """An array of struct pollfd, with what is asked for, or what has come.  Raises EFAULT."""
    if not where:
        return "NULL"
    parts = []
    for place in range(min(count, LIST_SIZE)):
        fd, events, found = call.unpack(_POLLFD, where + place * _POLLFD.size)
        if not returned:
            parts.append(f"{{fd={fd}, events={names.flags(events & 0xFFFF, names.POLL)}}}")
        elif found:
            parts.append(f"{{fd={fd}, revents={names.flags(found & 0xFFFF, names.POLL)}}}")
    return f"[{', '.join(parts)}{', ...' if count > LIST_SIZE else ''}]"


def events(call: Call, where: int, count: int) -> str:
    """An array of struct epoll_event.  Raises EFAULT."""
    if not where:
        return "NULL"
    form = _ALIGNED if ARM else _PACKED
    parts = []
    for place in range(min(count, LIST_SIZE)):
        bits, data = call.unpack(form, where + place * form.size)
        word, long = data & 0xFFFFFFFF, data & 0xFFFFFFFFFFFFFFFF
        number = word - (1 << 32) if word >> 31 else word
        parts.append(f"{{events={names.flags(bits, names.EPOLL)}, data={{u32={number & 0xFFFFFFFF}, u64={long}}}}}")
    return ", ".join(parts) if count == 1 and call.name == "epoll_ctl" else f"[{', '.join(parts)}]"


def file_information(call: Call, where: int) -> str:
    """A struct statx.  Raises EFAULT."""
    mask, attributes, mode, size = call.unpack(_STATX, where)
    text = f"stx_mask={names.flags(mask, names.STATX_MASK)}, stx_attributes={names.flags(attributes, names.STATX_ATTRIBUTES)}"
    return f"{{{text}, stx_mode={file_mode(mode)}, stx_size={size}, ...}}"


def entries(call: Call, where: int, size: int) -> str:
    """An array of struct linux_dirent64: how many there are.  Raises EFAULT."""
    data = call.read(where, min(size, MOST_ENTRIES)) if size > 0 else b""
    place = count = 0
    while place + _ENTRY.size <= len(data):
        (length,) = _ENTRY.unpack_from(data, place)
        if length < _ENTRY.size:
            break
        place += length
        count += 1
    return f"{where:#x} /* {count}{'' if size <= len(data) else '+'} entries */"


def system(call: Call, where: int) -> str:
    """A struct sysinfo.  Raises EFAULT."""
    found = call.unpack(_SYSINFO, where)
    first = f"uptime={found[0]}, loads=[{', '.join(map(str, found[1:4]))}]"
    return f"{{{first}, {', '.join(f'{name}={value}' for name, value in zip(_SYSTEM, found[4:], strict=True))}}}"


def random(call: Call, where: int, size: int) -> str:
    """Bytes that mean nothing, in hex.  Raises EFAULT."""
    data = call.read(where, min(size, call.strings)) if size > 0 else b""
    shown = "".join(f"\\x{byte:02x}" for byte in data)
    return f'"{shown}"{"..." if size > len(data) else ""}'


def two(call: Call, where: int) -> str:
    """The descriptors of a pipe, or of a pair of sockets.  Raises EFAULT."""
    one, other = call.unpack(_TWO, where)
    return f"[{one}, {other}]"


def signals(call: Call, where: int) -> str:
    """A set of signals.  Raises EFAULT."""
    if not where:
        return "NULL"
    bits = int.from_bytes(call.read(where, 8), "little")
    every = (1 << _SIGSET) - 1
    inverse = bits.bit_count() > _SIGSET // 2
    chosen = ~bits & every if inverse else bits
    shown = [names.signal_name(n + 1).removeprefix("SIG") for n in range(_SIGSET) if chosen >> n & 1]
    return f"{'~' if inverse else ''}[{' '.join(shown)}]"


def action(call: Call, where: int) -> str:
    """A struct sigaction as the kernel has it.  Raises EFAULT."""
    if not where:
        return "NULL"
    handler, bits, restorer = call.unpack(_ACTION, where)
    name = {0: "SIG_DFL", 1: "SIG_IGN"}.get(handler, f"{handler:#x}")
    at = where + (_ACTION.size if bits & _RESTORER or not ARM else _ACTION.size - 8)
    text = f"sa_handler={name}, sa_mask={signals(call, at)}, sa_flags={names.flags(bits & 0xFFFFFFFF, names.ACTION)}"
    return f"{{{text}{f', sa_restorer={restorer:#x}' if bits & _RESTORER else ''}}}"


def ended(call: Call, where: int) -> str:
    """A wait status.  Raises EFAULT."""
    if not where:
        return "NULL"
    return f"[{{{wait_status(int.from_bytes(call.read(where, 4), 'little'))}}}]"


def wait_status(value: int) -> str:
    """Its parts, as the macros of wait(2) tell them."""
    if os.WIFEXITED(value):
        return f"WIFEXITED(s) && WEXITSTATUS(s) == {os.WEXITSTATUS(value)}"
    if os.WIFSIGNALED(value):
        core = " && WCOREDUMP(s)" if os.WCOREDUMP(value) else ""
        return f"WIFSIGNALED(s) && WTERMSIG(s) == {names.signal_name(os.WTERMSIG(value))}{core}"
    if os.WIFSTOPPED(value):
        return f"WIFSTOPPED(s) && WSTOPSIG(s) == {names.signal_name(os.WSTOPSIG(value))}"
    return "WIFCONTINUED(s)"


def words(call: Call, where: int) -> str:
    """An array of strings that NULL ends, as execve takes.  Raises EFAULT."""
    if not where:
        return "NULL"
    parts = []
    for place in range(LIST_SIZE + 1):
        pointer = int.from_bytes(call.read(where + 8 * place, 8), "little")
        if not pointer:
            break
        parts.append("..." if place == LIST_SIZE else string(call, pointer))
    return f"[{', '.join(parts)}]"


def count_of_words(call: Call, where: int) -> str:
    """How many strings the environment has.  Raises EFAULT."""
    if not where:
        return "NULL"
    count = 0
    while count < 4096 and any(call.read(where + 8 * count, 8)):
        count += 1
    return f"{where:#x} /* {count} vars */"


def string(call: Call, where: int, limit: int = 0) -> str:
    """A string that NUL ends.  Raises EFAULT."""
    from .call import quoted

    if not where:
        return "NULL"
    data, whole = call.peek.string(call.thread, where, limit or call.strings)
    return quoted(data, len(data), len(data) if whole else len(data) + 1)
