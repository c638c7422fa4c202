"""Ping sockets: SOCK_DGRAM over ICMP, as Linux's icmp(7) has them, so that a ping needs no privilege.

What is sent is an ICMP echo request, whose identifier and checksum the kernel fills in; what is received is the echo
reply from its ICMP header on.  The identifier takes the place of a port.
"""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.abi.errno import (
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENOTCONN,
    error,
)
from ...kern.abi.socket import IP_PMTUDISC_WANT, IP_RECVERR, IP_TOS, IP_TTL, IPPROTO_IP, SO_BROADCAST, SOL_SOCKET
from ...kern.socket import ControlMessage, SocketAddress
from ...kern.wait import Blocked
from ..ip.contract import Network
from ..ip.icmp import Icmp, Pinger
from ..ip.ipv4 import Ipv4
from ..transport.mailbox import Letter, Mailbox
from ..transport.udp_endpoint import complaint_of, heed
from ..wire.address import ANY_V4, LOOPBACK_V4
from ..wire.icmp import ECHO, HEADER_SIZE, IcmpMessage
from ..wire.ipv4 import MAX_PACKET_SIZE
from .control import Ancillary, parse_control
from .datagram import DatagramSocket
from .datagram_options import get_datagram_option, set_datagram_option
from .options import int_option, option_byte, option_int

_MAX_MESSAGE: Final = MAX_PACKET_SIZE - 20


def destination_of(address: SocketAddress) -> SocketAddress:
    """A peer's address to send to; the wildcard means this kernel itself, as on Linux.  Raises EAFNOSUPPORT."""
    if len(address[0]) != 4:
        raise error(EAFNOSUPPORT)
    return (LOOPBACK_V4, address[1]) if address[0] == ANY_V4 else address


