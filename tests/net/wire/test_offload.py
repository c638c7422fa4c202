from __future__ import annotations

import struct
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rumpkit.hyper.frame import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNVERIFIED,
    CHECKSUM_VERIFIED,
    FEATURE_CHECKSUM,
    FEATURE_TSO4,
    FEATURE_TSO6,
    FEATURE_USO,
    FEATURES_ALL,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    Frame,
)
from rumpkit.net.wire.checksum import pseudo_sum
from rumpkit.net.wire.ethernet import emit_ethernet
from rumpkit.net.wire.ipv4 import MORE_FRAGMENTS, PROTOCOL_UDP, emit_ipv4_header
from rumpkit.net.wire.offload import complete_checksum, finish, segment, transport_checksum_valid, verify
from rumpkit.net.wire.segment import ACK, CWR, FIN, PSH, Segment
from rumpkit.net.wire.tcp import emit_segment
from rumpkit.net.wire.udp import emit_datagram
from tests.net.wire.naive import DESTINATION, MAC_A, MAC_B, SOURCE, Packet, ones_sum, tcp_frame

SOURCE6 = bytes.fromhex("fd000000000000000000000000000001")
DESTINATION6 = bytes.fromhex("fd00000000000000ffffffffffffffff")
NUMBERS = bytes(range(256)) * 300


def super_segment(size: int, gso_size: int, flags: int = ACK, seq: int = 2**32 - 1000, start: int = 3) -> Frame:
    made = Segment(seq, 77, flags, 1000, NUMBERS, start, size)
    made.has_timestamp = True
    made.ts_value = 5
    made.gso_size = gso_size
    return tcp_frame(made, identification=0xFFFE)


def ipv6(frame: Frame, protocol: int) -> Frame:
    frame.push(struct.pack("!IHBB", 6 << 28, len(frame), protocol, 64) + SOURCE6 + DESTINATION6)
    frame.push(emit_ethernet(MAC_B, MAC_A, 0x86DD))
    return frame


def super_segment6(size: int, gso_size: int) -> Frame:
    made = Segment(9, 77, ACK | PSH, 1000, NUMBERS, 0, size)
    made.gso_size = gso_size
    return ipv6(emit_segment(made, 1, 2, pseudo_sum(SOURCE6, DESTINATION6, 6, 0), GSO_TCPV6), 6)


def udp_frame(size: int, gso_size: int = 0) -> Frame:
    frame = emit_datagram(1, 2, pseudo_sum(SOURCE, DESTINATION, PROTOCOL_UDP, 0), NUMBERS, 1, size, gso_size)
    frame.push(emit_ipv4_header(SOURCE, DESTINATION, PROTOCOL_UDP, len(frame), 9))
    frame.push(emit_ethernet(MAC_B, MAC_A, 0x0800))
    return frame


def udp_frame6(size: int, gso_size: int) -> Frame:
    return ipv6(emit_datagram(1, 2, pseudo_sum(SOURCE6, DESTINATION6, 17, 0), NUMBERS, 0, size, gso_size), 17)


def like_a_tap(frame: Frame) -> Frame:
    """The same frame as a host's device gives it: everything in the head."""
    linear = Frame(frame.linear())
    linear.checksum, linear.checksum_start = frame.checksum, frame.checksum_start
    linear.checksum_offset = frame.checksum_offset
    linear.gso_type, linear.gso_size = frame.gso_type, frame.gso_size
    return linear


# Checksums -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 3000), st.booleans())
def test_a_completed_checksum_is_right(size: int, linear: bool) -> None:
    for frame in (tcp_frame(Segment(1, 2, ACK, 3, NUMBERS, 5, size)), udp_frame(size)):
        frame = like_a_tap(frame) if linear else frame
        assert verify(frame, 14), "a partial checksum counts as verified"
        done = complete_checksum(frame)
        assert done.checksum == CHECKSUM_UNVERIFIED
        assert Packet(done.linear()).checksum_right()
        assert done.body is frame.body
        assert verify(done, 14)
        assert complete_checksum(done) is done


