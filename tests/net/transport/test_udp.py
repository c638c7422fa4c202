"""UDP below sockets: checksums, malformed datagrams, batches, strays, and errors that may be forged."""

import pytest

from rumpkit.hyper.frame import CHECKSUM_PARTIAL, CHECKSUM_VERIFIED, GSO_UDP_L4, Frame
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EADDRNOTAVAIL, ECONNREFUSED
from rumpkit.net.transport.udp import StrayHandler
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.checksum import pseudo_sum, sum_bytes
from rumpkit.net.wire.icmp import DESTINATION_UNREACHABLE, IcmpMessage
from rumpkit.net.wire.udp import emit_udp_header
from tests.net.lan import packet, pair

A = parse_ipv4("10.0.0.1")
B = parse_ipv4("10.0.0.2")


def datagram(payload=b"data", sport=1000, dport=7, checksum=None):
    header = emit_udp_header(sport, dport, len(payload))
    if checksum is None:
        whole = header + payload
        checksum = sum_bytes(whole, 0, len(whole), pseudo_sum(B, A, 17, len(whole))) ^ 0xFFFF or 0xFFFF
    return packet("10.0.0.2", "10.0.0.1", 17, header[:6] + checksum.to_bytes(2, "big") + payload)


@pytest.mark.rfc("1122", "4.1.3.4-a", "4.1.3.4-b")
def test_checksums_are_checked_and_may_be_absent():
    _, a, _ = pair()
    server = a.udp_socket(port=7)
    a.inject(datagram(b"right"))
    a.inject(datagram(b"absent", checksum=0))
    a.inject(datagram(b"wrong", checksum=0x1234))
    assert a.drain(server) == [b"right", b"absent"]
    assert a.counter("udp.bad_checksum") == 1


@pytest.mark.rfc("1122", "4.1.3.4-a", "4.1.3.4-b")
def test_every_damaged_bit_of_a_datagram_is_noticed():
    _, a, _ = pair()
    server = a.udp_socket(port=7)
    good = datagram()
    for at in range(34, len(good)):
        for bit in range(8):
            damaged = bytearray(good)
            damaged[at] ^= 1 << bit
            a.inject(bytes(damaged))
    assert a.drain(server) == []
    assert a.counter("udp.bad_checksum") + a.counter("udp.bad_in") == (len(good) - 34) * 8


@pytest.mark.parametrize("state", [CHECKSUM_VERIFIED, CHECKSUM_PARTIAL])
def test_a_checksum_that_somebody_vouches_for_is_not_checked(state):
    host, a, _ = pair()
    server = a.udp_socket(port=7)
    frame = Frame(datagram(checksum=0x1234))
    frame.checksum = state
    with a.entered():
        host.post(a.interface.ingress(), frame)
    assert a.drain(server) == [b"data"]


def test_lengths_that_contradict_are_dropped_and_slack_is_cut_off():
    _, a, _ = pair()
    server = a.udp_socket(port=7)
    for length in (0, 7, 13, 0xFFFF):
        header = emit_udp_header(1000, 7, 4)
        a.inject(packet("10.0.0.2", "10.0.0.1", 17, header[:4] + length.to_bytes(2, "big") + b"\0\0" + b"data"))
    a.inject(packet("10.0.0.2", "10.0.0.1", 17, b"1234567"))
    assert a.counter("udp.bad_in") == 5
    a.inject(packet("10.0.0.2", "10.0.0.1", 17, emit_udp_header(1000, 7, 4) + b"data and slack"))
    assert a.drain(server) == [b"data"]


