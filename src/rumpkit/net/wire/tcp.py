"""TCP headers on the wire (RFC 9293 section 3.1): frames to segments and back, between IP and `net.transport.tcp`."""

from typing import TYPE_CHECKING, Final

from mypy_extensions import i32, i64

from ..._form import COMPILED
from ...hyper.frame import CHECKSUM_PARTIAL, GSO_TCPV4, Frame
from .checksum import fold
from .segment import Segment
from .tcp_options import emit_options, has_rare_options, parse_options

if COMPILED or TYPE_CHECKING:
    from librt.strings import BytesWriter, read_i32_be, read_i64_be, write_i32_be, write_i64_be
else:
    from struct import Struct

HEADER_SIZE: Final = 20
"""Bytes of a header without options."""
CHECKSUM_OFFSET: Final = 16
"""Where the checksum lies in the header."""
TIMESTAMPS_SIZE: Final = 12
"""Bytes that timestamps take of a header, padding included."""
_NOP_NOP_TIMESTAMPS: Final = 0x0101080A
"""The first four option bytes of nearly every segment (RFC 7323 appendix A)."""

if COMPILED or TYPE_CHECKING:

    def parse_segment(frame: Frame, offset: i64, end: i64) -> Segment | None:
        """The TCP segment whose header starts at `offset` of the frame and which ends before `end`, where IP says it
        does; both count through head and body.

        None if `end` lies outside the frame, if the header or an option runs past it, or if an option's length is
        below 2.  The caller checks the checksum (`offload`).  The ports are not kept: the demux key has them.  The
        payload is a reference into the frame.
        """
        head = frame.head
        head_size: i64 = len(head)
        body_size: i64 = frame.size
        options = offset + HEADER_SIZE
        if offset < 0 or options > end or end > head_size + body_size:
            return None
        if options > head_size:
            return _parse_linear(frame, offset, end)
        first: i64 = read_i64_be(head, offset + 4)
        second: i64 = read_i64_be(head, offset + 12)
        data = offset + ((second >> 58) & 0x3C)
        if data < options or data > end:
            return None
        flags = (second >> 48) & 0xFF
        window = (second >> 32) & 0xFFFF
        if body_size == 0:
            segment = Segment((first >> 32) & 0xFFFFFFFF, first & 0xFFFFFFFF, flags, window, head, data, end - data)
        elif data == head_size:
            segment = Segment(
                (first >> 32) & 0xFFFFFFFF, first & 0xFFFFFFFF, flags, window, frame.body, frame.start, end - data
            )
        else:
            return _parse_linear(frame, offset, end)
        segment.urgent = second & 0xFFFF
        if data == options + TIMESTAMPS_SIZE and read_i32_be(head, options) == _NOP_NOP_TIMESTAMPS:
            first = read_i64_be(head, options + 4)
            segment.has_timestamp = True
            segment.ts_value = (first >> 32) & 0xFFFFFFFF
            segment.ts_echo = first & 0xFFFFFFFF
        elif data > options and not parse_options(segment, head, options, data):
            return None
        if frame.gso_size:
            _count_segments(segment, frame.gso_size)
        return segment

    def emit_header(segment: Segment, sport: i64, dport: i64, addresses: i64 = 0) -> bytes:
        """The header of `segment` with its options, padded to a multiple of 4 bytes.

        `addresses` is `pseudo_sum(source, destination, PROTOCOL_TCP, 0)`: the checksum field then holds the folded
        sum of the whole pseudo-header, as CHECKSUM_PARTIAL wants it.  Without, the field is 0.
        """
        options = b""
        size: i64 = HEADER_SIZE
        if has_rare_options(segment):
            options = emit_options(segment)
            size += len(options)
        elif segment.has_timestamp:
            size += TIMESTAMPS_SIZE
        checksum: i64 = 0
        if addresses:
            checksum = fold(addresses + size + segment.size)
        out = BytesWriter()
        write_i64_be(out, (sport << 48) | ((dport & 0xFFFF) << 32) | (segment.seq & 0xFFFFFFFF))
        fields = (size << 26) | ((segment.flags & 0xFF) << 16) | (segment.window & 0xFFFF)
        write_i64_be(out, (segment.ack << 32) | fields)
        write_i32_be(out, i32((checksum << 16) | (segment.urgent & 0xFFFF)))
        if options:
            out.write(options)
        elif segment.has_timestamp:
            write_i32_be(out, _NOP_NOP_TIMESTAMPS)
            write_i64_be(out, (segment.ts_value << 32) | (segment.ts_echo & 0xFFFFFFFF))
        return out.getvalue()

