"""IPv6 headers (RFC 8200), between Ethernet and the transports.  Extension headers are `ipv6_extensions`'."""

from typing import Final, final

from mypy_extensions import i64

from .field import read_u16, read_u32

HEADER_SIZE: Final = 40
MIN_MTU: Final = 1280
"""Every link carries packets of this size (RFC 8200 section 5)."""
MAX_PAYLOAD_SIZE: Final = 0xFFFF
"""Without jumbograms (RFC 2675), which nothing here sends or takes."""
DEFAULT_HOP_LIMIT: Final = 64

# Next headers
HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
ENCAPSULATING_SECURITY: Final = 50
AUTHENTICATION: Final = 51
PROTOCOL_ICMPV6: Final = 58
NO_NEXT_HEADER: Final = 59
DESTINATION_OPTIONS: Final = 60


@final
class Ipv6Header:
    """A view of a header: its fields as numbers, its addresses as bytes, its place in the frame."""

    __slots__ = (
        "destination",
        "end",
        "flow",
        "hop_limit",
        "next_header",
        "offset",
        "payload_size",
        "source",
        "traffic_class",
    )

    def __init__(self, offset: i64, payload_size: i64, source: bytes, destination: bytes) -> None:
        self.offset: i64 = offset
        """Where the header starts; what it announces starts 40 bytes on."""
        self.payload_size: i64 = payload_size
        """Bytes behind the header, extension headers among them."""
        self.end: i64 = offset + HEADER_SIZE + payload_size
        """Where the payload ends, counted through the frame's head and body."""
        self.source: bytes = source
        self.destination: bytes = destination
        self.traffic_class: i64 = 0
        """DSCP and ECN (RFC 2474, RFC 3168)."""
        self.flow: i64 = 0
        """The flow label, 20 bits (RFC 6437)."""
        self.next_header: i64 = 0
        self.hop_limit: i64 = 0


def parse_ipv6_header(head: bytes, offset: i64, available: i64) -> Ipv6Header | None:
    """The header at head[offset], of a packet of which `available` bytes from `offset` on are there (through the
    frame's body; link padding may follow the packet).  For a packet quoted by ICMP pass HEADER_SIZE + 0xFFFF.

    None if the version is not 6, the header runs past the head, or the payload is longer than what is there.
    """
    if offset < 0 or offset + HEADER_SIZE > len(head):
        return None
    first: i64 = read_u32(head, offset)
    payload_size: i64 = read_u16(head, offset + 4)
    if first >> 28 != 6 or HEADER_SIZE + payload_size > available:
        return None
    header = Ipv6Header(offset, payload_size, head[offset + 8 : offset + 24], head[offset + 24 : offset + 40])
    header.traffic_class = (first >> 20) & 0xFF
    header.flow = first & 0xFFFFF
    header.next_header = head[offset + 6]
    header.hop_limit = head[offset + 7]
    return header


def emit_ipv6_header(
    source: bytes,
    destination: bytes,
    next_header: int,
    payload_size: int,
    hop_limit: int = DEFAULT_HOP_LIMIT,
    traffic_class: int = 0,
    flow: int = 0,
) -> bytes:
    """The header for `payload_size` bytes (at most 65535) to follow."""
    first = 6 << 28 | traffic_class << 20 | flow
    number = first << 32 | payload_size << 16 | next_header << 8 | hop_limit
    return number.to_bytes(8, "big") + source + destination


def decrement_hop_limit(head: bytes, offset: int) -> bytes:
    """The head with the hop limit of the header at `offset` one less, as a router sends it on.  The caller has parsed
    the header and seen a hop limit above 1."""
    at = offset + 7
    return head[:at] + bytes([head[at] - 1]) + head[at + 1 :]
