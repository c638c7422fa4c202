"""Path MTUs (RFC 8201), forwarding, and ICMPv6 errors on their way to transports."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EACCES, ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ENETUNREACH, EPROTO
from rumpkit.net.link.impairment import Impairment, ImpairmentConfig
from rumpkit.net.wire.address import parse_ipv6
from rumpkit.net.wire.icmpv6 import DESTINATION_UNREACHABLE, PACKET_TOO_BIG, TIME_EXCEEDED, Icmp6Message
from rumpkit.net.wire.ipv6 import PROTOCOL_ICMPV6, emit_ipv6_header
from tests.net.lan import Hub
from tests.net.lan6 import Node6, frame6, icmp6_frame, pair6


def routed(mtu: int = 1400) -> tuple[SimHost, Node6, Node6, Node6]:
    """a at fd00::1 -- router -- b at fd01::1; the second link takes `mtu`."""
    host = SimHost(seed=1)
    near, far = Hub(host), Hub(host, mtu=mtu)
    a = Node6(host, "a", (near, "fd00::1/64"))
    router = Node6(host, "router", (near, "fd00::f/64"), (far, ""), ip6__forwarding=1)
    router.do(router.ip.add_address, "vif1", "fd01::f/64")
    b = Node6(host, "b", (far, "fd01::1/64"))
    a.do(a.ip.add_route, "default", "fd00::f")
    b.do(b.ip.add_route, "default", "fd01::f")
    host.run(host.now + 20 * SECOND)
    for node in (a, router, b):
        node.forget_sent()
    return host, a, router, b


def path_mtu(node: Node6, address: str = "fd01::1") -> int:
    return node.do(node.v6.route, parse_ipv6(address)).mtu


def test_a_router_sends_packets_on_with_a_hop_less():
    host, a, router, _ = routed()
    ping = a.ping6("fd01::1")
    host.run(host.now + SECOND)
    assert ping.replies == [("fd01::1", b"ping", 63)]
    assert router.counter("ip6.forwarded") == 2


@pytest.mark.rfc("8200", "5-e", "4.5-c")
def test_a_path_mtu_is_learnt_and_fragments_fit_from_then_on():
    host, a, router, _ = routed()
    a.ping6("fd01::1", bytes(1440))
    host.run(host.now + SECOND)
    [(_, message)] = router.messages(PACKET_TOO_BIG)
    assert (message.rest, path_mtu(a)) == (1400, 1400)
    assert len(message.emit(bytes(16), bytes(16))) + 40 <= 1280
    ping = a.ping6("fd01::1", bytes(1440))
    host.run(host.now + SECOND)
    assert len(ping.replies) == 1
    assert path_mtu(a, "fd01::2") == 1500  # another destination, another path
    host.run(host.now + 600 * SECOND)
    assert path_mtu(a) == 1500


@pytest.mark.parametrize("mtu", [0, 68, 1279, 1500, 9000])
def test_mtus_that_are_no_news_or_lies_are_ignored(mtu):
    host, a, _, _ = routed()
    a.ping6("fd01::1", bytes(1400))
    quote = emit_ipv6_header(parse_ipv6("fd00::1"), parse_ipv6("fd01::1"), PROTOCOL_ICMPV6, 1408) + a_ping()
    a.inject(icmp6_frame(PACKET_TOO_BIG, mtu.to_bytes(4, "big") + quote, "fd00::f", "fd00::1", hops=64))
    assert path_mtu(a) == 1500 and a.counter("icmp6.errors_ignored") == 1
    assert host is not None


def a_ping(identifier: int = 1) -> bytes:
    return Icmp6Message(128, 0, identifier << 16 | 1, bytes(100)).emit(parse_ipv6("fd00::1"), parse_ipv6("fd01::1"))


def test_reports_about_packets_that_we_did_not_send_are_ignored():
    _, a, _, _ = routed()
    for source, identifier in (("fd00::5", 1), ("fd00::1", 77)):
        quote = emit_ipv6_header(parse_ipv6(source), parse_ipv6("fd01::1"), PROTOCOL_ICMPV6, 1408) + a_ping(identifier)
        a.inject(icmp6_frame(PACKET_TOO_BIG, (1300).to_bytes(4, "big") + quote, "fd00::f", "fd00::1", hops=64))
    assert path_mtu(a) == 1500 and a.counter("icmp6.errors_ignored") == 2


@pytest.mark.parametrize(
    ("kind", "code", "errno"),
    [
        (1, 0, ENETUNREACH), (1, 1, EACCES), (1, 2, EHOSTUNREACH), (1, 3, EHOSTUNREACH), (1, 4, ECONNREFUSED),
        (1, 5, EACCES), (1, 6, EACCES), (1, 99, EHOSTUNREACH), (3, 0, EHOSTUNREACH), (4, 1, EPROTO),
    ],
)  # fmt: skip
def test_what_errors_mean_to_a_caller(kind, code, errno):
    host, a, _, _ = routed()
    ping = a.ping6("fd01::1")
    quote = emit_ipv6_header(parse_ipv6("fd00::1"), parse_ipv6("fd01::1"), PROTOCOL_ICMPV6, 108) + a_ping()
    a.inject(icmp6_frame(kind, bytes(4) + quote, "fd00::f", "fd00::1", hops=64, code=code))
    assert ping.errors == [errno]
    assert host is not None


@pytest.mark.rfc("8200", "3-a")
def test_a_packet_without_a_route_or_hops_is_reported_by_the_router():
    host, a, router, _ = routed()
    ping = a.ping6("fd77::1")
    host.run(host.now + SECOND)
    assert ping.errors == [ENETUNREACH]
    assert [message.code for _, message in router.messages(DESTINATION_UNREACHABLE)] == [0]
    echo = Icmp6Message(128, 0, 1, b"").emit(parse_ipv6("fd00::9"), parse_ipv6("fd01::1"))
    for hops in (0, 1, 2):
        router.inject(frame6(58, echo, "fd00::9", "fd01::1", to=router.interfaces[0].mac, hops=hops))
    host.run(host.now + SECOND)
    assert router.counter("ip6.ttl_exceeded") == 2 and router.counter("ip6.forwarded") == 2  # and its answer
    assert router.counter("icmp6.errors_out") == 3
    assert router.messages(TIME_EXCEEDED) == []  # the stranger at fd00::9 does not say where it is


def test_link_local_packets_stay_on_their_link():
    host, a, router, _ = routed()
    source = a.link_local
    before = router.counter("ip6.not_ours")
    echo = Icmp6Message(128, 0, 1, b"").emit(parse_ipv6(source), parse_ipv6("fd01::1"))
    router.inject(frame6(58, echo, source, "fd01::1", to=router.interfaces[0].mac, mac=a.interface.mac))
    router.inject(frame6(58, echo, "fd00::9", "fe80::77", to=router.interfaces[0].mac))
    host.run(host.now + SECOND)
    assert router.counter("ip6.beyond_scope") == 1 and router.counter("ip6.not_ours") == before + 1
    assert [message.code for _, message in router.messages(DESTINATION_UNREACHABLE)] == [2]


def test_who_does_not_forward_drops():
    host, a, router, _ = routed()
    router.kernel.sysctl.set("net.ip6.forwarding", 0)
    ping = a.ping6("fd01::1")
    host.run(host.now + SECOND)
    assert ping.replies == [] and router.counter("ip6.not_ours") >= 1


def test_super_segments_larger_than_any_packet_are_refused_and_large_packets_are_not_sent_whole():
    _, a, _ = pair6()
    route = a.do(a.v6.route, parse_ipv6("fd00::2"))
    own, target = parse_ipv6("fd00::1"), parse_ipv6("fd00::2")
    for size in (1, 3):  # too short for ports, as a raw socket may send
        a.do(a.v6.output, Frame(bytes(size)), route, own, target, 17, a.host.now)
    for size in (1461, 65536):
        with pytest.raises(OSError) as caught:
            a.do(a.v6.output, Frame(bytes(size)), route, own, target, 17, a.host.now)
        assert caught.value.errno == EMSGSIZE
    a.forget_sent()
    a.do(a.v6.output, Frame(bytes(1460)), route, own, target, 17, a.host.now)
    a.host.run(a.host.now + SECOND)
    assert [len(frame) for _, header, frame in a.packets() if header.next_header == 17] == [55, 57, 1514]


def test_a_flipped_bit_does_no_harm():
    """Bit by bit: what is changed of a ping is refused, or is none of what the checksum covers (RFC 8200 section 8.1)."""
    _, a, _ = pair6()
    a.forget_sent()
    echo = Icmp6Message(128, 0, 0x10001, b"\xa5" * 4).emit(parse_ipv6("fd00::2"), parse_ipv6("fd00::1"))
    head = frame6(PROTOCOL_ICMPV6, echo, "fd00::2", "fd00::1")
    passed = []
    for bit in range(14 * 8, len(head) * 8):
        before = a.counter("icmp6.echo_replies_out")
        at = bit >> 3
        a.inject(head[:at] + bytes([head[at] ^ 1 << (bit & 7)]) + head[at + 1 :])
        if a.counter("icmp6.echo_replies_out") > before:
            passed.append(at - 14)
    assert set(passed) == {0, 1, 2, 3, 7}  # traffic class, flow label, hop limit
    assert passed.count(0) == 4  # and not the version


def test_damage_on_the_link_reaches_ipv6_too():
    host = SimHost(seed=1)
    link = Impairment(host, ImpairmentConfig(corrupt=1.0))
    original = Frame(frame6(PROTOCOL_ICMPV6, bytes(64), "fd00::2", "fd00::1"))
    for _ in range(50):
        (passage,) = link.plan(original, 0)
        before, after = original.linear(), passage.frame.linear()
        assert before[:14] == after[:14]
        assert (int.from_bytes(before, "big") ^ int.from_bytes(after, "big")).bit_count() == 1
