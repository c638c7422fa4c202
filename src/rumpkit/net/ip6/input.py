"""IPv6's way in (RFC 8200 sections 3, 4): checks, extension headers, delivery, forwarding.

Between interfaces, which hand over frames, and transports.  Packets without extension headers take the short way;
`_Walk` goes through the others header by header.
"""

from typing import Final, final

from ...hyper.frame import GSO_NONE, Frame
from ...hyper.link import Receiver
from ...hyper.time import Instant
from ...kern.abi.errno import EHOSTUNREACH
from ..ip.input import without_padding
from ..ip.ipv4 import LOCAL, NOT_OURS
from ..link.interface import Interface, PacketInput
from ..wire.address import is_link_local, is_loopback, is_multicast, is_unspecified
from ..wire.icmpv6 import (
    ADDRESS_UNREACHABLE,
    BEYOND_SCOPE,
    DESTINATION_UNREACHABLE,
    ERRONEOUS_FIELD,
    HOP_LIMIT_EXCEEDED,
    INCOMPLETE_CHAIN,
    NO_ROUTE,
    PACKET_TOO_BIG,
    PARAMETER_PROBLEM,
    TIME_EXCEEDED,
    UNKNOWN_NEXT_HEADER,
    UNKNOWN_OPTION,
)
from ..wire.ipv4 import PROTOCOL_TCP, PROTOCOL_UDP
from ..wire.ipv6 import (
    DESTINATION_OPTIONS,
    FRAGMENT,
    HEADER_SIZE,
    HOP_BY_HOP,
    NO_NEXT_HEADER,
    PROTOCOL_ICMPV6,
    ROUTING,
    Ipv6Header,
    decrement_hop_limit,
    parse_ipv6_header,
)
from ..wire.ipv6_extensions import OPTIONS_FINE, check_options, extension_size, parse_fragment_header
from .ipv6 import TENTATIVE_KIND, Ipv6
from .link import Link6
from .reassembly import Reassembly6
from .settings import Ipv6Counters

_VERSION: Final = 6
_LINK_HEADER: Final = 14
_MAPPED: Final = bytes(10) + b"\xff\xff"
_LIMITED: Final = (0, 0xFE)
"""First bytes of addresses that are not ours on every link though they are ours: ::1 and link-local ones."""
_IS_EXTENSION: Final = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS))


