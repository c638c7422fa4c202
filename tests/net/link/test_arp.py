"""ARP as neighbours see it: who is asked, who answers, what waits meanwhile, and how long an answer holds."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.net.wire.address import ANY_MAC, BROADCAST_MAC, parse_ipv4
from rumpkit.net.wire.arp import REPLY, REQUEST, ArpPacket, parse_arp
from rumpkit.net.wire.ethernet import ETHERTYPE_ARP, emit_ethernet, ethertype
from tests.net.lan import Hub, Node, pair

A = parse_ipv4("10.0.0.1")
B = parse_ipv4("10.0.0.2")
MAC_A = b"\x02\0\0\0\0\1"
MAC_B = b"\x02\0\0\0\0\2"
STRANGER = b"\x02\0\0\0\0\x99"


def arps(node):
    """The ARP packets that a node has sent, and to whom."""
    found = []
    for frame in node.ports[0].sent:
        if ethertype(frame.head) == ETHERTYPE_ARP:
            packet = parse_arp(frame.head, 14)
            assert packet is not None
            found.append((frame.head[:6], packet.operation, packet.sender_ip, packet.target_ip))
    return found


def arp(operation, sender_mac, sender_ip, target_ip, destination=BROADCAST_MAC):
    packet = ArpPacket(operation, sender_mac, parse_ipv4(sender_ip), ANY_MAC, parse_ipv4(target_ip))
    return emit_ethernet(destination, sender_mac, ETHERTYPE_ARP) + packet.emit()


def states(node):
    return {address: state for address, _, state in node.interface.neighbours.rows()}


def test_an_address_is_announced_when_it_is_added():
    _, a, _ = pair()
    assert arps(a) == [(BROADCAST_MAC, REQUEST, A, A)]


def test_one_question_one_answer_and_both_know_each_other():
    host, a, b = pair()
    a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    assert arps(a)[1:] == [(BROADCAST_MAC, REQUEST, A, B)]
    assert arps(b)[1:] == [(MAC_A, REPLY, B, A)]
    assert states(a) == {B: "reachable"}
    assert states(b) == {A: "reachable"}


def test_packets_wait_for_the_answer_in_order():
    host, a, b = pair()
    server = b.udp_socket(port=7)
    client = a.socket()
    for number in range(5):
        a.send(client, b"%d" % number, "10.0.0.2", 7)
    host.run(host.now + SECOND)
    assert b.drain(server) == [b"0", b"1", b"2", b"3", b"4"]
    assert len(arps(a)) == 2


def test_the_queue_of_a_neighbour_keeps_the_youngest():
    host, a, b = pair()
    a.kernel.sysctl.set("net.arp.queue_packets", 2)
    server = b.udp_socket(port=7)
    client = a.socket()
    for number in range(5):
        a.send(client, b"%d" % number, "10.0.0.2", 7)
    host.run(host.now + SECOND)
    assert b.drain(server) == [b"3", b"4"]
    assert a.counter("arp.queue_dropped") == 3


@pytest.mark.rfc("1122", "3.3.1.4-a")
def test_silence_is_asked_three_times_and_then_given_up():
    host, a, _ = pair()
    start = host.now
    a.ping("10.0.0.9")
    host.run(start + 2999 * MILLISECOND)
    assert states(a) == {parse_ipv4("10.0.0.9"): "incomplete"}
    assert len(arps(a)) == 1 + 3
    host.run(start + 3001 * MILLISECOND)
    assert states(a) == {}
    assert a.counter("arp.unresolved") == 1
    assert a.counter("ip.unresolved") == 1
    a.ping("10.0.0.9")  # starts anew
    assert len(arps(a)) == 1 + 4


@pytest.mark.rfc("1122", "3.3.1.4-c", "3.3.1.4-d")
def test_an_idle_neighbour_grows_stale_and_is_forgotten():
    host, a, _ = pair()
    a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    assert states(a) == {B: "reachable"}
    host.run(host.now + 60 * SECOND)
    assert states(a) == {B: "stale"}
    host.run(host.now + 60 * SECOND)
    assert states(a) == {}


@pytest.mark.rfc("1122", "3.3.1.4-a", "3.3.1.4-b")
def test_a_neighbour_in_use_is_confirmed_by_unicast_and_nothing_waits():
    host, a, _ = pair()
    a.ping("10.0.0.2")
    host.run(host.now + 62 * SECOND)
    before = len(arps(a))
    start = host.now
    socket = a.ping("10.0.0.2")
    host.run(start + 2 * MILLISECOND)  # one round trip, no more
    assert a.receive(socket) is not None
    assert arps(a)[before:] == [(MAC_B, REQUEST, A, B)]
    assert states(a) == {B: "reachable"}


def test_a_neighbour_that_moved_is_found_again():
    host = SimHost(seed=1)
    hub = Hub(host)
    a = Node(host, "a", (hub, "10.0.0.1/24"))
    b = Node(host, "b", (hub, "10.0.0.2/24"))
    a.ping("10.0.0.2")
    host.run(host.now + 62 * SECOND)
    with b.entered():
        b.ip.remove_interface("vif0")
    c = Node(host, "c", (hub, ""))
    with c.entered():
        c.interface.addresses.clear()
    socket = a.ping("10.0.0.2")  # goes to where b was, and asks there
    host.run(host.now + 4 * SECOND)
    assert states(a) == {}
    with c.entered():
        c.v4.add_address(c.interface, B, 24)
    socket = a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    assert a.receive(socket) is not None


def test_an_announcement_mends_what_neighbours_know_and_teaches_strangers_nothing():
    host, a, _b = pair()
    a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    a.inject(arp(REQUEST, STRANGER, "10.0.0.2", "10.0.0.2"))
    a.inject(arp(REQUEST, STRANGER, "10.0.0.50", "10.0.0.50"))
    assert [(address, mac) for address, mac, _ in a.interface.neighbours.rows()] == [(B, STRANGER)]


def test_a_conflict_is_counted_and_defended_once():
    host, a, _ = pair()
    for _ in range(3):
        a.inject(arp(REQUEST, STRANGER, "10.0.0.1", "10.0.0.1"))
    assert a.counter("arp.conflicts") == 3
    assert arps(a) == [(BROADCAST_MAC, REQUEST, A, A)] * 2
    host.run(host.now + 11 * SECOND)
    a.inject(arp(REPLY, STRANGER, "10.0.0.1", "10.0.0.1"))
    assert len(arps(a)) == 3


def test_a_probe_is_answered_and_not_remembered():
    _, a, _ = pair()
    a.inject(arp(REQUEST, STRANGER, "0.0.0.0", "10.0.0.1"))
    assert arps(a)[-1] == (STRANGER, REPLY, A, bytes(4))
    assert states(a) == {}


def test_questions_for_others_get_no_answer():
    _, a, _ = pair()
    a.inject(arp(REQUEST, STRANGER, "10.0.0.50", "10.0.0.51"))
    assert len(arps(a)) == 1
    assert states(a) == {}


def test_malformed_packets_are_counted():
    _, a, _ = pair()
    good = arp(REQUEST, STRANGER, "10.0.0.50", "10.0.0.1")
    a.inject(good[:-1])
    a.inject(good[:15] + b"\x09" + good[16:])
    a.inject(arp(REQUEST, b"\x03\0\0\0\0\x99", "10.0.0.50", "10.0.0.1"))
    a.inject(arp(REPLY, MAC_A, "10.0.0.50", "10.0.0.1"))
    assert a.counter("arp.bad_in") == 4
    assert len(arps(a)) == 1


def test_the_table_has_a_limit_that_strangers_cannot_push_against():
    _, a, _ = pair()
    a.kernel.sysctl.set("net.arp.max_neighbours", 4)
    for last in range(20, 30):
        a.inject(arp(REQUEST, bytes([2, 0, 0, 0, 1, last]), f"10.0.0.{last}", "10.0.0.1"))
    assert list(states(a)) == [bytes([10, 0, 0, last]) for last in range(20, 24)]
    a.ping("10.0.0.200")  # our own needs push the oldest out
    assert len(states(a)) == 4
    assert bytes([10, 0, 0, 20]) not in states(a)
    assert a.counter("arp.evicted") == 1


def test_a_link_that_goes_down_forgets_everybody():
    host, a, _ = pair()
    a.ping("10.0.0.2")
    a.ping("10.0.0.9")
    host.run(host.now + 500 * MILLISECOND)
    a.do(a.ip.set_up, "vif0", False)
    assert states(a) == {}
    host.run(host.now + 10 * SECOND)
    assert a.counter("arp.unresolved") == 0
    a.do(a.ip.set_up, "vif0", True)
    assert arps(a)[-1] == (BROADCAST_MAC, REQUEST, A, A)


def test_asking_uses_an_address_of_the_target_s_network():
    host = SimHost(seed=1)
    hub = Hub(host)
    a = Node(host, "a", (hub, "10.0.0.1/24"))
    a.do(a.ip.add_address, "vif0", "192.168.7.1/24")
    a.ping("192.168.7.9")
    assert arps(a)[-1] == (BROADCAST_MAC, REQUEST, parse_ipv4("192.168.7.1"), parse_ipv4("192.168.7.9"))


def test_who_is_forgotten_is_asked_for_again():
    host, a, _ = pair()
    a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    assert a.do(a.interface.neighbours.forget, B, host.now)
    assert not a.do(a.interface.neighbours.forget, B, host.now)
    assert states(a) == {}
    asked = len(arps(a))
    a.ping("10.0.0.2")
    host.run(host.now + SECOND)
    assert arps(a)[asked:] == [(BROADCAST_MAC, REQUEST, A, B)]
    assert states(a) == {B: "reachable"}


def test_senders_hear_that_whom_they_wait_for_is_forgotten():
    host, a, _ = pair()
    a.ping("10.0.0.99")
    assert states(a) == {parse_ipv4("10.0.0.99"): "incomplete"}
    assert a.do(a.interface.neighbours.forget, parse_ipv4("10.0.0.99"), host.now)
    assert a.counter("arp.unresolved") == 1
