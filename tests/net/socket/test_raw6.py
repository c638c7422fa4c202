"""Raw sockets of IPv6 (RFC 3542): messages without headers, checksums, filters, control messages, errors, groups."""

from __future__ import annotations

import struct

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import (
    EADDRNOTAVAIL,
    EAGAIN,
    EDESTADDRREQ,
    EFAULT,
    EHOSTUNREACH,
    EINVAL,
    EMSGSIZE,
    ENETUNREACH,
    ENODEV,
    ENOPROTOOPT,
    ENOTCONN,
    EOPNOTSUPP,
    EPERM,
    EPIPE,
    EPROTONOSUPPORT,
)
from rumpkit.kern.abi.socket import (
    AF_INET6,
    IPPROTO_ICMPV6,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_CHECKSUM,
    IPV6_DONTFRAG,
    IPV6_HDRINCL,
    IPV6_HOPLIMIT,
    IPV6_JOIN_GROUP,
    IPV6_LEAVE_GROUP,
    IPV6_MTU,
    IPV6_MTU_DISCOVER,
    IPV6_MULTICAST_HOPS,
    IPV6_MULTICAST_IF,
    IPV6_MULTICAST_LOOP,
    IPV6_PKTINFO,
    IPV6_RECVERR,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
    MSG_ERRQUEUE,
    MSG_OOB,
    SOCK_RAW,
    SOL_SOCKET,
)
from rumpkit.kern.process import Credentials
from rumpkit.kern.socket import Received
from rumpkit.kern.socketcalls import SocketCalls
from rumpkit.net.socket.raw6 import ICMP6_FILTER, SOL_RAW, Raw6Socket
from rumpkit.net.wire.address import LOOPBACK_V6, parse_ipv6
from rumpkit.net.wire.icmpv6 import ECHO_REPLY, ECHO_REQUEST, PACKET_TOO_BIG, TIME_EXCEEDED, Icmp6Message
from rumpkit.net.wire.ipv6 import emit_ipv6_header
from rumpkit.net.wire.udp import emit_datagram
from tests.net.lan6 import Node6, frame6, icmp6_frame, pair6

A, B = parse_ipv6("fd00::1"), parse_ipv6("fd00::2")
GROUP = "ff15::77"


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


def raw(node: Node6, protocol: int = IPPROTO_ICMPV6) -> Raw6Socket:
    socket = node.do(node.kernel.sockets.make, AF_INET6, SOCK_RAW, protocol)
    socket.hold()
    assert isinstance(socket, Raw6Socket)
    return socket


def only(socket: Raw6Socket, *kinds: int) -> None:
    words = [0xFFFFFFFF] * 8
    for kind in kinds:
        words[kind >> 5] &= ~(1 << (kind & 31))
    socket.set_option(IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("<8I", *words))


def number(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)


def send(node: Node6, socket: Raw6Socket, data: bytes, to: str | bytes | None = None, port: int = 0, flags: int = 0):
    address = parse_ipv6(to) if isinstance(to, str) else to
    destination = None if address is None else (address, port)
    return node.do(lambda: socket.send(data, 0, flags, destination, node.host.now))


def settle(host: SimHost) -> None:
    host.run(host.now + SECOND)


def received(node: Node6, socket: Raw6Socket, flags: int = 0) -> Received:
    found = node.do(lambda: socket.receive(65536, flags, node.host.now))
    assert isinstance(found, Received)
    return found


def drain(node: Node6, socket: Raw6Socket) -> list[bytes]:
    found = []
    while True:
        one = node.do(lambda: socket.receive(65536, 0, node.host.now))
        if not isinstance(one, Received):
            return found
        found.append(one.data)


def echo(identifier: int, data: bytes = b"payload") -> bytes:
    return bytes([ECHO_REQUEST, 0, 0, 0]) + (identifier << 16 | 1).to_bytes(4, "big") + data


def test_a_ping_by_hand():
    host, a, b = pair6()
    socket = raw(a)
    only(socket, ECHO_REPLY)
    assert send(a, socket, echo(0x1234), "fd00::2") == 15
    settle(host)
    one = received(a, socket)
    assert one.source == (B, 0)
    assert one.data == Icmp6Message(ECHO_REPLY, 0, 0x1234 << 16 | 1, b"payload").emit(B, A)
    assert b.counter("icmp6.echo_requests_in") == 1


