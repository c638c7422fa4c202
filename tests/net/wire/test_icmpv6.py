from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hyper.frame import Frame
from rumpkit.net.wire.checksum import pseudo_sum
from rumpkit.net.wire.icmpv6 import (
    ECHO_REPLY,
    ECHO_REQUEST,
    PACKET_TOO_BIG,
    Icmp6Message,
    echo_reply,
    error_about,
    parse_icmpv6,
    parse_quote,
)
from rumpkit.net.wire.ipv6 import emit_ipv6_header
from rumpkit.net.wire.offload import transport_checksum_valid

addresses = st.binary(min_size=16, max_size=16)
octets = st.integers(0, 255)
SOURCE = bytes.fromhex("fd000000000000000000000000000001")
DESTINATION = bytes.fromhex("fd000000000000000000000000000002")


@pytest.mark.rfc("8200", "8.1-h")
@given(octets, octets, st.integers(0, 0xFFFFFFFF), st.binary(max_size=99), addresses, addresses, st.integers(0, 9))
def test_round_trip(
    kind: int, code: int, rest: int, data: bytes, source: bytes, destination: bytes, offset: int
) -> None:
    emitted = Icmp6Message(kind, code, rest, data).emit(source, destination)
    frame = Frame(bytes(offset) + emitted + b"padding")
    end = offset + len(emitted)
    message = parse_icmpv6(frame, offset, end)
    assert message is not None
    assert (message.kind, message.code, message.rest, message.data) == (kind, code, rest, data)
    assert transport_checksum_valid(frame, offset, end, pseudo_sum(source, destination, 58, len(emitted)))
    assert parse_icmpv6(frame, offset, offset + 7) is None
    assert parse_icmpv6(frame, offset, len(frame) + 1) is None


def test_a_reply_has_what_the_request_had() -> None:
    reply = echo_reply(Icmp6Message(ECHO_REQUEST, 0, 0x12345678, b"data"))
    assert (reply.kind, reply.code, reply.identifier(), reply.sequence()) == (ECHO_REPLY, 0, 0x1234, 0x5678)
    assert reply.data == b"data" and not reply.is_error()


def test_an_error_quotes_what_fits_the_smallest_mtu() -> None:
    packet = emit_ipv6_header(SOURCE, DESTINATION, 17, 2000) + bytes(range(200)) * 10
    message = error_about(PACKET_TOO_BIG, 0, Frame(bytes(14) + packet + b"pad"), 14, 1400)
    assert message.is_error()
    assert len(message.emit(SOURCE, DESTINATION)) + 40 == 1280
    quote = parse_quote(message.data)
    assert quote is not None and (quote.source, quote.destination) == (SOURCE, DESTINATION)
    small = emit_ipv6_header(SOURCE, DESTINATION, 17, 8) + b"whatever"
    assert error_about(1, 4, Frame(small + b"padding"), 0).data == small
    assert parse_quote(small[:39]) is None
