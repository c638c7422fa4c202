"""The seccomp filter: which system calls a program may make, and which the supervisor hears of, assembled from tables.

Between `fences` (what is allowed at all) and `starter` (which installs the program).  Linux runs the program for system calls that it
cannot prove harmless from their number alone; all others bypass it.  What is neither allowed nor decided here is notified, and
the supervisor refuses it.

What is *not* here matters as much: read, write, send*, recv*, poll, epoll and close act on the injected descriptors natively, as do
shutdown for writing and most of ioctl (see `carrier` for how datagrams keep their addresses).

The BPF answers some setsockopt calls by itself, whatever the descriptor is: TCP_CORK and TCP_QUICKACK succeed and do
nothing, because nginx sets TCP_CORK twice a request.  On a descriptor that is no TCP socket the call succeeds too, where
Linux would say ENOPROTOOPT or ENOTSOCK.

Where somebody traces single calls, only these stop for him (SECCOMP_RET_TRACE, which a notification would hide).  Those decided here
stop first; the tracer puts SEEN into the last argument, which none of them has, and Linux asks the filter once more.  He goes by the
call, not by what the filter says beside its verdict: a program may have a filter of its own on top.  Without a tracer they fail with
ENOSYS, and he who dies takes the program with him (PTRACE_O_EXITKILL): there is no way around the verdict.
"""

from collections.abc import Collection
from functools import lru_cache
from struct import Struct
from typing import Final, TypeAlias

from ...hyper.named import NamedTuple
from ...kern.abi.errno import EAFNOSUPPORT, ENOSYS, EPERM, EPROTONOSUPPORT
from ...kern.abi.ioctl import SIOCOUTQ
from ...kern.abi.socket import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_PACKET,
    AF_UNIX,
    IPPROTO_TCP,
    SHUT_WR,
    TCP_CORK,
    TCP_QUICKACK,
)
from . import abi, fences
from .numbers import NUMBERS

ALLOW: Final = abi.SECCOMP_RET_ALLOW
NOTIFY: Final = abi.SECCOMP_RET_USER_NOTIF
KILL: Final = abi.SECCOMP_RET_KILL_PROCESS
SUCCEED: Final = abi.SECCOMP_RET_ERRNO
TRACE: Final = abi.SECCOMP_RET_TRACE
SEEN: Final = 0x72756D70
LAST_ARGUMENT: Final = 5
REMEMBERED: Final = 16
"""Programs that are kept once they were made."""

ADDR_NO_RANDOMIZE: Final = 0x0040000
TIOCSTI: Final = 0x5412
TIOCLINUX: Final = 0x541C
"""They put characters into a terminal's input, where what started the program would read them (ioctl_tty(2))."""


def refuse(error: int) -> int:
    """The verdict that makes a call fail with `error` without running it."""
    return abi.SECCOMP_RET_ERRNO | error


class When(NamedTuple):
    """A verdict that depends on an argument's low 32 bits: that of the first value that fits, or else `otherwise`."""

    argument: int
    cases: "tuple[tuple[int, Verdict], ...]"
    otherwise: int


class Unless(NamedTuple):
    """A verdict that depends on bits of an argument: `none` if it has none of `bits`, or else `any`."""

    argument: int
    bits: int
    none: int
    any: int


Verdict: TypeAlias = "int | When | Unless"

