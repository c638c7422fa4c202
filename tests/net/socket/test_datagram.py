"""UDP sockets over two kernels: what POSIX and Linux's udp(7) promise their users."""

import errno as host_errno

import pytest

from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.kern.abi.errno import (
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    ECONNREFUSED,
    EDESTADDRREQ,
    EHOSTUNREACH,
    EINVAL,
    EMSGSIZE,
    ENETUNREACH,
    ENOPROTOOPT,
    ENOTCONN,
    ENOTTY,
    EOPNOTSUPP,
    EPIPE,
)
from rumpkit.kern.abi.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP
from rumpkit.kern.abi.socket import (
    IP_FREEBIND,
    IP_MTU_DISCOVER,
    IP_RECVERR,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_UDP,
    MSG_MORE,
    MSG_PEEK,
    MSG_TRUNC,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_BROADCAST,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SOL_SOCKET,
    UDP_SEGMENT,
)
from rumpkit.kern.wait import Blocked
from rumpkit.net.wire.address import parse_ipv4
from tests.net.lan import pair

A = parse_ipv4("10.0.0.1")
B = parse_ipv4("10.0.0.2")
ON = b"\1\0\0\0"


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number, host_errno.errorcode.get(caught.value.errno or 0)


def settle(host):
    host.run(host.now + 100 * MILLISECOND)


def test_datagrams_go_there_and_back():
    host, a, b = pair()
    server = b.udp_socket(port=53)
    client = a.socket()
    assert a.send(client, b"question", "10.0.0.2", 53) == 8
    settle(host)
    received = b.receive(server)
    assert received is not None and received.data == b"question"
    assert received.source is not None and received.source[0] == A
    assert 32768 <= received.source[1] <= 60999
    b.send(server, b"answer", "10.0.0.1", received.source[1])
    settle(host)
    reply = a.receive(client)
    assert reply is not None and (reply.data, reply.source) == (b"answer", (B, 53))


@pytest.mark.rfc("1122", "3.3.2-c")
@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 8000, 65507])
def test_every_size_arrives_whole(size):
    host, a, b = pair()
    server = b.udp_socket(port=9)
    data = bytes(index * 7 & 0xFF for index in range(size))
    a.send(a.socket(), data, "10.0.0.2", 9)
    settle(host)
    assert b.drain(server) == [data]
    assert b.counter("ip.reassembled") == (1 if size > 1472 else 0)


def test_one_datagram_is_cut_where_its_control_message_says():
    host, a, b = pair()
    server, socket = b.udp_socket(port=9), a.socket()
    destination = (B, 9)
    cut = ((IPPROTO_UDP, UDP_SEGMENT, (30).to_bytes(2, "little")),)
    for control in (cut, ()):
        host.enter()
        assert socket.send_with(b"x" * 70, control, 0, destination, host.now) == 70
        host.leave()
    settle(host)
    assert [len(data) for data in b.drain(server)] == [30, 30, 10, 70]
    host.enter()
    with pytest.raises(OSError) as caught:
        socket.send_with(b"x" * 70, ((IPPROTO_UDP, UDP_SEGMENT, b"\1"),), 0, destination, host.now)
    host.leave()
    assert caught.value.errno == EINVAL


def test_what_is_too_big_for_udp_is_refused():
    _, a, _ = pair()
    fails(EMSGSIZE, a.send, a.socket(), bytes(65508), "10.0.0.2", 9)


def test_a_short_read_cuts_the_datagram_and_says_so():
    host, a, b = pair()
    server = b.udp_socket(port=9)
    a.send(a.socket(), b"0123456789", "10.0.0.2", 9)
    settle(host)
    peeked = b.receive(server, 4, MSG_PEEK)
    assert peeked is not None and (peeked.data, peeked.flags, peeked.size) == (b"0123", MSG_TRUNC, 10)
    taken = b.receive(server, 4)
    assert taken is not None and taken.data == b"0123"
    assert b.receive(server) is None


