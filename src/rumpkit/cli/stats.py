"""`rump stats [NAME]`: what the programs of running kernels cost, live."""

import argparse
import sys
import time
from collections.abc import Callable
from errno import ETIMEDOUT
from typing import Any

from ..clients.control import place
from ..clients.control.client import connect
from . import exit as code
from .net.common import seconds
from .running import NAMES, add_name, resolve, tell_nothing
from .table import show, show_json
from .traffic import amount

DESCRIPTION = """\
Show, second by second, the processor time and memory of each program's processes, with its limits behind, its sockets and
their bytes, and the system calls of it that the kernel was asked for; and of each kernel (with its supervisor) the bytes of its
interfaces."""
EPILOG = (
    """\
examples:
  rump stats                       all kernels, until Ctrl-C
  rump stats --once web-4711       one look
  rump stats --json | jq '.[].cpu_percent'
"""
    + NAMES
    + """
Exits with 1 if no kernel answers.
"""
)
CLEAR = "\x1b[H\x1b[2J"

Sample = dict[str, dict[str, Any]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_name(parser, "a kernel, or KERNEL/PROGRAM; default: all")
    parser.add_argument(
        "-i", "--interval", metavar="SECONDS", type=seconds, default=1.0, help="from one look to the next (1)"
    )
    parser.add_argument("--once", action="store_true", help="one look, at what has happened within one interval")
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Ask again and again."""
    chosen, program = resolve(arguments.name, arguments.kernel)
    once = arguments.once or arguments.json
    silent: list[str] = []
    before = sample(chosen, program, silent)
    while before:
        time.sleep(arguments.interval)
        now = sample(chosen, program)
        rows = [row_of(name, before.get(name, {}), one) for name, one in now.items()]
        if arguments.json:
            show_json(rows)
        else:
            if sys.stdout.isatty() and not once:
                sys.stdout.write(CLEAR)
            _show(rows)
        if once or not now:
            return code.OK
        before = now
    if arguments.json:
        show_json([])
    elif not silent:
        tell_nothing(bool(place.names()))
    return code.NOTHING if silent else code.OK


def sample(chosen: str, program: str, silent: list[str] | None = None) -> Sample:
    """What everything has cost so far, by name.  Kernels that don't answer are told of, and added to `silent`, where that is asked for."""
    found: Sample = {}
    for kernel in [chosen] if chosen else list(place.names()):
        try:
            with connect(kernel) as control:
                name = control.greeting["name"]
                said = control.call("stats", program=program)
        except OSError as problem:
            if chosen:
                raise
            if problem.errno == ETIMEDOUT and silent is not None:
                silent.append(kernel)
                print(f"rump: {kernel}: {problem.strerror}", file=sys.stderr)
            continue
        if not program:
            found[name] = {**said["kernel"], "time": said["time"], "state": ""}
        for row in said["programs"]:
            found[f"{name}/{row['program']}"] = {**row, "time": said["time"]}
    return found


def row_of(name: str, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Rates between two samples, and what is now."""
    row = {"name": name, **{key: value for key, value in now.items() if key not in ("time", "program")}}
    elapsed = now["time"] - before["time"] if before else 0.0
    for key, rate, factor in RATES:
        if key in now:
            change = now[key] - before[key] if key in before else 0
            row[rate] = round(max(change, 0) * factor / elapsed, 1) if elapsed > 0 else 0.0
    return row


RATES = (
    ("cpu", "cpu_percent", 100),
    ("bytes_in", "bytes_in_rate", 1),
    ("bytes_out", "bytes_out_rate", 1),
    ("calls", "calls_rate", 1),
)
"""What grows, and the name and unit of its rate."""


def _show(rows: list[dict[str, Any]]) -> None:
    show(
        "",
        ("name", "state", "cpu", "memory", "processes", "sockets", "in", "in/s", "out", "out/s", "calls", "calls/s"),
        [
            (
                row["name"],
                row["state"],
                _text(row, "cpu_percent", "{:.1f}%") + _most(row, "cpus", lambda number: f"{number * 100:g}%"),
                _beside(row, "memory", amount),
                _beside(row, "processes", "{:.0f}".format),
                _text(row, "sockets", "{}"),
                *(
                    amount(row[key]) if key in row else ""
                    for key in ("bytes_in", "bytes_in_rate", "bytes_out", "bytes_out_rate")
                ),
                _text(row, "calls", "{}"),
                _text(row, "calls_rate", "{:.0f}"),
            )
            for row in rows
        ],
        right=tuple(range(2, 12)),
    )


def _beside(row: dict[str, Any], key: str, how: Callable[[float], str]) -> str:
    """What is used, and the limit where there is one; a control group counts threads with processes."""
    if key not in row:
        return ""
    used = row.get("tasks", row[key]) if key == "processes" and key in row.get("limits", {}) else row[key]
    return how(used) + _most(row, key, how)


def _most(row: dict[str, Any], key: str, how: Callable[[float], str]) -> str:
    limit = row.get("limits", {}).get(key)
    return "" if limit is None or "memory" not in row else f" / {how(limit)}"


def _text(row: dict[str, Any], key: str, how: str) -> str:
    return how.format(row[key]) if key in row else ""
