"""Where a packet's transport header is, behind its extension headers (RFC 8200 section 4), for packets that are not on
their way in: quoted by an error, or given back by a link."""

from typing import Final, NamedTuple

from ..wire.ipv6 import FRAGMENT, HEADER_SIZE
from ..wire.ipv6_extensions import extension_size, is_extension, parse_fragment_header

_MAX_HEADERS: Final = 16


class Upper(NamedTuple):
    """The transport's protocol number, and where its header starts."""

    protocol: int
    offset: int


def find_upper(head: bytes, network: int) -> Upper | None:
    """Behind the IPv6 header at head[network]; None where the chain runs past the end or the packet is a fragment
    other than the first."""
    if network + HEADER_SIZE > len(head):
        return None
    kind: int = head[network + 6]
    at = network + HEADER_SIZE
    for _ in range(_MAX_HEADERS):
        if not is_extension(kind):
            return Upper(kind, at) if at <= len(head) else None
        size = int(extension_size(head, kind, at, len(head)))
        if size < 0:
            return None
        if kind == FRAGMENT:
            part = parse_fragment_header(head, at, len(head))
            if part is None or part.offset > 0:
                return None
        kind = head[at]
        at += size
    return None


def find_field(head: bytes, network: int) -> tuple[int, int]:
    """Where the next-header field lies that announces the fragment header of the fragment at head[network], and where
    that fragment header starts.  The chain was walked before."""
    field = network + 6
    at = network + HEADER_SIZE
    while head[field] != FRAGMENT:
        size = int(extension_size(head, head[field], at, len(head)))
        field = at
        at += size
    return field, at
