"""Raw sockets of IPv6 (RFC 3542, Linux's raw(7) and ipv6(7)), for root.

What is received is what lies behind the IPv6 header and its extensions, never these: control messages tell of them.  The kernel
computes ICMPv6's checksum, and that of other protocols where IPV6_CHECKSUM says at which offset; what comes with a wrong one is
dropped then.  With IPV6_HDRINCL what is sent is a whole packet, and goes as it is.
"""

from typing import TYPE_CHECKING, Final, final

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.abi.errno import (
    EAFNOSUPPORT,
    EFAULT,
    EINVAL,
    EMSGSIZE,
    ENOPROTOOPT,
    EOPNOTSUPP,
    error,
)
from ...kern.abi.socket import IP_PMTUDISC_DO, IPPROTO_ICMPV6, IPPROTO_IPV6, IPV6_CHECKSUM, IPV6_HDRINCL, MSG_OOB
from ...kern.socket import SocketAddress
from ...kern.wait import Blocked
from ..transport.mailbox import Complaint, Letter
from ..wire.address import ANY_V6, is_multicast
from ..wire.checksum import internet_checksum, pseudo_sum
from ..wire.ipv6 import HEADER_SIZE, parse_ipv6_header
from .control import Ancillary
from .ip6socket import Ip6Socket, Way
from .names import split_zone
from .options import int_option, option_int
from .rawtable import PROTOCOL_RAW, RawTable

if TYPE_CHECKING:
    from ...hyper.calls import Hypercalls
    from ..ip6.ipv6 import Ipv6
    from ..link.interfaces import Interfaces

SOL_RAW: Final = 255
ICMP6_FILTER: Final = 1
"""At level IPPROTO_ICMPV6: a bit for each type that isn't wanted (struct icmp6_filter)."""
FILTER_SIZE: Final = 32
PROTOCOL_UDP: Final = 17
PROTOCOL_MOBILITY: Final = 135
_CHECKSUM_AT: Final = {IPPROTO_ICMPV6: 2, PROTOCOL_MOBILITY: 4}
"""Protocols whose checksum the kernel computes unasked."""


@final
class Raw6Table(RawTable):
    """All raw sockets of IPv6 of one kernel."""

    def __init__(self, ipv6: "Ipv6", hyper: "Hypercalls", devices: "Interfaces") -> None:
        super().__init__(ipv6)
        self.ipv6: Ipv6 = ipv6
        self._hyper: Hypercalls = hyper
        self._devices: Interfaces = devices

    def made(self, family: int, kind: int, protocol: int) -> "Raw6Socket":
        return Raw6Socket(self, self._hyper, self._devices, family, kind, protocol)

    def letters(self, packet: bytes, network: int, transport: int) -> tuple[Letter, bytes] | None:
        header = parse_ipv6_header(packet, network, len(packet) - network)
        if header is None or transport > header.end:
            return None
        data = packet[transport : int(header.end)]
        hops, traffic_class = int(header.hop_limit), int(header.traffic_class)
        return Letter(data, header.source, 0, header.destination, hops, traffic_class), data


