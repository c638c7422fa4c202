"""`rump net ifconfig`: the interfaces of a running kernel, as ifconfig(8) shows them."""

import argparse
from typing import Any

from .. import exit as code
from ..table import show_json
from .common import add_kernel, control

DESCRIPTION = "Show the interfaces of a running kernel: flags, MTU, MAC and IP addresses, what went through them."
EPILOG = """\
examples:
  rump net ifconfig
  rump net ifconfig vif0
  rump net ifconfig --json | jq -r '.[].addresses[].address'
"""
ERRORS = ("down_in", "down_out", "short_in", "other_host_in", "tagged_in", "unknown_type_in")
"""Counters that are shown where they are not 0; further ones of a kernel come behind them."""
TRAFFIC = ("frames_in", "bytes_in", "frames_out", "bytes_out")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("interface", metavar="INTERFACE", nargs="?", default="", help="just this one")
    parser.add_argument("-a", "--all", action="store_true", help="all (they always are; for habit)")
    add_kernel(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and show."""
    with control(arguments) as kernel:
        rows = kernel.call("interfaces")
    wanted = [row for row in rows if arguments.interface in ("", row["name"])]
    if arguments.interface and not wanted:
        import sys

        names = ", ".join(row["name"] for row in rows) or "none"
        print(f"rump: there is no interface {arguments.interface!r}; there are: {names}", file=sys.stderr)
        return code.FAILED
    if arguments.json:
        show_json(wanted)
        return code.OK
    for row in wanted:
        print("\n".join(lines(row)))
    return code.OK


def lines(row: dict[str, Any]) -> list[str]:
    """One interface."""
    found = [f"{row['name']}: flags=<{','.join(row['flags'])}>  mtu {row['mtu']}"]
    for own in row["addresses"]:
        family = "inet6" if ":" in own["address"] else "inet"
        broadcast = f"  broadcast {own['broadcast']}" if own["broadcast"] else ""
        words = [own["state"] if own["state"] != "valid" else "", own["origin"] if own["origin"] != "manual" else ""]
        words.append("deprecated" if own.get("deprecated") else "")
        note = "".join(f"  {word}" for word in words if word)
        found.append(f"        {family} {own['address']}/{own['length']}{broadcast}{note}")
    if row["mac"]:
        found.append(f"        ether {row['mac']}  ({row['kind']})")
    else:
        found.append(f"        ({row['kind']})")
    counters = row["counters"]
    for way, text in (("in", "RX"), ("out", "TX")):
        found.append(f"        {text} packets {counters[f'frames_{way}']}  bytes {counters[f'bytes_{way}']}")
    names = (*ERRORS, *(name for name in counters if name not in (*ERRORS, *TRAFFIC)))
    others = [f"{name} {counters[name]}" for name in names if counters.get(name)]
    if others:
        found.append(f"        {'  '.join(others)}")
    return found