def test_a_udp_checksum_of_zero_is_sent_as_ones() -> None:
    packet = Packet(udp_frame(2).linear())
    sum_of_the_rest = ones_sum(packet.pseudo + bytes.fromhex("0001 0002 000a 0000"))
    payload = (sum_of_the_rest ^ 0xFFFF).to_bytes(2, "big")
    frame = emit_datagram(1, 2, pseudo_sum(SOURCE, DESTINATION, PROTOCOL_UDP, 0), payload, 0, 2)
    frame.push(emit_ipv4_header(SOURCE, DESTINATION, PROTOCOL_UDP, len(frame), 9))
    frame.push(emit_ethernet(MAC_B, MAC_A, 0x0800))
    done = complete_checksum(frame)
    assert done.head[40:42] == b"\xff\xff"
    assert verify(done, 14)


@pytest.mark.parametrize("gso_size", [0, 2])
def test_a_tcp_checksum_of_zero_is_sent_as_zero(gso_size: int) -> None:
    """Of the two zeros of one's complement TCP has only one (RFC 1624 section 3); readers like tshark insist."""

    def packet(payload: bytes) -> Packet:
        made = Segment(5, 77, ACK, 1000, payload, 0, len(payload))
        made.gso_size = gso_size
        return Packet(finish(tcp_frame(made), 0)[0].linear())

    complement = packet(bytes(4)).checksum.to_bytes(2, "big")
    first = packet(complement + bytes(2))
    assert first.checksum == 0
    assert first.checksum_right()


def test_a_checksum_outside_the_head_is_left_alone() -> None:
    frame = Frame(bytes(40))
    frame.checksum, frame.checksum_start, frame.checksum_offset = CHECKSUM_PARTIAL, 34, 16
    assert complete_checksum(frame).head == frame.head
    frame.checksum_start = -20
    assert complete_checksum(frame).head == frame.head


@given(st.data())
def test_a_flipped_bit_is_caught(draw: st.DataObject) -> None:
    frame = draw.draw(st.sampled_from([tcp_frame(Segment(1, 2, ACK, 3, NUMBERS, 5, 33)), udp_frame(33)]))
    data = bytearray(complete_checksum(frame).linear())
    at = draw.draw(st.integers(26, len(data) - 1))
    data[at] ^= 1 << draw.draw(st.integers(0, 7))
    if data[23] == PROTOCOL_UDP and data[40:42] == b"\0\0":
        return
    for cut in (len(data), 54 if data[23] == 6 else 42):
        damaged = Frame(bytes(data[:cut]), bytes(data[cut:]), 0, len(data) - cut)
        assert not verify(damaged, 14)
        damaged.checksum = CHECKSUM_VERIFIED
        assert verify(damaged, 14)


def test_what_has_no_checksum_to_check() -> None:
    def packet(protocol: int, payload: bytes, fragment: int = 0) -> Frame:
        return Frame(emit_ipv4_header(SOURCE, DESTINATION, protocol, len(payload), 0, fragment) + payload)

    assert verify(packet(PROTOCOL_UDP, bytes.fromhex("0001 0002 0009 0000 ff")), 0), "the sender computed none"
    assert not verify(packet(PROTOCOL_UDP, bytes.fromhex("0001 0002 0009 0001 ff")), 0)
    assert verify(packet(PROTOCOL_UDP, bytes.fromhex("0001 0002 0009 0001 ff"), MORE_FRAGMENTS), 0)
    assert verify(packet(47, b"whatever"), 0)
    assert not verify(packet(PROTOCOL_UDP, b"short"), 0)
    assert not verify(packet(6, b"short"), 0)
    assert verify(packet(1, bytes.fromhex("0800 f7ff 0000 0000")), 0)
    assert not verify(packet(1, bytes.fromhex("0800 f7fe 0000 0000")), 0)
    assert not verify(Frame(b""), 0)


@given(st.binary(max_size=60), st.binary(max_size=30), st.integers(-5, 100), st.integers(-5, 100))
def test_any_range_is_survived(head: bytes, body: bytes, offset: int, end: int) -> None:
    frame = Frame(head, b"#" + body, 1, len(body))
    inside = 0 <= offset <= end <= len(frame)
    expected = inside and ones_sum(frame.linear()[offset:end]) == 0xFFFF
    assert transport_checksum_valid(frame, offset, end, 0) == expected
    verify(frame, offset)


# Segmentation --------------------------------------------------------------------------------------------------------

MAKERS = {"tcp4": super_segment, "tcp6": super_segment6, "udp4": udp_frame, "udp6": udp_frame6}


