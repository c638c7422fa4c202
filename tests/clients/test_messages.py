"""Control messages, the error queue, batches of messages, lingering and both versions of IP, through the local client."""

from __future__ import annotations

import pytest

from rumpkit.kern.abi import socket as abi
from rumpkit.kern.abi.errno import EADDRINUSE, EAGAIN, ECONNREFUSED, EINVAL, EMSGSIZE, ENETUNREACH
from tests.clients.helpers import FILES, NET, World, sim
from tests.kern.helpers import Raises

HERE = ("127.0.0.1", 7)
ON = b"\1\0\0\0"
S, IP, IP6 = abi.SOL_SOCKET, abi.IPPROTO_IP, abi.IPPROTO_IPV6


def pair(world: World, name: str = "udp", address: tuple = HERE):
    server, client = world.p.socket(name), world.p.socket(name)
    server.bind(address)
    client.connect(address)
    return server.fileno(), client.fileno()


def world6() -> World:
    from rumpkit.hosts.sim.host import SimHost

    return World(SimHost(), (*FILES, *NET[:2], "ipv6", *NET[2:]))


def test_a_datagram_tells_where_it_came_in_and_how():
    world = sim()
    p = world.p
    server, client = pair(world)
    for name in (abi.IP_PKTINFO, abi.IP_RECVTTL, abi.IP_RECVTOS, abi.IP_RECVORIGDSTADDR):
        p.setsockopt(server, IP, name, 1)
    p.sendmsg(client, [b"a", b"b"], [(IP, abi.IP_TTL, b"\x09\0\0\0"), (IP, abi.IP_TOS, b"\x10")])
    data, control, flags, source = p.recvmsg(server, 100)
    assert (data, flags, source) == (b"ab", 0, p.getsockname(client))
    home = bytes([127, 0, 0, 1])
    assert control == [
        (IP, abi.IP_PKTINFO, ON + home + home),
        (IP, abi.IP_TTL, b"\x09\0\0\0"),
        (IP, abi.IP_TOS, b"\x10"),
        (IP, abi.IP_RECVORIGDSTADDR, b"\2\0\0\7" + home + bytes(8)),
    ]


def test_pktinfo_chooses_the_source():
    world = sim()
    p = world.p
    server, client = pair(world)
    p.sendmsg(client, [b"x"], [(IP, abi.IP_PKTINFO, bytes(4) + bytes([127, 0, 0, 9]) + bytes(4))])
    assert p.recvmsg(server, 10)[3][0] == "127.0.0.9"  # type: ignore[index]
    for bad in [(IP, 99, b""), (IP, abi.IP_TTL, bytes(4)), (IP, abi.IP_PKTINFO, b"short"), (S, 99, ON)]:
        with Raises(EINVAL):
            p.sendmsg(client, [b"x"], [bad])


def test_timestamps_are_the_time_of_arrival():
    world = sim()
    p = world.p
    server, client = pair(world)
    p.setsockopt(server, S, abi.SO_TIMESTAMPNS, 1)
    p.send(client, b"x")
    arrived = world.host.wall()
    p.nanosleep(3)
    [(level, kind, data)] = p.recvmsg(server, 10)[1]
    assert (level, kind) == (S, abi.SO_TIMESTAMPNS)
    assert int.from_bytes(data[:8], "little") * 10**9 + int.from_bytes(data[8:], "little") == arrived


def test_the_error_queue_has_the_error_and_the_datagram_it_is_about():
    world = sim()
    p = world.p
    client = p.socket("udp").fileno()
    p.setsockopt(client, IP, abi.IP_RECVERR, 1)
    p.sendto(client, b"for nobody", 0, ("127.0.0.1", 99))
    with Raises(ECONNREFUSED):
        p.recv(client, 10)
    data, [(level, kind, report)], flags, source = p.recvmsg(client, 100, abi.MSG_ERRQUEUE)
    assert (data, source, level, kind) == (b"for nobody", ("127.0.0.1", 99), IP, abi.IP_RECVERR)
    assert flags & abi.MSG_ERRQUEUE
    assert report[:4] == ECONNREFUSED.to_bytes(4, "little")
    assert tuple(report[4:7]) == (2, 3, 3), "from ICMP: destination unreachable, port"
    assert report[16:24] == b"\2\0\0\0" + bytes([127, 0, 0, 1])
    with Raises(EAGAIN):
        p.recvmsg(client, 100, abi.MSG_ERRQUEUE)