@pytest.mark.rfc("1122", "3.2.2-c", "3.2.2.1-b", "3.2.2.1-c", "3.4-e", "4.1.3.3-a")
def test_a_datagram_to_nobody_is_reported_to_a_connected_socket():
    host, a, _b = pair()
    client = a.socket()
    a.do(client.connect, (B, 99), host.now)
    a.send(client, b"x")
    settle(host)
    assert a.do(client.poll) & POLLERR
    fails(ECONNREFUSED, a.receive, client)
    assert a.receive(client) is None  # reported once
    a.send(client, b"x")
    settle(host)
    fails(ECONNREFUSED, a.send, client, b"y")


@pytest.mark.rfc("1122", "4.1.3.3-a")
def test_an_unconnected_socket_hears_of_errors_only_if_it_asks():
    host, a, _ = pair()
    client = a.socket()
    a.send(client, b"x", "10.0.0.2", 99)
    settle(host)
    assert a.receive(client) is None
    a.do(client.set_option, IPPROTO_IP, IP_RECVERR, ON)
    a.send(client, b"x", "10.0.0.2", 99)
    settle(host)
    fails(ECONNREFUSED, a.receive, client)


def test_a_silent_neighbour_is_a_soft_error():
    host, a, _ = pair()
    quiet, keen = a.socket(), a.socket()
    a.do(keen.set_option, IPPROTO_IP, IP_RECVERR, ON)
    for socket in (quiet, keen):
        a.do(socket.connect, (parse_ipv4("10.0.0.77"), 9), host.now)
        a.send(socket, b"x")
    host.run(host.now + 5 * SECOND)
    assert a.receive(quiet) is None
    fails(EHOSTUNREACH, a.receive, keen)


def test_a_connected_socket_hears_its_peer_only():
    host, a, b = pair()
    client = a.udp_socket(port=1000)
    a.do(client.connect, (B, 2000), host.now)
    assert client.local_address() == (A, 1000)
    assert client.peer_address() == (B, 2000)
    b.send(b.udp_socket(port=2001), b"stranger", "10.0.0.1", 1000)
    b.send(b.udp_socket(port=2000), b"peer", "10.0.0.1", 1000)
    settle(host)
    assert a.drain(client) == [b"peer"]
    a.do(client.connect, (b"", 0), host.now)
    assert client.local_address() == (b"\0\0\0\0", 1000)
    fails(ENOTCONN, client.peer_address)
    b.send(b.udp_socket(port=2002), b"stranger", "10.0.0.1", 1000)
    settle(host)
    assert a.drain(client) == [b"stranger"]


@pytest.mark.rfc("1122", "4.1.3.5-b", "4.1.3.5-c")
def test_the_most_specific_socket_gets_the_datagram():
    host, a, b = pair()
    reuse = [b.socket() for _ in range(2)]
    for socket, address in zip(reuse, (b"\0\0\0\0", B), strict=True):
        b.do(socket.set_option, SOL_SOCKET, SO_REUSEADDR, ON)
        b.do(socket.bind, (address, 7))
    wildcard, exact = reuse
    a.send(a.socket(), b"x", "10.0.0.2", 7)
    settle(host)
    assert b.drain(exact) == [b"x"]
    assert b.drain(wildcard) == []
    b.do(exact.release, host.now)
    a.send(a.socket(), b"y", "10.0.0.2", 7)
    settle(host)
    assert b.drain(wildcard) == [b"y"]


