"""Frames: heads in front of bodies held by reference."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hyper.frame import CHECKSUM_PARTIAL, GSO_TCPV4, Frame


def make(head: bytes, body: bytes, start: int, size: int) -> Frame:
    frame = Frame(head, body, start, size)
    frame.checksum = CHECKSUM_PARTIAL
    frame.checksum_start, frame.checksum_offset = 20, 16
    frame.gso_type, frame.gso_size = GSO_TCPV4, 1448
    return frame


@given(head=st.binary(max_size=80), body=st.binary(max_size=200), data=st.data())
def test_a_frame_is_its_head_and_a_run_of_its_body(head, body, data):
    start = data.draw(st.integers(0, len(body)))
    size = data.draw(st.integers(0, len(body) - start))
    frame = make(head, body, start, size)
    assert frame.payload() == body[start : start + size]
    assert frame.linear() == head + body[start : start + size]
    assert len(frame) == len(frame.linear())


def test_a_whole_body_and_a_lone_head_are_not_copied():
    head, body = b"h" * 100, b"b" * 100
    assert Frame(head, body, 0, 100).payload() is body
    assert Frame(head).linear() is head


def test_a_header_in_front_moves_the_checksum():
    frame = make(b"ip+tcp", b"data", 0, 4)
    frame.push(b"ethernet")
    assert frame.linear() == b"ethernetip+tcpdata"
    assert (frame.checksum_start, frame.checksum_offset) == (28, 16)


def test_another_head_keeps_body_and_offload():
    frame = make(b"x" * 40, b"data", 1, 2)
    other = frame.like(b"y" * 54)
    assert other.linear() == b"y" * 54 + b"at"
    assert other.body is frame.body
    assert (other.checksum, other.checksum_start, other.checksum_offset) == (CHECKSUM_PARTIAL, 34, 16)
    assert (other.gso_type, other.gso_size) == (GSO_TCPV4, 1448)
    assert frame.linear() == b"x" * 40 + b"at"
