"""What there is to see of UDP: its endpoints as plain values.  Reads, changes nothing.  On the schedule."""

from collections.abc import Iterator
from typing import Any

from ..wire.address import format_address
from .udp import Udp
from .udp_endpoint import UdpEndpoint

PAGE = 128
"""Rows that are made at once."""


def sockets(udp: Udp) -> Iterator[list[dict[str, Any]]]:
    """All endpoints with a port that were there at the first call, some rows a time."""
    endpoints = list(dict.fromkeys(udp.endpoints()))  # one of both versions of IP is listed under both
    for start in range(0, len(endpoints), PAGE):
        yield [row(one) for one in endpoints[start : start + PAGE] if one.port]


def row(endpoint: UdpEndpoint) -> dict[str, Any]:
    """One endpoint: its addresses, the bytes that wait to be read (each datagram with its overhead), and how many were dropped."""
    connected = len(endpoint.remote) > 0
    return {
        "protocol": "udp",
        "state": "ESTABLISHED" if connected else "UNCONN",
        "receive_queue": endpoint.mailbox.used,
        "send_queue": 0,
        "local": _text(endpoint.local),
        "local_port": endpoint.port,
        "remote": _text(endpoint.remote),
        "remote_port": endpoint.remote_port,
        "receive_buffer": endpoint.mailbox.limit,
        "dropped": endpoint.mailbox.dropped,
    }


def _text(address: bytes) -> str:
    return format_address(address) if any(address) else "*"
