"""Segments that overlap, contradict each other, or are made to fill memory."""

import pytest

from rumpkit.kern.abi.poll import POLLOUT
from rumpkit.net.wire.segment import ACK, RST, SYN, Segment
from tests.net.transport.tcp.script import Data, Rst, Syn, established
from tests.net.transport.tcp.siege import Siege

MASK = 0xFFFFFFFF


# Overlaps


def test_of_bytes_that_came_before_the_old_copy_stays():
    """As with fragments: what was checked once must not change afterwards."""
    t = established()
    t.send(10, Data(11, b"b" * 10))
    t.send(11, Data(5, b"X" * 30))
    t.send(12, Data(1, b"a" * 10))
    assert t.read() == b"aaaa" + b"XXXXXX" + b"b" * 10 + b"X" * 14


def test_an_overlap_with_what_was_read_changes_nothing():
    t = established()
    t.send(10, Data(1, b"secret"))
    assert t.read() == b"secret"
    t.send(20, Data(1, b"forged and more"))
    assert t.read() == b" and more"


@pytest.mark.parametrize("seed", range(5))
def test_random_overlaps_of_one_stream_give_that_stream(seed):
    from random import Random

    random = Random(seed)
    data = random.randbytes(3000)
    t = established()
    done = 0
    for step in range(1500):
        start = random.randrange(len(data))
        end = min(len(data), start + random.randrange(1, 200))
        t.send(10 + step, Data(1 + start, data[start:end]))
        done = t.block.rcv_nxt - t.block.irs - 1
        assert t.block.reassembly.count() <= 3000
        if done == len(data):
            break
    t.send(5000, Data(1, data))
    assert t.read() == data


def test_a_fin_does_not_move():
    from tests.net.transport.tcp.script import Fin

    t = established()
    t.send(10, Fin(10, data=b""))
    t.send(11, Data(1, b"x" * 50))
    assert len(t.read()) == 9
    t.state("CLOSE-WAIT")


# Memory


def test_single_bytes_with_gaps_stop_at_the_limit():
    """The dearest way to send out-of-order data: one byte, one gap, again and again."""
    t = established(max_reassembly=100)
    for number in range(2000):
        t.send(10, Data(3 + 2 * number, b"x"))
    assert t.block.reassembly.count() == 100
    assert t.environment.counters.reassembly_drops == 1900
    t.send(20, Data(1, b"in order"))
    assert t.read() == b"inxoxdxrx", "what was there already is not replaced"


def test_a_small_part_of_a_large_frame_does_not_keep_the_frame():
    """Received data is kept by reference; a byte out of 60 KB must not cost 60 KB."""
    t = established()
    for number in range(50):
        t.send(10 + number, Data(1 + number, b"#" * 1 + b"y" * 900, window=1000))
        t.block.rcv_edge = max(t.block.rcv_edge, t.block.rcv_nxt)
    kept = sum(len(chunk.body) for chunk in t.connection.front(1 << 30))
    assert kept <= 2 * t.connection.readable() + 2000


def test_data_beyond_the_window_is_not_kept():
    t = established(receive_buffer=5000)
    for number in range(100):
        t.send(10 + number, Data(5001 + number * 1000, b"z" * 1000))
    assert t.block.reassembly.count() == 0
    t.send(200, Data(2, b"y" * 20_000))
    t.send(201, Data(1, b"x"))
    assert len(t.read()) == 5000


# A storm of segments for a live connection, from somebody who sees nothing of it


@pytest.mark.parametrize("flags", [RST, SYN, ACK, RST | ACK, SYN | ACK])
def test_a_storm_of_blind_segments_does_not_disturb(flags):
    world = Siege()
    client, server = world.pair()
    local, remote = server.channel.local, server.channel.remote

    def attack(step):
        for _ in range(10):
            forged = Segment(
                world.random.getrandbits(32), world.random.getrandbits(32), flags, 1000, b"evil" * 20, 0, 80
            )
            world.forge(forged, remote[0], remote[1], local[1])

    took = world.under(attack, client, server)
    assert took < 300
    assert client.reset_by() == server.reset_by() == 0
    assert world.b.counter("challenge_acks") < 60


def test_a_storm_of_resets_within_the_window_does_not_disturb():
    """Who knows the window, but not the exact number."""
    world = Siege()
    client, server = world.pair()
    local, remote = server.channel.local, server.channel.remote
    block = server.channel.connection.block

    def attack(step):
        for _ in range(10):
            seq = block.rcv_nxt + 1 + world.random.randrange(60_000)
            world.forge(Segment(seq & MASK, 0, RST, 0), remote[0], remote[1], local[1])

    assert world.under(attack, client, server) < 300
    assert server.reset_by() == 0


def test_damaged_and_lying_segments_are_dropped():
    """Wrong checksums, offsets beyond the packet, options that run over: counted, and nobody is disturbed."""
    from rumpkit.net.wire.ethernet import ETHERTYPE_IPV4, emit_ethernet
    from rumpkit.net.wire.ipv4 import PROTOCOL_TCP, emit_ipv4_header
    from tests.net.transport.tcp.siege import HIS_MAC

    world = Siege()
    client, server = world.pair()
    remote = server.channel.remote
    mac = world.b.ip.interfaces.get("eth0").mac

    def attack(step):
        for _ in range(10):
            data = world.random.randbytes(world.random.randrange(0, 60))
            header = emit_ipv4_header(remote[0], world.b.address, PROTOCOL_TCP, len(data))
            world.send(emit_ethernet(mac, HIS_MAC, ETHERTYPE_IPV4) + header + data)

    assert world.under(attack, client, server) < 300
    assert world.b.counter("malformed") + world.b.counter("bad_checksums") == 1000


