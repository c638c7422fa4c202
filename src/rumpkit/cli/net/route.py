"""`rump net route`: the routes of a running kernel: show, add, delete."""

import argparse
import sys
from typing import Any

from .. import exit as code
from ..table import show, show_json
from .common import add_kernel, control

DESCRIPTION = """\
Show the routes of a running kernel, or change them.  Routes of kind connected follow from the addresses of
interfaces and come and go with those."""
EPILOG = """\
examples:
  rump net route
  rump net route add default 10.0.2.2
  rump net route add 192.168.7.0/24 via 10.0.2.2 metric 10
  rump net route add 192.168.8.0/24 dev vif0
  rump net route delete 192.168.7.0/24

"via", "dev", "metric" and "src" are as in ip-route(8); the gateway may also stand alone, as in route(8).
"""
WORDS = {
    "via": "gateway",
    "gw": "gateway",
    "gateway": "gateway",
    "dev": "interface",
    "metric": "metric",
    "src": "source",
}
ACTIONS = {"show": "", "list": "", "add": "route_add", "delete": "route_delete", "del": "route_delete"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "rump net route [-k NAME] [--json] [show | add PREFIX ... | delete PREFIX ...]"
    parser.add_argument(
        "action", metavar="ACTION", nargs="?", default="show", choices=list(ACTIONS), help="show, add or delete"
    )
    parser.add_argument(
        "words", metavar="PREFIX", nargs="*", help="a network such as 192.168.7.0/24, or default; then the way"
    )
    parser.add_argument("-n", "--numeric", action="store_true", help="numbers (they always are; for habit)")
    add_kernel(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    method = ACTIONS[arguments.action]
    if not method:
        return _show(arguments)
    try:
        parameters = parse(arguments.words)
    except ValueError as problem:
        print(f"rump net route: {problem}", file=sys.stderr)
        return code.USAGE
    with control(arguments) as kernel:
        kernel.call(method, **parameters)
    return code.OK


def parse(words: list[str]) -> dict[str, Any]:
    """What `PREFIX [via] GATEWAY dev INTERFACE metric N src ADDRESS` says.  Raises ValueError."""
    rest = [word for word in words if word not in ("-net", "-host")]
    if not rest:
        raise ValueError('which network? write "192.168.7.0/24" or "default"')
    found: dict[str, Any] = {"prefix": rest.pop(0)}
    while rest:
        word = rest.pop(0)
        if word not in WORDS:
            if "gateway" in found:
                raise ValueError(f"{word!r} makes no sense here; known: {', '.join(WORDS)}")
            found["gateway"] = word
            continue
        if not rest:
            raise ValueError(f"{word} needs a value")
        found[WORDS[word]] = rest.pop(0)
    if "metric" in found:
        if not found["metric"].isdecimal():
            raise ValueError(f"the metric {found['metric']!r} is not a number")
        found["metric"] = int(found["metric"])
    return found


def _show(arguments: argparse.Namespace) -> int:
    with control(arguments) as kernel:
        rows = kernel.call("routes")
    if arguments.json:
        show_json(rows)
        return code.OK
    show(
        "",
        ("Destination", "Gateway", "Interface", "Metric", "Kind", "Source"),
        [
            (
                "default" if row["prefix"] in ("0.0.0.0/0", "::/0") else row["prefix"],
                row["gateway"] or "-",
                row["interface"],
                str(row["metric"]),
                row.get("origin", ""),
                row.get("source", "") or "-",
            )
            for row in rows
        ],
        right=(3,),
    )
    return code.OK
