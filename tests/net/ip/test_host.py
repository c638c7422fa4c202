"""What RFC 1122 section 3 asks of a host, beside what the other tests of this folder show."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.socket import IP_PKTINFO, IP_RECVTOS, IP_TOS, IPPROTO_IP, SO_BROADCAST, SOL_SOCKET
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.icmp import ECHO, IcmpMessage
from rumpkit.net.wire.udp import emit_udp_header
from tests.net.lan import Hub, Node, packet, pair

ECHO_REQUEST = IcmpMessage(ECHO, 0, 0x00010001, b"data").emit()
BROADCAST_MAC = b"\xff" * 6


def sent(node):
    """The IPv4 packets that a node has sent, as heads without Ethernet's."""
    node.host.run(node.host.now + SECOND)
    return [frame.linear()[14:] for frame in node.ports[0].sent if frame.head[12:14] == b"\x08\0"]


@pytest.mark.rfc("1122", "3.1-e", "3.1-f")
def test_two_interfaces_make_no_router():
    host = SimHost(seed=1)
    left, right = Hub(host), Hub(host)
    middle = Node(host, "middle", (left, "10.0.0.1/24"), (right, "10.0.9.1/24"))
    target = Node(host, "target", (right, "10.0.9.2/24"))
    middle.inject(packet("10.0.0.2", "10.0.9.2", 1, ECHO_REQUEST, peer=middle.interface.mac))
    host.run(host.now + 5 * SECOND)
    assert middle.counter("ip.forwarded") == 0
    assert target.counter("ip.packets_in") == 0


@pytest.mark.rfc("1122", "3.2.1.1-a")
@pytest.mark.parametrize("version", [0, 5, 6, 15])
def test_other_versions_are_dropped(version):
    _, a, _ = pair()
    frame = bytearray(packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST))
    frame[14] = version << 4 | 5
    total = int.from_bytes(frame[24:26], "big") + 0x4500 - (version << 12 | 0x500)
    frame[24:26] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2, "big")  # the checksum is right all the same
    a.inject(bytes(frame))
    assert a.counter("ip.bad_header") == 1
    assert sent(a) == []


@pytest.mark.rfc("1122", "3.2.1.7-b")
@pytest.mark.parametrize("ttl", [0, 1])
def test_the_last_hop_counts(ttl):
    _, a, _ = pair()
    a.inject(packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST, ttl=ttl))
    assert a.counter("icmp.echo_requests_in") == 1
    assert len(sent(a)) == 1


@pytest.mark.rfc("1122", "3.2.1.7-d")
def test_the_usual_ttl_can_be_configured():
    _, a, _ = pair()
    a.do(lambda: a.kernel.sysctl.set("net.ip.ttl", 33))
    a.inject(packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST))
    assert [data[8] for data in sent(a)] == [33]


@pytest.mark.rfc("1122", "3.2.1.8-c", "3.2.1.8b-b")
@pytest.mark.parametrize("option", [b"\x88\4\0\7", b"\x9e\4ab", b"\x19\3a\0", b"\x01\x01\x01\0", b"\x94\4\0\0"])
def test_unknown_options_are_ignored(option):
    """Stream identifier, numbers nobody uses, padding, router alert."""
    _, a, _ = pair()
    a.inject(packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST, options=option))
    [answer] = sent(a)
    assert answer[0] == 0x45 and answer.endswith(b"data")


@pytest.mark.rfc("1122", "3.2.2-a", "3.2.2.7-a", "3.2.2.9-g")
@pytest.mark.parametrize("kind", [1, 2, 6, 13, 15, 16, 17, 18, 30, 255])
def test_other_icmp_messages_are_dropped_silently(kind):
    """Among them requests for time, information and masks."""
    _, a, _ = pair()
    a.inject(packet("10.0.0.2", "10.0.0.1", 1, IcmpMessage(kind, 0, 1, bytes(20)).emit()))
    assert a.counter("icmp.others_in") == 1
    assert sent(a) == []


@pytest.mark.rfc("1122", "3.2.2-d")
def test_errors_have_a_plain_type_of_service():
    """Whatever the offender had; the first three bits are the precedence (RFC 1812 section 4.3.2.5)."""
    _, a, _ = pair()
    frame = bytearray(packet("10.0.0.2", "10.0.0.1", 200, b"what"))
    frame[15] = 0x10
    total = int.from_bytes(frame[24:26], "big") - 0x10
    frame[24:26] = (total & 0xFFFF).to_bytes(2, "big")
    a.inject(bytes(frame))
    [error] = sent(a)
    assert (error[9], error[20], error[1] & 0x1F) == (1, 3, 0)


@pytest.mark.rfc("1122", "3.2.2.6-c")
def test_a_ping_is_answered_from_the_address_that_was_asked():
    _, a, _ = pair()
    a.do(a.ip.add_address, "vif0", "10.0.0.9/24")
    for address in ("10.0.0.9", "10.0.0.1"):
        a.inject(packet("10.0.0.2", address, 1, ECHO_REQUEST))
    assert [data[12:16] for data in sent(a)] == [parse_ipv4("10.0.0.9"), parse_ipv4("10.0.0.1")]


