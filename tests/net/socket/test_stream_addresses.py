"""Addresses of TCP connections: which are chosen, which are refused, and what strangers' packets do (RFC 9293 3.9.1.1, 3.9.2)."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import ECONNREFUSED, EHOSTUNREACH, ENETUNREACH
from rumpkit.kern.abi.socket import SO_ERROR, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET
from rumpkit.kern.socket import Socket
from rumpkit.net.socket.options import int_option, option_int
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.checksum import internet_checksum, pseudo_sum
from rumpkit.net.wire.icmp import DESTINATION_UNREACHABLE, PARAMETER_PROBLEM, TIME_EXCEEDED, IcmpMessage
from rumpkit.net.wire.ipv4 import PROTOCOL_TCP
from rumpkit.net.wire.segment import ACK, RST, SYN, Segment
from rumpkit.net.wire.tcp import emit_header
from tests.net.lan import Hub, Node, packet
from tests.net.tcp_world import World

A, B = parse_ipv4("10.0.0.1"), parse_ipv4("10.0.0.2")
BROADCAST_MAC = b"\xff" * 6


def lan():
    """Two kernels with TCP on a cable: a is 10.0.0.1, b 10.0.0.2."""
    host = SimHost(seed=5)
    cable = Hub(host)
    return Node(host, "a", (cable, "10.0.0.1/24"), tcp=True), Node(host, "b", (cable, "10.0.0.2/24"), tcp=True)


def run(node, seconds=1):
    node.host.run(node.host.now + int(seconds * SECOND))


def listen(node, port=80, address="0.0.0.0", **options):
    socket = node.socket(SOCK_STREAM)
    for name in options.get("set", ()):
        node.do(socket.set_option, SOL_SOCKET, name, int_option(1))
    node.do(socket.bind, (parse_ipv4(address), port))
    node.do(socket.listen, 5)
    return socket


def connection(a, b, port=80):
    listener = listen(b, port)
    client = a.socket(SOCK_STREAM)
    a.do(client.connect, (B, port), a.host.now)
    run(a)
    server = b.do(listener.accept, b.host.now)
    assert isinstance(server, Socket)
    server.hold()
    return client, server


def segments(node):
    """The TCP segments that a node has sent: (source address, flags, options), of the frames."""
    found = []
    for frame in node.ports[0].sent:
        head = frame.head
        if head[12:14] == b"\x08\0" and head[23] == PROTOCOL_TCP:
            start = 14 + (head[14] & 15) * 4
            found.append((head[26:30], head[start + 13], head[start + 20 : start + (head[start + 12] >> 4) * 4]))
    return found


def tcp_packet(source, destination, segment, sport=1000, dport=80, **how):
    """A frame with a segment in it, finished."""
    addresses = pseudo_sum(parse_ipv4(source), parse_ipv4(destination), PROTOCOL_TCP, 20)
    header = bytearray(emit_header(segment, sport, dport))
    header[16:18] = int(internet_checksum(bytes(header), 0, len(header), addresses)).to_bytes(2, "big")
    return packet(source, destination, PROTOCOL_TCP, bytes(header), **how)


A_SYN = Segment(5000, 0, SYN, 1000)

# Ours ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-44", "MUST-45")
def test_the_network_chooses_an_address_and_the_connection_keeps_it():
    a, b = lan()
    client, _ = connection(a, b)
    assert client.local_address()[0] == A
    a.do(a.ip.add_address, "vif0", "10.0.0.9/24")
    a.do(client.send, b"x", 0, 0, None, a.host.now)
    run(a)
    assert {source for source, _, _ in segments(a)} == {A}
    other = a.socket(SOCK_STREAM)
    a.do(other.bind, (parse_ipv4("10.0.0.9"), 0))
    a.do(other.connect, (B, 80), a.host.now)
    run(a)
    assert {source for source, _, _ in segments(a)} == {A, parse_ipv4("10.0.0.9")}


@pytest.mark.rfc("9293", "MUST-43")
def test_a_program_can_choose_the_address():
    a, b = lan()
    a.do(a.ip.add_address, "vif0", "10.0.0.9/24")
    listen(b)
    client = a.socket(SOCK_STREAM)
    a.do(client.bind, (parse_ipv4("10.0.0.9"), 0))
    a.do(client.connect, (B, 80), a.host.now)
    run(a)
    assert segments(a)[0][0] == parse_ipv4("10.0.0.9")


@pytest.mark.rfc("9293", "MUST-46")
@pytest.mark.parametrize("address", ["255.255.255.255", "10.0.0.255", "224.0.0.1", "239.1.2.3", "240.0.0.1", "0.0.0.9"])
def test_nobody_connects_to_many(address):
    a, _ = lan()
    client = a.socket(SOCK_STREAM)
    with pytest.raises(OSError) as caught:
        a.do(client.connect, (parse_ipv4(address), 80), a.host.now)
    assert caught.value.errno == ENETUNREACH
    run(a)
    assert segments(a) == []


@pytest.mark.rfc("9293", "MUST-41")
def test_listening_leaves_connections_alone():
    a, b = lan()
    client, server = connection(a, b)
    for port in (80, 81):
        fails = b.socket(SOCK_STREAM)
        b.do(fails.set_option, SOL_SOCKET, SO_REUSEADDR, int_option(1))
        try:
            b.do(fails.bind, (bytes(4), port))
            b.do(fails.listen, 5)
        except OSError:
            pass  # the first listener is in the way
    a.do(client.send, b"still here", 0, 0, None, a.host.now)
    run(a)
    assert b.do(server.receive, 100, 0, b.host.now).data == b"still here"


def test_an_address_becomes_reusable_after_it_was_bound():
    """Linux looks at SO_REUSEADDR as it is when the next one binds."""
    _, b = lan()
    one, two = b.socket(SOCK_STREAM), b.socket(SOCK_STREAM)
    b.do(one.bind, (bytes(4), 80))
    b.do(two.set_option, SOL_SOCKET, SO_REUSEADDR, int_option(1))
    with pytest.raises(OSError):
        b.do(two.bind, (bytes(4), 80))
    b.do(one.set_option, SOL_SOCKET, SO_REUSEADDR, int_option(1))
    b.do(two.bind, (bytes(4), 80))


@pytest.mark.rfc("9293", "MUST-42")
def test_one_can_listen_on_the_port_of_an_attempt():
    """In SYN-SENT, where nobody answers; and in SYN-RECEIVED, where a peer has gone silent."""
    a, b = lan()
    client = b.socket(SOCK_STREAM)
    b.do(client.set_option, SOL_SOCKET, SO_REUSEADDR, int_option(1))
    b.do(client.bind, (B, 80))
    b.do(client.connect, (parse_ipv4("10.0.0.77"), 9), b.host.now)
    listener = listen(b, set=[SO_REUSEADDR])
    b.inject(tcp_packet("10.0.0.3", "10.0.0.2", A_SYN))
    run(b, 0.1)
    peer = a.socket(SOCK_STREAM)
    a.do(peer.connect, (B, 80), a.host.now)
    run(a)
    accepted = b.do(listener.accept, b.host.now)
    assert isinstance(accepted, Socket)
    assert accepted.peer_address()[0] == A


@pytest.mark.rfc("9293", "MUST-67")
@pytest.mark.parametrize("mtu", [576, 1500, 9000])
def test_the_mss_follows_the_mtu(mtu):
    host = SimHost(seed=5)
    a = Node(host, "a", (Hub(host, mtu=mtu), "10.0.0.1/24"), tcp=True)
    client = a.socket(SOCK_STREAM)
    a.inject(packet("10.0.0.2", "10.0.0.1", 1, b"", mac=b"\x02\0\0\0\0\2"))
    reply = b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\x06\0\1\x08\0\6\4\0\2\x02\0\0\0\0\2" + B + a.interface.mac + A
    a.do(client.connect, (B, 80), host.now)
    a.inject(reply)
    run(a, 0.1)
    [(_, flags, options)] = segments(a)[:1]
    assert flags == SYN
    at = options.index(b"\2\4")
    assert int.from_bytes(options[at + 2 : at + 4], "big") == mtu - 40


# Strangers' ------------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-57")
@pytest.mark.parametrize("destination", ["255.255.255.255", "10.0.0.255", "224.0.0.1"])
def test_a_syn_to_many_is_ignored(destination):
    _, b = lan()
    listen(b)
    b.inject(tcp_packet("10.0.0.1", destination, A_SYN, peer=BROADCAST_MAC))
    run(b)
    assert segments(b) == []
    assert b.counter("tcp.passive_opens") == 0


@pytest.mark.rfc("9293", "MUST-63")
@pytest.mark.parametrize("source", ["255.255.255.255", "10.0.0.255", "224.0.0.1", "127.0.0.1", "0.0.0.0", "240.0.0.1"])
def test_a_syn_from_nowhere_is_ignored(source):
    _, b = lan()
    listen(b)
    b.inject(tcp_packet(source, "10.0.0.2", A_SYN, peer=b.interface.mac))
    run(b)
    assert segments(b) == []
    assert b.counter("tcp.passive_opens") == 0


def test_such_a_syn_from_somewhere_is_answered():
    a, b = lan()
    listen(b)
    b.inject(tcp_packet("10.0.0.1", "10.0.0.2", A_SYN, peer=b.interface.mac))
    run(b, 0.5)
    assert [flags for _, flags, _ in segments(b)] == [SYN | ACK]
    assert [flags for _, flags, _ in segments(a)] == [RST]


@pytest.mark.rfc("9293", "MUST-50")
def test_ip_options_make_no_difference():
    _, b = lan()
    listen(b)
    record_route = bytes([7, 7, 4, 0, 0, 0, 0, 0])
    b.inject(tcp_packet("10.0.0.1", "10.0.0.2", A_SYN, options=record_route, peer=b.interface.mac))
    run(b, 0.5)
    assert [flags for _, flags, _ in segments(b)] == [SYN | ACK]


# What ICMP says -----------------------------------------------------------------------------------------------------------------


def about(client, kind, code):
    """A router's message about a segment of the client's that is under way."""
    block = client.channel.connection.block
    quoted = client.local_address()[1].to_bytes(2, "big") + (80).to_bytes(2, "big")
    quoted += (block.snd_una & 0xFFFFFFFF).to_bytes(4, "big") + bytes(12)
    sent = packet("10.0.0.1", "10.0.0.2", PROTOCOL_TCP, quoted)[14:]
    return packet("10.0.0.3", "10.0.0.1", 1, IcmpMessage(kind, code, 0, sent).emit())


def in_trouble():
    """A connection of a's with data under way to a peer that has gone silent."""
    a, b = lan()
    client, _ = connection(a, b)
    a.ports[0].hub.cut = True
    a.do(client.send, b"data", 0, 0, None, a.host.now)
    return a, client


