"""ICMP messages (RFC 792, next-hop MTU of RFC 1191), between IPv4 and whoever pings or must be told of an error."""

from typing import Final, final

from ...hyper.frame import Frame
from .checksum import internet_checksum
from .field import read_u32
from .ipv4 import MAX_PACKET_SIZE, Ipv4Header, parse_ipv4_header

HEADER_SIZE: Final = 8

# Types
ECHO_REPLY: Final = 0
DESTINATION_UNREACHABLE: Final = 3
SOURCE_QUENCH: Final = 4
REDIRECT: Final = 5
ECHO: Final = 8
TIME_EXCEEDED: Final = 11
PARAMETER_PROBLEM: Final = 12
TIMESTAMP: Final = 13
TIMESTAMP_REPLY: Final = 14
INFORMATION_REQUEST: Final = 15
INFORMATION_REPLY: Final = 16

# Codes of DESTINATION_UNREACHABLE (the last three from RFC 1812 section 5.2.7.1)
NET_UNREACHABLE: Final = 0
HOST_UNREACHABLE: Final = 1
PROTOCOL_UNREACHABLE: Final = 2
PORT_UNREACHABLE: Final = 3
FRAGMENTATION_NEEDED: Final = 4
SOURCE_ROUTE_FAILED: Final = 5
NET_UNKNOWN: Final = 6
HOST_UNKNOWN: Final = 7
NET_PROHIBITED: Final = 9
HOST_PROHIBITED: Final = 10
NET_UNREACHABLE_FOR_TOS: Final = 11
HOST_UNREACHABLE_FOR_TOS: Final = 12
COMMUNICATION_PROHIBITED: Final = 13
HOST_PRECEDENCE_VIOLATION: Final = 14
PRECEDENCE_CUTOFF: Final = 15

# Codes of TIME_EXCEEDED
TTL_EXCEEDED: Final = 0
REASSEMBLY_TIME_EXCEEDED: Final = 1

# Code of PARAMETER_PROBLEM
POINTER_INDICATES_ERROR: Final = 0

MAX_ERROR_SIZE: Final = 576
"""Bytes of the IP packet that carries an error: it quotes as much as fits (RFC 1812 section 4.3.2.3)."""
_MAX_QUOTE_SIZE: Final = MAX_ERROR_SIZE - 20 - HEADER_SIZE
_MIN_QUOTED_PAYLOAD: Final = 8

_ERRORS: Final = frozenset((DESTINATION_UNREACHABLE, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM))


@final
class IcmpMessage:
    """A message: type, code, the four bytes whose meaning they decide, and the data behind them."""

    __slots__ = ("code", "data", "kind", "rest")

    def __init__(self, kind: int, code: int, rest: int, data: bytes) -> None:
        self.kind: int = kind
        """The type."""
        self.code: int = code
        self.rest: int = rest
        """Bytes 4 to 7 as a number: see the methods for what they mean in which message."""
        self.data: bytes = data
        """What an echo carries, or what an error quotes."""

    def identifier(self) -> int:
        """Of ECHO and ECHO_REPLY: which pinger."""
        return self.rest >> 16

    def sequence(self) -> int:
        """Of ECHO and ECHO_REPLY: which ping."""
        return self.rest & 0xFFFF

    def next_hop_mtu(self) -> int:
        """Of FRAGMENTATION_NEEDED: the largest packet that fits, or 0 from a router older than RFC 1191."""
        return self.rest & 0xFFFF

    def pointer(self) -> int:
        """Of PARAMETER_PROBLEM: which byte of the quoted packet is wrong."""
        return self.rest >> 24

    def is_error(self) -> bool:
        """Whether the message reports an error and so must never be answered with one (RFC 1122 section 3.2.2)."""
        return self.kind in _ERRORS

    def emit(self) -> bytes:
        """The message's bytes with their checksum."""
        rest = self.rest.to_bytes(4, "big") + self.data
        blank = bytes([self.kind, self.code, 0, 0]) + rest
        checksum = internet_checksum(blank, 0, len(blank))
        return bytes([self.kind, self.code, checksum >> 8, checksum & 0xFF]) + rest


def parse_icmp(frame: Frame, offset: int, end: int) -> IcmpMessage | None:
    """The message that starts at `offset` of the frame and ends before `end`; both count through head and body.

    None if it is shorter than 8 bytes or runs past the frame.  The caller checks the checksum (`offload`).
    """
    if offset < 0 or end - offset < HEADER_SIZE or end > len(frame):
        return None
    data = frame.linear()
    return IcmpMessage(data[offset], data[offset + 1], read_u32(data, offset + 4), data[offset + HEADER_SIZE : end])


def echo_reply(request: IcmpMessage) -> IcmpMessage:
    """The answer to an ECHO: the same identifier, sequence number and data."""
    return IcmpMessage(ECHO_REPLY, 0, request.rest, request.data)


def error_about(kind: int, code: int, offender: Frame, network: int, rest: int = 0) -> IcmpMessage:
    """An error about the IP packet whose header starts at `network` of `offender` and which was parsed before.

    `rest` is the next-hop MTU for FRAGMENTATION_NEEDED, the pointer << 24 for PARAMETER_PROBLEM, else 0.  Whether an
    error may be sent at all (RFC 1122 section 3.2.2) is the caller's to decide.
    """
    packet = offender.linear()
    total_length = packet[network + 2] << 8 | packet[network + 3]
    return IcmpMessage(kind, code, rest, packet[network : network + min(total_length, _MAX_QUOTE_SIZE)])


def parse_quote(data: bytes) -> Ipv4Header | None:
    """The header of the packet that an error quotes: `data[header.transport:]` is what it quotes of the transport.

    None if it is malformed or quotes fewer than 8 bytes behind the header.  Its checksum means nothing: routers on
    the way have changed the header.
    """
    header = parse_ipv4_header(data, 0, MAX_PACKET_SIZE)
    if header is None or len(data) < header.transport + _MIN_QUOTED_PAYLOAD:
        return None
    return header
