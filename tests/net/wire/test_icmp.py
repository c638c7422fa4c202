from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hyper.frame import Frame
from rumpkit.net.wire import icmp
from rumpkit.net.wire.icmp import IcmpMessage, echo_reply, error_about, parse_icmp, parse_quote
from rumpkit.net.wire.ipv4 import PROTOCOL_UDP, emit_ipv4_header
from rumpkit.net.wire.offload import transport_checksum_valid
from tests.net.wire.naive import DESTINATION, SOURCE, ones_sum

octets = st.integers(0, 255)


def test_an_echo_by_the_book() -> None:
    data = IcmpMessage(icmp.ECHO, 0, 0x1234 << 16 | 7, b"abc").emit()
    assert data[:2] == b"\x08\x00" and data[4:] == bytes.fromhex("1234 0007 616263")
    assert ones_sum(data) == 0xFFFF


@given(octets, octets, st.integers(0, 2**32 - 1), st.binary(max_size=50), st.integers(0, 20), st.data())
def test_round_trip(kind: int, code: int, rest: int, body: bytes, offset: int, draw: st.DataObject) -> None:
    data = IcmpMessage(kind, code, rest, body).emit()
    assert ones_sum(data) == 0xFFFF
    whole = bytes(offset) + data + b"padding"
    cut = draw.draw(st.integers(0, len(whole)))
    frame = Frame(whole[:cut], b"#" + whole[cut:], 1, len(whole) - cut)
    end = len(whole) - 7
    found = parse_icmp(frame, offset, end)
    assert found is not None
    assert (found.kind, found.code, found.rest, found.data) == (kind, code, rest, body)
    assert transport_checksum_valid(frame, offset, end, 0)


def test_an_echo_is_answered_with_the_same_data() -> None:
    request = IcmpMessage(icmp.ECHO, 0, 0x1234 << 16 | 7, b"abc")
    assert (request.identifier(), request.sequence()) == (0x1234, 7)
    reply = echo_reply(request)
    assert (reply.kind, reply.code, reply.rest, reply.data) == (icmp.ECHO_REPLY, 0, request.rest, b"abc")
    assert not request.is_error() and not reply.is_error()


def offender(payload: int, body: bytes = b"") -> Frame:
    packet = (
        emit_ipv4_header(SOURCE, DESTINATION, PROTOCOL_UDP, payload + len(body)) + bytes(range(8)) + bytes(payload - 8)
    )
    return Frame(bytes(14) + packet, body, 0, len(body))


@pytest.mark.parametrize(("payload", "body", "quoted"), [(8, 0, 28), (100, 50, 170), (8, 2000, 548), (1480, 0, 548)])
def test_an_error_quotes_as_much_as_fits_576_bytes(payload: int, body: int, quoted: int) -> None:
    frame = offender(payload, bytes(body))
    error = error_about(icmp.DESTINATION_UNREACHABLE, icmp.FRAGMENTATION_NEEDED, frame, 14, 1280)
    assert error.is_error() and error.next_hop_mtu() == 1280
    assert error.data == frame.linear()[14 : 14 + quoted]
    assert len(error.emit()) + 20 <= icmp.MAX_ERROR_SIZE
    header = parse_quote(error.data)
    assert header is not None
    assert (header.source, header.destination, header.protocol) == (SOURCE, DESTINATION, PROTOCOL_UDP)
    assert error.data[header.transport :][:8] == bytes(range(8))


def test_an_error_does_not_quote_link_padding() -> None:
    frame = Frame(offender(8).head + bytes(18))
    assert len(error_about(icmp.TIME_EXCEEDED, icmp.TTL_EXCEEDED, frame, 14).data) == 28


def test_pointer() -> None:
    assert error_about(icmp.PARAMETER_PROBLEM, 0, offender(8), 14, 20 << 24).pointer() == 20


def test_a_quote_of_fewer_than_8_bytes_is_refused() -> None:
    quote = offender(8).head[14:]
    assert parse_quote(quote) is not None
    assert parse_quote(quote[:-1]) is None
    assert parse_quote(b"") is None


def test_short_messages_are_refused() -> None:
    frame = Frame(bytes(10))
    assert parse_icmp(frame, 2, 10) is not None
    assert parse_icmp(frame, 3, 10) is None
    assert parse_icmp(frame, 2, 11) is None
    assert parse_icmp(frame, -1, 10) is None


@given(st.binary(max_size=80), st.integers(-5, 90), st.integers(-5, 90))
def test_any_bytes_are_survived(data: bytes, offset: int, end: int) -> None:
    parse_icmp(Frame(data), offset, end)
    parse_quote(data)
