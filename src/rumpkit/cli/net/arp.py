"""`rump net arp`: the neighbours of a running kernel: show, forget."""

import argparse

from .. import exit as code
from ..table import show, show_json
from .common import add_kernel, control

DESCRIPTION = """\
Show whom a running kernel knows on its links (ARP, and IPv6's neighbour discovery), or have it forget somebody,
so that it asks again."""
EPILOG = """\
examples:
  rump net arp
  rump net arp -d 10.0.2.2
  rump net arp --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("-d", "--delete", metavar="ADDRESS", help="forget this neighbour")
    parser.add_argument("-i", "--interface", metavar="INTERFACE", default="", help="on this interface only")
    parser.add_argument("-a", "--all", action="store_true", help="all (they always are; for habit)")
    parser.add_argument("-n", "--numeric", action="store_true", help="numbers (they always are; for habit)")
    add_kernel(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    with control(arguments) as kernel:
        if arguments.delete is not None:
            kernel.call("neighbour_delete", address=arguments.delete, interface=arguments.interface)
            return code.OK
        rows = [row for row in kernel.call("neighbours") if arguments.interface in ("", row["interface"])]
    if arguments.json:
        show_json(rows)
        return code.OK
    show(
        "",
        ("Address", "MAC address", "Interface", "State", "Waiting", "Expires"),
        [
            (
                row["address"],
                row["mac"] or "-",
                row["interface"],
                f"{row['state']}, router" if row["router"] else row["state"],
                str(row["waiting"]),
                "-" if row["expires"] is None else f"{row['expires'] / 1000:.0f} s",
            )
            for row in rows
        ],
        right=(4, 5),
    )
    return code.OK
