"""`rump net list`: the running kernels of this user."""

import argparse
import sys
import time
from typing import Any

from ...clients.control import place
from ...clients.control.client import connect, find
from .. import exit as code
from ..running import NO_KERNEL
from ..table import show, show_json
from .common import add_kernel

DESCRIPTION = "Show the running kernels: what -k NAME may be."
EPILOG = """\
examples:
  rump net list
  rump net list --json | jq -r '.[].name'

What killed kernels have left is removed.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--names", action="store_true", help="print names only")
    add_kernel(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask everybody."""
    names = place.names()
    if arguments.kernel:
        chosen = find(arguments.kernel)
        connect(chosen, 1.0).close()  # one that is named has to be there
        names = {name: path for name, path in names.items() if str(path) == chosen} or {arguments.kernel: chosen}
    if arguments.names:
        for name in names:
            print(name)
    else:
        rows = [_describe(name, str(path)) for name, path in names.items()]
        if arguments.json:
            show_json(rows)
        elif not rows:
            print(f"rump: {NO_KERNEL}", file=sys.stderr)
        else:
            show(
                "kernels",
                ("name", "host name", "pid", "up", "interfaces"),
                [
                    (
                        row["name"],
                        row.get("hostname", ""),
                        str(row.get("pid", "")),
                        _age(row["up"]) if "up" in row else "",
                        ", ".join(row.get("interfaces", ())) or row.get("error", ""),
                    )
                    for row in rows
                ],
            )
    return code.OK


def _describe(name: str, path: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "path": path}
    try:
        with connect(path, 1.0) as control:
            info = control.call("info")
            row["hostname"] = info["hostname"]
            row["pid"] = control.greeting["pid"]
            row["up"] = round(max(time.time() - info["started"], 0.0), 1)
            row["interfaces"] = [
                " ".join([one["name"], *(f"{own['address']}/{own['length']}" for own in one["addresses"])])
                for one in info["interfaces"]
                if one["kind"] != "loopback"
            ]
    except OSError as problem:  # its kernel may go while we ask
        row["error"] = problem.strerror
    return row


def _age(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
