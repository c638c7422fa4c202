"""The packets that are injected into the program's network namespace: datagrams and echo answers for its sockets, and errors.

Below `carrier`.  Everything here is a function of its arguments.  A UDP datagram over IPv6 goes without a checksum, which the
sockets are told to accept (`network.Maker`).
"""

from struct import Struct
from typing import Final

from ...kern.abi.errno import EACCES, ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ENETUNREACH
from ...kern.abi.socket import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_UDP
from ...net.wire.checksum import internet_checksum, pseudo_sum

DEFAULT_TTL: Final = 64
"""What Linux sends with where nobody has said another."""
_IP: Final = Struct("!BBHHHBBH4s4s")
_IP6: Final = Struct("!IHBB16s16s")
_UDP: Final = Struct("!HHHH")
_ICMP: Final = Struct("!BBHHH")
_IP_SIZE: Final = 20
UDP_SIZE: Final = 8
_VERSION_AND_SIZE: Final = 0x45
_ECHO: Final = 8
_ECHO6: Final = 128
_UNREACHABLE: Final = 3
_UNREACHABLE6: Final = 1
QUOTED: Final = 512
"""What an error says of a datagram's payload, at most."""
_CODES: Final = {ENETUNREACH: 0, EHOSTUNREACH: 1, ECONNREFUSED: 3, EMSGSIZE: 4}
"""ICMP "destination unreachable" codes (RFC 792), from which Linux makes these errors again."""
_CODES6: Final = {ENETUNREACH: 0, EACCES: 1, EHOSTUNREACH: 3, ECONNREFUSED: 4}
"""The same of ICMPv6 (RFC 4443).  "Packet too big" is not among them: Linux would begin to cut what the program sends."""


def packet(
    protocol: int, source: bytes, destination: bytes, body: bytes, ttl: int = DEFAULT_TTL, tos: int = 0, flow: int = 0
) -> bytes:
    """A packet of IPv4 or IPv6, by the addresses' length; only the latter has a flow label."""
    if len(source) == 4:
        head = _IP.pack(_VERSION_AND_SIZE, tos, _IP_SIZE + len(body), 0, 0, ttl, protocol, 0, source, destination)
    else:
        head = _IP6.pack(6 << 28 | tos << 20 | flow, len(body), protocol, ttl, source, destination)
    return head + body


def datagram(sport: int, dport: int, data: bytes) -> bytes:
    """A UDP datagram without a checksum."""
    return _UDP.pack(sport, dport, UDP_SIZE + len(data), 0) + data


def echo_for(identifier: int, message: bytes, source: bytes, destination: bytes) -> bytes:
    """An ICMP or ICMPv6 message as it came, but for its identifier."""
    return _with_checksum(message[:2] + bytes(2) + identifier.to_bytes(2, "big") + message[6:], source, destination)


def message_for(message: bytes, source: bytes, destination: bytes) -> bytes:
    """An ICMPv6 message as it came, but for the addresses."""
    return _with_checksum(message[:2] + bytes(2) + message[4:], source, destination)


def failure(number: int, protocol: int, to: bytes, source: bytes, port: int, peer: bytes, peer_port: int) -> bytes:
    """What ICMP says, to the address `to`, about a packet from `source` (and its port or identifier) to `peer`; b"" where it can't say
    `number`."""
    six = len(source) != 4
    code = (_CODES6 if six else _CODES).get(number)
    if code is None:
        return b""
    if protocol == IPPROTO_UDP:
        sent = _UDP.pack(port, peer_port, UDP_SIZE, 0)
    else:
        sent = _ICMP.pack(_ECHO6 if six else _ECHO, 0, 0, port, 0)
    quoted = packet(protocol, source, peer, sent)
    message = _ICMP.pack(_UNREACHABLE6 if six else _UNREACHABLE, code, 0, 0, 0) + quoted
    return packet(IPPROTO_ICMPV6 if six else IPPROTO_ICMP, peer, to, _with_checksum(message, peer, to))


def report(
    what: tuple[int, int, int],
    offender: bytes,
    protocol: int,
    to: bytes,
    source: bytes,
    port: int,
    peer: bytes,
    peer_port: int,
    data: bytes,
) -> bytes:
    """An ICMP or ICMPv6 message of that type and code, with that number behind them, from `offender` to `to`, about a packet from
    `source` to `peer`.  A raw socket's has no port."""
    six = len(source) != 4
    data = data[:QUOTED]
    if protocol == IPPROTO_UDP:
        sent = _UDP.pack(port, peer_port, UDP_SIZE + len(data), 0) + data
    else:
        sent = data if port == 0 else data[:4] + port.to_bytes(2, "big") + data[6:]
    kind, code, info = what
    message = _ICMP.pack(kind, code, 0, info >> 16, info & 0xFFFF) + packet(protocol, source, peer, sent)
    return packet(IPPROTO_ICMPV6 if six else IPPROTO_ICMP, offender, to, _with_checksum(message, offender, to))


def _with_checksum(message: bytes, source: bytes, destination: bytes) -> bytes:
    """A message whose checksum is zero, with its checksum: ICMPv6 counts the addresses in."""
    start = 0 if len(source) == 4 else int(pseudo_sum(source, destination, IPPROTO_ICMPV6, len(message)))
    number = int(internet_checksum(message, 0, len(message), start))
    return message[:2] + number.to_bytes(2, "big") + message[4:]
