"""Raw sockets: whole packets in, headers made or given, filters, and who may have one."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import (
    EACCES,
    EADDRNOTAVAIL,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENOPROTOOPT,
    ENOTCONN,
    EOPNOTSUPP,
    EPERM,
    EPROTONOSUPPORT,
)
from rumpkit.kern.abi.socket import AF_INET, IP_TTL, IPPROTO_ICMP, IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, SOCK_RAW
from rumpkit.kern.process import Credentials
from rumpkit.kern.socket import Received
from rumpkit.kern.socketcalls import SocketCalls
from rumpkit.net.socket.raw import ICMP_FILTER, IP_HDRINCL, SOL_RAW, RawSocket
from rumpkit.net.socket.rawtable import PROTOCOL_RAW
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.checksum import pseudo_sum
from rumpkit.net.wire.icmp import ECHO, ECHO_REPLY, IcmpMessage
from rumpkit.net.wire.ipv4 import emit_ipv4_header, parse_ipv4_header
from rumpkit.net.wire.udp import emit_datagram
from tests.net.lan import Node, pair


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


def world(**hub):
    host, a, b = pair(**hub)
    return host, a, b


def raw(node: Node, protocol: int) -> RawSocket:
    socket = node.socket(SOCK_RAW, protocol)
    assert isinstance(socket, RawSocket)
    return socket


def settle(host: SimHost) -> None:
    host.run(host.now + SECOND)


def test_a_ping_by_hand():
    host, a, b = world()
    socket = raw(a, IPPROTO_ICMP)
    message = IcmpMessage(ECHO, 0, 0x12340001, b"payload").emit()
    assert a.send(socket, message, "10.0.0.2") == len(message)
    settle(host)
    received = a.receive(socket)
    assert received is not None and received.source == (b"\x0a\0\0\2", 0)
    header = parse_ipv4_header(received.data, 0, len(received.data))
    assert header is not None and header.checksum_valid
    assert received.data[20:] == IcmpMessage(ECHO_REPLY, 0, 0x12340001, b"payload").emit()
    assert b.counter("icmp.echo_requests_in") == 1


def test_the_kernels_ttl_counts_when_something_is_sent():
    host, a, b = world()
    socket, taker = raw(a, 99), raw(b, 99)
    a.kernel.sysctl.set("net.ip.ttl", 33)
    assert socket.get_option(IPPROTO_IP, IP_TTL) == b"\x21\0\0\0"
    for value, ttl in ((None, 33), (b"\7\0\0\0", 7), (b"\xff\xff\xff\xff", 33)):
        if value is not None:
            socket.set_option(IPPROTO_IP, IP_TTL, value)
        a.send(socket, b"data", "10.0.0.2")
        settle(host)
        (packet,) = b.drain(taker)
        assert packet[8] == ttl


def test_every_socket_gets_a_copy_and_the_transport_its_own():
    host, a, b = world()
    sockets = [raw(b, IPPROTO_UDP), raw(b, IPPROTO_UDP)]
    server = b.udp_socket(port=7)
    other = raw(b, IPPROTO_TCP)
    a.send(a.socket(), b"data", "10.0.0.2", 7)
    settle(host)
    assert b.drain(server) == [b"data"]
    for socket in sockets:
        (packet,) = b.drain(socket)
        assert packet[28:] == b"data"
    assert b.drain(other) == []


@pytest.mark.parametrize("features", [15, 0])
def test_what_was_one_batch_is_seen_as_on_a_wire(features):
    host, a, b = world(features=features)
    socket = raw(b, IPPROTO_UDP)
    own, target = parse_ipv4("10.0.0.1"), parse_ipv4("10.0.0.2")
    batch = emit_datagram(1000, 7, pseudo_sum(own, target, 17, 0), bytes(5000), 0, 5000, 1400)
    with a.entered():
        a.v4.output(batch, a.v4.route(target), own, target, 17, host.now)
    settle(host)
    packets = b.drain(socket)
    assert [len(packet) for packet in packets] == [1428, 1428, 1428, 828]
    for packet in packets:
        header = parse_ipv4_header(packet, 0, len(packet))
        assert header is not None and header.checksum_valid and header.total_length == len(packet)


def test_fragments_come_whole():
    host, a, b = world()
    socket = raw(b, IPPROTO_UDP)
    a.send(a.socket(), bytes(4000), "10.0.0.2", 7)
    settle(host)
    assert [len(packet) for packet in b.drain(socket)] == [4028]


def test_a_protocol_of_ones_own_and_nobody_says_unreachable():
    host, a, b = world()
    ours, theirs = raw(a, 200), raw(b, 200)
    a.send(ours, b"hello", "10.0.0.2")
    settle(host)
    (packet,) = b.drain(theirs)
    assert (packet[9], packet[20:]) == (200, b"hello")
    b.do(theirs.release, host.now)
    a.send(ours, b"hello", "10.0.0.2")
    settle(host)
    assert (b.counter("icmp.errors_out"), b.counter("ip.unknown_protocol")) == (1, 1)
    assert b.v4.raw is None


def test_bound_and_connected():
    host, a, b = world()
    socket = raw(b, 200)
    b.do(b.ip.add_address, "vif0", "10.0.0.22/24")
    b.do(socket.bind, (parse_ipv4("10.0.0.22"), 0))
    fails(EADDRNOTAVAIL, b.do, socket.bind, (parse_ipv4("10.0.0.9"), 0))
    sender = raw(a, 200)
    for address in ("10.0.0.2", "10.0.0.22"):
        a.send(sender, address.encode(), address)
    settle(host)
    assert [packet[20:] for packet in b.drain(socket)] == [b"10.0.0.22"]
    fails(ENOTCONN, socket.peer_address)
    b.do(lambda: socket.connect((parse_ipv4("10.0.0.9"), 0), host.now))
    a.send(sender, b"x", "10.0.0.22")
    settle(host)
    assert b.drain(socket) == []
    assert socket.peer_address() == (parse_ipv4("10.0.0.9"), 0)
    fails(EDESTADDRREQ, a.send, sender, b"x")


def test_icmp_types_are_filtered():
    host, a, _ = world()
    socket = raw(a, IPPROTO_ICMP)
    a.do(socket.set_option, SOL_RAW, ICMP_FILTER, (1 << ECHO_REPLY).to_bytes(4, "little"))
    assert socket.get_option(SOL_RAW, ICMP_FILTER) == b"\1\0\0\0"
    a.send(socket, IcmpMessage(ECHO, 0, 1, b"").emit(), "10.0.0.2")
    settle(host)
    assert a.drain(socket) == []
    a.do(socket.set_option, SOL_RAW, ICMP_FILTER, bytes(4))
    a.send(socket, IcmpMessage(ECHO, 0, 1, b"").emit(), "10.0.0.2")
    settle(host)
    assert len(a.drain(socket)) == 1
    fails(EOPNOTSUPP, raw(a, 200).set_option, SOL_RAW, ICMP_FILTER, bytes(4))
    fails(EINVAL, socket.set_option, SOL_RAW, ICMP_FILTER, b"\1")


def test_headers_of_ones_own():
    host, a, b = world()
    socket, theirs = raw(a, PROTOCOL_RAW), raw(b, 200)
    header = emit_ipv4_header(parse_ipv4("192.0.2.7"), parse_ipv4("10.0.0.2"), 200, 4, 77, 0, 9, 0x20, b"\x94\4\0\0")
    wrong = header[:2] + b"\0\0" + header[4:10] + b"\xff\xff" + header[12:]
    a.send(socket, wrong + b"data", "10.0.0.2")
    settle(host)
    assert b.drain(theirs) == [header[:2] + b"\0\x1c" + header[4:] + b"data"]
    blank = emit_ipv4_header(bytes(4), parse_ipv4("10.0.0.2"), 200, 4, 0)
    a.send(socket, blank + b"data", "10.0.0.2")
    settle(host)
    (packet,) = b.drain(theirs)
    assert packet[12:16] == parse_ipv4("10.0.0.1") and packet[4:6] != b"\0\0"
    for bad in (b"", b"\x45" + bytes(10), b"\x65" + bytes(30), b"\x44" + bytes(30), b"\x4f" + bytes(30)):
        fails(EINVAL, a.send, socket, bad, "10.0.0.2")
    fails(EMSGSIZE, a.send, socket, blank + bytes(1481), "10.0.0.2")
    other = raw(a, 200)
    assert other.get_option(0, IP_HDRINCL) == bytes(4)
    a.do(other.set_option, 0, IP_HDRINCL, b"\1\0\0\0")
    a.send(other, blank + b"data", "10.0.0.2")
    settle(host)
    assert len(b.drain(theirs)) == 1


def test_what_is_too_long_goes_in_fragments():
    host, a, b = world()
    theirs = raw(b, 200)
    a.send(raw(a, 200), bytes(4000), "10.0.0.2")
    settle(host)
    assert [len(packet) for packet in b.drain(theirs)] == [4020]
    assert a.counter("ip.fragmented") == 1


def test_numbers_of_the_header_and_broadcasts():
    host, a, b = world()
    socket, theirs = raw(a, 200), raw(b, 200)
    for name, value in ((2, 7), (1, 0x28)):
        a.do(socket.set_option, 0, name, value.to_bytes(4, "little"))
        assert socket.get_option(0, name) == value.to_bytes(4, "little")
    fails(EINVAL, socket.set_option, 0, 2, bytes(4))
    fails(ENOPROTOOPT, socket.set_option, 0, 99, bytes(4))
    fails(EACCES, a.send, socket, b"x", "10.0.0.255")
    a.do(socket.set_option, 1, 6, b"\1\0\0\0")
    a.send(socket, b"x", "10.0.0.255")
    settle(host)
    (packet,) = b.drain(theirs)
    assert (packet[8], packet[1]) == (7, 0x28)


def test_to_oneself():
    host, a, _ = world()
    socket = raw(a, 200)
    a.send(socket, b"x", "0.0.0.0")
    settle(host)
    assert [packet[20:] for packet in a.drain(socket)] == [b"x"]


def test_a_full_buffer_drops():
    host, a, b = world()
    sender, socket = raw(a, 200), raw(b, 200)
    b.do(socket.set_option, 1, 8, (2000).to_bytes(4, "little"))
    for _ in range(20):
        a.send(sender, bytes(700), "10.0.0.2")
    settle(host)
    assert len(b.drain(socket)) == 4
    assert socket.mailbox.dropped == 16


def test_only_root_may_have_one():
    _, a, _ = world()
    kernel = a.kernel
    calls = kernel.service("SocketCalls")
    assert isinstance(calls, SocketCalls)
    root, user = a.do(kernel.process), a.do(kernel.process, Credentials(1000, 1000))
    assert a.do(calls.socket, root, AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0
    fails(EPERM, a.do, calls.socket, user, AF_INET, SOCK_RAW, IPPROTO_ICMP)
    fails(EPROTONOSUPPORT, a.do, calls.socket, root, AF_INET, SOCK_RAW, 0)
    fails(EINVAL, a.do, calls.socket, root, AF_INET, SOCK_RAW, 256)
    assert a.do(calls.socket, user, AF_INET, 2, 0) >= 0


def test_peeking_and_cutting():
    host, a, b = world()
    socket = raw(b, 200)
    a.send(raw(a, 200), b"0123456789", "10.0.0.2")
    settle(host)
    peeked = b.receive(socket, 25, 2)
    assert isinstance(peeked, Received)
    assert (len(peeked.data), peeked.flags, peeked.size) == (25, 0x20, 30)
    assert socket.ioctl(0x541B, b"") == (30).to_bytes(4, "little")
    assert len(b.drain(socket)[0]) == 30
