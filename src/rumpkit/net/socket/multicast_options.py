"""Socket options about IPv4 multicast (ip(7), RFC 3678): what is joined, from whom, and how groups are sent to.

Between the option tables of `datagram_options` above and `ip.groups` below.  Three generations of structures name a group:
by an address of the interface, by its index, and as socket addresses.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ...hyper.named import NamedTuple
from ...kern.abi.errno import EADDRNOTAVAIL, EINVAL, ENODEV, ENOPROTOOPT, error
from ...kern.abi.socket import AF_INET
from ..ip.groups import Memberships, SourceFilter
from ..ip.ipv4 import Ipv4
from ..link.interface import Interface
from ..wire.address import ANY_V4, is_multicast
from .options import option_byte, option_int

if TYPE_CHECKING:
    from .datagram import UdpSocket

IP_MULTICAST_IF: Final = 32
IP_MULTICAST_LOOP: Final = 34
IP_ADD_MEMBERSHIP: Final = 35
IP_DROP_MEMBERSHIP: Final = 36
IP_UNBLOCK_SOURCE: Final = 37
IP_BLOCK_SOURCE: Final = 38
IP_ADD_SOURCE_MEMBERSHIP: Final = 39
IP_DROP_SOURCE_MEMBERSHIP: Final = 40
IP_MSFILTER: Final = 41
MCAST_JOIN_GROUP: Final = 42
MCAST_BLOCK_SOURCE: Final = 43
MCAST_UNBLOCK_SOURCE: Final = 44
MCAST_LEAVE_GROUP: Final = 45
MCAST_JOIN_SOURCE_GROUP: Final = 46
MCAST_LEAVE_SOURCE_GROUP: Final = 47
IP_MULTICAST_ALL: Final = 49
MCAST_INCLUDE: Final = 1
_STORAGE: Final = 128
"""Bytes of a struct sockaddr_storage."""


class Named(NamedTuple):
    """What an option's structure names."""

    group: bytes
    zone: int
    """The interface's index; 0 where it is named by an address."""
    address: bytes
    source: bytes


def mreq(value: bytes) -> Named:
    """struct ip_mreq, or ip_mreqn with an index behind it.  Raises EINVAL."""
    if len(value) < 8:
        raise error(EINVAL)
    return Named(value[:4], option_int(value[8:12]) if len(value) >= 12 else 0, value[4:8], b"")


def mreq_source(value: bytes) -> Named:
    """struct ip_mreq_source.  Raises EINVAL."""
    if len(value) < 12:
        raise error(EINVAL)
    return Named(value[:4], 0, value[4:8], value[8:12])


def group_req(value: bytes) -> Named:
    """struct group_req.  Raises EINVAL."""
    return Named(_socket_address(value, 8), option_int(value), ANY_V4, b"")


def group_source_req(value: bytes) -> Named:
    """struct group_source_req.  Raises EINVAL."""
    return Named(_socket_address(value, 8), option_int(value), ANY_V4, _socket_address(value, 8 + _STORAGE))


def _socket_address(value: bytes, at: int) -> bytes:
    """The address in a sockaddr_storage, which must be an AF_INET one."""
    if len(value) < at + _STORAGE:
        raise error(EINVAL)
    if int.from_bytes(value[at : at + 2], "little") != AF_INET:
        raise error(EADDRNOTAVAIL)
    return value[at + 4 : at + 8]


# What the options do -------------------------------------------------------------------------------------------------


def join(socket: "UdpSocket", named: Named) -> None:
    """Everybody's.  Raises EINVAL, ENODEV, EADDRINUSE, ENOBUFS."""
    _members(socket).join(_interface(socket, named), named.group)


def leave(socket: "UdpSocket", named: Named) -> None:
    """Raises EINVAL, EADDRNOTAVAIL."""
    _members(socket).leave(_joined_on(socket, named), named.group)


def join_source(socket: "UdpSocket", named: Named) -> None:
    """One source's.  Raises as `join`; EINVAL where everybody's were joined."""
    _members(socket).join_source(_interface(socket, named), named.group, named.source)


def leave_source(socket: "UdpSocket", named: Named) -> None:
    """Raises EINVAL, EADDRNOTAVAIL."""
    _members(socket).leave_source(_joined_on(socket, named), named.group, named.source)


def block(socket: "UdpSocket", named: Named) -> None:
    """Not this source's.  Raises EINVAL, EADDRNOTAVAIL."""
    _members(socket).block(_joined_on(socket, named), named.group, named.source, True)


def unblock(socket: "UdpSocket", named: Named) -> None:
    """This source's again.  Raises EINVAL, EADDRNOTAVAIL."""
    _members(socket).block(_joined_on(socket, named), named.group, named.source, False)


