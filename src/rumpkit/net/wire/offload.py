"""Offload in software: what a link's hardware would do, done at any egress that lacks it, and the ingress check.

Between the frames of `hyper.frame` and interfaces, links and taps.  Frames come here with their Ethernet header.  A
frame whose lengths contradict each other is never read beyond its end: it counts as invalid, or is left out.
"""

from typing import Final, final

from mypy_extensions import i64

from ...hyper.frame import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNVERIFIED,
    FEATURE_CHECKSUM,
    FEATURE_TSO4,
    FEATURE_TSO6,
    FEATURE_USO,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    Frame,
)
from .checksum import fold, join_sums, pseudo_sum, sum_bytes
from .edit import edit, edited, put_u8, put_u16, put_u32
from .ethernet import network_offset
from .field import read_u16, read_u32
from .ipv4 import PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, parse_ipv4_header
from .segment import CWR, FIN, PSH

_IPV6_HEADER_SIZE: Final = 40
_UDP_CHECKSUM_AT: Final = 6
_FEATURE_OF: Final = {GSO_TCPV4: FEATURE_TSO4, GSO_TCPV6: FEATURE_TSO6, GSO_UDP_L4: FEATURE_USO}
"""The feature of a link that takes super-segments of each type."""


def finish(frame: Frame, features: int) -> list[Frame]:
    """Exactly what an egress with these FEATURE_* bits has to send for `frame`, in order.

    `frame` itself where the link takes it as it is; nothing for a super-segment that contradicts itself.
    """
    if frame.gso_type != GSO_NONE:
        wanted = _FEATURE_OF.get(frame.gso_type, 0) | FEATURE_CHECKSUM
        if features & wanted == wanted and frame.checksum == CHECKSUM_PARTIAL and wanted != FEATURE_CHECKSUM:
            return [frame]
        return segment(frame, features)
    if frame.checksum == CHECKSUM_PARTIAL and features & FEATURE_CHECKSUM == 0:
        return [complete_checksum(frame)]
    return [frame]


# Checksums -----------------------------------------------------------------------------------------------------------


def complete_checksum(frame: Frame) -> Frame:
    """The frame with its checksum written out in full (CHECKSUM_UNVERIFIED), the body still by reference.

    A frame that is not PARTIAL is returned as it is.  Not for super-segments: `segment` completes their parts.
    """
    if frame.checksum != CHECKSUM_PARTIAL:
        return frame
    start = frame.checksum_start
    field = start + frame.checksum_offset
    head = frame.head
    if 0 <= start <= field and field + 2 <= len(head):
        # The field holds the pseudo-header's sum, so that it is summed with the rest.
        copy = edit(head)
        checksum = _sum_range(frame, start, len(frame), 0) ^ 0xFFFF
        if checksum == 0 and frame.checksum_offset == _UDP_CHECKSUM_AT:
            checksum = 0xFFFF  # 0 in UDP says that there is none
        put_u16(copy, field, checksum)
        head = edited(copy)
    done = frame.like(head)
    done.checksum = CHECKSUM_UNVERIFIED
    return done


def transport_checksum_valid(frame: Frame, offset: i64, end: i64, pseudo: i64) -> bool:
    """Whether the checksum over the frame's bytes from `offset` to `end` (counted through head and body) is right, or
    need not be checked.  `pseudo` is the `pseudo_sum` with the transport's size, or 0 for ICMP."""
    if frame.checksum != CHECKSUM_UNVERIFIED:
        return True
    if not 0 <= offset <= end <= len(frame):
        return False
    return _sum_range(frame, offset, end, pseudo) == 0xFFFF


def verify(frame: Frame, ip_offset: i64) -> bool:
    """Whether the TCP, UDP or ICMP checksum of the IPv4 packet at `ip_offset` is right, or need not be checked:
    because the frame's state says so, the protocol is another, the sender of a UDP datagram computed none, or the
    packet is a fragment (check the whole).  False for a malformed packet.  The IP header's own checksum isn't looked
    at."""
    if frame.checksum != CHECKSUM_UNVERIFIED:
        return True
    head = frame.head
    header = parse_ipv4_header(head, ip_offset, len(frame) - ip_offset)
    if header is None:
        return False
    if header.is_fragment():
        return True
    protocol = header.protocol
    pseudo: i64 = 0
    if protocol in (PROTOCOL_TCP, PROTOCOL_UDP):
        if header.end - header.transport < 8 or header.transport + 8 > len(head):
            return False
        if protocol == PROTOCOL_UDP and read_u16(head, header.transport + 6) == 0:
            return True
        pseudo = pseudo_sum(header.source, header.destination, protocol, header.end - header.transport)
    elif protocol != PROTOCOL_ICMP:
        return True
    return _sum_range(frame, header.transport, header.end, pseudo) == 0xFFFF


def _sum_range(frame: Frame, start: i64, end: i64, initial: i64) -> i64:
    """The folded sum of the frame's bytes from `start`, in the head, to `end`, at most the frame's."""
    head = frame.head
    head_size: i64 = len(head)
    if start > head_size:
        return sum_bytes(frame.linear(), start, end, initial)
    if end <= head_size:
        return sum_bytes(head, start, end, initial)
    first = sum_bytes(head, start, head_size, initial)
    body_start: i64 = frame.start
    return join_sums(first, sum_bytes(frame.body, body_start, body_start + end - head_size), head_size - start)


# Segmentation --------------------------------------------------------------------------------------------------------