def test_reuseport_shares_the_load_and_keeps_a_sender_with_one_socket():
    host, a, b = pair()
    servers = []
    for _ in range(2):
        server = b.socket()
        b.do(server.set_option, SOL_SOCKET, SO_REUSEPORT, ON)
        b.do(server.bind, (B, 7))
        servers.append(server)
    clients = [a.socket() for _ in range(20)]
    for client in clients * 2:
        a.send(client, b"x", "10.0.0.2", 7)
    settle(host)
    counts = []
    for server in servers:
        ports = []
        while (received := b.receive(server)) is not None:
            assert received.source is not None
            ports.append(received.source[1])
        assert all(ports.count(port) == 2 for port in ports)
        counts.append(len(ports))
    assert sum(counts) == 40
    assert min(counts) > 4


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_sockets_of_one_port_may_be_connected_to_one_peer(order):
    """The youngest hears it, as on Linux; when that goes, the one before does."""
    host, a, b = pair()
    peer = a.udp_socket(port=9)
    servers = []
    for _ in range(3):
        server = b.socket()
        b.do(server.set_option, SOL_SOCKET, SO_REUSEPORT, ON)
        b.do(server.bind, (B, 7))
        servers.append(server)
    for server in servers:
        b.do(server.connect, (A, 9), host.now)
    left = [0, 1, 2]
    for gone in order:
        a.send(peer, b"x", "10.0.0.2", 7)
        settle(host)
        assert [b.drain(servers[number]) for number in left] == [
            [b"x"] if number == left[-1] else [] for number in left
        ]
        b.do(servers[gone].release, host.now)
        left.remove(gone)
    a.send(peer, b"x", "10.0.0.2", 7)
    settle(host)
    assert a.counter("icmp.messages_in") == 1, "the port is free"


def test_two_sockets_on_one_port_conflict():
    _, a, _ = pair()
    a.udp_socket(port=7)
    fails(EADDRINUSE, a.udp_socket, "0.0.0.0", 7)
    fails(EADDRINUSE, a.udp_socket, "10.0.0.1", 7)


def test_bind_refuses_strange_addresses():
    _, a, _ = pair()
    fails(EADDRNOTAVAIL, a.udp_socket, "10.0.0.9", 7)
    fails(EAFNOSUPPORT, a.do, a.socket().bind, (bytes(16), 7))
    bound = a.udp_socket(port=8)
    fails(EINVAL, a.do, bound.bind, (A, 9))


def test_a_closed_socket_frees_its_port():
    host, a, _ = pair()
    socket = a.udp_socket(port=7)
    a.do(socket.release, host.now)
    a.udp_socket(port=7)


@pytest.mark.rfc("1122", "3.3.6-b", "3.3.6-c")
def test_broadcast_wants_permission_and_reaches_every_socket():
    host, a, b = pair()
    servers = [b.socket() for _ in range(2)]
    for server in servers:
        b.do(server.set_option, SOL_SOCKET, SO_REUSEADDR, ON)
        b.do(server.bind, (b"\0\0\0\0", 7))
    client = a.socket()
    fails(EACCES, a.send, client, b"x", "10.0.0.255", 7)
    a.do(client.set_option, SOL_SOCKET, SO_BROADCAST, ON)
    a.send(client, b"x", "10.0.0.255", 7)
    a.send(client, b"y", "255.255.255.255", 7)
    settle(host)
    assert [b.drain(server) for server in servers] == [[b"x", b"y"], [b"x", b"y"]]
    assert b.counter("icmp.errors_out") == 0


def test_a_broadcast_to_nobody_is_not_answered():
    host, a, b = pair()
    client = a.socket()
    a.do(client.set_option, SOL_SOCKET, SO_BROADCAST, ON)
    a.send(client, b"x", "10.0.0.255", 7)
    settle(host)
    assert b.counter("udp.no_port") == 1
    assert b.counter("icmp.errors_out") == 0


@pytest.mark.rfc("1122", "3.3.7-a")
def test_multicast_reaches_members():
    host, a, b = pair()
    server = b.udp_socket(port=7)
    membership = parse_ipv4("239.1.2.3") + bytes(4)
    b.do(server.set_option, IPPROTO_IP, 35, membership)
    a.send(a.socket(), b"x", "239.1.2.3", 7)
    settle(host)
    assert b.drain(server) == [b"x"]
    b.do(server.set_option, IPPROTO_IP, 36, membership)
    a.send(a.socket(), b"y", "239.1.2.3", 7)
    settle(host)
    assert b.drain(server) == []
    fails(EADDRNOTAVAIL, b.do, server.set_option, IPPROTO_IP, 36, membership)


