"""Addresses as sockets show them, and as the layers below have them.

A socket of IPv6 shows addresses of IPv4 as v4-mapped ones (RFC 3493 section 3.7); below it they are 4 bytes.  An address that
means something in one zone only (RFC 4007) has the zone's number behind it, as 4 bytes more, between sockets and clients.
"""

from typing import Final

from ...kern.abi.socket import AF_INET6
from ..wire.address import is_link_local, is_multicast

_MAPPED: Final = bytes(10) + b"\xff\xff"
_SCOPED_SIZE: Final = 20


def unmapped(address: bytes) -> bytes:
    """The IPv4 address in a v4-mapped one; others as they are."""
    return address[12:] if len(address) == 16 and address[:12] == _MAPPED else address


def split_zone(address: bytes) -> tuple[bytes, int]:
    """An address without its zone, and the zone's number, which counts for link-local addresses and groups only."""
    if len(address) != _SCOPED_SIZE:
        return address, 0
    plain = address[:16]
    scoped = is_link_local(plain) or is_multicast(plain)
    return plain, int.from_bytes(address[16:], "big") if scoped else 0


def shown(address: bytes, family: int, zone: int = 0) -> bytes:
    """An address as a socket of `family` shows it: mapped, or with the zone that a link-local one means something in."""
    if family != AF_INET6:
        return address
    if len(address) == 4:
        return _MAPPED + address
    return address + zone.to_bytes(4, "big") if zone and is_link_local(address) else address
