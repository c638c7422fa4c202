"""Addresses: MAC, IPv4 and IPv6 between text and bytes, prefixes, and the kinds of address.

In the kernel an address is `bytes` (6 for MAC, 4 for IPv4, 16 for IPv6); text appears only at its edges, in configs,
clients and logs.  Text that is no address raises ValueError with a message fit for a user.
"""

from typing import Final

ANY_V4: Final = b"\0\0\0\0"
BROADCAST_V4: Final = b"\xff\xff\xff\xff"
LOOPBACK_V4: Final = b"\x7f\0\0\1"
ANY_V6: Final = bytes(16)
LOOPBACK_V6: Final = bytes(15) + b"\1"
BROADCAST_MAC: Final = b"\xff\xff\xff\xff\xff\xff"
ANY_MAC: Final = b"\0\0\0\0\0\0"

_V4_MAPPED: Final = bytes(10) + b"\xff\xff"
_DIGITS: Final = frozenset("0123456789")
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")


def parse_mac(text: str) -> bytes:
    """6 bytes of "02:00:00:00:00:01" (or with dashes)."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or not all(len(part) == 2 and _HEX_DIGITS.issuperset(part) for part in parts):
        raise ValueError(f"{text!r} is not a MAC address: expected six pairs of hex digits, as in 02:00:00:00:00:01")
    return bytes([int(part, 16) for part in parts])


def format_mac(address: bytes) -> str:
    """Lower-case pairs with colons between them."""
    return address.hex(":")


def parse_ipv4(text: str) -> bytes:
    """4 bytes of a dotted quad.  As inet_pton(3): four decimal numbers, no leading zeros, nothing around them."""
    parts = text.split(".")
    if len(parts) == 4:
        numbers = [_octet(part) for part in parts]
        if min(numbers) >= 0:
            return bytes(numbers)
    raise ValueError(f"{text!r} is not an IPv4 address: expected four numbers from 0 to 255, as in 10.0.2.15")


def _octet(text: str) -> int:
    """The number that `text` writes, or -1."""
    if not 1 <= len(text) <= 3 or not _DIGITS.issuperset(text) or (text[0] == "0" and len(text) > 1):
        return -1
    number = int(text)
    return number if number < 256 else -1


def format_ipv4(address: bytes) -> str:
    """A dotted quad."""
    return f"{address[0]}.{address[1]}.{address[2]}.{address[3]}"


def parse_ipv6(text: str) -> bytes:
    """16 bytes of the text forms of RFC 4291 section 2.2: groups, `::`, and a dotted quad at the end.  No zone."""
    before, double_colon, after = text.partition("::")
    head = _groups(before, text, not double_colon)
    tail = _groups(after, text, True)
    if double_colon:
        gap = 16 - len(head) - len(tail)
        if gap >= 2:
            return head + bytes(gap) + tail
    elif len(head) == 16:
        return head
    raise _not_ipv6(text)


def _groups(text: str, whole: str, last: bool) -> bytes:
    """The bytes of colon-separated groups; a dotted quad may end them where they are the `last` of the address."""
    out = b""
    parts = text.split(":") if text else []
    for index, part in enumerate(parts):
        if "." in part and last and index == len(parts) - 1:
            try:
                out += parse_ipv4(part)
            except ValueError:
                raise _not_ipv6(whole) from None
        elif 1 <= len(part) <= 4 and _HEX_DIGITS.issuperset(part):
            out += int(part, 16).to_bytes(2, "big")
        else:
            raise _not_ipv6(whole)
    return out


def _not_ipv6(text: str) -> ValueError:
    return ValueError(f"{text!r} is not an IPv6 address: expected hex groups with colons, as in fd00::2")


def format_ipv6(address: bytes) -> str:
    """The text of RFC 5952: lower case, no leading zeros, the first longest run of zero groups as `::`."""
    if address.startswith(_V4_MAPPED):
        return "::ffff:" + format_ipv4(address[12:])
    groups = [address[at] << 8 | address[at + 1] for at in range(0, 16, 2)]
    best = 0
    best_size = 1  # a single zero group is not shortened (RFC 5952 section 4.2.2)
    at = 0
    while at < 8:
        end = at
        while end < 8 and groups[end] == 0:
            end += 1
        if end - at > best_size:
            best, best_size = at, end - at
        at = max(end, at + 1)
    if best_size == 1:
        return _join(groups)
    return _join(groups[:best]) + "::" + _join(groups[best + best_size :])


def _join(groups: list[int]) -> str:
    return ":".join([f"{group:x}" for group in groups])


def parse_address(text: str) -> bytes:
    """4 or 16 bytes of an IPv4 or IPv6 address."""
    return parse_ipv6(text) if ":" in text else parse_ipv4(text)


def format_address(address: bytes) -> str:
    """The text of a 4- or 16-byte address."""
    return format_ipv4(address) if len(address) == 4 else format_ipv6(address)


def parse_prefix(text: str) -> tuple[bytes, int]:
    """The address (host bits kept) and prefix length in bits of "10.0.2.15/24"."""
    host, slash, length_text = text.partition("/")
    address = parse_address(host)
    bits = len(address) * 8
    length = _octet(length_text)
    if not slash or not 0 <= length <= bits:
        example = "10.0.2.15/24" if bits == 32 else "fd00::2/64"
        raise ValueError(f"{text!r} has no prefix length from 0 to {bits}: expected something like {example}")
    return address, length


def format_prefix(address: bytes, length: int) -> str:
    """Text that `parse_prefix` reads back."""
    return f"{format_address(address)}/{length}"


def netmask(length: int, size: int = 4) -> bytes:
    """The mask with the first `length` bits set, `size` bytes long."""
    bits = size * 8
    return ((1 << bits) - (1 << (bits - length))).to_bytes(size, "big")


def network_of(address: bytes, length: int) -> bytes:
    """`address` with its host bits cleared."""
    host_bits = len(address) * 8 - length
    return (int.from_bytes(address, "big") >> host_bits << host_bits).to_bytes(len(address), "big")


def in_network(address: bytes, network: bytes, length: int) -> bool:
    """Whether the first `length` bits of the two addresses agree (False across families)."""
    if len(address) != len(network):
        return False
    return (int.from_bytes(address, "big") ^ int.from_bytes(network, "big")) >> (len(address) * 8 - length) == 0


def broadcast_of(address: bytes, length: int) -> bytes:
    """The directed broadcast address of an IPv4 network: all host bits set.  Networks of one or two addresses have
    none (RFC 3021): they answer with the limited broadcast address."""
    if length > 30:
        return BROADCAST_V4
    return (int.from_bytes(address, "big") | ((1 << (32 - length)) - 1)).to_bytes(4, "big")


def is_unspecified(address: bytes) -> bool:
    """0.0.0.0 or ::."""
    return not any(address)


def is_multicast(address: bytes) -> bool:
    """224.0.0.0/4 or ff00::/8."""
    return 224 <= address[0] <= 239 if len(address) == 4 else address[0] == 0xFF


def is_loopback(address: bytes) -> bool:
    """127.0.0.0/8 or ::1."""
    return address[0] == 127 if len(address) == 4 else address == LOOPBACK_V6


def is_link_local(address: bytes) -> bool:
    """169.254.0.0/16 (RFC 3927) or fe80::/10."""
    if len(address) == 4:
        return address[0] == 169 and address[1] == 254
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def is_group_mac(address: bytes) -> bool:
    """Multicast or broadcast: the lowest bit of the first byte is set."""
    return address[0] & 1 == 1


def multicast_mac(address: bytes) -> bytes:
    """The Ethernet group address of an IP multicast address (RFC 1112 section 6.4, RFC 2464 section 7)."""
    if len(address) == 4:
        return b"\x01\x00\x5e" + bytes([address[1] & 0x7F]) + address[2:]
    return b"\x33\x33" + address[12:]
