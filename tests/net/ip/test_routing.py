"""The routing table and the routes that IPv4 makes of it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hosts.sim.host import SimHost
from rumpkit.kern.abi.errno import EADDRNOTAVAIL, EEXIST, EINVAL, ENETUNREACH, ESRCH
from rumpkit.net.ip.routing import STATIC, RouteEntry, RoutingTable
from rumpkit.net.link.loopback import LoopbackInterface
from rumpkit.net.wire.address import parse_ipv4
from tests.net.lan import Hub, Node


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


def node(*prefixes):
    host = SimHost(seed=4)
    return Node(host, "n", *((Hub(host), prefix) for prefix in prefixes))


def interface(up=True):
    made = LoopbackInterface("x", 1, SimHost())
    made.up = up
    return made


prefixes = st.builds(
    lambda number, length: ipaddress.ip_network((number >> (32 - length) << (32 - length), length)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)


@pytest.mark.rfc("1122", "3.2.1.3-a", "3.3.1.1-a")
@given(st.lists(prefixes, max_size=20, unique=True), st.integers(0, 2**32 - 1), st.data())
def test_the_longest_prefix_wins(networks, number, data):
    table = RoutingTable()
    entries = {}
    for network in networks:
        entry = RouteEntry(network.network_address.packed, network.prefixlen, interface(), b"", 0, b"", STATIC)
        entries[network] = entry
        table.add(entry)
    removed = data.draw(st.lists(st.sampled_from(networks), unique=True)) if networks else []
    for network in removed:
        table.remove(entries.pop(network))
    address = ipaddress.ip_address(number)
    fitting = [network for network in entries if address in network]
    expected = entries[max(fitting, key=lambda network: network.prefixlen)] if fitting else None
    assert table.lookup(address.packed) is expected
    assert len(table.entries()) == len(entries)


@pytest.mark.rfc("1122", "3.3.1.2-d")
def test_metrics_order_equal_prefixes_and_dead_interfaces_do_not_count():
    table = RoutingTable()
    low, first, second = interface(), interface(), interface()
    for out, metric in ((first, 10), (second, 10), (low, 5)):
        table.add(RouteEntry(bytes(4), 0, out, b"", metric, b"", STATIC))

    def way():
        entry = table.lookup(b"\1\2\3\4")
        return None if entry is None else entry.interface

    assert way() is low
    low.up = False
    assert way() is first
    first.up = second.up = False
    assert way() is None


def test_sources_follow_the_next_hop():
    n = node("10.0.0.1/24", "10.0.1.1/24")
    n.do(n.ip.add_address, "vif0", "192.168.1.5/24")
    n.do(n.ip.add_route, "default", "192.168.1.1")
    n.do(n.ip.add_route, "172.16.0.0/12", "10.0.1.9")
    n.do(n.ip.add_route, "172.16.5.5/32", None, "vif0")

    def way(destination, source=None):
        route = n.v4.route(parse_ipv4(destination), source)
        return route.interface.name, ".".join(map(str, route.source)), ".".join(map(str, route.next_hop))

    assert way("10.0.0.9") == ("vif0", "10.0.0.1", "10.0.0.9")
    assert way("192.168.1.9") == ("vif0", "192.168.1.5", "192.168.1.9")
    assert way("8.8.8.8") == ("vif0", "192.168.1.5", "192.168.1.1")
    assert way("172.20.1.1") == ("vif1", "10.0.1.1", "10.0.1.9")
    assert way("172.16.5.5") == ("vif0", "10.0.0.1", "172.16.5.5")
    assert way("8.8.8.8", parse_ipv4("10.0.1.1")) == ("vif0", "10.0.1.1", "192.168.1.1")
    assert way("10.0.1.1") == ("lo", "10.0.1.1", "10.0.1.1")
    assert way("127.3.2.1") == ("lo", "127.0.0.1", "127.3.2.1")
    assert way("255.255.255.255") == ("vif0", "10.0.0.1", "255.255.255.255")
    assert way("255.255.255.255", parse_ipv4("10.0.1.1")) == ("vif1", "10.0.1.1", "255.255.255.255")
    assert n.v4.route(parse_ipv4("10.0.1.255")).broadcast
    assert not n.v4.route(parse_ipv4("10.0.1.254")).broadcast
    fails(EADDRNOTAVAIL, n.v4.route, parse_ipv4("10.0.0.9"), parse_ipv4("1.2.3.4"))
    fails(ENETUNREACH, n.v4.route, parse_ipv4("0.0.0.0"))


@pytest.mark.rfc("1122", "3.3.1.2-a")
def test_routes_are_remembered_until_something_changes():
    n = node("10.0.0.1/24")
    n.do(n.ip.add_route, "default", "10.0.0.254")
    route = n.v4.route(parse_ipv4("8.8.8.8"))
    assert n.v4.route(parse_ipv4("8.8.8.8")) is route
    n.do(n.ip.add_route, "8.0.0.0/8", "10.0.0.253")
    assert n.v4.route(parse_ipv4("8.8.8.8")).next_hop == parse_ipv4("10.0.0.253")
    n.do(n.ip.set_up, "vif0", False)
    fails(ENETUNREACH, n.v4.route, parse_ipv4("8.8.8.8"))
    n.do(n.ip.set_up, "vif0", True)
    assert n.v4.route(parse_ipv4("8.8.8.8")).next_hop == parse_ipv4("10.0.0.253")


def test_the_cache_of_routes_has_a_limit():
    n = node("10.0.0.1/24")
    n.kernel.sysctl.set("net.ip.route_cache_entries", 16)
    for last in range(2, 250):
        n.v4.route(bytes([10, 0, 0, last]))
        assert len(n.v4._cache) <= 16


def test_a_removed_address_is_ours_no_more():
    n = node("10.0.0.1/24")
    n.do(n.ip.add_address, "vif0", "10.0.5.1/24")
    assert n.v4.is_local(parse_ipv4("10.0.5.1"))
    n.do(n.ip.remove_address, "vif0", "10.0.5.1")
    assert not n.v4.is_local(parse_ipv4("10.0.5.1"))
    fails(ENETUNREACH, n.v4.route, parse_ipv4("10.0.5.2"))
    fails(EADDRNOTAVAIL, n.ip.remove_address, "vif0", "10.0.5.1")


@pytest.mark.rfc("1122", "3.2.2.9-f")
def test_addresses_that_cannot_be_are_refused():
    n = node("10.0.0.1/24")
    for bad in ("224.0.0.1/24", "0.0.0.1/8", "255.255.255.255/32"):
        fails(EINVAL, n.ip.add_address, "vif0", bad)
    fails(EADDRNOTAVAIL, n.ip.add_address, "vif0", "10.0.0.1/24")
    with pytest.raises(ValueError, match="is not an IPv4 address"):
        n.ip.add_address("vif0", "10.0.0.300/24")


def test_gateways_must_be_on_a_link():
    n = node("10.0.0.1/24")
    fails(ENETUNREACH, n.ip.add_route, "default", "192.0.2.1")
    fails(EINVAL, n.ip.add_route, "default")
    entry = n.do(n.ip.add_route, "default", "10.0.0.254")
    fails(ENETUNREACH, n.ip.add_route, "192.0.2.0/24", "8.8.8.8")
    n.do(n.v4.remove_route, entry)
    fails(ENETUNREACH, n.v4.route, parse_ipv4("8.8.8.8"))


def test_point_to_point_networks_have_no_broadcast():
    n = node("10.0.0.0/31", "10.0.9.9/32")
    assert not n.v4.route(parse_ipv4("10.0.0.1")).broadcast
    assert n.v4.is_local(parse_ipv4("10.0.0.0"))
    assert n.v4.is_local(parse_ipv4("10.0.9.9"))


@pytest.mark.rfc("1122", "3.2.2.9-b")
def test_the_listings():
    n = node("10.0.0.1/24")
    n.do(n.ip.add_route, "default", "10.0.0.254", None, 7)
    assert [tuple(row) for row in n.ip.route_rows()] == [
        ("10.0.0.0/24", "", "vif0", 0, "connected", "10.0.0.1"),
        ("127.0.0.0/8", "", "lo", 0, "connected", "127.0.0.1"),
        ("0.0.0.0/0", "10.0.0.254", "vif0", 7, "static", ""),
    ]
    assert [tuple(row) for row in n.ip.interface_rows()] == [
        ("lo", "loopback", "00:00:00:00:00:00", 65536, True, ("127.0.0.1/8",)),
        ("vif0", "ethernet", "02:00:00:00:00:01", 1500, True, ("10.0.0.1/24",)),
    ]


@given(st.lists(st.tuples(st.integers(0, 128), st.integers(0, 2**128 - 1)), max_size=12), st.integers(0, 2**128 - 1))
def test_the_table_takes_addresses_of_any_size(networks, number):
    table = RoutingTable(128)
    fitting = []
    for length, address in networks:
        network = address >> (128 - length) << (128 - length)
        table.add(RouteEntry(network.to_bytes(16, "big"), length, interface(), b"", 0, b"", STATIC))
        if network == number >> (128 - length) << (128 - length):
            fitting.append(length)
    found = table.lookup(number.to_bytes(16, "big"))
    assert (None if found is None else found.length) == (max(fitting) if fitting else None)


def test_several_routes_to_one_network_are_told_apart_and_taken_away_one_by_one():
    n = node("10.0.0.1/24", "10.0.1.1/24")
    n.do(n.ip.add_route, "default", "10.0.0.254", None, 20)
    n.do(n.ip.add_route, "default", "10.0.1.254", None, 10)
    n.do(n.ip.add_route, "default", "10.0.0.253", None, 20)
    fails(EEXIST, n.do, n.ip.add_route, "default", "10.0.1.254", None, 10)

    def hop():
        return n.v4.route(parse_ipv4("8.8.8.8")).next_hop

    assert hop() == parse_ipv4("10.0.1.254")
    n.do(n.ip.set_up, "vif1", False)
    assert hop() == parse_ipv4("10.0.0.254")
    n.do(n.ip.remove_route, "default", "10.0.0.254")
    assert hop() == parse_ipv4("10.0.0.253")
    n.do(n.ip.set_up, "vif1", True)
    n.do(n.ip.remove_route, "default", None, "vif1")
    assert hop() == parse_ipv4("10.0.0.253")
    n.do(n.ip.remove_route, "default", None, None, 20)
    fails(ENETUNREACH, hop)
    fails(ESRCH, n.do, n.ip.remove_route, "default")
    fails(ESRCH, n.do, n.ip.remove_route, "10.0.0.0/24")


def test_a_route_may_say_which_source_to_use():
    n = node("10.0.0.1/24")
    n.do(n.ip.add_address, "vif0", "10.0.0.7/24")
    n.do(n.ip.add_route, "192.0.2.0/24", "10.0.0.254", None, 0, "10.0.0.7")
    assert n.v4.route(parse_ipv4("192.0.2.9")).source == parse_ipv4("10.0.0.7")
    fails(EADDRNOTAVAIL, n.do, n.ip.add_route, "192.0.3.0/24", "10.0.0.254", None, 0, "10.0.0.8")