def test_a_copy_for_each_and_the_transport_has_its_own():
    host, a, b = pair6()
    sockets = [raw(b, IPPROTO_UDP), raw(b, IPPROTO_UDP)]
    others = raw(b, 99)
    with a.entered():
        batch = emit_datagram(1000, 7, 0, bytes(5000), 0, 5000, 1400)
        a.v6.output(batch, a.v6.route(B), A, B, IPPROTO_UDP, host.now)
    settle(host)
    for socket in sockets:
        assert [len(data) for data in drain(b, socket)] == [1408, 1408, 1408, 808]
    assert drain(b, others) == []


def test_a_protocol_of_ones_own_fragments_and_nobody():
    host, a, b = pair6()
    ours, theirs = raw(a, 200), raw(b, 200)
    send(a, ours, bytes(4000), "fd00::2")
    settle(host)
    assert [len(data) for data in drain(b, theirs)] == [4000]
    ours.set_option(IPPROTO_IPV6, IPV6_DONTFRAG, number(1))
    fails(EMSGSIZE, send, a, ours, bytes(4000), "fd00::2")
    ours.set_option(IPPROTO_IPV6, IPV6_DONTFRAG, number(0))
    ours.set_option(IPPROTO_IPV6, IPV6_MTU_DISCOVER, number(2))
    fails(EMSGSIZE, send, a, ours, bytes(4000), "fd00::2")
    fails(EMSGSIZE, send, a, ours, bytes(70000), "fd00::2")
    b.do(theirs.release, host.now)
    assert b.v6.raw is None
    send(a, ours, b"hello", "fd00::2")
    settle(host)
    assert b.counter("ip6.unknown_protocol") == 1


def test_extension_headers_stay_with_the_kernel():
    host, _, b = pair6()
    socket = raw(b, 200)
    options = bytes([200, 0, 1, 4, 0, 0, 0, 0])
    b.inject(frame6(60, options + b"data", "fd00::9", "fd00::2", to=b.interface.mac))
    settle(host)
    assert drain(b, socket) == [b"data"]


