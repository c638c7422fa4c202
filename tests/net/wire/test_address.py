from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire import address as a

v4 = st.binary(min_size=4, max_size=4)
v6 = st.binary(min_size=16, max_size=16) | st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF]), min_size=8, max_size=8).map(
    lambda groups: b"".join(group.to_bytes(2, "big") for group in groups)
)


@given(v4)
def test_ipv4_agrees_with_the_standard_library(address: bytes) -> None:
    text = a.format_ipv4(address)
    assert text == str(ipaddress.IPv4Address(address))
    assert a.parse_ipv4(text) == a.parse_address(text) == address


@given(v6)
def test_ipv6_agrees_with_the_standard_library(address: bytes) -> None:
    text = a.format_address(address)
    if address[:12] != bytes(10) + b"\xff\xff":
        assert text == str(ipaddress.IPv6Address(address))
    assert a.parse_ipv6(text) == a.parse_address(text.upper()) == address
    assert a.parse_ipv6(ipaddress.IPv6Address(address).exploded) == address


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),  # RFC 5952 section 4.2.3: the first of two equal runs
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),  # 4.2.2: one group is not shortened
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),  # 4.2.3: the longest run
        ("2001:DB8::AA", "2001:db8::aa"),  # 4.3: lower case
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),  # 5
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("::", "::"),
        ("::1", "::1"),
        ("1::", "1::"),
    ],
)
def test_text_of_rfc_5952(text: str, canonical: str) -> None:
    assert a.format_ipv6(a.parse_ipv6(text)) == canonical


bad_v4 = [
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "01.2.3.4",
    "1.2.3.",
    "1.2.3.-4",
    " 1.2.3.4",
    "1.2.3.4 ",
    "0x1.2.3.4",
]
bad_v6 = [
    ":",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1::2::3",
    "1:2:3:4:5:6:7:8::",
    "g::",
    "12345::",
    "1:",
    ":1",
]
bad_v6 += ["fe80::1%eth0", "1.2.3.4::", "::1.2.3", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", ""]


@pytest.mark.parametrize("text", [*bad_v4, "١.2.3.4", "1².2.3.4"])
def test_bad_ipv4_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="not an IPv4 address"):
        a.parse_ipv4(text)


@pytest.mark.parametrize("text", bad_v6)
def test_bad_ipv6_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="not an IPv6 address"):
        a.parse_ipv6(text)


@given(st.text(alphabet="0123456789abcdef:./% g", max_size=24))
def test_any_text_parses_as_the_standard_library_does(text: str) -> None:
    expected = None
    if "%" not in text and "/" not in text:
        try:
            expected = ipaddress.ip_address(text).packed
        except ValueError:
            pass
    try:
        found = a.parse_address(text)
    except ValueError:
        found = None
    assert found == expected


def test_mac() -> None:
    assert a.parse_mac("02:00:00:AB:cd:ef") == bytes.fromhex("020000abcdef") == a.parse_mac("02-00-00-ab-cd-ef")
    assert a.format_mac(bytes.fromhex("020000abcdef")) == "02:00:00:ab:cd:ef"
    for text in ("", "02:00:00:00:00", "02:00:00:00:00:0g", "2:0:0:0:0:1", "02:00:00:00:00:01:02"):
        with pytest.raises(ValueError, match="not a MAC address"):
            a.parse_mac(text)


def test_prefixes() -> None:
    assert a.parse_prefix("10.0.2.15/24") == (bytes([10, 0, 2, 15]), 24)
    assert a.parse_prefix("fd00::2/64") == (a.parse_ipv6("fd00::2"), 64)
    assert a.format_prefix(*a.parse_prefix("10.0.2.15/24")) == "10.0.2.15/24"
    for text in ("10.0.2.15", "10.0.2.15/", "10.0.2.15/33", "10.0.2.15/-1", "fd00::2/129", "10.0.2.15/024"):
        with pytest.raises(ValueError, match="prefix length"):
            a.parse_prefix(text)
    with pytest.raises(ValueError, match="not an IPv4 address"):
        a.parse_prefix("10.0.2/24")


@given(v4 | v6, st.data())
def test_networks_agree_with_the_standard_library(address: bytes, draw: st.DataObject) -> None:
    length = draw.draw(st.integers(0, len(address) * 8))
    network = ipaddress.ip_network((address, length), strict=False)
    assert a.netmask(length, len(address)) == network.netmask.packed
    assert a.network_of(address, length) == network.network_address.packed
    assert a.in_network(address, network.network_address.packed, length)
    other = draw.draw(v4 | v6)
    expected = len(other) == len(address) and ipaddress.ip_address(other) in network
    assert a.in_network(other, a.network_of(address, length), length) == expected
    if len(address) == 4 and length <= 30:
        assert a.broadcast_of(address, length) == network.broadcast_address.packed


@given(v4 | v6)
def test_kinds_agree_with_the_standard_library(address: bytes) -> None:
    oracle = ipaddress.ip_address(address)
    if oracle.version == 4 or oracle.ipv4_mapped is None:
        assert a.is_multicast(address) == oracle.is_multicast
        assert a.is_loopback(address) == oracle.is_loopback
        assert a.is_link_local(address) == oracle.is_link_local
        assert a.is_unspecified(address) == oracle.is_unspecified


def test_kinds_at_their_edges() -> None:
    for text, kind in [
        ("223.255.255.255", False),
        ("224.0.0.0", True),
        ("239.255.255.255", True),
        ("240.0.0.0", False),
        ("ff02::1", True),
        ("fe80::1", False),
    ]:
        assert a.is_multicast(a.parse_address(text)) is kind, text
    assert a.is_link_local(a.parse_ipv6("febf::"))
    assert not a.is_link_local(a.parse_ipv6("fec0::"))
    assert a.broadcast_of(a.parse_ipv4("10.0.0.0"), 31) == a.BROADCAST_V4


def test_group_macs() -> None:
    assert a.is_group_mac(a.BROADCAST_MAC)
    assert not a.is_group_mac(a.parse_mac("02:00:00:00:00:01"))
    assert a.multicast_mac(a.parse_ipv4("224.129.2.3")) == a.parse_mac("01:00:5e:01:02:03")
    assert a.multicast_mac(a.parse_ipv6("ff02::1:ff00:42")) == a.parse_mac("33:33:ff:00:00:42")
