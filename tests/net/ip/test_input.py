"""IPv4's way in: which packets are taken, which are dropped and counted, and which are answered with an error."""

import pytest

from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.checksum import pseudo_sum
from rumpkit.net.wire.icmp import DESTINATION_UNREACHABLE, ECHO, PARAMETER_PROBLEM, IcmpMessage, parse_icmp
from rumpkit.net.wire.ipv4 import MORE_FRAGMENTS
from rumpkit.net.wire.offload import verify
from rumpkit.net.wire.udp import emit_datagram, emit_udp_header
from tests.net.lan import Hub, packet, pair

ECHO_REQUEST = IcmpMessage(ECHO, 0, 0x00010001, b"data").emit()
TO_NOBODY = emit_udp_header(1000, 99, 4) + b"data"
BROADCAST_MAC = b"\xff" * 6


def icmp_sent(node):
    """The ICMP messages that a node has sent."""
    node.host.run(node.host.now + SECOND)
    found = []
    for frame in node.ports[0].sent:
        if frame.head[12:14] == b"\x08\0" and frame.head[23] == 1:
            message = parse_icmp(Frame(frame.linear()), 34, len(frame))
            assert message is not None
            found.append(message)
    return found


@pytest.mark.rfc("1122", "3.1-h", "3.2.1.2-a")
def test_a_damaged_header_is_dropped():
    _, a, _ = pair()
    good = packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST)
    for at in range(14, 34):
        for bit in range(8):
            damaged = bytearray(good)
            damaged[at] ^= 1 << bit
            a.inject(bytes(damaged))
    assert a.counter("ip.bad_header") == 160
    assert a.counter("icmp.messages_in") == 0
    a.inject(good)
    assert a.counter("icmp.echo_requests_in") == 1


def test_a_cut_packet_is_dropped():
    _, a, _ = pair()
    good = packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST)
    for size in range(14, len(good)):
        a.inject(good[:size])
    assert a.counter("ip.bad_header") == len(good) - 14


@pytest.mark.rfc("1122", "3.2.1.3-d", "3.2.2-i")
@pytest.mark.parametrize(
    "source",
    [
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "0.0.0.9",
        "10.0.0.255",
        "10.0.0.0",
        "10.0.0.1",
    ],
)
def test_impossible_sources_are_dropped(source):
    _, a, _ = pair()
    a.inject(packet(source, "10.0.0.1", 1, ECHO_REQUEST))
    assert a.counter("ip.martian_source") == 1
    assert icmp_sent(a) == []


@pytest.mark.rfc("1122", "3.2.1.3-c")
@pytest.mark.parametrize("destination", ["127.0.0.1", "239.1.1.1", "240.0.0.1", "0.0.0.0"])
def test_impossible_destinations_are_dropped(destination):
    _, a, _ = pair()
    a.inject(packet("10.0.0.2", destination, 1, ECHO_REQUEST))
    assert a.counter("ip.martian_destination") == 1
    assert icmp_sent(a) == []


@pytest.mark.rfc("1122", "3.2.1.3-c")
def test_packets_for_others_are_dropped_unless_we_forward():
    _, a, _ = pair()
    a.inject(packet("10.0.0.2", "192.0.2.1", 1, ECHO_REQUEST))
    assert a.counter("ip.not_ours") == 1
    assert icmp_sent(a) == []


@pytest.mark.rfc("1122", "3.3.6-e")
def test_a_unicast_packet_in_a_broadcast_frame_is_dropped():
    _, a, _ = pair()
    a.do(lambda: a.kernel.sysctl.set("net.ip.accept_any_destination", 1))
    a.inject(packet("10.0.0.2", "192.0.2.1", 1, ECHO_REQUEST, peer=BROADCAST_MAC))
    assert a.counter("ip.martian_destination") == 1


