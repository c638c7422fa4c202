"""What there is to see of the link layer: interfaces and their ARP neighbours as plain values.  Reads, changes nothing.  On the
schedule."""

from typing import Any

from ...hyper.time import FOREVER, MILLISECOND, Instant
from ..wire.address import broadcast_of, format_address, format_mac
from .arp import STATE_NAMES
from .ethernet import EthernetInterface
from .interface import Interface
from .interfaces import Interfaces

Row = dict[str, Any]


def interfaces(all_of_them: Interfaces) -> list[Row]:
    """All interfaces, in the order they were made."""
    return [interface(one) for one in all_of_them.all()]


def interface(one: Interface) -> Row:
    """One interface: flags as ifconfig(8) has them, addresses, and what it has counted."""
    ethernet = isinstance(one, EthernetInterface)
    flags = {
        "UP": one.up,
        "BROADCAST": ethernet,
        "LOOPBACK": one.loopback,
        "POINTOPOINT": not ethernet and not one.loopback,
        "RUNNING": one.up,
        "PROMISC": one.promiscuous,
        "MULTICAST": ethernet,
    }
    counters = one.counters
    return {
        "name": one.name,
        "index": one.index,
        "kind": one.kind,
        "flags": [name for name, is_set in flags.items() if is_set],
        "up": one.up,
        "mtu": one.mtu,
        "mac": format_mac(one.mac) if any(one.mac) else "",
        "addresses": [
            {
                "address": format_address(own.address),
                "length": own.length,
                "origin": "manual",
                "state": "valid",
                "broadcast": format_address(broadcast_of(own.address, own.length))
                if ethernet and own.length < 31
                else "",
            }
            for own in one.addresses
        ],
        "captured": one.tapped,
        "counters": {name: int(getattr(counters, name)) for name in counters.names()},
    }


def neighbours(all_of_them: Interfaces, now: Instant) -> list[Row]:
    """Whom ARP knows, on all interfaces."""
    return [
        {
            "interface": one.name,
            "address": format_address(neighbour.address),
            "mac": format_mac(neighbour.mac) if neighbour.mac else "",
            "state": STATE_NAMES[neighbour.state],
            "router": False,
            "waiting": len(neighbour.waiting),
            "expires": None if neighbour.deadline >= FOREVER else max(neighbour.deadline - now, 0) // MILLISECOND,
        }
        for one in all_of_them.all()
        if isinstance(one, EthernetInterface)
        for neighbour in one.neighbours.all()
    ]
