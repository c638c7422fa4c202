from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.ipv6 import MAX_PAYLOAD_SIZE, decrement_hop_limit, emit_ipv6_header, parse_ipv6_header

addresses = st.binary(min_size=16, max_size=16)
octets = st.integers(0, 255)
SOURCE = bytes.fromhex("fe80000000000000020000fffe000001")
DESTINATION = bytes.fromhex("ff020000000000000000000000000001")


def test_a_known_header() -> None:
    data = bytes.fromhex("6bf12345001e3a40") + SOURCE + DESTINATION
    header = parse_ipv6_header(data, 0, 70)
    assert header is not None
    assert (header.traffic_class, header.flow, header.payload_size) == (0xBF, 0x12345, 30)
    assert (header.next_header, header.hop_limit, header.source, header.destination) == (58, 64, SOURCE, DESTINATION)
    assert header.end == 70
    assert emit_ipv6_header(SOURCE, DESTINATION, 58, 30, 64, 0xBF, 0x12345) == data


@given(
    addresses, addresses, octets, st.integers(0, 0xFFFF), octets, octets, st.integers(0, 0xFFFFF), st.integers(0, 20)
)
def test_round_trip(
    source: bytes, destination: bytes, kind: int, size: int, hops: int, traffic: int, flow: int, offset: int
) -> None:
    data = emit_ipv6_header(source, destination, kind, size, hops, traffic, flow)
    header = parse_ipv6_header(bytes(offset) + data, offset, 40 + size)
    assert header is not None
    assert (header.source, header.destination, header.next_header) == (source, destination, kind)
    assert (header.hop_limit, header.traffic_class, header.flow) == (hops, traffic, flow)
    assert (header.offset, header.payload_size, header.end) == (offset, size, offset + 40 + size)


def test_lengths_that_contradict_each_other_are_refused() -> None:
    data = emit_ipv6_header(SOURCE, DESTINATION, 17, 8)
    assert parse_ipv6_header(data, 0, 48) is not None
    assert parse_ipv6_header(data, 0, 60) is not None, "link padding is fine"
    assert parse_ipv6_header(data, 0, 47) is None, "a payload past the frame"
    assert parse_ipv6_header(data[:39], 0, 48) is None
    assert parse_ipv6_header(b"\x45" + data[1:], 0, 48) is None, "version 4"


@given(st.binary(max_size=80), st.integers(-5, 90), st.integers(-5, 40 + MAX_PAYLOAD_SIZE))
def test_any_bytes_are_survived(data: bytes, offset: int, available: int) -> None:
    header = parse_ipv6_header(data, offset, available)
    if header is not None:
        assert offset + 40 <= len(data) and header.end <= offset + available


@given(st.integers(2, 255))
def test_a_router_takes_one_hop(hops: int) -> None:
    onward = decrement_hop_limit(bytes(14) + emit_ipv6_header(SOURCE, DESTINATION, 6, 0, hops), 14)
    assert onward == bytes(14) + emit_ipv6_header(SOURCE, DESTINATION, 6, 0, hops - 1)
