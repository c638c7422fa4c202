"""The set of interfaces of a kernel: names, limits, making and removing."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EEXIST, EINVAL, ENETUNREACH, ENODEV
from tests.net.lan import Hub, Node, pair


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


def test_names_are_unique_and_short():
    host, a, _ = pair()
    port = Hub(host).port()
    fails(EEXIST, a.ip.add_interface, port, "vif0")
    fails(EEXIST, a.ip.add_interface, port, "lo")
    for name in ("", "a name", "a/b", "x" * 16):
        fails(EINVAL, a.ip.add_interface, port, name)
    fails(ENODEV, a.ip.set_up, "vif7", True)


def test_mac_and_mtu_are_checked():
    host, a, _ = pair()
    port = Hub(host, mtu=1500).port()
    for mac in (b"\x02\0\0", b"\x03\0\0\0\0\1", bytes(6), b"\xff" * 6):
        fails(EINVAL, a.ip.add_interface, port, "vif1", mac)
    for mtu in (67, 1501):
        fails(EINVAL, a.ip.add_interface, port, "vif1", b"", mtu)
    assert a.do(a.ip.add_interface, port, "vif1", b"", 576).mtu == 576


def test_a_mac_address_is_made_up_where_none_is_given():
    host, a, _ = pair()
    hub = Hub(host)
    macs = {a.do(a.ip.add_interface, hub.port(), f"vif{index}").mac for index in range(1, 9)}
    assert len(macs) == 8
    assert all(mac[0] == 2 for mac in macs)


def test_a_removed_interface_takes_its_routes_along_and_leaves_its_name():
    host = SimHost(seed=2)
    hub = Hub(host)
    a = Node(host, "a", (hub, "10.0.0.1/24"))
    b = Node(host, "b", (hub, "10.0.0.2/24"))
    a.do(a.ip.add_route, "default", "10.0.0.2")
    assert len(a.ip.route_rows()) == 3
    a.do(a.ip.remove_interface, "vif0")
    assert [row.name for row in a.ip.interface_rows()] == ["lo"]
    assert [row.prefix for row in a.ip.route_rows()] == ["127.0.0.0/8"]
    assert a.ports[0].closed
    fails(ENETUNREACH, a.ping, "10.0.0.2")
    port = hub.port()
    a.do(a.ip.add_interface, port, "vif0")
    a.do(a.ip.add_address, "vif0", "10.0.0.1/24")
    socket = a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    assert a.receive(socket) is not None
    assert b.counter("icmp.echo_requests_in") == 1


def test_loopback_frames_come_back_through_the_host_and_not_from_within():
    host, a, _ = pair()
    server = a.udp_socket(port=7)
    with a.entered():
        client = a.kernel.sockets.make(2, 2, 0)
        client.send(b"x", 0, 0, (b"\x7f\0\0\1", 7), host.now)
        assert a.udp.counters.datagrams_in == 0
    assert a.drain(server) == [b"x"]
    a.do(a.ip.set_up, "lo", False)
    fails(ENETUNREACH, a.send, server, b"x", "127.0.0.1", 7)
