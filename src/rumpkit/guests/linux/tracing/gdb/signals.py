"""gdb's numbers of signals, which are not Linux's (include/gdb/signals.def of gdb's manual, "Stop Reply Packets"); tables."""

import signal
from typing import Final

_OURS: Final = {
    "SIGURG": 16,
    "SIGSTOP": 17,
    "SIGTSTP": 18,
    "SIGCONT": 19,
    "SIGCHLD": 20,
    "SIGIO": 23,
    "SIGUSR1": 30,
    "SIGUSR2": 31,
    "SIGBUS": 10,
    "SIGSYS": 12,
    "SIGPWR": 32,
}
_SAME: Final = (1, 2, 3, 4, 5, 6, 8, 9, 11, 13, 14, 15, 21, 22, 24, 25, 26, 27, 28)
UNKNOWN: Final = 143
TO_GDB: Final[dict[int, int]] = {
    0: 0,
    **{number: number for number in _SAME},
    **{int(signal.Signals[name]): number for name, number in _OURS.items()},
    32: 77,
    **{number: number + 12 for number in range(33, 64)},
    64: 78,
}
FROM_GDB: Final[dict[int, int]] = {theirs: ours for ours, theirs in TO_GDB.items()}
