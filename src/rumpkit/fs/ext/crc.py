"""CRC-32C (Castagnoli) and CRC-16 as ext4 computes them: reflected, and without the inversions at either end.

Short data goes two bytes a step: the table has an entry for every pair, and is made at the first use.  Long data is folded
first: as an integer, whose lowest bit is the polynomial's highest power, it is shortened by replacing x^K with a sum of five small
powers that leaves the same remainder.  That is ten operations on large integers for half of the length, four times as fast.
Compiled, the table is faster up to `_NATIVE` bytes.
"""

import struct
from typing import Final

from mypy_extensions import i64

from ..._form import COMPILED

_POLYNOMIAL: Final = 0x82F63B78
_POLYNOMIAL_16: Final = 0xA001
_table: list[int] = []
_table16: list[int] = []


def _bytes_table(polynomial: int) -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        table.append(value)
    return table


def _make() -> list[int]:
    one = _bytes_table(_POLYNOMIAL)
    for high in range(256):
        for low in range(256):
            first = one[low]
            _table.append(first >> 8 ^ one[(first ^ high) & 0xFF])
    return _table


_FOLDS: Final = (
    (16512, 150, 145, 55, 54, 10),
    (8416, 193, 146, 135, 12, 11),
    (4344, 151, 140, 121, 78, 22),
    (2296, 120, 115, 79, 53, 19),
    (1288, 43, 41, 22, 11, 3),
    (768, 214, 209, 135, 97, 5),
    (512, 227, 213, 98, 87, 12),
)
"""K and the exponents whose powers' sum is x^K modulo the polynomial; each shortens to K bits what is up to 2 K less the first
exponent long, so the next one can go on."""
_LONG: Final = 100
"""Bytes from which on folding is faster."""
_NATIVE: Final = 1024
"""Bytes up to which the compiled form doesn't fold."""
_LONGEST: Final = 4096
"""Bytes that are folded at once."""


def _fold(crc: int, data: bytes) -> bytes:
    """64 bytes whose checksum from 0 is that of `data`, `_LONG` to `_LONGEST` bytes, from `crc`."""
    value = int.from_bytes(data, "little") ^ crc
    bits = len(data) << 3
    for length, first, second, third, fourth, fifth in _FOLDS:
        cut = bits - length
        if cut > 0:
            low = value & (1 << cut) - 1
            room = length - cut
            value = (
                value >> cut
                ^ low << room - first
                ^ low << room - second
                ^ low << room - third
                ^ low << room - fourth
                ^ low << room - fifth
            )
            bits = length
    return value.to_bytes(64, "little")


def crc32c(crc: int, data: bytes) -> int:
    """Go on with `crc` over `data`.  The usual CRC-32C is `crc32c(0xFFFFFFFF, data) ^ 0xFFFFFFFF`."""
    size = len(data)
    if COMPILED and size <= _NATIVE:
        return _native(crc, data)
    table = _table or _make()
    if size >= _LONG:
        if size > _LONGEST:
            for at in range(0, size, _LONGEST):
                crc = crc32c(crc, data[at : at + _LONGEST])
            return crc
        data = _fold(crc, data)
        crc = 0
        size = 64
    for pair in struct.unpack_from(f"<{size >> 1}H", data):
        crc = table[(crc ^ pair) & 0xFFFF] ^ crc >> 16
    if size & 1:
        crc = _last(crc, data[size - 1])
    return crc


def _native(crc: int, data: bytes) -> int:
    """The same for machine integers, which only compiled code has."""
    table = _table or _make()
    value: i64 = crc
    at: i64 = 0
    end: i64 = len(data) & ~1
    while at < end:
        low: i64 = data[at]
        high: i64 = data[at + 1]
        entry: i64 = table[(value ^ (low | high << 8)) & 0xFFFF]
        value = entry ^ value >> 16
        at += 2
    return _last(value, data[end]) if end < len(data) else value


def _last(crc: int, byte: int) -> int:
    crc ^= byte
    for _ in range(8):
        crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc


def crc16(crc: int, data: bytes) -> int:
    """Go on with `crc` over `data`: the CRC of group descriptors without metadata_csum."""
    table = _table16
    if not table:
        table.extend(_bytes_table(_POLYNOMIAL_16))
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc
