"""What raw and ping sockets of IPv6 have in common: addresses with zones, the way out of a message, and options (ipv6(7), RFC 3493,
RFC 3542).

Above `ip6.ipv6`; `raw6` and `ping6` are the two kinds.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.abi.errno import EADDRNOTAVAIL, EDESTADDRREQ, EINVAL, EMSGSIZE, ENETUNREACH, ENOPROTOOPT, ENOTCONN, error
from ...kern.abi.socket import (
    IP_PMTUDISC_DO,
    IP_PMTUDISC_PROBE,
    IP_PMTUDISC_WANT,
    IPPROTO_IPV6,
    IPV6_DONTFRAG,
    IPV6_MTU,
    IPV6_MTU_DISCOVER,
    IPV6_MULTICAST_HOPS,
    IPV6_MULTICAST_IF,
    IPV6_MULTICAST_LOOP,
    IPV6_RECVERR,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
)
from ...kern.socket import ControlMessage, SocketAddress
from ...kern.wait import Blocked
from ..ip.contract import Route
from ..ip.groups import Memberships
from ..wire.address import ANY_V6, LOOPBACK_V6, is_link_local, is_multicast
from .common_options import recall
from .control import Ancillary, parse_control
from .datagram_options import get_datagram_option, set_datagram_option
from .names import shown, split_zone, unmapped
from .options import int_option, option_int
from .rawtable import DirectSocket

if TYPE_CHECKING:
    from ...hyper.calls import Hypercalls
    from ..ip6.ipv6 import Ipv6
    from ..link.interfaces import Interfaces

_NOTHING: Final = Ancillary()
_LARGEST: Final = 0xFFFF


class Way(NamedTuple):
    """How a message goes."""

    destination: bytes
    source: bytes
    route: Route
    hops: int
    """-1 leaves it to the route."""
    traffic_class: int


class Ip6Socket(DirectSocket):
    """A socket that sends and gets messages of one protocol right over IPv6."""

    def __init__(
        self, ipv6: "Ipv6", hyper: "Hypercalls", devices: "Interfaces | None", family: int, kind: int, protocol: int
    ) -> None:
        super().__init__(family, kind, protocol, hyper)
        self.ipv6: Ipv6 = ipv6
        self.devices = devices
        self.local: bytes = ANY_V6
        self.remote: bytes = b""
        """b"" while not connected."""
        self.scope: int = 0
        """The interface that a link-local name of either end is of; 0 for any."""
        self.report_all: bool = False
        self.discover: int = IP_PMTUDISC_WANT
        self.hops: int = -1
        self.multicast_hops: int = 1
        self.traffic_class: int = 0
        self.group_zone: int = 0
        """IPV6_MULTICAST_IF."""
        self.loops: bool = True
        """IPV6_MULTICAST_LOOP."""
        self.memberships: Memberships | None = None

    # Names ---------------------------------------------------------------------------------------------

    def check_local(self, host: bytes, zone: int) -> None:
        """Whether the socket can be bound to an address.  Raises EADDRNOTAVAIL, EINVAL (link-local without a zone), ENODEV."""
        if len(unmapped(host)) == 4:
            raise error(EADDRNOTAVAIL)
        if is_link_local(host):
            if zone == 0:
                raise error(EINVAL)
            if self.devices is not None:
                self.devices.numbered(zone)
        if host != ANY_V6 and not is_multicast(host) and not self.ipv6.is_local(host):
            raise error(EADDRNOTAVAIL)

    def connected(self) -> bool:
        return len(self.remote) > 0

    def join_peer(self, host: bytes, zone: int) -> None:
        """Have a peer from now on.  Raises as `Ipv6.route`."""
        if len(unmapped(host)) == 4:
            raise error(ENETUNREACH)
        host = LOOPBACK_V6 if host == ANY_V6 else host
        route = self.ipv6.route(host, self._source(), zone or self._zone(host))
        self.scope = zone or self.scope
        if self.local == ANY_V6:
            self.local = route.source
        self.remote = host

    def local_address(self) -> SocketAddress:
        return shown(self.local, self.family, self.scope or self.zone), self.protocol

    def peer_address(self) -> SocketAddress:
        if not self.remote:
            raise error(ENOTCONN)
        return shown(self.remote, self.family, self.scope or self.zone), 0

    # Sending -------------------------------------------------------------------------------------------

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        return self.send_message(data[start:] if start else data, flags, destination, now, _NOTHING)

    def send_with(
        self,
        data: bytes,
        control: tuple[ControlMessage, ...],
        flags: int,
        destination: SocketAddress | None,
        now: Instant,
    ) -> int | Blocked:
        return self.send_message(data, flags, destination, now, parse_control(control))

    def send_message(
        self, data: bytes, flags: int, destination: SocketAddress | None, now: Instant, with_it: Ancillary
    ) -> int | Blocked:
        """As `send_with`, with its control messages read."""
        raise NotImplementedError

    def find_way(self, destination: SocketAddress | None, with_it: Ancillary) -> Way:
        """How to reach a destination, or the peer.  Raises EDESTADDRREQ, ENETUNREACH, EINVAL (the source isn't ours)."""
        host, zone = (self.remote, 0) if destination is None else split_zone(destination[0])
        if not host:
            raise error(EDESTADDRREQ)
        if len(unmapped(host)) == 4:
            raise error(ENETUNREACH)
        host = LOOPBACK_V6 if host == ANY_V6 else host
        source = with_it.source or self._source()
        if source is not None and not self.ipv6.is_local(source):
            raise error(EINVAL)
        route = self.ipv6.route(host, source, with_it.interface or zone or self._zone(host))
        hops = self.multicast_hops if is_multicast(host) else self.hops
        return Way(
            host,
            source or route.source,
            route,
            hops if with_it.ttl < 0 else with_it.ttl,
            self.traffic_class if with_it.tos < 0 else with_it.tos,
        )

    def transmit(self, message: bytes, way: Way, now: Instant) -> None:
        """Send a message.  Raises EMSGSIZE."""
        if len(message) > _LARGEST:
            raise error(EMSGSIZE)
        whole = self.discover in (IP_PMTUDISC_DO, IP_PMTUDISC_PROBE) or recall(self, IPPROTO_IPV6, IPV6_DONTFRAG) != 0
        frame = Frame(message)
        self.ipv6.output(
            frame,
            way.route,
            way.source,
            way.destination,
            self.protocol,
            now,
            way.hops,
            way.traffic_class,
            dont_fragment=whole,
        )
        self.echo_to_members(frame, way)

    def echo_to_members(self, frame: Frame, way: Way) -> None:
        """What was sent to a group goes to members on this host, too."""
        if self.loops and is_multicast(way.destination):
            self.ipv6.loop_back(frame, way.route, way.destination)

    def _source(self) -> bytes | None:
        return None if self.local == ANY_V6 or is_multicast(self.local) else self.local

    def _zone(self, host: bytes) -> int:
        """The interface to use for a destination that names none."""
        return self.zone or self.scope or (self.group_zone if is_multicast(host) else 0)

    # Options -------------------------------------------------------------------------------------------

    def get_option(self, level: int, name: int) -> bytes:
        row = _OPTIONS.get(name) if level == IPPROTO_IPV6 else None
        return get_datagram_option(self, level, name) if row is None else int_option(row.get(self))

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level != IPPROTO_IPV6:
            set_datagram_option(self, level, name, value)
            return
        row = _OPTIONS.get(name)
        if row is not None:
            number = option_int(value)
            if not row.low <= number <= row.high:
                raise error(EINVAL)
            row.set(self, number)
        elif not self._act_on_group(name, value):
            set_datagram_option(self, level, name, value)

    def _act_on_group(self, name: int, value: bytes) -> bool:
        """An option about groups; False if it is none."""
        from . import multicast6_options

        if name not in multicast6_options.ACTIONS:
            return False
        if self.memberships is None:
            self.memberships = Memberships(self.ipv6.memberships)
        multicast6_options.act(self.ipv6, self.memberships, name, value)
        return True

    def leave_groups(self) -> None:
        """The socket is closed."""
        if self.memberships is not None:
            self.memberships.close()


class _Row(NamedTuple):
    """An option that is a number from `low` to `high`."""

    get: Callable[[Ip6Socket], int]
    set: Callable[[Ip6Socket, int], None]
    low: int = -(1 << 31)
    high: int = (1 << 31) - 1


def _get_hops(socket: Ip6Socket) -> int:
    return socket.ipv6.default_ttl() if socket.hops < 0 else socket.hops


def _set_hops(socket: Ip6Socket, number: int) -> None:
    socket.hops = number


def _set_multicast_hops(socket: Ip6Socket, number: int) -> None:
    socket.multicast_hops = 1 if number < 0 else number


def _set_class(socket: Ip6Socket, number: int) -> None:
    socket.traffic_class = max(number, 0)


def _set_group_zone(socket: Ip6Socket, number: int) -> None:
    if number and socket.devices is not None:
        socket.devices.numbered(number)
    socket.group_zone = number


def _set_loops(socket: Ip6Socket, number: int) -> None:
    socket.loops = number != 0


def _set_report_all(socket: Ip6Socket, number: int) -> None:
    socket.report_all = number != 0
    if not socket.report_all:
        socket.mailbox.complaints = None


def _set_discover(socket: Ip6Socket, number: int) -> None:
    socket.discover = number


def _get_mtu(socket: Ip6Socket) -> int:
    if not socket.remote:
        raise error(ENOTCONN)
    return socket.ipv6.route(socket.remote, None, socket.scope).mtu


def _not_settable(socket: Ip6Socket, number: int) -> None:
    raise error(ENOPROTOOPT)


def _refuse(socket: Ip6Socket, number: int) -> None:
    raise error(EINVAL)


_OPTIONS: Final[dict[int, _Row]] = {
    IPV6_UNICAST_HOPS: _Row(_get_hops, _set_hops, -1, 255),
    IPV6_MULTICAST_HOPS: _Row(lambda socket: socket.multicast_hops, _set_multicast_hops, -1, 255),
    IPV6_MULTICAST_IF: _Row(lambda socket: socket.group_zone, _set_group_zone),
    IPV6_MULTICAST_LOOP: _Row(lambda socket: int(socket.loops), _set_loops, 0, 1),
    IPV6_TCLASS: _Row(lambda socket: socket.traffic_class, _set_class, -1, 255),
    IPV6_RECVERR: _Row(lambda socket: int(socket.report_all), _set_report_all),
    IPV6_MTU_DISCOVER: _Row(lambda socket: socket.discover, _set_discover, 0, 5),
    IPV6_MTU: _Row(_get_mtu, _not_settable),
    # A socket with a protocol of its own counts as bound, and then this can't be changed any more.
    IPV6_V6ONLY: _Row(lambda socket: 0, _refuse),
}
