"""Ethernet interfaces: which frames they take, and what leaves them for links with and without offload."""

import pytest

from rumpkit.hyper.frame import CHECKSUM_PARTIAL, CHECKSUM_UNVERIFIED, FEATURE_CHECKSUM
from rumpkit.hyper.time import SECOND
from rumpkit.net.wire.address import ANY_MAC
from rumpkit.net.wire.arp import REQUEST, ArpPacket
from rumpkit.net.wire.ethernet import ETHERTYPE_IPV6, emit_ethernet
from rumpkit.net.wire.icmp import ECHO, IcmpMessage
from rumpkit.net.wire.offload import verify
from tests.net.lan import packet, pair

ECHO_REQUEST = IcmpMessage(ECHO, 0, 0x00010001, b"data").emit()


def request(**fields):
    return packet("10.0.0.2", "10.0.0.1", 1, ECHO_REQUEST, **fields)


def echoes(node):
    return node.counter("icmp.echo_requests_in")


def test_frames_to_other_stations_are_left_alone():
    _, a, _ = pair()
    a.inject(request(peer=b"\x02\0\0\0\0\x77"))
    assert (echoes(a), a.counter("interface.vif0.other_host_in")) == (0, 1)
    a.interface.promiscuous = True
    a.inject(request(peer=b"\x02\0\0\0\0\x77"))
    assert echoes(a) == 1


def test_short_frames_and_unknown_types_are_counted():
    _, a, _ = pair()
    for size in range(14):
        a.inject(request()[:size])
    assert a.counter("interface.vif0.short_in") == 14
    before = a.counter("interface.vif0.unknown_type_in")
    a.inject(emit_ethernet(b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2", ETHERTYPE_IPV6) + bytes(40))
    assert a.counter("interface.vif0.unknown_type_in") == before + 1


@pytest.mark.parametrize(("tag", "taken"), [(b"\0\0", 1), (b"\xe0\0", 1), (b"\0\1", 0), (b"\x6f\xff", 0)])
def test_priority_tags_are_tolerated_and_vlans_are_not(tag, taken):
    host, a, b = pair()
    frame = request()
    a.inject(frame[:12] + b"\x81\0" + tag + frame[12:])
    host.run(host.now + SECOND)
    assert echoes(a) == taken
    assert a.counter("interface.vif0.tagged_in") == 1 - taken
    assert b.counter("icmp.echo_replies_in") == taken


def test_a_tag_at_the_end_of_a_frame_is_harmless():
    _, a, _ = pair()
    frame = request()
    for size in range(4):
        a.inject(frame[:12] + b"\x81\0\0\0\x08\0"[: 2 + size])
    assert a.counter("interface.vif0.tagged_in") == 4


def test_padding_behind_a_packet_is_not_payload():
    host, a, b = pair()
    a.inject(request() + bytes(18))
    host.run(host.now + SECOND)
    reply = next(frame for frame in a.ports[0].sent if frame.head[12:14] == b"\x08\0")
    assert reply.linear().endswith(b"data")
    assert b.counter("icmp.echo_replies_in") == 1


def test_an_interface_that_is_down_is_deaf_and_dumb():
    _host, a, _ = pair()
    a.do(a.ip.set_up, "vif0", False)
    sent = len(a.ports[0].sent)
    a.inject(request())
    assert (echoes(a), a.counter("interface.vif0.down_in")) == (0, 1)
    assert len(a.ports[0].sent) == sent


@pytest.mark.parametrize(("features", "state"), [(0, CHECKSUM_UNVERIFIED), (FEATURE_CHECKSUM, CHECKSUM_PARTIAL)])
def test_checksums_are_completed_where_the_link_does_not(features, state):
    host, a, b = pair(features=features)
    server = b.udp_socket(port=7)
    a.send(a.socket(), b"odd", "10.0.0.2", 7)
    host.run(host.now + SECOND)
    frame = a.ports[0].sent[-1]
    assert frame.checksum == state
    if state == CHECKSUM_UNVERIFIED:
        assert verify(frame, 14)
        assert frame.linear()[40:42] != b"\0\0"
    assert b.drain(server) == [b"odd"]


def test_counters_count_both_ways():
    host, a, b = pair()
    a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    sent = sum(len(frame) for frame in a.ports[0].sent)
    assert a.counter("interface.vif0.bytes_out") == sent
    assert a.counter("interface.vif0.frames_out") == len(a.ports[0].sent)
    assert a.counter("interface.vif0.frames_in") == len(b.ports[0].sent) == 3  # announcement, ARP reply, echo reply
    assert a.counter("interface.vif0.bytes_in") == sum(len(frame) for frame in b.ports[0].sent)


def test_a_question_with_a_priority_tag_is_answered():
    _, a, _ = pair()
    question = ArpPacket(REQUEST, b"\x02\0\0\0\0\x09", b"\x0a\0\0\x09", ANY_MAC, b"\x0a\0\0\1").emit()
    head = b"\xff" * 6 + b"\x02\0\0\0\0\x09"
    a.inject(head + b"\x81\0\0\0\x08\x06" + question)
    assert a.counter("arp.replies_out") == 1
    a.inject(head + b"\x81\0\0\0\x88\xb5" + question)
    assert a.counter("interface.vif0.unknown_type_in") == 1
