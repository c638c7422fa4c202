"""`rump start [NAME ...]`: start programs of a running kernel again that have ended."""

import argparse
import sys

from . import exit as code
from .running import NAMES, add_name, connected

DESCRIPTION = """\
Start a program of a running kernel that has ended, or was never started, or all of them: as its config says, with restarts and
health checks as at first, and after what it is `after`.  One that runs is left alone.  Returns once they run."""
EPILOG = (
    """\
examples:
  rump start redis                 the program of that name, wherever it is
  rump start cache-4711/redis      if there are several
  rump start --wait cache-4711     all that have ended; return once they are healthy
"""
    + NAMES
    + """
Exits with 0 if they run (with --wait: do what they should), else with 1.
"""
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_name(parser, "a kernel, or KERNEL/PROGRAM; default: the only kernel", several=True)
    parser.add_argument(
        "-w",
        "--wait",
        action="store_true",
        help="until each is healthy, or without a health check has run for a moment or ended well",
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask, and wait."""
    return ask(arguments, "start")


def ask(arguments: argparse.Namespace, method: str) -> int:
    """Have one kernel after the other do it; what fails is told."""
    status = code.OK
    for name in arguments.name or [""]:
        with connected(name, arguments.kernel) as (control, program):
            control.patience(None)
            for line in control.call(method, program=program, wait=arguments.wait)["failed"]:
                print(f"rump: {line}", file=sys.stderr)
                status = code.NOTHING
    return status
