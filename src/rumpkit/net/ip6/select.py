"""Address selection (RFC 6724): which source for a destination, and which of several destinations first.

Below `ip6.ipv6`; a pure function of addresses, a policy table that is data, and what links own.
"""

from functools import cmp_to_key
from typing import Final, NamedTuple

from ..wire.address import is_link_local
from .link import TEMPORARY, VALID, Address6, Link6

# Scopes, as in multicast addresses (RFC 4291 section 2.7)
LINK_SCOPE: Final = 2
SITE_SCOPE: Final = 5
GLOBAL_SCOPE: Final = 14


class Policy(NamedTuple):
    """A row of the policy table (RFC 6724 section 2.1): for addresses that start with `prefix`."""

    prefix: bytes
    length: int
    precedence: int
    label: int


def _policy(prefix: str, length: int, precedence: int, label: int) -> Policy:
    return Policy(bytes.fromhex(prefix).ljust(16, b"\0"), length, precedence, label)


POLICIES: Final[tuple[Policy, ...]] = (
    Policy(bytes(15) + b"\1", 128, 50, 0),  # ::1
    Policy(bytes(10) + b"\xff\xff" + bytes(4), 96, 35, 4),  # ::ffff:0:0, IPv4
    Policy(bytes(16), 96, 1, 3),  # IPv4-compatible, which nobody uses any more
    _policy("20010000", 32, 5, 5),  # Teredo
    _policy("2002", 16, 30, 2),  # 6to4
    _policy("3ffe", 16, 1, 12),  # 6bone
    _policy("fec0", 10, 1, 11),  # site-local
    _policy("fc00", 7, 3, 13),  # unique local
    _policy("", 0, 40, 1),
)
"""The default table (RFC 6724 section 2.1); the longest prefix that fits decides."""


def policy_of(address: bytes) -> Policy:
    """The row for an address."""
    best = POLICIES[-1]
    for row in POLICIES:
        if row.length > best.length and common_prefix(address, row.prefix) >= row.length:
            best = row
    return best


def scope_of(address: bytes) -> int:
    """How far an address reaches (RFC 6724 section 3.1); ::1 counts as link-local, IPv4 private networks as global."""
    if address[0] == 0xFF:
        return address[1] & 0xF
    if is_link_local(address) or address == bytes(15) + b"\1":
        return LINK_SCOPE
    if address[0] == 0xFE and address[1] & 0xC0 == 0xC0:
        return SITE_SCOPE
    if address.startswith(bytes(10) + b"\xff\xff") and (address[12] == 127 or address[12:14] == b"\xa9\xfe"):
        return LINK_SCOPE
    return GLOBAL_SCOPE


def common_prefix(one: bytes, other: bytes) -> int:
    """How many leading bits two addresses share."""
    return 128 - (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_length()


def choose_source(candidates: list[Address6], destination: bytes, out: Link6, prefer_temporary: bool) -> bytes:
    """The source for packets to `destination` that leave by `out` (RFC 6724 section 5), or b"".

    Candidates of other links than `out` count less (rule 5), tentative and duplicated ones not at all.  For multicast
    and link-local destinations the caller passes only those of `out` (section 4).
    """
    scope = scope_of(destination)
    label = policy_of(destination).label
    best: Address6 | None = None
    best_key: tuple[int, ...] = ()
    for own in candidates:
        if own.state != VALID:
            continue
        key = _source_key(own, destination, scope, label, out, prefer_temporary)
        if best is None or key > best_key:
            best, best_key = own, key
    return b"" if best is None else best.address


def _source_key(
    own: Address6, destination: bytes, scope: int, label: int, out: Link6, prefer_temporary: bool
) -> tuple[int, ...]:
    """Rules 1 to 8 of RFC 6724 section 5 as numbers, the larger the better (4, home addresses, has no meaning here)."""
    address = own.address
    reach = scope_of(address)
    # Rule 2: the smallest scope that is large enough, else the largest.
    fit = 256 - reach if reach >= scope else reach
    temporary = (own.origin == TEMPORARY) == prefer_temporary
    shared = min(common_prefix(address, destination), own.length)
    return (
        address == destination,
        fit,
        not own.deprecated,
        own.link is out,
        policy_of(address).label == label,
        temporary,
        shared,
    )


class Destination(NamedTuple):
    """One place to connect to: an IPv6 (or v4-mapped) address, and the source that packets to it would bear."""

    address: bytes
    source: bytes
    """b"" where there is no way to it."""
    deprecated: bool = False


def order_destinations(destinations: list[Destination]) -> list[Destination]:
    """The order to try them in (RFC 6724 section 6, rules 1 to 3, 5, 6, 8 to 10; 4 and 7 have no meaning here)."""
    return sorted(destinations, key=cmp_to_key(_compare))


def _compare(one: Destination, other: Destination) -> int:
    left, right = _destination_key(one), _destination_key(other)
    if left != right:
        return -1 if left > right else 1
    if one.address[:12] != other.address[:12] and b"" not in (one.source, other.source):
        # Rule 9, for addresses of the same family; those of IPv4 say nothing about nearness.
        mapped = bytes(10) + b"\xff\xff"
        if not one.address.startswith(mapped) and not other.address.startswith(mapped):
            return common_prefix(other.address, other.source) - common_prefix(one.address, one.source)
    return 0


def _destination_key(some: Destination) -> tuple[int, ...]:
    if not some.source:
        return (0, 0, 0, 0, 0, 0)
    policy = policy_of(some.address)
    scope = scope_of(some.address)
    return (
        1,
        scope == scope_of(some.source),
        not some.deprecated,
        policy.label == policy_of(some.source).label,
        policy.precedence,
        -scope,
    )
