"""IPv6 between two kernels: pings of every kind, fragments both ways, routes and sources."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import FEATURES_ALL, GSO_TCPV6, Frame
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EADDRNOTAVAIL, EHOSTUNREACH, EINVAL, EMSGSIZE, ENETUNREACH
from rumpkit.net.ip.contract import Transport
from rumpkit.net.ip6.ipv6 import flow_label
from rumpkit.net.wire.address import format_ipv6, parse_ipv6
from rumpkit.net.wire.checksum import pseudo_sum
from rumpkit.net.wire.ipv6 import FRAGMENT
from rumpkit.net.wire.offload import transport_checksum_valid
from rumpkit.net.wire.segment import ACK, PSH, Segment
from rumpkit.net.wire.tcp import emit_segment
from tests.net.lan import Hub
from tests.net.lan6 import ALL_NODES, Node6, frame6, pair6


def test_an_echo_request_is_answered():
    host, a, b = pair6()
    ping = a.ping6("fd00::2")
    host.run(host.now + SECOND)
    assert ping.replies == [("fd00::2", b"ping", 64)]
    assert b.counter("icmp6.echo_requests_in") == b.counter("icmp6.echo_replies_out") == 1


def test_loopback_and_own_addresses_stay_inside():
    host, a, _ = pair6()
    a.forget_sent()
    for address in ("::1", "fd00::1", a.link_local):
        ping = a.ping6(address)
        host.run(host.now + SECOND)
        assert ping.replies == [(address, b"ping", 64)]
    assert a.messages(128) == []


def test_link_local_neighbours_answer():
    host, a, b = pair6()
    ping = a.ping6(b.link_local)
    host.run(host.now + SECOND)
    assert ping.replies == [(b.link_local, b"ping", 64)]


def test_a_ping_to_all_nodes_is_answered_from_a_unicast_address():
    host, a, b = pair6()
    ping = a.ping6(ALL_NODES)
    host.run(host.now + SECOND)
    assert ping.replies == [(b.link_local, b"ping", 64)]


@pytest.mark.rfc("8200", "4.5-b", "4.5-c", "4.5-d", "4.5-e", "5-d", "5-f")
@pytest.mark.parametrize("size", [1452, 1453, 5000, 65000])
def test_large_packets_are_fragmented_and_put_together(size):
    host, a, b = pair6()
    data = bytes(range(256)) * (size // 256 + 1)
    a.forget_sent()
    ping = a.ping6("fd00::2", data[:size])
    host.run(host.now + SECOND)
    assert ping.replies == [("fd00::2", data[:size], 64)]
    assert all(len(frame) <= 1514 for _, _, frame in a.packets())
    kinds = {header.next_header for _, header, frame in a.packets() if len(frame) > 200}
    assert kinds == ({58} if size == 1452 else {FRAGMENT})
    assert b.counter("ip6.reassembled") == (0 if size == 1452 else 1)


def test_a_packet_longer_than_any_is_refused():
    _, a, _ = pair6()
    with pytest.raises(OSError) as caught:
        a.ping6("fd00::2", bytes(65530))
    assert caught.value.errno == EMSGSIZE


def test_a_neighbour_that_is_not_there_is_reported():
    host, a, _ = pair6()
    ping = a.ping6("fd00::77")
    host.run(host.now + 2 * SECOND)
    assert ping.errors == []
    host.run(host.now + 2 * SECOND)
    assert ping.errors == [EHOSTUNREACH]
    assert a.states() == {}


def test_where_no_route_leads():
    _, a, _ = pair6()
    for address in ("fd01::1", "::", "2001:db8::1"):
        with pytest.raises(OSError) as caught:
            a.do(a.v6.route, parse_ipv6(address))
        assert caught.value.errno == ENETUNREACH


def test_a_source_must_be_ours():
    _, a, _ = pair6()
    with pytest.raises(OSError) as caught:
        a.do(a.v6.route, parse_ipv6("fd00::2"), parse_ipv6("fd00::9"))
    assert caught.value.errno == EADDRNOTAVAIL


def test_gateways_and_default_routes():
    host, a, b = pair6()
    a.do(a.ip.add_route, "default", "fd00::2")
    a.do(a.ip.add_route, "fd07::/32", b.link_local, "vif0")
    route = a.do(a.v6.route, parse_ipv6("2001:db8::1"))
    assert (format_ipv6(route.next_hop), format_ipv6(route.source)) == ("fd00::2", "fd00::1")
    assert format_ipv6(a.do(a.v6.route, parse_ipv6("fd07::1")).next_hop) == b.link_local
    rows = {row.prefix: row.gateway for row in a.ip.route_rows() if ":" in row.prefix}
    assert rows == {"::/0": "fd00::2", "fd07::/32": b.link_local, "fd00::/64": ""}
    a.do(a.ip.remove_route, "default", "fd00::2")
    with pytest.raises(OSError):
        a.do(a.v6.route, parse_ipv6("2001:db8::1"))
    assert host is not None


def test_addresses_that_no_host_can_have():
    _, a, _ = pair6()
    for prefix, errno in (
        ("ff02::5/64", EINVAL),
        ("::/64", EINVAL),
        ("::1/128", EINVAL),
        ("fd00::1/64", EADDRNOTAVAIL),
    ):
        with pytest.raises(OSError) as caught:
            a.do(a.ip.add_address, "vif0", prefix)
        assert caught.value.errno == errno


def test_an_address_that_is_taken_away_is_gone():
    _, a, b = pair6()
    assert a.v6.is_local(parse_ipv6("fd00::1"))
    a.do(a.ip.remove_address, "vif0", "fd00::1")
    assert not a.v6.is_local(parse_ipv6("fd00::1"))
    with pytest.raises(OSError):
        a.do(a.v6.route, parse_ipv6("fd00::2"))
    assert list(a.addresses()) == [a.link_local]
    assert b.addresses()["fd00::2"] == "valid"


def test_flow_labels_tell_flows_apart_and_stay():
    _, a, _ = pair6()
    route = a.do(a.v6.route, parse_ipv6("fd00::2"))
    labels = [flow_label(port << 16 | 80, route.flow) for port in range(1024, 1124)]
    assert len(set(labels)) > 95 and all(0 < label < 1 << 20 for label in labels)
    assert labels == [flow_label(port << 16 | 80, route.flow) for port in range(1024, 1124)]


def test_a_link_too_small_for_ipv6_has_no_part_in_it():
    host = SimHost(seed=1)
    a = Node6(host, "a", (Hub(host, mtu=1279), ""))
    assert a.interface.index not in a.v6.links and a.interface.ipv6 is None
    with pytest.raises(OSError) as caught:
        a.do(a.ip.add_address, "vif0", "fd00::1/64")
    assert caught.value.errno == EINVAL
    a.inject(frame6(58, b"", "fe80::9", ALL_NODES))
    assert a.counter("interface.vif0.unknown_type_in") == 1


def test_identifications_of_fragments_differ_and_are_not_guessed():
    numbers = []
    for seed in range(3):
        host, a, _ = pair6(SimHost(seed=seed))
        for _ in range(4):
            a.ping6("fd00::2", bytes(2000))
        host.run(host.now + SECOND)
        seen = {frame.head[58:62] for _, header, frame in a.packets() if header.next_header == FRAGMENT}
        assert len(seen) == 4
        numbers.append(min(seen))
    assert len(set(numbers)) == 3


@pytest.mark.parametrize("features", [0, FEATURES_ALL], ids=["finished", "unfinished"])
def test_super_segments_leave_whole_where_the_link_takes_them_else_as_segments(features):
    host, a, b = pair6(features=features)
    taken: list[Frame] = []

    class Sink(Transport):
        def input(self, frame, network, transport, end, now):
            taken.append(frame)

    b.v6.transports[6] = Sink()
    own, target = parse_ipv6("fd00::1"), parse_ipv6("fd00::2")
    segment = Segment(1, 2, ACK | PSH, 1000, bytes(range(250)) * 40, 0, 10_000)
    segment.gso_size = 1428
    route = a.do(a.v6.route, target)
    a.do(
        a.v6.output,
        emit_segment(segment, 1024, 80, pseudo_sum(own, target, 6, 0), GSO_TCPV6),
        route,
        own,
        target,
        6,
        host.now,
    )
    host.run(host.now + SECOND)
    if features:
        assert [(frame.gso_type, frame.gso_size, frame.size) for frame in taken] == [(GSO_TCPV6, 1428, 10_000)]
    else:
        assert [len(frame) - 74 for frame in taken] == [1428] * 7 + [4]
        assert all(transport_checksum_valid(f, 54, len(f), pseudo_sum(own, target, 6, len(f) - 54)) for f in taken)
    assert b"".join(frame.linear()[74:] for frame in taken) == bytes(range(250)) * 40