def set_filter(socket: "UdpSocket", value: bytes) -> None:
    """struct ip_msfilter.  Raises EINVAL, EADDRNOTAVAIL, ENOBUFS."""
    if len(value) < 16:
        raise error(EINVAL)
    mode, count = option_int(value[8:12]), option_int(value[12:16])
    if mode not in (0, MCAST_INCLUDE) or count < 0 or len(value) < 16 + 4 * count:
        raise error(EINVAL)
    sources = frozenset([value[at : at + 4] for at in range(16, 16 + 4 * count, 4)])
    named = Named(value[:4], 0, value[4:8], b"")
    _members(socket).set_filter(_joined_on(socket, named), named.group, SourceFilter(mode == 0, sources))


def set_interface(socket: "UdpSocket", value: bytes) -> None:
    """IP_MULTICAST_IF: an address, an ip_mreq or an ip_mreqn; all zero goes back to what routes say.  Raises EINVAL,
    EADDRNOTAVAIL."""
    if len(value) < 4:
        raise error(EINVAL)
    index, address = 0, value[:4]
    if len(value) >= 8:
        address = value[4:8]
    if len(value) >= 12:
        index = option_int(value[8:12])
    endpoint = socket.endpoint
    if not index and address == ANY_V4:
        endpoint.group_zone, endpoint.group_source = 0, b""
        return
    for interface in _network(socket).interfaces:
        if interface.index == index or (not index and interface.owns(address)):
            endpoint.group_zone = interface.index
            endpoint.group_source = b"" if address == ANY_V4 else address
            return
    raise error(EADDRNOTAVAIL)


def get_interface(socket: "UdpSocket") -> int:
    """The address that IP_MULTICAST_IF gave, as its four bytes make a number."""
    return int.from_bytes(socket.endpoint.group_source or ANY_V4, "little", signed=True)


def set_loop(socket: "UdpSocket", value: bytes) -> None:
    """IP_MULTICAST_LOOP.  Raises EINVAL."""
    if not value:
        raise error(EINVAL)
    socket.endpoint.loops = option_byte(value) != 0


def set_every(socket: "UdpSocket", value: bytes) -> None:
    """IP_MULTICAST_ALL.  Raises EINVAL."""
    if not value or option_byte(value) not in (0, 1):
        raise error(EINVAL)
    _members(socket).every = option_byte(value) == 1


def get_every(socket: "UdpSocket") -> int:
    """IP_MULTICAST_ALL."""
    members = socket.endpoint.memberships
    return 1 if members is None else int(members.every)


def not_readable(socket: "UdpSocket") -> int:
    """Memberships can't be asked for.  Raises ENOPROTOOPT."""
    raise error(ENOPROTOOPT)


MEMBERSHIPS: Final[dict[int, tuple[Callable[[bytes], Named], Callable[["UdpSocket", Named], None]]]] = {
    IP_ADD_MEMBERSHIP: (mreq, join),
    IP_DROP_MEMBERSHIP: (mreq, leave),
    IP_UNBLOCK_SOURCE: (mreq_source, unblock),
    IP_BLOCK_SOURCE: (mreq_source, block),
    IP_ADD_SOURCE_MEMBERSHIP: (mreq_source, join_source),
    IP_DROP_SOURCE_MEMBERSHIP: (mreq_source, leave_source),
    MCAST_JOIN_GROUP: (group_req, join),
    MCAST_LEAVE_GROUP: (group_req, leave),
    MCAST_BLOCK_SOURCE: (group_source_req, block),
    MCAST_UNBLOCK_SOURCE: (group_source_req, unblock),
    MCAST_JOIN_SOURCE_GROUP: (group_source_req, join_source),
    MCAST_LEAVE_SOURCE_GROUP: (group_source_req, leave_source),
}
"""How each is written, and what it does."""


def setter(name: int) -> Callable[["UdpSocket", bytes], None]:
    """What sets an option of `MEMBERSHIPS`."""
    read, act = MEMBERSHIPS[name]

    def write(socket: "UdpSocket", value: bytes) -> None:
        named = read(value)
        if not is_multicast(named.group):
            raise error(EINVAL)
        act(socket, named)

    return write


# Inside --------------------------------------------------------------------------------------------------------------


def _network(socket: "UdpSocket") -> Ipv4:
    network = socket.udp.network
    if not isinstance(network, Ipv4):
        raise error(ENOPROTOOPT)
    return network


def _members(socket: "UdpSocket") -> Memberships:
    members = socket.endpoint.memberships
    if members is None:
        members = socket.endpoint.memberships = Memberships(_network(socket).groups)
    return members


def _interface(socket: "UdpSocket", named: Named) -> Interface:
    """Where to join: at the interface that is named, else where packets to the group would leave.  Raises ENODEV."""
    network = _network(socket)
    if named.zone or named.address == ANY_V4:
        return network.group_interface(named.group, named.zone)
    for interface in network.interfaces:
        if interface.owns(named.address):
            return interface
    raise error(ENODEV)


def _joined_on(socket: "UdpSocket", named: Named) -> int:
    """The index of the interface of a membership; 0 for whichever.  Raises EADDRNOTAVAIL."""
    if named.zone or named.address == ANY_V4:
        return named.zone
    for interface in _network(socket).interfaces:
        if interface.owns(named.address):
            return interface.index
    raise error(EADDRNOTAVAIL)
