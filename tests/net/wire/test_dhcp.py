"""DHCP messages: bytes and back, what is refused, the options with a form of their own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.dhcp import (
    ACK,
    BOOTREPLY,
    BOOTREQUEST,
    CLASSLESS_ROUTES,
    COOKIE,
    FIXED_SIZE,
    MESSAGE_TYPE,
    MIN_SIZE,
    OVERLOAD,
    DhcpMessage,
    emit_classless_routes,
    parse_addresses,
    parse_classless_routes,
    parse_dhcp,
    parse_search,
)

MAC = b"\2\0\0\0\0\1"
address = st.binary(min_size=4, max_size=4)
options = st.dictionaries(st.integers(1, 254).filter(lambda number: number != OVERLOAD), st.binary(max_size=600))


@given(st.sampled_from([BOOTREQUEST, BOOTREPLY]), st.integers(0, 2**32 - 1), address, address, address, options)
def test_round_trip(operation, transaction, client, yours, relay, chosen):
    message = DhcpMessage(operation, transaction, MAC)
    message.seconds, message.flags = 7, 0x8000
    message.client, message.yours, message.relay = client, yours, relay
    message.options = chosen
    data = message.emit()
    again = parse_dhcp(data)
    assert again is not None
    assert (again.operation, again.transaction, again.hardware) == (operation, transaction, MAC)
    assert (again.seconds, again.flags) == (7, 0x8000)
    assert (again.client, again.yours, again.relay) == (client, yours, relay)
    assert again.options == chosen
    assert again.emit() == data
    assert len(data) >= MIN_SIZE


def test_bytes_of_a_message():
    message = DhcpMessage(BOOTREQUEST, 0x12345678, MAC)
    message.options[MESSAGE_TYPE] = b"\5"
    data = message.emit()
    assert data[:12] == bytes.fromhex("01 01 06 00 12345678 0000 0000")
    assert data[28:44] == MAC + bytes(10)
    assert data[FIXED_SIZE : FIXED_SIZE + 8] == COOKIE + bytes((53, 1, 5, 255))
    assert message.kind() == ACK


def test_options_also_hide_in_the_name_fields():
    data = bytearray(DhcpMessage(BOOTREPLY, 1, MAC).emit())
    data[FIXED_SIZE + 4 : FIXED_SIZE + 11] = bytes((OVERLOAD, 1, 3, 15, 2, 97, 98))
    data[FIXED_SIZE + 11] = 255
    data[108:112] = bytes((15, 1, 99, 255))
    data[44:48] = bytes((12, 1, 104, 255))
    message = parse_dhcp(bytes(data))
    assert message is not None
    assert message.options == {15: b"abc", 12: b"h"}
    data[108:112] = bytes((OVERLOAD, 1, 3, 255))
    message = parse_dhcp(bytes(data))
    assert message is not None
    assert OVERLOAD not in message.options


@pytest.mark.parametrize("at", [1, 2, FIXED_SIZE, FIXED_SIZE + 5])
def test_what_is_no_message_of_ours(at):
    message = DhcpMessage(BOOTREPLY, 1, MAC)
    message.options[MESSAGE_TYPE] = b"\5"
    data = bytearray(message.emit())
    data[at] = 0xFE
    assert parse_dhcp(bytes(data)) is None
    for size in range(FIXED_SIZE + 4):
        assert parse_dhcp(message.emit()[:size]) is None


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data):
    parse_dhcp(data)
    parse_dhcp(DhcpMessage(BOOTREPLY, 1, MAC).emit()[: FIXED_SIZE + 4] + data)
    parse_search(data)
    parse_addresses(data)
    routes = parse_classless_routes(data)
    assert parse_classless_routes(emit_classless_routes(routes)) == routes


def test_classless_routes_as_in_the_rfc():
    value = bytes.fromhex("00 0a000001 08 0a 0a000002 18 0a1180 0a000003 20 0a0b0c0d 0a000004")
    assert parse_classless_routes(value) == [
        (bytes(4), 0, b"\x0a\0\0\1"),
        (b"\x0a\0\0\0", 8, b"\x0a\0\0\2"),
        (b"\x0a\x11\x80\0", 24, b"\x0a\0\0\3"),
        (b"\x0a\x0b\x0c\x0d", 32, b"\x0a\0\0\4"),
    ]
    assert emit_classless_routes(parse_classless_routes(value)) == value
    assert parse_classless_routes(value[:-1]) == parse_classless_routes(b"\x21" + bytes(9)) == []


def test_a_search_list_as_in_the_rfc():
    value = b"\3eng\5apple\3com\0\x09marketing\xc0\x04"
    assert parse_search(value) == ["eng.apple.com", "marketing.apple.com"]
    assert parse_search(value[:-1]) == []


def test_numbers_and_addresses_of_the_wrong_size_are_none():
    message = DhcpMessage(BOOTREPLY, 1, MAC)
    message.options = {51: bytes(3), 26: b"\5\xdc", 3: b"\x0a\0\0", 54: b"\x0a\0\0\1\x0a\0\0\2", CLASSLESS_ROUTES: b""}
    assert (message.number(51), message.number(26, 2), message.address(3)) == (-1, 1500, b"")
    assert message.address(54) == b"\x0a\0\0\1"
    assert parse_addresses(message.options[54]) == [b"\x0a\0\0\1", b"\x0a\0\0\2"]
    assert message.kind() == 0
