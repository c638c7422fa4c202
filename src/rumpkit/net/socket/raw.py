"""Raw sockets: SOCK_RAW of AF_INET (Linux raw(7)), for root.

What is received are whole IP packets of one protocol, as they came; each socket gets a copy, and the transports get theirs.
What is sent gets an IP header, or has one (IP_HDRINCL), of which the kernel fills in length, checksum and what is zero.
"""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.abi.errno import (
    EACCES,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENOTCONN,
    EOPNOTSUPP,
    error,
)
from ...kern.abi.socket import (
    IP_MTU_DISCOVER,
    IP_PMTUDISC_DO,
    IP_PMTUDISC_PROBE,
    IP_PMTUDISC_WANT,
    IP_RECVERR,
    IP_TOS,
    IP_TTL,
    IPPROTO_ICMP,
    IPPROTO_IP,
    MSG_OOB,
    SO_BROADCAST,
    SOL_SOCKET,
)
from ...kern.socket import ControlMessage, SocketAddress
from ...kern.wait import Blocked
from ..ip.ipv4 import Ipv4
from ..link.interfaces import Interfaces
from ..transport.mailbox import Letter
from ..wire.address import ANY_V4, LOOPBACK_V4, is_multicast
from ..wire.ipv4 import HEADER_SIZE, MAX_PACKET_SIZE, emit_ipv4_header, parse_ipv4_header
from .control import Ancillary, parse_control
from .datagram_options import get_datagram_option, set_datagram_option
from .options import int_option, option_byte, option_int
from .rawtable import PROTOCOL_RAW, DirectSocket, RawTable

SOL_RAW: Final = 255
ICMP_FILTER: Final = 1
IP_HDRINCL: Final = 3
IP_MULTICAST_TTL: Final = 33


@final
class RawSockets(RawTable):
    """All raw sockets of IPv4 of one kernel."""

    def __init__(self, ipv4: Ipv4, hyper: Hypercalls, devices: Interfaces) -> None:
        super().__init__(ipv4)
        self.ipv4: Ipv4 = ipv4
        self._hyper: Hypercalls = hyper
        self._devices: Interfaces = devices

    def made(self, family: int, kind: int, protocol: int) -> "RawSocket":
        return RawSocket(self, self._hyper, self._devices, family, kind, protocol)

    def letters(self, packet: bytes, network: int, transport: int) -> tuple[Letter, bytes] | None:
        header = parse_ipv4_header(packet, network, len(packet) - network)
        if header is None:
            return None
        data = packet[network : int(header.end)]
        ttl, tos = data[8], data[1]
        return Letter(data, header.source, 0, header.destination, ttl, tos), data[int(header.transport) - network :]


