"""Address selection against the examples of RFC 6724 section 10."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.ip6.link import STABLE, TEMPORARY, VALID, Address6, Link6
from rumpkit.net.ip6.select import (
    Destination,
    choose_source,
    common_prefix,
    order_destinations,
    policy_of,
    scope_of,
)
from rumpkit.net.wire.address import format_address, format_ipv6, parse_address, parse_ipv6
from tests.net.lan6 import pair6

LINK = pair6(settle=False)[1].link
ELSEWHERE = Link6(LINK.interface)


def candidates(*texts: str) -> list[Address6]:
    """Addresses of /64 networks; "!" marks deprecated ones, "?" temporary ones, "@" those of another link."""
    found = []
    for text in texts:
        own = Address6(ELSEWHERE if "@" in text else LINK, parse_ipv6(text.strip("!?@")), 64, STABLE)
        own.state = VALID
        own.deprecated = "!" in text
        own.origin = TEMPORARY if "?" in text else STABLE
        found.append(own)
    return found


@pytest.mark.parametrize(
    ("destination", "texts", "expected"),
    [
        # RFC 6724 section 10.1
        ("2001:db8:1::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
        ("ff05::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
        ("2001:db8:1::1", ["2001:db8:1::1!", "2001:db8:2::1"], "2001:db8:1::1"),
        ("fe80::1", ["fe80::2!", "2001:db8:1::1"], "fe80::2"),
        ("2001:db8:1::1", ["2001:db8:1::2", "2001:db8:3::2"], "2001:db8:1::2"),
        ("2001:db8:1::1", ["2001:db8:1::2", "2001:db8:3::2"][::-1], "2001:db8:1::2"),
        ("2002:c633:6401::1", ["2002:c633:6401:0:d5e3:7953:13eb:22e8?", "2001:db8:1::2"], "2002:c633:6401:0:d5e3:7953:13eb:22e8"),
        ("2001:db8:1::d5e3:0:0:1", ["2001:db8:1::2", "2001:db8:1:0:d5e3:7953:13eb:22e8?"], "2001:db8:1::2"),
        # Rule 3 and rule 5
        ("2001:db8:9::1", ["2001:db8:1::2!", "2001:db8:1::3"], "2001:db8:1::3"),
        ("2001:db8:1::1", ["2001:db8:1::2@", "2001:db8:7::2"], "2001:db8:7::2"),
        # Rule 6: unique local addresses speak to their like
        ("fd00::1", ["2001:db8:1::2", "fd77::2"], "fd77::2"),
        ("2001:db8:7::1", ["fd77::2", "2001:db8:1::2"], "2001:db8:1::2"),
        ("2001:db8:7::1", [], ""),
    ],
)  # fmt: skip
def test_sources(destination, texts, expected):
    chosen = choose_source(candidates(*texts), parse_ipv6(destination), LINK, False)
    assert (format_ipv6(chosen) if chosen else "") == expected


def test_temporary_addresses_where_they_are_preferred():
    own = candidates("2001:db8:1::2", "2001:db8:1:0:d5e3:7953:13eb:22e8?")
    target = parse_ipv6("2001:db8:1::d5e3:0:0:1")
    assert choose_source(own, target, LINK, True) == own[1].address
    assert choose_source(own, target, LINK, False) == own[0].address


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        # RFC 6724 section 10.2: destination and the source that would be used
        ([("2001:db8:1::1", "2001:db8:1::2"), ("::ffff:198.51.100.121", "::ffff:169.254.13.78")], 0),
        ([("2001:db8:1::1", "fe80::1"), ("::ffff:198.51.100.121", "::ffff:198.51.100.117")], 1),
        ([("2001:db8:1::1", "2001:db8:1::2"), ("::ffff:10.1.2.3", "::ffff:10.1.2.4")], 0),
        ([("2001:db8:1::1", "2001:db8:1::2"), ("fe80::1", "fe80::2")], 1),
        ([("2001:db8:1::1", "2001:db8:1::2"), ("2001:db8:3ffe::1", "2001:db8:3f44::2")], 0),
        ([("2002:c633:6401::1", "2002:c633:6401::2"), ("fe80::1", "fe80::2")], 1),
        ([("2002:c633:6401::1", "2002:c633:6401::2"), ("2001:db8:1::1", "2001:db8:1::2")], 1),
        # Rule 1
        ([("2001:db8:1::1", ""), ("::ffff:10.1.2.3", "::ffff:10.1.2.4")], 1),
    ],
)
def test_destinations(pairs, expected):
    some = [Destination(parse_ipv6(to), parse_ipv6(source) if source else b"") for to, source in pairs]
    assert order_destinations(some)[0] is some[expected]
    assert order_destinations(some[::-1])[0] is some[expected]


def test_equals_keep_their_order():
    some = [Destination(parse_ipv6(f"::ffff:10.0.0.{n}"), parse_ipv6("::ffff:10.0.0.9")) for n in (5, 200, 7)]
    assert order_destinations(some) == some


@pytest.mark.parametrize(
    ("address", "precedence", "label"),
    [
        ("::1", 50, 0), ("2001:db8::1", 40, 1), ("::ffff:10.0.0.1", 35, 4), ("2002:1::", 30, 2), ("2001::5", 5, 5),
        ("fd12::1", 3, 13), ("::5", 1, 3), ("fec0::1", 1, 11), ("3ffe::1", 1, 12), ("2001:1::1", 40, 1),
    ],
)  # fmt: skip
def test_the_default_policies(address, precedence, label):
    row = policy_of(parse_ipv6(address))
    assert (row.precedence, row.label) == (precedence, label)


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        ("ff02::1", 2), ("ff05::1", 5), ("ff0e::1", 14), ("fe80::1", 2), ("::1", 2), ("fec0::1", 5), ("fd00::1", 14),
        ("2001:db8::1", 14), ("::ffff:127.0.0.1", 2), ("::ffff:169.254.1.1", 2), ("::ffff:10.0.0.1", 14),
    ],
)  # fmt: skip
def test_scopes(address, scope):
    assert scope_of(parse_ipv6(address)) == scope


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_common_prefixes(one, other):
    bits = [f"{int.from_bytes(address, 'big'):0128b}" for address in (one, other)]
    expected = next((n for n in range(128) if bits[0][n] != bits[1][n]), 128)
    assert common_prefix(one, other) == expected


def test_a_kernel_orders_what_a_name_resolves_to():
    host, a, _ = pair6()
    a.do(a.ip.add_address, "vif0", "10.0.0.1/24")
    texts = ["10.0.0.7", "fd00::7", "2001:db8::1", "127.0.0.1", "::1"]
    addresses = [parse_address(text) for text in texts]
    for order in (addresses, addresses[::-1]):
        found = [format_address(address) for address in a.do(a.ip.order_destinations, order)]
        assert found[0] == "::1" and found[-1] == "2001:db8::1"
        assert set(found) == set(texts)
    a.do(a.ip.add_route, "default", "fd00::9")
    found = [format_address(address) for address in a.do(a.ip.order_destinations, addresses)]
    assert found.index("fd00::7") > found.index("10.0.0.7")  # unique local addresses have a low precedence
    assert host is not None
