"""Socket options about groups of IPv6 (ipv6(7), RFC 3493 section 5.2, RFC 3678 section 5): what is joined, and from whom.

Between the option tables of `datagram_options`, which loads it when a group is joined, and `ip6.groups` below; beside
`multicast_options` of IPv4.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from ...kern.abi.errno import EADDRNOTAVAIL, EINVAL, ENODEV, error
from ...kern.abi.socket import AF_INET6, IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP
from ..ip.groups import Memberships
from ..ip6.ipv6 import Ipv6
from ..link.interface import Interface
from ..wire.address import is_multicast
from .multicast_options import (
    MCAST_BLOCK_SOURCE,
    MCAST_JOIN_GROUP,
    MCAST_JOIN_SOURCE_GROUP,
    MCAST_LEAVE_GROUP,
    MCAST_LEAVE_SOURCE_GROUP,
    MCAST_UNBLOCK_SOURCE,
)
from .options import option_int

_STORAGE: Final = 128
"""Bytes of a struct sockaddr_storage."""


class Named(NamedTuple):
    """What an option's structure names; the zone is the index of an interface, 0 for whichever suits."""

    group: bytes
    zone: int
    source: bytes


def act(network: Ipv6, members: Memberships, name: int, value: bytes) -> None:
    """Set one of these options of a socket with these memberships.  Raises EINVAL, ENODEV, EADDRINUSE, EADDRNOTAVAIL, ENOBUFS."""
    read, do = ACTIONS[name]
    named = read(value)
    if not is_multicast(named.group):
        raise error(EINVAL)
    do(network, members, named)


def _mreq(value: bytes) -> Named:
    """struct ipv6_mreq."""
    if len(value) < 20:
        raise error(EINVAL)
    return Named(value[:16], option_int(value[16:20]), b"")


def _group_req(value: bytes) -> Named:
    """struct group_req."""
    return Named(_address(value, 8), option_int(value), b"")


def _group_source_req(value: bytes) -> Named:
    """struct group_source_req."""
    return Named(_address(value, 8), option_int(value), _address(value, 8 + _STORAGE))


def _address(value: bytes, at: int) -> bytes:
    """The address in a sockaddr_storage, which must be an AF_INET6 one."""
    if len(value) < at + _STORAGE:
        raise error(EINVAL)
    if int.from_bytes(value[at : at + 2], "little") != AF_INET6:
        raise error(EADDRNOTAVAIL)
    return value[at + 8 : at + 24]


def _interface(network: Ipv6, zone: int) -> Interface:
    link = network.links.get(zone) if zone else network.group_link()
    if link is None:
        raise error(ENODEV)
    return link.interface


def _join(network: Ipv6, members: Memberships, named: Named) -> None:
    members.join(_interface(network, named.zone), named.group)


def _leave(network: Ipv6, members: Memberships, named: Named) -> None:
    members.leave(named.zone, named.group)


def _join_source(network: Ipv6, members: Memberships, named: Named) -> None:
    members.join_source(_interface(network, named.zone), named.group, named.source)


def _leave_source(network: Ipv6, members: Memberships, named: Named) -> None:
    members.leave_source(named.zone, named.group, named.source)


def _block(network: Ipv6, members: Memberships, named: Named) -> None:
    members.block(named.zone, named.group, named.source, True)


def _unblock(network: Ipv6, members: Memberships, named: Named) -> None:
    members.block(named.zone, named.group, named.source, False)


ACTIONS: Final[dict[int, tuple[Callable[[bytes], Named], Callable[[Ipv6, Memberships, Named], None]]]] = {
    IPV6_JOIN_GROUP: (_mreq, _join),
    IPV6_LEAVE_GROUP: (_mreq, _leave),
    MCAST_JOIN_GROUP: (_group_req, _join),
    MCAST_LEAVE_GROUP: (_group_req, _leave),
    MCAST_BLOCK_SOURCE: (_group_source_req, _block),
    MCAST_UNBLOCK_SOURCE: (_group_source_req, _unblock),
    MCAST_JOIN_SOURCE_GROUP: (_group_source_req, _join_source),
    MCAST_LEAVE_SOURCE_GROUP: (_group_source_req, _leave_source),
}