@final
class Ipv6Input(PacketInput):
    """Takes the packets that one interface receives."""

    def __init__(self, ipv6: Ipv6, link: Link6, reassembly: Reassembly6) -> None:
        self.ipv6: Ipv6 = ipv6
        self.link: Link6 = link
        self.counters: Ipv6Counters = ipv6.counters
        self.reassembly: Reassembly6 = reassembly
        self._kinds: dict[bytes, int] = ipv6.kinds
        self.looped: bool = False
        """Whether the packet is one of ours that comes back (`GroupLoop6`)."""

    def input(self, frame: Frame, network: int, interface: Interface, now: Instant) -> None:
        counters = self.counters
        counters.packets_in += 1
        head = frame.head
        counters.bytes_in += len(head) + frame.size - network
        header = parse_ipv6_header(head, network, len(head) + frame.size - network)
        if header is None and frame.size:
            frame = Frame(frame.linear())  # a header across head and body is odd, but no reason to lose it
            header = parse_ipv6_header(frame.head, network, len(frame.head) - network)
        if header is None:
            counters.bad_header += 1
            return
        if not interface.loopback and not self.looped and not self._plausible(header):
            counters.martian_source += 1
            return
        kind = self._kinds.get(header.destination, NOT_OURS)
        self.ipv6.arrival = self.link
        self.ipv6.incoming = interface
        if kind != LOCAL or header.destination[0] in _LIMITED:
            kind = self._kind_of(header, kind, interface)
            if kind == NOT_OURS:
                self._not_ours(frame, header, now)
                return
            if kind < 0:
                counters.martian_destination += 1
                return
        protocol = int(header.next_header)
        if protocol in _IS_EXTENSION:
            self._walk(frame, network, network + HEADER_SIZE, network + 6, kind, int(header.end), 0, now)
        else:
            self._deliver(frame, network, network + HEADER_SIZE, network + 6, int(header.end), kind, protocol, now)

    def flush(self, now: Instant) -> None:
        for transport in self.ipv6.flushed:
            transport.flush(now)

    def undeliverable(self, frame: Frame, now: Instant) -> None:
        self.counters.unresolved += 1
        if self.ipv6.is_local(frame.head[8:24]):
            self.ipv6.failed(frame, 0, EHOSTUNREACH, now)
        else:
            self.ipv6.report(DESTINATION_UNREACHABLE, ADDRESS_UNREACHABLE, 0, frame, 0, now)

    # Inside --------------------------------------------------------------------------------------------

    def _deliver(
        self, frame: Frame, network: int, transport: int, field: int, end: int, kind: int, protocol: int, now: Instant
    ) -> None:
        """Hand a whole packet up; the next-header field that names its protocol is at `field`."""
        upper = self.ipv6.transports[protocol]
        raw = self.ipv6.raw
        if raw is not None and raw.take(frame, network, transport, protocol, now) and upper is None:
            self.counters.delivered += 1
        elif upper is None:
            if protocol != NO_NEXT_HEADER:
                self.counters.unknown_protocol += 1
                self._problem(UNKNOWN_NEXT_HEADER, field - network, frame, network, now)
        elif kind != LOCAL and protocol == PROTOCOL_TCP:
            self.counters.martian_destination += 1  # connections are with one host
        else:
            self.counters.delivered += 1
            upper.input(frame, network, transport, end, now)

    def _plausible(self, header: Ipv6Header) -> bool:
        """Whether a packet from outside can come from where it says (RFC 4291 sections 2.5.2, 2.5.3, 2.7)."""
        source = header.source
        if source[0] == 0xFF or self._kinds.get(source, NOT_OURS) == LOCAL:
            return False
        if source[0] == 0:
            if is_unspecified(source):
                # Somebody without an address yet asks for neighbours, routers, or says what groups it listens to.
                return is_multicast(header.destination) and header.next_header in (PROTOCOL_ICMPV6, HOP_BY_HOP)
            return not is_loopback(source) and not source.startswith(_MAPPED)
        return True

    def _kind_of(self, header: Ipv6Header, kind: int, interface: Interface) -> int:
        """What a destination that isn't plainly ours is to us; -1 for one that must not be there."""
        destination = header.destination
        if destination[0] == 0xFF:
            if destination[1] & 0xF < 2 and not interface.loopback:
                return -1  # never leaves a host (RFC 4291 section 2.7)
            if destination not in self.link.groups:
                return NOT_OURS
            # A router's question about a group is for us, whoever's packets are wanted.
            filtered = destination in self.link.filters and header.next_header == PROTOCOL_UDP
            return NOT_OURS if filtered and not self.link.wanted(destination).allows(header.source) else kind
        if kind == LOCAL:
            # Loopback and link-local addresses mean something in the host, and on their own link, only.
            if interface.loopback or self.link.owns(destination):
                return LOCAL
            return -1 if is_link_local(destination) or is_loopback(destination) else LOCAL
        if kind == TENTATIVE_KIND or is_unspecified(destination) or is_loopback(destination):
            return -1
        if destination.startswith(_MAPPED):
            return -1
        return NOT_OURS

    # Extension headers ---------------------------------------------------------------------------------

    def _walk(
        self, frame: Frame, network: int, at: int, field: int, kind: int, end: int, count: int, now: Instant
    ) -> None:
        """Go through the extension headers from head[at] on, the type of the first being at head[field], and deliver
        what is behind them.  `count` of them were seen before: there are some where the packet was put together."""
        whole = count > 0
        head = frame.head
        protocol: int = head[field]
        while protocol in _IS_EXTENSION:
            count += 1
            size = int(extension_size(head, protocol, at, end))
            if size < 0 or count > self.ipv6.settings.max_extension_headers:
                self.counters.bad_header += 1
                return
            if protocol == FRAGMENT:
                if head[at + 2] or head[at + 3] & 0xF9:
                    if whole:
                        self.counters.bad_header += 1  # fragments of fragments are nobody's honest doing
                    else:
                        self._fragment(frame, network, at, kind, end, now)
                    return
                self.counters.atomic_fragments += 1  # is a whole packet by itself (RFC 6946)
            elif not self._header_fine(frame, network, at, field, protocol, size, now):
                return
            field = at
            protocol = head[at]
            at += size
        self._deliver(frame, network, at, field, end, kind, protocol, now)

    def _header_fine(
        self, frame: Frame, network: int, at: int, field: int, protocol: int, size: int, now: Instant
    ) -> bool:
        """Whether the header at head[at], which is no fragment header, lets the packet pass."""
        head = frame.head
        if protocol == ROUTING:
            if head[at + 3] == 0:
                return True
            # No type is known here, type 0 least of all (RFC 5095); segments are left, so the packet is not for us.
            self.counters.bad_header += 1
            self._problem(ERRONEOUS_FIELD, at + 2 - network, frame, network, now)
            return False
        if protocol == HOP_BY_HOP and field != network + 6:
            self.counters.bad_header += 1  # only right behind the IPv6 header (RFC 8200 section 4.1)
            self._problem(UNKNOWN_NEXT_HEADER, field - network, frame, network, now)
            return False
        found = int(check_options(head, at + 2, at + size))
        if found == OPTIONS_FINE:
            return True
        self.counters.bad_options += 1
        action = head[found] >> 6
        if action == 2 or (action == 3 and not is_multicast(head[network + 24 : network + 40])):
            self._problem(UNKNOWN_OPTION, found - network, frame, network, now)
        return False

    def _fragment(self, frame: Frame, network: int, at: int, kind: int, end: int, now: Instant) -> None:
        """Take a fragment, and go on with the packet if it was the last that was missing."""
        self.counters.fragments_in += 1
        head = frame.linear()
        part = parse_fragment_header(head, at, end)
        if part is None:
            return
        size = end - at - 8
        if part.more and size & 7:
            self.counters.reassembly_failed += 1
            self._problem(ERRONEOUS_FIELD, 4, frame, network, now)
            return
        if at + 8 - network - HEADER_SIZE + int(part.offset) + size > 0xFFFF:
            self.counters.reassembly_failed += 1
            self._problem(ERRONEOUS_FIELD, at + 2 - network, frame, network, now)
            return
        if part.offset == 0 and not _chain_complete(head, int(part.next_header), at + 8, end):
            self.counters.reassembly_failed += 1
            self._problem(INCOMPLETE_CHAIN, 0, frame, network, now)
            return
        whole = self.reassembly.add(frame, network, at, end, part, now)
        if whole is not None:
            # The network header is where the first fragment's was, which need not be where this one's is.
            start = len(whole.frame.head) - HEADER_SIZE - whole.payload_size
            self._resume(whole.frame, start, whole.at, whole.field, kind, now)

    def _resume(self, frame: Frame, network: int, at: int, field: int, kind: int, now: Instant) -> None:
        """Go on with a packet that was put together."""
        protocol: int = frame.head[field]
        if protocol == FRAGMENT:
            self.counters.bad_header += 1
        elif protocol in _IS_EXTENSION:
            self._walk(frame, network, at, field, kind, len(frame.head), 1, now)
        else:
            self._deliver(frame, network, at, field, len(frame.head), kind, protocol, now)

    def _problem(self, code: int, pointer: int, frame: Frame, network: int, now: Instant) -> None:
        self.ipv6.report(PARAMETER_PROBLEM, code, pointer, frame, network, now)

    # Packets for others --------------------------------------------------------------------------------

    def _not_ours(self, frame: Frame, header: Ipv6Header, now: Instant) -> None:
        if self.ipv6.settings.forwarding and not is_multicast(header.destination) and frame.head[0] & 1 == 0:
            self._forward(frame, header, now)
        else:
            self.counters.not_ours += 1

    def _forward(self, frame: Frame, header: Ipv6Header, now: Instant) -> None:
        """Send a packet on (RFC 8200 section 3, RFC 4443 sections 3.1 to 3.3, RFC 4007 section 9)."""
        ipv6 = self.ipv6
        network = int(header.offset)
        if is_link_local(header.destination) or is_unspecified(header.source):
            self.counters.not_ours += 1
            return
        if header.hop_limit <= 1:
            self.counters.ttl_exceeded += 1
            ipv6.report(TIME_EXCEEDED, HOP_LIMIT_EXCEEDED, 0, frame, network, now)
            return
        try:
            route = ipv6.route(header.destination)
        except OSError:
            ipv6.report(DESTINATION_UNREACHABLE, NO_ROUTE, 0, frame, network, now)
            return
        if is_link_local(header.source) and route.interface is not self.link.interface:
            self.counters.beyond_scope += 1
            ipv6.report(DESTINATION_UNREACHABLE, BEYOND_SCOPE, 0, frame, network, now)
            return
        packet = frame.like(decrement_hop_limit(frame.head, network)[network:])
        size = HEADER_SIZE + int(header.payload_size)
        if frame.gso_type != GSO_NONE:
            size = len(packet.head) + frame.gso_size if frame.size else HEADER_SIZE + 20 + frame.gso_size
        elif header.end < len(frame):
            packet = without_padding(packet, size)
        if size > route.mtu:
            self.counters.too_big += 1
            ipv6.report(PACKET_TOO_BIG, 0, route.mtu, frame, network, now)
            return
        self.counters.forwarded += 1
        route.interface.output(packet, route.next_hop, now)


def _chain_complete(head: bytes, protocol: int, at: int, end: int) -> bool:
    """Whether a first fragment has all headers up to the transport's (RFC 8200 section 4.5, RFC 7112)."""
    for _ in range(64):
        if protocol not in _IS_EXTENSION:
            return protocol == NO_NEXT_HEADER or at < end
        size = int(extension_size(head, protocol, at, end))
        if size < 0:
            return False
        protocol = head[at]
        at += size
    return False


@final
class GroupLoop6(Receiver):
    """Takes what was sent to groups through one interface, as if it had come in there (IPV6_MULTICAST_LOOP)."""

    def __init__(self, packets: Ipv6Input, interface: Interface) -> None:
        self._packets: Ipv6Input = packets
        self._interface: Interface = interface

    def receive(self, frame: Frame, now: Instant) -> None:
        # Whole, with its link header; or, where fragments of it went out, without.
        network = 0 if frame.head[0] >> 4 == _VERSION else _LINK_HEADER
        self._packets.looped = True
        self._packets.input(frame, network, self._interface, now)
        self._packets.looped = False

    def flush(self, now: Instant) -> None:
        self._packets.flush(now)
