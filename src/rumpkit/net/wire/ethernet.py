"""Ethernet headers (Ethernet II, with the tags of IEEE 802.1Q), in front of every frame on a link.

The fields are read one by one straight from a frame's head: most readers want one of them.
"""

from typing import Final

from mypy_extensions import i64

from .field import read_u16

HEADER_SIZE: Final = 14
TAG_SIZE: Final = 4
MIN_FRAME_SIZE: Final = 60
"""What hardware pads a frame to, without its check sequence; IP's total length tells padding from payload."""

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_VLAN: Final = 0x8100
ETHERTYPE_IPV6: Final = 0x86DD
ETHERTYPE_QINQ: Final = 0x88A8
_MAX_TAGS: Final = 2


def ethertype(head: bytes) -> i64:
    """The ethertype (or, below 1536, an 802.3 length), or -1 for a head shorter than an Ethernet header.  Whoever got
    a number may read the addresses."""
    return read_u16(head, 12) if len(head) >= HEADER_SIZE else -1


def destination_mac(head: bytes) -> bytes:
    """Whom the frame is for."""
    return head[0:6]


def source_mac(head: bytes) -> bytes:
    """Who sent the frame."""
    return head[6:12]


def emit_ethernet(destination: bytes, source: bytes, kind: i64) -> bytes:
    """The 14 bytes in front of a packet; `kind` is its ethertype."""
    number: int = kind
    return destination + source + number.to_bytes(2, "big")


def emit_tag(number: i64, priority: i64 = 0) -> bytes:
    """The four bytes of a VLAN tag, which stand between the addresses and the ethertype (IEEE 802.1Q clause 9.6)."""
    kind: int = ETHERTYPE_VLAN
    control: int = priority << 13 | number
    return kind.to_bytes(2, "big") + control.to_bytes(2, "big")


def network_offset(head: bytes) -> i64:
    """Where the IPv4 or IPv6 header starts behind the Ethernet header and at most two VLAN tags; -1 where the frame
    carries something else or is too short to tell."""
    at: i64 = HEADER_SIZE
    while at <= HEADER_SIZE + _MAX_TAGS * TAG_SIZE and at <= len(head):
        kind = read_u16(head, at - 2)
        if kind in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
            return at
        if kind not in (ETHERTYPE_VLAN, ETHERTYPE_QINQ):
            return -1
        at += TAG_SIZE
    return -1
