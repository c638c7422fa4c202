"""What `rump ps`, `exec`, `logs`, `stop` and `stats` share: which kernel and which program a name means."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from typing import Any

from ..clients.control import place
from ..clients.control.client import Control, NoKernel, connect

COMPLETION = {
    "bash": "_rump_programs",
    "zsh": "_rump_programs",
    "tcsh": "`rump ps --names`",
}
PREAMBLE = {
    "bash": '_rump_programs() { compgen -W "$(rump ps --names 2>/dev/null)" -- "$1"; }\n',
    "zsh": '_rump_programs() { compadd -- ${(f)"$(rump ps --names 2>/dev/null)"} }\n',
}
NAMES = """
NAME is a kernel's name (rump ps shows them), the beginning of it, or KERNEL/PROGRAM; a program's own name will do where
only one kernel has such a program, and nothing where only one kernel runs.
"""


def add_name(parser: argparse.ArgumentParser, what: str, several: bool = False) -> None:
    """The argument NAME."""
    name = parser.add_argument(
        "name", metavar="NAME", nargs="*" if several else "?", default=[] if several else "", help=what
    )
    name.complete = COMPLETION  # type: ignore[attr-defined]


def resolve(word: str) -> tuple[str, str]:
    """The kernel, as `connect` wants it, and the program ("": all) that a name means.  Raises NoKernel."""
    if not word or word.startswith(("/", ".")):
        return word, ""
    kernel, slash, program = word.partition("/")
    known = place.names()
    if slash or any(name.startswith(word) for name in known):
        return kernel, program
    owners = [name for name in known if any(row["program"] == word for row in programs(name))]
    if len(owners) == 1:
        return owners[0], word
    if owners:
        raise NoKernel(
            ENOENT, f"{len(owners)} kernels have a program {word}: {', '.join(f'{one}/{word}' for one in owners)}"
        )
    if known:
        raise NoKernel(ENOENT, f"no kernel or program is called {word!r}; there are the kernels {', '.join(known)}")
    return word, ""


def programs(kernel: str) -> list[dict[str, Any]]:
    """The programs of a kernel; none where it is gone, or has none that it knows of."""
    try:
        with connect(kernel, 2.0) as control:
            rows: list[dict[str, Any]] = control.call("ps")
            return rows
    except OSError:
        return []


@contextmanager
def connected(word: str) -> Iterator[tuple[Control, str]]:
    """A connection to the kernel that a name means, and the program.  Raises NoKernel, ControlError."""
    kernel, program = resolve(word)
    with connect(kernel) as control:
        yield control, program


def age(seconds: float | None) -> str:
    """A time as people say it."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    if seconds < 360000:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} d"
