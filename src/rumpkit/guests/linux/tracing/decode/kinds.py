"""The kinds of arguments that `signatures` names: each a function that writes one argument of a call.

Between `call`, with `addresses` and `structures`, and `writer`.  A kind in LATER is what the call itself fills in: it is written once the
call has returned, and as an address where it has failed.
"""

from collections.abc import Callable
from typing import Final

from . import addresses, names, options, starting, structures
from .call import Call
from .names import Table

Kind = Callable[[Call, int], str]
PATH_LIMIT: Final = 4096
_TEMPORARY: Final = 0o20000000
"""__O_TMPFILE, which comes with O_DIRECTORY."""


def _pointer(call: Call, index: int) -> str:
    return f"{call.arguments[index]:#x}" if call.arguments[index] else "NULL"


def _long(call: Call, index: int) -> str:
    value = call.arguments[index]
    return str(value - (1 << 64) if value >> 63 else value)


def _path(call: Call, index: int) -> str:
    return structures.string(call, call.arguments[index], PATH_LIMIT)


def _directory(call: Call, index: int) -> str:
    return "AT_FDCWD" if call.signed(index) == -100 else str(call.signed(index))


def _socket_type(call: Call, index: int) -> str:
    value = call.word(index)
    kind = names.named(value & 0xF, names.SOCKET_TYPES, "SOCK")
    more = value & ~0xF
    return f"{kind}|{names.flags(more, names.SOCKET_FLAGS)}" if more else kind


def _protocol(call: Call, index: int) -> str:
    family = call.word(0)
    if family in (addresses.AF_INET, addresses.AF_INET6):
        return names.named(call.word(index), names.PROTOCOLS, "IPPROTO")
    if family == addresses.AF_NETLINK:
        return names.named(call.word(index), names.NETLINK_PROTOCOLS, "NETLINK")
    return str(call.word(index))


def _address(call: Call, index: int) -> str:
    return addresses.address(call, call.arguments[index], call.word(index + 1))


def _returned_address(call: Call, index: int) -> str:
    where, length = call.arguments[index], call.arguments[index + 1]
    if not where or not length:
        return _pointer(call, index)
    return addresses.address(call, where, _word_at(call, length))


def _word_at(call: Call, where: int) -> int:
    return int.from_bytes(call.read(where, 4), "little")


def _room(call: Call, index: int) -> str:
    """What was there before the call stands in `shown`; see LENGTHS."""
    where = call.arguments[index]
    return f"[{_word_at(call, where)}]" if where else "NULL"


def _option(call: Call, index: int) -> str:
    return options.option_name(call.word(index - 1), call.word(index))


def _option_value(call: Call, where: int, size: int) -> str:
    if not where:
        return "NULL"
    level, name = call.word(1), options.option_name(call.word(1), call.word(2))
    data = call.read(where, min(size, 64))
    if level == options.SOL_SOCKET and name == "SO_LINGER" and len(data) >= 8:
        return f"{{l_onoff={int.from_bytes(data[:4], 'little')}, l_linger={int.from_bytes(data[4:8], 'little')}}}"
    if level == options.SOL_SOCKET and name in ("SO_RCVTIMEO", "SO_SNDTIMEO") and len(data) >= 16:
        return structures.pair(call, where, "tv_sec", "tv_usec")
    if level == options.SOL_SOCKET and name == "SO_ERROR" and len(data) == 4:
        from .....kern.abi.errno import NAMES

        return f"[{NAMES.get(int.from_bytes(data, 'little'), '0')}]"
    if name in ("SO_BINDTODEVICE", "TCP_CONGESTION"):
        return call.buffer(where, size)
    if len(data) == 4:
        return f"[{int.from_bytes(data, 'little', signed=True)}]"
    return call.buffer(where, size)


def _given_option(call: Call, index: int) -> str:
    return _option_value(call, call.arguments[index], call.word(index + 1))


def _got_option(call: Call, index: int) -> str:
    return _option_value(call, call.arguments[index], _word_at(call, call.arguments[index + 1]))


def _buffer(call: Call, index: int) -> str:
    return call.buffer(call.arguments[index], call.arguments[index + 1])


def _filled(call: Call, index: int) -> str:
    return call.buffer(call.arguments[index], max(min(call.result, call.arguments[index + 1]), 0))


def _linked(call: Call, index: int) -> str:
    return call.buffer(call.arguments[index], max(call.result, 0))


