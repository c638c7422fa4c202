"""A receiver that lies about what it has got: windows, acknowledgements (RFC 5681 section 8, Savage et al. 1999)."""

import pytest

from rumpkit.kern.abi.errno import ETIMEDOUT
from tests.net.transport.tcp.script import MSS, Ack, established
from tests.net.transport.tcp.siege import Siege


def sending(**arguments):
    """A connection with much to send, and its first window out."""
    t = established(**arguments)
    t.write(bytes(1 << 20))
    t.out.clear()
    return t


@pytest.mark.parametrize("pieces", [1, 10, 100, 1000])
@pytest.mark.parametrize("name", ["reno", "cubic"])
def test_splitting_an_ack_does_not_open_the_window_faster(name, pieces):
    """The congestion window counts bytes (RFC 3465), not acknowledgements."""
    from rumpkit.net.transport.tcp.options import TcpOptions

    options = TcpOptions()
    options.congestion = name
    t = sending(options=options)
    before = t.block.congestion.window
    step = MSS // pieces
    for piece in range(1, pieces + 1):
        t.send(100, Ack(1, 1 + piece * step if piece < pieces else 1 + MSS))
    assert t.block.congestion.window <= before + MSS


def test_acks_of_what_was_never_sent_do_not_open_the_window():
    t = sending()
    before = t.block.congestion.window
    sent = t.block.snd_max - t.block.iss
    for step in range(50):
        t.send(100 + step * 600, Ack(1, sent + 1 + step * MSS))
    assert t.block.snd_una == t.block.iss + 1
    assert t.block.congestion.window <= before


def test_optimistic_acks_get_no_more_than_the_window_for_a_round_trip():
    """A peer that acknowledges all that is under way at once is believed, but only what was sent can be acknowledged: what it
    gains is a faster slow start, of data that it then can't ask for again."""
    t = sending()
    for step in range(20):
        sent = t.block.snd_max - t.block.iss
        flight = t.block.flight()
        assert flight <= t.block.congestion.window + MSS
        assert flight <= 60000
        t.send(100 + step, Ack(1, sent))


def test_duplicate_acks_do_not_let_data_out_without_end():
    """Each may mean that a segment has left the network, so new ones follow: up to the window that the peer offers, no further."""
    t = sending()
    for step in range(3000):
        t.send(100 + step // 100, Ack(1, 1))
    assert t.block.snd_max - t.block.snd_una <= 60000
    assert sum(len(segment.payload()) for segment in t.out) <= 2 * 60000
    assert t.block.congestion.window <= 60000


@pytest.mark.parametrize("window", [1, 5, 50, 499])
def test_a_tiny_window_is_not_filled_with_crumbs(window):
    """Silly window avoidance (RFC 9293 3.8.6.2.1): what the peer takes at once is too little to bother, until a timer says so."""
    t = established()
    t.write(bytes(5000))
    t.out.clear()
    t.send(10, Ack(1, 5001, window=window))
    t.write(bytes(100_000))
    assert not t.out
    t.at(20_000)
    payload = [len(segment.payload()) for segment in t.out]
    assert len(payload) < 10
    assert all(size <= window for size in payload)


def test_a_window_that_is_opened_by_a_byte_at_a_time():
    t = established()
    t.write(bytes(60000))
    t.out.clear()
    acked = 60001
    t.send(50, Ack(1, acked, window=0))
    t.write(bytes(10_000))
    for step in range(400):
        t.send(51 + step, Ack(1, acked, window=step))
    small = [segment for segment in t.out if 0 < segment.size < 400]
    assert not small


def test_the_mss_of_a_peer_has_a_floor():
    """One byte a segment would cost forty times what it carries."""
    from tests.net.transport.tcp.script import Script, SynAck

    t = Script()
    t.open()
    t.out.clear()
    t.send(0, SynAck(mss=1))
    assert t.block.snd_mss == 64


def test_a_peer_that_keeps_its_window_shut_does_not_hold_an_orphan_for_ever():
    """RFC 6429: answering probes is no reason to keep what no socket holds."""
    world = Siege(orphan_retries=3)
    client, server = world.pair()
    while world.attempt(server.send, bytes(1 << 20), 0, 0, None, world.now):
        world.run(1)
    block = server.channel.connection.block
    assert block.persisting and server.unacknowledged() > 1 << 16
    world.call(server.release, world.now)
    world.run(60)
    assert world.b.tcp.orphans == 1
    assert block.probes == 0, "they are answered"
    world.run(3600)
    assert world.b.tcp.orphans == 0
    assert block.error == ETIMEDOUT
    assert not world.b.tcp.channels
    assert client.readable() > 0


def test_a_peer_that_acks_and_never_reads_holds_no_more_than_the_send_buffer():
    world = Siege(send_buffer=65536, send_buffer_max=65536)
    client, server = world.pair()
    taken = 0
    for _ in range(1000):
        part = world.attempt(server.send, bytes(65536), 0, 0, None, world.now)
        world.run(0.01)
        taken += part or 0
    queued = server.unacknowledged()
    assert queued <= 65536
    assert client.readable() <= (6 << 20) + 65536
    assert taken < 8 << 20


def test_others_go_on_beside_a_liar():
    world = Siege()
    client, server = world.pair(80)
    liar, _ = world.pair(81)
    channel = liar.channel
    block = channel.connection.block

    def attack(step):
        for jump in range(5):
            segment = world.random.getrandbits(16)
            forged = _ack(block, segment + jump)
            world.forge(forged, channel.local[0], channel.local[1], 81)

    assert world.under(attack, client, server) < 500


def _ack(block, ahead):
    from rumpkit.net.wire.segment import ACK, Segment

    return Segment(block.snd_nxt & 0xFFFFFFFF, (block.rcv_nxt + ahead) & 0xFFFFFFFF, ACK, 1)
