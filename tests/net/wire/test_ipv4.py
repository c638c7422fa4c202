from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.ipv4 import (
    DONT_FRAGMENT,
    MAX_PACKET_SIZE,
    MORE_FRAGMENTS,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    decrement_ttl,
    emit_ipv4_header,
    parse_ipv4_header,
)
from tests.net.wire.naive import DESTINATION, SOURCE, ones_sum

addresses = st.binary(min_size=4, max_size=4)
words = st.integers(0, 0xFFFF)
octets = st.integers(0, 255)


def test_a_known_header() -> None:
    data = bytes.fromhex("4500003c1c4640004006b1e6ac100a63ac100a0c")
    header = parse_ipv4_header(data, 0, 60)
    assert header is not None
    assert header.checksum_valid
    assert (header.tos, header.total_length, header.identification, header.ttl) == (0, 60, 0x1C46, 64)
    assert (header.protocol, header.source, header.destination) == (
        6,
        bytes([172, 16, 10, 99]),
        bytes([172, 16, 10, 12]),
    )
    assert header.dont_fragment() and not header.more_fragments() and not header.is_fragment()
    assert emit_ipv4_header(header.source, header.destination, 6, 40, 0x1C46) == data


@given(
    addresses, addresses, octets, st.integers(0, 1400), words, words, octets, octets,
    st.integers(0, 10).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words)), st.integers(0, 20),
)  # fmt: skip
def test_round_trip(
    source: bytes, destination: bytes, protocol: int, size: int, identification: int, fragment: int, ttl: int, tos: int,
    options: bytes, offset: int,
) -> None:  # fmt: skip
    data = emit_ipv4_header(source, destination, protocol, size, identification, fragment, ttl, tos, options)
    assert ones_sum(data) == 0xFFFF
    header = parse_ipv4_header(bytes(offset) + data, offset, len(data) + size)
    assert header is not None
    assert header.checksum_valid
    assert (header.source, header.destination, header.protocol) == (source, destination, protocol)
    assert (header.identification, header.fragment, header.ttl, header.tos) == (identification, fragment, ttl, tos)
    assert header.offset == offset
    assert header.transport == offset + 20 + len(options)
    assert header.end == header.transport + size
    assert header.fragment_offset() == (fragment & 0x1FFF) * 8
    assert header.is_fragment() == (fragment & 0x3FFF != 0)


def test_fragments() -> None:
    first = parse_ipv4_header(emit_ipv4_header(SOURCE, DESTINATION, 17, 8, 1, MORE_FRAGMENTS), 0, 28)
    last = parse_ipv4_header(emit_ipv4_header(SOURCE, DESTINATION, 17, 8, 1, 185), 0, 28)
    assert first is not None and last is not None
    assert first.is_fragment() and first.more_fragments() and first.fragment_offset() == 0
    assert last.is_fragment() and not last.more_fragments() and last.fragment_offset() == 1480


@pytest.mark.rfc("1122", "3.2.1.1-a")
def test_lengths_that_contradict_each_other_are_refused() -> None:
    data = emit_ipv4_header(SOURCE, DESTINATION, PROTOCOL_TCP, 40)
    assert parse_ipv4_header(data, 0, 60) is not None
    assert parse_ipv4_header(data, 0, 64) is not None, "link padding is fine"
    assert parse_ipv4_header(data, 0, 59) is None, "a total length past the frame"
    assert parse_ipv4_header(data[:19], 0, 60) is None
    assert parse_ipv4_header(b"\x44" + data[1:], 0, 60) is None, "a header of 16 bytes"
    assert parse_ipv4_header(b"\x46" + data[1:], 0, 60) is None, "options that aren't there"
    assert parse_ipv4_header(b"\x65" + data[1:], 0, 60) is None, "version 6"
    assert parse_ipv4_header(data[:2] + b"\0\x13" + data[4:], 0, 60) is None, "a total length below the header's"


@given(st.integers(0, 19), st.integers(0, 7))
def test_a_flipped_bit_never_passes(at: int, bit: int) -> None:
    damaged = bytearray(emit_ipv4_header(SOURCE, DESTINATION, PROTOCOL_UDP, 8, 77, DONT_FRAGMENT, 3, 4))
    damaged[at] ^= 1 << bit
    header = parse_ipv4_header(bytes(damaged), 0, 28)
    assert header is None or not header.checksum_valid


@given(st.binary(max_size=80), st.integers(-5, 90), st.integers(-5, MAX_PACKET_SIZE))
def test_any_bytes_are_survived(data: bytes, offset: int, available: int) -> None:
    header = parse_ipv4_header(data, offset, available)
    if header is not None:
        assert header.transport <= len(data) and header.transport <= header.end <= offset + available


@given(st.binary(min_size=4, max_size=64), st.integers(0, 75), st.integers(0, 255))
def test_a_damaged_header_is_survived(seed: bytes, at: int, value: int) -> None:
    data = bytearray(emit_ipv4_header(SOURCE, DESTINATION, 6, 40, options=b"\1" * 12) + seed)
    data[at % len(data)] = value
    parse_ipv4_header(bytes(data), 0, len(data))


@pytest.mark.parametrize("ttl", [2, 3, 64, 128, 255])
@given(words)
def test_a_router_keeps_the_checksum_right(ttl: int, identification: int) -> None:
    data = bytes(14) + emit_ipv4_header(SOURCE, DESTINATION, PROTOCOL_TCP, 0, identification, 0, ttl)
    onward = decrement_ttl(data, 14)
    header = parse_ipv4_header(onward, 14, 20)
    assert header is not None
    assert header.checksum_valid and header.ttl == ttl - 1 and header.identification == identification
