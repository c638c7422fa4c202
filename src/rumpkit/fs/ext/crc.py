"""CRC-32C (Castagnoli) and CRC-16 as ext4 computes them: reflected, and without the inversions at either end.

Two bytes a step: the table has an entry for every pair, and is made at the first use.
"""

import struct
from typing import Final

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


def crc32c(crc: int, data: bytes) -> int:
    """Go on with `crc` over `data`.  The usual CRC-32C is `crc32c(0xFFFFFFFF, data) ^ 0xFFFFFFFF`."""
    table = _table or _make()
    size = len(data)
    for pair in struct.unpack_from(f"<{size >> 1}H", data):
        crc = table[(crc ^ pair) & 0xFFFF] ^ crc >> 16
    if size & 1:
        crc = _last(crc, data[size - 1])
    return crc


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
