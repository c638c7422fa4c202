"""Routers made of kernels: TTL, errors, fragmentation on the way, path MTU discovery from end to end."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EHOSTUNREACH, EMSGSIZE, ENETUNREACH
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.arp import ArpPacket
from rumpkit.net.wire.checksum import pseudo_sum
from rumpkit.net.wire.ethernet import emit_ethernet
from rumpkit.net.wire.icmp import IcmpMessage
from rumpkit.net.wire.udp import emit_datagram
from tests.net.lan import Hub, Node, packet


class Path:
    """a -- router -- b, with a middle link of its own MTU."""

    def __init__(self, mtu=1500, seed=3):
        self.host = SimHost(seed=seed)
        left, right = Hub(self.host, mtu=1500), Hub(self.host, mtu=mtu)
        self.a = Node(self.host, "a", (left, "10.0.1.2/24"))
        self.router = Node(self.host, "router", (left, "10.0.1.1/24"), (right, "10.0.2.1/24"))
        self.b = Node(self.host, "b", (right, "10.0.2.2/24"))
        self.router.kernel.sysctl.set("net.ip.forwarding", 1)
        self.a.do(self.a.ip.add_route, "default", "10.0.1.1")
        self.b.do(self.b.ip.add_route, "default", "10.0.2.1")

    def settle(self, seconds=1):
        self.host.run(self.host.now + seconds * SECOND)


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


@pytest.mark.rfc("1122", "3.1-d", "3.3.1.2-c", "3.3.1.6-a")
def test_a_router_connects_two_networks_and_takes_one_off_the_ttl():
    path = Path()
    socket = path.a.ping("10.0.2.2")
    path.settle()
    assert path.a.receive(socket) is not None
    arrived = next(frame for frame in path.router.ports[1].sent if frame.head[12:14] == b"\x08\0")
    assert arrived.head[14 + 8] == 63
    assert path.router.counter("ip.forwarded") == 2


@pytest.mark.rfc("1122", "3.2.2.4-a")
def test_a_packet_whose_time_is_over_is_reported():
    path = Path()
    socket = path.a.ping("10.0.2.2", ttl=1)
    path.settle()
    fails(EHOSTUNREACH, path.a.receive, socket)
    assert path.router.counter("ip.ttl_exceeded") == 1
    assert path.b.counter("icmp.echo_requests_in") == 0


def test_no_route_is_reported():
    path = Path()
    socket = path.a.ping("192.0.2.1")
    path.settle()
    fails(ENETUNREACH, path.a.receive, socket)


def test_a_silent_host_behind_a_router_is_reported():
    path = Path()
    socket = path.a.ping("10.0.2.77")
    path.settle(5)
    fails(EHOSTUNREACH, path.a.receive, socket)
    assert path.router.counter("ip.unresolved") == 1


def test_packets_that_may_be_cut_are_cut_on_the_way():
    path = Path(mtu=576)
    server = path.b.udp_socket(port=7)
    data = bytes(range(256)) * 20
    path.a.send(path.a.socket(), data, "10.0.2.2", 7)
    path.settle()
    assert path.b.drain(server) == [data]
    assert path.router.counter("ip.fragmented") == 4
    assert max(len(frame) for frame in path.router.ports[1].sent) <= 14 + 576


def test_the_path_mtu_is_discovered_and_forgotten():
    path = Path(mtu=1000)
    client = path.a.socket()
    path.a.do(client.set_option, 0, 10, b"\2\0\0\0")
    path.a.do(client.connect, (parse_ipv4("10.0.2.2"), 7), path.host.now)
    destination = parse_ipv4("10.0.2.2")
    server = path.b.udp_socket(port=7)
    path.a.send(client, bytes(1400), "10.0.2.2", 7)
    generation = path.a.v4.generation
    path.settle()
    assert path.b.drain(server) == []
    assert path.router.counter("ip.too_big") == 1
    assert path.a.v4.generation > generation
    assert path.a.v4.route(destination).mtu == 1000
    fails(EMSGSIZE, path.a.receive, client)
    fails(EMSGSIZE, path.a.send, client, bytes(973), "10.0.2.2", 7)
    path.a.send(client, bytes(972), "10.0.2.2", 7)
    path.settle()
    assert path.b.drain(server) == [bytes(972)]
    path.settle(600)
    assert path.a.v4.route(destination).mtu == 1500


def test_a_path_mtu_too_small_to_believe_lets_routers_cut():
    path = Path(mtu=300)
    client = path.a.socket()
    path.a.do(client.set_option, 0, 10, b"\2\0\0\0")
    path.a.do(client.connect, (parse_ipv4("10.0.2.2"), 7), path.host.now)
    server = path.b.udp_socket(port=7)
    path.a.send(client, bytes(500), "10.0.2.2", 7)
    path.settle()
    route = path.a.v4.route(parse_ipv4("10.0.2.2"))
    assert (route.mtu, route.fragmentable) == (552, True)
    fails(EMSGSIZE, path.a.receive, client)
    path.a.send(client, bytes(500), "10.0.2.2", 7)
    path.settle()
    assert path.b.drain(server) == [bytes(500)]


def test_options_are_carried_on_and_copied_into_fragments():
    path = Path(mtu=576)
    options = bytes([0x88, 4, 1, 2]) + bytes([7, 3, 4, 0])  # stream id is copied, record route is not
    frame = packet(
        "10.0.1.2",
        "10.0.2.2",
        200,
        bytes(1000),
        mac=b"\x02\0\0\0\0\1",
        peer=b"\x02\0\0\0\0\2",
        fragment=0,
        options=options,
    )
    path.router.inject(frame)
    path.settle()
    sent = [frame.linear()[14:] for frame in path.router.ports[1].sent if frame.head[12:14] == b"\x08\0"]
    assert [(data[0] & 15) * 4 for data in sent] == [28, 24]
    assert sent[0][20:28] == options
    assert sent[1][20:24] == options[:4]
    assert sum(len(data) for data in sent) == 1000 + 28 + 24


def test_what_must_not_be_forwarded():
    path = Path()
    for source, destination in (
        ("127.0.0.1", "10.0.2.2"),
        ("10.0.1.2", "127.0.0.1"),
        ("10.0.1.2", "224.1.1.1"),
        ("0.0.0.0", "10.0.2.2"),
        ("10.0.1.2", "255.255.255.255"),
        ("10.0.1.2", "10.0.2.255"),
        ("10.0.1.2", "169.254.7.7"),
        ("169.254.7.7", "10.0.2.2"),
        ("10.0.1.2", "0.1.2.3"),
        ("10.0.1.2", "240.0.0.1"),
    ):
        path.router.inject(packet(source, destination, 17, bytes(20), peer=b"\x02\0\0\0\0\2"))
    assert path.router.counter("ip.forwarded") == 0


def test_padding_is_not_forwarded_and_super_segments_are_forwarded_whole():
    path = Path()
    small = packet("10.0.1.2", "10.0.2.2", 200, b"tiny", mac=b"\x02\0\0\0\0\1", peer=b"\x02\0\0\0\0\2")
    path.router.inject(small + bytes(22))
    path.settle()
    assert len(path.router.ports[1].sent[-1]) == 14 + 24
    own, target = parse_ipv4("10.0.1.2"), parse_ipv4("10.0.2.2")
    server = path.b.udp_socket(port=7)
    batch = emit_datagram(1000, 7, pseudo_sum(own, target, 17, 0), bytes(5000), 0, 5000, 1400)
    with path.a.entered():
        path.a.v4.output(batch, path.a.v4.route(target), own, target, 17, path.host.now)
    path.settle()
    assert [len(data) for data in path.b.drain(server)] == [1400, 1400, 1400, 800]
    assert path.router.counter("ip.forwarded") == 3  # b found no protocol 200 and said so
    assert path.router.ports[1].sent[-1].gso_size == 1400


def test_an_unnumbered_interface_borrows_an_address():
    path = Path()
    path.a.do(path.a.ip.add_interface, Hub(path.host).port(), "vif1")
    path.a.do(path.a.ip.add_route, "172.16.0.0/12", None, "vif1")
    assert path.a.v4.route(parse_ipv4("172.16.1.1")).source == parse_ipv4("10.0.1.2")


def test_forwarding_is_off_unless_asked_for():
    path = Path()
    path.router.kernel.sysctl.set("net.ip.forwarding", 0)
    socket = path.a.ping("10.0.2.2")
    path.settle()
    assert path.a.receive(socket) is None
    assert (path.router.counter("ip.forwarded"), path.router.counter("ip.not_ours")) == (0, 1)


@pytest.mark.rfc("1122", "3.2.2.2-a", "3.2.2.2-d")
def test_no_redirect_is_sent_and_none_is_heeded():
    path = Path()
    path.a.do(path.a.ip.add_route, "10.0.1.0/25", "10.0.1.1")
    hub = path.router.ports[0].hub
    c = Node(path.host, "c", (hub, "10.0.1.3/24"))
    socket = path.a.ping("10.0.1.3")
    path.settle()
    assert path.a.receive(socket) is not None
    assert path.router.counter("ip.forwarded") == 1
    assert path.router.counter("icmp.errors_out") == 0
    quoted = packet("10.0.1.2", "10.0.2.2", 1, bytes(8))[14:]
    redirect = IcmpMessage(5, 1, int.from_bytes(parse_ipv4("10.0.1.3"), "big"), quoted).emit()
    generation = path.a.v4.generation
    path.a.inject(packet("10.0.1.1", "10.0.1.2", 1, redirect, peer=path.a.interface.mac))
    assert path.a.counter("icmp.others_in") == 1
    assert path.a.v4.generation == generation
    c.close()


def test_arp_answers_for_nobody_else():
    path = Path()
    path.router.inject(
        emit_ethernet(b"\xff" * 6, b"\x02\0\0\0\0\1", 0x0806)
        + ArpPacket(1, b"\x02\0\0\0\0\1", parse_ipv4("10.0.1.2"), bytes(6), parse_ipv4("10.0.2.2")).emit()
    )
    path.settle()
    assert path.router.counter("arp.replies_out") == 0


def test_what_came_the_wrong_way_may_be_refused():
    path = Path()
    for source, forwarded in (("10.0.1.2", 1), ("10.0.2.77", 1), ("192.0.2.7", 1)):
        path.router.inject(packet(source, "10.0.2.2", 200, b"x", mac=b"\2\0\0\0\0\1", peer=b"\2\0\0\0\0\2"))
        assert path.router.counter("ip.forwarded") == forwarded, source
        path.router.kernel.sysctl.set("net.ip.reverse_path_filter", 1)
    assert path.router.counter("ip.martian_source") == 2
