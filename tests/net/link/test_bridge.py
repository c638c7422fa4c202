"""Bridges: what is learned, what is flooded, what is dropped, how the kernel itself takes part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EBUSY, EINVAL, ENODEV, ENOSPC, EOPNOTSUPP
from rumpkit.kern.kernel import RumpKernel
from rumpkit.net.ip.service import Ip
from rumpkit.net.link.bridge import Bridges
from rumpkit.net.wire.ethernet import emit_tag
from tests.net.lan import Hub, HubPort, Node
from tests.net.lan6 import Node6

ALL = b"\xff" * 6


def mac(number: int) -> bytes:
    return b"\x02\0\0\0" + number.to_bytes(2, "big")


def frame(destination: bytes, source: bytes, size: int = 60) -> Frame:
    return Frame(destination + source + b"\x88\xb5" + bytes(size - 14))


class World:
    """A kernel with a bridge over `count` cables."""

    def __init__(self, count: int = 3, mtus: tuple[int, ...] = (1500, 1500, 1500, 1500)) -> None:
        self.host = SimHost(seed=7)
        self.hubs = [Hub(self.host, mtu=mtus[index]) for index in range(count)]
        self.ports: list[HubPort] = []
        self.host.enter()
        self.kernel = RumpKernel(self.host, ("ethernet", "ipv4", "loopback", "icmp", "udp", "bridge"), "bridge")
        ip, bridges = self.kernel.service("Ip"), self.kernel.service("Bridges")
        assert isinstance(ip, Ip) and isinstance(bridges, Bridges)
        self.ip, self.bridges = ip, bridges
        for index, hub in enumerate(self.hubs):
            self.ports.append(hub.port())
            ip.add_interface(self.ports[-1], f"vif{index}", mac(0x100 + index))
        self.bridge = ip.add_bridge(bridges, "br0", [f"vif{index}" for index in range(count)], mac(0x200))
        ip.add_address("br0", "10.0.0.254/24")
        self.host.leave()
        self.host.run(self.host.now + SECOND)
        for port in self.ports:
            port.sent.clear()
        for name in dir(self.bridge.counters):
            if isinstance(getattr(self.bridge.counters, name), int):
                setattr(self.bridge.counters, name, 0)

    def arrive(self, port: int, what: Frame) -> list[int]:
        """A frame comes in on a port; on which ports it goes out."""
        before = [len(one.sent) for one in self.ports]
        receiver = self.ports[port].receiver
        assert receiver is not None
        self.host.enter()
        self.host.post(receiver, what)
        self.host.leave()
        return [index for index, one in enumerate(self.ports) if len(one.sent) > before[index]]

    def count(self, name: str) -> int:
        return self.kernel.counters.get(f"bridge.br0.{name}")

    def known(self) -> dict[bytes, str]:
        self.host.enter()
        self.host.leave()
        return dict(self.bridge.addresses())


def test_it_floods_learns_and_forwards():
    world = World()
    assert world.arrive(0, frame(mac(2), mac(1))) == [1, 2]
    assert world.arrive(1, frame(mac(1), mac(2))) == [0]
    assert world.arrive(0, frame(mac(2), mac(1))) == [1]
    assert world.arrive(0, frame(ALL, mac(1))) == [1, 2]
    assert world.arrive(2, frame(b"\1\0\x5e\0\0\1", mac(3))) == [0, 1]
    assert world.known() == {mac(1): "vif0", mac(2): "vif1", mac(3): "vif2"}
    assert (world.count("flooded"), world.count("forwarded"), world.count("learned")) == (3, 2, 3)


def test_what_is_behind_its_own_port_stays_there():
    world = World()
    world.arrive(0, frame(ALL, mac(1)))
    world.arrive(0, frame(ALL, mac(2)))
    assert world.arrive(0, frame(mac(1), mac(2))) == []
    assert world.count("same_port") == 1


def test_who_moves_is_found_again():
    world = World()
    world.arrive(0, frame(ALL, mac(1)))
    world.arrive(2, frame(ALL, mac(1)))
    assert world.arrive(1, frame(mac(1), mac(2))) == [2]
    assert world.count("moved") == 1


def test_addresses_grow_old():
    world = World()
    world.kernel.sysctl.set("net.bridge.ageing_seconds", 10)
    world.arrive(0, frame(ALL, mac(1)))
    world.host.run(world.host.now + 9 * SECOND)
    world.arrive(0, frame(ALL, mac(1)))
    world.host.run(world.host.now + 9 * SECOND)
    assert world.arrive(1, frame(mac(1), mac(2))) == [0]
    world.host.run(world.host.now + 2 * SECOND)
    assert world.arrive(1, frame(mac(1), mac(2))) == [0, 2]
    assert mac(1) not in world.known()


def test_a_flood_of_addresses_pushes_out_none_that_is_in_use():
    world = World()
    world.kernel.sysctl.set("net.bridge.max_addresses", 50)
    world.arrive(0, frame(ALL, mac(1)))
    for number in range(1000, 2000):
        world.arrive(1, frame(ALL, mac(number)))
    assert len(world.known()) == 50
    assert world.count("not_learned") == 951
    assert world.arrive(2, frame(mac(1), mac(2))) == [0]
    world.host.run(world.host.now + 301 * SECOND)
    world.arrive(2, frame(ALL, mac(3)))
    assert world.known() == {mac(3): "vif2"}


def test_reserved_groups_and_bad_senders():
    world = World()
    assert world.arrive(0, frame(b"\1\x80\xc2\0\0\0", mac(1))) == [1, 2]  # spanning tree: others may have it
    for last in range(1, 16):
        assert world.arrive(0, frame(b"\1\x80\xc2\0\0" + bytes((last,)), mac(1))) == []
    assert world.arrive(0, frame(b"\1\x80\xc2\0\0\x10", mac(1))) == [1, 2]
    for source in (ALL, b"\1\0\x5e\0\0\1", mac(0x200)):
        assert world.arrive(0, frame(ALL, source)) == []
    assert (world.count("reserved_in"), world.count("bad_source")) == (15, 3)


def test_frames_too_large_for_a_port_are_dropped_there():
    world = World(mtus=(1500, 1280, 1500))
    assert world.arrive(0, frame(ALL, mac(1), 14 + 1280)) == [1, 2]
    assert world.arrive(0, frame(ALL, mac(1), 15 + 1280)) == [2]
    tagged = Frame(ALL + mac(1) + emit_tag(5) + b"\x88\xb5" + bytes(1280))
    assert world.arrive(0, tagged) == [1, 2]
    assert world.count("too_big") == 1
    assert world.ip.interfaces.get("br0").mtu == 1280


def test_hosts_on_its_ports_reach_each_other_and_the_kernel():
    world = World()
    a = Node(world.host, "a", (world.hubs[0], "10.0.0.1/24"))
    b = Node(world.host, "b", (world.hubs[1], "10.0.0.2/24"))
    world.host.run(world.host.now + SECOND)
    for node in (a, b):
        for interface, port in zip(node.interfaces, node.ports, strict=True):
            interface.mac = mac(ord(node.kernel.hostname))
            port.sent.clear()
    for source, address in ((a, "10.0.0.2"), (b, "10.0.0.254"), (a, "10.0.0.254")):
        socket = source.ping(address, bytes(4000))
        world.host.run(world.host.now + SECOND)
        assert source.receive(socket) is not None, address
    assert world.count("own_out") > 0
    assert world.known()[mac(ord("a"))] == "vif0"
    assert world.kernel.counters.get("icmp.echo_requests_in") == 2


def test_the_ports_have_no_part_in_ip():
    world = World()
    a = Node(world.host, "a", (world.hubs[0], "10.0.0.1/24"))
    a.ping("10.0.0.254")
    world.host.run(world.host.now + SECOND)
    assert world.kernel.counters.get("arp.requests_in") == 2  # the announcement and the question, once each
    assert [row.kind for row in world.ip.interface_rows()] == ["loopback", *["ethernet"] * 3, "bridge"]


def test_vlans_pass_and_a_vlan_may_be_a_port_or_stand_on_the_bridge():
    world = World()
    tagged = Frame(mac(9) + mac(1) + emit_tag(5) + b"\x88\xb5" + bytes(46))
    assert world.arrive(0, tagged) == [1, 2]
    world.host.enter()
    world.ip.add_vlan("br0.5", "br0", 5)
    world.ip.add_address("br0.5", "10.5.0.254/24")
    hub = Hub(world.host)
    port = hub.port()
    world.ip.add_interface(port, "trunk", mac(0x300))
    world.ip.add_vlan("trunk.7", "trunk", 7)
    world.ip.add_bridge(world.bridges, "br1", ["trunk.7"], mac(0x301))
    world.host.leave()
    a = Node(world.host, "a", (world.hubs[0], ""))
    a.interface.mac = mac(0x400)
    a.do(a.ip.add_vlan, "vif0.5", "vif0", 5)
    a.do(a.ip.add_address, "vif0.5", "10.5.0.1/24")
    socket = a.ping("10.5.0.254")
    world.host.run(world.host.now + SECOND)
    assert a.receive(socket) is not None
    assert port.receiver is not None
    world.host.enter()
    world.host.post(port.receiver, Frame(mac(9) + mac(8) + emit_tag(7) + b"\x88\xb5" + bytes(46)))
    world.host.leave()
    assert world.bridges.by_name["br1"].addresses() == [(mac(8), "trunk.7")]


def test_a_port_that_goes_takes_along_what_was_learned():
    world = World()
    world.arrive(0, frame(ALL, mac(1)))
    world.host.enter()
    world.ip.remove_interface("vif0")
    world.host.leave()
    assert world.known() == {}
    assert len(world.bridge.members) == 2
    world.host.enter()
    world.ip.remove_interface("br0")
    world.host.leave()
    assert world.bridge.members == []
    assert world.arrive(1, frame(ALL, mac(1))) == []


def test_what_cannot_be_joined():
    world = World()

    def fails(number: int, *ports: str) -> None:
        with pytest.raises(OSError) as caught:
            world.ip.add_bridge(world.bridges, "br9", list(ports))
        assert caught.value.errno == number

    world.host.enter()
    fails(ENODEV, "vif9")
    fails(EOPNOTSUPP, "lo")
    fails(EBUSY, "vif0")
    fails(EINVAL)
    fails(EINVAL, "br0")
    world.kernel.sysctl.set("net.bridge.max_ports", 1)
    for name in ("x", "y"):
        world.ip.add_interface(Hub(world.host).port(), name)
    fails(ENOSPC, "x", "y")
    world.host.leave()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(1, 6)), max_size=30))
def test_unicast_goes_where_its_destination_was_seen_last(steps):
    world = World()
    seen: dict[int, int] = {}
    for port, source, destination in steps:
        seen[source] = port
        out = world.arrive(port, frame(mac(destination), mac(source)))
        if destination in seen:
            assert out == [seen[destination]] * (seen[destination] != port)
        else:
            assert out == [other for other in range(3) if other != port]


def test_a_port_that_leaves_a_bridge_has_ipv6_again():
    host = SimHost(seed=7)
    hub = Hub(host)
    with entering(host):
        kernel = RumpKernel(host, ("ethernet", "ipv4", "ipv6", "loopback", "icmp", "udp", "bridge"), "bridge")
        ip, bridges = kernel.service("Ip"), kernel.service("Bridges")
        assert isinstance(ip, Ip) and isinstance(bridges, Bridges)
        vif0 = ip.add_interface(hub.port(), "vif0", mac(1))
        ip.add_bridge(bridges, "br0", ["vif0"], mac(0x200))
        assert vif0.ipv6 is None
        ip.remove_interface("br0")
        assert vif0.ipv6 is not None
        ip.add_address("vif0", "fd00::1/64", False)
    host.run(host.now + 3 * SECOND)
    other = Node6(host, "other", (hub, "fd00::2/64"))
    host.run(host.now + 3 * SECOND)
    ping = other.ping6("fd00::1")
    host.run(host.now + SECOND)
    assert len(ping.replies) == 1
    assert ip.v6 is not None and ip.v6.links[vif0.index].link_local()


@contextmanager
def entering(host: SimHost) -> Iterator[None]:
    host.enter()
    yield
    host.leave()
