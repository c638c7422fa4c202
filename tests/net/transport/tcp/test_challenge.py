"""Blind attacks on an established connection, who knows its addresses and ports but no numbers (RFC 5961)."""

import pytest

from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, Rst, Seg, Syn, accepted, established
from tests.net.transport.tcp.wire import Wire

WINDOW = 65535


def still_alive(t):
    """The connection goes on as if nothing had happened."""
    t.state("ESTABLISHED")
    t.send(5000, Data(1, b"real"))
    assert t.read() == b"real"


# Reset (section 3)


@pytest.mark.parametrize("offset", [1, 100, WINDOW - 1])
def test_a_reset_in_the_window_is_challenged(offset):
    t = established()
    t.send(1000, Rst(1 + offset))
    t.expect(Ack(1, 1))
    assert t.environment.counters.challenge_acks == 1
    t.out.clear()
    still_alive(t)


@pytest.mark.parametrize("seq", [0, -1000, 2 + WINDOW, 1 << 30, 1 << 31])
def test_a_reset_outside_the_window_is_not_even_answered(seq):
    t = established()
    t.send(1000, Rst(seq))
    t.silent()
    still_alive(t)


def test_the_real_peer_answers_the_challenge_with_the_right_number():
    """Section 3.2: it has no connection any more, and says so with what the challenge acknowledges."""
    t = established()
    t.send(1000, Rst(500))
    t.expect(Ack(1, 1))
    t.send(1050, Rst(1))
    t.silent()
    t.state("CLOSED")


def test_a_reset_in_syn_received_is_challenged_too():
    t = accepted()
    t.send(1000, Rst(2, 1))
    t.expect(Ack(1, 1))
    still_alive(t)


def test_a_storm_of_resets_is_answered_twice_a_second():
    t = established()
    for step in range(1000):
        t.send(1000 + step, Rst(2 + step))
    assert len(t.out) == 2
    t.out.clear()
    still_alive(t)


# SYN (section 4)


@pytest.mark.parametrize("seq", [0, 1, 500, WINDOW, 1 << 20, 1 << 31, -5000])
def test_a_syn_is_challenged_wherever_it_points(seq):
    t = established()
    t.send(1000, Syn(seq))
    t.expect(Ack(1, 1))
    assert t.environment.counters.challenge_acks == 1
    still_alive(t)


def test_a_restarted_peer_gets_through():
    """Section 4.2: its SYN is challenged, it resets what it doesn't know, and its next SYN finds nobody."""
    wire = Wire()
    listener = wire.listener()
    peer = wire.peer()
    peer.open()
    wire.accept(listener)
    wire.run(1000)
    peer.send(Seg("S", 5000))
    challenge = peer.expect(Ack(1, 1))[0]
    peer.send(Rst(challenge.ack))
    peer.silent()
    assert not wire.tcp.channels
    peer.send(Seg("S", 5000))
    peer.expect(Seg("SA", 0, 5001))


@pytest.mark.parametrize("flags", ["SA", "SF", "SFA"])
def test_a_syn_with_company_is_challenged_too(flags):
    t = established()
    t.send(1000, Seg(flags, 1, 1))
    t.expect(Ack(1, 1))
    still_alive(t)


def test_data_on_a_forged_syn_is_not_taken():
    t = established()
    t.send(1000, Seg("SA", 0, 1, b"evil"))
    t.expect(Ack(1, 1))
    assert t.connection.readable() == 0


# Data (section 5)


@pytest.mark.parametrize("ack", [2, 1000, 1 << 30, -70_000, -(1 << 30), 1 << 31])
def test_data_with_an_unlikely_ack_is_not_taken(ack):
    t = established()
    t.send(1000, Data(1, b"evil", ack=ack))
    t.expect(Ack(1, 1))
    assert t.connection.readable() == 0
    assert t.environment.counters.challenge_acks == 1
    still_alive(t)


@pytest.mark.parametrize("ack", [2, -70_000, 1 << 30])
def test_a_fin_with_an_unlikely_ack_is_not_taken(ack):
    t = established()
    t.send(1000, Fin(1, ack=ack))
    t.expect(Ack(1, 1))
    still_alive(t)


def test_an_ack_within_the_largest_window_ago_is_believable():
    """Section 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT."""
    t = established()
    for _ in range(3):
        t.write(bytes(MSS * 2))
    una = 1 + 3 * MSS * 2
    t.send(50, Ack(1, una, window=5000))
    t.out.clear()
    largest_window = 60000
    t.send(1000, Data(1, b"late", ack=una - largest_window))
    assert t.read() == b"late"
    t.at(1500)
    t.out.clear()
    t.send(2000, Data(5, b"too late", ack=una - largest_window - 1))
    t.expect(Ack(una, 5))
    assert t.connection.readable() == 0


def test_data_outside_the_window_tells_an_attacker_nothing_new():
    t = established()
    t.send(1000, Data(1 << 30, b"evil"))
    t.expect(Ack(1, 1))
    assert t.connection.readable() == 0
    still_alive(t)


def test_an_ack_from_a_stranger_does_not_move_the_window():
    t = established()
    t.send(1000, Ack(1, 5, window=0))
    t.expect(Ack(1, 1))
    t.write(b"x")
    t.expect(Data(1, b"x"))


def test_challenges_can_be_turned_down():
    wire = Wire(challenge_acks=1)
    listener = wire.listener()
    for port in range(5000, 5020):
        wire.peer(port=port).open()
        wire.accept(listener)
    wire.run(1500)
    for port in range(5000, 5020):
        wire.peer(port=port).send(Rst(2))
    assert sum(len(peer.out) for peer in wire.peers.values()) <= 2
    assert wire.counter("challenge_acks") <= 2
