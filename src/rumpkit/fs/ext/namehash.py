"""Hashes of names, as hash tree directories order them: legacy, half MD4 and TEA, each with signed or unsigned bytes."""

import struct
from typing import Final

from mypy_extensions import i64

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


def _pad(left: i64) -> i64:
    """What fills up words of a name of which `left` bytes are left."""
    pad = left | left << 8
    return (pad | pad << 16) & _M


def _word(name: bytes, at: i64, end: i64, pad: i64, unsigned: bool) -> i64:
    """A word made of up to four bytes from `at` on, before `end`."""
    value = pad
    stop = min(at + 4, end)
    while at < stop:
        byte: i64 = name[at]
        if byte > 127 and not unsigned:
            byte -= 256
        value = (byte + (value << 8)) & _M
        at += 1
    return value


def _tea(name: bytes, unsigned: bool, a: i64, b: i64) -> tuple[i64, i64]:
    length: i64 = len(name)
    at: i64 = 0
    while at < length:
        pad = _pad(length - at)
        k0 = _word(name, at, length, pad, unsigned)
        k1 = _word(name, at + 4, length, pad, unsigned)
        k2 = _word(name, at + 8, length, pad, unsigned)
        k3 = _word(name, at + 12, length, pad, unsigned)
        x, y = a, b
        total: i64 = 0
        for _ in range(16):
            total = (total + 0x9E3779B9) & _M
            x = (x + (((y << 4) + k0) ^ (y + total) ^ ((y >> 5) + k1))) & _M
            y = (y + (((x << 4) + k2) ^ (x + total) ^ ((x >> 5) + k3))) & _M
        a = (a + x) & _M
        b = (b + y) & _M
        at += 16
    return a, b


_K2: Final = 0x5A827999
_K3: Final = 0x6ED9EBA1


def _first(w: i64, x: i64, y: i64, z: i64, word: i64, shift: i64) -> i64:
    """A step of the first round: `w` of the next one's `x`."""
    value = (w + (z ^ (x & (y ^ z))) + word) & _M
    return (value << shift | value >> (32 - shift)) & _M


def _second(w: i64, x: i64, y: i64, z: i64, word: i64, shift: i64) -> i64:
    value = (w + (x & y) + ((x ^ y) & z) + word + _K2) & _M
    return (value << shift | value >> (32 - shift)) & _M


def _third(w: i64, x: i64, y: i64, z: i64, word: i64, shift: i64) -> i64:
    value = (w + (x ^ y ^ z) + word + _K3) & _M
    return (value << shift | value >> (32 - shift)) & _M


def _half_md4(name: bytes, unsigned: bool, a: i64, b: i64, c: i64, d: i64) -> tuple[i64, i64, i64, i64]:
    length: i64 = len(name)
    at: i64 = 0
    while at < length:
        pad = _pad(length - at)
        k0 = _word(name, at, length, pad, unsigned)
        k1 = _word(name, at + 4, length, pad, unsigned)
        k2 = _word(name, at + 8, length, pad, unsigned)
        k3 = _word(name, at + 12, length, pad, unsigned)
        k4 = _word(name, at + 16, length, pad, unsigned)
        k5 = _word(name, at + 20, length, pad, unsigned)
        k6 = _word(name, at + 24, length, pad, unsigned)
        k7 = _word(name, at + 28, length, pad, unsigned)
        w, x, y, z = a, b, c, d
        w = _first(w, x, y, z, k0, 3)
        z = _first(z, w, x, y, k1, 7)
        y = _first(y, z, w, x, k2, 11)
        x = _first(x, y, z, w, k3, 19)
        w = _first(w, x, y, z, k4, 3)
        z = _first(z, w, x, y, k5, 7)
        y = _first(y, z, w, x, k6, 11)
        x = _first(x, y, z, w, k7, 19)
        w = _second(w, x, y, z, k1, 3)
        z = _second(z, w, x, y, k3, 5)
        y = _second(y, z, w, x, k5, 9)
        x = _second(x, y, z, w, k7, 13)
        w = _second(w, x, y, z, k0, 3)
        z = _second(z, w, x, y, k2, 5)
        y = _second(y, z, w, x, k4, 9)
        x = _second(x, y, z, w, k6, 13)
        w = _third(w, x, y, z, k3, 3)
        z = _third(z, w, x, y, k7, 9)
        y = _third(y, z, w, x, k2, 11)
        x = _third(x, y, z, w, k6, 15)
        w = _third(w, x, y, z, k1, 3)
        z = _third(z, w, x, y, k5, 9)
        y = _third(y, z, w, x, k0, 11)
        x = _third(x, y, z, w, k4, 15)
        a = (a + w) & _M
        b = (b + x) & _M
        c = (c + y) & _M
        d = (d + z) & _M
        at += 32
    return a, b, c, d
