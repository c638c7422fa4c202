"""Raw sockets: SOCK_RAW of AF_INET (Linux raw(7)), for root.

What is received are whole IP packets of one protocol, as they came; each socket gets a copy, and the transports get theirs.
What is sent gets an IP header, or has one (IP_HDRINCL), of which the kernel fills in length, checksum and what is zero.
"""

from typing import Final, final

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.abi.errno import (
    EACCES,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EINVAL,
    EMSGSIZE,
    ENOTCONN,
    EOPNOTSUPP,
    EPROTONOSUPPORT,
    error,
)
from ...kern.abi.socket import IP_TOS, IP_TTL, IPPROTO_ICMP, IPPROTO_IP, MSG_OOB, SO_BROADCAST, SOL_SOCKET
from ...kern.socket import SocketAddress
from ...kern.wait import Blocked
from ..ip.contract import RawInput
from ..ip.ipv4 import Ipv4
from ..wire.address import ANY_V4, LOOPBACK_V4, is_multicast
from ..wire.ipv4 import HEADER_SIZE, MAX_PACKET_SIZE, emit_ipv4_header, parse_ipv4_header
from ..wire.offload import finish
from .inbox import InboxSocket
from .options import int_option, option_byte, option_int

SOL_RAW: Final = 255
ICMP_FILTER: Final = 1
IP_HDRINCL: Final = 3
IP_MULTICAST_TTL: Final = 33
PROTOCOL_RAW: Final = 255


@final
class RawSockets(RawInput):
    """All raw sockets of one kernel, by protocol."""

    def __init__(self, ipv4: Ipv4) -> None:
        self.ipv4: Ipv4 = ipv4
        self._sockets: dict[int, list[RawSocket]] = {}

    def make(self, family: int, kind: int, protocol: int) -> "RawSocket":
        """A new socket.  Raises EPROTONOSUPPORT for protocol 0, EINVAL for what is none."""
        if protocol == 0:
            raise error(EPROTONOSUPPORT)
        if not 0 < protocol <= PROTOCOL_RAW:
            raise error(EINVAL)
        made = RawSocket(self, family, kind, protocol)
        self._sockets.setdefault(protocol, []).append(made)
        self.ipv4.raw = self
        return made

    def forget(self, socket: "RawSocket") -> None:
        """A socket is closed."""
        sockets = self._sockets.get(socket.protocol, [])
        if socket in sockets:
            sockets.remove(socket)
        if not sockets:
            self._sockets.pop(socket.protocol, None)
        if not self._sockets:
            self.ipv4.raw = None

    def all(self) -> "list[RawSocket]":
        """Every one that is open."""
        return [socket for sockets in self._sockets.values() for socket in sockets]

    def take(self, frame: Frame, network: int, protocol: int, now: Instant) -> bool:
        sockets = self._sockets.get(protocol)
        if sockets is None:
            return False
        taken = False
        for piece in finish(frame, 0):  # as on a wire: no super-segments, no missing checksums
            packet = piece.linear()
            header = parse_ipv4_header(packet, network, len(packet) - network)
            if header is None:
                continue
            data = packet[network : int(header.end)]
            payload = int(header.transport) - network
            for socket in list(sockets):
                if socket.wants(header.source, header.destination, data, payload):
                    socket.put(data, (header.source, 0))
                    taken = True
        return taken


@final
class RawSocket(InboxSocket):
    """One raw socket."""

    def __init__(self, sockets: RawSockets, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._sockets: RawSockets = sockets
        self._ipv4: Ipv4 = sockets.ipv4
        self._local: bytes = ANY_V4
        self._remote: bytes = b""
        self._header_included: bool = protocol == PROTOCOL_RAW
        self._refused_types: int = 0
        """ICMP_FILTER: a bit for each ICMP type that isn't wanted."""
        self._broadcast: bool = False
        self._numbers: dict[int, int] = {
            IP_TTL: -1,  # leaves it to the network
            IP_TOS: 0,
            IP_MULTICAST_TTL: 1,
        }

    def wants(self, source: bytes, destination: bytes, packet: bytes, payload: int) -> bool:
        """Whether a packet of the protocol is for this socket."""
        if self._local != ANY_V4 and destination != self._local:
            return False
        if self._remote and source != self._remote:
            return False
        if self.protocol == IPPROTO_ICMP and self._refused_types and payload < len(packet):
            kind = packet[payload]
            return kind >= 32 or not self._refused_types >> kind & 1
        return True

    def close(self, now: Instant) -> None:
        self._sockets.forget(self)
        self.clear()

    def bind(self, address: SocketAddress) -> None:
        if len(address[0]) != 4:
            raise error(EAFNOSUPPORT)
        if address[0] != ANY_V4 and not self._ipv4.is_local(address[0]) and not is_multicast(address[0]):
            raise error(EADDRNOTAVAIL)
        self._local = address[0]

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        if not address[0]:
            self._remote = b""
            return None
        peer = _peer(address[0])
        route = self._ipv4.route(peer, self._source())
        if route.broadcast and not self._broadcast:
            raise error(EACCES)
        if self._local == ANY_V4:
            self._local = route.source
        self._remote = peer
        return None

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        if flags & MSG_OOB:
            raise error(EOPNOTSUPP)
        peer = _peer(self.destination_or(destination, self._remote))
        payload = data[start:]
        if len(payload) > MAX_PACKET_SIZE:
            raise error(EMSGSIZE)
        route = self._ipv4.route(peer, None if self._header_included else self._source())
        if route.broadcast and not self._broadcast:
            raise error(EACCES)
        if self._header_included:
            packet = self._completed(payload, route.source)
            if len(packet) > route.mtu:
                raise error(EMSGSIZE)
            route.interface.output(Frame(packet), route.next_hop, now)
        else:
            ttl = self._numbers[IP_MULTICAST_TTL if is_multicast(peer) else IP_TTL]
            source = self._source() or route.source
            self._ipv4.output(
                Frame(payload), route, source, peer, self.protocol, now, ttl, self._numbers[IP_TOS], dont_fragment=False
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
        return None if self._local == ANY_V4 or is_multicast(self._local) else self._local

    def ends(self) -> tuple[bytes, int, bytes]:
        """The local address, the protocol, and the peer's address or b""."""
        return self._local, self.protocol, self._remote

    def local_address(self) -> SocketAddress:
        return self._local, self.protocol

    def peer_address(self) -> SocketAddress:
        if not self._remote:
            raise error(ENOTCONN)
        return self._remote, 0

    def shutdown(self, how: int, now: Instant) -> None:
        self.peer_address()

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
        return super().get_option(level, name)

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
        else:
            super().set_option(level, name, value)

    def describe(self) -> str:
        return f"raw {self.protocol}"


def _peer(address: bytes) -> bytes:
    if len(address) != 4:
        raise error(EAFNOSUPPORT)
    return LOOPBACK_V4 if address == ANY_V4 else address