RULES: Final[tuple[tuple[str, Verdict], ...]] = (
    (
        "socket",
        When(
            0,
            (
                (AF_INET, NOTIFY),
                (AF_INET6, NOTIFY),
                (AF_UNIX, ALLOW),
                # Of the private network namespace, which shows what the kernel has, but for sockets: those are in /proc/net, where
                # ss(8) looks then.
                (AF_NETLINK, When(2, ((abi.NETLINK_SOCK_DIAG, refuse(EPROTONOSUPPORT)),), ALLOW)),
                (AF_PACKET, refuse(EPERM)),
            ),
            refuse(EAFNOSUPPORT),
        ),
    ),
    ("connect", NOTIFY),
    ("accept", NOTIFY),
    ("accept4", NOTIFY),
    ("bind", NOTIFY),
    ("listen", NOTIFY),
    ("getsockname", NOTIFY),
    ("getpeername", NOTIFY),
    ("setsockopt", When(1, ((IPPROTO_TCP, When(2, ((TCP_CORK, SUCCEED), (TCP_QUICKACK, SUCCEED)), NOTIFY)),), NOTIFY)),
    ("getsockopt", NOTIFY),
    ("shutdown", When(1, ((SHUT_WR, ALLOW),), NOTIFY)),  # which of a listener or an unconnected socket is another thing
    ("ioctl", When(1, ((SIOCOUTQ, NOTIFY), (TIOCSTI, NOTIFY), (TIOCLINUX, NOTIFY)), ALLOW)),
    ("clone", Unless(0, abi.CLONE_NAMESPACES, ALLOW, NOTIFY)),
    ("personality", When(0, ((0, ALLOW), (ADDR_NO_RANDOMIZE, ALLOW), (0xFFFFFFFF, ALLOW)), NOTIFY)),
    ("clone3", refuse(ENOSYS)),  # its flags lie in memory; C libraries take clone then
    # Its operations would go past the filter.
    ("io_uring_setup", refuse(ENOSYS)),
    ("io_uring_enter", refuse(ENOSYS)),
    ("io_uring_register", refuse(ENOSYS)),
)
"""System call and verdict; of the others, those are allowed that `fences` has."""

VIRTUAL_IDS: Final[tuple[tuple[str, Verdict], ...]] = tuple(
    (name, SUCCEED)
    for name in (
        "setuid",
        "setgid",
        "setreuid",
        "setregid",
        "setresuid",
        "setresgid",
        "setgroups",
        "setfsuid",
        "setfsgid",
        "chown",
        "lchown",
        "fchown",
        "fchownat",
    )
)
"""Changes of users and groups that are none (`ids`)."""

# struct seccomp_data: int nr, u32 arch, u64 instruction pointer, u64 args[6]
_NUMBER: Final = 0
_ARCH: Final = 4
_ARGUMENTS: Final = 16

_INSTRUCTION: Final = Struct("<HBBI")
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_NOT_LESS: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_JUMP_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_NEVER: Final = 0xFFFFFFFF
"""More than any word that is compared with it: no architecture has this number."""


class Assembler:
    """Collects instructions whose jumps name labels, and puts the distances in at the end."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, str]] = []  # operation, operand, label to jump to if the test fails
        self._labels: dict[str, int] = {}

    def load(self, offset: int) -> None:
        """Take the 32-bit word at `offset` of struct seccomp_data into the accumulator."""
        self._code.append((_LOAD, offset, ""))

    def jump(self, label: str) -> None:
        """Go on at `label`."""
        self._code.append((_JUMP_NOT_LESS, _NEVER, label))

    def unless_equal(self, value: int, label: str) -> None:
        """Go on if the accumulator equals `value`, else at `label`."""
        self._code.append((_JUMP_EQUAL, value, label))

    def unless_from(self, value: int, label: str) -> None:
        """Go on if the accumulator is at least `value`, else at `label`."""
        self._code.append((_JUMP_NOT_LESS, value, label))

    def unless_any(self, bits: int, label: str) -> None:
        """Go on if the accumulator has any of `bits`, else at `label`."""
        self._code.append((_JUMP_ANY_BIT, bits, label))

    def answer(self, verdict: int) -> None:
        """End with `verdict`."""
        self._code.append((_RETURN, verdict, ""))

    def label(self, name: str) -> None:
        """Name the place of the next instruction."""
        self._labels[name] = len(self._code)

    def assemble(self) -> bytes:
        """The program as an array of struct sock_filter.  Raises ValueError if a jump is longer than BPF's 255."""
        out = bytearray()
        for place, (operation, operand, label) in enumerate(self._code):
            distance = self._labels[label] - place - 1 if label else 0
            if not 0 <= distance <= 255:
                raise ValueError(f"jump to {label} is {distance} instructions long")
            out += _INSTRUCTION.pack(operation, 0, distance, operand)
        return bytes(out)


def _decide(code: Assembler, verdict: Verdict, name: str) -> None:
    """Instructions that end with the verdict; `name` keeps the labels of nested ones apart."""
    if isinstance(verdict, int):
        code.answer(verdict)
        return
    code.load(_ARGUMENTS + 8 * verdict.argument)
    if isinstance(verdict, Unless):
        code.unless_any(verdict.bits, f"{name}/none")
        code.answer(verdict.any)
        code.label(f"{name}/none")
        code.answer(verdict.none)
        return
    for value, inner in verdict.cases:
        after = f"{name}/{value}"
        code.unless_equal(value, after)
        _decide(code, inner, after)
        code.label(after)
    code.answer(verdict.otherwise)