def _sent_message(call: Call, index: int) -> str:
    return addresses.message(call, call.arguments[index], 1 << 40)


def _received_message(call: Call, index: int) -> str:
    return addresses.message(call, call.arguments[index], call.result, call.room)


def _messages(call: Call, index: int) -> str:
    parts = []
    done = not call.failed and call.shown and call.shown[index] is None
    for place in range(min(call.result if done else call.word(index + 1), 8)):
        where = call.arguments[index] + place * 64
        size = _word_at(call, where + addresses.MESSAGE_SIZE)
        text = addresses.message(call, where, size if done else 1 << 40)
        parts.append(f"{{msg_hdr={text}{f', msg_len={size}' if done else ''}}}")
    return f"[{', '.join(parts)}]"


def _vectors(call: Call, index: int) -> str:
    return addresses.vectors(call, call.arguments[index], call.arguments[index + 1], 1 << 40)


def _filled_vectors(call: Call, index: int) -> str:
    return addresses.vectors(call, call.arguments[index], call.arguments[index + 1], max(call.result, 0))


def _open_flags(call: Call, index: int) -> str:
    return open_flags(call.word(index))


def open_flags(value: int) -> str:
    """The flags of open(2)."""
    table = names.OPEN_FLAGS | (names.OPEN_AARCH64 if structures.ARM else names.OPEN_X86_64)
    more = value & ~3
    temporary = _TEMPORARY | (0o40000 if structures.ARM else 0o200000)
    if more & temporary == temporary:
        return f"{names.OPEN_MODES[value & 3]}|{names.flags(more & ~temporary, table, '')}|O_TMPFILE".replace("||", "|")
    return f"{names.OPEN_MODES[value & 3]}|{names.flags(more, table)}" if more else names.OPEN_MODES[value & 3]


def _operation_value(call: Call, index: int) -> str:
    """The third argument of fcntl, by its second."""
    command = call.word(index - 1)
    if command == 2:
        return "FD_CLOEXEC" if call.word(index) == 1 else str(call.signed(index))
    if command == 4:
        return _open_flags(call, index)
    return str(call.signed(index)) if command < 5 or command >= 1024 else _pointer(call, index)


def _futex(call: Call, index: int) -> str:
    value = call.word(index)
    text = names.named(value & 0x7F, names.FUTEX, "FUTEX")
    text += "_PRIVATE" if value & names.FUTEX_PRIVATE else ""
    return text + ("|FUTEX_CLOCK_REALTIME" if value & names.FUTEX_REALTIME else "")


def _statx_flags(call: Call, index: int) -> str:
    value = call.word(index)
    sync, more = names.STATX_SYNC.get(value & 0x6000, "AT_STATX_SYNC_TYPE"), value & ~0x6000
    return f"{sync}|{names.flags(more, names.AT_FLAGS)}" if more else sync


def _path_back(call: Call, index: int) -> str:
    return structures.string(call, call.arguments[index], PATH_LIMIT)


def _table(table: Table, kind: str) -> Kind:
    if kind == "flags":
        return lambda call, index: names.flags(call.word(index), table)
    return lambda call, index: names.named(call.word(index), table)


TABLES: Final[dict[str, Table]] = {
    "access": names.ACCESS,
    "advice": names.ADVICE,
    "arch": names.ARCH_PRCTL,
    "at": names.AT_FLAGS,
    "clock": names.CLOCKS,
    "epollcreate": names.EPOLL_CREATE,
    "epollop": names.EPOLL_OPERATIONS,
    "eventfd": names.EVENTFD,
    "family": names.FAMILIES,
    "fcntl": names.FCNTL,
    "flock": names.FLOCK,
    "inotify": names.INOTIFY,
    "ioctl": names.IOCTL,
    "level": options.LEVELS,
    "map": names.MAPPING,
    "masking": names.MASKING,
    "memfd": names.MEMFD,
    "msg": names.MESSAGE_FLAGS,
    "pipeflags": names.PIPE,
    "prctl": names.PRCTL,
    "prot": names.PROTECTION,
    "random": names.RANDOM,
    "remap": names.REMAP,
    "rename": names.RENAME,
    "resource": names.RESOURCES,
    "shut": names.SHUTDOWN,
    "socketflags": names.SOCKET_FLAGS,
    "splice": names.SPLICE,
    "statx": names.STATX_MASK,
    "timerflags": names.TIMER,
    "timerfd": names.TIMERFD,
    "wait": names.WAIT,
    "whence": names.WHENCE,
}
_NAMED: Final = frozenset(
    "advice arch clock epollop family fcntl ioctl level masking prctl resource shut whence".split()
)

