"""`rump net VERB`: look into a running kernel through its control socket.  One file a verb."""

import argparse
from importlib import import_module
from typing import NamedTuple, cast

from ..running import add_kernel
from ..verb import VerbModule

DESCRIPTION = """\
Look into a running kernel: one that `rump run` has started, or a Python program's Kernel(control=True)."""
EPILOG = """\
examples:
  rump net list                     the running kernels
  rump net ifconfig                 interfaces of the only one
  rump net -k rump-4711 ss -ti      TCP connections of the one called so, inside included
  rump net capture -o - | tshark -r -

Kernels are found by their names, which begin as their host names do, in $XDG_RUNTIME_DIR/rumpkit or /tmp/rumpkit-UID, or, if set,
in $RUMPKIT_RUNTIME_DIR alone: yours only.
"""


class Tool(NamedTuple):
    """One verb; the names behind the first are what others call it."""

    names: tuple[str, ...]
    module: str
    help: str


TOOLS = (
    Tool(("list", "ps"), "listing", "the running kernels"),
    Tool(("ifconfig", "if"), "ifconfig", "interfaces: addresses, flags, counters"),
    Tool(("route",), "route", "routes: show, add, delete"),
    Tool(("arp", "neigh", "ndp"), "arp", "neighbours: show, delete"),
    Tool(("ping",), "ping", "echo requests from inside the kernel"),
    Tool(("capture", "tcpdump"), "capture", "packets, with the state of their connections, as pcapng"),
    Tool(("ss", "netstat"), "ss", "sockets: states, queues, addresses; connections from inside"),
    Tool(("stat", "nstat"), "stat", "every counter, and the MIB objects of the RFCs"),
    Tool(("sysctl",), "sysctl", "limits and defaults: show, set"),
)


def tool(name: str) -> Tool:
    """The verb of that name."""
    return next(one for one in TOOLS if name in one.names)


def module(one: Tool) -> VerbModule:
    """Its module."""
    return cast(VerbModule, import_module(f"{__name__}.{one.module}"))


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    add_kernel(parser)
    tools = parser.add_subparsers(dest="tool", metavar="VERB", required=True)
    for one in TOOLS:
        loaded = module(one)
        child = tools.add_parser(
            one.names[0],
            aliases=one.names[1:],
            help=one.help,
            description=loaded.DESCRIPTION,
            epilog=loaded.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        loaded.configure(child)


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb does."""
    return module(tool(arguments.tool)).run(arguments)
