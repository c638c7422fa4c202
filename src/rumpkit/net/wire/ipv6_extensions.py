"""Extension headers of IPv6 (RFC 8200 section 4): where they lie, their options, and the fragment header.

Between `wire.ipv6` and `ip6.input`, which decides what to do about what is found here.
"""

from typing import Final, final

from mypy_extensions import i64

from .field import read_u16, read_u32
from .ipv6 import AUTHENTICATION, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING

FRAGMENT_HEADER_SIZE: Final = 8

# Options
PAD1: Final = 0
PADN: Final = 1
ROUTER_ALERT: Final = 5
JUMBO_PAYLOAD: Final = 0xC2
HOME_ADDRESS: Final = 0xC9

OPTIONS_FINE: Final = -1
"""What `check_options` answers where every option is known or may be skipped."""
ROUTER_ALERT_MLD: Final = bytes((ROUTER_ALERT, 2, 0, 0, PADN, 0))
"""A hop-by-hop options header's options for MLD (RFC 2711, RFC 3810 section 5)."""


@final
class FragmentHeader:
    """The fragment extension header (RFC 8200 section 4.5)."""

    __slots__ = ("identification", "more", "next_header", "offset")

    def __init__(self, next_header: i64, offset: i64, more: bool, identification: i64) -> None:
        self.next_header: i64 = next_header
        self.offset: i64 = offset
        """Where this part's payload lies in the packet's fragmentable part, in bytes (a multiple of 8)."""
        self.more: bool = more
        self.identification: i64 = identification

    def emit(self) -> bytes:
        """The header's 8 bytes."""
        word: int = self.next_header << 24 | self.offset | (1 if self.more else 0)
        identification: int = self.identification
        return word.to_bytes(4, "big") + identification.to_bytes(4, "big")


def parse_fragment_header(head: bytes, at: i64, end: i64) -> FragmentHeader | None:
    """The fragment header at head[at], of a packet that ends at `end`; None if it runs past that or the head."""
    if at < 0 or at + FRAGMENT_HEADER_SIZE > len(head) or at + FRAGMENT_HEADER_SIZE > end:
        return None
    field: i64 = read_u16(head, at + 2)
    return FragmentHeader(head[at], field & 0xFFF8, field & 1 != 0, read_u32(head, at + 4))


def extension_size(head: bytes, kind: i64, at: i64, end: i64) -> i64:
    """The size in bytes of the extension header of type `kind` at head[at], of a packet that ends at `end`; -1 if it
    runs past the packet or the head."""
    if at < 0 or at + 8 > end or at + 8 > len(head):
        return -1
    size: i64 = FRAGMENT_HEADER_SIZE
    if kind == AUTHENTICATION:
        size = (i64(head[at + 1]) + 2) << 2
    elif kind != FRAGMENT:
        size = (i64(head[at + 1]) + 1) << 3
    return size if at + size <= end and at + size <= len(head) else -1


def is_extension(kind: i64) -> bool:
    """Whether a next-header value is an extension header that can be walked past."""
    return kind in (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS)


def check_options(head: bytes, start: i64, end: i64) -> i64:
    """Look at the options in head[start:end], of a hop-by-hop or destination options header whose own two bytes come
    before: OPTIONS_FINE, or the position in `head` of the option type that must not be skipped (RFC 8200 section 4.2;
    its two highest bits say what to do), or of a length that runs past the header.

    Router alerts are fine, jumbo payloads and home addresses are unknown here.
    """
    at = start
    while at < end:
        kind: i64 = head[at]
        if kind == PAD1:
            at += 1
            continue
        if at + 2 > end or at + 2 + head[at + 1] > end:
            return at
        if kind != PADN and kind != ROUTER_ALERT and kind >> 6 != 0:
            return at
        at += 2 + head[at + 1]
    return OPTIONS_FINE


def has_router_alert(head: bytes, start: i64, end: i64) -> bool:
    """Whether the options in head[start:end], which were checked, ask routers to look at the packet (RFC 2711)."""
    at = start
    while at < end:
        if head[at] == ROUTER_ALERT:
            return True
        at += 1 if head[at] == PAD1 else 2 + head[at + 1]
    return False


def emit_options_header(next_header: int, options: bytes) -> bytes:
    """A hop-by-hop or destination options header, padded to a multiple of 8 bytes.  At most 2046 bytes of options."""
    rest = -(2 + len(options)) % 8
    padding = b"" if rest == 0 else b"\0" if rest == 1 else bytes((PADN, rest - 2)) + bytes(rest - 2)
    body = options + padding
    return bytes((next_header, (2 + len(body)) // 8 - 1)) + body
