from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.checksum import fold, internet_checksum, join_sums, pseudo_sum, sum_bytes
from tests.net.wire.naive import ones_sum, pseudo_header


def test_example_of_rfc_1071() -> None:
    data = bytes.fromhex("0001f203f4f5f6f7")
    assert sum_bytes(data, 0, 8) == 0xDDF2
    assert internet_checksum(data, 0, 8) == 0x220D


def test_a_known_ipv4_header() -> None:
    header = bytes.fromhex("4500003c1c4640004006b1e6ac100a63ac100a0c")
    assert internet_checksum(header, 0, 20) == 0
    blank = header[:10] + b"\0\0" + header[12:]
    assert internet_checksum(blank, 0, 20) == 0xB1E6


@pytest.mark.parametrize("size", [*range(70), 1463, 1464, 4095, 4096, 4097, 8192, 8193, 65535])
def test_every_length_and_alignment_agrees_with_the_naive_sum(size: int) -> None:
    data = bytes((at * 167 + at // 251) & 0xFF for at in range(size + 9))
    for start in range(9):
        assert sum_bytes(data, start, start + size) == ones_sum(data[start : start + size])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 31, 32, 33, 5000])
def test_only_nothing_but_zeros_sums_to_zero(size: int) -> None:
    assert sum_bytes(bytes(size), 0, size) == 0
    assert sum_bytes(bytes(size), 0, size, 0xFFFF) == 0xFFFF
    even = size & ~1
    assert sum_bytes(b"\xff" * even, 0, even) == (0xFFFF if even else 0)


@given(st.binary(max_size=80), st.data())
def test_every_split_joins(data: bytes, draw: st.DataObject) -> None:
    whole = ones_sum(data)
    cut = draw.draw(st.integers(0, len(data)))
    first = sum_bytes(data, 0, cut)
    assert join_sums(first, sum_bytes(data, cut, len(data)), cut) == whole
    if cut % 2 == 0:
        assert sum_bytes(data, cut, len(data), first) == whole


@given(st.integers(0, 2**40))
def test_fold(total: int) -> None:
    folded = fold(total)
    assert 0 <= folded <= 0xFFFF
    assert folded % 0xFFFF == total % 0xFFFF
    assert (folded == 0) == (total == 0)


@given(st.sampled_from([4, 16]), st.integers(1, 255), st.integers(0, 0xFFFF), st.data())
def test_pseudo_header(size: int, protocol: int, length: int, draw: st.DataObject) -> None:
    source = draw.draw(st.binary(min_size=size, max_size=size))
    destination = draw.draw(st.binary(min_size=size, max_size=size))
    expected = ones_sum(pseudo_header(source, destination, protocol, length))
    assert pseudo_sum(source, destination, protocol, length) == expected
    assert fold(pseudo_sum(source, destination, protocol, 0) + length) == expected
