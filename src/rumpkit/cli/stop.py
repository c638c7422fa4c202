"""`rump stop [NAME ...]`: end programs of a running kernel, or all of it."""

import argparse

from ..clients.control.client import NoKernel, connect, find
from . import exit as code
from .running import NAMES, add_name, resolve

DESCRIPTION = """\
End a program, or all programs of a kernel and with them the kernel, as its config says (stop_signal, stop_timeout, the
reverse of `after`); return once that has happened."""
EPILOG = (
    """\
examples:
  rump stop                        the only kernel that runs
  rump stop cache-4711             that one
  rump stop cache-4711/redis       one program of it, which is not restarted then
  rump stop --kill web-4712        at once
"""
    + NAMES
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_name(parser, "a kernel, or KERNEL/PROGRAM; default: the only kernel", several=True)
    parser.add_argument("--kill", action="store_true", help="at once, by SIGKILL")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and wait."""
    wishes = [resolve(name, arguments.kernel) for name in arguments.name or [""]]
    paths = [find(kernel) for kernel, _ in wishes]
    for (_, program), path in zip(wishes, paths, strict=True):
        try:
            control = connect(str(path))
        except NoKernel:  # it has ended with the one before
            if path == paths[0]:
                raise
            continue
        with control:
            control.patience(None)
            rows = control.call("stop", program=program, kill=arguments.kill)
            if rows and rows[0]["last"]:
                control.wait_closed()
    return code.OK
