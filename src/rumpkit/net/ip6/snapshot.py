"""What there is to see of IPv6: addresses and neighbours as plain values.  Reads, changes nothing.  On the schedule."""

from typing import Any

from ...hyper.time import FOREVER, MILLISECOND, SECOND, Instant
from ..link.interfaces import Interfaces
from ..wire.address import format_address, format_mac
from .link import ORIGIN_NAMES, STATE_NAMES
from .neighbours import STATE_NAMES as NEIGHBOUR_STATES
from .service import Ip6

Row = dict[str, Any]


def addresses(ip6: Ip6, index: int, now: Instant) -> list[Row]:
    """The addresses of the interface with that index: where they come from, their states, and the seconds for which they are
    preferred and valid (None: for ever)."""
    link = ip6.network.links.get(index)
    return [
        {
            "address": format_address(own.address),
            "length": own.length,
            "origin": ORIGIN_NAMES[own.origin],
            "state": STATE_NAMES[own.state],
            "deprecated": own.deprecated,
            "preferred": None if own.preferred_until >= FOREVER else max(own.preferred_until - now, 0) // SECOND,
            "valid": None if own.valid_until >= FOREVER else max(own.valid_until - now, 0) // SECOND,
            "broadcast": "",
        }
        for own in ([] if link is None else link.addresses)
    ]


def neighbours(ip6: Ip6, interfaces: Interfaces, now: Instant) -> list[Row]:
    """Whom neighbour discovery knows, on all interfaces."""
    found = []
    for interface in interfaces.all():
        table = ip6.neighbours(interface)
        for neighbour in table.known.values() if table is not None else ():
            found.append(
                {
                    "interface": interface.name,
                    "address": format_address(neighbour.address),
                    "mac": format_mac(neighbour.mac) if neighbour.mac else "",
                    "state": NEIGHBOUR_STATES[neighbour.state],
                    "router": neighbour.is_router,
                    "waiting": len(neighbour.waiting),
                    "expires": None
                    if neighbour.deadline >= FOREVER
                    else max(neighbour.deadline - now, 0) // MILLISECOND,
                }
            )
    return found