def test_who_does_not_ask_hears_of_hard_errors_about_its_peer_only():
    world = sim()
    p = world.p
    client = p.socket("udp").fileno()
    p.sendto(client, b"x", 0, ("127.0.0.1", 99))
    assert p.getsockopt(client, S, abi.SO_ERROR) == bytes(4)
    p.connect(client, ("127.0.0.1", 99))
    p.send(client, b"x")
    assert p.getsockopt(client, S, abi.SO_ERROR) == ECONNREFUSED.to_bytes(4, "little")


def test_what_may_not_be_cut_is_too_long():
    world = sim()
    p = world.p
    server, client = pair(world)
    mtu = int.from_bytes(p.getsockopt(client, IP, abi.IP_MTU), "little")
    world.kernel.service("Ip").interfaces.get("lo").mtu = 1500  # type: ignore[attr-defined]
    world.kernel.service("Ip").v4.generation += 1  # type: ignore[attr-defined]
    assert mtu == 65535 and p.getsockopt(client, IP, abi.IP_MTU) == (1500).to_bytes(4, "little")
    p.send(client, bytes(3000))
    assert len(p.recv(server, 5000)) == 3000
    p.setsockopt(client, IP, abi.IP_MTU_DISCOVER, abi.IP_PMTUDISC_DO)
    p.setsockopt(client, IP, abi.IP_RECVERR, 1)
    with Raises(EMSGSIZE):
        p.send(client, bytes(1473))
    [(_, _, report)] = p.recvmsg(client, 10, abi.MSG_ERRQUEUE)[1]
    assert report[4] == 1 and report[8:12] == (1500).to_bytes(4, "little")
    p.send(client, bytes(1472))


def test_a_datagram_is_gathered():
    world = sim()
    p = world.p
    server, client = pair(world)
    p.send(client, b"one ", abi.MSG_MORE)
    p.send(client, b"two")
    assert p.recv(server, 100) == b"one two"
    p.setsockopt(client, abi.IPPROTO_UDP, abi.UDP_CORK, 1)
    p.send(client, b"a")
    p.send(client, b"b")
    with Raises(EAGAIN):
        p.recv(server, 100, abi.MSG_DONTWAIT)
    p.setsockopt(client, abi.IPPROTO_UDP, abi.UDP_CORK, 0)
    assert p.recv(server, 100) == b"ab"


def test_one_send_of_several_datagrams():
    world = sim()
    p = world.p
    server, client = pair(world)
    p.setsockopt(client, abi.IPPROTO_UDP, abi.UDP_SEGMENT, 4)
    p.send(client, b"0123456789")
    assert [p.recv(server, 100) for _ in range(3)] == [b"0123", b"4567", b"89"]


def test_batches():
    world = sim()
    p = world.p
    server, client = pair(world)
    assert p.sendmmsg(client, [([b"a"], [], None), ([b"b", b"c"], [], None), ([b"d"], [], HERE)]) == 3
    assert [one[0] for one in p.recvmmsg(server, 9, 10, abi.MSG_WAITFORONE)] == [b"a", b"bc", b"d"]
    before = world.host.now
    p.send(client, b"e")
    assert [one[0] for one in p.recvmmsg(server, 2, 10, 0, 0.5)] == [b"e"]
    assert world.host.now - before == 500_000_000
    # What went is the result; the next call hears of the error.
    assert p.sendmmsg(client, [([b"x"], [], None), ([b"y"], [], ("10.9.9.9", 7))]) == 1
    with Raises(ENETUNREACH):
        p.send(client, b"z")


def test_close_lingers_no_longer_than_it_was_told():
    world = sim()
    p = world.p
    listener = p.listen("tcp", 80)
    client = p.connect("tcp", ("127.0.0.1", 80))
    server, _ = listener.accept()
    server.setsockopt(S, abi.SO_RCVBUF, 4096)
    client.setblocking(False)
    size = 0
    with Raises(EAGAIN):
        while True:
            size += client.send(bytes(100_000))
    client.setsockopt(S, abi.SO_LINGER, ON + b"\2\0\0\0")
    before = world.host.now
    client.close()
    assert world.host.now - before == 2_000_000_000
    got = 0
    while data := server.recv(1 << 20):
        got += len(data)
    assert got == size, "the kernel goes on alone"


def test_close_comes_back_when_all_has_arrived():
    world = sim()
    p = world.p
    listener = p.listen("tcp", 80)
    client = p.connect("tcp", ("127.0.0.1", 80))
    client.setsockopt(S, abi.SO_LINGER, ON + b"\x64\0\0\0")
    client.send(b"little")
    before = world.host.now
    client.close()
    assert world.host.now - before < 1_000_000_000
    assert listener.accept()[0].recv(100) == b"little"


