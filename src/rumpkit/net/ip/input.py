"""IPv4's way in (RFC 791, RFC 1122 section 3.2.1, RFC 1812 section 5.2): checks, reassembly, delivery, forwarding.

Between interfaces, which hand over frames, and transports, which get packets whose IP header is known to be good.
"""

from typing import Final, final

from ...hyper.frame import GSO_NONE, Frame
from ...hyper.link import Receiver
from ...hyper.time import Instant
from ...kern.abi.errno import EHOSTUNREACH
from ...kern.timer import TimerQueue
from ..link.interface import Interface, PacketInput
from ..wire.address import is_link_local, is_loopback, is_multicast, is_unspecified
from ..wire.icmp import (
    DESTINATION_UNREACHABLE,
    FRAGMENTATION_NEEDED,
    HOST_UNREACHABLE,
    NET_UNREACHABLE,
    PARAMETER_PROBLEM,
    PROTOCOL_UNREACHABLE,
    REASSEMBLY_TIME_EXCEEDED,
    TIME_EXCEEDED,
    TTL_EXCEEDED,
)
from ..wire.ipv4 import HEADER_SIZE, PROTOCOL_TCP, Ipv4Header, decrement_ttl, parse_ipv4_header
from .fragments import LateDatagram, Reassembly
from .groups import PROTOCOL_IGMP
from .ipv4 import BROADCAST, GROUP, LOCAL, NOT_OURS, Ipv4
from .options import OPTIONS_FINE, check_options
from .settings import Ipv4Counters

_CLASS_E: Final = 240
_VERSION: Final = 4
_LINK_HEADER: Final = 14


