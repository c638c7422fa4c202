"""Frames of the control protocol: cut anywhere, too long, of no kind."""

import pytest

from rumpkit.clients.control.protocol import (
    BYTES,
    JSON,
    Decoder,
    ProtocolError,
    decode,
    encode,
    encode_bytes,
)


def test_frames_survive_being_cut_anywhere():
    data = encode({"id": 1, "text": "grüße"}) + encode_bytes(7, b"\0\1\2") + encode({})
    for step in (1, 2, 3, 7, len(data)):
        decoder = Decoder(1000)
        found = []
        for start in range(0, len(data), step):
            decoder.feed(data[start : start + step])
            while (frame := decoder.take()) is not None:
                found.append(frame)
        assert [kind for kind, _ in found] == [JSON, BYTES, JSON]
        assert decode(found[0][1]) == {"id": 1, "text": "grüße"}
        assert found[1][1] == bytes(7) + b"\7" + b"\0\1\2"


def test_a_frame_that_is_too_long_is_refused_before_it_has_come():
    decoder = Decoder(1000)
    decoder.feed((1001).to_bytes(4, "big") + b"J")
    with pytest.raises(ProtocolError, match="1001 bytes; at most 1000"):
        decoder.take()


def test_a_frame_of_no_known_kind():
    decoder = Decoder(1000)
    decoder.feed(b"GET / HTTP/1.1\r\n")
    with pytest.raises(ProtocolError):
        decoder.take()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff\xfe", b"[" * 60000, b'{"a": NaN'])
def test_what_is_no_object(body):
    with pytest.raises(ProtocolError):
        decode(body)


@pytest.mark.parametrize("text", ["\udcff", "\ud800", "\0", "grüße", "\U0010ffff"])
def test_names_that_are_no_text_pass(text):
    decoder = Decoder(1000)
    decoder.feed(encode({"path": text}))
    frame = decoder.take()
    assert frame is not None and decode(frame[1]) == {"path": text}