def segment(frame: Frame, features: int = 0) -> list[Frame]:
    """The frames that a super-segment stands for, their payload by reference.

    Each carries `gso_size` bytes of payload, the last what remains.  IPv4 identifications count up; sequence numbers
    move on; FIN and PSH are only on the last, CWR only on the first.  Checksums are PARTIAL where the link takes that
    (FEATURE_CHECKSUM), else complete.  A super-segment that contradicts itself yields nothing.
    """
    parts = _take_apart(frame)
    if parts is None:
        return []
    frames: list[Frame] = []
    partial = features & FEATURE_CHECKSUM != 0
    gso_size: i64 = frame.gso_size
    at: i64 = 0
    while at < parts.size or at == 0:
        size = min(gso_size, parts.size - at)
        frames.append(parts.piece(len(frames), at, size, partial))
        at += gso_size
    return frames


@final
class _SuperSegment:
    """A super-segment taken apart into what its pieces share and what they count on from."""

    def __init__(
        self, head: bytes, network: i64, transport: i64, is_tcp: bool, body: bytes, start: i64, size: i64
    ) -> None:
        self.network: i64 = network
        self.transport: i64 = transport
        self.is_v4: bool = head[network] >> 4 == 4
        self.is_tcp: bool = is_tcp
        self.body: bytes = body
        self.start: i64 = start
        self.size: i64 = size
        self.identification: i64 = 0
        self.seq: i64 = 0
        self.flags: i64 = 0
        blank = edit(head)
        if self.is_v4:
            self.identification = read_u16(head, network + 4)
            put_u32(blank, network + 2, 0)
            put_u16(blank, network + 10, 0)
        if is_tcp:
            self.seq = read_u32(head, transport + 4)
            self.flags = head[transport + 13]
            put_u32(blank, transport + 4, 0)
            put_u8(blank, transport + 13, 0)
            put_u16(blank, transport + 16, 0)
        else:
            put_u32(blank, transport + 4, 0)
        self.blank: bytes = edited(blank)
        """The head with every field that differs between pieces set to 0."""
        protocol: i64 = PROTOCOL_TCP if is_tcp else PROTOCOL_UDP
        if self.is_v4:
            self.addresses: i64 = sum_bytes(head, network + 12, network + 20, protocol)
        else:
            self.addresses = sum_bytes(head, network + 8, network + _IPV6_HEADER_SIZE, protocol)
        self.network_sum: i64 = sum_bytes(self.blank, network, transport)
        self.transport_sum: i64 = sum_bytes(self.blank, transport, len(head), self.addresses)

    def piece(self, index: i64, at: i64, size: i64, partial: bool) -> Frame:
        """The frame that carries `size` bytes of payload from `at` on."""
        network = self.network
        transport = self.transport
        head = edit(self.blank)
        length = len(self.blank) - transport + size
        total = self.transport_sum + length
        if self.is_v4:
            total_length = transport - network + length
            identification = (self.identification + index) & 0xFFFF
            put_u16(head, network + 2, total_length)
            put_u16(head, network + 4, identification)
            put_u16(head, network + 10, fold(self.network_sum + total_length + identification) ^ 0xFFFF)
        else:
            put_u16(head, network + 4, transport - network - _IPV6_HEADER_SIZE + length)
        checksum_offset: i64 = 6
        if self.is_tcp:
            checksum_offset = 16
            seq = (self.seq + at) & 0xFFFFFFFF
            flags = self.flags
            if at + size < self.size:
                flags &= ~(FIN | PSH)
            if at > 0:
                flags &= ~CWR
            put_u32(head, transport + 4, seq)
            put_u8(head, transport + 13, flags)
            total += (seq >> 16) + (seq & 0xFFFF) + flags
        else:
            put_u16(head, transport + 4, length)
            total += length
        start = self.start + at
        if partial:
            checksum = fold(self.addresses + length)
        else:
            checksum = fold(total + sum_bytes(self.body, start, start + size)) ^ 0xFFFF
            if checksum == 0 and not self.is_tcp:
                checksum = 0xFFFF
        put_u16(head, transport + checksum_offset, checksum)
        frame = Frame(edited(head), self.body, start, size)
        if partial:
            frame.checksum = CHECKSUM_PARTIAL
            frame.checksum_start = transport
            frame.checksum_offset = checksum_offset
        return frame


def _take_apart(frame: Frame) -> _SuperSegment | None:
    """Find the headers, all in the head, and the payload of a super-segment; None where lengths or types don't fit
    together."""
    gso_type = frame.gso_type
    head = frame.head
    network = network_offset(head)
    if frame.gso_size <= 0 or gso_type not in _FEATURE_OF or network < 0 or network + 20 > len(head):
        return None
    if head[network] >> 4 == 4:
        transport = network + ((head[network] & 0xF) << 2)
        end = network + read_u16(head, network + 2)
        protocol: i64 = head[network + 9]
        fits = gso_type != GSO_TCPV6 and transport >= network + 20
    else:
        transport = network + _IPV6_HEADER_SIZE
        end = transport + read_u16(head, network + 4)
        protocol = head[network + 6]
        fits = gso_type != GSO_TCPV4 and head[network] >> 4 == 6
    is_tcp = gso_type != GSO_UDP_L4
    header_size: i64 = 20 if is_tcp else 8
    if not fits or protocol != (PROTOCOL_TCP if is_tcp else PROTOCOL_UDP) or transport + header_size > len(head):
        return None
    if is_tcp:
        header_size = (head[transport + 12] >> 2) & 0x3C
        if header_size < 20:
            return None
    data = transport + header_size
    if data > len(head) or data > end or end > len(frame):
        return None
    if frame.size > 0 and data == len(head):
        return _SuperSegment(head, network, transport, is_tcp, frame.body, frame.start, end - data)
    return _SuperSegment(head[:data], network, transport, is_tcp, frame.linear(), data, end - data)