@pytest.mark.rfc("1122", "3.2.1.3-e")
def test_a_broadcast_address_is_no_source():
    """Neither of an answer to a broadcast, nor of what a socket sends that is bound to one."""
    _, a, _ = pair()
    a.do(lambda: a.kernel.sysctl.set("net.icmp.echo_ignore_broadcasts", 0))
    a.inject(packet("10.0.0.2", "10.0.0.255", 1, ECHO_REQUEST, peer=BROADCAST_MAC))
    socket = a.udp_socket("10.0.0.255", 7)
    a.do(socket.set_option, SOL_SOCKET, SO_BROADCAST, b"\1\0\0\0")
    a.send(socket, b"x", "10.0.0.2", 7)
    packets = sent(a)
    assert len(packets) >= 2
    assert {data[12:16] for data in packets} == {parse_ipv4("10.0.0.1")}


@pytest.mark.rfc("1122", "3.3.6-d")
def test_link_layer_broadcasts_have_broadcasts_in_them():
    _, a, _ = pair()
    socket = a.socket()
    a.do(socket.set_option, SOL_SOCKET, SO_BROADCAST, b"\1\0\0\0")
    for address in ("10.0.0.255", "255.255.255.255", "224.0.0.1", "10.0.0.2"):
        a.send(socket, b"x", address, 7)
    a.host.run(a.host.now + SECOND)
    found = {(frame.head[30:34], frame.head[0] & 1) for frame in a.ports[0].sent if frame.head[12:14] == b"\x08\0"}
    assert {(parse_ipv4("10.0.0.255"), 1), (parse_ipv4("255.255.255.255"), 1), (parse_ipv4("224.0.0.1"), 1)} <= found
    assert all(group == 0 for address, group in found if address == parse_ipv4("10.0.0.2"))


@pytest.mark.rfc("1122", "4.1.3.6-a")
@pytest.mark.parametrize("source", ["255.255.255.255", "10.0.0.255", "224.0.0.1", "127.0.0.1", "240.0.0.1"])
def test_datagrams_from_nowhere_are_dropped(source):
    _, a, _ = pair()
    server = a.udp_socket(port=7)
    a.inject(packet(source, "10.0.0.1", 17, emit_udp_header(9, 7, 4) + b"data"))
    assert a.drain(server) == []
    a.inject(packet("10.0.0.2", "10.0.0.1", 17, emit_udp_header(9, 7, 4) + b"data"))
    assert a.drain(server) == [b"data"]


@pytest.mark.rfc("1122", "4.1.3.4-c")
def test_datagrams_have_a_checksum():
    host, a, _ = pair(features=0)
    a.send(a.socket(), b"x", "10.0.0.2", 7)
    host.run(host.now + SECOND)
    [data] = [frame.linear() for frame in a.ports[0].sent if frame.head[12:14] == b"\x08\0"]
    assert data[40:42] != b"\0\0"


@pytest.mark.rfc("1122", "4.1.3.5-d")
def test_a_connected_socket_knows_its_address():
    host, a, _ = pair()
    socket = a.socket()
    a.do(socket.connect, (parse_ipv4("10.0.0.2"), 7), host.now)
    assert socket.local_address()[0] == parse_ipv4("10.0.0.1")


@pytest.mark.rfc("1122", "3.4-b", "3.2.1.6-b", "4.1.3.5-a")
@pytest.mark.parametrize("destination", ["10.0.0.1", "10.0.0.9", "10.0.0.255"])
def test_a_program_learns_where_a_datagram_was_sent_to_how_and_by_which_interface(destination):
    _, a, _ = pair()
    a.do(a.ip.add_address, "vif0", "10.0.0.9/24")
    server = a.udp_socket(port=7)
    for option in (IP_PKTINFO, IP_RECVTOS):
        a.do(server.set_option, IPPROTO_IP, option, b"\1\0\0\0")
    frame = bytearray(packet("10.0.0.2", destination, 17, emit_udp_header(9, 7, 1) + b"x", peer=BROADCAST_MAC))
    if destination != "10.0.0.255":
        frame[:6] = a.interface.mac
    frame[15] = 0x20
    total = int.from_bytes(frame[24:26], "big") - 0x20
    frame[24:26] = (total & 0xFFFF).to_bytes(2, "big")
    a.inject(bytes(frame))
    received = a.receive(server)
    assert received is not None
    control = {(level, kind): data for level, kind, data in received.control}
    assert control[IPPROTO_IP, IP_TOS] == b"\x20"
    info = control[IPPROTO_IP, IP_PKTINFO]
    assert int.from_bytes(info[:4], "little") == a.interface.index
    assert info[8:12] == parse_ipv4(destination)
