"""Sequence number arithmetic modulo 2**32 (RFC 9293 section 3.4), used by TCP and its timestamps (RFC 7323).

A comparison means something only between numbers less than 2**31 apart.
"""

from typing import Final

from mypy_extensions import i64

SEQ_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000


def seq_add(a: i64, n: i64) -> i64:
    """`a` moved by `n` (which may be negative)."""
    return (a + n) & SEQ_MASK


def seq_diff(a: i64, b: i64) -> i64:
    """The signed distance a - b, in -2**31 .. 2**31 - 1."""
    return ((a - b + _HALF) & SEQ_MASK) - _HALF


def seq_lt(a: i64, b: i64) -> bool:
    """`a` comes before `b`."""
    return ((a - b) & SEQ_MASK) >= _HALF


def seq_leq(a: i64, b: i64) -> bool:
    """`a` comes before `b`, or is `b`."""
    return ((b - a) & SEQ_MASK) < _HALF


def seq_gt(a: i64, b: i64) -> bool:
    """`a` comes after `b`."""
    return ((b - a) & SEQ_MASK) >= _HALF


def seq_geq(a: i64, b: i64) -> bool:
    """`a` comes after `b`, or is `b`."""
    return ((a - b) & SEQ_MASK) < _HALF


def seq_max(a: i64, b: i64) -> i64:
    """The later of the two."""
    return b if ((a - b) & SEQ_MASK) >= _HALF else a


def seq_min(a: i64, b: i64) -> i64:
    """The earlier of the two."""
    return a if ((a - b) & SEQ_MASK) >= _HALF else b


def seq_in_window(a: i64, start: i64, size: i64) -> bool:
    """start <= a < start + size, for a size of up to 2**32 - 1."""
    return ((a - start) & SEQ_MASK) < size
