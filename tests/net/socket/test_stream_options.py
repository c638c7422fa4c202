"""Options of TCP sockets: every row of the table, and the effect of those that have one (socket(7), tcp(7))."""

import pytest

from rumpkit.hyper.link import Receiver
from rumpkit.kern.abi import socket as abi
from rumpkit.kern.abi.errno import EINVAL, ENOENT, ENOPROTOOPT, EOPNOTSUPP
from rumpkit.net.socket.options import int_option, option_int
from rumpkit.net.socket.stream_options import option_names
from tests.net.tcp_world import World

S, T, IP = abi.SOL_SOCKET, abi.IPPROTO_TCP, abi.IPPROTO_IP


@pytest.mark.parametrize(
    ("level", "name", "default", "new", "read_back"),
    [
        (S, abi.SO_REUSEADDR, 0, 1, 1),
        (S, abi.SO_REUSEPORT, 0, 5, 1),
        (S, abi.SO_KEEPALIVE, 0, 1, 1),
        (S, abi.SO_OOBINLINE, 0, 1, 1),
        (S, abi.SO_BROADCAST, 0, 1, 1),
        (S, abi.SO_SNDBUF, 1 << 20, 10_000, 20_000),
        (S, abi.SO_SNDBUF, 1 << 20, 1, 4608),
        (S, abi.SO_SNDBUF, 1 << 20, 1 << 30, 128 << 20),
        (S, abi.SO_RCVBUF, 1 << 20, 10_000, 20_000),
        (S, abi.SO_RCVLOWAT, 1, 100, 100),
        (S, abi.SO_RCVLOWAT, 1, 0, 1),
        (T, abi.TCP_NODELAY, 0, 1, 1),
        (T, abi.TCP_CORK, 0, 1, 1),
        (T, abi.TCP_QUICKACK, 1, 0, 0),
        (T, abi.TCP_MAXSEG, 536, 1000, 1000),
        (T, abi.TCP_KEEPIDLE, 7200, 60, 60),
        (T, abi.TCP_KEEPINTVL, 75, 5, 5),
        (T, abi.TCP_KEEPCNT, 9, 3, 3),
        (T, abi.TCP_SYNCNT, 7, 2, 2),
        (T, abi.TCP_LINGER2, 60, 20, 20),
        (T, abi.TCP_LINGER2, 60, -1, -1),
        (T, abi.TCP_DEFER_ACCEPT, 0, 5, 7),
        (T, abi.TCP_WINDOW_CLAMP, 0, 50_000, 50_000),
        (T, abi.TCP_USER_TIMEOUT, 0, 30_000, 30_000),
        (IP, abi.IP_TTL, 64, 9, 9),
        (IP, abi.IP_TTL, 64, -1, 64),
        (IP, abi.IP_TOS, 0, 0x13, 0x10),
    ],
)
def test_numbers(level, name, default, new, read_back):
    socket = World().a.socket()
    assert option_int(socket.get_option(level, name)) == default
    socket.set_option(level, name, int_option(new))
    assert option_int(socket.get_option(level, name)) == read_back


@pytest.mark.parametrize(
    ("level", "name", "value"),
    [
        (T, abi.TCP_KEEPIDLE, int_option(0)),
        (T, abi.TCP_KEEPCNT, int_option(128)),
        (T, abi.TCP_MAXSEG, int_option(50)),
        (T, abi.TCP_NODELAY, b"\1"),
        (IP, abi.IP_TTL, int_option(256)),
        (S, abi.SO_LINGER, int_option(1)),
        (S, abi.SO_SNDBUF, b""),
    ],
)
def test_nonsense(level, name, value):
    with pytest.raises(OSError) as caught:
        World().a.socket().set_option(level, name, value)
    assert caught.value.errno == EINVAL


def test_unknown_options():
    socket = World().a.socket()
    for level, name in [(S, 9999), (T, 9999), (41, 1)]:
        with pytest.raises(OSError) as caught:
            socket.get_option(level, name)
        # As on Linux, which knows no such level at all.
        assert caught.value.errno == (EOPNOTSUPP if level == 41 else ENOPROTOOPT)
        with pytest.raises(OSError) as caught:
            socket.set_option(level, name, int_option(1))
        assert caught.value.errno == ENOPROTOOPT
    with pytest.raises(OSError) as caught:
        socket.set_option(T, abi.TCP_INFO, int_option(1))
    assert caught.value.errno == ENOPROTOOPT


IP6 = abi.IPPROTO_IPV6
WITHOUT_VALUE = ((S, abi.SO_SNDBUFFORCE), (S, abi.SO_RCVBUFFORCE), (IP, abi.IP_MTU))
"""Options that are only set, or only of connections."""


def test_every_option_can_be_read_in_every_state():
    world = World()
    client, _ = world.pair()
    listener = world.b.socket()
    world.call(listener.listen, 1)
    for socket in (world.a.socket(), listener, client):
        for level, name in option_names():
            if (level, name) not in WITHOUT_VALUE and level != IP6:
                assert len(socket.get_option(level, name)) >= 4


