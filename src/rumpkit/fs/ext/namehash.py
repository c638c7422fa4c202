"""Hashes of names, as hash tree directories order them: legacy, half MD4 and TEA, each with signed or unsigned bytes."""

import struct
from typing import Final

LEGACY: Final = 0
HALF_MD4: Final = 1
TEA: Final = 2
UNSIGNED: Final = 3
"""Added to a version: bytes above 127 are taken as they are, not as negative numbers."""
KNOWN: Final = 5
"""The highest version."""

_M: Final = 0xFFFFFFFF
_DEFAULT: Final = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_END: Final = 0x7FFFFFFF
"""The hash behind all others, shifted: no name has it."""


def name_hash(name: bytes, version: int, seed: bytes) -> tuple[int, int]:
    """Hash and minor hash of a name.  The hash's lowest bit is 0.  `seed` is 16 bytes of the superblock's."""
    unsigned = version >= UNSIGNED
    kind = version - UNSIGNED if unsigned else version
    if kind == LEGACY:
        major = _legacy(name, unsigned)
        minor = 0
    else:
        start = struct.unpack("<4I", seed)
        a, b, c, d = start if any(start) else _DEFAULT
        if kind == TEA:
            a, b = _tea(name, unsigned, a, b)
            major, minor = a, b
        else:
            a, b, c, d = _half_md4(name, unsigned, a, b, c, d)
            major, minor = b, c
    major &= ~1
    if major == _END << 1:
        major = (_END - 1) << 1
    return major, minor


def _legacy(name: bytes, unsigned: bool) -> int:
    one, before = 0x12A3FE2D, 0x37ABE8F9
    for byte in name:
        if not unsigned and byte > 127:
            byte -= 256
        value = (before + (one ^ (byte * 7152373))) & _M
        if value & 0x80000000:
            value -= 0x7FFFFFFF
        before, one = one, value
    return one << 1 & _M


def _words(name: bytes, at: int, count: int, unsigned: bool) -> list[int]:
    """`count` words made of the name from `at` on, padded with its length."""
    left = len(name) - at
    pad = left | left << 8
    pad |= pad << 16
    pad &= _M
    words: list[int] = []
    value = pad
    size = min(left, count * 4)
    for index in range(size):
        byte = name[at + index]
        if not unsigned and byte > 127:
            byte -= 256
        value = (byte + (value << 8)) & _M
        if index & 3 == 3:
            words.append(value)
            value = pad
    if len(words) < count:
        words.append(value)
    while len(words) < count:
        words.append(pad)
    return words


def _tea(name: bytes, unsigned: bool, a: int, b: int) -> tuple[int, int]:
    for at in range(0, len(name), 16):
        k = _words(name, at, 4, unsigned)
        x, y, total = a, b, 0
        for _ in range(16):
            total = (total + 0x9E3779B9) & _M
            x = (x + (((y << 4) + k[0]) ^ (y + total) ^ ((y >> 5) + k[1]))) & _M
            y = (y + (((x << 4) + k[2]) ^ (x + total) ^ ((x >> 5) + k[3]))) & _M
        a = (a + x) & _M
        b = (b + y) & _M
    return a, b


_K2: Final = 0x5A827999
_K3: Final = 0x6ED9EBA1
_ROUNDS: Final = (
    (0, (0, 1, 2, 3, 4, 5, 6, 7), (3, 7, 11, 19)),
    (_K2, (1, 3, 5, 7, 0, 2, 4, 6), (3, 5, 9, 13)),
    (_K3, (3, 7, 2, 6, 1, 5, 0, 4), (3, 9, 11, 15)),
)


def _half_md4(name: bytes, unsigned: bool, a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    for at in range(0, len(name), 32):
        words = _words(name, at, 8, unsigned)
        w, x, y, z = a, b, c, d
        for kind, (constant, order, shifts) in enumerate(_ROUNDS):
            for step in range(8):
                if kind == 0:
                    mixed = z ^ (x & (y ^ z))
                elif kind == 1:
                    mixed = (x & y) + ((x ^ y) & z)
                else:
                    mixed = x ^ y ^ z
                value = (w + mixed + words[order[step]] + constant) & _M
                shift = shifts[step & 3]
                value = (value << shift | value >> (32 - shift)) & _M
                w, x, y, z = z, value, x, y
        a = (a + w) & _M
        b = (b + x) & _M
        c = (c + y) & _M
        d = (d + z) & _M
    return a, b, c, d
