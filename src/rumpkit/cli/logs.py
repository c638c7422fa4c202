"""`rump logs [NAME]`: what the programs of a running kernel have printed."""

import argparse
import re
import sys
import time
from typing import Any

from . import exit as code
from .net.common import stoppable
from .running import NAMES, add_name, connected

DESCRIPTION = """\
Show what programs have printed whose stdout or stderr is "prefix" or "log" in the config, or any of a detached run.  The
last log_limit bytes of each are remembered."""
EPILOG = (
    """\
examples:
  rump logs                        of all programs of the only kernel
  rump logs -n 20 -f redis         the last 20 lines of one, and what comes
  rump logs --since 10m web-4711   of the last ten minutes
"""
    + NAMES
)
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_name(parser, "a kernel, or KERNEL/PROGRAM; default: the only kernel")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    parser.add_argument("-n", "--lines", metavar="N", type=_count, default=-1, help="only the last N lines")
    parser.add_argument(
        "--since",
        metavar="WHEN",
        type=since,
        default=0.0,
        help="only from then on: 30s, 10m, 2h ago, or seconds since 1970",
    )
    parser.add_argument("-t", "--timestamps", action="store_true", help="show when each line came")
    parser.add_argument("--json", action="store_true", help="print each line as a JSON object")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines")
    return int(text)


def since(text: str) -> float:
    """A time in seconds since 1970.  Raises ArgumentTypeError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write 30s, 10m, 2h, 1d")
    number = float(match[1])
    return time.time() - number * UNITS[match[2]] if match[2] else number


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print."""
    with connected(arguments.name, arguments.kernel) as (control, program):
        printer = Printer(arguments, [row["program"] for row in control.call("ps", program=program)])
        wanted = {"program": program, "lines": arguments.lines, "since": arguments.since}
        if not arguments.follow:
            result = _print(control.stream("logs", **wanted), printer)
            if result["left_out"]:
                print(f"rump: {result['left_out']} lines were too many at once; take fewer with -n", file=sys.stderr)
            if not result["lines"] and result["elsewhere"] and not arguments.json:
                for stream, where in result["elsewhere"].items():
                    print(f"rump: {stream} of this program goes to {where!r}", file=sys.stderr)
            return code.OK
        with stoppable(control):
            control.patience(None)
            try:
                _print(control.stream("logs", follow=True, **wanted), printer)
            except OSError:  # the run is over
                pass
    return code.OK


def _print(parts: Any, printer: "Printer") -> Any:
    while True:
        try:
            part = next(parts)
        except StopIteration as end:
            return end.value
        for line in part:
            printer.show(line)
        sys.stdout.flush()


class Printer:
    """Prints lines, with the program's name where there are several."""

    def __init__(self, arguments: argparse.Namespace, names: list[str]) -> None:
        self._json = arguments.json
        self._timestamps = arguments.timestamps
        self._width = max((len(name) for name in names), default=0) if len(names) > 1 else 0
        colours = sys.stdout.isatty()
        self._colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)} if colours else {}

    def show(self, line: dict[str, Any]) -> None:
        """One line."""
        if self._json:
            import json

            print(json.dumps(line))
            return
        before = ""
        if self._timestamps:
            before = time.strftime("%Y-%m-%dT%H:%M:%S ", time.localtime(line["time"]))
        if self._width:
            name = f"{line['program'].ljust(self._width)} |"
            colour = self._colours.get(line["program"])
            before += f"\x1b[{colour}m{name}\x1b[0m " if colour else f"{name} "
        if line["stream"] == "rump":
            before += "rump: "
        print(f"{before}{line['text']}")
