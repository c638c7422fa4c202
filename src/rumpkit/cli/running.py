"""What the verbs share that ask a running kernel, `rump net` among them: which kernel and which program a name means."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from typing import Any

from ..clients.control import place
from ..clients.control.client import Control, NoKernel, connect


def _completed(function: str, command: str) -> tuple[dict[str, str], dict[str, str]]:
    """What completes an argument in each shell by the words that a command prints, and what that needs before."""
    bash = f'{function}() {{ compgen -W "$({command} 2>/dev/null)" -- "$1"; }}\n'
    zsh = f'{function}() {{ compadd -- ${{(f)"$({command} 2>/dev/null)"}} }}\n'
    return {"bash": function, "zsh": function, "tcsh": f"`{command}`"}, {"bash": bash, "zsh": zsh}


PROGRAMS, _PROGRAMS_BEFORE = _completed("_rump_programs", "rump ps --names")
KERNELS, _KERNELS_BEFORE = _completed("_rump_kernels", "rump net list --names")
PREAMBLE = {shell: _KERNELS_BEFORE[shell] + text for shell, text in _PROGRAMS_BEFORE.items()}
"""What a completion script begins with."""
NAMES = """
NAME is a kernel's name (rump ps shows them), the beginning of it, or KERNEL/PROGRAM; a program's own name will do where
only one kernel has such a program, and nothing where only one kernel runs.  With -k KERNEL it is a program of that one.
"""
NO_KERNEL = "no kernel is running (start one: rump run --detach ...)"


def add_kernel(parser: argparse.ArgumentParser, default: str = "") -> None:
    """The option -k, which all these verbs have."""
    kernel = parser.add_argument(
        "-k",
        "--kernel",
        metavar="KERNEL",
        default=default,
        help="which kernel: its name, the beginning of it, or its socket's path; not needed where just one runs",
    )
    kernel.complete = KERNELS  # type: ignore[attr-defined]


def add_name(parser: argparse.ArgumentParser, what: str, several: bool = False) -> None:
    """The argument NAME, and -k."""
    add_kernel(parser)
    name = parser.add_argument(
        "name", metavar="NAME", nargs="*" if several else "?", default=[] if several else "", help=what
    )
    name.complete = PROGRAMS  # type: ignore[attr-defined]


def resolve(word: str, kernel: str = "") -> tuple[str, str]:
    """The kernel, as `connect` wants it, and the program ("": all) that a name means, behind -k or without.  Raises NoKernel."""
    if kernel:
        return kernel, word
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
def connected(word: str, kernel: str = "") -> Iterator[tuple[Control, str]]:
    """A connection to the kernel that a name means, and the program.  Raises NoKernel, ControlError."""
    kernel, program = resolve(word, kernel)
    with connect(kernel) as control:
        yield control, program


def tell_nothing(known: bool) -> None:
    """Say to a person why nothing is shown: there is no kernel, or none of those that are `known` has programs."""
    print(
        f"rump: {'none of the kernels has programs (rump net list shows the kernels)' if known else NO_KERNEL}",
        file=sys.stderr,
    )


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
