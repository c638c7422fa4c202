from __future__ import annotations

from rumpkit.net.wire.segment import ACK, FIN, SYN, Segment


def test_payload_is_a_slice_of_the_body() -> None:
    body = b"0123456789"
    assert Segment(1, 2, ACK, 3, body, 2, 5).payload() == b"23456"
    assert Segment(1, 2, ACK, 3, body, 0, 10).payload() is body
    assert Segment(1, 2, ACK, 3).payload() == b""


def test_syn_and_fin_take_sequence_numbers() -> None:
    assert Segment(0, 0, ACK, 0, b"abc", 0, 3).span() == 3
    assert Segment(0, 0, SYN, 0).span() == 1
    assert Segment(0, 0, SYN | FIN, 0, b"abc", 0, 3).span() == 5


def test_repr_names_the_flags() -> None:
    assert repr(Segment(7, 8, SYN | ACK, 9)) == "Segment(SA seq=7 ack=8 window=9 size=0)"