def test_resets_and_syns_of_a_stranger_reach_only_his_own():
    t = established()
    for seq in range(0, 1 << 32, 1 << 27):
        t.send(1000 + (seq >> 27) * 600, Rst(seq + 12345), Syn(seq + 54321))
    t.state("ESTABLISHED")


# All connections together


def test_what_is_counted_as_held_is_what_is_there():
    """Random segments, reads, closes: the sum for all connections is right, and nothing is left when they are gone."""
    from random import Random

    from rumpkit.net.transport.tcp.block import Environment

    random = Random(7)
    environment = Environment()
    ends = [established(environment=environment) for _ in range(8)]
    data = random.randbytes(20_000)
    for step in range(1500):
        t = random.choice(ends)
        start = random.randrange(len(data) - 500)
        t.send(step, Data(1 + start, data[start : start + random.randrange(1, 500)]))
        if random.random() < 0.1:
            t.send(step, Data(t.block.rcv_nxt - t.block.irs, data[t.block.rcv_nxt - t.block.irs - 1 :][:700]))
        if random.random() < 0.3:
            t.read(random.randrange(2000))
        held = sum(one.connection.readable() + one.block.reassembly.bytes for one in ends)
        assert environment.held == held
        assert all(
            one.block.reassembly.bytes == sum(end - first for first, end in one.block.reassembly.ranges())
            for one in ends
        )
    for number, t in enumerate(ends):
        if number % 3 == 0:
            t.abort()
            t.read()
        elif number % 3 == 1:
            t.send(2000, Rst(t.block.rcv_nxt - t.block.irs))
            t.leave()
        else:
            t.leave()
    assert environment.held == 0


def test_a_part_of_what_is_there_already_does_not_keep_its_whole_segment():
    t = established()
    for number in range(50):
        t.send(10, Data(2 + number * 2, b"x"))
    for number in range(50):
        t.send(11, Data(2 + number * 2, b"y" * 2))
    kept = sum(len(chunk.body) for chunk in t.block.reassembly._chunks)
    assert kept <= 2 * t.block.reassembly.bytes + 50


def test_when_memory_is_short_windows_stay_small_and_everybody_goes_on():
    """Many connections that nobody reads fill what may be held; the rest have four segments at a time."""
    world = Siege(max_receive_memory=300_000)
    listener = world.b.socket()
    world.call(listener.bind, (bytes(4), 81))
    world.call(listener.listen, 50)
    hoarders = []
    for _ in range(12):
        hoarder = world.a.socket()
        world.call(hoarder.connect, (world.b.address, 81), world.now)
        hoarders.append((hoarder, world.call(listener.accept, world.now)))
        hoarders[-1][1].hold()
    client, server = world.pair()
    for hoarder, _ in hoarders:
        world.attempt(hoarder.send, bytes(400_000), 0, 0, None, world.now)
    world.run(5)
    held = world.b.tcp.environment.held
    assert 300_000 < held < 2 * 300_000 + 13 * 6000
    assert world.b.counter("memory_drops") > 0
    assert held == sum(one.readable() for _, one in hoarders) + server.readable()
    assert world.under(lambda step: None, client, server, 40_000) < 5000

    # Those who read get their windows back.
    for _, one in hoarders:
        world.attempt(one.receive, 1 << 20, 0, world.now)
    world.run(5)
    for hoarder, one in hoarders:
        world.call(one.release, world.now)
        world.call(hoarder.release, world.now)
    world.run(5)
    assert world.b.tcp.environment.held == server.readable()


def test_when_what_is_to_be_sent_fills_memory_everybody_goes_on():
    """Many peers that read nothing fill what may be queued; the rest have four segments at a time."""
    world = Siege()
    world.a.tcp.environment.settings.max_send_memory = 300_000
    listener = world.b.socket()
    world.call(listener.bind, (bytes(4), 81))
    world.call(listener.listen, 50)
    stuck = []
    for _ in range(12):
        sender = world.a.socket()
        world.call(sender.connect, (world.b.address, 81), world.now)
        stuck.append((sender, world.call(listener.accept, world.now)))
        stuck[-1][1].hold()
    client, server = world.pair()
    queued = 0
    for _ in range(40):
        for sender, _reader in stuck:
            taken = world.attempt(sender.send, bytes(60_000), 0, 0, None, world.now)
            queued += taken if isinstance(taken, int) else 0
        world.run(5)
    environment = world.a.tcp.environment
    assert 300_000 <= environment.queued < 300_000 + 60_000 + 13 * 6000
    assert environment.queued == sum(one.unacknowledged() for one, _ in stuck) + client.unacknowledged()
    assert world.under(lambda step: None, client, server, 40_000) < 5000

    # Where there is room again, they may queue as much as before, and are told.
    for sender, _reader in stuck[1:]:
        world.call(sender.abort, world.now)
        world.call(sender.release, world.now)
    sender, reader = stuck[0]
    assert environment.queued == sender.unacknowledged() + client.unacknowledged()
    world.attempt(reader.receive, 1 << 20, 0, world.now)
    world.run(500)
    assert sender.poll() & POLLOUT
    assert sender.space() > 6000
    for one in (sender, client):
        world.call(one.abort, world.now)
    assert environment.queued == 0


def test_out_of_order_data_is_dropped_when_memory_is_short():
    t = established(max_receive_memory=1000)
    t.send(10, Data(1, b"a" * 900))
    t.send(11, Data(1000, b"c" * 200))
    assert t.environment.held == 1100
    t.send(12, Data(2000, b"e" * 200))
    assert t.environment.counters.memory_drops == 1
    t.send(13, Data(901, b"b" * 99))
    assert len(t.read()) == 1199
    assert t.environment.held == 0