def test_the_receive_buffer_has_a_limit():
    host, a, b = pair()
    server = b.udp_socket(port=7)
    b.do(server.set_option, SOL_SOCKET, SO_RCVBUF, (5000).to_bytes(4, "little"))
    assert int.from_bytes(server.get_option(SOL_SOCKET, SO_RCVBUF), "little") == 10000
    client = a.socket()
    for _ in range(20):
        a.send(client, bytes(1000), "10.0.0.2", 7)
    settle(host)
    assert len(b.drain(server)) == 10000 // 1256
    assert b.counter("udp.buffer_full") == 20 - 10000 // 1256
    for _ in range(2):
        a.send(client, b"", "10.0.0.2", 7)
    settle(host)
    assert b.drain(server) == [b"", b""]


def test_the_kernel_reaches_itself():
    host, a, _ = pair()
    for name in ("127.0.0.1", "127.9.9.9", "10.0.0.1", "0.0.0.0"):
        server = a.udp_socket(port=7)
        client = a.socket()
        a.send(client, name.encode(), name, 7)
        received = a.receive(server)
        assert received is not None and received.data == name.encode()
        assert received.source is not None
        assert received.source[0] == (A if name == "10.0.0.1" else parse_ipv4("127.0.0.1"))
        a.do(server.release, host.now)
    assert not [frame for frame in a.ports[0].sent if b"127.9" in frame.linear()]


def test_no_route_is_an_error_at_once():
    _, a, _ = pair()
    fails(ENETUNREACH, a.send, a.socket(), b"x", "192.0.2.1", 7)
    fails(EDESTADDRREQ, a.send, a.socket(), b"x")
    fails(EINVAL, a.send, a.socket(), b"x", "10.0.0.2", 0)


def test_who_is_bound_to_an_address_that_is_not_ours_sends_nothing():
    host, a, _ = pair()
    free = a.socket()
    a.do(free.set_option, IPPROTO_IP, IP_FREEBIND, ON)
    a.do(free.bind, (parse_ipv4("10.9.9.9"), 7))
    fails(ENETUNREACH, a.send, free, b"x", "10.0.0.2", 7)
    fails(ENETUNREACH, a.do, free.connect, (B, 7), host.now)
    a.do(a.ip.add_address, "vif0", "10.9.9.9/24")
    a.send(free, b"x", "10.0.0.2", 7)


def test_shutdown():
    host, a, b = pair()
    client = a.udp_socket(port=1000)
    fails(ENOTCONN, a.do, client.shutdown, SHUT_RD, host.now)
    a.do(client.connect, (B, 2000), host.now)
    a.do(client.shutdown, SHUT_WR, host.now)
    fails(EPIPE, a.send, client, b"x")
    b.send(b.udp_socket(port=2000), b"late", "10.0.0.1", 1000)
    settle(host)
    late = a.receive(client)
    assert late is not None and late.data == b"late"
    a.do(client.shutdown, SHUT_RDWR, host.now)
    ended = a.receive(client)
    assert ended is not None and ended.data == b"" and ended.source is None
    assert client.poll() & (POLLIN | POLLHUP | POLLRDHUP) == POLLIN | POLLHUP | POLLRDHUP


def test_readiness():
    host, a, b = pair()
    server = b.udp_socket(port=7)
    assert server.poll() & (POLLIN | POLLOUT) == POLLOUT
    a.send(a.socket(), b"four", "10.0.0.2", 7)
    settle(host)
    assert server.poll() & POLLIN
    assert server.ioctl(0x541B, b"") == b"\4\0\0\0"
    b.drain(server)
    assert server.poll() & POLLIN == 0


