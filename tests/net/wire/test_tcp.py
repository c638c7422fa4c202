from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hyper.frame import CHECKSUM_PARTIAL, GSO_NONE, GSO_TCPV4, GSO_TCPV6, Frame
from rumpkit.net.wire.segment import ACK, FIN, NO_SCALE, PSH, SYN, URG, Segment
from rumpkit.net.wire.tcp import emit_header, emit_segment, parse_segment
from rumpkit.net.wire.tcp_options import options_size, parse_options

numbers = st.integers(0, 2**32 - 1)
words = st.integers(0, 0xFFFF)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    body = draw(st.binary(max_size=60))
    start = draw(st.integers(0, len(body)))
    size = draw(st.integers(0, len(body) - start))
    segment = Segment(draw(numbers), draw(numbers), draw(st.integers(0, 255)), draw(words), body, start, size)
    segment.urgent = draw(words)
    if draw(st.booleans()):
        segment.has_timestamp = True
        segment.ts_value, segment.ts_echo = draw(numbers), draw(numbers)
    if draw(st.booleans()):
        segment.mss = draw(st.integers(0, 0xFFFF))
        segment.window_scale = draw(st.integers(-1, 255))
        segment.sack_permitted = draw(st.booleans())
    if draw(st.booleans()):
        segment.sack_blocks = tuple(draw(st.lists(st.tuples(numbers, numbers), max_size=4)))
    return segment


def fields(segment: Segment) -> tuple[object, ...]:
    return (
        segment.seq, segment.ack, segment.flags, segment.window, segment.urgent, segment.mss, segment.window_scale,
        segment.has_timestamp, segment.ts_value, segment.ts_echo, segment.sack_permitted, segment.payload(),
    )  # fmt: skip


