"""TCP over paths of kernels: path MTU discovery end to end, silent neighbours, and forged errors."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import FEATURES_ALL
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EHOSTUNREACH, ENETUNREACH
from rumpkit.kern.abi.socket import SOCK_STREAM
from rumpkit.kern.socket import Socket
from rumpkit.kern.wait import Blocked
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.icmp import DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, IcmpMessage
from tests.net.lan import Hub, Node, packet

B = parse_ipv4("10.0.3.2")


class Path:
    """a -- r1 -- (narrow) -- r2 -- b"""

    def __init__(self, narrow=1000, features=FEATURES_ALL):
        self.host = SimHost(seed=6)
        left, middle, right = (Hub(self.host, mtu=mtu, features=features) for mtu in (1500, narrow, 1500))
        self.a = Node(self.host, "a", (left, "10.0.1.2/24"), tcp=True)
        self.r1 = Node(self.host, "r1", (left, "10.0.1.1/24"), (middle, "10.0.2.1/24"))
        self.r2 = Node(self.host, "r2", (middle, "10.0.2.2/24"), (right, "10.0.3.1/24"))
        self.b = Node(self.host, "b", (right, "10.0.3.2/24"), tcp=True)
        for router in (self.r1, self.r2):
            router.kernel.sysctl.set("net.ip.forwarding", 1)
        for node, gateway in ((self.a, "10.0.1.1"), (self.r1, "10.0.2.2"), (self.r2, "10.0.2.1"), (self.b, "10.0.3.1")):
            node.do(node.ip.add_route, "default", gateway)

    def run(self, seconds):
        self.host.run(self.host.now + int(seconds * SECOND))

    def connection(self):
        listener = self.b.socket(SOCK_STREAM)
        self.b.do(listener.bind, (bytes(4), 80))
        self.b.do(listener.listen, 5)
        client = self.a.socket(SOCK_STREAM)
        self.a.do(client.connect, (B, 80), self.host.now)
        self.run(1)
        server = self.b.do(listener.accept, self.host.now)
        assert isinstance(server, Socket)
        server.hold()
        return client, server

    def transfer(self, client, server, data):
        got = b""
        sent = 0
        for _ in range(2000):
            if sent < len(data):
                taken = self.a.do(client.send, data[sent : sent + 65536], 0, 0, None, self.host.now)
                sent += 0 if isinstance(taken, Blocked) else taken
            self.run(0.05)
            received = self.b.do(server.receive, 1 << 20, 0, self.host.now)
            if not isinstance(received, Blocked):
                got += received.data
            if len(got) == len(data):
                break
        assert got == data


@pytest.mark.rfc("1122", "3.3.3-a")
@pytest.mark.parametrize("features", [0, FEATURES_ALL])
def test_tcp_finds_the_narrow_link_and_goes_on(features):
    path = Path(features=features)
    client, server = path.connection()
    path.transfer(client, server, bytes(range(256)) * 2000)
    assert path.a.v4.route(B).mtu == 1000
    assert path.r1.counter("ip.too_big") > 0
    assert path.r1.counter("ip.fragmented") == 0
    narrow = [frame for frame in path.r1.ports[1].sent if frame.head[23] == 6]
    assert max(frame.gso_size + 40 if frame.gso_size else len(frame) - 14 for frame in narrow) <= 1000


def forged(path, client, sequence):
    """A router's message about a segment of ours, from somebody who knows the addresses and guesses the rest."""
    port = client.local_address()[1]
    quoted = packet(
        "10.0.1.2",
        "10.0.3.2",
        6,
        port.to_bytes(2, "big") + (80).to_bytes(2, "big") + (sequence & 0xFFFFFFFF).to_bytes(4, "big") + bytes(1400),
    )[14:]
    message = IcmpMessage(DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, 600, quoted[:28])
    return packet("10.0.1.1", "10.0.1.2", 1, message.emit(), mac=b"\x02\0\0\0\0\2", peer=b"\x02\0\0\0\0\1")


def test_a_forged_narrow_link_is_believed_only_with_the_right_sequence_number():
    path = Path(narrow=1500)
    client, server = path.connection()
    path.transfer(client, server, bytes(10_000))
    last = next(frame for frame in reversed(path.a.ports[0].sent) if frame.head[23] == 6 and frame.size)
    end = int.from_bytes(last.head[38:42], "big") + last.size
    for guess in (end - 1, end + 1, end + 1_000_000, 0):
        path.a.inject(forged(path, client, guess))
    assert path.a.v4.route(B).mtu == 1500
    assert path.a.counter("icmp.errors_ignored") == 4
    path.a.do(client.send, bytes(100), 0, 0, None, path.host.now)
    path.a.inject(forged(path, client, end))
    assert path.a.v4.route(B).mtu == 600


def test_a_connection_attempt_ends_when_nobody_is_there():
    path = Path()
    for address, errno in (("10.0.1.99", EHOSTUNREACH), ("10.0.3.99", EHOSTUNREACH)):
        client = path.a.socket(SOCK_STREAM)
        path.a.do(client.connect, (parse_ipv4(address), 80), path.host.now)
        path.run(5)
        assert path.a.do(client.take_error) == errno
    lonely = Node(path.host, "lonely", (Hub(path.host), "10.0.9.1/24"), tcp=True)
    client = lonely.socket(SOCK_STREAM)
    with pytest.raises(OSError) as caught:
        lonely.do(client.connect, (B, 80), path.host.now)
    assert caught.value.errno == ENETUNREACH