@pytest.mark.rfc("1122", "3.3.8-a", "3.2.2.1-a")
def test_an_unknown_protocol_is_reported():
    _, a, _ = pair()
    frame = packet("10.0.0.2", "10.0.0.1", 200, b"whatever it is")
    a.inject(frame)
    (message,) = icmp_sent(a)
    assert (message.kind, message.code) == (DESTINATION_UNREACHABLE, 2)
    assert message.data == frame[14:]


@pytest.mark.rfc("1122", "3.2.2-b", "3.2.2.1-a", "3.4-d", "3.4-f", "4.1.3.1-a")
def test_a_closed_port_is_reported_with_what_was_sent():
    _, a, _ = pair()
    frame = packet("10.0.0.2", "10.0.0.1", 17, TO_NOBODY)
    a.inject(frame)
    (message,) = icmp_sent(a)
    assert (message.kind, message.code, message.data) == (DESTINATION_UNREACHABLE, 3, frame[14:])


@pytest.mark.rfc("1122", "3.2.2-f", "3.2.2-g", "3.3.7-b")
@pytest.mark.parametrize(
    "frame",
    [
        packet("10.0.0.2", "10.0.0.255", 17, TO_NOBODY, peer=BROADCAST_MAC),
        packet("10.0.0.2", "255.255.255.255", 17, TO_NOBODY, peer=BROADCAST_MAC),
        packet("10.0.0.2", "224.0.0.1", 17, TO_NOBODY, peer=b"\x01\0\x5e\0\0\1"),
        packet("10.0.0.2", "10.0.0.1", 17, TO_NOBODY, peer=BROADCAST_MAC),
        packet("0.0.0.0", "255.255.255.255", 17, TO_NOBODY, peer=BROADCAST_MAC),
    ],
)
def test_errors_are_never_about_broadcasts(frame):
    _, a, _ = pair()
    a.inject(frame)
    assert a.counter("udp.no_port") == 1
    assert icmp_sent(a) == []


@pytest.mark.rfc("1122", "3.2.2-e")
def test_errors_are_never_about_errors():
    _, a, _ = pair()
    a.do(a.v4.report, 3, 1, 0, Frame(packet("10.0.0.2", "10.0.0.1", 1, bytes([3, 1, 0, 0]) + bytes(40))), 14, 0)
    a.do(a.v4.report, 3, 1, 0, Frame(packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST)), 14, 0)
    assert a.counter("icmp.errors_out") == 1


@pytest.mark.rfc("1122", "3.2.2-h")
def test_errors_are_never_about_later_fragments():
    _, a, _ = pair()
    for offset, expected in ((8, 0), (0, 1)):
        fragment = packet("10.0.0.2", "10.0.0.1", 17, bytes(64), fragment=MORE_FRAGMENTS | offset)
        a.do(a.v4.report, 11, 1, 0, Frame(fragment), 14, 0)
        assert a.counter("icmp.errors_out") == expected


def test_errors_come_in_bursts_and_then_at_a_rate():
    host, a, _ = pair()
    a.kernel.sysctl.set("net.icmp.errors_per_second", 10)
    frame = packet("10.0.0.2", "10.0.0.1", 17, TO_NOBODY)
    for _ in range(100):
        a.inject(frame)
    assert a.counter("icmp.errors_out") == 50
    assert a.counter("icmp.errors_limited") == 50
    host.run(host.now + SECOND)
    for _ in range(100):
        a.inject(frame)
    assert a.counter("icmp.errors_out") == 60


@pytest.mark.parametrize("kind", [131, 137])
def test_nobody_steers_packets_through_us(kind):
    _, a, _ = pair()
    options = bytes([kind, 7, 4]) + parse_ipv4("10.0.0.9") + b"\0"
    a.inject(packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST, options=options))
    assert a.counter("ip.bad_options") == 1
    assert icmp_sent(a) == []


