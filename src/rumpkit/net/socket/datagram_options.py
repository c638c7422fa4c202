"""Socket options of UDP sockets, as tables: level, name, how to read it, how to set it (socket(7), udp(7), ip(7)).

Options that are a remembered number or flag are in `common_options`.
"""

from collections.abc import Callable
from typing import Final

from ...hyper.named import NamedTuple
from ...kern.abi.errno import EINVAL, ENODEV, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP, error
from ...kern.abi.poll import POLLOUT, POLLWRNORM
from ...kern.abi.socket import (
    AF_INET6,
    IP_MTU,
    IP_MTU_DISCOVER,
    IP_MULTICAST_TTL,
    IP_RECVERR,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_JOIN_GROUP,
    IPV6_LEAVE_GROUP,
    IPV6_MTU,
    IPV6_MTU_DISCOVER,
    IPV6_MULTICAST_HOPS,
    IPV6_MULTICAST_IF,
    IPV6_MULTICAST_LOOP,
    IPV6_RECVERR,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
    SO_BROADCAST,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_OOBINLINE,
    SO_RCVBUF,
    SO_RCVBUFFORCE,
    SO_RCVLOWAT,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SO_SNDBUFFORCE,
    SOL_SOCKET,
    UDP_CORK,
    UDP_GRO,
    UDP_SEGMENT,
)
from ..ip.groups import Memberships
from ..transport.udp_endpoint import UdpEndpoint
from ..wire.address import ANY_V6
from . import multicast_options as multicast
from .common_options import get_common, remember, set_common
from .control import wanted_bits
from .datagram import DatagramSocket, UdpSocket
from .options import int_option, option_byte, option_int

_MIN_RECEIVE_BUFFER: Final = 2304
_MIN_SEND_BUFFER: Final = 4608
_MAX_SEGMENT: Final = 0xFFFF


class DatagramRow(NamedTuple):
    """One option of UDP sockets."""

    get: Callable[[UdpSocket], int]
    set: Callable[[UdpSocket, bytes], None] | None


def get_udp_option(socket: UdpSocket, level: int, name: int) -> bytes:
    """An option's value in its C layout.  Raises ENOPROTOOPT, EOPNOTSUPP (a level that UDP sockets have not)."""
    row = _OPTIONS.get((level, name))
    if row is not None:
        return int_option(row.get(socket))
    return get_datagram_option(socket, level, name)


def set_udp_option(socket: UdpSocket, level: int, name: int, value: bytes) -> None:
    """Set an option.  Raises ENOPROTOOPT, EINVAL."""
    row = _OPTIONS.get((level, name))
    if level == IPPROTO_IPV6 and socket.family != AF_INET6:
        raise error(ENOPROTOOPT)
    if row is None:
        set_datagram_option(socket, level, name, value)
        return
    if level not in (IPPROTO_IP, IPPROTO_IPV6) and len(value) < 4:
        raise error(EINVAL)
    if row.set is None:
        raise error(ENOPROTOOPT)
    row.set(socket, value)


def get_datagram_option(socket: DatagramSocket, level: int, name: int) -> bytes:
    """As `get_udp_option`, for what all kinds of datagram sockets have."""
    if level == SOL_SOCKET:
        if name == SO_RCVBUF:
            return int_option(socket.mailbox.limit)
        if name == SO_SNDBUF:
            return int_option(socket.send_buffer)
        if name == SO_LINGER:
            linger = socket.extras.get((level, name), 0) if socket.extras else 0
            return int_option(linger & 1) + int_option(linger >> 1)
    if (level, name) in _NUMBERS:
        default = 1 if name == SO_RCVLOWAT else 0
        return int_option(socket.extras.get((level, name), default) if socket.extras else default)
    return get_common(socket, level, name)


def set_datagram_option(socket: DatagramSocket, level: int, name: int, value: bytes) -> None:
    """As `set_udp_option`, for what all kinds of datagram sockets have."""
    if level == SOL_SOCKET and name in _SOCKET_SETTERS:
        if len(value) < 4:
            raise error(EINVAL)
        _SOCKET_SETTERS[name](socket, value)
        return
    set_common(socket, level, name, value)
    socket.wanted = wanted_bits(socket.extras)