@pytest.mark.parametrize(
    ("level", "name", "value", "then"),
    [
        (IPPROTO_IP, IP_TTL, b"\7\0\0\0", 7),
        (IPPROTO_IP, IP_TOS, b"\x10\0\0\0", 0x10),
        (IPPROTO_IP, IP_TOS, b"\x13", 0x13),
        (IPPROTO_IP, IP_RECVERR, ON, 1),
        (IPPROTO_IP, IP_MTU_DISCOVER, b"\2\0\0\0", 2),
        (IPPROTO_IP, 33, b"\5", 5),
        (IPPROTO_IP, 34, b"\0", 0),
        (SOL_SOCKET, SO_BROADCAST, ON, 1),
        (SOL_SOCKET, SO_REUSEADDR, ON, 1),
        (SOL_SOCKET, SO_REUSEPORT, ON, 1),
    ],
)
def test_options_are_kept(level, name, value, then):
    _, a, _ = pair()
    socket = a.socket()
    a.do(socket.set_option, level, name, value)
    assert int.from_bytes(socket.get_option(level, name), "little") == then


@pytest.mark.rfc("1122", "3.2.1.7-a")
def test_options_are_checked():
    _, a, _ = pair()
    socket = a.socket()
    fails(EINVAL, socket.set_option, IPPROTO_IP, IP_TTL, bytes(4))
    fails(EINVAL, socket.set_option, IPPROTO_IP, IP_TTL, b"")
    fails(ENOPROTOOPT, socket.set_option, IPPROTO_IP, 200, ON)
    fails(ENOPROTOOPT, socket.get_option, SOL_SOCKET, 200)
    fails(EAGAIN, socket.receive, 10, 0x2000, 0)


@pytest.mark.rfc("1122", "3.2.1.6-a", "3.2.1.7-c")
def test_ttl_and_tos_are_on_the_wire():
    host, a, _b = pair()
    client = a.socket()
    a.do(client.set_option, IPPROTO_IP, IP_TTL, b"\7\0\0\0")
    a.do(client.set_option, IPPROTO_IP, IP_TOS, b"\x10\0\0\0")
    a.send(client, b"seven", "10.0.0.2", 7)
    settle(host)
    head = next(frame.head for frame in a.ports[0].sent if frame.linear().endswith(b"seven"))
    assert (head[14 + 8], head[14 + 1]) == (7, 0x10)


@pytest.mark.parametrize("name", ["net.ip.ttl", "net.ipv4.ip_default_ttl"])
def test_who_chooses_no_ttl_has_the_sysctls(name):
    host, a, _b = pair()
    client = a.socket()
    a.send(client, b"before", "10.0.0.2", 7)
    a.kernel.sysctl.set(name, 99)
    a.send(client, b"default", "10.0.0.2", 7)
    assert client.get_option(IPPROTO_IP, IP_TTL) == b"\x63\0\0\0"
    a.do(client.set_option, IPPROTO_IP, IP_TTL, b"\7\0\0\0")
    a.send(client, b"chosen", "10.0.0.2", 7)
    a.do(client.set_option, IPPROTO_IP, IP_TTL, b"\xff\xff\xff\xff")
    a.send(client, b"default again", "10.0.0.2", 7)
    settle(host)
    sent = [frame.linear() for frame in a.ports[0].sent]
    packets = [head for head in sent if head[12:14] == b"\x08\0" and head[14 + 9] == 17]
    assert [head[14 + 8] for head in packets] == [64, 99, 7, 99]


def test_a_datagram_of_empty_parts_takes_no_memory():
    """Its size would never end it."""
    host, a, b = pair()
    server = b.udp_socket(port=7)
    client = a.socket()
    a.do(client.connect, (B, 7), host.now)
    for part in (b"", b"", b"x", *[b""] * 1000):
        a.send(client, part, flags=MSG_MORE)
    assert client._gathered == [b"", b"x"]  # type: ignore[attr-defined]
    fails(EMSGSIZE, a.send, client, bytes(65507), None, 0, MSG_MORE)
    a.send(client, b"y")
    settle(host)
    assert b.drain(server) == [b"xy"]


@pytest.mark.rfc("1122", "3.3.3-b")
def test_the_dont_fragment_option_refuses_what_does_not_fit():
    _, a, _ = pair()
    client = a.socket()
    a.do(client.set_option, IPPROTO_IP, IP_MTU_DISCOVER, b"\2\0\0\0")
    a.send(client, bytes(1472), "10.0.0.2", 7)
    fails(EMSGSIZE, a.send, client, bytes(1473), "10.0.0.2", 7)


