"""`rump net stat`: every counter of a running kernel, and the managed objects of the RFCs; as they are, or as they change."""

import argparse
import sys
import time
from fnmatch import fnmatchcase
from typing import Any

from ...clients.control.client import Control
from ...net.meanings import meaning
from ...net.mib import MibObject, objects
from .. import exit as code
from ..table import show, show_json
from .common import add_kernel, control, seconds

DESCRIPTION = """\
Show what a running kernel has counted: its own counters, and the objects of RFC 4293, 4022, 4113 and
Linux's TcpExt that are made of them.  PATTERN chooses: a group such as tcp, or a name with * and ?."""
EPILOG = """\
examples:
  rump net stat                        everything
  rump net stat --nonzero tcp ip       what TCP and IP have counted
  rump net stat 'TcpExt*'              by MIB name
  rump net stat -d 5                   by how much counters change in 5 seconds
  rump net stat --watch                the same, second by second, until Ctrl-C
  rump net stat --json | jq '.mib.tcpRetransSegs'
"""

Values = dict[str, dict[str, int]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("pattern", metavar="PATTERN", nargs="*", help="which ones; default: all")
    parser.add_argument("--nonzero", "-z", action="store_true", help="leave out what is 0")
    parser.add_argument("--verbose", "-v", action="store_true", help="say what each one counts")
    changes = parser.add_mutually_exclusive_group()
    changes.add_argument(
        "--delta",
        "-d",
        metavar="SECONDS",
        nargs="?",
        type=seconds,
        const=1.0,
        help="show the change within this time (1)",
    )
    changes.add_argument(
        "--watch", "-w", metavar="SECONDS", nargs="?", type=seconds, const=1.0, help="show changes, again and again"
    )
    add_kernel(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and show."""
    with control(arguments) as kernel:
        now = _read(kernel)
        interval = arguments.delta or arguments.watch
        if not interval:
            return _show(arguments, now)
        while True:
            time.sleep(interval)
            before, now = now, _read(kernel)
            shown = _show(arguments, _difference(before, now), changes=True)
            if not arguments.watch:
                return shown


def _read(kernel: Control) -> Values:
    said = kernel.call("stat")
    return {kind: said[kind] for kind in ("counters", "gauges", "mib")}


def _difference(before: Values, now: Values) -> Values:
    return {
        kind: {name: value - before[kind].get(name, 0) for name, value in values.items()}
        for kind, values in now.items()
    }


def _chosen(name: str, patterns: list[str]) -> bool:
    """Whether a pattern matches: a group's name, or a glob, without regard to case."""
    small = name.lower()
    group = small.partition(".")[0]
    return not patterns or (
        name != "" and any(one.lower() == group or fnmatchcase(small, one.lower()) for one in patterns)
    )


def _show(arguments: argparse.Namespace, values: Values, changes: bool = False) -> int:
    hide = arguments.nonzero or changes
    known = {item.name: item for item in objects(values["counters"])}
    same: dict[str, list[str]] = {}
    for item in known.values():
        if len(item.counters) == 1:
            same.setdefault(item.counters[0], []).append(item.name)
    patterns = arguments.pattern
    counters, gauges = (
        {
            name: value
            for name, value in values[kind].items()
            if (value or not hide) and any(_chosen(one, patterns) for one in (name, *same.get(name, ())))
        }
        for kind in ("counters", "gauges")
    )
    mib = {
        name: value
        for name, value in values["mib"].items()
        if (value or not hide) and (_chosen(name, patterns) or _chosen(_first(known, name), patterns))
    }
    if arguments.json:
        show_json({"counters": counters, "gauges": gauges, "mib": mib})
        return code.OK if counters or gauges or mib or changes else code.NOTHING
    rows: dict[str, list[tuple[str, ...]]] = {}
    counters |= gauges
    for name, value in counters.items():
        group, _, rest = name.rpartition(".")
        rows.setdefault(group, []).append((rest, _number(value, changes), ", ".join(same.get(name, ()))))
    for name, value in mib.items():
        formula = known[name].counters if name in known else ()
        if len(formula) != 1 or formula[0] not in counters:
            group = _first(known, name).rpartition(".")[0]
            rows.setdefault(group, []).append(("", _number(value, changes), f"{name} = {_formula(formula)}"))
    columns = ("counter", "change" if changes else "value", "MIB object")
    for group, lines in rows.items():
        if arguments.verbose:
            lines = [(*line, meaning(f"{group}.{line[0]}") if line[0] else "") for line in lines]
        show(group, (*columns, "what it counts") if arguments.verbose else columns, lines, right=(1,))
    if not rows and not changes:
        print("rump: nothing of that name is counted", file=sys.stderr)
    return code.OK if rows or changes else code.NOTHING


def _first(known: dict[str, MibObject], name: str) -> str:
    """The first counter of an object, whose group is the object's."""
    return known[name].counters[0] if name in known else ""


def _formula(counters: tuple[str, ...]) -> str:
    text = ""
    for name in counters:
        sign = " - " if name[0] == "-" else " + " if text else ""
        text += sign + name.rpartition(".")[2]
    return text


def _number(value: Any, changes: bool) -> str:
    return f"{value:+d}" if changes else str(value)
