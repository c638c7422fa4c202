"""Packet sockets: frames in and out, cooked and whole, by protocol and interface."""

from __future__ import annotations

import pytest

from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EINVAL, EMSGSIZE, ENETDOWN, ENODEV, ENOPROTOOPT, ENXIO, EPERM
from rumpkit.kern.abi.socket import AF_INET, AF_PACKET, SOCK_DGRAM, SOCK_RAW
from rumpkit.kern.process import Credentials
from rumpkit.kern.socketcalls import SocketCalls
from rumpkit.net.socket.packet import (
    PACKET_ADD_MEMBERSHIP,
    PACKET_BROADCAST,
    PACKET_DROP_MEMBERSHIP,
    PACKET_HOST,
    PACKET_MULTICAST,
    PACKET_OTHERHOST,
    PACKET_OUTGOING,
    PACKET_STATISTICS,
    SOL_PACKET,
    LinkAddress,
    PacketSocket,
    parse_link_address,
)
from tests.net.lan import Hub, Node, packet, pair

ALL, ARP, IPV4, OWN = 0x0300, 0x0608, 0x0008, 0xB588
"""Protocols in network byte order, as a program on a little-endian machine gives them."""


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


def opened(node: Node, kind: int = SOCK_RAW, protocol: int = ALL) -> PacketSocket:
    socket = node.do(node.kernel.sockets.make, AF_PACKET, kind, protocol)
    assert isinstance(socket, PacketSocket)
    socket.hold()
    return socket


def seen(node: Node, socket: PacketSocket) -> list[tuple[LinkAddress, bytes]]:
    out = []
    while (received := node.receive(socket)) is not None:
        assert received.source is not None
        out.append((parse_link_address(received.source[0]), received.data))
    return out


def send(node: Node, socket: PacketSocket, data: bytes, address: LinkAddress | None = None) -> int:
    target = None if address is None else (address.emit(), 0)
    sent = node.do(lambda: socket.send(data, 0, 0, target, node.host.now))
    assert isinstance(sent, int)
    return sent


def test_everything_that_comes_and_goes():
    host, a, b = pair()
    socket = opened(a)
    a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    frames = seen(a, socket)
    assert [(where.protocol, where.kind) for where, _ in frames] == [
        (0x806, PACKET_OUTGOING),
        (0x806, PACKET_HOST),
        (0x800, PACKET_OUTGOING),
        (0x800, PACKET_HOST),
    ]
    assert {where.interface for where, _ in frames} == {a.interface.index}
    assert frames[1][0].mac == b.interface.mac
    assert frames[3][1][:14] == a.interface.mac + b.interface.mac + b"\x08\0"


def test_one_protocol_cooked_and_only_what_comes_in():
    host, a, _ = pair()
    socket = opened(a, SOCK_DGRAM, ARP)
    a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    ((where, data),) = seen(a, socket)
    assert (where.kind, where.protocol, data[:2], len(data)) == (PACKET_HOST, 0x806, b"\0\1", 28)


def test_frames_of_ones_own():
    host, a, b = pair()
    whole, cooked = opened(a), opened(a, SOCK_DGRAM, OWN)
    theirs = opened(b, SOCK_RAW, OWN)
    index = a.interface.index
    frame = b.interface.mac + a.interface.mac + b"\x88\xb5" + b"whole"
    assert send(a, whole, frame, LinkAddress(index)) == len(frame)
    a.do(cooked.bind, (LinkAddress(index, 0x88B5).emit(), 0))
    send(a, cooked, b"cooked", LinkAddress(index, 0x88B5, b.interface.mac))
    host.run(host.now + SECOND)
    assert [data[14:] for _, data in seen(b, theirs)] == [b"whole", b"cooked"]
    assert [data[14:] for _, data in seen(a, whole)] == [b"cooked"]  # its own not, that of the other goes out


def test_bound_to_an_interface():
    host, a, _ = pair()
    socket = opened(a)
    other = a.do(a.ip.add_interface, Hub(host).port(), "vif1")
    a.do(socket.bind, (LinkAddress(other.index).emit(), 0))
    a.ping("10.0.0.2")
    a.do(other.announce, b"\x0a\1\0\1", host.now)
    host.run(host.now + SECOND)
    assert [where.interface for where, _ in seen(a, socket)] == [other.index]
    assert parse_link_address(socket.local_address()[0])[:3] == (other.index, 3, other.mac)
    fails(ENODEV, a.do, socket.bind, (LinkAddress(99).emit(), 0))
    fails(EINVAL, a.do, socket.bind, (b"\x0a\0\0\1", 0))