def test_who_may_have_one():
    _, a, _ = pair6()
    calls = a.kernel.service("SocketCalls")
    assert isinstance(calls, SocketCalls)
    root, user = a.do(a.kernel.process), a.do(a.kernel.process, Credentials(1000, 1000))
    assert a.do(calls.socket, root, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6) >= 0
    fails(EPERM, a.do, calls.socket, user, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
    fails(EPROTONOSUPPORT, a.do, a.kernel.sockets.make, AF_INET6, SOCK_RAW, 0)
    fails(EINVAL, a.do, a.kernel.sockets.make, AF_INET6, SOCK_RAW, 256)


def test_names():
    host, a, b = pair6()
    socket = raw(b)
    assert socket.local_address() == (bytes(16), 58)
    fails(ENOTCONN, socket.peer_address)
    fails(EDESTADDRREQ, send, b, socket, echo(1))
    fails(EADDRNOTAVAIL, b.do, socket.bind, (parse_ipv6("fd00::77"), 0))
    fails(EADDRNOTAVAIL, b.do, socket.bind, (parse_ipv6("::ffff:10.0.0.1"), 0))
    fails(EINVAL, b.do, socket.bind, (bytes(4), 0))
    own = parse_ipv6(b.link_local)
    fails(EINVAL, b.do, socket.bind, (own, 0))
    fails(ENODEV, b.do, socket.bind, (own + (99).to_bytes(4, "big"), 0))
    zone = b.interface.index.to_bytes(4, "big")
    b.do(socket.bind, (own + zone, 0))
    assert socket.local_address() == (own + zone, 58)
    b.do(socket.bind, (B, 0))
    only(socket, ECHO_REQUEST)
    b.do(socket.connect, (A, 7), host.now)
    assert (socket.local_address(), socket.peer_address()) == ((B, 58), (A, 7))
    fails(EINVAL, b.do, socket.bind, (B, 0))
    fails(ENETUNREACH, b.do, socket.connect, (parse_ipv6("::ffff:10.0.0.1"), 0), host.now)
    other = raw(a)
    for target in ("fd00::2", b.link_local):
        send(a, other, echo(3), target)
    b.inject(icmp6_frame(ECHO_REQUEST, bytes(8), "fd00::9", "fd00::2", to=b.interface.mac))
    settle(host)
    assert drain(b, socket) == [Icmp6Message(ECHO_REQUEST, 0, 3 << 16 | 1, b"payload").emit(A, B)]
    b.do(socket.connect, (b"", 0), host.now)
    assert socket.local_address() == (bytes(16), 0)


def test_a_link_local_peer_by_its_zone():
    host, a, b = pair6()
    socket = raw(a)
    only(socket, ECHO_REPLY)
    zone = a.interface.index.to_bytes(4, "big")
    target = parse_ipv6(b.link_local) + zone
    send(a, socket, echo(5), target)
    settle(host)
    assert received(a, socket).source == (target, 0)
    a.do(socket.connect, (target, 0), host.now)
    send(a, socket, echo(6))
    settle(host)
    assert len(drain(a, socket)) == 1
    assert socket.peer_address() == (target, 0)


def test_icmpv6_has_its_checksum_from_the_kernel():
    host, a, b = pair6()
    socket, theirs = raw(a), raw(b)
    only(theirs, ECHO_REQUEST)
    wrong = echo(7)[:2] + b"\xde\xad" + echo(7)[4:]
    send(a, socket, wrong, "fd00::2")
    damaged = bytearray(icmp6_frame(ECHO_REQUEST, bytes(8), "fd00::9", "fd00::2", to=b.interface.mac))
    damaged[-1] ^= 1
    b.inject(bytes(damaged))
    settle(host)
    assert drain(b, theirs) == [Icmp6Message(ECHO_REQUEST, 0, 7 << 16 | 1, b"payload").emit(A, B)]
    assert socket.get_option(IPPROTO_IPV6, IPV6_CHECKSUM) == number(2)
    fails(EINVAL, socket.set_option, IPPROTO_IPV6, IPV6_CHECKSUM, number(2))
    fails(EFAULT, send, a, socket, b"\x80", "fd00::2")
    fails(EINVAL, send, a, socket, b"\x80\0\0", "fd00::2")
    socket.set_option(SOL_RAW, IPV6_CHECKSUM, number(-1))
    send(a, socket, wrong, "fd00::2")
    settle(host)
    assert drain(b, theirs) == []
    assert b.counter("icmp6.bad_in") == 2


def test_other_protocols_have_one_where_they_say():
    host, a, b = pair6()
    ours, theirs, strict = raw(a, 200), raw(b, 200), raw(b, 200)
    assert ours.get_option(IPPROTO_IPV6, IPV6_CHECKSUM) == number(-1)
    assert raw(a, 135).get_option(SOL_RAW, IPV6_CHECKSUM) == number(4)
    strict.set_option(IPPROTO_IPV6, IPV6_CHECKSUM, number(0))
    for offset, result in ((3, EINVAL), (-5, -1), (6, 6)):
        if result == EINVAL:
            fails(EINVAL, ours.set_option, IPPROTO_IPV6, IPV6_CHECKSUM, number(offset))
        else:
            ours.set_option(IPPROTO_IPV6, IPV6_CHECKSUM, number(offset))
            assert ours.get_option(IPPROTO_IPV6, IPV6_CHECKSUM) == number(result)
    fails(EINVAL, send, a, ours, bytes(7), "fd00::2")
    send(a, ours, bytes(8) + b"x", "fd00::2")
    ours.set_option(IPPROTO_IPV6, IPV6_CHECKSUM, number(-1))
    send(a, ours, b"without", "fd00::2")
    settle(host)
    (first, second) = drain(b, theirs)
    assert any(first[6:8]) and second == b"without"
    assert drain(b, strict) == [first]  # which holds wherever the sum is


def test_the_filter_of_types():
    _, a, _ = pair6()
    socket, other = raw(a), raw(a, 200)
    assert socket.get_option(IPPROTO_ICMPV6, ICMP6_FILTER) == bytes(32)
    only(socket, 129)
    assert socket.get_option(IPPROTO_ICMPV6, ICMP6_FILTER)[16] == 0xFD
    socket.set_option(IPPROTO_ICMPV6, ICMP6_FILTER, b"\1")
    assert socket.get_option(IPPROTO_ICMPV6, ICMP6_FILTER)[:2] == b"\1\xff"
    fails(ENOPROTOOPT, socket.get_option, IPPROTO_ICMPV6, 9)
    fails(EOPNOTSUPP, other.set_option, IPPROTO_ICMPV6, ICMP6_FILTER, bytes(32))
    fails(ENOPROTOOPT, other.set_option, SOL_RAW, 1, bytes(4))
    fails(ENOPROTOOPT, other.get_option, SOL_RAW, 1)


def test_a_whole_packet_goes_as_it_is():
    host, a, b = pair6()
    socket, theirs = raw(a, 255), raw(b, 200)
    assert socket.get_option(IPPROTO_IPV6, IPV6_HDRINCL) == number(1)
    theirs.set_option(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, number(1))
    packet = emit_ipv6_header(parse_ipv6("fd00::55"), B, 200, 4, 77, 0, 0x12345) + b"data"
    assert send(a, socket, packet, "fd00::2") == len(packet)
    fails(EINVAL, send, a, socket, packet[:39], "fd00::2")
    fails(EMSGSIZE, send, a, socket, bytes(1501), "fd00::2")
    settle(host)
    one = received(b, theirs)
    assert (one.data, one.source) == (b"data", (parse_ipv6("fd00::55"), 0))
    assert one.control == ((IPPROTO_IPV6, IPV6_HOPLIMIT, number(77)),)
    header, _ = next((h, f) for _, h, f in a.packets() if h.next_header == 200)
    assert header.flow == 0x12345


def test_control_messages_both_ways():
    host, a, b = pair6()
    ours, theirs = raw(a, 200), raw(b, 200)
    a.do(a.ip.add_address, "vif0", "fd00::11/64")
    settle(host)
    settle(host)
    for name in (IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS):
        theirs.set_option(IPPROTO_IPV6, name, number(1))
    said = (
        (IPPROTO_IPV6, IPV6_HOPLIMIT, number(9)),
        (IPPROTO_IPV6, IPV6_TCLASS, number(0x20)),
        (IPPROTO_IPV6, IPV6_PKTINFO, parse_ipv6("fd00::11") + number(0)),
    )
    a.do(ours.send_with, b"data", said, 0, (B, 0), host.now)
    ours.set_option(IPPROTO_IPV6, IPV6_UNICAST_HOPS, number(44))
    ours.set_option(IPPROTO_IPV6, IPV6_TCLASS, number(0x40))
    send(a, ours, b"more", "fd00::2")
    settle(host)
    for source, hops, traffic_class in (("fd00::11", 9, 0x20), ("fd00::1", 44, 0x40)):
        one = received(b, theirs)
        assert one.source == (parse_ipv6(source), 0)
        assert one.control == (
            (IPPROTO_IPV6, IPV6_PKTINFO, B + number(b.interface.index)),
            (IPPROTO_IPV6, IPV6_HOPLIMIT, number(hops)),
            (IPPROTO_IPV6, IPV6_TCLASS, number(traffic_class)),
        )
    stranger = ((IPPROTO_IPV6, IPV6_PKTINFO, parse_ipv6("fd00::77") + number(0)),)
    fails(EINVAL, a.do, ours.send_with, b"data", stranger, 0, (B, 0), host.now)
    fails(EINVAL, a.do, ours.send_with, b"data", ((IPPROTO_IPV6, 999, b""),), 0, (B, 0), host.now)


def test_options():
    _, a, _ = pair6()
    socket = raw(a)
    for name, value in ((IPV6_UNICAST_HOPS, 64), (IPV6_MULTICAST_HOPS, 1), (IPV6_MULTICAST_LOOP, 1), (IPV6_V6ONLY, 0)):
        assert socket.get_option(IPPROTO_IPV6, name) == number(value)
    fails(EINVAL, socket.set_option, IPPROTO_IPV6, IPV6_V6ONLY, number(0))
    for name, value in ((IPV6_UNICAST_HOPS, 256), (IPV6_MULTICAST_LOOP, 2), (IPV6_TCLASS, -2), (IPV6_MTU_DISCOVER, 6)):
        fails(EINVAL, socket.set_option, IPPROTO_IPV6, name, number(value))
    fails(EINVAL, socket.set_option, IPPROTO_IPV6, IPV6_UNICAST_HOPS, b"\1")
    fails(ENODEV, socket.set_option, IPPROTO_IPV6, IPV6_MULTICAST_IF, number(99))
    fails(ENOTCONN, socket.get_option, IPPROTO_IPV6, IPV6_MTU)
    a.do(socket.connect, (B, 0), a.host.now)
    assert socket.get_option(IPPROTO_IPV6, IPV6_MTU) == number(1500)
    fails(ENOPROTOOPT, socket.set_option, IPPROTO_IPV6, IPV6_MTU, number(1300))


def test_groups():
    host, a, b = pair6()
    ours, theirs, itself = raw(a, 200), raw(b, 200), raw(a, 200)
    group = parse_ipv6(GROUP)
    member = group + number(b.interface.index)
    send(a, ours, b"nobody listens", GROUP)
    settle(host)
    b.do(theirs.set_option, IPPROTO_IPV6, IPV6_JOIN_GROUP, member)
    a.do(itself.set_option, IPPROTO_IPV6, IPV6_JOIN_GROUP, group + number(0))
    a.do(ours.set_option, IPPROTO_IPV6, IPV6_MULTICAST_IF, number(a.interface.index))
    ours.set_option(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, number(5))
    send(a, ours, b"to all", GROUP)
    a.do(ours.set_option, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, number(0))
    send(a, ours, b"to others", GROUP)
    settle(host)
    assert drain(b, theirs) == [b"to all", b"to others"]
    assert drain(a, itself) == [b"to all"]
    assert [header.hop_limit for _, header, _ in a.packets() if header.next_header == 200] == [1, 5, 5]
    b.do(theirs.set_option, IPPROTO_IPV6, IPV6_LEAVE_GROUP, member)
    fails(EADDRNOTAVAIL, b.do, theirs.set_option, IPPROTO_IPV6, IPV6_LEAVE_GROUP, member)
    send(a, ours, b"gone", GROUP)
    settle(host)
    assert drain(b, theirs) == []
    a.do(itself.release, host.now)
    assert group not in a.link.groups


def test_errors_are_for_who_asks_or_is_connected():
    host, a, _ = pair6()
    plain, full, connected, elsewhere = raw(a, 200), raw(a, 200), raw(a, 200), raw(a, 200)
    full.set_option(IPPROTO_IPV6, IPV6_RECVERR, number(1))
    target = parse_ipv6("fd00::99")
    a.do(elsewhere.connect, (B, 0), host.now)
    a.do(connected.connect, (target, 0), host.now)
    quoted = emit_ipv6_header(A, target, 200, 9, 1) + b"some data"
    a.inject(icmp6_frame(TIME_EXCEEDED, bytes(4) + quoted, "fd00::2", "fd00::1", to=a.interface.mac))
    settle(host)
    fails(EHOSTUNREACH, a.do, full.check_error)
    for socket in (plain, connected, elsewhere):  # a soft error is no matter for a connected one
        a.do(socket.check_error)
    one = received(a, full, MSG_ERRQUEUE)
    assert (one.data, one.source) == (b"some data", (target, 0))
    ((level, name, data),) = one.control
    assert (level, name, data[:7]) == (IPPROTO_IPV6, IPV6_RECVERR, number(EHOSTUNREACH) + bytes([3, TIME_EXCEEDED, 0]))
    assert data[24:40] == B
    fails(EAGAIN, received, a, full, MSG_ERRQUEUE)
    quoted = emit_ipv6_header(A, target, 200, 1460, 1) + b"some data"

    def too_big(mtu: int) -> None:
        a.inject(icmp6_frame(PACKET_TOO_BIG, mtu.to_bytes(4, "big") + quoted, "fd00::2", "fd00::1", to=a.interface.mac))
        settle(host)

    too_big(1450)
    a.do(connected.check_error)  # it has not asked that nobody cuts its packets
    connected.set_option(IPPROTO_IPV6, IPV6_MTU_DISCOVER, number(2))
    too_big(1400)
    fails(EMSGSIZE, a.do, connected.check_error)
    assert connected.get_option(IPPROTO_IPV6, IPV6_MTU) == number(1400)
    a.do(plain.check_error)


def test_a_neighbour_that_is_not_there():
    host, a, _ = pair6()
    socket = raw(a, 200)
    socket.set_option(IPPROTO_IPV6, IPV6_RECVERR, number(1))
    send(a, socket, b"hello?", "fd00::99")
    host.run(host.now + 5 * SECOND)
    one = received(a, socket, MSG_ERRQUEUE)
    assert one.data == b"hello?" and one.control[0][2][:7] == number(EHOSTUNREACH) + bytes([3, 1, 3])


def test_flags_and_ends():
    host, a, _ = pair6()
    socket = raw(a)
    fails(EOPNOTSUPP, send, a, socket, echo(1), "fd00::2", 0, MSG_OOB)
    fails(EINVAL, send, a, socket, echo(1), "fd00::2", 17)
    assert send(a, socket, echo(1), "fd00::2", 58) == 15
    send(a, socket, echo(2), "::")
    settle(host)
    assert received(a, socket).source in ((LOOPBACK_V6, 0), (B, 0))
    fails(ENETUNREACH, send, a, socket, echo(1), "::ffff:10.0.0.1")
    a.do(socket.connect, (B, 0), host.now)
    a.do(socket.shutdown, 1, host.now)
    fails(EPIPE, send, a, socket, echo(1))
    assert socket.describe() == "raw6 58"
    socket.set_option(SOL_SOCKET, 8, number(5000))
    assert socket.get_option(SOL_SOCKET, 8) == number(10000)


def test_a_full_buffer_drops():
    host, a, b = pair6()
    ours, theirs = raw(a, 200), raw(b, 200)
    theirs.set_option(SOL_SOCKET, 8, number(2000))
    for _ in range(20):
        send(a, ours, bytes(700), "fd00::2")
    settle(host)
    assert len(drain(b, theirs)) == 4 and theirs.mailbox.dropped == 16
