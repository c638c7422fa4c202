"""IPv4 headers (RFC 791), between Ethernet and the transports."""

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import i64

from ..._form import COMPILED
from .checksum import fold, sum_bytes

if COMPILED or TYPE_CHECKING:
    from librt.strings import BytesWriter, read_i32_be, read_i64_be, write_i64_be
else:
    from struct import Struct

HEADER_SIZE: Final = 20
"""Bytes of a header without options."""
MAX_HEADER_SIZE: Final = 60
MAX_PACKET_SIZE: Final = 0xFFFF
DEFAULT_TTL: Final = 64

PROTOCOL_ICMP: Final = 1
PROTOCOL_TCP: Final = 6
PROTOCOL_UDP: Final = 17
PROTOCOL_ICMPV6: Final = 58

DONT_FRAGMENT: Final = 0x4000
MORE_FRAGMENTS: Final = 0x2000
OFFSET_MASK: Final = 0x1FFF
_VERSION_4: Final = 0x4000000000000000
"""The version in its place in the first eight bytes.  Written out, as gcc rejects the shift that mypyc makes of it."""


@final
class Ipv4Header:
    """A view of a header: its fields as numbers, its addresses as bytes, its place in the frame."""

    __slots__ = (
        "checksum_valid",
        "destination",
        "end",
        "fragment",
        "identification",
        "offset",
        "protocol",
        "source",
        "tos",
        "total_length",
        "transport",
        "ttl",
    )

    def __init__(self, offset: i64, transport: i64, total_length: i64, source: bytes, destination: bytes) -> None:
        self.offset: i64 = offset
        """Where the header starts."""
        self.transport: i64 = transport
        """Where it ends and the payload starts."""
        self.end: i64 = offset + total_length
        """Where the payload ends, counted through the frame's head and body."""
        self.total_length: i64 = total_length
        self.source: bytes = source
        self.destination: bytes = destination
        self.tos: i64 = 0
        """DSCP and ECN (RFC 2474, RFC 3168)."""
        self.identification: i64 = 0
        self.fragment: i64 = 0
        """The 16-bit field: DONT_FRAGMENT, MORE_FRAGMENTS and the offset in units of 8 bytes."""
        self.ttl: i64 = 0
        self.protocol: i64 = 0
        self.checksum_valid: bool = False
        """Whether the header checksum is right.  Hosts drop packets without (RFC 1122 section 3.2.1.2)."""

    def is_fragment(self) -> bool:
        """Whether the packet is a part of a datagram."""
        return self.fragment & (MORE_FRAGMENTS | OFFSET_MASK) != 0

    def fragment_offset(self) -> i64:
        """Where this part's payload lies in the datagram's, in bytes."""
        return (self.fragment & OFFSET_MASK) << 3

    def more_fragments(self) -> bool:
        """Whether later parts follow."""
        return self.fragment & MORE_FRAGMENTS != 0

    def dont_fragment(self) -> bool:
        """Whether routers must not cut the packet."""
        return self.fragment & DONT_FRAGMENT != 0