def test_a_batch_arrives_as_datagrams():
    host, a, _ = pair()
    server = a.udp_socket(port=7)
    payload = bytes(range(250))
    frame = Frame(packet("10.0.0.2", "10.0.0.1", 17, emit_udp_header(1000, 7, 250)), payload, 0, 250)
    head = bytearray(frame.head)
    head[16:18] = (28 + 250).to_bytes(2, "big")
    head[24:26] = bytes(2)
    head[24:26] = int(sum_bytes(bytes(head), 14, 34) ^ 0xFFFF).to_bytes(2, "big")
    frame.head = bytes(head)
    frame.checksum, frame.gso_type, frame.gso_size = CHECKSUM_PARTIAL, GSO_UDP_L4, 100
    with a.entered():
        host.post(a.interface.ingress(), frame)
    assert a.drain(server) == [payload[:100], payload[100:200], payload[200:]]


def refused(sport, dport, source="10.0.0.1", destination="10.0.0.2"):
    """ICMP port unreachable about a datagram."""
    quoted = packet(source, destination, 17, emit_udp_header(sport, dport, 4) + b"data")[14:]
    return packet("10.0.0.2", "10.0.0.1", 1, IcmpMessage(DESTINATION_UNREACHABLE, 3, 0, quoted).emit())


def test_only_errors_about_what_we_sent_count():
    host, a, _ = pair()
    client = a.udp_socket(port=1000)
    a.do(client.connect, (B, 7), host.now)
    a.inject(refused(1001, 7))
    a.inject(refused(1000, 7, source="10.0.0.77"))
    assert a.counter("icmp.errors_ignored") == 2
    a.inject(refused(1000, 8, destination="10.0.0.3"))
    assert a.counter("udp.errors_in") == 0
    assert a.do(client.take_error) == 0
    a.inject(refused(1000, 7))
    assert a.do(client.take_error) == ECONNREFUSED


def test_a_quote_that_is_cut_short_is_dropped():
    _, a, _ = pair()
    a.udp_socket(port=1000)
    whole = packet("10.0.0.1", "10.0.0.2", 17, emit_udp_header(1000, 7, 4) + b"data")[14:]
    for size in range(28):
        a.inject(packet("10.0.0.2", "10.0.0.1", 1, IcmpMessage(DESTINATION_UNREACHABLE, 3, 0, whole[:size]).emit()))
    assert a.counter("icmp.bad_in") == 28


class Relay(StrayHandler):
    def __init__(self):
        self.got = []
        self.errors = []

    def stray(self, source, sport, destination, dport, payload, now):
        self.got.append((source, sport, destination, dport, payload))
        return dport != 666

    def sent(self, source, sport, destination, dport):
        return sport == 53

    def failed(self, source, sport, destination, dport, errno, now):
        self.errors.append((source, sport, destination, dport, errno))


def test_a_gateway_takes_strays_and_answers_in_their_name():
    host, a, b = pair()
    relay = Relay()
    a.udp.stray = relay
    a.kernel.sysctl.set("net.ip.accept_any_destination", 1)
    b.do(b.ip.add_route, "default", "10.0.0.1")
    client = b.udp_socket(port=4000)
    outside = parse_ipv4("192.0.2.8")
    b.do(client.connect, (outside, 53), host.now)
    b.send(client, b"question")
    host.run(host.now + SECOND)
    assert relay.got == [(B, 4000, outside, 53, b"question")]
    a.do(lambda: a.udp.send_as(outside, 53, B, 4000, b"answer", host.now))
    a.do(lambda: a.udp.send_as(outside, 53, B, 4001, b"nobody", host.now))
    host.run(host.now + SECOND)
    assert b.drain(client) == [b"answer"]
    assert relay.errors == [(outside, 53, B, 4001, ECONNREFUSED)]
    b.do(client.connect, (outside, 666), host.now)
    b.send(client, b"refused")
    host.run(host.now + SECOND)
    assert b.do(client.take_error) == ECONNREFUSED


@pytest.mark.rfc("1122", "3.2.1.3-b", "4.1.3.6-b")
def test_only_a_gateway_sends_in_others_names():
    host, a, _ = pair()
    with pytest.raises(OSError) as caught:
        a.do(lambda: a.udp.send_as(parse_ipv4("192.0.2.8"), 53, B, 4000, b"x", host.now))
    assert caught.value.errno == EADDRNOTAVAIL
