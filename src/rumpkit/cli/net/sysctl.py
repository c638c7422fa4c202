"""`rump net sysctl`: the limits and defaults of a running kernel: show, set."""

import argparse
import sys
from typing import Any

from .. import exit as code
from ..table import show, show_json
from .common import add_kernel, control

DESCRIPTION = """\
Show or set the sysctls of a running kernel: all, those below a name, or one.  Names may be NetBSD's:
net.inet.tcp.send_buffer is net.tcp.send_buffer.  What is set lasts as long as the kernel; a config's
[sysctl] sets them from its start."""
EPILOG = """\
examples:
  rump net sysctl                                all, with bounds, defaults and help
  rump net sysctl net.tcp                        those of TCP
  rump net sysctl -n net.inet.tcp.send_buffer    just the value
  rump net sysctl net.tcp.send_buffer=262144     set
  rump net sysctl --changed                      what is not as it was at first
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "rump net sysctl [options] [NAME | NAME=VALUE] ..."
    parser.add_argument("names", metavar="NAME[=VALUE]", nargs="*", help="what to show or set; default: show all")
    parser.add_argument("-a", "--all", action="store_true", help="all (the default; for habit)")
    parser.add_argument("-w", "--write", action="store_true", help="set (the = says so; for habit)")
    parser.add_argument("-n", "--values", action="store_true", help="print values only")
    parser.add_argument("--changed", action="store_true", help="only those that are not what they were at first")
    add_kernel(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it, in the order of the command line."""
    wishes = []
    for word in arguments.names or [""]:
        name, equals, text = word.partition("=")
        try:
            wishes.append((name.strip().replace("/", "."), int(text, 0) if equals else None))
        except ValueError:
            print(f"rump net sysctl: {text!r} is not an integer (in {word})", file=sys.stderr)
            return code.USAGE
    found: list[dict[str, Any]] = []
    with control(arguments) as kernel:
        for name, value in wishes:
            if value is None:
                found += kernel.call("sysctls", name=name)
                continue
            said = kernel.call("sysctl_set", name=name, value=value)
            if not (arguments.json or arguments.values):
                print(f"{name}: {said['before']} -> {said['value']}")
    _show([row for row in found if not arguments.changed or row["value"] != row["default"]], arguments)
    return code.OK


def _show(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    if arguments.json:
        show_json(rows)
    elif arguments.values:
        for row in rows:
            print(row["value"])
    else:
        show(
            "",
            ("name", "value", "default", "bounds", "meaning"),
            [
                (row["name"], str(row["value"]), str(row["default"]), f"{row['low']} to {row['high']}", row["help"])
                for row in rows
            ],
            right=(1, 2),
        )
