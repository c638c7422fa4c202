"""The seccomp filter: which system calls the supervisor hears of, assembled from a table.

Between `abi` (numbers) and `starter` (which installs the program).  The kernel runs the program for system calls it
cannot prove harmless from their number alone; all others bypass it.

What is *not* here matters as much: read, write, send*, recv*, poll, epoll, shutdown, close and ioctl act on the injected
descriptors natively (see `carrier` for how datagrams keep their addresses).

The BPF answers some setsockopt calls by itself, whatever the descriptor is: TCP_CORK and TCP_QUICKACK succeed and do
nothing, because nginx sets TCP_CORK twice a request.  On a descriptor that is no TCP socket the call succeeds too, where
Linux would say ENOPROTOOPT or ENOTSOCK.
"""

from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from ...kern.abi.errno import EAFNOSUPPORT, ENOSYS, EPERM, EPROTONOSUPPORT
from ...kern.abi.socket import AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, IPPROTO_TCP, TCP_CORK, TCP_QUICKACK
from . import abi

ALLOW: Final = abi.SECCOMP_RET_ALLOW
NOTIFY: Final = abi.SECCOMP_RET_USER_NOTIF
KILL: Final = abi.SECCOMP_RET_KILL_PROCESS
SUCCEED: Final = abi.SECCOMP_RET_ERRNO

AF_ALG: Final = 38


def refuse(error: int) -> int:
    """The verdict that makes a call fail with `error` without running it."""
    return abi.SECCOMP_RET_ERRNO | error


class When(NamedTuple):
    """A verdict that depends on an argument's low 32 bits: that of the first value that fits, or else `otherwise`."""

    argument: int
    cases: "tuple[tuple[int, Verdict], ...]"
    otherwise: int


Verdict: TypeAlias = "int | When"

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
                (AF_ALG, ALLOW),
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
    # Its operations would go past the filter.
    ("io_uring_setup", refuse(ENOSYS)),
    ("io_uring_enter", refuse(ENOSYS)),
    ("io_uring_register", refuse(ENOSYS)),
)
"""System call and verdict; everything else is allowed."""

NOTIFIED: Final = frozenset(name for name, verdict in RULES if isinstance(verdict, When) or verdict == NOTIFY)
"""The system calls that a supervisor must have handlers for."""

# struct seccomp_data: int nr, u32 arch, u64 instruction pointer, u64 args[6]
_NUMBER: Final = 0
_ARCH: Final = 4
_ARGUMENTS: Final = 16

_INSTRUCTION: Final = Struct("<HBBI")
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_NOT_LESS: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K


class Assembler:
    """Collects instructions whose jumps name labels, and puts the distances in at the end."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, str]] = []  # operation, operand, label to jump to if the test fails
        self._labels: dict[str, int] = {}

    def load(self, offset: int) -> None:
        """Take the 32-bit word at `offset` of struct seccomp_data into the accumulator."""
        self._code.append((_LOAD, offset, ""))

    def unless_equal(self, value: int, label: str) -> None:
        """Go on if the accumulator equals `value`, else at `label`."""
        self._code.append((_JUMP_EQUAL, value, label))

    def unless_from(self, value: int, label: str) -> None:
        """Go on if the accumulator is at least `value`, else at `label`."""
        self._code.append((_JUMP_NOT_LESS, value, label))

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
    for value, inner in verdict.cases:
        after = f"{name}/{value}"
        code.unless_equal(value, after)
        _decide(code, inner, after)
        code.label(after)
    code.answer(verdict.otherwise)


def build(machine: str) -> bytes:
    """The program for a machine (a key of `abi.SYSCALLS`): a few hundred bytes for `libc.install_filter`."""
    numbers = abi.SYSCALLS[machine]
    code = Assembler()
    code.load(_ARCH)
    code.unless_equal(abi.AUDIT_ARCH[machine], "foreign")
    code.load(_NUMBER)
    if machine == "x86_64":
        code.unless_from(abi.X32_SYSCALL_BIT, "native")
        code.answer(refuse(ENOSYS))
        code.label("native")
    for name, verdict in RULES:
        code.unless_equal(numbers[name], name)
        _decide(code, verdict, name)
        code.label(name)
    code.answer(ALLOW)
    code.label("foreign")
    code.answer(KILL)
    return code.assemble()
