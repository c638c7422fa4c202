"""Methods of compression: what was packed comes out again, within its limit; damage is a ValueError and nothing else."""

from __future__ import annotations

import random
import zlib

import pytest

from rumpkit.fs.unpack.method import method

LZO = bytes([17 + 5]) + b"hello" + bytes([0x2C, 4 << 2, 0]) + b"\x11\0\0"
"""hello, then 14 bytes from 5 back, and the end."""


def lz4_block(*parts: tuple[bytes, int, int]) -> bytes:
    """A block of sequences: literals, how far back, how many bytes of that (0: the last one)."""

    def more(count: int) -> bytes:
        return b"\xff" * (count // 255) + bytes([count % 255])

    out = b""
    for literals, back, count in parts:
        low, high = min(max(count - 4, 0), 15), min(len(literals), 15)
        out += bytes([high << 4 | low]) + (more(len(literals) - 15) if high == 15 else b"") + literals
        if count:
            out += back.to_bytes(2, "little") + (more(count - 19) if low == 15 else b"")
    return out


def test_lz4() -> None:
    unpack = method("lz4")
    assert unpack(lz4_block((b"abc", 0, 0)), 100) == b"abc"
    assert unpack(lz4_block((b"abc", 3, 10), (b"end", 0, 0)), 100) == b"abcabcabcabca" + b"end"
    assert unpack(lz4_block((b"x", 1, 1000), (b"y" * 300, 0, 0)), 2000) == b"x" * 1001 + b"y" * 300
    for bad in (b"", b"\x50ab", lz4_block((b"abc", 4, 10), (b"e", 0, 0)), lz4_block((b"abc", 0, 10), (b"e", 0, 0))):
        with pytest.raises(ValueError, match=r"."):
            unpack(bad, 100)
    with pytest.raises(ValueError, match="more than 50"):
        unpack(lz4_block((b"x", 1, 1 << 20), (b"", 0, 0)), 50)


def test_lzo() -> None:
    unpack = method("lzo")
    assert unpack(LZO, 100) == b"hello" + (b"hello" * 3)[:14]
    assert unpack(bytes([17 + 3]) + b"abc" + b"\x11\0\0", 10) == b"abc"
    with pytest.raises(ValueError, match="more than 10"):
        unpack(LZO, 10)
    for at in range(len(LZO)):
        with pytest.raises(ValueError, match=r"."):
            unpack(LZO[:at], 100)
    with pytest.raises(ValueError, match="back"):
        unpack(bytes([17 + 4]) + b"abcd" + bytes([0x2C, 0xFC, 0xFF]) + b"\x11\0\0", 100)


@pytest.mark.parametrize("name", ["gzip", "xz", "lzma", "lz4", "lzo", "zstd"])
def test_noise_is_a_value_error(name: str) -> None:
    try:
        unpack = method(name)
    except OSError as problem:
        pytest.skip(str(problem.strerror))
    noise = random.Random(name)
    for size in (0, 1, 2, 10, 100, 5000):
        for _ in range(20):
            try:
                assert len(unpack(noise.randbytes(size), 8192)) <= 8192
            except ValueError as problem:
                assert str(problem)


def test_zlib_stays_within_its_limit() -> None:
    unpack = method("gzip")
    packed = zlib.compress(b"text" * 1000)
    assert unpack(packed, 4000) == b"text" * 1000
    for size, limit in ((len(packed), 3999), (len(packed) - 3, 4000)):
        with pytest.raises(ValueError, match="cut off"):
            unpack(packed[:size], limit)


def test_xz_stays_within_its_limit() -> None:
    lzma = pytest.importorskip("lzma")
    for name, form in (("xz", lzma.FORMAT_XZ), ("lzma", lzma.FORMAT_ALONE)):
        unpack = method(name)
        packed = lzma.compress(bytes(1 << 20), form)
        assert unpack(packed, 1 << 20) == bytes(1 << 20)
        with pytest.raises(ValueError, match="cut off"):
            unpack(packed, (1 << 20) - 1)


@pytest.mark.parametrize("module", ["compression.zstd", "zstandard"])
def test_zstd_stays_within_its_limit(module: str) -> None:
    zstd = pytest.importorskip(module)
    packed = zstd.compress(bytes(1 << 20))
    unpack = method("zstd")
    assert unpack(packed, 1 << 20) == bytes(1 << 20)
    with pytest.raises(ValueError, match=r"limit|more than"):
        unpack(packed, (1 << 20) - 1)