@final
class Ipv4Input(PacketInput):
    """Takes the packets that interfaces receive."""

    def __init__(self, ipv4: Ipv4, timers: TimerQueue) -> None:
        self.ipv4: Ipv4 = ipv4
        self.counters: Ipv4Counters = ipv4.counters
        self.reassembly: Reassembly = Reassembly(timers, ipv4.settings, ipv4.counters, _TellSender(ipv4))
        self.looped: bool = False
        """Whether the packet is our own, to a group that we are in."""
        self._kinds: dict[bytes, int] = ipv4.kinds

    def input(self, frame: Frame, network: int, interface: Interface, now: Instant) -> None:
        counters = self.counters
        counters.packets_in += 1
        self.ipv4.incoming = interface
        head = frame.head
        counters.bytes_in += len(head) + frame.size - network
        header = parse_ipv4_header(head, network, len(head) + frame.size - network)
        if header is None and frame.size:
            frame = Frame(frame.linear())  # a header across head and body is odd, but no reason to lose it
            header = parse_ipv4_header(frame.head, network, len(frame.head) - network)
        if header is None or not header.checksum_valid:
            counters.bad_header += 1
            return
        if not interface.loopback and not self.looped and not self._plausible(header):
            counters.martian_source += 1
            return
        if header.transport - header.offset > HEADER_SIZE and not self._options_fine(frame, header, now):
            return
        kind = self._kinds.get(header.destination, NOT_OURS)
        if kind != LOCAL:
            kind = self._kind_of(header, kind, frame.head, interface)
            if kind == NOT_OURS:
                self._not_ours(frame, header, now)
                return
            if kind < 0:
                counters.martian_destination += 1
                return
        if header.fragment & 0x3FFF:
            whole = self.reassembly.add(frame, header, now)
            if whole is None:
                return
            self._deliver(whole, network, network + HEADER_SIZE, len(whole.head), kind, int(header.protocol), now)
            return
        self._deliver(frame, network, int(header.transport), int(header.end), kind, int(header.protocol), now)

    def flush(self, now: Instant) -> None:
        for transport in self.ipv4.flushed:
            transport.flush(now)

    def undeliverable(self, frame: Frame, now: Instant) -> None:
        self.counters.unresolved += 1
        if self.ipv4.is_local(frame.head[12:16]):
            self.ipv4.failed(frame, 0, EHOSTUNREACH, now)
        else:
            self.ipv4.report(DESTINATION_UNREACHABLE, HOST_UNREACHABLE, 0, frame, 0, now)

    # Inside --------------------------------------------------------------------------------------------

    def _deliver(
        self, frame: Frame, network: int, transport: int, end: int, kind: int, protocol: int, now: Instant
    ) -> None:
        """Hand a whole packet up."""
        upper = self.ipv4.transports[protocol]
        raw = self.ipv4.raw
        if raw is not None and raw.take(frame, network, transport, protocol, now) and upper is None:
            self.counters.delivered += 1
        elif upper is None:
            self.counters.unknown_protocol += 1
            if kind == LOCAL:
                self.ipv4.unreachable(frame, network, PROTOCOL_UNREACHABLE, now)
        elif kind != LOCAL and protocol == PROTOCOL_TCP:
            self.counters.martian_destination += 1  # connections are with one host (RFC 1122 section 4.2.3.10)
        else:
            self.counters.delivered += 1
            upper.input(frame, network, transport, end, now)

    def _plausible(self, header: Ipv4Header) -> bool:
        """Whether a packet from outside can come from where it says (RFC 1122 section 3.2.1.3, RFC 1812 5.3.7)."""
        source = header.source
        first = source[0]
        if first == 0:
            # A host that does not know its address yet may ask everybody, and a switch that snoops has none to ask for groups
            # from (RFC 4541 section 2.1.1).
            if not is_unspecified(source):
                return False
            if header.protocol == PROTOCOL_IGMP:
                return is_multicast(header.destination)
            return self._kinds.get(header.destination, NOT_OURS) == BROADCAST
        return first < 224 and first != 127 and self._kinds.get(source, NOT_OURS) == NOT_OURS

    def _kind_of(self, header: Ipv4Header, kind: int, head: bytes, interface: Interface) -> int:
        """What a destination that isn't plainly ours is to us; -1 for one that must not be there."""
        destination = header.destination
        if kind != NOT_OURS:
            return kind
        if is_loopback(destination):
            return LOCAL if interface.loopback else -1
        if is_multicast(destination):
            allowed = self.ipv4.groups.allows(interface, destination, header.source, int(header.protocol))
            return GROUP if allowed else -1
        if destination[0] >= _CLASS_E or destination[0] == 0:
            return -1
        if head[0] & 1:
            return -1  # a unicast packet in a broadcast frame (RFC 1122 section 3.3.6)
        return LOCAL if self.ipv4.settings.accept_any_destination else NOT_OURS

    def _options_fine(self, frame: Frame, header: Ipv4Header, now: Instant) -> bool:
        """Whether a packet's options allow to take it; a malformed option is reported (RFC 1122 section 3.2.2.5)."""
        found = check_options(frame.head, int(header.offset) + HEADER_SIZE, int(header.transport))
        if found == OPTIONS_FINE:
            return True
        self.counters.bad_options += 1
        if found > 0 and self._kinds.get(header.destination, NOT_OURS) == LOCAL:
            pointer = (found - int(header.offset)) << 24
            self.ipv4.report(PARAMETER_PROBLEM, 0, pointer, frame, int(header.offset), now)
        return False

    def _not_ours(self, frame: Frame, header: Ipv4Header, now: Instant) -> None:
        if self.ipv4.settings.forwarding:
            self._forward(frame, header, now)
        else:
            self.counters.not_ours += 1

    def _forward(self, frame: Frame, header: Ipv4Header, now: Instant) -> None:
        """Send a packet on (RFC 1812 section 5.2.1).  No redirects are sent where it leaves as it came."""
        ipv4 = self.ipv4
        network = int(header.offset)
        if is_link_local(header.source) or is_link_local(header.destination) or is_unspecified(header.source):
            self.counters.martian_destination += 1  # never beyond their link (RFC 3927 section 2.7)
            return
        if ipv4.settings.reverse_path_filter and not self._leads_back(header.source):
            self.counters.martian_source += 1
            return
        if header.ttl <= 1:
            self.counters.ttl_exceeded += 1
            ipv4.report(TIME_EXCEEDED, TTL_EXCEEDED, 0, frame, network, now)
            return
        try:
            route = ipv4.route(header.destination)
        except OSError:
            ipv4.report(DESTINATION_UNREACHABLE, NET_UNREACHABLE, 0, frame, network, now)
            return
        packet = frame.like(decrement_ttl(frame.head, network)[network:])
        if frame.gso_type == GSO_NONE:
            if header.end < len(frame):
                packet = without_padding(packet, int(header.total_length))
            size = int(header.total_length)
        else:
            size = int(header.transport) - network + 20 + frame.gso_size
        self.counters.forwarded += 1
        if size <= route.mtu:
            route.interface.output(packet, route.next_hop, now)
        elif header.dont_fragment() or frame.gso_type != GSO_NONE:
            self.counters.too_big += 1
            rest = min(route.mtu, 0xFFFF)
            ipv4.report(DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, rest, frame, network, now)
        else:
            ipv4.send_fragments(packet, route, now)

    def _leads_back(self, source: bytes) -> bool:
        """Whether packets to `source` would leave by the interface that brought this one."""
        try:
            route = self.ipv4.route(source)
        except OSError:
            return False
        return route.interface is self.ipv4.incoming


@final
class GroupLoop(Receiver):
    """Takes what was sent to groups through one interface, as if it had come in there (IP_MULTICAST_LOOP)."""

    def __init__(self, packets: Ipv4Input, interface: Interface) -> None:
        self._packets: Ipv4Input = packets
        self._interface: Interface = interface

    def receive(self, frame: Frame, now: Instant) -> None:
        # Whole, with its link header; or, where fragments of it went out, without.
        network = 0 if frame.head[0] >> 4 == _VERSION else _LINK_HEADER
        self._packets.looped = True
        self._packets.input(frame, network, self._interface, now)
        self._packets.looped = False

    def flush(self, now: Instant) -> None:
        self._packets.flush(now)


@final
class _TellSender(LateDatagram):
    """The rest of a datagram did not come in time."""

    def __init__(self, ipv4: Ipv4) -> None:
        self._ipv4: Ipv4 = ipv4

    def reassembly_expired(self, first: Frame, network: int, now: Instant) -> None:
        self._ipv4.report(TIME_EXCEEDED, REASSEMBLY_TIME_EXCEEDED, 0, first, network, now)


def without_padding(packet: Frame, size: int) -> Frame:
    """The packet less what the link put behind it."""
    bare = Frame(packet.linear()[:size])
    bare.checksum = packet.checksum
    bare.checksum_start = packet.checksum_start
    bare.checksum_offset = packet.checksum_offset
    return bare
