"""Multicast listener discovery messages (RFC 3810, and version 1, RFC 2710), behind ICMPv6's type, code and checksum.
Between `wire.icmpv6` and `ip6.mld`.

A parse takes an `Icmp6Message`'s body (what follows the checksum) and gives None for what is malformed.
"""

from typing import Final, NamedTuple

from .field import read_u16

# Types of records (RFC 3810 section 5.2.12)
MODE_IS_INCLUDE: Final = 1
MODE_IS_EXCLUDE: Final = 2
CHANGE_TO_INCLUDE: Final = 3
CHANGE_TO_EXCLUDE: Final = 4
ALLOW_NEW_SOURCES: Final = 5
BLOCK_OLD_SOURCES: Final = 6

_V1_SIZE: Final = 20
"""The body of a version 1 message; a query of version 2 is longer."""


class Query(NamedTuple):
    """A router's question who listens (RFC 3810 section 5.1)."""

    version: int
    group: bytes
    """:: asks for all groups."""
    max_delay: int
    """Milliseconds within which to answer."""
    sources: tuple[bytes, ...] = ()
    robustness: int = 0
    """How often to repeat reports, or 0 for no word about that."""
    interval: int = 0
    """Seconds between queries, or 0."""


class Record(NamedTuple):
    """What a report says of one group (RFC 3810 section 5.2)."""

    kind: int
    group: bytes
    sources: tuple[bytes, ...] = ()


def parse_query(body: bytes) -> Query | None:
    """A query of either version."""
    if len(body) < _V1_SIZE:
        return None
    delay, group = int(read_u16(body, 0)), body[4:20]
    if len(body) < _V1_SIZE + 4:
        return Query(1, group, delay)
    count = int(read_u16(body, 22))
    if len(body) < 24 + 16 * count:
        return None
    sources = tuple(body[at : at + 16] for at in range(24, 24 + 16 * count, 16))
    return Query(2, group, decode_delay(delay), sources, body[20] & 7, decode_interval(body[21]))


def emit_query(query: Query) -> bytes:
    """A query's body; the delay and interval must be small enough for no exponent (32767 ms, 127 s)."""
    head = query.max_delay.to_bytes(2, "big") + bytes(2) + query.group
    if query.version == 1:
        return head
    return head + bytes((query.robustness, query.interval)) + _emit_sources(query.sources)


def parse_report(body: bytes) -> list[Record] | None:
    """The records of a version 2 report."""
    if len(body) < 4:
        return None
    records: list[Record] = []
    at = 4
    for _ in range(int(read_u16(body, 2))):
        if at + 20 > len(body):
            return None
        count = int(read_u16(body, at + 2))
        end = at + 20 + 16 * count
        following = end + body[at + 1] * 4  # auxiliary data, which nothing uses
        if following > len(body):
            return None
        sources = tuple(body[start : start + 16] for start in range(at + 20, end, 16))
        records.append(Record(body[at], body[at + 4 : at + 20], sources))
        at = following
    return records


def emit_report(records: list[Record]) -> bytes:
    """A version 2 report's body."""
    parts = [bytes((record.kind, 0)) + len(record.sources).to_bytes(2, "big") + record.group for record in records]
    whole = [part + b"".join(record.sources) for part, record in zip(parts, records, strict=True)]
    return bytes(2) + len(records).to_bytes(2, "big") + b"".join(whole)


def decode_delay(code: int) -> int:
    """Milliseconds of a maximum response code (RFC 3810 section 5.1.3)."""
    if code < 32768:
        return code
    return (code & 0xFFF | 0x1000) << ((code >> 12 & 7) + 3)


def decode_interval(code: int) -> int:
    """Seconds of a querier's query interval code (RFC 3810 section 5.1.9)."""
    if code < 128:
        return code
    return (code & 0xF | 0x10) << ((code >> 4 & 7) + 3)


def _emit_sources(sources: tuple[bytes, ...]) -> bytes:
    return len(sources).to_bytes(2, "big") + b"".join(sources)
