"""TCP options: MSS (RFC 9293 section 3.7.1), window scale and timestamps (RFC 7323), SACK (RFC 2018).

Below `wire.tcp`, which handles the everyday cases (none, or timestamps alone) itself.
"""

from typing import Final

from mypy_extensions import i64

from .field import read_u16, read_u32
from .segment import Segment

MAX_OPTIONS_SIZE: Final = 40

END: Final = 0
NOP: Final = 1
MSS: Final = 2
WINDOW_SCALE: Final = 3
SACK_PERMITTED: Final = 4
SACK: Final = 5
TIMESTAMPS: Final = 8
USER_TIMEOUT: Final = 28
FAST_OPEN: Final = 34


def parse_options(segment: Segment, data: bytes, start: i64, end: i64) -> bool:
    """Read the options in data[start:end] into `segment`.

    False when an option's length is below 2 or runs past `end`: the segment is malformed.  Options of unknown kind, or
    of a length that doesn't fit their kind, are skipped.  SYN-only options are reported wherever they appear.
    """
    at = start
    while at < end:
        kind: i64 = data[at]
        if kind == NOP:
            at += 1
            continue
        if kind == END:
            return True
        if at + 1 >= end:
            return False
        size: i64 = data[at + 1]
        if size < 2 or at + size > end:
            return False
        if kind == TIMESTAMPS and size == 10:
            segment.has_timestamp = True
            segment.ts_value = read_u32(data, at + 2)
            segment.ts_echo = read_u32(data, at + 6)
        elif kind == MSS and size == 4:
            segment.mss = read_u16(data, at + 2)
        elif kind == WINDOW_SCALE and size == 3:
            segment.window_scale = data[at + 2]
        elif kind == SACK_PERMITTED and size == 2:
            segment.sack_permitted = True
        elif kind == SACK and size >= 10 and size & 7 == 2:
            segment.sack_blocks = _parse_blocks(data, at + 2, at + size)
        elif kind == USER_TIMEOUT and size == 4:
            segment.user_timeout = read_u16(data, at + 2)
        elif kind == FAST_OPEN and (size == 2 or (6 <= size <= 18 and size & 1 == 0)):
            segment.fast_open = data[at + 2 : at + size]
        at += size
    return True


def _parse_blocks(data: bytes, start: i64, end: i64) -> tuple[tuple[int, int], ...]:
    blocks: list[tuple[int, int]] = []
    at = start
    while at < end:
        blocks.append((read_u32(data, at), read_u32(data, at + 4)))
        at += 8
    return tuple(blocks)


def has_rare_options(segment: Segment) -> bool:
    """Whether `segment` carries anything but timestamps."""
    return (
        segment.mss > 0
        or segment.window_scale >= 0
        or segment.sack_permitted
        or len(segment.sack_blocks) > 0
        or segment.fast_open is not None
        or segment.user_timeout >= 0
    )


def options_size(segment: Segment) -> i64:
    """Bytes that the segment's options take in the header, padding included (RFC 6691 subtracts them from the MSS)."""
    if has_rare_options(segment):
        return len(emit_options(segment))
    return 12 if segment.has_timestamp else 0


def emit_options(segment: Segment) -> bytes:
    """All options of `segment`, padded to a multiple of 4 bytes, at most 40.

    SACK blocks that don't fit are left out, from the end of the tuple.
    """
    out = b""
    if segment.mss > 0:
        out = b"\x02\x04" + _u16(segment.mss)
    if segment.has_timestamp:
        out += b"\x04\x02\x08\x0a" if segment.sack_permitted else b"\x01\x01\x08\x0a"
        out += _u32(segment.ts_value) + _u32(segment.ts_echo)
    elif segment.sack_permitted:
        out += b"\x01\x01\x04\x02"
    if segment.window_scale >= 0:
        out += b"\x01\x03\x03" + bytes([segment.window_scale])
    cookie = segment.fast_open
    if cookie is not None and len(out) + 2 + len(cookie) <= MAX_OPTIONS_SIZE:
        option = bytes([FAST_OPEN, 2 + len(cookie)]) + cookie
        out += bytes([NOP]) * (-len(option) % 4) + option
    if segment.user_timeout >= 0 and len(out) + 4 <= MAX_OPTIONS_SIZE:
        out += bytes([USER_TIMEOUT, 4]) + _u16(segment.user_timeout)
    room = (MAX_OPTIONS_SIZE - 4 - len(out)) // 8
    blocks = segment.sack_blocks[:room]
    if blocks:
        out += b"\x01\x01\x05" + bytes([2 + 8 * len(blocks)])
        for left, right in blocks:
            out += _u32(left) + _u32(right)
    return out


def _u16(value: int) -> bytes:
    return (value & 0xFFFF).to_bytes(2, "big")


def _u32(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "big")