@pytest.mark.parametrize("kind", MAKERS)
@given(size=st.integers(1, 5000), gso_size=st.integers(40, 1500), linear=st.booleans())
def test_payloads_join_to_what_was_sent(kind: str, size: int, gso_size: int, linear: bool) -> None:
    frame = MAKERS[kind](size, gso_size)
    payload = frame.payload()
    if linear:
        frame = like_a_tap(frame)
    if size <= gso_size:
        assert frame.gso_type == GSO_NONE
        return
    pieces = segment(frame)
    packets = [Packet(piece.linear()) for piece in pieces]
    assert b"".join(packet.payload for packet in packets) == payload
    assert [len(packet.payload) for packet in packets[:-1]] == [gso_size] * (len(packets) - 1)
    assert 1 <= len(packets[-1].payload) <= gso_size
    assert all(packet.checksum_right() for packet in packets)
    for piece in pieces:
        assert piece.checksum == CHECKSUM_UNVERIFIED and piece.gso_type == GSO_NONE and piece.gso_size == 0
        assert len(piece.head) < 100, "payload stays where it is"


@given(st.integers(2, 5000), st.integers(1, 1500), st.integers(0, 2**32 - 1), st.integers(0, 255))
@example(3000, 1000, 2**32 - 1500, FIN | PSH | CWR | ACK)
def test_sequence_numbers_flags_and_identifications(size: int, gso_size: int, seq: int, flags: int) -> None:
    gso_size = min(gso_size, size - 1)
    packets = [Packet(piece.linear()) for piece in segment(super_segment(size, gso_size, flags, seq))]
    for index, packet in enumerate(packets):
        assert packet.seq == (seq + index * gso_size) % 2**32
        assert packet.identification == (0xFFFE + index) % 2**16
        expected = flags
        if index > 0:
            expected &= ~CWR
        if index < len(packets) - 1:
            expected &= ~(FIN | PSH)
        assert packet.flags == expected
        assert packet.options == bytes.fromhex("0101080a 00000005 00000000")


@pytest.mark.parametrize("kind", MAKERS)
def test_pieces_stay_partial_where_the_link_takes_that(kind: str) -> None:
    frame = MAKERS[kind](3000, 1000)
    for piece in segment(frame, FEATURE_CHECKSUM):
        assert piece.checksum == CHECKSUM_PARTIAL and piece.checksum_start == frame.checksum_start
        packet = Packet(piece.linear())
        assert packet.checksum == ones_sum(packet.pseudo)
        assert piece.body is frame.body
        assert Packet(complete_checksum(piece).linear()).checksum_right()


def test_the_largest_super_segment() -> None:
    pieces = segment(super_segment(65535 - 52, 1448))
    assert len(pieces) == 46
    assert all(Packet(piece.linear()).checksum_right() for piece in pieces)


def test_odd_sizes_at_odd_places() -> None:
    for size, gso_size, start in product((2, 3, 7, 100, 101), (1, 2, 3), (0, 1)):
        if size > gso_size:
            packets = [Packet(piece.linear()) for piece in segment(super_segment(size, gso_size, start=start))]
            assert b"".join(packet.payload for packet in packets) == NUMBERS[start : start + size]
            assert all(packet.checksum_right() for packet in packets)


def test_link_padding_is_not_sent_as_payload() -> None:
    frame = like_a_tap(super_segment(2000, 1448))
    padded = frame.like(frame.head + bytes(7))
    padded.checksum_start = frame.checksum_start
    assert [len(piece) for piece in segment(padded)] == [len(piece) for piece in segment(frame)]


def test_vlan_tags_and_ip_options_are_kept() -> None:
    made = Segment(1, 2, ACK, 3, NUMBERS, 0, 2500)
    made.gso_size = 1000
    frame = emit_segment(made, 1, 2, pseudo_sum(SOURCE, DESTINATION, 6, 0))
    frame.push(emit_ipv4_header(SOURCE, DESTINATION, 6, len(frame), options=b"\1" * 8))
    frame.push(emit_ethernet(MAC_B, MAC_A, 0x8100) + b"\0\7\x08\0")
    pieces = segment(frame)
    assert len(pieces) == 3
    for piece in pieces:
        assert piece.head[12:18] == b"\x81\0\0\7\x08\0" and piece.head[38:46] == b"\1" * 8
        assert Packet(piece.linear()[4:]).checksum_right()