@pytest.mark.rfc("9293", "MUST-5")
@given(segments(), words, words, st.integers(0, 30), st.booleans())
def test_round_trip(segment: Segment, sport: int, dport: int, offset: int, linear: bool) -> None:
    frame = emit_segment(segment, sport, dport, 1)
    assert len(frame.head) % 4 == 0 and len(frame.head) <= 60
    assert len(frame.head) == 20 + options_size(segment)
    assert struct.unpack("!HH", frame.head[:4]) == (sport, dport)
    frame = Frame(bytes(offset) + frame.head, frame.body, frame.start, frame.size)
    if linear:
        frame = Frame(frame.linear())
    found = parse_segment(frame, offset, len(frame))
    assert found is not None
    assert fields(found) == fields(segment)
    assert found.segments == 1 and found.gso_size == 0
    blocks, segment.sack_blocks = segment.sack_blocks, ()
    assert found.sack_blocks == blocks[: (36 - options_size(segment)) // 8]


def test_header_by_the_book() -> None:
    segment = Segment(0x01020304, 0xFFFEFDFC, PSH | ACK, 0x8001)
    segment.urgent = 0x1234
    expected = struct.pack("!HHIIHHHH", 4000, 65535, 0x01020304, 0xFFFEFDFC, 0x5018, 0x8001, 0, 0x1234)
    assert emit_header(segment, 4000, 65535) == expected
    segment.has_timestamp = True
    segment.ts_value, segment.ts_echo = 0xDEADBEEF, 7
    expected = expected[:12] + b"\x80" + expected[13:] + bytes.fromhex("0101080adeadbeef00000007")
    assert emit_header(segment, 4000, 65535) == expected


@pytest.mark.rfc("9293", "MUST-68", "MUST-69")
def test_options_of_a_syn_by_the_book() -> None:
    segment = Segment(1, 0, SYN, 65535)
    segment.mss, segment.window_scale = 1460, 7
    assert emit_header(segment, 1, 2)[20:] == bytes.fromhex("020405b4 01030307")
    segment.sack_permitted = True
    assert emit_header(segment, 1, 2)[20:] == bytes.fromhex("020405b4 01010402 01030307")
    segment.has_timestamp = True
    segment.ts_value = 5
    assert emit_header(segment, 1, 2)[20:] == bytes.fromhex("020405b4 0402080a 00000005 00000000 01030307")


@pytest.mark.parametrize(("timestamps", "room"), [(False, 4), (True, 3)])
def test_sack_blocks_that_do_not_fit_are_left_out(timestamps: bool, room: int) -> None:
    segment = Segment(1, 2, ACK, 3)
    segment.has_timestamp = timestamps
    segment.sack_blocks = ((10, 20), (30, 40), (50, 2**32 - 1), (70, 80), (90, 100))
    frame = emit_segment(segment, 1, 2, 0)
    found = parse_segment(frame, 0, len(frame))
    assert found is not None
    assert found.sack_blocks == segment.sack_blocks[:room]


def test_numbers_are_reduced_to_32_bits() -> None:
    segment = Segment(2**32 + 5, 2**32 + 6, ACK, 0)
    segment.has_timestamp = True
    segment.ts_value, segment.ts_echo = 2**32 + 7, 2**32 + 8
    found = parse_segment(Frame(emit_header(segment, 0, 0)), 0, 32)
    assert found is not None
    assert (found.seq, found.ack, found.ts_value, found.ts_echo) == (5, 6, 7, 8)


def test_the_field_holds_the_pseudo_header_sum() -> None:
    segment = Segment(1, 2, ACK, 3, b"abcde", 0, 5)
    frame = emit_segment(segment, 1, 2, 0xFFF0)
    assert frame.checksum == CHECKSUM_PARTIAL
    assert (frame.checksum_start, frame.checksum_offset) == (0, 16)
    assert frame.head[16:18] == (0xFFF0 + 25 - 0xFFFF).to_bytes(2, "big")
    assert emit_header(segment, 1, 2)[16:18] == b"\0\0"


@pytest.mark.parametrize(
    ("size", "gso_size", "segments"), [(0, 0, 1), (0, 10, 1), (10, 10, 1), (11, 10, 2), (30, 10, 3), (30, 0, 1)]
)
def test_a_super_segment_counts_for_its_segments(size: int, gso_size: int, segments: int) -> None:
    segment = Segment(1, 2, ACK, 3, bytes(size), 0, size)
    segment.gso_size = gso_size
    frame = emit_segment(segment, 1, 2, 0)
    assert segment.segments == segments
    assert frame.gso_type == (GSO_TCPV4 if segments > 1 else GSO_NONE)
    assert emit_segment(segment, 1, 2, 0, GSO_TCPV6).gso_type == (GSO_TCPV6 if segments > 1 else GSO_NONE)
    found = parse_segment(frame, 0, len(frame))
    assert found is not None
    assert found.segments == segments
    assert found.gso_size == (gso_size if segments > 1 else 0)


def test_payload_is_taken_by_reference() -> None:
    body = bytes(1000)
    frame = emit_segment(Segment(1, 2, ACK, 3, body, 100, 500), 1, 2, 0)
    assert frame.body is body
    found = parse_segment(frame, 0, len(frame))
    assert found is not None
    assert found.body is body and (found.start, found.size) == (100, 500)
    linear = Frame(frame.linear())
    found = parse_segment(linear, 0, len(linear))
    assert found is not None
    assert found.body is linear.head and (found.start, found.size) == (20, 500)


def test_link_padding_is_no_payload() -> None:
    frame = Frame(emit_header(Segment(1, 2, ACK, 3), 1, 2) + b"xy" + b"\0" * 6)
    found = parse_segment(frame, 0, 22)
    assert found is not None
    assert found.payload() == b"xy"


@given(segments(), st.data())
def test_any_cut_between_head_and_body_gives_the_same_segment(segment: Segment, draw: st.DataObject) -> None:
    whole = emit_segment(segment, 1, 2, 0).linear()
    cut = draw.draw(st.integers(0, len(whole)))
    found = parse_segment(Frame(whole[:cut], b"##" + whole[cut:], 2, len(whole) - cut), 0, len(whole))
    assert found is not None
    assert fields(found) == fields(segment)


OPTIONS_THAT_ARE_SKIPPED = [
    "00 ff ff ff",  # whatever comes after the end of the list
    "fe 04 ab cd",  # unknown
    "02 03 01 01",  # an MSS of one byte
    "03 04 01 01",
    "05 06 00000000 0101",  # half a block
    "05 0c 00000001 00000002 0101",  # a block and a quarter
    "08 04 0000",
]
OPTIONS_THAT_ARE_MALFORMED = [
    "02 00 05 b4",
    "02 01 00 00",
    "02 05 05 b4",
    "01 01 01 02",
    "08 0a 0000",
    "05 0a 00000000 0000",
]


@pytest.mark.rfc("9293", "MUST-4", "MUST-6")
@pytest.mark.parametrize("text", OPTIONS_THAT_ARE_SKIPPED)
def test_strange_options_are_skipped(text: str) -> None:
    segment = Segment(1, 2, SYN, 3)
    data = bytes.fromhex(text)
    assert parse_options(segment, data, 0, len(data))
    assert (segment.mss, segment.window_scale, segment.has_timestamp) == (0, NO_SCALE, False)
    assert segment.sack_blocks == ()


@pytest.mark.rfc("9293", "MUST-7")
@pytest.mark.parametrize("text", OPTIONS_THAT_ARE_MALFORMED)
def test_a_bad_option_length_makes_the_segment_malformed(text: str) -> None:
    options = bytes.fromhex(text)
    header = emit_header(Segment(1, 2, SYN, 3), 1, 2)
    header = header[:12] + bytes([(20 + len(options)) << 2]) + header[13:]
    assert not parse_options(Segment(1, 2, SYN, 3), options, 0, len(options))
    assert parse_segment(Frame(header + options + b"payload"), 0, len(header) + len(options) + 7) is None


@pytest.mark.rfc("9293", "MUST-4", "MUST-64")
def test_timestamps_in_an_unusual_place_are_found() -> None:
    segment = Segment(1, 2, ACK, 3)
    for text in ("080a 00000001 00000002 0000", "01 080a 00000001 00000002 01", "0101 080a 00000001 00000002"):
        assert parse_options(segment, bytes.fromhex(text), 0, 12)
        assert (segment.has_timestamp, segment.ts_value, segment.ts_echo) == (True, 1, 2)
        segment = Segment(1, 2, ACK, 3)


def test_bad_lengths_are_refused() -> None:
    header = emit_header(Segment(1, 2, URG | FIN, 3), 1, 2)
    assert parse_segment(Frame(header), 0, 20) is not None
    assert parse_segment(Frame(header), 0, 21) is None, "an end past the frame"
    assert parse_segment(Frame(header), 0, 19) is None
    assert parse_segment(Frame(header), 1, 20) is None
    assert parse_segment(Frame(header), -1, 20) is None
    assert parse_segment(Frame(header[:12] + b"\x40" + header[13:]), 0, 20) is None, "a header of 16 bytes"
    assert parse_segment(Frame(header[:12] + b"\x60" + header[13:]), 0, 20) is None, "options past the end"
    assert parse_segment(Frame(header[:12] + b"\x60" + header[13:] + b"1111"), 0, 20) is None, "options in the padding"


@given(st.binary(max_size=90), st.binary(max_size=20), st.integers(-5, 110), st.integers(-5, 120))
def test_any_bytes_are_survived(head: bytes, body: bytes, offset: int, end: int) -> None:
    found = parse_segment(Frame(head, body, 0, len(body)), offset, end)
    if found is not None:
        assert found.start >= 0 and found.start + found.size <= len(found.body)


@given(segments(), st.data())
def test_a_damaged_segment_is_survived(segment: Segment, draw: st.DataObject) -> None:
    frame = emit_segment(segment, 1, 2, 0)
    head = bytearray(frame.head)
    for _ in range(draw.draw(st.integers(1, 4))):
        head[draw.draw(st.integers(12, len(head) - 1))] = draw.draw(st.integers(0, 255))
    damaged = Frame(bytes(head), frame.body, frame.start, frame.size)
    found = parse_segment(damaged, 0, len(damaged))
    if found is not None:
        assert found.size == len(found.payload()) <= len(damaged) - 20