def test_sockets_are_files_too():
    host, a, b = pair()
    server = b.udp_socket(port=7)
    client = a.socket()
    a.do(client.connect, (B, 7), host.now)
    assert a.do(client.write, b"written", host.now) == 7
    settle(host)
    assert b.do(server.read, 100, host.now) == b"written"
    assert isinstance(b.do(server.read, 100, host.now), Blocked)
    assert client.ioctl(0x5411, b"") == bytes(4)
    fails(ENOTTY, client.ioctl, 0x1234, b"")
    assert server.describe() == "udp 0.0.0.0:7"
    assert client.describe() == f"udp 10.0.0.1:{client.local_address()[1]} -> 10.0.0.2:7"


def test_a_small_send_buffer_takes_any_datagram():
    _, a, _ = pair()
    client = a.socket()
    a.do(client.set_option, SOL_SOCKET, SO_SNDBUF, (3000).to_bytes(4, "little"))
    assert int.from_bytes(client.get_option(SOL_SOCKET, SO_SNDBUF), "little") == 6000
    a.send(client, bytes(6000), "10.0.0.2", 7)
    a.send(client, bytes(6001), "10.0.0.2", 7)  # one datagram always has room (as on Linux)


def test_closing_leaves_groups():
    host, a, b = pair()
    membership = parse_ipv4("239.1.2.3") + bytes(4)
    one, other = b.udp_socket(port=7), b.udp_socket(port=8)
    for socket in (one, other):
        b.do(socket.set_option, IPPROTO_IP, 35, membership)
    b.do(one.release, host.now)
    a.send(a.socket(), b"x", "239.1.2.3", 8)
    settle(host)
    assert b.drain(other) == [b"x"]
    b.do(other.release, host.now)
    before = b.counter("interface.vif0.other_group_in")
    a.send(a.socket(), b"y", "239.1.2.3", 8)
    settle(host)
    assert b.counter("interface.vif0.other_group_in") == before + 1
    fails(EADDRNOTAVAIL, b.do, b.v4.leave, parse_ipv4("239.1.2.3"))
    fails(EINVAL, b.do, b.socket().set_option, IPPROTO_IP, 35, parse_ipv4("10.0.0.1") + bytes(4))


def test_running_out_of_ephemeral_ports():
    _, a, _ = pair()
    a.kernel.sysctl.set("net.port.ephemeral_first", 50000)
    a.kernel.sysctl.set("net.port.ephemeral_last", 50001)
    sockets = [a.socket() for _ in range(3)]
    for socket in sockets[:2]:
        a.send(socket, b"x", "10.0.0.2", 7)
    fails(EAGAIN, a.send, sockets[2], b"x", "10.0.0.2", 7)
    assert sorted(socket.local_address()[1] for socket in sockets[:2]) == [50000, 50001]


def test_connecting_to_a_broadcast_address_wants_permission():
    host, a, _ = pair()
    client = a.socket()
    fails(EACCES, a.do, client.connect, (parse_ipv4("10.0.0.255"), 7), host.now)
    a.do(client.set_option, SOL_SOCKET, SO_BROADCAST, ON)
    a.do(client.connect, (parse_ipv4("10.0.0.255"), 7), host.now)
    assert client.peer_address() == (parse_ipv4("10.0.0.255"), 7)


def test_a_socket_bound_to_the_broadcast_address_gets_broadcasts_only():
    host, a, b = pair()
    server = b.udp_socket("10.0.0.255", 7)
    client = a.socket()
    a.do(client.set_option, SOL_SOCKET, SO_BROADCAST, ON)
    a.send(client, b"all", "10.0.0.255", 7)
    a.send(client, b"one", "10.0.0.2", 7)
    settle(host)
    assert b.drain(server) == [b"all"]


def test_out_of_band_data_does_not_exist():
    host, a, _ = pair()
    client = a.socket()
    fails(EOPNOTSUPP, client.send, b"x", 0, 1, (B, 7), host.now)
    assert a.receive(client, 10, 1) is None  # which receiving has nothing against (as on Linux)