def test_linger():
    socket = World().a.socket()
    assert socket.get_option(S, abi.SO_LINGER) == bytes(8)
    socket.set_option(S, abi.SO_LINGER, int_option(1) + int_option(5))
    assert socket.get_option(S, abi.SO_LINGER) == int_option(1) + int_option(5)
    socket.set_option(S, abi.SO_LINGER, int_option(0) + int_option(5))
    assert socket.options.linger == -1


def test_congestion():
    socket = World().a.socket()
    assert socket.get_option(T, abi.TCP_CONGESTION).rstrip(b"\0") == b"cubic"
    socket.set_option(T, abi.TCP_CONGESTION, b"reno\0")
    assert socket.options.congestion == "reno"
    with pytest.raises(OSError) as caught:
        socket.set_option(T, abi.TCP_CONGESTION, b"warp")
    assert caught.value.errno == ENOENT


def test_info():
    world = World(delay=1_000_000)
    client, _ = world.pair()
    info = client.get_option(T, abi.TCP_INFO)
    assert len(info) == 232
    assert info[0] == 1
    assert info[5] == 7  # timestamps, SACK, window scale
    assert int.from_bytes(info[16:20], "little") == 1448
    assert 1000 < int.from_bytes(info[68:72], "little") < 10_000
    assert world.a.socket().get_option(T, abi.TCP_INFO)[0] == 7


def test_cork_off_sends_what_was_held():
    world = World(delay=1_000_000)
    client, server = world.pair()
    world.call(client.set_option, T, abi.TCP_CORK, int_option(1))
    world.send_all(client, b"head")
    world.run(0.05)
    assert server.readable() == 0
    world.call(client.set_option, T, abi.TCP_CORK, int_option(0))
    world.run(0.05)
    assert server.readable() == 4


@pytest.mark.rfc("9293", "MUST-17")
def test_nodelay_sends_what_nagle_held():
    world = World(delay=10_000_000)
    client, server = world.pair()
    world.send_all(client, b"a")
    world.send_all(client, b"b")
    world.run(0.0105)
    assert server.readable() == 1
    world.call(client.set_option, T, abi.TCP_NODELAY, int_option(1))
    world.run(0.0101)
    assert server.readable() == 2


def test_keepalive_of_a_live_connection():
    world = World(delay=1_000_000)
    client, server = world.pair()
    for name, value in ((abi.TCP_KEEPIDLE, 10), (abi.TCP_KEEPINTVL, 1), (abi.TCP_KEEPCNT, 2)):
        world.call(client.set_option, T, name, int_option(value))
    world.call(client.set_option, S, abi.SO_KEEPALIVE, int_option(1))
    world.run(100)
    assert client.reset_by() == 0
    assert world.a.counter("keepalive_probes") >= 9
    world.switch.connected = False
    world.run(20)
    assert client.reset_by()
    assert server.reset_by() == 0


class Listening(Receiver):
    """A third port of the switch, which hears what the switch has to flood."""

    def __init__(self):
        self.heads = []

    def receive(self, frame, now):
        self.heads.append(frame.head)


@pytest.mark.rfc("9293", "MUST-48", "MUST-49", "SHLD-21", "SHLD-22")
def test_ttl_and_tos_are_on_the_packets():
    world = World()
    client, _ = world.pair()
    world.call(client.set_option, IP, abi.IP_TTL, int_option(7))
    world.call(client.set_option, IP, abi.IP_TOS, int_option(0x20))
    ear = Listening()
    world.switch.port().attach(ear)
    world.switch._addresses.clear()
    world.send_all(client, b"x")
    world.run(0.01)
    [head] = [head for head in ear.heads if head[26:30] == world.a.address]
    assert (head[15], head[22]) == (0x20, 7)


def test_who_chooses_no_ttl_has_the_sysctls():
    world = World()
    client, _ = world.pair()
    world.a.kernel.sysctl.set("net.ip.ttl", 99)
    ear = Listening()
    world.switch.port().attach(ear)
    world.switch._addresses.clear()
    world.send_all(client, b"x")
    world.run(0.01)
    [head] = [head for head in ear.heads if head[26:30] == world.a.address]
    assert head[22] == 99
    assert client.get_option(IP, abi.IP_TTL) == int_option(99)


def test_sockets_share_options_until_one_is_set():
    """What a socket sets is its own, and its listener's new options are not those of connections made before."""
    world = World()
    listener = world.b.socket()
    world.call(listener.bind, (bytes(4), 80))
    world.call(listener.listen, 5)
    assert listener.options is world.b.socket().options
    clients = [world.a.socket() for _ in range(2)]
    for client in clients:
        world.call(client.connect, (world.b.address, 80), world.now)
    first, second = (world.call(listener.accept, world.now) for _ in clients)
    assert first.options is second.options is first.channel.connection.block.options
    world.call(first.set_option, T, abi.TCP_NODELAY, int_option(1))
    world.call(listener.set_option, T, abi.TCP_CORK, int_option(1))
    assert first.channel.connection.block.options.nodelay
    assert not second.options.nodelay and not listener.options.nodelay and not clients[0].options.nodelay
    assert listener.listener.options.cork and not first.options.cork and not second.options.cork  # type: ignore[union-attr]
