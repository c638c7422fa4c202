"""`rump net stat`: every counter of a running kernel, and the managed objects of the RFCs; as they are, or as they change."""

import argparse
import time
from fnmatch import fnmatchcase
from typing import Any

from ...clients.control.client import Control
from ...net.mib import OBJECTS
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
    return {"counters": said["counters"], "mib": said["mib"]}


def _difference(before: Values, now: Values) -> Values:
    return {
        kind: {name: value - before[kind].get(name, 0) for name, value in values.items()}
        for kind, values in now.items()
    }


def _chosen(name: str, patterns: list[str]) -> bool:
    """Whether a pattern matches: a group's name, or a glob, without regard to case."""
    small = name.lower()
    group = small.partition(".")[0]
    return not patterns or any(one.lower() == group or fnmatchcase(small, one.lower()) for one in patterns)


def _show(arguments: argparse.Namespace, values: Values, changes: bool = False) -> int:
    hide = arguments.nonzero or changes
    counters = {name: value for name, value in values["counters"].items() if value or not hide}
    mib = {name: value for name, value in values["mib"].items() if value or not hide}
    patterns = arguments.pattern
    objects = {item.name: item for item in OBJECTS}
    groups_of = {name: _group(objects[name].counters[0]) if name in objects else "" for name in mib}
    kept = {n: v for n, v in counters.items() if _chosen(n, patterns) or any(_chosen(m, patterns) for m in _same(n))}
    kept_mib = {
        n: v
        for n, v in mib.items()
        if _chosen(n, patterns) or (groups_of[n] and groups_of[n] in map(str.lower, patterns))
    }
    if arguments.json:
        show_json({"counters": kept, "mib": kept_mib})
        return code.OK if kept or kept_mib or changes else 1
    rows: dict[str, list[tuple[str, ...]]] = {}
    for name, value in kept.items():
        group, _, rest = name.rpartition(".")
        rows.setdefault(group, []).append((rest, _number(value, changes), ", ".join(_same(name))))
    for name, value in kept_mib.items():
        if name in objects and len(objects[name].counters) == 1 and objects[name].counters[0] in kept:
            continue
        formula = _formula(objects[name].counters) if name in objects else ""
        rows.setdefault(groups_of[name], []).append(("", _number(value, changes), f"{name} = {formula}"))
    for group, lines in rows.items():
        show(group, ("counter", "change" if changes else "value", "MIB object"), lines, right=(1,))
    if not rows and not changes:
        print("rump: nothing has such a name" if patterns else "rump: nothing is counted")
    return code.OK if rows or changes else 1


def _group(counter: str) -> str:
    return counter.lstrip("-").rpartition(".")[0]


def _same(counter: str) -> list[str]:
    """The objects that are just this counter."""
    return [item.name for item in OBJECTS if item.counters == (counter,)]


def _formula(counters: tuple[str, ...]) -> str:
    text = ""
    for name in counters:
        sign = " - " if name[0] == "-" else " + " if text else ""
        text += sign + name.rpartition(".")[2]
    return text


def _number(value: Any, changes: bool) -> str:
    return f"{value:+d}" if changes else str(value)
