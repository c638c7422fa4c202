"""ICMPv6 messages (RFC 4443), between IPv6 and whoever pings, must be told of an error, or asks for neighbours.

Their checksum covers the pseudo-header (RFC 4443 section 2.3), so that `emit` wants the addresses.
"""

from typing import Final, final

from ...hyper.frame import Frame
from .checksum import internet_checksum, pseudo_sum
from .field import read_u32
from .ipv6 import HEADER_SIZE as IPV6_HEADER_SIZE
from .ipv6 import MAX_PAYLOAD_SIZE, MIN_MTU, PROTOCOL_ICMPV6, Ipv6Header, parse_ipv6_header

HEADER_SIZE: Final = 8

# Types
DESTINATION_UNREACHABLE: Final = 1
PACKET_TOO_BIG: Final = 2
TIME_EXCEEDED: Final = 3
PARAMETER_PROBLEM: Final = 4
ECHO_REQUEST: Final = 128
ECHO_REPLY: Final = 129
MLD_QUERY: Final = 130
MLD_REPORT_V1: Final = 131
MLD_DONE_V1: Final = 132
ROUTER_SOLICITATION: Final = 133
ROUTER_ADVERTISEMENT: Final = 134
NEIGHBOUR_SOLICITATION: Final = 135
NEIGHBOUR_ADVERTISEMENT: Final = 136
REDIRECT: Final = 137
MLD_REPORT_V2: Final = 143
FIRST_INFORMATIONAL: Final = 128
"""Types below are errors (RFC 4443 section 2.1)."""

# Codes of DESTINATION_UNREACHABLE
NO_ROUTE: Final = 0
PROHIBITED: Final = 1
BEYOND_SCOPE: Final = 2
ADDRESS_UNREACHABLE: Final = 3
PORT_UNREACHABLE: Final = 4
POLICY_FAILED: Final = 5
REJECT_ROUTE: Final = 6

# Codes of TIME_EXCEEDED
HOP_LIMIT_EXCEEDED: Final = 0
REASSEMBLY_TIME_EXCEEDED: Final = 1

# Codes of PARAMETER_PROBLEM
ERRONEOUS_FIELD: Final = 0
UNKNOWN_NEXT_HEADER: Final = 1
UNKNOWN_OPTION: Final = 2
INCOMPLETE_CHAIN: Final = 3
"""A first fragment without all headers (RFC 7112)."""

_MAX_QUOTE_SIZE: Final = MIN_MTU - IPV6_HEADER_SIZE - HEADER_SIZE
"""An error quotes as much as fits into the smallest MTU (RFC 4443 section 2.4 (c))."""


@final
class Icmp6Message:
    """A message: type, code, the four bytes whose meaning they decide, and the data behind them."""

    __slots__ = ("code", "data", "kind", "rest")

    def __init__(self, kind: int, code: int, rest: int, data: bytes) -> None:
        self.kind: int = kind
        """The type."""
        self.code: int = code
        self.rest: int = rest
        """Bytes 4 to 7 as a number: identifier and sequence number of an echo, MTU of PACKET_TOO_BIG, pointer of
        PARAMETER_PROBLEM."""
        self.data: bytes = data
        """What an echo carries, what an error quotes, or the rest of another message."""

    def identifier(self) -> int:
        """Of an echo: which pinger."""
        return self.rest >> 16

    def sequence(self) -> int:
        """Of an echo: which ping."""
        return self.rest & 0xFFFF

    def is_error(self) -> bool:
        """Whether the message reports an error and so must never be answered with one (RFC 4443 section 2.4 (e.1))."""
        return self.kind < FIRST_INFORMATIONAL

    def body(self) -> bytes:
        """Everything behind the checksum: the four bytes and the data."""
        return self.rest.to_bytes(4, "big") + self.data

    def emit(self, source: bytes, destination: bytes) -> bytes:
        """The message's bytes with their checksum."""
        rest = self.body()
        blank = bytes([self.kind, self.code, 0, 0]) + rest
        pseudo = pseudo_sum(source, destination, PROTOCOL_ICMPV6, len(blank))
        checksum = internet_checksum(blank, 0, len(blank), pseudo)
        return bytes([self.kind, self.code, checksum >> 8, checksum & 0xFF]) + rest


def parse_icmpv6(frame: Frame, offset: int, end: int) -> Icmp6Message | None:
    """The message that starts at `offset` of the frame and ends before `end`; both count through head and body.

    None if it is shorter than 8 bytes or runs past the frame.  The caller checks the checksum (`offload`).
    """
    if offset < 0 or end - offset < HEADER_SIZE or end > len(frame):
        return None
    data = frame.linear()
    return Icmp6Message(data[offset], data[offset + 1], read_u32(data, offset + 4), data[offset + HEADER_SIZE : end])


def echo_reply(request: Icmp6Message) -> Icmp6Message:
    """The answer to an ECHO_REQUEST: the same identifier, sequence number and data (RFC 4443 section 4.2)."""
    return Icmp6Message(ECHO_REPLY, 0, request.rest, request.data)


def error_about(kind: int, code: int, offender: Frame, network: int, rest: int = 0) -> Icmp6Message:
    """An error about the IPv6 packet whose header starts at `network` of `offender` and which was parsed before.

    `rest` is the MTU for PACKET_TOO_BIG, the pointer for PARAMETER_PROBLEM, else 0.  Whether an error may be sent at
    all (RFC 4443 section 2.4) is the caller's to decide.
    """
    packet = offender.linear()
    size = IPV6_HEADER_SIZE + (packet[network + 4] << 8 | packet[network + 5])
    return Icmp6Message(kind, code, rest, packet[network : network + min(size, _MAX_QUOTE_SIZE)])


def parse_quote(data: bytes) -> Ipv6Header | None:
    """The header of the packet that an error quotes; None if it is malformed."""
    return parse_ipv6_header(data, 0, IPV6_HEADER_SIZE + MAX_PAYLOAD_SIZE)
