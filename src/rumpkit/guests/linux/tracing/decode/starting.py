"""What processes and threads are started with: clone(2) and clone3(2), as strace writes them.  Between `call` and `kinds`.

clone's arguments stand in another order than it takes them, and only those that its flags mean anything by.
"""

import os
from struct import Struct
from typing import Final

from . import names
from .call import MASK, Call

SETTLS: Final = 0x80000
PARENT_SETTID: Final = 0x100000
CHILD_SETTID: Final = 0x1000000
CHILD_CLEARTID: Final = 0x200000
PIDFD: Final = 0x1000
_FLAGS, _STACK, _PARENT = 0, 1, 2
_TLS, _CHILD = (3, 4) if os.uname().machine == "aarch64" else (4, 3)
_ARGUMENTS: Final = Struct("<8Q")
"""struct clone_args as of its first version: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls."""


def kinds(call: Call) -> tuple[str, ...]:
    """The kinds of arguments that a clone has, in the order in which they are written."""
    bits = call.arguments[_FLAGS]
    found = ["clonestack", "cloneflags"]
    found += ["cloneparent"] if bits & (PARENT_SETTID | PIDFD) else []
    found += ["clonetls"] if bits & SETTLS else []
    found += ["clonechild"] if bits & (CHILD_SETTID | CHILD_CLEARTID) else []
    return tuple(found)


def _address(value: int) -> str:
    return f"{value:#x}" if value else "NULL"


def stack(call: Call, index: int) -> str:
    """Where the child's stack begins."""
    return f"child_stack={_address(call.arguments[_STACK])}"


def flags(call: Call, index: int) -> str:
    """What is shared, and the signal that tells of its end."""
    value = call.arguments[_FLAGS] & MASK
    number = value & 0xFF
    shown = [names.flags(value & ~0xFF, names.CLONE, ""), names.signal_name(number) if number else ""]
    return f"flags={'|'.join(filter(None, shown)) or '0'}"


def parent(call: Call, index: int) -> str:
    """Where the caller finds its number, or the descriptor of it."""
    name = "parent_tid" if call.arguments[_FLAGS] & PARENT_SETTID else "pidfd"
    where = call.arguments[_PARENT]
    if call.failed or call.result <= 0:
        return f"{name}={_address(where)}"
    return f"{name}=[{int.from_bytes(call.read(where, 4), 'little', signed=True)}]"


def local(call: Call, index: int) -> str:
    """Thread-local storage."""
    return f"tls={_address(call.arguments[_TLS])}"


def child(call: Call, index: int) -> str:
    """Where the child finds its number, and it is cleared at its end."""
    return f"child_tidptr={_address(call.arguments[_CHILD])}"


def structure(call: Call, index: int) -> str:
    """A struct clone_args.  Raises EFAULT."""
    if call.arguments[index + 1] < _ARGUMENTS.size:
        return _address(call.arguments[index])
    bits, pidfd, child_id, parent_id, number, where, size, tls = call.unpack(_ARGUMENTS, call.arguments[index])
    shown = [f"flags={names.flags(bits, names.CLONE)}"]
    shown += [f"pidfd={_address(pidfd)}"] if bits & PIDFD else []
    shown += [f"child_tid={_address(child_id)}"] if bits & (CHILD_SETTID | CHILD_CLEARTID) else []
    shown += [f"parent_tid={_address(parent_id)}"] if bits & PARENT_SETTID else []
    shown.append(f"exit_signal={names.signal_name(number) if number else 0}")
    shown += [f"stack={_address(where)}", f"stack_size={f'{size:#x}' if size else 0}"]
    shown += [f"tls={_address(tls)}"] if bits & SETTLS else []
    return f"{{{', '.join(shown)}}}"
