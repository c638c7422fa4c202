"""UDP headers (RFC 768), between IP and `net.transport.udp`."""

from typing import Final, final

from mypy_extensions import i64

from ...hyper.frame import CHECKSUM_PARTIAL, GSO_UDP_L4, Frame
from .checksum import fold
from .field import read_u16

HEADER_SIZE: Final = 8
CHECKSUM_OFFSET: Final = 6
MAX_PAYLOAD_SIZE: Final = 0xFFFF - 20 - HEADER_SIZE
"""Over IPv4 without options."""


@final
class Datagram:
    """A received datagram; its payload is body[start : start + size]."""

    __slots__ = ("body", "checksum", "dport", "gso_size", "size", "sport", "start")

    def __init__(self, sport: i64, dport: i64, checksum: i64, body: bytes, start: i64, size: i64) -> None:
        self.sport: i64 = sport
        self.dport: i64 = dport
        self.checksum: i64 = checksum
        """The field; 0 over IPv4 says that the sender computed none."""
        self.body: bytes = body
        self.start: i64 = start
        self.size: i64 = size
        self.gso_size: i64 = 0
        """In a batch (GSO_UDP_L4), the payload bytes of each datagram but the last, which may be shorter; else 0."""

    def payload(self) -> bytes:
        """The payload's bytes.  Copies, unless it is the whole of `body`."""
        if self.size == len(self.body):
            return self.body
        return self.body[self.start : self.start + self.size]


def parse_udp(frame: Frame, offset: i64, end: i64) -> Datagram | None:
    """The datagram whose header starts at `offset` of the frame and which ends by `end`, where IP says its payload
    does; both count through head and body.

    None if `end` lies outside the frame or the header runs past it, or if the length field is below 8 or reaches past
    `end`.  Bytes between the datagram and `end` are dropped.  The caller checks the checksum (`offload`).
    """
    head = frame.head
    head_size: i64 = len(head)
    body_size: i64 = frame.size
    data = offset + HEADER_SIZE
    if offset < 0 or data > end or end > head_size + body_size:
        return None
    if data > head_size or (body_size > 0 and data != head_size):
        head = frame.linear()
        body_size = 0
    size: i64 = read_u16(head, offset + 4)
    if size < HEADER_SIZE or offset + size > end:
        return None
    body = frame.body if body_size > 0 else head
    start = frame.start if body_size > 0 else data
    datagram = Datagram(
        read_u16(head, offset), read_u16(head, offset + 2), read_u16(head, offset + 6), body, start, size - HEADER_SIZE
    )
    if frame.gso_type == GSO_UDP_L4:
        datagram.gso_size = frame.gso_size
    return datagram


def emit_udp_header(sport: int, dport: int, payload_size: int, checksum: int = 0) -> bytes:
    """The 8 bytes in front of a payload."""
    size = HEADER_SIZE + payload_size
    return (sport << 16 | dport).to_bytes(4, "big") + (size << 16 | checksum).to_bytes(4, "big")


def emit_datagram(
    sport: int, dport: int, addresses: int, body: bytes, start: int, size: int, gso_size: int = 0
) -> Frame:
    """A frame of the UDP header and, by reference, the payload, for IP to push its header in front of.

    `addresses` is `pseudo_sum(source, destination, PROTOCOL_UDP, 0)`.  The checksum is PARTIAL.  Where the payload
    exceeds `gso_size`, the frame is a batch of datagrams of that size (the last may be shorter).
    """
    partial = fold(addresses + HEADER_SIZE + size)
    frame = Frame(emit_udp_header(sport, dport, size, partial), body, start, size)
    frame.checksum = CHECKSUM_PARTIAL
    frame.checksum_offset = CHECKSUM_OFFSET
    if 0 < gso_size < size:
        frame.gso_type = GSO_UDP_L4
        frame.gso_size = gso_size
    return frame