if COMPILED or TYPE_CHECKING:

    def parse_ipv4_header(head: bytes, offset: i64, available: i64) -> Ipv4Header | None:
        """The header at head[offset], of a packet of which `available` bytes from `offset` on are there (through the
        frame's body; link padding may follow the packet).  For a packet quoted by ICMP pass MAX_PACKET_SIZE.

        None if the version is not 4, the header with its options runs past the head, the header length is below 20,
        or the total length is below the header's or above `available`.  Options are skipped.  The checksum is
        computed and left to the caller to judge.
        """
        if offset < 0 or offset + HEADER_SIZE > len(head):
            return None
        first: i64 = read_i64_be(head, offset)
        if (first >> 60) & 0xF != 4:
            return None
        header_size = (first >> 54) & 0x3C
        total_length = (first >> 32) & 0xFFFF
        transport = offset + header_size
        if header_size < HEADER_SIZE or transport > len(head) or not header_size <= total_length <= available:
            return None
        second: i64 = read_i64_be(head, offset + 8)
        last: i64 = i64(read_i32_be(head, offset + 16)) & 0xFFFFFFFF
        header = Ipv4Header(
            offset, transport, total_length, head[offset + 12 : offset + 16], head[offset + 16 : offset + 20]
        )
        header.tos = (first >> 48) & 0xFF
        header.identification = (first >> 16) & 0xFFFF
        header.fragment = first & 0xFFFF
        header.ttl = (second >> 56) & 0xFF
        header.protocol = (second >> 48) & 0xFF
        total = _halves(first) + _halves(second) + last
        if header_size > HEADER_SIZE:
            total += sum_bytes(head, offset + HEADER_SIZE, transport)
        header.checksum_valid = fold(total) == 0xFFFF
        return header

    def _halves(word: i64) -> i64:
        return (word & 0xFFFFFFFF) + ((word >> 32) & 0xFFFFFFFF)

    def emit_ipv4_header(
        source: bytes,
        destination: bytes,
        protocol: i64,
        payload_size: i64,
        identification: i64 = 0,
        fragment: i64 = DONT_FRAGMENT,
        ttl: i64 = DEFAULT_TTL,
        tos: i64 = 0,
        options: bytes = b"",
    ) -> bytes:
        """The header with its checksum, for `payload_size` bytes to follow.

        `fragment` is DONT_FRAGMENT, MORE_FRAGMENTS and the offset in units of 8 bytes.  `options` is a multiple of 4
        bytes, at most 40.  Header and payload together are at most MAX_PACKET_SIZE.
        """
        header_size: i64 = HEADER_SIZE + len(options)
        first = _VERSION_4 | (header_size << 54) | (tos << 48) | ((header_size + payload_size) << 32)
        first |= (identification << 16) | fragment
        second = (ttl << 56) | (protocol << 48) | (i64(read_i32_be(source, 0)) & 0xFFFFFFFF)
        last: i64 = i64(read_i32_be(destination, 0)) & 0xFFFFFFFF
        total = _halves(first) + _halves(second) + last
        if options:
            total += sum_bytes(options, 0, len(options))
        out = BytesWriter()
        write_i64_be(out, first)
        write_i64_be(out, second | ((fold(total) ^ 0xFFFF) << 32))
        out.write(destination)
        if options:
            out.write(options)
        return out.getvalue()

else:
    _RECEIVED: Final = Struct("!BBHHHBBxx4s4s")
    _FIXED: Final = Struct("!BBHHHBBH4s4s")

    def parse_ipv4_header(head: bytes, offset: int, available: int) -> Ipv4Header | None:
        if offset < 0 or offset + HEADER_SIZE > len(head):
            return None
        version, tos, total_length, identification, fragment, ttl, protocol, source, destination = (
            _RECEIVED.unpack_from(head, offset)
        )
        header_size = (version & 0xF) << 2
        transport = offset + header_size
        if version >> 4 != 4 or header_size < HEADER_SIZE or transport > len(head):
            return None
        if not header_size <= total_length <= available:
            return None
        header = Ipv4Header(offset, transport, total_length, source, destination)
        header.tos = tos
        header.identification = identification
        header.fragment = fragment
        header.ttl = ttl
        header.protocol = protocol
        header.checksum_valid = sum_bytes(head, offset, transport) == 0xFFFF
        return header

    def emit_ipv4_header(
        source: bytes,
        destination: bytes,
        protocol: int,
        payload_size: int,
        identification: int = 0,
        fragment: int = DONT_FRAGMENT,
        ttl: int = DEFAULT_TTL,
        tos: int = 0,
        options: bytes = b"",
    ) -> bytes:
        header_size = HEADER_SIZE + len(options)
        total_length = header_size + payload_size
        version = 0x40 | header_size >> 2
        total = version << 8 | tos
        total += total_length + identification + fragment + (ttl << 8 | protocol)
        total += int.from_bytes(source, "big") + int.from_bytes(destination, "big")
        if options:
            total += sum_bytes(options, 0, len(options))
        checksum = fold(total) ^ 0xFFFF
        fixed = _FIXED.pack(
            version, tos, total_length, identification, fragment, ttl, protocol, checksum, source, destination
        )
        return fixed + options if options else fixed


def decrement_ttl(head: bytes, offset: int) -> bytes:
    """The head with the TTL of the header at `offset` one less, and the checksum to match (RFC 1624), as a router
    sends it on.  The caller has parsed the header and seen a TTL above 1."""
    at = offset + 8
    checksum = ~(head[at + 2] << 8 | head[at + 3]) & 0xFFFF
    checksum = fold(checksum + 0xFEFF) ^ 0xFFFF  # 0xFEFF is minus 0x0100 in one's complement
    return head[:at] + bytes([head[at] - 1, head[at + 1], checksum >> 8, checksum & 0xFF]) + head[at + 4 :]