@final
class RawSocket(DirectSocket):
    """One raw socket of IPv4."""

    def __init__(
        self, sockets: RawSockets, hyper: Hypercalls, devices: Interfaces, family: int, kind: int, protocol: int
    ) -> None:
        super().__init__(family, kind, protocol, hyper)
        self._sockets: RawSockets = sockets
        self._ipv4: Ipv4 = sockets.ipv4
        self.devices = devices
        self.local: bytes = ANY_V4
        self.remote: bytes = b""
        self.report_all: bool = False
        self.discover: int = IP_PMTUDISC_WANT
        self._header_included: bool = protocol == PROTOCOL_RAW
        self._refused_types: int = 0
        """ICMP_FILTER: a bit for each ICMP type that isn't wanted."""
        self._broadcast: bool = False
        self._numbers: dict[int, int] = {
            IP_TTL: -1,  # leaves it to the network
            IP_TOS: 0,
            IP_MULTICAST_TTL: 1,
        }

    def wants(self, letter: Letter, data: bytes) -> bool:
        if self.local != ANY_V4 and letter.destination != self.local:
            return False
        if self.remote and letter.source != self.remote:
            return False
        if self.zone and (letter.interface is None or letter.interface.index != self.zone):
            return False
        if self.protocol == IPPROTO_ICMP and self._refused_types and data:
            kind = data[0]
            return kind >= 32 or not self._refused_types >> kind & 1
        return True

    def connected(self) -> bool:
        return len(self.remote) > 0

    def close(self, now: Instant) -> None:
        self._sockets.forget(self)
        self.mailbox.clear()

    def bind(self, address: SocketAddress) -> None:
        if len(address[0]) != 4:
            raise error(EAFNOSUPPORT)
        if address[0] != ANY_V4 and not self._ipv4.is_local(address[0]) and not is_multicast(address[0]):
            raise error(EADDRNOTAVAIL)
        self.local = address[0]

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        if not address[0]:
            self.remote = b""
            return None
        peer = _peer(address[0])
        route = self._ipv4.route(peer, self._source())
        if route.broadcast and not self._broadcast:
            raise error(EACCES)
        if self.local == ANY_V4:
            self.local = route.source
        self.remote = peer
        return None

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        return self._send(data[start:], flags, destination, now, Ancillary())

    def send_with(
        self,
        data: bytes,
        control: tuple[ControlMessage, ...],
        flags: int,
        destination: SocketAddress | None,
        now: Instant,
    ) -> int | Blocked:
        return self._send(data, flags, destination, now, parse_control(control))

    def _send(
        self, payload: bytes, flags: int, destination: SocketAddress | None, now: Instant, with_it: Ancillary
    ) -> int | Blocked:
        if flags & MSG_OOB:
            raise error(EOPNOTSUPP)
        if destination is None and not self.remote:
            raise error(EDESTADDRREQ)
        peer = _peer(self.remote if destination is None else destination[0])
        if len(payload) > MAX_PACKET_SIZE:
            raise error(EMSGSIZE)
        source = with_it.source or self._source()
        if with_it.source is not None and not self._ipv4.is_local(with_it.source):
            raise error(EINVAL)
        zone = with_it.interface or self.zone
        route = self._ipv4.route(peer, None if self._header_included else source, zone)
        if route.broadcast and not self._broadcast:
            raise error(EACCES)
        self.check_sending()
        if self._header_included:
            packet = self._completed(payload, route.source)
            if len(packet) > route.mtu:
                raise error(EMSGSIZE)
            route.interface.output(Frame(packet), route.next_hop, now)
        else:
            ttl = self._numbers[IP_MULTICAST_TTL if is_multicast(peer) else IP_TTL]
            ttl, tos = (
                ttl if with_it.ttl < 0 else with_it.ttl,
                self._numbers[IP_TOS] if with_it.tos < 0 else with_it.tos,
            )
            self._ipv4.output(
                Frame(payload),
                route,
                source or route.source,
                peer,
                self.protocol,
                now,
                ttl,
                tos,
                dont_fragment=self.discover in (IP_PMTUDISC_DO, IP_PMTUDISC_PROBE),
            )
        return len(payload)

    def _completed(self, packet: bytes, source: bytes) -> bytes:
        """A packet of the caller's with what the kernel fills in: length and checksum always, source and identification where
        they are zero (raw(7)).  Raises EINVAL for what is no IPv4 header."""
        size = (packet[0] & 0xF) << 2 if packet else 0
        if size < HEADER_SIZE or len(packet) < size or packet[0] >> 4 != 4:
            raise error(EINVAL)
        field = packet[6] << 8 | packet[7]
        number = packet[4] << 8 | packet[5] or self._ipv4.next_identification()
        return (
            emit_ipv4_header(
                packet[12:16] if any(packet[12:16]) else source,
                packet[16:20],
                packet[9],
                len(packet) - size,
                number,
                field,
                packet[8],
                packet[1],
                packet[HEADER_SIZE:size],
            )
            + packet[size:]
        )

    def _source(self) -> bytes | None:
        return None if self.local == ANY_V4 or is_multicast(self.local) else self.local

    def local_address(self) -> SocketAddress:
        return self.local, self.protocol

    def peer_address(self) -> SocketAddress:
        if not self.remote:
            raise error(ENOTCONN)
        return self.remote, 0

    def get_option(self, level: int, name: int) -> bytes:
        if level == IPPROTO_IP and name in self._numbers:
            number = self._numbers[name]
            return int_option(self._ipv4.default_ttl() if number < 0 else number)
        if level == IPPROTO_IP and name == IP_HDRINCL:
            return int_option(int(self._header_included))
        if level == SOL_SOCKET and name == SO_BROADCAST:
            return int_option(int(self._broadcast))
        if level == SOL_RAW and name == ICMP_FILTER:
            if self.protocol != IPPROTO_ICMP:
                raise error(EOPNOTSUPP)
            return self._refused_types.to_bytes(4, "little")
        if level == IPPROTO_IP and name in (IP_RECVERR, IP_MTU_DISCOVER):
            return int_option(int(self.report_all) if name == IP_RECVERR else self.discover)
        return get_datagram_option(self, level, name)

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level == IPPROTO_IP and name in self._numbers:
            number = option_byte(value)
            low = 1 if name == IP_TTL else 0
            if not low <= number <= 255 and (name, number) != (IP_TTL, -1):
                raise error(EINVAL)
            self._numbers[name] = number
        elif level == IPPROTO_IP and name == IP_HDRINCL:
            self._header_included = option_byte(value) != 0
        elif level == SOL_SOCKET and name == SO_BROADCAST:
            self._broadcast = option_int(value) != 0
        elif level == SOL_RAW and name == ICMP_FILTER:
            if self.protocol != IPPROTO_ICMP:
                raise error(EOPNOTSUPP)
            self._refused_types = option_int(value) & 0xFFFFFFFF
        elif level == IPPROTO_IP and name == IP_RECVERR:
            self.report_all = option_byte(value) != 0
            if not self.report_all:
                self.mailbox.complaints = None
        elif level == IPPROTO_IP and name == IP_MTU_DISCOVER:
            how = option_byte(value)
            if not 0 <= how <= 5:
                raise error(EINVAL)
            self.discover = how
        else:
            set_datagram_option(self, level, name, value)

    def describe(self) -> str:
        return f"raw {self.protocol}"


def _peer(address: bytes) -> bytes:
    if len(address) != 4:
        raise error(EAFNOSUPPORT)
    return LOOPBACK_V4 if address == ANY_V4 else address
