"""Checksums against known values and a bit-by-bit computation."""

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.fs.ext.crc import crc16, crc32c


def slow(crc: int, data: bytes) -> int:
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def test_known_values():
    assert crc32c(0xFFFFFFFF, b"123456789") ^ 0xFFFFFFFF == 0xE3069283
    assert crc32c(0xFFFFFFFF, bytes(32)) ^ 0xFFFFFFFF == 0x8A9136AA
    assert crc16(0, b"123456789") == 0xBB3D


@given(st.integers(0, 0xFFFFFFFF), st.binary(max_size=40), st.sampled_from([0, 1, 300, 480, 1000, 4056, 4096]))
def test_any_length(crc, data, zeros):
    data = data[:20] + bytes(zeros) + data[20:]
    assert crc32c(crc, data) == slow(crc, data)
    assert crc32c(crc32c(crc, data[:7]), data[7:]) == slow(crc, data)


def test_lengths_around_folds():
    pattern = bytes(range(1, 256)) * 40
    for size in (*range(98, 104), 161, 287, 543, 1052, 2064, 4084, 4095, 4096, 4097, 9000):
        assert crc32c(7, pattern[:size]) == slow(7, pattern[:size]), size
