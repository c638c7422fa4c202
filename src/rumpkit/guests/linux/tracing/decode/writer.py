"""Calls as text: what of a call can be written when it begins, the rest when it has ended.  Between `kinds` and `calls`."""

from typing import Final

from .....kern.abi.errno import NAMES
from . import starting
from .addresses import name_room
from .call import Call
from .kinds import LATER, LENGTHS, NOW, open_flags
from .signatures import SIGNATURES
from .structures import permissions

FUTEX_WAIT: Final = 0
FUTEX_WAKE: Final = 1
UNKNOWN: Final = ("hex",) * 6
"""The arguments of a call that has no signature."""
_RESTARTS: Final = {
    512: "ERESTARTSYS (To be restarted if SA_RESTART is set)",
    513: "ERESTARTNOINTR (To be restarted)",
    514: "ERESTARTNOHAND (To be restarted if no handler)",
    516: "ERESTART_RESTARTBLOCK (Interrupted by signal)",
}
_IN_HEX: Final = frozenset("mmap brk mremap shmat".split())
F_GETFD: Final = 1
F_GETFL: Final = 3
_CREATES: Final = 0o100 | 0o20000000
_TAKES_NOTHING: Final = frozenset((1, 3, 9, 11, 1025, 1032, 1034))
"""Commands of fcntl without an argument."""
_BARE_REQUESTS: Final = frozenset((0x5450, 0x5451))
"""The same of ioctl: FIONCLEX, FIOCLEX."""


def _kinds(call: Call) -> tuple[str, ...]:
    if call.name == "clone":
        return starting.kinds(call)
    kinds = SIGNATURES.get(call.name, UNKNOWN)
    if call.name == "futex":
        return kinds[: 3 if call.word(1) & 0x7F == FUTEX_WAKE else 4 if call.word(1) & 0x7F == FUTEX_WAIT else 6]
    if not kinds or not kinds[-1].endswith("?"):
        return kinds
    last = len(kinds) - 1
    if call.name == "ioctl":
        there = call.word(1) not in _BARE_REQUESTS
    elif call.name == "fcntl":
        there = call.word(1) not in _TAKES_NOTHING
    else:
        there = bool(call.word(last - 1) & _CREATES)
    return (*kinds[:-1], kinds[-1][:-1]) if there else kinds[:-1]


def _write(call: Call, kind: str, index: int) -> str:
    try:
        return (NOW.get(kind) or LATER[kind])(call, index)
    except OSError:
        return f"{call.arguments[index]:#x}"


def begin(call: Call) -> None:
    """Write what is there before the call."""
    for index, kind in enumerate(_kinds(call)):
        if kind == ">msghdr":
            call.room = name_room(call, call.arguments[index])
        if kind == LENGTHS:
            call.shown.append(_write(call, kind, index))
        else:
            call.shown.append(None if kind in LATER else _write(call, kind, index))


def arguments(call: Call, returned: bool = True) -> list[str]:
    """All arguments; `returned`: once the call has."""
    found = []
    for index, kind in enumerate(_kinds(call)):
        before = call.shown[index] if index < len(call.shown) else None
        if kind == LENGTHS and returned and not call.failed and before is not None:
            after = _write(call, kind, index)
            found.append(before if after == before else f"{before[:-1]} => {after[1:]}")
        elif before is not None:
            found.append(before)
        elif returned and not call.failed:
            found.append(_write(call, kind, index))
        else:
            found.append(_write(call, "ptr", index))
    return found


def polled(call: Call) -> str:
    """What poll and ppoll have found, as strace puts it behind the result; "" of other calls."""
    if call.name in ("poll", "ppoll") and not call.failed:
        from .structures import polled as write

        try:
            return f" ({write(call, call.arguments[0], call.word(1), True)})" if call.result > 0 else " (Timeout)"
        except OSError:
            pass
    return ""


def _fcntl_flags(call: Call) -> str:
    """What F_GETFD and F_GETFL have returned."""
    if call.word(1) == F_GETFD:
        return "0x1 (flags FD_CLOEXEC)" if call.result & 1 else str(call.result)
    return f"{call.result:#x} (flags {open_flags(call.result)})"


def result(call: Call) -> str:
    """What it returned."""
    if call.name == "fcntl" and not call.failed and call.word(1) in (F_GETFD, F_GETFL):
        return _fcntl_flags(call)
    if call.name == "umask":
        return permissions(call.result)
    if not call.failed:
        return f"{call.result & (1 << 64) - 1:#x}" if call.name in _IN_HEX else str(call.result)
    number = -call.result
    if number in _RESTARTS:
        return f"? {_RESTARTS[number]}"
    import os

    return f"-1 {NAMES.get(number, f'errno {number}')} ({os.strerror(number)})"