def test_a_udp_checksum_of_zero_in_a_batch_is_sent_as_ones() -> None:
    blank = Packet(segment(udp_frame(4, 2))[0].linear())
    zeroing = ones_sum(blank.pseudo + blank.transport[:6] + bytes(2)) ^ 0xFFFF
    frame = emit_datagram(1, 2, 0, zeroing.to_bytes(2, "big") + b"xx", 0, 4, 2)
    frame.push(emit_ipv4_header(SOURCE, DESTINATION, PROTOCOL_UDP, len(frame), 9))
    frame.push(emit_ethernet(MAC_B, MAC_A, 0x0800))
    assert Packet(segment(frame)[0].linear()).checksum == 0xFFFF


@pytest.mark.parametrize("kind", MAKERS)
def test_lengths_that_contradict_each_other_yield_nothing(kind: str) -> None:
    frame = MAKERS[kind](3000, 1000)
    for cut in (Frame(frame.head, frame.body, frame.start, 2999), Frame(frame.linear()[:-1])):
        cut.gso_type, cut.gso_size = frame.gso_type, frame.gso_size
        assert segment(cut) == []
    for size in range(len(frame.head)):
        cut = Frame(frame.head[:size], frame.body, frame.start, frame.size)
        cut.gso_type, cut.gso_size = frame.gso_type, frame.gso_size
        assert segment(cut) == []


@given(st.sampled_from(sorted(MAKERS)), st.booleans(), st.integers(-1, 70), st.data())
def test_a_damaged_super_segment_is_survived(kind: str, linear: bool, gso_size: int, draw: st.DataObject) -> None:
    frame = MAKERS[kind](200, 60)
    if linear:
        frame = like_a_tap(frame)
    head = bytearray(frame.head)
    for _ in range(draw.draw(st.integers(0, 4))):
        head[draw.draw(st.integers(0, len(head) - 1))] = draw.draw(st.integers(0, 255))
    del head[draw.draw(st.integers(0, len(head))) :]
    damaged = Frame(bytes(head), frame.body, frame.start, frame.size)
    damaged.gso_size = gso_size
    damaged.gso_type = draw.draw(st.sampled_from([GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, 3]))
    pieces = segment(damaged, draw.draw(st.sampled_from([0, FEATURE_CHECKSUM])))
    assert sum(piece.size for piece in pieces) <= len(damaged)
    finish(damaged, 0)


# What an egress sends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "features"),
    [("tcp4", FEATURE_TSO4), ("tcp6", FEATURE_TSO6), ("udp4", FEATURE_USO), ("udp6", FEATURE_USO)],
)
def test_a_link_with_the_feature_gets_the_frame_as_it_is(kind: str, features: int) -> None:
    frame = MAKERS[kind](3000, 1000)
    assert finish(frame, features | FEATURE_CHECKSUM) == [frame]
    assert finish(frame, FEATURES_ALL) == [frame]
    assert len(finish(frame, features)) == 3, "without checksum offload there is no segmentation offload"
    assert len(finish(frame, FEATURES_ALL & ~features)) == 3


def test_plain_frames() -> None:
    frame = tcp_frame(Segment(1, 2, ACK, 3, NUMBERS, 0, 100))
    assert finish(frame, FEATURE_CHECKSUM) == [frame]
    (done,) = finish(frame, FEATURES_ALL & ~FEATURE_CHECKSUM)
    assert Packet(done.linear()).checksum_right()
    assert finish(done, 0) == [done]
    done.checksum = CHECKSUM_VERIFIED
    assert finish(done, 0) == [done]


def test_a_super_segment_that_was_finished_before_is_cut_again() -> None:
    frame = super_segment(3000, 1000)
    frame.checksum = CHECKSUM_VERIFIED
    pieces = finish(frame, FEATURES_ALL)
    assert len(pieces) == 3 and all(piece.checksum == CHECKSUM_PARTIAL for piece in pieces)


def test_a_super_segment_that_makes_no_sense_is_not_sent() -> None:
    frame = super_segment(3000, 1000)
    frame.gso_type = 3
    assert finish(frame, FEATURES_ALL) == []
    frame.gso_type = GSO_TCPV6
    assert finish(frame, 0) == []
