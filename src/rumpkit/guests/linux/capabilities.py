"""What root may not do in a program on a kernel (capabilities(7)): all that reaches past files and processes of its own.

Below `first`, which calls `give_up` in the program's process before its exec.  An ordinary user's program has a user namespace
instead, in which capabilities mean nothing to the host.
"""

from __future__ import annotations

import os

from . import libc

TYPE_CHECKING = False  # typing itself would cost the program's start a good part of its time
if TYPE_CHECKING:
    from typing import Final

PR_CAPBSET_DROP: Final = 24
LAST: Final = "/proc/sys/kernel/cap_last_cap"

KEPT: Final = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "DAC_READ_SEARCH": 2,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "NET_RAW": 13,  # ping's file asks for it, and would not start; its namespace has nothing to listen to
    "IPC_LOCK": 14,
    "SYS_CHROOT": 18,
    "SYS_NICE": 23,
    "SYS_RESOURCE": 24,
    "LEASE": 28,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
"""What servers need to change their user, their limits and their files.  Without SYS_PTRACE and the rest, the program can't
attach to its init either, which has more."""


_SYS_ADMIN: Final = 21


def privileged() -> bool:
    """Whether namespaces can be made without a user namespace (CAP_SYS_ADMIN)."""
    with open("/proc/self/status") as status:
        effective = next(int(line[7:], 16) for line in status if line.startswith("CapEff:"))
    return os.geteuid() == 0 and bool(effective >> _SYS_ADMIN & 1)


def give_up() -> None:
    """Take all other capabilities from what this process executes from now on.  Raises OSError."""
    with open(LAST) as file:
        last = int(file.read())
    kept = KEPT.values()
    for number in range(last + 1):
        if number not in kept:
            libc.prctl(PR_CAPBSET_DROP, number)


def drop(name: str) -> None:
    """Take one of KEPT, too.  Raises OSError."""
    libc.prctl(PR_CAPBSET_DROP, KEPT[name])
