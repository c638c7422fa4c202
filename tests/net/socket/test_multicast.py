"""Multicast through sockets: who gets what, from whom, by which interface, and how programs say so."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENOBUFS, ENODEV, ENOPROTOOPT
from rumpkit.kern.socket import Socket
from rumpkit.net.socket import multicast_options as options
from rumpkit.net.wire.address import parse_ipv4
from tests.net.lan import Hub, Node

GROUP = "239.1.2.3"


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


class World:
    """Three kernels on one cable, the third on another one, too."""

    def __init__(self, **hub):
        self.host = SimHost(seed=9)
        cable, self.second = Hub(self.host, **hub), Hub(self.host)
        self.a = Node(self.host, "a", (cable, "10.0.0.1/24"))
        self.b = Node(self.host, "b", (cable, "10.0.0.2/24"))
        self.c = Node(self.host, "c", (cable, "10.0.0.3/24"), (self.second, "10.1.0.3/24"))
        self.d = Node(self.host, "d", (self.second, "10.1.0.4/24"))
        self.settle()

    def settle(self):
        self.host.run(self.host.now + SECOND)


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def storage(address: str) -> bytes:
    return (b"\2\0\0\0" + parse_ipv4(address)).ljust(128, b"\0")


def mreq(group: str = GROUP, address: str = "0.0.0.0", index: int | None = None) -> bytes:
    return parse_ipv4(group) + parse_ipv4(address) + (b"" if index is None else number(index))


def mreq_source(source: str, group: str = GROUP, address: str = "0.0.0.0") -> bytes:
    return parse_ipv4(group) + parse_ipv4(address) + parse_ipv4(source)


def group_req(group: str = GROUP, index: int = 0) -> bytes:
    return number(index) + bytes(4) + storage(group)


def group_source_req(source: str, group: str = GROUP, index: int = 0) -> bytes:
    return group_req(group, index) + storage(source)


def setopt(node: Node, socket: Socket, name: int, value: bytes | int) -> None:
    node.do(socket.set_option, 0, name, number(value) if isinstance(value, int) else value)


def member(
    node: Node, name: int = options.IP_ADD_MEMBERSHIP, value: bytes | None = None, reuse: bool = False
) -> Socket:
    socket = node.socket()
    if reuse:
        node.do(socket.set_option, 1, 2, number(1))
    node.do(socket.bind, (bytes(4), 7))
    setopt(node, socket, name, mreq() if value is None else value)
    return socket


def speak(world: World, node: Node, data: bytes, group: str = GROUP, socket: Socket | None = None) -> Socket:
    socket = socket or node.socket()
    node.send(socket, data, group, 7)
    world.settle()
    return socket


def test_all_members_hear_and_nobody_else():
    world = World()
    one, other = member(world.b, reuse=True), member(world.b, reuse=True)
    outsider = world.c.udp_socket(port=7)
    speak(world, world.a, b"x")
    assert world.b.drain(one) == world.b.drain(other) == [b"x"]
    assert world.c.drain(outsider) == []
    assert world.c.counter("interface.vif0.other_group_in") == 3  # two reports, and what was sent
    setopt(world.b, one, options.IP_DROP_MEMBERSHIP, mreq())
    setopt(world.b, one, options.IP_MULTICAST_ALL, 0)
    speak(world, world.a, b"y")
    assert (world.b.drain(one), world.b.drain(other)) == ([], [b"y"])
    fails(EADDRNOTAVAIL, setopt, world.b, one, options.IP_DROP_MEMBERSHIP, mreq())
    fails(EADDRINUSE, setopt, world.b, other, options.IP_ADD_MEMBERSHIP, mreq())


@pytest.mark.parametrize("features", [15, 0])
@pytest.mark.parametrize("size", [5, 4000])
def test_ones_own_members_hear_too_unless_told_otherwise(features, size):
    world = World(features=features)
    mine, theirs = member(world.a), member(world.b)
    socket = speak(world, world.a, bytes(size))
    assert world.a.drain(mine) == world.b.drain(theirs) == [bytes(size)]
    setopt(world.a, socket, options.IP_MULTICAST_LOOP, 0)
    assert socket.get_option(0, options.IP_MULTICAST_LOOP) == number(0)
    speak(world, world.a, b"y", socket=socket)
    assert (world.a.drain(mine), world.b.drain(theirs)) == ([], [b"y"])
    assert world.a.counter("udp.bad_checksum") == 0


def test_sources_are_chosen():
    world = World()
    only = member(world.b, options.IP_ADD_SOURCE_MEMBERSHIP, mreq_source("10.0.0.1"))
    speak(world, world.a, b"a")
    speak(world, world.c, b"c")
    assert world.b.drain(only) == [b"a"]
    setopt(world.b, only, options.MCAST_JOIN_SOURCE_GROUP, group_source_req("10.0.0.3"))
    speak(world, world.c, b"c")
    setopt(world.b, only, options.IP_DROP_SOURCE_MEMBERSHIP, mreq_source("10.0.0.1"))
    speak(world, world.a, b"a")
    assert world.b.drain(only) == [b"c"]
    fails(EINVAL, setopt, world.b, only, options.IP_BLOCK_SOURCE, mreq_source("10.0.0.3"))
    setopt(world.b, only, options.MCAST_LEAVE_SOURCE_GROUP, group_source_req("10.0.0.3"))
    fails(EADDRNOTAVAIL, setopt, world.b, only, options.IP_DROP_MEMBERSHIP, mreq())


def test_sources_are_blocked():
    world = World()
    socket = member(world.b, options.MCAST_JOIN_GROUP, group_req())
    setopt(world.b, socket, options.IP_BLOCK_SOURCE, mreq_source("10.0.0.1"))
    speak(world, world.a, b"a")
    speak(world, world.c, b"c")
    assert world.b.drain(socket) == [b"c"]
    setopt(world.b, socket, options.MCAST_UNBLOCK_SOURCE, group_source_req("10.0.0.1"))
    fails(EADDRNOTAVAIL, setopt, world.b, socket, options.IP_UNBLOCK_SOURCE, mreq_source("10.0.0.1"))
    setopt(world.b, socket, options.MCAST_BLOCK_SOURCE, group_source_req("10.0.0.3"))
    speak(world, world.a, b"a")
    speak(world, world.c, b"c")
    assert world.b.drain(socket) == [b"a"]


def test_a_whole_filter_at_once():
    world = World()
    socket = member(world.b)
    head = parse_ipv4(GROUP) + bytes(4)
    setopt(world.b, socket, options.IP_MSFILTER, head + number(1) + number(1) + parse_ipv4("10.0.0.3"))
    speak(world, world.a, b"a")
    speak(world, world.c, b"c")
    assert world.b.drain(socket) == [b"c"]
    setopt(world.b, socket, options.IP_MSFILTER, head + number(0) + number(1) + parse_ipv4("10.0.0.3"))
    speak(world, world.a, b"a")
    speak(world, world.c, b"c")
    assert world.b.drain(socket) == [b"a"]
    fails(EINVAL, setopt, world.b, socket, options.IP_MSFILTER, head + number(2) + number(0))
    fails(EINVAL, setopt, world.b, socket, options.IP_MSFILTER, head + number(0) + number(2) + bytes(4))
    fails(EINVAL, setopt, world.b, socket, options.IP_MSFILTER, head)


def test_each_interface_is_joined_on_its_own():
    world = World()
    first, second = (one.index for one in world.c.interfaces)
    socket = member(world.c, value=mreq(index=second))
    speak(world, world.a, b"first")
    speak(world, world.d, b"second")
    assert world.c.drain(socket) == [b"second"]
    setopt(world.c, socket, options.IP_ADD_MEMBERSHIP, mreq(address="10.0.0.3"))
    speak(world, world.a, b"first")
    assert world.c.drain(socket) == [b"first"]
    setopt(world.c, socket, options.MCAST_LEAVE_GROUP, group_req(index=first))
    setopt(world.c, socket, options.IP_DROP_MEMBERSHIP, mreq(address="10.1.0.3"))
    speak(world, world.d, b"second")
    assert world.c.drain(socket) == []
    for value in (mreq(address="10.9.0.3"), mreq(index=99)):
        fails(ENODEV, setopt, world.c, socket, options.IP_ADD_MEMBERSHIP, value)


def test_the_interface_to_send_by():
    world = World()
    first, second = member(world.a), member(world.d)
    socket = world.c.socket()
    for value in (parse_ipv4("10.1.0.3"), mreq(address="10.1.0.3"), mreq(index=world.c.interfaces[1].index)):
        setopt(world.c, socket, options.IP_MULTICAST_IF, value)
        speak(world, world.c, b"x", socket=socket)
        assert (world.a.drain(first), world.d.drain(second)) == ([], [b"x"])
    setopt(world.c, socket, options.IP_MULTICAST_IF, parse_ipv4("10.1.0.3"))
    assert socket.get_option(0, options.IP_MULTICAST_IF) == parse_ipv4("10.1.0.3")
    setopt(world.c, socket, options.IP_MULTICAST_IF, bytes(4))
    speak(world, world.c, b"y", socket=socket)
    assert (world.a.drain(first), world.d.drain(second)) == ([b"y"], [])
    fails(EADDRNOTAVAIL, setopt, world.c, socket, options.IP_MULTICAST_IF, parse_ipv4("10.9.0.3"))
    fails(EINVAL, setopt, world.c, socket, options.IP_MULTICAST_IF, b"")


def test_the_ttl_is_one_unless_it_is_set():
    world = World()
    member(world.b)
    socket = speak(world, world.a, b"x")
    setopt(world.a, socket, 33, 9)
    speak(world, world.a, b"y", socket=socket)
    sent = [frame.head for frame in world.a.ports[0].sent if frame.head[30:34] == parse_ipv4(GROUP)]
    assert [head[22] for head in sent] == [1, 9]
    assert sent[0][:6] == b"\1\0\x5e\1\2\3"


def test_closing_leaves_and_routers_are_told():
    world = World()
    socket = member(world.b)
    world.settle()
    before = world.b.counter("igmp.reports_out")
    world.b.do(socket.release, world.host.now)
    world.settle()
    assert world.b.counter("igmp.reports_out") == before + 2
    assert world.b.interface.group_macs == {}


def test_what_is_refused():
    world = World()
    socket = world.b.socket()
    for name in options.MEMBERSHIPS:
        fails(EINVAL, setopt, world.b, socket, name, b"\xef\1\2\3")
        fails(ENOPROTOOPT, socket.get_option, 0, name)
    fails(EINVAL, setopt, world.b, socket, options.IP_ADD_MEMBERSHIP, mreq("10.0.0.1"))
    six = number(0) + bytes(4) + b"\x0a\0".ljust(128, b"\0")
    fails(EADDRNOTAVAIL, setopt, world.b, socket, options.MCAST_JOIN_GROUP, six)
    for last in range(20):
        setopt(world.b, socket, options.IP_ADD_MEMBERSHIP, mreq(f"239.0.0.{last}"))
    fails(ENOBUFS, setopt, world.b, socket, options.IP_ADD_MEMBERSHIP, mreq())
    assert socket.get_option(0, options.IP_MULTICAST_ALL) == number(1)
    fails(EINVAL, setopt, world.b, socket, options.IP_MULTICAST_ALL, 2)
