"""VLAN interfaces: tags put in and taken out, networks that don't meet, and what happens to everybody else's frames."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EEXIST, EINVAL, ENODEV, EOPNOTSUPP
from rumpkit.net.wire.ethernet import ETHERTYPE_VLAN, emit_tag, ethertype
from tests.net.lan import Hub, Node, packet


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


def tagged_pair(**hub):
    """Two kernels on a cable: 10.0.0.x untagged, 10.0.10.x in VLAN 10, 10.0.20.x in VLAN 20."""
    host = SimHost(seed=6)
    cable = Hub(host, **hub)
    nodes = []
    for last in (1, 2):
        node = Node(host, f"n{last}", (cable, f"10.0.0.{last}/24"), tcp=True)
        for number in (10, 20):
            node.do(node.ip.add_vlan, f"vif0.{number}", "vif0", number)
            node.do(node.ip.add_address, f"vif0.{number}", f"10.0.{number}.{last}/24")
        nodes.append(node)
    host.run(host.now + SECOND)
    return host, *nodes


@pytest.mark.parametrize("features", [15, 0])
@pytest.mark.parametrize("size", [10, 8000])
def test_packets_go_with_their_tag(features, size):
    host, a, b = tagged_pair(features=features)
    for network, number in ((0, 0), (10, 10), (20, 20)):
        sent = len(a.ports[0].sent)
        socket = a.ping(f"10.0.{network}.2", bytes(size))
        host.run(host.now + SECOND)
        assert a.receive(socket) is not None
        for frame in a.ports[0].sent[sent:]:
            assert (ethertype(frame.head) == ETHERTYPE_VLAN) == (number != 0)
            if number:
                assert frame.head[12:16] == emit_tag(number)
    assert b.counter("interface.vif0.10.frames_in") > 1
    assert [row.kind for row in a.ip.interface_rows()] == ["loopback", "ethernet", "vlan", "vlan"]


@pytest.mark.parametrize("features", [15, 0])
def test_streams_with_offload_and_without(features):
    host, a, b = tagged_pair(features=features)
    listener = b.socket(1)
    b.do(listener.bind, (b"\0\0\0\0", 80))
    b.do(listener.listen, 5)
    client = a.socket(1)
    a.do(lambda: client.connect((b"\x0a\0\x0a\2", 80), host.now))
    host.run(host.now + SECOND)
    server = b.do(lambda: listener.accept(host.now))
    data = bytes(range(256)) * 200
    assert a.do(lambda: client.send(data, 0, 0, None, host.now)) == len(data)
    got = bytearray()
    for _ in range(200):
        host.run(host.now + SECOND // 100)
        received = b.do(lambda: server.receive(1 << 20, 0, host.now))
        got += getattr(received, "data", b"")
    assert bytes(got) == data
    assert b.counter("tcp.bad_checksums") == 0
    if features == 0:
        assert max(len(frame) for frame in a.ports[0].sent) == 1518


def test_networks_do_not_meet():
    host, a, b = tagged_pair()
    b.do(b.ip.set_up, "vif0.10", False)
    socket = a.ping("10.0.10.2")
    host.run(host.now + 5 * SECOND)
    assert b.counter("icmp.echo_requests_in") == 0
    with pytest.raises(OSError):
        a.receive(socket)
    assert b.counter("interface.vif0.10.down_in") == 3


def test_other_vlans_and_other_hosts_are_not_for_us():
    _, a, _ = tagged_pair()
    frame = packet("10.0.10.9", "10.0.10.1", 17, bytes(8))
    a.inject(frame[:12] + emit_tag(30) + frame[12:])
    assert a.counter("interface.vif0.tagged_in") == 1
    a.inject(b"\2\0\0\0\0\x77" + frame[6:12] + emit_tag(10) + frame[12:])
    assert a.counter("interface.vif0.10.other_host_in") == 1
    before = a.counter("ip.packets_in")
    a.inject(frame[:12] + emit_tag(10, 7) + frame[12:])
    assert a.counter("ip.packets_in") == before + 1


def test_what_cannot_be_made():
    _, a, _ = tagged_pair()
    fails(EEXIST, a.ip.add_vlan, "vif0.11", "vif0", 10)
    fails(EEXIST, a.ip.add_vlan, "vif0.10", "vif0", 11)
    assert set(a.interface.vlans) == {10, 20}
    for number in (0, 4095, -1):
        fails(EINVAL, a.ip.add_vlan, "x", "vif0", number)
    fails(ENODEV, a.ip.add_vlan, "x", "vif7", 1)
    fails(EOPNOTSUPP, a.ip.add_vlan, "x", "lo", 1)
    fails(EINVAL, a.ip.add_vlan, "x", "vif0", 30, 1501)


def test_they_go_with_their_carrier_and_one_by_one():
    _, a, _ = tagged_pair()
    a.do(a.ip.remove_interface, "vif0.20")
    assert set(a.interface.vlans) == {10}
    assert not a.ports[0].closed
    a.do(a.ip.remove_interface, "vif0")
    assert [row.name for row in a.ip.interface_rows()] == ["lo"]
    assert a.ports[0].closed


def test_a_vlan_in_a_vlan():
    host, a, b = tagged_pair()
    for node, last in ((a, 1), (b, 2)):
        node.do(node.ip.add_vlan, "inner", "vif0.10", 99)
        node.do(node.ip.add_address, "inner", f"10.0.99.{last}/24")
    socket = a.ping("10.0.99.2")
    host.run(host.now + SECOND)
    assert a.receive(socket) is not None
    assert a.ports[0].sent[-1].head[12:20] == emit_tag(10) + emit_tag(99)


def test_short_tagged_frames_are_survived():
    _, a, _ = tagged_pair()
    for size in range(22):
        with a.entered():
            head = (a.interface.mac + bytes(6) + emit_tag(10) + b"\x08\0" + bytes(20))[:size]
            a.host.post(a.interface.ingress(), Frame(head))
    assert a.counter("ip.packets_in") == 4