# Setters -----------------------------------------------------------------------------------------------------------------


def _set_receive_buffer(socket: DatagramSocket, value: bytes) -> None:
    # Linux doubles what is asked for, to have room for its own book-keeping, and programs expect to read that back.
    wanted = min(option_int(value) & 0xFFFFFFFF, socket.max_receive_buffer)
    socket.mailbox.limit = max(wanted * 2, _MIN_RECEIVE_BUFFER)


def _set_send_buffer(socket: DatagramSocket, value: bytes) -> None:
    wanted = min(option_int(value) & 0xFFFFFFFF, socket.max_receive_buffer)
    socket.send_buffer = max(wanted * 2, _MIN_SEND_BUFFER)
    socket.queue.tell(POLLOUT | POLLWRNORM)  # as Linux does whether there is more room or not


def _set_linger(socket: DatagramSocket, value: bytes) -> None:
    """Kept to be read back: there is nothing to linger for."""
    if len(value) < 8:
        raise error(EINVAL)
    before = socket.extras.get((SOL_SOCKET, SO_LINGER), 0) if socket.extras else 0
    kept = option_int(value[4:]) << 1 | 1 if option_int(value) else before & ~1
    remember(socket, SOL_SOCKET, SO_LINGER, kept)


def _keep_flag(name: int) -> Callable[[DatagramSocket, bytes], None]:
    def write(socket: DatagramSocket, value: bytes) -> None:
        remember(socket, SOL_SOCKET, name, int(option_int(value) != 0))

    return write


def _set_low_water(socket: DatagramSocket, value: bytes) -> None:
    wanted = option_int(value)
    remember(socket, SOL_SOCKET, SO_RCVLOWAT, wanted if wanted > 0 else 1 if wanted == 0 else 0x7FFFFFFF)


_NUMBERS: Final = tuple(
    (SOL_SOCKET, name) for name in (SO_KEEPALIVE, SO_OOBINLINE, SO_RCVLOWAT, SO_REUSEADDR, SO_REUSEPORT)
)
"""What means nothing to datagrams, or to those without ports, and is kept all the same."""
_SOCKET_SETTERS: Final[dict[int, Callable[[DatagramSocket, bytes], None]]] = {
    SO_RCVBUF: _set_receive_buffer,
    SO_RCVBUFFORCE: _set_receive_buffer,
    SO_SNDBUF: _set_send_buffer,
    SO_SNDBUFFORCE: _set_send_buffer,
    SO_LINGER: _set_linger,
    SO_KEEPALIVE: _keep_flag(SO_KEEPALIVE),
    SO_REUSEADDR: _keep_flag(SO_REUSEADDR),
    SO_REUSEPORT: _keep_flag(SO_REUSEPORT),
    SO_OOBINLINE: _keep_flag(SO_OOBINLINE),
    SO_RCVLOWAT: _set_low_water,
}


def _unreadable(socket: UdpSocket) -> int:
    raise error(ENOPROTOOPT)


