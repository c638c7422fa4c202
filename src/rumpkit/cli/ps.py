"""`rump ps [NAME]`: the programs of running kernels."""

import argparse
import shlex
import signal
import sys
from errno import ETIMEDOUT

from ..clients.control import place
from ..clients.control.client import connect
from . import exit as code
from .running import NAMES, add_name, age, resolve, tell_nothing
from .table import show, show_json

DESCRIPTION = "Show the programs that run on kernels, and those that have ended since their run began."
EPILOG = (
    """\
examples:
  rump ps                          of all kernels
  rump ps cache-4711               of the one called so
  rump ps --json | jq -r '.[] | select(.state == "unhealthy") | .name'
"""
    + NAMES
    + """
Exits with 1 if no kernel answers.
"""
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_name(parser, "a kernel, or KERNEL/PROGRAM; default: all")
    parser.add_argument("--names", action="store_true", help="print names only, of kernels and of programs")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and show."""
    chosen, program = resolve(arguments.name, arguments.kernel)
    kernels = [chosen] if chosen else list(place.names())
    rows = []
    silent = False
    for kernel in kernels:
        try:
            with connect(kernel) as control:
                name = control.greeting["name"]
                rows += [
                    {"name": f"{name}/{row['program']}", "kernel": name, **row}
                    for row in control.call("ps", program=program)
                ]
        except OSError as problem:
            if chosen:  # else one that is going, or whose programs are not ours to know
                raise
            if problem.errno == ETIMEDOUT:
                silent = True
                print(f"rump: {kernel}: {problem.strerror}", file=sys.stderr)
    if arguments.names:
        for name in dict.fromkeys(one for row in rows for one in (row["kernel"], row["name"])):
            print(name)
    elif arguments.json:
        show_json(rows)
    elif not rows and not silent:
        tell_nothing(bool(kernels))
    else:
        show(
            "",
            ("name", "state", "pid", "up", "restarts", "ports", "command"),
            [
                (
                    row["name"],
                    _state(row["state"], row["exit"]),
                    str(row["pid"] or ""),
                    age(row["up"]),
                    str(row["restarts"]),
                    ", ".join(map(str, row["ports"])),
                    shlex.join(row["command"]),
                )
                for row in rows
            ],
            right=(2, 3, 4),
        )
    return code.NOTHING if silent and not rows else code.OK


def _state(state: str, status: int | None) -> str:
    if status is None:
        return state
    if status >= 0:
        return f"{state} ({status})"
    try:
        return f"{state} ({signal.Signals(-status).name})"
    except ValueError:
        return f"{state} (signal {-status})"