def test_harmless_options_are_tolerated():
    _, a, _ = pair()
    record_route = bytes([7, 7, 4]) + bytes(4) + b"\0"
    a.inject(packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST, options=record_route))
    (message,) = icmp_sent(a)
    assert message.data == b"data"


@pytest.mark.rfc("1122", "3.2.2.5-a")
@pytest.mark.parametrize(
    ("options", "pointer"), [(b"\1\7\0\0", 22), (b"\7\1\0\0", 21), (b"\1\1\1\7", 23), (b"\7\5\0\0", 21)]
)
def test_a_malformed_option_is_pointed_at(options, pointer):
    _, a, _ = pair()
    a.inject(packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST, options=options))
    (message,) = icmp_sent(a)
    assert (message.kind, message.pointer()) == (PARAMETER_PROBLEM, pointer)


def test_a_kernel_that_accepts_any_destination_answers_as_the_destination():
    host, a, b = pair()
    a.kernel.sysctl.set("net.ip.accept_any_destination", 1)
    b.do(b.ip.add_route, "default", "10.0.0.1")
    socket = b.ping("192.0.2.99")
    host.run(host.now + SECOND)
    received = b.receive(socket)
    assert received is not None and received.source == (parse_ipv4("192.0.2.99"), 0)
    server = a.udp_socket(port=53)
    client = b.socket()
    b.send(client, b"question", "198.51.100.7", 53)
    b.send(client, b"closed", "198.51.100.7", 54)
    host.run(host.now + SECOND)
    assert a.drain(server) == [b"question"]
    last = next(frame for frame in reversed(a.ports[0].sent) if frame.head[12:14] == b"\x08\0")
    assert last.head[26:30] == parse_ipv4("198.51.100.7")


def test_multicast_that_nobody_joined_stays_outside():
    _, a, _ = pair()
    server = a.udp_socket(port=99)
    frame = packet("10.0.0.2", "239.9.9.9", 17, TO_NOBODY, peer=b"\x01\0\x5e\x09\x09\x09")
    a.inject(frame)
    assert a.drain(server) == []
    a.do(a.v4.join, parse_ipv4("239.9.9.9"))
    a.inject(frame)
    assert a.drain(server) == [b"data"]


def test_a_header_split_between_head_and_body_is_read():
    host, a, b = pair()
    frame = packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST)
    for size in (14, 20, 33, 34, 38, 42):
        with a.entered():
            host.post(a.interface.ingress(), Frame(frame[:size], frame, size, len(frame) - size))
    assert a.counter("icmp.echo_requests_in") == 6
    host.run(host.now + SECOND)
    assert b.counter("icmp.echo_replies_in") == 6


@pytest.mark.parametrize("mtu", [1500, 1000])
def test_what_errors_quote_is_as_it_would_be_on_a_wire(mtu):
    host, a, b = pair()
    b.kernel.sysctl.set("net.ip.forwarding", 1)
    small = Hub(host, mtu=mtu)
    with b.entered():
        b.ip.add_interface(small.port(), "vif1")
        b.ip.add_address("vif1", "10.0.9.1/24")
    gso = mtu == 1000
    size = 5000 if gso else 100
    target = parse_ipv4("10.0.9.9" if gso else "10.0.0.2")
    with a.entered():
        a.v4.add_route(target, 32, parse_ipv4("10.0.0.2"))
        route = a.v4.route(target)
        own = parse_ipv4("10.0.0.1")
        frame = emit_datagram(1000, 99, pseudo_sum(own, target, 17, 0), bytes(size), 0, size, 1400)
        a.v4.output(frame, route, own, target, 17, host.now)
    message = icmp_sent(b)[0]
    assert (message.kind, message.code) == (DESTINATION_UNREACHABLE, 4 if gso else 3)
    data = message.data
    length = int.from_bytes(data[2:4], "big")
    assert length == (1428 if gso else 128)
    whole = data + bytes(length - len(data))  # the payload is zeros
    assert verify(Frame(whole), 0)
