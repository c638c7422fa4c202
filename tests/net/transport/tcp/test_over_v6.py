"""Cookies, Fast Open and TIME-WAIT records with IPv6 addresses, over one kernel's loopback."""

from rumpkit.hosts.sim.host import SimHost
from rumpkit.kern.abi.socket import AF_INET6, MSG_FASTOPEN, SOCK_STREAM
from rumpkit.kern.components import BASE
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.wait import Blocked
from rumpkit.net.components import NET
from rumpkit.net.socket.stream import TcpSocket
from rumpkit.net.transport.tcp.layer import Tcp
from rumpkit.net.wire.segment import ACK, FIN, Segment

ANY = bytes(16)
LOOPBACK = bytes(15) + b"\1"


class Alone:
    """A kernel that talks to itself over ::1.  Keywords are sysctls below `net.tcp.`."""

    def __init__(self, **settings):
        self.host = SimHost(1)
        self.kernel = RumpKernel(self.host, (*BASE, *NET, "ipv6", "tcp"), hostname="alone")
        tcp = self.kernel.service("Tcp")
        assert isinstance(tcp, Tcp)
        self.tcp = tcp
        for name, value in settings.items():
            self.kernel.sysctl.set(f"net.tcp.{name}", value)
        self.host.run(self.host.now + 3_000_000_000)

    def do(self, function, *arguments):
        self.host.enter()
        try:
            result = function(*arguments)
        finally:
            self.host.leave()
        self.host.run(self.host.now)
        return None if isinstance(result, Blocked) else result

    def socket(self):
        made = self.kernel.sockets.make(AF_INET6, SOCK_STREAM, 0)
        made.hold()
        assert isinstance(made, TcpSocket)
        return made

    def listener(self):
        made = self.socket()
        made.own_options().fast_open = 5
        self.do(made.bind, (ANY, 80))
        self.do(made.listen, 5)
        return made

    def accept(self, listener):
        made = self.do(listener.accept, self.host.now)
        assert made is not None
        made.hold()
        return made

    def counter(self, name):
        return self.kernel.counters.get("tcp." + name)


def test_a_handshake_by_cookie_and_a_record_afterwards():
    world = Alone(syncookies=2)
    listener = world.listener()
    client = world.socket()
    world.do(client.connect, (LOOPBACK, 80), world.host.now)
    server = world.accept(listener)
    assert world.counter("syncookies_sent") == world.counter("syncookies_received") == 1
    assert server.channel.connection.block.snd_mss > 30_000 - 12
    world.do(client.send, b"hello", 0, 0, None, world.host.now)
    assert world.do(server.receive, 10, 0, world.host.now).data == b"hello"
    key = client.channel.key
    world.do(client.release, world.host.now)
    world.do(server.release, world.host.now)
    assert not world.tcp.channels
    record = world.tcp.waits.get(key)
    assert record is not None and len(key) == 36
    # What the peer's FIN, sent again, would find.
    fin = Segment((record.rcv_nxt - 1) & 0xFFFFFFFF, record.snd_nxt, FIN | ACK, 1000)
    assert world.tcp.waits.receive(record, fin, world.host.now) is not None
    world.host.run(world.host.now + 130_000_000_000)
    assert not world.tcp.waits


def test_fast_open():
    world = Alone(fastopen=3)
    listener = world.listener()
    for number in range(3):
        client = world.socket()
        world.do(client.send, b"question", 0, MSG_FASTOPEN, (LOOPBACK, 80), world.host.now)
        if number == 0:
            # The first SYN only asks for the cookie.
            world.do(client.send, b"question", 0, 0, None, world.host.now)
        server = world.accept(listener)
        assert world.do(server.receive, 100, 0, world.host.now).data == b"question"
        assert world.counter("fastopen_active") == world.counter("fastopen_passive") == number
        world.do(client.abort, world.host.now)


def test_a_refused_connection():
    """The RST of no connection, with addresses of 16 bytes."""
    world = Alone()
    client = world.socket()
    world.do(client.connect, (LOOPBACK, 9), world.host.now)
    assert client.take_error() == 111