@final
class PingInbox(Pinger):
    """Puts replies into a socket's mailbox."""

    def __init__(self, mailbox: Mailbox, network: Network) -> None:
        self.mailbox: Mailbox = mailbox
        self.network: Network = network
        self.owner: DatagramSocket | None = None
        """For listings."""
        self.remote: bytes = b""
        self.report_all: bool = False

    def answered(self, source: bytes, destination: bytes, message: bytes, ttl: int, tos: int, now: Instant) -> None:
        if not self.remote or self.remote == source:
            self.mailbox.put(Letter(message, source, 0, destination, ttl, tos, self.network.incoming, now))

    def refused(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        if self.report_all or self.remote == destination:
            complaint = complaint_of(self.network.reported, source, destination, errno, mtu, 0, quoted)
            heed(self.mailbox, errno, self.remote == destination, complaint, self.report_all, IP_PMTUDISC_WANT)


@final
class PingSocket(DatagramSocket):
    """A socket over ICMP echo."""

    def __init__(self, icmp: Icmp, ipv4: Ipv4, hyper: Hypercalls, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol, hyper)
        self._icmp: Icmp = icmp
        self._ipv4: Ipv4 = ipv4
        self._inbox: PingInbox = PingInbox(self.mailbox, ipv4)
        self._inbox.owner = self
        self._identifier: int = 0
        self._local: bytes = ANY_V4
        self._ttl: int = -1
        """-1 leaves it to the network."""
        self._tos: int = 0
        self._broadcast: bool = False

    def close(self, now: Instant) -> None:
        if self._identifier:
            del self._icmp.pingers[self._identifier]
            self._identifier = 0

    def bind(self, address: SocketAddress) -> None:
        if len(address[0]) != 4:
            raise error(EAFNOSUPPORT)
        if self._identifier:
            raise error(EINVAL)
        if address[0] != ANY_V4 and not self._ipv4.is_local(address[0]):
            raise error(EADDRNOTAVAIL)
        self._identifier = take_identifier(self.hyper, self._icmp.pingers, self._inbox, address[1])
        self._local = address[0]

    def connected(self) -> bool:
        return len(self._inbox.remote) > 0

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        if not address[0]:
            self._inbox.remote = b""
            return None
        peer = destination_of(address)[0]
        route = self._ipv4.route(peer)
        if self._identifier == 0:
            self._identifier = take_identifier(self.hyper, self._icmp.pingers, self._inbox, 0)
        if self._local == ANY_V4:
            self._local = route.source
        self._inbox.remote = peer
        return None

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        return self._send(data[start:], destination, now, Ancillary())

    def send_with(
        self,
        data: bytes,
        control: tuple[ControlMessage, ...],
        flags: int,
        destination: SocketAddress | None,
        now: Instant,
    ) -> int | Blocked:
        return self._send(data, destination, now, parse_control(control))

    def _send(
        self, payload: bytes, destination: SocketAddress | None, now: Instant, with_it: Ancillary
    ) -> int | Blocked:
        self.check_sending()
        peer = self._inbox.remote if destination is None else destination_of(destination)[0]
        if not peer:
            raise error(EDESTADDRREQ)
        if len(payload) > _MAX_MESSAGE:
            raise error(EMSGSIZE)
        if len(payload) < HEADER_SIZE or payload[0] != ECHO or payload[1] != 0:
            raise error(EINVAL)
        if self._identifier == 0:
            self._identifier = take_identifier(self.hyper, self._icmp.pingers, self._inbox, 0)
        rest = self._identifier << 16 | payload[6] << 8 | payload[7]
        message = IcmpMessage(ECHO, 0, rest, payload[HEADER_SIZE:])
        source = with_it.source or (None if self._local == ANY_V4 else self._local)
        if source is not None and not self._ipv4.is_local(source):
            raise error(EINVAL)
        if self._ipv4.route(peer, source).broadcast and not self._broadcast:
            raise error(EACCES)
        ttl = self._ttl if with_it.ttl < 0 else with_it.ttl
        self._icmp.send(Frame(message.emit()), source, peer, ttl, self._tos if with_it.tos < 0 else with_it.tos, now)
        self._icmp.counters.echo_requests_out += 1
        return len(payload)

    def local_address(self) -> SocketAddress:
        return self._local, self._identifier

    def peer_address(self) -> SocketAddress:
        if not self._inbox.remote:
            raise error(ENOTCONN)
        return self._inbox.remote, 0

    def get_option(self, level: int, name: int) -> bytes:
        values = {
            (IPPROTO_IP, IP_TTL): self._ipv4.default_ttl() if self._ttl < 0 else self._ttl,
            (IPPROTO_IP, IP_TOS): self._tos,
            (IPPROTO_IP, IP_RECVERR): int(self._inbox.report_all),
            (SOL_SOCKET, SO_BROADCAST): int(self._broadcast),
        }
        if (level, name) not in values:
            return get_datagram_option(self, level, name)
        return int_option(values[level, name])

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if (level, name) == (IPPROTO_IP, IP_TTL):
            ttl = option_int(value)
            if ttl != -1 and not 1 <= ttl <= 255:
                raise error(EINVAL)
            self._ttl = ttl
        elif (level, name) == (IPPROTO_IP, IP_TOS):
            self._tos = option_byte(value) & 0xFC
        elif (level, name) == (IPPROTO_IP, IP_RECVERR):
            self._inbox.report_all = option_int(value) != 0
            if not self._inbox.report_all:
                self.mailbox.complaints = None
        elif (level, name) == (SOL_SOCKET, SO_BROADCAST):
            self._broadcast = option_int(value) != 0
        else:
            set_datagram_option(self, level, name, value)

    def describe(self) -> str:
        return f"ping {self._identifier}"


def take_identifier(hyper: Hypercalls, pingers: dict[int, Pinger], inbox: PingInbox, wanted: int) -> int:
    """Hold an identifier that nobody pings under yet, `wanted` unless that is 0.  Raises EADDRINUSE."""
    if wanted == 0:
        offset = int.from_bytes(hyper.random(2), "big")
        for step in range(0xFFFF):
            wanted = (offset + step) % 0xFFFF + 1
            if wanted not in pingers:
                break
    if wanted in pingers:
        raise error(EADDRINUSE)
    pingers[wanted] = inbox
    return wanted
