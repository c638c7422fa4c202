from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hyper.frame import CHECKSUM_PARTIAL, GSO_NONE, GSO_UDP_L4, Frame
from rumpkit.net.wire.udp import emit_datagram, emit_udp_header, parse_udp

words = st.integers(0, 0xFFFF)


def test_header_by_the_book() -> None:
    assert emit_udp_header(53, 65535, 4, 0xABCD) == bytes.fromhex("0035 ffff 000c abcd")


@given(words, words, words, st.binary(max_size=40), st.data())
def test_round_trip_however_the_frame_is_cut(
    sport: int, dport: int, addresses: int, body: bytes, draw: st.DataObject
) -> None:
    start = draw.draw(st.integers(0, len(body)))
    frame = emit_datagram(sport, dport, addresses, body, start, len(body) - start)
    assert frame.checksum == CHECKSUM_PARTIAL and frame.gso_type == GSO_NONE
    whole = bytes(5) + frame.linear() + bytes(3)
    cut = draw.draw(st.integers(0, len(whole)))
    for received in (
        Frame(bytes(5) + frame.head, frame.body, frame.start, frame.size),
        Frame(whole),
        Frame(whole[:cut], b"#" + whole[cut:], 1, len(whole) - cut),
    ):
        found = parse_udp(received, 5, len(whole) - 3)
        assert found is not None
        assert (found.sport, found.dport, found.payload()) == (sport, dport, body[start:])
        assert found.checksum == int.from_bytes(frame.head[6:8], "big")


def test_payload_is_taken_by_reference() -> None:
    body = bytes(100)
    frame = emit_datagram(1, 2, 0, body, 10, 50)
    found = parse_udp(frame, 0, len(frame))
    assert found is not None
    assert found.body is body and (found.start, found.size) == (10, 50)


def test_a_batch_keeps_its_datagram_size() -> None:
    frame = emit_datagram(1, 2, 0, bytes(25), 0, 25, 10)
    assert (frame.gso_type, frame.gso_size) == (GSO_UDP_L4, 10)
    found = parse_udp(frame, 0, len(frame))
    assert found is not None
    assert found.gso_size == 10
    assert emit_datagram(1, 2, 0, bytes(10), 0, 10, 10).gso_type == GSO_NONE


def test_bad_lengths_are_refused() -> None:
    good = emit_udp_header(1, 2, 4) + b"data"
    assert parse_udp(Frame(good), 0, 12) is not None
    assert parse_udp(Frame(good), 0, 11) is None, "a length past the packet"
    assert parse_udp(Frame(good), 0, 13) is None, "an end past the frame"
    assert parse_udp(Frame(good), 0, 7) is None
    assert parse_udp(Frame(good), -1, 12) is None
    assert parse_udp(Frame(good[:4] + b"\0\7" + good[6:]), 0, 12) is None
    assert parse_udp(Frame(good[:4] + b"\0\0" + good[6:]), 0, 12) is None
    short = parse_udp(Frame(good[:4] + b"\0\x0a" + good[6:]), 0, 12)
    assert short is not None and short.payload() == b"da", "bytes behind the datagram are dropped"


@given(st.binary(max_size=40), st.binary(max_size=20), st.integers(-5, 60), st.integers(-5, 70))
def test_any_bytes_are_survived(head: bytes, body: bytes, offset: int, end: int) -> None:
    found = parse_udp(Frame(head, body, 0, len(body)), offset, end)
    if found is not None:
        assert found.start >= 0 and found.start + found.size <= len(found.body)
