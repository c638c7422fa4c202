"""What a lease says, however oddly a server says it."""

import pytest

from rumpkit.hyper.time import FOREVER, SECOND
from rumpkit.net.dhcp.lease import lease_of
from rumpkit.net.wire import dhcp as wire
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.dhcp import BOOTREPLY, DhcpMessage, emit_classless_routes

ROUTER = parse_ipv4("10.0.0.1")


def lease(address="10.0.0.50", **options):
    message = DhcpMessage(BOOTREPLY, 1, b"\2\0\0\0\0\1")
    message.yours = parse_ipv4(address)
    message.options = {wire.SERVER_IDENTIFIER: ROUTER, wire.LEASE_TIME: (1000).to_bytes(4, "big")}
    for name, value in options.items():
        message.options[getattr(wire, name.upper())] = value if isinstance(value, bytes) else value.to_bytes(4, "big")
    return lease_of(message, 5 * SECOND)


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, (500, 875, 1000)),
        ({"renewal_time": 100, "rebinding_time": 200}, (100, 200, 1000)),
        ({"renewal_time": 300, "rebinding_time": 200}, (200, 200, 1000)),
        ({"renewal_time": 0, "rebinding_time": 2000}, (500, 875, 1000)),
        ({"rebinding_time": 300}, (300, 300, 1000)),
        ({"lease_time": 1}, (5, 8, 10)),
        ({"renewal_time": 1, "rebinding_time": 2}, (500, 875, 1000)),
        ({"renewal_time": 5, "rebinding_time": 6}, (5, 6, 1000)),
    ],
)
def test_times(options, times):
    made = lease(**options)
    assert tuple((at - 5 * SECOND) // SECOND for at in (made.renew_at, made.rebind_at, made.end)) == times


def test_an_endless_lease():
    made = lease(lease_time=b"\xff" * 4)
    assert (made.renew_at, made.rebind_at, made.end) == (FOREVER, FOREVER, FOREVER)


@pytest.mark.parametrize(
    ("address", "mask", "length"),
    [
        ("10.0.0.50", b"\xff\xff\xff\0", 24),
        ("10.0.0.50", b"\xff\xff\xff\xff", 32),
        ("10.0.0.50", b"\xff\0\xff\0", 8),
        ("10.0.0.50", b"\0\0\0\0", 8),
        ("172.16.0.50", b"\xff\xff", 16),
        ("192.168.0.50", b"", 24),
    ],
)
def test_masks(address, mask, length):
    assert lease(address, subnet_mask=mask).length == length


def test_classless_routes_come_before_routers():
    assert lease(router=ROUTER).routes == [(bytes(4), 0, ROUTER)]
    assert lease(router=bytes(4)).routes == lease(router=b"\1\2").routes == []
    routes = [(parse_ipv4("10.9.0.0"), 16, parse_ipv4("10.0.0.9")), (parse_ipv4("10.8.0.0"), 16, bytes(4))]
    assert lease(router=ROUTER, classless_routes=emit_classless_routes(routes)).routes == routes
    assert lease(router=ROUTER, classless_routes=b"\x21").routes == [(bytes(4), 0, ROUTER)]
    assert len(lease(classless_routes=emit_classless_routes(routes * 100)).routes) == 64


def test_names():
    made = lease(name_server=ROUTER + bytes(4) + ROUTER[::-1], domain_name=b"Example.Org\0")
    assert made.name_servers == [ROUTER, ROUTER[::-1]]
    assert made.search == ["example.org"]
    assert lease(domain_name=b"example.org", domain_search=b"\1a\0\1b\xc0\0").search == ["a", "b.a"]
    for bad in (b"two words", b"\xff", b"..", b"", b"a\nnameserver 6.6.6.6"):
        assert lease(domain_name=bad).search == []


@pytest.mark.parametrize(("value", "mtu"), [(b"\x05\x78", 1400), (b"\x02\x3f", 0), (b"\x02\x40", 576), (b"\x05", 0)])
def test_mtu(value, mtu):
    assert lease(interface_mtu=value).mtu == mtu


def test_what_is_no_lease():
    assert lease(lease_time=b"") is None
    assert lease(server_identifier=b"") is None
    assert lease("0.0.0.0") is None
