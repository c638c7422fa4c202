from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.arp import PACKET_SIZE, REPLY, REQUEST, ArpPacket, parse_arp
from tests.net.wire.naive import DESTINATION, MAC_A, MAC_B, SOURCE


def test_bytes_of_a_request() -> None:
    packet = ArpPacket(REQUEST, MAC_A, SOURCE, bytes(6), DESTINATION)
    assert packet.emit() == bytes.fromhex("0001 0800 06 04 0001 020000000001 0a000001 000000000000 c0a8fffe")


def test_round_trip_with_padding_around() -> None:
    data = bytes(14) + ArpPacket(REPLY, MAC_A, SOURCE, MAC_B, DESTINATION).emit() + bytes(18)
    packet = parse_arp(data, 14)
    assert packet is not None
    assert packet.operation == REPLY
    assert (packet.sender_mac, packet.sender_ip) == (MAC_A, SOURCE)
    assert (packet.target_mac, packet.target_ip) == (MAC_B, DESTINATION)


def test_other_hardware_protocols_and_lengths_are_refused() -> None:
    good = ArpPacket(REQUEST, MAC_A, SOURCE, MAC_B, DESTINATION).emit()
    for at in range(6):
        bad = bytearray(good)
        bad[at] ^= 1
        assert parse_arp(bytes(bad), 0) is None
    for size in range(PACKET_SIZE):
        assert parse_arp(good[:size], 0) is None


@given(st.binary(max_size=60), st.integers(-5, 70))
def test_any_bytes_are_survived(data: bytes, offset: int) -> None:
    parse_arp(data, offset)