@final
class Raw6Socket(Ip6Socket):
    """One raw socket of IPv6."""

    def __init__(
        self, table: Raw6Table, hyper: "Hypercalls", devices: "Interfaces", family: int, kind: int, protocol: int
    ) -> None:
        super().__init__(table.ipv6, hyper, devices, family, kind, protocol)
        self._table: Raw6Table = table
        self._port: int = protocol
        """What its name has for a port."""
        self._peer_port: int = 0
        self._header_included: bool = protocol == PROTOCOL_RAW
        self._checksum_at: int = _CHECKSUM_AT.get(protocol, -1)
        self._refused: int = 0
        """ICMP6_FILTER as a number, bit by type."""

    def close(self, now: Instant) -> None:
        self.leave_groups()
        self._table.forget(self)
        self.mailbox.clear()

    def wants(self, letter: Letter, data: bytes) -> bool:
        destination, source = letter.destination, letter.source
        index = 0 if letter.interface is None else letter.interface.index
        zone = self.zone or self.scope
        if zone and zone != index:
            return False
        if self.remote and source != self.remote:
            return False
        if self.local != ANY_V6 and destination != self.local:
            if not is_multicast(destination):
                return False
            if self.memberships is not None and not self.memberships.allows(index, destination, source):
                return False
        if self._refused and self.protocol == IPPROTO_ICMPV6 and data and self._refused >> data[0] & 1:
            return False
        if self._checksum_at < 0:
            return True
        start = pseudo_sum(source, destination, self.protocol, len(data))
        return int(internet_checksum(data, 0, len(data), start)) == 0

    def heed(self, errno: int, complaint: Complaint) -> None:
        # That a packet was too big matters to who forbids to cut it.
        if errno != EMSGSIZE or self.report_all or self.discover == IP_PMTUDISC_DO:
            super().heed(errno, complaint)

    # Names ---------------------------------------------------------------------------------------------

    def bind(self, address: SocketAddress) -> None:
        host, zone = split_zone(address[0])
        if len(host) != 16 or self.remote:
            raise error(EINVAL)
        self.check_local(host, zone or self.zone)
        self.local = host
        self.scope = zone

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        """As POSIX connect; the address (b"", 0) disconnects (AF_UNSPEC), and takes the name away."""
        if not address[0]:
            self.remote = b""
            self.local = ANY_V6
            self._port = self._peer_port = self.scope = 0
            return None
        host, zone = split_zone(address[0])
        if len(host) != 16:
            raise error(EAFNOSUPPORT)
        self.join_peer(host, zone)
        self._peer_port = address[1]
        return None

    def local_address(self) -> SocketAddress:
        return super().local_address()[0], self._port

    def peer_address(self) -> SocketAddress:
        return super().peer_address()[0], self._peer_port

    # Sending -------------------------------------------------------------------------------------------

    def send_message(
        self, data: bytes, flags: int, destination: SocketAddress | None, now: Instant, with_it: Ancillary
    ) -> int | Blocked:
        if flags & MSG_OOB:
            raise error(EOPNOTSUPP)
        if destination is not None:
            if len(split_zone(destination[0])[0]) != 16:
                raise error(EAFNOSUPPORT)
            if destination[1] not in (0, self.protocol) and self.protocol != PROTOCOL_RAW:
                raise error(EINVAL)
        way = self.find_way(destination, with_it)
        self.check_sending()
        if self._header_included:
            self._send_packet(data, way, now)
        else:
            if self.protocol == IPPROTO_ICMPV6 and len(data) < 2:
                raise error(EFAULT)  # Linux looks for type and code, and finds no memory
            self.transmit(self._completed(data, way), way, now)
            if self.protocol == IPPROTO_ICMPV6 and self.ipv6.reporter is not None:
                self.ipv6.reporter.count(data[0])
        return len(data)

    def _send_packet(self, packet: bytes, way: Way, now: Instant) -> None:
        """Send a whole packet as it is.  Raises EINVAL, EMSGSIZE."""
        if len(packet) > way.route.mtu:
            raise error(EMSGSIZE)
        if len(packet) < HEADER_SIZE:
            raise error(EINVAL)
        frame = Frame(packet)
        counters = self.ipv6.counters
        counters.packets_out += 1
        counters.bytes_out += len(packet)
        way.route.interface.output(frame, way.route.next_hop, now)
        self.echo_to_members(frame, way)

    def _completed(self, data: bytes, way: Way) -> bytes:
        """A message with its checksum, where that is the kernel's to compute.  Raises EINVAL where there is no room for it."""
        at = self._checksum_at
        if at < 0:
            return data
        if at >= len(data) - 1:
            raise error(EINVAL)
        blank = data[:at] + bytes(2) + data[at + 2 :]
        start = pseudo_sum(way.source, way.destination, self.protocol, len(data))
        checksum = int(internet_checksum(blank, 0, len(blank), start))
        if checksum == 0 and self.protocol == PROTOCOL_UDP:
            checksum = 0xFFFF  # 0 says that there is none (RFC 768)
        return blank[:at] + checksum.to_bytes(2, "big") + blank[at + 2 :]

    # Options -------------------------------------------------------------------------------------------

    def get_option(self, level: int, name: int) -> bytes:
        if level == IPPROTO_ICMPV6:
            self._check_filter(name)
            return self._refused.to_bytes(FILTER_SIZE, "little")
        if level in (IPPROTO_IPV6, SOL_RAW):
            if name == IPV6_CHECKSUM:
                return int_option(self._checksum_at)
            if name == IPV6_HDRINCL:
                return int_option(int(self._header_included))
        if level == SOL_RAW:
            raise error(ENOPROTOOPT)
        return super().get_option(level, name)

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level == IPPROTO_ICMPV6:
            self._check_filter(name)
            kept = self._refused.to_bytes(FILTER_SIZE, "little")
            given = value[:FILTER_SIZE]
            self._refused = int.from_bytes(given + kept[len(given) :], "little")
        elif level in (IPPROTO_IPV6, SOL_RAW) and name == IPV6_CHECKSUM:
            self._set_checksum(option_int(value), level)
        elif level in (IPPROTO_IPV6, SOL_RAW) and name == IPV6_HDRINCL:
            self._header_included = option_int(value) != 0
        elif level == SOL_RAW:
            option_int(value)
            raise error(ENOPROTOOPT)
        else:
            super().set_option(level, name, value)

    def _check_filter(self, name: int) -> None:
        if self.protocol != IPPROTO_ICMPV6:
            raise error(EOPNOTSUPP)
        if name != ICMP6_FILTER:
            raise error(ENOPROTOOPT)

    def _set_checksum(self, offset: int, level: int) -> None:
        """IPV6_CHECKSUM: an even offset, or none.  ICMPv6's is no program's to choose at level IPPROTO_IPV6 (RFC 3542 section 3.1)."""
        if (self.protocol == IPPROTO_ICMPV6 and level == IPPROTO_IPV6) or (offset > 0 and offset & 1):
            raise error(EINVAL)
        self._checksum_at = max(offset, -1)

    def describe(self) -> str:
        return f"raw6 {self.protocol}"
