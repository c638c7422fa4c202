"""DHCPv4 messages (RFC 2131 section 2) and their options (RFC 2132, 3396, 3397, 3442), above UDP payloads.

Options are bytes by number: what a client makes of them is `net.dhcp.lease`'s.
"""

from typing import Final, final

from .dns import parse_name
from .field import read_u16, read_u32

SERVER_PORT: Final = 67
CLIENT_PORT: Final = 68
FIXED_SIZE: Final = 236
"""Bytes in front of the magic cookie."""
MIN_SIZE: Final = 300
"""What BOOTP's relays and servers expect at least (RFC 1542 section 2.1)."""
COOKIE: Final = b"\x63\x82\x53\x63"

BOOTREQUEST: Final = 1
BOOTREPLY: Final = 2
BROADCAST_FLAG: Final = 0x8000

DISCOVER: Final = 1
OFFER: Final = 2
REQUEST: Final = 3
DECLINE: Final = 4
ACK: Final = 5
NAK: Final = 6
RELEASE: Final = 7
KIND_NAMES: Final = ("", "discover", "offer", "request", "decline", "ack", "nak", "release")

PAD: Final = 0
SUBNET_MASK: Final = 1
ROUTER: Final = 3
NAME_SERVER: Final = 6
HOST_NAME: Final = 12
DOMAIN_NAME: Final = 15
INTERFACE_MTU: Final = 26
REQUESTED_ADDRESS: Final = 50
LEASE_TIME: Final = 51
OVERLOAD: Final = 52
MESSAGE_TYPE: Final = 53
SERVER_IDENTIFIER: Final = 54
PARAMETER_LIST: Final = 55
MESSAGE: Final = 56
MAX_MESSAGE_SIZE: Final = 57
RENEWAL_TIME: Final = 58
REBINDING_TIME: Final = 59
CLIENT_IDENTIFIER: Final = 61
DOMAIN_SEARCH: Final = 119
CLASSLESS_ROUTES: Final = 121
END: Final = 255

_MAX_OPTION: Final = 255
_MAX_SEARCH: Final = 32


@final
class DhcpMessage:
    """One message.  Addresses are 4 bytes; `options` holds each option's bytes, in the order in which they are sent."""

    def __init__(self, operation: int, transaction: int, hardware: bytes) -> None:
        self.operation: int = operation
        """BOOTREQUEST from clients, BOOTREPLY from servers."""
        self.transaction: int = transaction
        """xid: answers repeat it."""
        self.hardware: bytes = hardware
        """The client's hardware address, 6 bytes on Ethernet."""
        self.seconds: int = 0
        """Since the client began."""
        self.flags: int = 0
        self.client: bytes = bytes(4)
        """ciaddr: the client's address, if it can answer ARP for it."""
        self.yours: bytes = bytes(4)
        """yiaddr: what the client is given."""
        self.relay: bytes = bytes(4)
        self.options: dict[int, bytes] = {}

    def kind(self) -> int:
        """DISCOVER, OFFER, ... or 0 for a message of plain BOOTP."""
        value = self.options.get(MESSAGE_TYPE, b"")
        return value[0] if len(value) == 1 else 0

    def address(self, option: int) -> bytes:
        """An option that holds one address (the first of several), or b""."""
        value = self.options.get(option, b"")
        return value[:4] if len(value) >= 4 else b""

    def number(self, option: int, size: int = 4) -> int:
        """An option that holds a number of `size` bytes, or -1."""
        value = self.options.get(option, b"")
        return int.from_bytes(value, "big") if len(value) == size else -1

    def emit(self) -> bytes:
        """The message's bytes; options longer than 255 bytes are split (RFC 3396)."""
        out = bytearray(FIXED_SIZE)
        out[0:4] = bytes((self.operation, 1, len(self.hardware), 0))
        out[4:8] = self.transaction.to_bytes(4, "big")
        out[8:10] = min(self.seconds, 0xFFFF).to_bytes(2, "big")
        out[10:12] = self.flags.to_bytes(2, "big")
        out[12:16] = self.client
        out[16:20] = self.yours
        out[24:28] = self.relay
        out[28 : 28 + len(self.hardware)] = self.hardware
        out += COOKIE
        for number, value in self.options.items():
            for at in range(0, max(len(value), 1), _MAX_OPTION):
                part = value[at : at + _MAX_OPTION]
                out += bytes((number, len(part))) + part
        out.append(END)
        return bytes(out) + bytes(max(0, MIN_SIZE - len(out)))


def parse_dhcp(data: bytes) -> DhcpMessage | None:
    """The message in a datagram.  None if it is short, lacks the cookie, is not about Ethernet, or has an option that
    runs past its end.  Options that come several times are joined (RFC 3396), also those in `file` and `sname`."""
    if len(data) < FIXED_SIZE + 4 or data[FIXED_SIZE : FIXED_SIZE + 4] != COOKIE or data[1] != 1 or data[2] != 6:
        return None
    message = DhcpMessage(data[0], int(read_u32(data, 4)), data[28:34])
    message.seconds = int(read_u16(data, 8))
    message.flags = int(read_u16(data, 10))
    message.client = data[12:16]
    message.yours = data[16:20]
    message.relay = data[24:28]
    if not _parse_options(data[FIXED_SIZE + 4 :], message.options):
        return None
    overload = message.options.pop(OVERLOAD, b"\0")[-1:]
    for bit, start, end in ((1, 108, 236), (2, 44, 108)):
        if overload and overload[0] & bit and not _parse_options(data[start:end], message.options):
            return None
    message.options.pop(OVERLOAD, b"")  # in those two it means nothing
    return message


def _parse_options(data: bytes, into: dict[int, bytes]) -> bool:
    at = 0
    while at < len(data) and data[at] != END:
        if data[at] == PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            return False
        end = at + 2 + data[at + 1]
        into[data[at]] = into.get(data[at], b"") + data[at + 2 : end]
        at = end
    return True


def parse_addresses(value: bytes) -> list[bytes]:
    """The addresses in an option that lists some."""
    return [value[at : at + 4] for at in range(0, len(value) - 3, 4)]


def parse_classless_routes(value: bytes) -> list[tuple[bytes, int, bytes]]:
    """Network, prefix length and router of each route (RFC 3442); none at all if one of them is malformed."""
    routes = []
    at = 0
    while at < len(value):
        length = value[at]
        size = (length + 7) // 8
        if length > 32 or at + 1 + size + 4 > len(value):
            return []
        number = int.from_bytes(value[at + 1 : at + 1 + size] + bytes(4 - size), "big")
        network = (number >> (32 - length) << (32 - length)).to_bytes(4, "big")
        at += 1 + size + 4
        routes.append((network, length, value[at - 4 : at]))
    return routes


def emit_classless_routes(routes: list[tuple[bytes, int, bytes]]) -> bytes:
    """What `parse_classless_routes` reads."""
    return b"".join([bytes((length,)) + network[: (length + 7) // 8] + hop for network, length, hop in routes])


def parse_search(value: bytes) -> list[str]:
    """The names of a search list, compressed as in DNS (RFC 3397); none at all if one is malformed."""
    names: list[str] = []
    at = 0
    while at < len(value) and len(names) < _MAX_SEARCH:
        name, at = parse_name(value, at)
        if at < 0:
            return []
        if name:
            names.append(name)
    return names