def test_to_whom_a_frame_was():
    host, a, b = pair()
    socket = opened(a)
    body = packet("10.0.0.2", "10.0.0.1", 200, b"x")[12:]
    group, stranger = b"\1\0\x5e\1\2\3", b"\2\0\0\0\0\x77"
    for destination in (b"\xff" * 6, group, a.interface.mac, stranger):
        a.inject(destination + b.interface.mac + body)
    kinds = [where.kind for where, _ in seen(a, socket) if where.kind != PACKET_OUTGOING]
    assert kinds == [PACKET_BROADCAST, PACKET_MULTICAST, PACKET_HOST]
    request = a.interface.index.to_bytes(4, "little") + b"\1\0\0\0" + bytes(8)
    a.do(socket.set_option, SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
    delivered = a.counter("ip.delivered")
    a.inject(stranger + b.interface.mac + body)
    assert [where.kind for where, _ in seen(a, socket) if where.kind != PACKET_OUTGOING] == [PACKET_OTHERHOST]
    assert a.counter("ip.delivered") == delivered
    a.do(socket.set_option, SOL_PACKET, PACKET_DROP_MEMBERSHIP, request)
    a.inject(stranger + b.interface.mac + body)
    assert seen(a, socket) == []
    fails(ENODEV, socket.set_option, SOL_PACKET, PACKET_ADD_MEMBERSHIP, b"\x63" + request[1:])
    fails(EINVAL, socket.set_option, SOL_PACKET, PACKET_ADD_MEMBERSHIP, request[:15])
    fails(ENOPROTOOPT, socket.set_option, SOL_PACKET, 99, request)
    host.run(host.now + SECOND)


@pytest.mark.parametrize("features", [15, 0])
def test_super_segments_are_seen_as_frames(features):
    host, a, b = pair(features=features)
    socket = opened(b, SOCK_RAW, IPV4)
    server = b.udp_socket(port=7)
    a.send(a.socket(), bytes(1000), "10.0.0.2", 7)
    host.run(host.now + SECOND)
    ((_, data),) = seen(b, socket)
    assert len(data) == 1042 and data[40:42] != b"\0\0"
    assert b.drain(server) == [bytes(1000)]


def test_the_loopback_is_seen_twice():
    host, a, _ = pair()
    everything, some = opened(a), opened(a, SOCK_RAW, IPV4)
    a.send(a.socket(), b"x", "127.0.0.1", 9)
    host.run(host.now + SECOND)
    kinds = [where.kind for where, _ in seen(a, everything)]
    assert kinds == [PACKET_OUTGOING, PACKET_HOST] * 2  # the datagram, and what ICMP says of it
    assert [where.kind for where, _ in seen(a, some)] == [PACKET_HOST] * 2


def test_what_cannot_be_sent():
    _, a, _ = pair()
    socket, cooked = opened(a), opened(a, SOCK_DGRAM)
    frame = b"\xff" * 6 + a.interface.mac + b"\x88\xb5"
    fails(ENXIO, send, a, socket, frame)
    fails(ENXIO, send, a, socket, frame, LinkAddress(99))
    fails(EINVAL, send, a, socket, frame[:13], LinkAddress(a.interface.index))
    fails(EINVAL, send, a, cooked, b"x", LinkAddress(a.interface.index, 0x88B5))
    fails(EMSGSIZE, send, a, socket, frame + bytes(1501), LinkAddress(a.interface.index))
    tagged = frame[:12] + b"\x81\0\0\1\x88\xb5" + bytes(1500)
    assert send(a, socket, tagged, LinkAddress(a.interface.index)) == 1518
    a.do(a.ip.set_up, "vif0", False)
    fails(ENETDOWN, send, a, socket, frame, LinkAddress(a.interface.index))


def test_statistics_and_the_end():
    host, a, b = pair()
    socket = opened(a)
    a.do(socket.set_option, 1, 8, (1200).to_bytes(4, "little"))
    for _ in range(10):
        a.inject(packet("10.0.0.2", "10.0.0.1", 200, bytes(300), peer=a.interface.mac, mac=b.interface.mac))
    counts = socket.get_option(SOL_PACKET, PACKET_STATISTICS)
    assert int.from_bytes(counts[:4], "little") >= 10 and int.from_bytes(counts[4:], "little") >= 6
    assert socket.get_option(SOL_PACKET, PACKET_STATISTICS) == bytes(8)
    assert a.interface.tapped
    a.do(socket.release, host.now)
    assert not a.interface.tapped


def test_a_socket_of_no_protocol_hears_nothing():
    host, a, _ = pair()
    socket = opened(a, SOCK_RAW, 0)
    a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    assert seen(a, socket) == []
    a.do(socket.bind, (LinkAddress(0, 0x0806).emit(), 0))
    a.do(a.interface.neighbours.announce, b"\x0a\0\0\1", host.now)
    a.inject(b"\2\0\0\0\0\x77" + b"\2\0\0\0\0\2" + b"\x08\x06" + bytes(28))
    assert len(seen(a, socket)) == 0  # to another host's address
    a.inject(b"\xff" * 6 + b"\2\0\0\0\0\2" + b"\x08\x06" + bytes(28))
    assert len(seen(a, socket)) == 1


def test_only_root_may_have_one():
    _, a, _ = pair()
    calls = a.kernel.service("SocketCalls")
    assert isinstance(calls, SocketCalls)
    user = a.do(a.kernel.process, Credentials(1000, 1000))
    for kind in (SOCK_RAW, SOCK_DGRAM):
        fails(EPERM, a.do, calls.socket, user, AF_PACKET, kind, ALL)
    assert a.do(calls.socket, user, AF_INET, SOCK_DGRAM, 0) >= 0


def test_addresses_round_trip():
    address = LinkAddress(7, 0x806, b"\1\2\3\4\5\6", PACKET_OTHERHOST, 772)
    assert parse_link_address(address.emit()) == address
    for size in (0, 17, 19):
        fails(EINVAL, parse_link_address, bytes(size))
