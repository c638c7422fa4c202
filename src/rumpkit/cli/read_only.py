"""What `rump run` says of a program that failed because it could not write.

Between `compose.supervise` and `run`.  Linux tells nobody but the caller of a write that is refused (EROFS), and to hear of each would cost
all file calls of all programs a notification.  So it is known where calls are traced, and where a program's output goes through us and
says it itself.
"""

import os
from typing import TYPE_CHECKING, Final

from ..guests.linux.places import below
from ..kern.abi.errno import EROFS, MESSAGES

if TYPE_CHECKING:
    from ..compose.supervise.output import Log
    from ..guests.linux.plan import ProgramPlan

SAID: Final = MESSAGES[EROFS]


def says_so(log: "Log") -> bool:
    """Whether a program has printed that something is read-only."""
    return any(SAID in entry.text for entry in log.entries() if entry.stream != "rump")


def advice(plan: "ProgramPlan") -> str:
    """What would let it write."""
    root = plan.root
    if root is not None and root.foreign:
        return "its root is read-only for it: root_writable = true lets it write there, and writable what is the host's"
    where = os.path.realpath(plan.directory or os.getcwd())
    given = [*(root.writable if root is not None else ()), *(one.path for one in plan.shown if not one.read_only)]
    if root is None or any(below(where, os.path.realpath(one)) for one in given):
        return 'it wrote where it may not: --writable DIR gives it more (config: writable = ["DIR"])'
    here = os.path.relpath(where)
    return f'{where} is read-only for the program: give it with --writable {here} (config: writable = ["{where}"])'
