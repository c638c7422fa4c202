"""Ping sockets of IPv6: SOCK_DGRAM over ICMPv6 echo, as `ping` has them for IPv4."""

from typing import TYPE_CHECKING, Final, final

from ...hyper.calls import Hypercalls
from ...hyper.time import Instant
from ...kern.abi.errno import EAFNOSUPPORT, EINVAL, EMSGSIZE, EOPNOTSUPP, error
from ...kern.abi.socket import MSG_OOB
from ...kern.socket import SocketAddress
from ...kern.wait import Blocked
from ..ip6.icmp import Icmp6
from ..ip6.ipv6 import Ipv6
from ..wire.address import ANY_V6
from ..wire.icmpv6 import ECHO_REQUEST, Icmp6Message
from .control import Ancillary
from .ip6socket import Ip6Socket
from .names import split_zone
from .ping import PingInbox, take_identifier

if TYPE_CHECKING:
    from ..link.interfaces import Interfaces

_HEADER_SIZE: Final = 8
_MAX_MESSAGE: Final = 0xFFFF


@final
class Ping6Socket(Ip6Socket):
    """A socket over ICMPv6 echo.  The identifier takes the place of a port."""

    def __init__(
        self,
        icmp: Icmp6,
        ipv6: Ipv6,
        hyper: Hypercalls,
        devices: "Interfaces | None",
        family: int,
        kind: int,
        protocol: int,
    ) -> None:
        super().__init__(ipv6, hyper, devices, family, kind, protocol)
        self._icmp: Icmp6 = icmp
        self._inbox: PingInbox = PingInbox(self.mailbox, ipv6)
        self._inbox.owner = self
        self._identifier: int = 0
        self._bound: bytes = ANY_V6
        """The address it was bound to, for when it is disconnected again."""

    def close(self, now: Instant) -> None:
        self.leave_groups()
        if self._identifier:
            del self._icmp.pingers[self._identifier]
            self._identifier = 0

    def bind(self, address: SocketAddress) -> None:
        host, zone = self._plain(address)
        if self._identifier:
            raise error(EINVAL)
        self.check_local(host, zone or self.zone)
        self._identifier = take_identifier(self.hyper, self._icmp.pingers, self._inbox, address[1])
        self.local = self._bound = host
        self.scope = zone

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        """As POSIX connect; the address (b"", 0) disconnects (AF_UNSPEC)."""
        if not address[0]:
            self.remote = self._inbox.remote = b""
            self.local = self._bound
            return None
        self.join_peer(*self._plain(address))
        self._identify()
        self._inbox.remote = self.remote
        return None

    def send_message(
        self, data: bytes, flags: int, destination: SocketAddress | None, now: Instant, with_it: Ancillary
    ) -> int | Blocked:
        self.check_sending()
        if destination is not None:
            self._plain(destination)
        if len(data) > _MAX_MESSAGE:
            raise error(EMSGSIZE)
        if flags & MSG_OOB:
            raise error(EOPNOTSUPP)
        way = self.find_way(destination, with_it)
        if len(data) < _HEADER_SIZE or data[0] != ECHO_REQUEST or data[1] != 0:
            raise error(EINVAL)
        self._identify()
        rest = self._identifier << 16 | data[6] << 8 | data[7]
        message = Icmp6Message(ECHO_REQUEST, 0, rest, data[_HEADER_SIZE:])
        self.transmit(message.emit(way.source, way.destination), way, now)
        self._icmp.counters.sent[ECHO_REQUEST] += 1
        return len(data)

    def local_address(self) -> SocketAddress:
        return super().local_address()[0], self._identifier

    def set_option(self, level: int, name: int, value: bytes) -> None:
        super().set_option(level, name, value)
        self._inbox.report_all = self.report_all

    def describe(self) -> str:
        return f"ping6 {self._identifier}"

    def _identify(self) -> None:
        if self._identifier == 0:
            self._identifier = take_identifier(self.hyper, self._icmp.pingers, self._inbox, 0)

    def _plain(self, address: SocketAddress) -> tuple[bytes, int]:
        """An address without its zone, and that.  Raises EAFNOSUPPORT."""
        host, zone = split_zone(address[0])
        if len(host) != 16:
            raise error(EAFNOSUPPORT)
        return host, zone