SOFT = [(DESTINATION_UNREACHABLE, 0), (DESTINATION_UNREACHABLE, 1), (DESTINATION_UNREACHABLE, 5), (TIME_EXCEEDED, 0),
        (TIME_EXCEEDED, 1), (PARAMETER_PROBLEM, 0)]  # fmt: skip


@pytest.mark.rfc("1122", "3.2.2.5-b", "3.2.2.1-d")
@pytest.mark.rfc("9293", "MUST-47", "MUST-54", "MUST-56", "SHLD-20", "SHLD-25")
@pytest.mark.parametrize(("kind", "code"), SOFT)
def test_a_soft_error_is_told_to_those_who_ask_and_ends_nothing(kind, code):
    a, client = in_trouble()
    assert option_int(a.do(client.get_option, SOL_SOCKET, SO_ERROR)) == 0
    a.inject(about(client, kind, code))
    a.do(client.send, b"more", 0, 0, None, a.host.now)
    assert option_int(a.do(client.get_option, SOL_SOCKET, SO_ERROR)) != 0
    assert option_int(a.do(client.get_option, SOL_SOCKET, SO_ERROR)) == 0
    run(a, 0.1)
    assert client.reset_by() == 0


@pytest.mark.rfc("9293", "MUST-55")
def test_source_quench_is_nothing():
    a, client = in_trouble()
    block = client.channel.connection.block
    before = block.congestion.window
    a.inject(about(client, 4, 0))
    assert option_int(a.do(client.get_option, SOL_SOCKET, SO_ERROR)) == 0
    assert block.congestion.window == before
    assert client.reset_by() == 0


@pytest.mark.rfc("9293", "MUST-22")
@pytest.mark.parametrize(("code", "errno"), [(3, ECONNREFUSED), (1, EHOSTUNREACH)])
def test_an_attempt_hears_what_icmp_says(code, errno):
    a, _ = lan()
    client = a.socket(SOCK_STREAM)
    a.do(client.connect, (B, 80), a.host.now)
    a.inject(about(client, DESTINATION_UNREACHABLE, code))
    run(a, 0.1)
    assert a.do(client.take_error) == errno


@pytest.mark.rfc("9293", "MUST-20")
def test_a_neighbour_is_asked_whether_it_is_there_after_three_retransmissions():
    world = World(delay=1_000_000)
    client, _ = world.pair()
    asked = world.a.kernel.counters
    before = asked.get("arp.requests_out")
    world.switch.connected = False
    world.send_all(client, b"anybody?")
    block = client.channel.connection.block
    while block.retries < 3:
        assert asked.get("arp.requests_out") == before
        world.run(0.1)
    world.run(0.1)
    assert asked.get("arp.requests_out") > before