else:
    _RECEIVED: Final = Struct("!IIBBHxxH")
    _FIXED: Final = Struct("!HHIIBBHHH")
    _WITH_TIMESTAMPS: Final = Struct("!HHIIBBHHHIII")
    _TIMESTAMPS: Final = Struct("!III")

    def parse_segment(frame: Frame, offset: int, end: int) -> Segment | None:
        head = frame.head
        head_size = len(head)
        body_size = frame.size
        options = offset + HEADER_SIZE
        if offset < 0 or options > end or end > head_size + body_size:
            return None
        if options > head_size:
            return _parse_linear(frame, offset, end)
        seq, ack, words, flags, window, urgent = _RECEIVED.unpack_from(head, offset + 4)
        data = offset + ((words >> 2) & 0x3C)
        if data < options or data > end:
            return None
        if body_size == 0:
            segment = Segment(seq, ack, flags, window, head, data, end - data)
        elif data == head_size:
            segment = Segment(seq, ack, flags, window, frame.body, frame.start, end - data)
        else:
            return _parse_linear(frame, offset, end)
        segment.urgent = urgent
        if data > options:
            kind = 0
            if data == options + TIMESTAMPS_SIZE:
                kind, value, echo = _TIMESTAMPS.unpack_from(head, options)
            if kind == _NOP_NOP_TIMESTAMPS:
                segment.has_timestamp = True
                segment.ts_value = value
                segment.ts_echo = echo
            elif not parse_options(segment, head, options, data):
                return None
        if frame.gso_size:
            _count_segments(segment, frame.gso_size)
        return segment

    def emit_header(segment: Segment, sport: int, dport: int, addresses: int = 0) -> bytes:
        seq = segment.seq & 0xFFFFFFFF
        ack = segment.ack & 0xFFFFFFFF
        flags = segment.flags
        window = segment.window
        if has_rare_options(segment):
            options = emit_options(segment)
            size = HEADER_SIZE + len(options)
            checksum = fold(addresses + size + segment.size) if addresses else 0
            return _FIXED.pack(sport, dport, seq, ack, size << 2, flags, window, checksum, segment.urgent) + options
        if not segment.has_timestamp:
            checksum = fold(addresses + HEADER_SIZE + segment.size) if addresses else 0
            return _FIXED.pack(sport, dport, seq, ack, 0x50, flags, window, checksum, segment.urgent)
        checksum = fold(addresses + HEADER_SIZE + TIMESTAMPS_SIZE + segment.size) if addresses else 0
        value = segment.ts_value & 0xFFFFFFFF
        echo = segment.ts_echo & 0xFFFFFFFF
        return _WITH_TIMESTAMPS.pack(
            sport, dport, seq, ack, 0x80, flags, window, checksum, segment.urgent, _NOP_NOP_TIMESTAMPS, value, echo
        )


def emit_segment(segment: Segment, sport: i64, dport: i64, addresses: i64, gso_type: i64 = GSO_TCPV4) -> Frame:
    """A frame of the TCP header and, by reference, the payload, for IP to push its header in front of.

    `addresses` is `pseudo_sum(source, destination, PROTOCOL_TCP, 0)`, which a connection computes once.  The checksum
    is PARTIAL.  Where the payload exceeds `segment.gso_size` the frame is a super-segment of `gso_type` (GSO_TCPV4 or
    GSO_TCPV6); `segment.segments` is set.
    """
    frame = Frame(emit_header(segment, sport, dport, addresses), segment.body, segment.start, segment.size)
    frame.checksum = CHECKSUM_PARTIAL
    frame.checksum_offset = CHECKSUM_OFFSET
    gso_size = segment.gso_size
    if gso_size > 0 and segment.size > gso_size:
        frame.gso_type = gso_type
        frame.gso_size = gso_size
        segment.segments = (segment.size + gso_size - 1) // gso_size
    else:
        segment.segments = 1
    return frame


def _count_segments(segment: Segment, gso_size: i64) -> None:
    segment.gso_size = gso_size
    if gso_size > 0 and segment.size > gso_size:
        segment.segments = (segment.size + gso_size - 1) // gso_size


def _parse_linear(frame: Frame, offset: i64, end: i64) -> Segment | None:
    """The same for a frame whose head does not end where the payload starts."""
    linear = Frame(frame.linear())
    linear.gso_size = frame.gso_size
    return parse_segment(linear, offset, end)