def test_a_socket_bound_to_an_interface_hears_no_other():
    world = sim()
    p = world.p
    server, client = pair(world)
    p.setsockopt(server, S, abi.SO_BINDTODEVICE, b"lo")
    assert p.getsockopt(server, S, abi.SO_BINDTODEVICE) == b"lo\0"
    p.send(client, b"x")
    assert p.recv(server, 10) == b"x"


# Both versions ---------------------------------------------------------------------------------------------------------


def test_a_dual_stack_listener_takes_both():
    world = world6()
    p = world.p
    listener = p.listen("tcp", 80, "::")
    for address, seen in [("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")]:
        client = p.connect("tcp", (address, 80))
        server, peer = listener.accept()
        assert peer == (seen, client.getsockname()[1], 0, 0)
        assert server.getsockname() == (seen, 80, 0, 0)
        client.send(b"hello" * 50_000)
        assert len(server.recv(250_000, abi.MSG_WAITALL)) == 250_000
    with Raises(EADDRINUSE):
        p.listen("tcp", 80, "127.0.0.1")
    with Raises(ECONNREFUSED):
        p.connect("tcp", ("::1", 81))


def test_a_v6only_listener_leaves_ipv4_alone():
    world = world6()
    p = world.p
    six = p.socket("tcp6")
    six.setsockopt(IP6, abi.IPV6_V6ONLY, 1)
    six.bind(("::", 80))
    six.listen()
    p.listen("tcp", 80, "0.0.0.0")
    assert p.connect("tcp", ("::1", 80)).getpeername() == ("::1", 80, 0, 0)
    assert p.connect("tcp", ("127.0.0.1", 80)).getpeername() == ("127.0.0.1", 80)


def test_full_segments_over_ipv6_leave_room_for_its_header():
    world = world6()
    p = world.p
    world.kernel.service("Ip").interfaces.get("lo").mtu = 1500  # type: ignore[attr-defined]
    world.kernel.service("Ip").v6.generation += 1  # type: ignore[attr-defined]
    p.listen("tcp", 80, "::")
    client = p.connect("tcp", ("::1", 80))
    assert client.getsockopt(abi.IPPROTO_TCP, abi.TCP_MAXSEG) == 1500 - 40 - 20 - 12


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
def test_datagrams_of_a_dual_stack_socket(address):
    world = world6()
    p = world.p
    server, client = p.socket("udp6"), p.socket("udp6" if ":" in address else "udp")
    server.bind(("::", 53))
    server.setsockopt(IP6, abi.IPV6_RECVPKTINFO, 1)
    server.setsockopt(IP6, abi.IPV6_RECVHOPLIMIT, 1)
    client.sendto(b"question", (address, 53))
    data, control, _, source = p.recvmsg(server.fileno(), 100)
    own = bytes(15) + b"\1" if ":" in address else bytes(10) + b"\xff\xff\x7f\0\0\1"
    assert data == b"question" and (IP6, abi.IPV6_PKTINFO, own + ON) in control
    server.sendto(b"answer", source)  # type: ignore[arg-type]
    assert client.recv(100) == b"answer"


def test_errors_of_icmpv6_reach_the_socket():
    world = world6()
    p = world.p
    client = p.socket("udp6").fileno()
    p.setsockopt(client, IP6, abi.IPV6_RECVERR, 1)
    p.connect(client, ("::1", 99))
    p.send(client, b"x")
    with Raises(ECONNREFUSED):
        p.recv(client, 10)
    data, [(level, kind, report)], _, source = p.recvmsg(client, 100, abi.MSG_ERRQUEUE)
    assert (data, level, kind, source) == (b"x", IP6, abi.IPV6_RECVERR, ("::1", 99, 0, 0))
    assert tuple(report[4:7]) == (3, 1, 4)


def test_a_ping_over_ipv6():
    world = world6()
    p = world.p
    ping = p.socket(abi.AF_INET6, abi.SOCK_DGRAM, abi.IPPROTO_ICMPV6)
    p.setsockopt(ping, IP6, abi.IPV6_RECVHOPLIMIT, 1)
    p.sendto(ping, bytes([128, 0, 0, 0, 0, 0, 0, 7]) + b"data", 0, ("::1", 0))
    data, control, _, source = p.recvmsg(ping, 100)
    assert (data[0], data[6:]) == (129, b"\0\7data") and source == ("::1", 0, 0, 0)
    assert control == [(IP6, abi.IPV6_HOPLIMIT, b"\x40\0\0\0")]
    assert int.from_bytes(data[4:6], "big") == p.getsockname(ping)[1]
    with Raises(EINVAL):
        p.sendto(ping, b"no echo request", 0, ("::1", 0))
