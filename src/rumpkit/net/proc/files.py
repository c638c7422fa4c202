"""The files of /proc/net that a kernel of ours has, by name."""

from collections.abc import Callable, Iterator
from typing import Final

from . import sockets, statistics
from .view import View

FILES: Final[dict[str, Callable[[View], Iterator[str]]]] = {
    "arp": statistics.arp,
    "dev": statistics.dev,
    "icmp": sockets.icmp4,
    "icmp6": sockets.icmp6,
    "netstat": statistics.netstat,
    "packet": sockets.packet,
    "raw": sockets.raw4,
    "raw6": sockets.raw6,
    "snmp": statistics.snmp,
    "snmp6": statistics.snmp6,
    "sockstat": sockets.sockstat,
    "sockstat6": sockets.sockstat6,
    "tcp": sockets.tcp4,
    "tcp6": sockets.tcp6,
    "udp": sockets.udp4,
    "udp6": sockets.udp6,
}
"""Each makes its text some lines at a time; between two pieces others may have the schedule."""
