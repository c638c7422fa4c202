from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.ethernet import (
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_QINQ,
    ETHERTYPE_VLAN,
    destination_mac,
    emit_ethernet,
    ethertype,
    network_offset,
    source_mac,
)
from tests.net.wire.naive import MAC_A, MAC_B


def test_round_trip() -> None:
    head = emit_ethernet(MAC_B, MAC_A, ETHERTYPE_ARP)
    assert head == MAC_B + MAC_A + b"\x08\x06"
    assert (destination_mac(head), source_mac(head), ethertype(head)) == (MAC_B, MAC_A, ETHERTYPE_ARP)


def test_a_short_frame_has_no_type() -> None:
    head = emit_ethernet(MAC_B, MAC_A, ETHERTYPE_IPV4)
    for size in range(14):
        assert ethertype(head[:size]) == -1
        assert network_offset(head[:size]) == -1


def test_network_offset_looks_behind_two_tags_and_no_further() -> None:
    addresses = MAC_B + MAC_A
    tag = ETHERTYPE_VLAN.to_bytes(2, "big") + b"\x00\x07"
    outer = ETHERTYPE_QINQ.to_bytes(2, "big") + b"\x00\x09"
    ip = ETHERTYPE_IPV4.to_bytes(2, "big")
    assert network_offset(addresses + ip) == 14
    assert network_offset(addresses + ETHERTYPE_IPV6.to_bytes(2, "big")) == 14
    assert network_offset(addresses + tag + ip) == 18
    assert network_offset(addresses + outer + tag + ip) == 22
    assert network_offset(addresses + tag + tag + tag + ip) == -1
    assert network_offset(addresses + tag) == -1
    assert network_offset(addresses + b"\x08\x06") == -1


@given(st.binary(max_size=40))
def test_any_bytes_are_survived(data: bytes) -> None:
    assert -1 <= ethertype(data) <= 0xFFFF
    assert network_offset(data) <= len(data)