def _decide_by_number(code: Assembler, allowed: frozenset[int]) -> None:
    """Instructions that allow `allowed` and notify everything else: a tree of comparisons with the bounds of runs, where Linux would
    follow a list of all calls at each call that it doesn't know by heart."""
    bounds = [n for n in range(max(allowed) + 2) if (n in allowed) != (n - 1 in allowed)]

    def between(first: int, last: int) -> None:
        if first == last:
            code.answer(ALLOW if first % 2 else NOTIFY)
            return
        middle = (first + last + 1) // 2
        below = f"below {bounds[middle - 1]}"
        code.unless_from(bounds[middle - 1], below)
        between(middle, last)
        code.label(below)
        between(first, middle - 1)

    between(0, len(bounds))


def _stop_first(code: Assembler, name: str) -> None:
    """Instructions that end with a stop for the tracer, and go on where he has seen the call."""
    code.load(_ARGUMENTS + 8 * LAST_ARGUMENT)
    code.unless_equal(SEEN, f"{name}/unseen")
    code.jump(f"{name}/seen")
    code.label(f"{name}/unseen")
    code.answer(TRACE)
    code.label(f"{name}/seen")


def decided_here(machine: str, name: str, more: Collection[str], virtual_ids: bool) -> bool:
    """Whether a call of that machine is not simply allowed.  clone is as good as that: a child would keep the mark."""
    ruled = {rule[0] for rule in (*RULES, *(VIRTUAL_IDS if virtual_ids else ()))} - {"clone"}
    return name in ruled or (name != "clone" and NUMBERS[machine][name] not in fences.allowed(machine, more))


def build_tracing(
    machine: str, traced: Collection[str], more: Collection[str] = (), virtual_ids: bool = False
) -> bytes:
    """The second program, to be installed once there is a tracer: it stops those of the calls `traced` that the first one (`build`, given
    the same) allows by their number."""
    numbers = NUMBERS[machine]
    code = Assembler()
    code.load(_NUMBER)
    for name in sorted(traced):
        if name in numbers and not decided_here(machine, name, more, virtual_ids):
            code.unless_equal(numbers[name], name)
            code.answer(TRACE)
            code.label(name)
    code.answer(ALLOW)
    return code.assemble()


def build(machine: str, more: Collection[str] = (), virtual_ids: bool = False, traced: Collection[str] = ()) -> bytes:
    """The program for a machine (a key of `NUMBERS`): a few kilobytes for `libc.install_filter`.  It allows the calls `more`, too, and
    answers changes of users and groups itself where these are virtual.  Of the calls `traced`, those that are not simply allowed stop for
    a tracer."""
    return _built(machine, tuple(more), virtual_ids, frozenset(traced))


@lru_cache(REMEMBERED)
def _built(machine: str, more: tuple[str, ...], virtual_ids: bool, traced: frozenset[str]) -> bytes:
    """Most programs of a kernel have the same one, and making it is a quarter of our own part of a start."""
    numbers = NUMBERS[machine]
    code = Assembler()
    code.load(_ARCH)
    code.unless_equal(abi.AUDIT_ARCH[machine], "foreign")
    code.jump("known")
    code.label("foreign")
    code.answer(KILL)
    code.label("known")
    code.load(_NUMBER)
    if machine == "x86_64":
        code.unless_from(abi.X32_SYSCALL_BIT, "native")
        code.answer(refuse(ENOSYS))
        code.label("native")
    virtual = [rule for rule in VIRTUAL_IDS if rule[0] in numbers] if virtual_ids else []
    stopped = {name for name in traced if name in numbers and decided_here(machine, name, more, virtual_ids)}
    refused: list[tuple[str, Verdict]] = [
        (name, NOTIFY) for name in sorted(stopped - {rule[0] for rule in (*RULES, *virtual)})
    ]
    for name, verdict in (*RULES, *virtual, *refused):
        code.unless_equal(numbers[name], name)
        if name in stopped:
            _stop_first(code, name)
        _decide(code, verdict, name)
        code.label(name)
    _decide_by_number(code, fences.allowed(machine, more))
    return code.assemble()
