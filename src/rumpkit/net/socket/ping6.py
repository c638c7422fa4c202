"""Ping sockets of IPv6: SOCK_DGRAM over ICMPv6 echo, as `ping` has them for IPv4."""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.time import Instant
from ...kern.abi.errno import EADDRNOTAVAIL, EAFNOSUPPORT, EDESTADDRREQ, EINVAL, EMSGSIZE, ENOTCONN, error
from ...kern.abi.socket import IPPROTO_IPV6, IPV6_RECVERR, IPV6_UNICAST_HOPS
from ...kern.socket import SocketAddress
from ...kern.wait import Blocked
from ..ip6.icmp import Icmp6
from ..ip6.ipv6 import Ipv6
from ..wire.address import ANY_V6, LOOPBACK_V6
from ..wire.icmpv6 import ECHO_REQUEST, Icmp6Message
from .datagram import DatagramSocket
from .datagram_options import get_datagram_option, set_datagram_option
from .names import shown, split_zone
from .options import int_option, option_int
from .ping import PingInbox, take_identifier

_HEADER_SIZE: Final = 8
_MAX_MESSAGE: Final = 0xFFFF


@final
class Ping6Socket(DatagramSocket):
    """A socket over ICMPv6 echo.  The identifier takes the place of a port."""

    def __init__(self, icmp: Icmp6, ipv6: Ipv6, hyper: Hypercalls, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol, hyper)
        self._icmp: Icmp6 = icmp
        self._ipv6: Ipv6 = ipv6
        self._inbox: PingInbox = PingInbox(self.mailbox)
        self._inbox.owner = self
        self._identifier: int = 0
        self._local: bytes = ANY_V6
        self._hops: int = 0
        """0 leaves it to the route."""

    def close(self, now: Instant) -> None:
        if self._identifier:
            del self._icmp.pingers[self._identifier]
            self._identifier = 0

    def bind(self, address: SocketAddress) -> None:
        host, zone = self._plain(address)
        if self._identifier:
            raise error(EINVAL)
        if host != ANY_V6 and not self._ipv6.is_local(host):
            raise error(EADDRNOTAVAIL)
        self._identifier = take_identifier(self.hyper, self._icmp.pingers, self._inbox, address[1])
        self._local = host
        self.zone = zone or self.zone

    def connected(self) -> bool:
        return len(self._inbox.remote) > 0

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        """As POSIX connect; the address (b"", 0) disconnects (AF_UNSPEC)."""
        if not address[0]:
            self._inbox.remote = b""
            return None
        host, zone = self._plain(address)
        self.zone = zone or self.zone
        route = self._ipv6.route(host, None, self.zone)
        if self._identifier == 0:
            self._identifier = take_identifier(self.hyper, self._icmp.pingers, self._inbox, 0)
        if self._local == ANY_V6:
            self._local = route.source
        self._inbox.remote = host
        return None

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        self.check_sending()
        host, zone = (self._inbox.remote, 0) if destination is None else self._plain(destination)
        if not host:
            raise error(EDESTADDRREQ)
        payload = data[start:] if start else data
        if len(payload) > _MAX_MESSAGE:
            raise error(EMSGSIZE)
        if len(payload) < _HEADER_SIZE or payload[0] != ECHO_REQUEST or payload[1] != 0:
            raise error(EINVAL)
        if self._identifier == 0:
            self._identifier = take_identifier(self.hyper, self._icmp.pingers, self._inbox, 0)
        rest = self._identifier << 16 | payload[6] << 8 | payload[7]
        message = Icmp6Message(ECHO_REQUEST, 0, rest, payload[_HEADER_SIZE:])
        source = None if self._local == ANY_V6 else self._local
        self._icmp.send(message, source, host, self._hops, 0, now, zone or self.zone)
        return len(payload)

    def local_address(self) -> SocketAddress:
        return shown(self._local, self.family, self.zone), self._identifier

    def peer_address(self) -> SocketAddress:
        if not self._inbox.remote:
            raise error(ENOTCONN)
        return shown(self._inbox.remote, self.family, self.zone), 0

    def get_option(self, level: int, name: int) -> bytes:
        if (level, name) == (IPPROTO_IPV6, IPV6_UNICAST_HOPS):
            return int_option(self._hops or self._ipv6.default_ttl())
        if (level, name) == (IPPROTO_IPV6, IPV6_RECVERR):
            return int_option(int(self._inbox.report_all))
        return get_datagram_option(self, level, name)

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if (level, name) == (IPPROTO_IPV6, IPV6_UNICAST_HOPS):
            hops = option_int(value)
            if not -1 <= hops <= 255:
                raise error(EINVAL)
            self._hops = max(hops, 0)
        elif (level, name) == (IPPROTO_IPV6, IPV6_RECVERR):
            self._inbox.report_all = option_int(value) != 0
        else:
            set_datagram_option(self, level, name, value)

    def describe(self) -> str:
        return f"ping6 {self._identifier}"

    def _plain(self, address: SocketAddress) -> tuple[bytes, int]:
        """An address without its zone, and that; the wildcard means this kernel itself when something is sent there."""
        host, zone = split_zone(address[0])
        if len(host) != 16:
            raise error(EAFNOSUPPORT)
        return (LOOPBACK_V6 if host == ANY_V6 and self._identifier else host), zone
