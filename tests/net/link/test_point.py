"""Point-to-point interfaces: no ARP, one place to go, and frames that look like everybody's inside the kernel."""

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.net.link.point import PointToPointInterface, header_for
from rumpkit.net.wire.address import parse_ipv4
from tests.net.lan import Hub, Node, packet


def ends():
    host = SimHost(seed=5)
    cable = Hub(host)
    a, b = Node(host, "a"), Node(host, "b")
    for node, prefix in ((a, "10.7.0.1/32"), (b, "10.7.0.2/32")):
        node.ports.append(cable.port())
        made = node.do(node.ip.add_point_to_point, node.ports[0], "tun0")
        assert isinstance(made, PointToPointInterface)
        node.do(node.ip.add_address, "tun0", prefix)
        node.do(node.ip.add_route, "default", None, "tun0")
    return host, a, b


def test_packets_go_over_without_asking_for_addresses():
    host, a, b = ends()
    socket = a.ping("10.7.0.2", bytes(3000))
    host.run(host.now + SECOND)
    assert a.receive(socket) is not None
    assert [frame.head[:14] for frame in a.ports[0].sent] == [bytes(12) + b"\x08\0"] * 3
    assert a.counter("arp.requests_out") == 0
    assert b.counter("ip.reassembled") == 1
    assert [row.kind for row in a.ip.interface_rows()] == ["loopback", "point-to-point"]


def test_datagrams_and_errors_come_back():
    host, a, b = ends()
    server = b.udp_socket(port=7)
    a.send(a.socket(), b"over", "10.7.0.2", 7)
    host.run(host.now + SECOND)
    assert b.drain(server) == [b"over"]
    a.send(a.socket(), b"over", "10.7.0.2", 8)
    host.run(host.now + SECOND)
    assert b.counter("icmp.errors_out") == 1


def test_what_is_no_ip_packet_is_counted():
    _, a, _ = ends()
    interface = a.ip.interfaces.get("tun0")
    for head in (bytes(13), bytes(14), bytes(12) + b"\x08\x06" + bytes(28)):
        with a.entered():
            a.host.post(interface.ingress(), Frame(head))
    assert (a.counter("interface.tun0.short_in"), a.counter("interface.tun0.unknown_type_in")) == (1, 2)
    a.do(a.ip.set_up, "tun0", False)
    with a.entered():
        a.host.post(interface.ingress(), Frame(packet("10.7.0.2", "10.7.0.1", 17, bytes(8))))
    assert a.counter("interface.tun0.down_in") == 1


def test_the_header_follows_the_version():
    assert header_for(b"\x45")[12:] == b"\x08\0"
    assert header_for(b"\x60")[12:] == b"\x86\xdd"
    assert header_for(b"") == header_for(b"\x10") == b""


def test_the_peer_is_reached_whatever_its_address():
    host, a, _ = ends()
    a.ping("192.0.2.7")
    host.run(host.now + SECOND)
    assert a.ports[0].sent[0].head[30:34] == parse_ipv4("192.0.2.7")
