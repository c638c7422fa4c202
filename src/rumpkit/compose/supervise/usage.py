"""What a program costs the machine: processor time and memory of all its processes, as /proc tells."""

import os
from typing import Final

from ...guests.linux.family import below
from ...hyper.named import NamedTuple

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STATE: Final = 2
"""What the fields behind the command's name are counted from (proc_pid_stat(5))."""
_TIMES: Final = slice(14 - 1 - _STATE, 17 - _STATE)
"""utime, stime, and those of children that have been waited for."""
_OWN_TIMES: Final = slice(14 - 1 - _STATE, 15 - _STATE)
_RESIDENT: Final = 24 - 1 - _STATE


class Usage(NamedTuple):
    """Of a tree of processes."""

    processes: int
    cpu: float
    """Seconds of processor time so far, with that of children that have ended."""
    memory: int
    """Resident bytes; what processes share counts for each."""


def usage(init: int, alone: bool = False) -> Usage:
    """Of everything below a program's init, what ends meanwhile left out; or of that one process `alone`."""
    processes, ticks, pages = 0, 0, 0
    for process in (init,) if alone else (init, *below(init)):
        try:
            with open(f"/proc/{process}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[_OWN_TIMES if alone else _TIMES])
        if process != init or alone:
            processes += 1
            pages += int(fields[_RESIDENT])
    return Usage(processes, ticks / _TICKS, pages * _PAGE)
