"""Socket options about groups of IPv6 (ipv6(7), RFC 3493 section 5.2, RFC 3678 section 5): what is joined, and from whom.

Between the option tables of `datagram_options`, which loads it when a group is joined, and `ip6.groups` below; beside
`multicast_options` of IPv4.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from ...kern.abi.errno import EADDRNOTAVAIL, EINVAL, ENODEV, ENOPROTOOPT, error
from ...kern.abi.socket import AF_INET6, IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP
from ..ip.groups import Memberships
from ..ip6.ipv6 import Ipv6
from ..link.interface import Interface
from ..wire.address import ANY_V6, is_multicast
from .multicast_options import (
    MCAST_BLOCK_SOURCE,
    MCAST_JOIN_GROUP,
    MCAST_JOIN_SOURCE_GROUP,
    MCAST_LEAVE_GROUP,
    MCAST_LEAVE_SOURCE_GROUP,
    MCAST_UNBLOCK_SOURCE,
)
from .options import option_int

if TYPE_CHECKING:
    from .datagram import UdpSocket

_STORAGE: Final = 128
"""Bytes of a struct sockaddr_storage."""


class Named(NamedTuple):
    """What an option's structure names; the zone is the index of an interface, 0 for whichever suits."""

    group: bytes
    zone: int
    source: bytes


def act(socket: "UdpSocket", name: int, value: bytes) -> None:
    """Set one of these options.  Raises EINVAL, ENODEV, EADDRINUSE, EADDRNOTAVAIL, ENOBUFS."""
    read, do = _ACTIONS[name]
    named = read(value)
    if not is_multicast(named.group):
        raise error(EINVAL)
    do(socket, named)


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


def _network(socket: "UdpSocket") -> Ipv6:
    network = socket.udp.layer(ANY_V6)
    if not isinstance(network, Ipv6):
        raise error(ENOPROTOOPT)
    return network


def _members(socket: "UdpSocket") -> Memberships:
    members = socket.endpoint.memberships6
    if members is None:
        members = socket.endpoint.memberships6 = Memberships(_network(socket).memberships)
    return members


def _interface(socket: "UdpSocket", zone: int) -> Interface:
    network = _network(socket)
    link = network.links.get(zone) if zone else network.group_link()
    if link is None:
        raise error(ENODEV)
    return link.interface


def _join(socket: "UdpSocket", named: Named) -> None:
    _members(socket).join(_interface(socket, named.zone), named.group)


def _leave(socket: "UdpSocket", named: Named) -> None:
    _members(socket).leave(named.zone, named.group)


def _join_source(socket: "UdpSocket", named: Named) -> None:
    _members(socket).join_source(_interface(socket, named.zone), named.group, named.source)


def _leave_source(socket: "UdpSocket", named: Named) -> None:
    _members(socket).leave_source(named.zone, named.group, named.source)


def _block(socket: "UdpSocket", named: Named) -> None:
    _members(socket).block(named.zone, named.group, named.source, True)


def _unblock(socket: "UdpSocket", named: Named) -> None:
    _members(socket).block(named.zone, named.group, named.source, False)


_ACTIONS: Final[dict[int, tuple[Callable[[bytes], Named], Callable[["UdpSocket", Named], None]]]] = {
    IPV6_JOIN_GROUP: (_mreq, _join),
    IPV6_LEAVE_GROUP: (_mreq, _leave),
    MCAST_JOIN_GROUP: (_group_req, _join),
    MCAST_LEAVE_GROUP: (_group_req, _leave),
    MCAST_BLOCK_SOURCE: (_group_source_req, _block),
    MCAST_UNBLOCK_SOURCE: (_group_source_req, _unblock),
    MCAST_JOIN_SOURCE_GROUP: (_group_source_req, _join_source),
    MCAST_LEAVE_SOURCE_GROUP: (_group_source_req, _leave_source),
}