def _set_broadcast(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.broadcast = option_int(value) != 0


def _set_reuse_address(socket: UdpSocket, value: bytes) -> None:
    socket.reuse_address = option_int(value) != 0


def _set_reuse_port(socket: UdpSocket, value: bytes) -> None:
    socket.reuse_port = option_int(value) != 0


def ip_number(value: bytes, low: int, high: int, instead: int | None = None) -> int:
    """A number at level IP within a range; -1 may stand for `instead`.  Raises EINVAL."""
    if not value:
        raise error(EINVAL)
    number = option_byte(value)
    if number == -1 and instead is not None:
        return instead
    if not low <= number <= high:
        raise error(EINVAL)
    return number


def _get_ttl(socket: UdpSocket) -> int:
    ttl = socket.endpoint.ttl
    return socket.udp.network.default_ttl() if ttl < 0 else ttl


def _set_ttl(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.ttl = ip_number(value, 1, 255, -1)


def _set_multicast_ttl(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.multicast_ttl = ip_number(value, 0, 255, 1)


def _set_tos(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.tos = (option_byte(value) if value else 0) & 0xFF


def _set_report_all(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.report_all = bool(value) and option_byte(value) != 0
    if not socket.endpoint.report_all:
        socket.mailbox.complaints = None


def _set_mtu_discover(socket: UdpSocket, value: bytes) -> None:
    how = option_byte(value) if value else 0
    if not 0 <= how <= 5:
        raise error(EINVAL)
    socket.endpoint.discover = how


def _get_mtu(socket: UdpSocket) -> int:
    endpoint = socket.endpoint
    if not endpoint.remote:
        raise error(ENOTCONN)
    return int(socket.udp.layer(endpoint.remote).route(endpoint.remote, None, endpoint.zone).mtu)


def _set_cork(socket: UdpSocket, value: bytes) -> None:
    if option_int(value):
        socket.corked = True
    else:
        socket.uncork(socket.hyper.now)


def _set_segment(socket: UdpSocket, value: bytes) -> None:
    size = option_int(value)
    if not 0 <= size <= _MAX_SEGMENT:
        raise error(EINVAL)
    socket.segment = size


def _six(socket: UdpSocket) -> UdpEndpoint:
    """The endpoint of a socket of IPv6.  Raises EOPNOTSUPP, as Linux does for the level."""
    if socket.family != AF_INET6:
        raise error(EOPNOTSUPP)
    return socket.endpoint


def _six_number(socket: UdpSocket, value: bytes, low: int, high: int) -> int:
    """A number of an option of IPv6.  Raises ENOPROTOOPT (the socket is of IPv4), EINVAL."""
    if socket.family != AF_INET6:
        raise error(ENOPROTOOPT)
    number = option_int(value)
    if not low <= number <= high:
        raise error(EINVAL)
    return number


def _set_only(socket: UdpSocket, value: bytes) -> None:
    only = _six_number(socket, value, -(1 << 31), (1 << 31) - 1) != 0
    if socket.endpoint.port:
        raise error(EINVAL)
    socket.endpoint.only = only


def _get_hops(socket: UdpSocket) -> int:
    hops = _six(socket).hops
    return socket.udp.layer(ANY_V6).default_ttl() if hops < 0 else hops


def _set_hops(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.hops = _six_number(socket, value, -1, 255)


def _set_multicast_hops(socket: UdpSocket, value: bytes) -> None:
    number = _six_number(socket, value, -1, 255)
    socket.endpoint.multicast_hops = 1 if number < 0 else number


def _set_class(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.traffic_class = max(_six_number(socket, value, -1, 255), 0)


def _set_report_all6(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.report_all = _six_number(socket, value, -(1 << 31), (1 << 31) - 1) != 0


def _set_discover6(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.discover = _six_number(socket, value, 0, 5)


def _get_mtu6(socket: UdpSocket) -> int:
    _six(socket)
    return _get_mtu(socket)


def _act6(name: int) -> Callable[[UdpSocket, bytes], None]:
    """What sets an option about groups of IPv6 (`multicast6_options`)."""

    def write(socket: UdpSocket, value: bytes) -> None:
        _six(socket)
        from ..ip6.ipv6 import Ipv6
        from . import multicast6_options

        network = socket.udp.layer(ANY_V6)
        if not isinstance(network, Ipv6):
            raise error(ENOPROTOOPT)
        members = socket.endpoint.memberships6
        if members is None:
            members = socket.endpoint.memberships6 = Memberships(network.memberships)
        multicast6_options.act(network, members, name, value)

    return write


def _set_group_zone6(socket: UdpSocket, value: bytes) -> None:
    """The interface for groups, by its index; 0 goes back to what routes say.  Raises ENODEV."""
    index = _six_number(socket, value, -(1 << 31), (1 << 31) - 1)
    if index:
        if socket.udp.devices is None:
            raise error(ENODEV)
        socket.udp.devices.numbered(index)
    socket.endpoint.group_zone6 = index


def _set_loop6(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.loops6 = _six_number(socket, value, 0, 1) != 0


_GROUPS6: Final = (
    IPV6_JOIN_GROUP,
    IPV6_LEAVE_GROUP,
    *range(multicast.MCAST_JOIN_GROUP, multicast.MCAST_LEAVE_SOURCE_GROUP + 1),
)
_OPTIONS: Final[dict[tuple[int, int], DatagramRow]] = {
    (IPPROTO_IPV6, IPV6_MULTICAST_IF): DatagramRow(lambda socket: _six(socket).group_zone6, _set_group_zone6),
    (IPPROTO_IPV6, IPV6_MULTICAST_LOOP): DatagramRow(lambda socket: int(_six(socket).loops6), _set_loop6),
    (IPPROTO_IPV6, IPV6_V6ONLY): DatagramRow(lambda socket: int(_six(socket).only), _set_only),
    (IPPROTO_IPV6, IPV6_UNICAST_HOPS): DatagramRow(_get_hops, _set_hops),
    (IPPROTO_IPV6, IPV6_MULTICAST_HOPS): DatagramRow(lambda socket: _six(socket).multicast_hops, _set_multicast_hops),
    (IPPROTO_IPV6, IPV6_TCLASS): DatagramRow(lambda socket: _six(socket).traffic_class, _set_class),
    (IPPROTO_IPV6, IPV6_RECVERR): DatagramRow(lambda socket: int(_six(socket).report_all), _set_report_all6),
    (IPPROTO_IPV6, IPV6_MTU_DISCOVER): DatagramRow(lambda socket: _six(socket).discover, _set_discover6),
    (IPPROTO_IPV6, IPV6_MTU): DatagramRow(_get_mtu6, None),
    (SOL_SOCKET, SO_BROADCAST): DatagramRow(lambda socket: int(socket.endpoint.broadcast), _set_broadcast),
    (SOL_SOCKET, SO_REUSEADDR): DatagramRow(lambda socket: int(socket.reuse_address), _set_reuse_address),
    (SOL_SOCKET, SO_REUSEPORT): DatagramRow(lambda socket: int(socket.reuse_port), _set_reuse_port),
    (IPPROTO_IP, IP_TTL): DatagramRow(_get_ttl, _set_ttl),
    (IPPROTO_IP, IP_TOS): DatagramRow(lambda socket: socket.endpoint.tos, _set_tos),
    (IPPROTO_IP, IP_RECVERR): DatagramRow(lambda socket: int(socket.endpoint.report_all), _set_report_all),
    (IPPROTO_IP, IP_MTU_DISCOVER): DatagramRow(lambda socket: socket.endpoint.discover, _set_mtu_discover),
    (IPPROTO_IP, IP_MTU): DatagramRow(_get_mtu, None),
    (IPPROTO_IP, IP_MULTICAST_TTL): DatagramRow(lambda socket: socket.endpoint.multicast_ttl, _set_multicast_ttl),
    (IPPROTO_IP, multicast.IP_MULTICAST_IF): DatagramRow(multicast.get_interface, multicast.set_interface),
    (IPPROTO_IP, multicast.IP_MULTICAST_LOOP): DatagramRow(
        lambda socket: int(socket.endpoint.loops), multicast.set_loop
    ),
    (IPPROTO_IP, multicast.IP_MULTICAST_ALL): DatagramRow(multicast.get_every, multicast.set_every),
    (IPPROTO_IP, multicast.IP_MSFILTER): DatagramRow(multicast.not_readable, multicast.set_filter),
    (IPPROTO_UDP, UDP_CORK): DatagramRow(lambda socket: int(socket.corked), _set_cork),
    (IPPROTO_UDP, UDP_SEGMENT): DatagramRow(lambda socket: socket.segment, _set_segment),
    (IPPROTO_UDP, UDP_GRO): DatagramRow(lambda socket: 0, lambda socket, value: None),
}
_OPTIONS.update(
    {(IPPROTO_IP, name): DatagramRow(multicast.not_readable, multicast.setter(name)) for name in multicast.MEMBERSHIPS}
)
_OPTIONS.update({(IPPROTO_IPV6, name): DatagramRow(_unreadable, _act6(name)) for name in _GROUPS6})