NOW: Final[dict[str, Kind]] = {
    "int": lambda call, index: str(call.signed(index)),
    "uint": lambda call, index: str(call.word(index)),
    "long": _long,
    "ulong": lambda call, index: str(call.arguments[index]),
    "hex": lambda call, index: f"{call.arguments[index]:#x}" if call.arguments[index] else "0",
    "action": lambda call, index: structures.action(call, call.arguments[index]),
    "ptr": _pointer,
    "fd": lambda call, index: str(call.signed(index)),
    "dir": _directory,
    "path": _path,
    "mode": lambda call, index: structures.permissions(call.word(index) & 0o177777),
    "type": _socket_type,
    "protocol": _protocol,
    "addr": _address,
    "option": _option,
    "optval": _given_option,
    "buf": _buffer,
    "msghdr": _sent_message,
    "mmsghdr": _messages,
    "iov": _vectors,
    "open": _open_flags,
    "fcntlarg": _operation_value,
    "futex": _futex,
    "futexval": lambda call, index: str(call.signed(index)),
    "futextime": lambda call, index: structures.pair(call, call.arguments[index], "tv_sec", "tv_nsec"),
    "clonestack": starting.stack,
    "cloneflags": starting.flags,
    "clonetls": starting.local,
    "clonechild": starting.child,
    "clonestructure": starting.structure,
    "statxflags": _statx_flags,
    "signal": lambda call, index: names.signal_name(call.word(index)),
    "sigset": lambda call, index: structures.signals(call, call.arguments[index]),
    "time": lambda call, index: structures.pair(call, call.arguments[index], "tv_sec", "tv_nsec"),
    "timeval": lambda call, index: structures.pair(call, call.arguments[index], "tv_sec", "tv_usec"),
    "times": lambda call, index: structures.pairs(call, call.arguments[index], 2),
    "limit": lambda call, index: structures.limit(call, call.arguments[index]),
    "pollfds": lambda call, index: structures.polled(call, call.arguments[index], call.word(index + 1), False),
    "epollev": lambda call, index: structures.events(call, call.arguments[index], 1),
    "argv": lambda call, index: structures.words(call, call.arguments[index]),
    "envp": lambda call, index: structures.count_of_words(call, call.arguments[index]),
    **{name: _table(table, "named" if name in _NAMED else "flags") for name, table in TABLES.items()},
}
"""Written when the call begins."""

LATER: Final[dict[str, Kind]] = {
    ">addr": _returned_address,
    ">len": _room,
    ">optval": _got_option,
    ">buf": _filled,
    ">link": _linked,
    ">path": _path_back,
    ">action": lambda call, index: structures.action(call, call.arguments[index]),
    ">msghdr": _received_message,
    ">mmsghdr": _messages,
    ">iov": _filled_vectors,
    "cloneparent": starting.parent,
    ">statx": lambda call, index: structures.file_information(call, call.arguments[index]),
    ">entries": lambda call, index: structures.entries(call, call.arguments[index], call.result),
    ">random": lambda call, index: structures.random(call, call.arguments[index], call.result),
    ">sysinfo": lambda call, index: structures.system(call, call.arguments[index]),
    ">stat": lambda call, index: structures.status(call, call.arguments[index]),
    ">two": lambda call, index: structures.two(call, call.arguments[index]),
    ">time": lambda call, index: structures.pair(call, call.arguments[index], "tv_sec", "tv_nsec"),
    ">limit": lambda call, index: structures.limit(call, call.arguments[index]),
    ">sigset": lambda call, index: structures.signals(call, call.arguments[index]),
    ">events": lambda call, index: structures.events(call, call.arguments[index], max(call.result, 0)),
    ">wait": lambda call, index: (
        structures.ended(call, call.arguments[index]) if call.result > 0 else _pointer(call, index)
    ),
    ">int": lambda call, index: f"[{int.from_bytes(call.read(call.arguments[index], 4), 'little', signed=True)}]",
}
"""Written when it has succeeded."""

LENGTHS: Final = ">len"
"""A length that the call changes: it is written as `[before => after]` where it does."""
