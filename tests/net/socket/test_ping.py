"""Ping sockets, as Linux's icmp(7) has them."""

import pytest

from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import (
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EDESTADDRREQ,
    EHOSTUNREACH,
    EINVAL,
    EMSGSIZE,
    ENOPROTOOPT,
    ENOTCONN,
    EPIPE,
)
from rumpkit.kern.abi.socket import IP_TTL, IPPROTO_ICMP, IPPROTO_IP, SO_BROADCAST, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.icmp import ECHO, ECHO_REPLY, TIMESTAMP, IcmpMessage, parse_icmp
from tests.net.lan import pair

B = parse_ipv4("10.0.0.2")


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


def request(sequence=1, data=b"data"):
    return IcmpMessage(ECHO, 0, 0x9999 << 16 | sequence, data).emit()


@pytest.mark.rfc("1122", "3.1-a", "3.2.2.6-a", "3.2.2.6-b", "3.2.2.6-e", "3.3.1.1-b")
def test_replies_reach_the_socket_that_asked():
    host, a, _ = pair()
    sockets = [a.ping("10.0.0.2", b"%d" % number, number) for number in range(4)]
    host.run(host.now + SECOND)
    for number, socket in enumerate(sockets):
        (raw,) = a.drain(socket)
        message = parse_icmp(Frame(raw), 0, len(raw))
        assert message is not None
        assert (message.kind, message.sequence(), message.data) == (ECHO_REPLY, number, b"%d" % number)
        assert message.identifier() == socket.local_address()[1]


def test_the_kernels_ttl_counts_when_something_is_sent():
    """Not what it was when the socket was made."""
    host, a, b = pair()
    socket = a.ping("10.0.0.2", b"first")
    host.run(host.now + SECOND)
    a.kernel.sysctl.set("net.ip.ttl", 33)
    assert socket.get_option(IPPROTO_IP, IP_TTL) == b"\x21\0\0\0"
    raw = b.socket(SOCK_RAW, IPPROTO_ICMP)
    for value, ttl in ((None, 33), (b"\7\0\0\0", 7), (b"\xff\xff\xff\xff", 33)):
        if value is not None:
            a.do(socket.set_option, IPPROTO_IP, IP_TTL, value)
        a.do(socket.send, request(), 0, 0, (B, 0), host.now)
        host.run(host.now + SECOND)
        (packet,) = [packet for packet in b.drain(raw) if packet[20] == ECHO]
        assert packet[8] == ttl


@pytest.mark.rfc("1122", "3.2.2.6-d")
@pytest.mark.parametrize("size", [0, 1, 1471, 1472, 1473, 65507])
def test_pings_of_any_size(size):
    host, a, _ = pair()
    data = bytes(index & 0xFF for index in range(size))
    socket = a.ping("10.0.0.2", data)
    host.run(host.now + SECOND)
    assert [raw[8:] for raw in a.drain(socket)] == [data]


def test_a_connected_socket_hears_its_peer_only():
    host, a, b = pair()
    socket = a.socket(SOCK_DGRAM, IPPROTO_ICMP)
    fails(EDESTADDRREQ, a.send, socket, request())
    fails(ENOTCONN, socket.peer_address)
    a.do(socket.connect, (B, 0), host.now)
    a.send(socket, request())
    a.send(socket, request(), "127.0.0.1")
    host.run(host.now + SECOND)
    received = a.receive(socket)
    assert received is not None and received.source == (B, 0)
    assert a.receive(socket) is None
    assert b.counter("icmp.echo_requests_in") == 1


def test_only_echo_requests_may_be_sent():
    _, a, _ = pair()
    socket = a.socket(SOCK_DGRAM, IPPROTO_ICMP)
    fails(EINVAL, a.send, socket, request()[:7], "10.0.0.2")
    fails(EINVAL, a.send, socket, IcmpMessage(TIMESTAMP, 0, 1, bytes(12)).emit(), "10.0.0.2")
    fails(EMSGSIZE, a.send, socket, request(data=bytes(65508)), "10.0.0.2")


def test_an_identifier_is_given_once_and_comes_back():
    host, a, _ = pair()
    one, other = (a.socket(SOCK_DGRAM, IPPROTO_ICMP) for _ in range(2))
    a.do(one.bind, (bytes(4), 77))
    fails(EADDRINUSE, a.do, other.bind, (bytes(4), 77))
    fails(EADDRNOTAVAIL, a.do, other.bind, (B, 78))
    fails(EINVAL, a.do, one.bind, (bytes(4), 78))
    a.do(one.release, host.now)
    a.do(other.bind, (bytes(4), 77))
    assert other.local_address() == (bytes(4), 77)


def test_a_silent_host_is_an_error_for_those_who_listen():
    host, a, _ = pair()
    keen = a.ping("10.0.0.9")
    host.run(host.now + 5 * SECOND)
    fails(EHOSTUNREACH, a.receive, keen)
    assert a.receive(keen) is None


def test_a_kernel_may_refuse_pings():
    host, a, b = pair()
    b.kernel.sysctl.set("net.icmp.echo_ignore_all", 1)
    socket = a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    assert a.drain(socket) == []


@pytest.mark.parametrize(("ignore", "answers"), [(1, 0), (0, 1)])
def test_broadcast_pings(ignore, answers):
    host, a, b = pair()
    b.kernel.sysctl.set("net.icmp.echo_ignore_broadcasts", ignore)
    socket = a.socket(SOCK_DGRAM, IPPROTO_ICMP)
    fails(EACCES, a.send, socket, request(), "10.0.0.255")
    a.do(socket.set_option, SOL_SOCKET, SO_BROADCAST, b"\1\0\0\0")
    a.send(socket, request(), "10.0.0.255")
    host.run(host.now + SECOND)
    received = []
    while (one := a.receive(socket)) is not None:
        received.append(one.source)
    assert received == [(B, 0)] * answers


def test_options():
    _, a, _ = pair()
    socket = a.socket(SOCK_DGRAM, IPPROTO_ICMP)
    for name, value, then in ((2, b"\7\0\0\0", 7), (1, b"\x10\0\0\0", 16), (11, b"\1\0\0\0", 1)):
        a.do(socket.set_option, 0, name, value)
        assert int.from_bytes(socket.get_option(0, name), "little") == then
    fails(EINVAL, socket.set_option, 0, 2, bytes(4))
    fails(ENOPROTOOPT, socket.set_option, 0, 99, bytes(4))
    fails(ENOPROTOOPT, socket.get_option, 0, 99)


def test_disconnecting_hears_everybody_again_and_shutting_ends_sending():
    host, a, _ = pair()
    socket = a.socket(SOCK_DGRAM, IPPROTO_ICMP)
    a.do(socket.connect, (parse_ipv4("10.0.0.9"), 0), host.now)
    assert socket.peer_address() == (parse_ipv4("10.0.0.9"), 0)
    a.send(socket, request(), "10.0.0.2")
    host.run(host.now + SECOND)
    assert a.drain(socket) == []
    a.do(socket.connect, (b"", 0), host.now)
    a.send(socket, request(), "10.0.0.2")
    host.run(host.now + SECOND)
    assert len(a.drain(socket)) == 1
    a.do(socket.connect, (B, 0), host.now)
    a.do(socket.shutdown, 1, host.now)
    fails(EPIPE, a.send, socket, request())
    assert socket.describe() == f"ping {socket.local_address()[1]}"
    fails(EAFNOSUPPORT, a.do, socket.bind, (bytes(16), 7))
