"""The Internet checksum (RFC 1071), below every protocol that carries one.

A *sum* here is the folded 16-bit one's complement sum, not yet complemented.  Sums of parts add up: pass one part's
sum as the `initial` of the next, or use `join_sums` where the earlier part has an odd number of bytes.  A sum is 0
only if every word that went into it was 0, so both forms give the same answer for every input.
"""

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from ..._form import COMPILED

if COMPILED or TYPE_CHECKING:
    from librt.strings import read_i64_le


def fold(total: i64) -> i64:
    """Fold a non-negative sum of 16-bit words to 16 bits, carries added back in."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def swap(total: i64) -> i64:
    """The sum of the same bytes moved by one: the two bytes of a folded sum trade places (RFC 1071 section 2 B)."""
    return ((total & 0xFF) << 8) | (total >> 8)


if COMPILED or TYPE_CHECKING:

    def sum_bytes(data: bytes, start: i64, end: i64, initial: i64 = 0) -> i64:
        """The folded sum of data[start:end] and `initial`, a folded sum.

        An odd last byte counts as the high byte of a word.  0 <= start <= end <= len(data) is the caller's to keep.
        """
        total: i64 = 0
        at = start
        while at + 32 <= end:
            a: i64 = read_i64_le(data, at)
            b: i64 = read_i64_le(data, at + 8)
            c: i64 = read_i64_le(data, at + 16)
            d: i64 = read_i64_le(data, at + 24)
            total += (a & 0xFFFFFFFF) + ((a >> 32) & 0xFFFFFFFF) + (b & 0xFFFFFFFF) + ((b >> 32) & 0xFFFFFFFF)
            total += (c & 0xFFFFFFFF) + ((c >> 32) & 0xFFFFFFFF) + (d & 0xFFFFFFFF) + ((d >> 32) & 0xFFFFFFFF)
            at += 32
        while at + 8 <= end:
            a = read_i64_le(data, at)
            total += (a & 0xFFFFFFFF) + ((a >> 32) & 0xFFFFFFFF)
            at += 8
        shift: i64 = 0
        while at < end:
            byte: i64 = data[at]
            total += byte << shift
            shift ^= 8
            at += 1
        # Words were read with their bytes swapped, which the sum survives (RFC 1071 section 2 B).
        return fold(swap(fold(total)) + initial)

else:
    _CHUNK: Final = 4096
    """Bytes turned into one big integer at a time: the remainder of one takes longer than its share."""

    def sum_bytes(data: bytes, start: int, end: int, initial: int = 0) -> int:
        total = 0
        while end - start > _CHUNK:
            total += int.from_bytes(data[start : start + _CHUNK], "big")
            start += _CHUNK
        last = int.from_bytes(data[start:end], "big")
        total += initial + (last << 8 if (end - start) & 1 else last)
        # 2**16 is 1 modulo 65535, so the remainder is the folded sum; only the two zeros look alike.
        return total % 0xFFFF or (0xFFFF if total else 0)


def join_sums(first: i64, second: i64, first_size: i64) -> i64:
    """The folded sum of two parts laid end to end, from the folded sum of each; the first has `first_size` bytes."""
    return fold(first + (swap(second) if first_size & 1 else second))


def pseudo_sum(source: bytes, destination: bytes, protocol: i64, size: i64) -> i64:
    """The folded sum of the pseudo-header of TCP or UDP over IPv4 (RFC 9293 section 3.1) or IPv6 (RFC 8200 section
    8.1), by the addresses' length; `size` counts the transport header and its payload in bytes."""
    addresses = sum_bytes(source, 0, len(source)) + sum_bytes(destination, 0, len(destination))
    return fold(addresses + protocol + (size & 0xFFFF) + (size >> 16))


def internet_checksum(data: bytes, start: i64, end: i64, initial: i64 = 0) -> i64:
    """What goes into the checksum field (zero while summed), or 0 when data[start:end] holds a correct one."""
    return sum_bytes(data, start, end, initial) ^ 0xFFFF
