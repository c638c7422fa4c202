"""The layer between frames and connections: demultiplexing, damage, ICMP, changing paths, what is counted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rumpkit.hyper.calls import Waiter
from rumpkit.hyper.frame import CHECKSUM_UNVERIFIED, Frame
from rumpkit.hyper.link import Receiver
from rumpkit.hyper.time import MILLISECOND
from rumpkit.kern.abi.errno import EHOSTUNREACH, EMSGSIZE
from rumpkit.kern.abi.socket import SO_RCVBUF, SOL_SOCKET
from rumpkit.net.transport.tcp.isn import SequenceNumbers
from rumpkit.net.wire.offload import complete_checksum
from tests.net.tcp_world import World


class Damager(Receiver):
    """Stands before a receiver and changes what comes by."""

    def __init__(self, port, change):
        assert port.receiver is not None
        self.inner = port.receiver
        self.change = change
        port.receiver = self

    def receive(self, frame, now):
        for one in self.change(frame):
            self.inner.receive(one, now)

    def flush(self, now):
        self.inner.flush(now)


def port_of(world, index):
    return world.switch._ports[index]


def edited(frame, changes):
    head = bytearray(frame.head)
    for offset, value in changes:
        head[offset % len(head)] = value
    return frame.like(bytes(head))


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(
        st.integers(0, 40),
        st.lists(st.tuples(st.integers(14, 80), st.integers(0, 255)), min_size=1, max_size=4),
        max_size=20,
    ),
    st.booleans(),
)
def test_damaged_headers_never_raise_and_never_touch_another_connection(damage, verified):
    """Every byte of the IP and TCP headers of one connection's frames, with the checksum believed or checked."""
    world = World(features=0 if not verified else 7)
    victim, victim_peer = world.pair(80)
    other, other_peer = world.pair(81)
    count = 0

    def change(frame):
        nonlocal count
        head = frame.head
        if len(head) < 38 or head[36:38] != b"\0\x50":
            return [frame]
        count += 1
        return [edited(frame, damage[count])] if count in damage else [frame]

    Damager(port_of(world, 1), change)
    data = bytes(range(256)) * 20
    before = other_peer.channel.connection.block.rcv_nxt
    for start in range(0, len(data), 500):
        world.attempt(victim.put, data[start : start + 500], world.now)
        world.run(0.01)
    world.run(0.5)
    assert other_peer.channel.connection.block.rcv_nxt == before
    assert other_peer.readable() == 0
    world.send_all(other, data)
    assert world.receive_all(other_peer, len(data)) == data
    assert other.reset_by() == other_peer.reset_by() == 0
    if not verified:
        # A damaged segment is caught by a checksum, so what did arrive is right.
        got = world.attempt(victim_peer.receive, 1 << 20, 0, world.now) if victim_peer.readable() else None
        assert got is None or data.startswith(got.data)


@pytest.mark.rfc("9293", "MUST-3")
def test_a_bad_checksum_is_counted_and_mended_by_a_retransmission():
    world = World(features=0, delay=1_000_000)
    client, server = world.pair()
    broken: list[Frame] = []

    def change(frame):
        if not broken and len(frame) > 500:
            broken.append(frame)
            linear = bytearray(frame.linear())
            linear[-1] ^= 1
            return [Frame(bytes(linear))]
        return [frame]

    Damager(port_of(world, 1), change)
    data = world.host.random(30_000)
    world.transfer(client, server, data)
    assert world.b.counter("bad_checksums") == 1
    assert world.a.counter("retransmits") >= 1


@pytest.mark.rfc("9293", "MUST-2")
def test_partial_checksums_on_the_wire_are_complete():
    world = World(features=0)
    client, server = world.pair()
    seen = []

    def change(frame):
        seen.append(frame)
        return [frame]

    Damager(port_of(world, 1), change)
    world.transfer(client, server, bytes(10_000))
    assert all(frame.checksum == CHECKSUM_UNVERIFIED for frame in seen)
    assert all(complete_checksum(frame) is frame for frame in seen)
    assert world.b.counter("bad_checksums") == 0


def test_segments_in_frames_without_a_body():
    """What comes from a wire is one run of bytes."""
    world = World(features=0)
    client, server = world.pair()
    Damager(port_of(world, 1), lambda frame: [Frame(frame.linear() + bytes(7))])
    world.transfer(client, server, world.host.random(100_000))


def test_syn_and_fin_together_open_nothing():
    world = World()
    listener = world.b.socket()
    world.call(listener.bind, (bytes(4), 80))
    world.call(listener.listen, 5)
    Damager(port_of(world, 1), lambda frame: [edited(frame, [(47, 3)])] if len(frame.head) > 60 else [frame])
    world.attempt(world.a.socket().connect, (world.b.address, 80), world.now)
    world.run(0.5)
    assert world.b.counter("segments_in") == 1
    assert world.b.counter("segments_out") == 0


def test_malformed_segments_are_counted():
    world = World()
    client, server = world.pair()
    Damager(port_of(world, 1), lambda frame: [edited(frame, [(46, 0x10)])])
    world.send_all(client, b"x")
    world.run(0.1)
    assert world.b.counter("malformed") >= 1
    assert server.readable() == 0


@pytest.mark.rfc("9293", "MUST-54")
def test_icmp_errors_reach_their_connection():
    world = World(delay=1_000_000)
    client, _ = world.pair()
    world.send_all(client, bytes(1000))
    channel = client.channel
    block = channel.connection.block
    quoted = (
        channel.local[1].to_bytes(2, "big")
        + channel.remote[1].to_bytes(2, "big")
        + (block.snd_una & 0xFFFFFFFF).to_bytes(4, "big")
    )
    tcp = world.a.tcp
    world.call(tcp.error, world.a.address, world.b.address, quoted, EHOSTUNREACH, 0, world.now)
    assert block.soft_error == EHOSTUNREACH
    world.call(tcp.error, world.a.address, world.b.address, quoted, EMSGSIZE, 600, world.now)
    world.run(0.0001)
    assert block.snd_mss == 600 - 40 - 12
    assert world.a.counter("retransmits") == 2
    for nonsense in (b"", quoted[:7], bytes(8)):
        world.call(tcp.error, world.a.address, world.b.address, nonsense, EHOSTUNREACH, 0, world.now)


def test_a_path_that_narrows_under_way():
    """A router's "fragmentation needed" makes segments smaller, and the transfer goes on."""
    world = World(delay=1_000_000, features=0)
    client, server = world.pair()
    world.transfer(client, server, bytes(20_000))
    narrow = 700

    def change(frame):
        if len(frame) - 14 > narrow:
            channel = client.channel
            head = frame.linear()
            world.a.tcp.error(channel.local[0], channel.remote[0], head[34:42], EMSGSIZE, narrow, world.now)
            return []
        return [frame]

    Damager(port_of(world, 1), change)
    world.transfer(client, server, world.host.random(50_000))
    assert client.channel.connection.block.snd_mss == narrow - 52


@pytest.mark.rfc("9293", "MUST-8", "MUST-9", "SHLD-1")
def test_initial_sequence_numbers():
    """RFC 6528: later is more, others' numbers say nothing; RFC 7323 7.1: one clock for all connections of two hosts."""
    numbers = SequenceNumbers(bytes(32))
    key = bytes(range(12))
    first = numbers.initial(key, 10**9)
    assert numbers.initial(key, 10**9 + 4096) == (first + 1) % 2**32
    assert numbers.initial(key[:11] + b"x", 10**9) != first
    assert SequenceNumbers(b"x" * 32).initial(key, 10**9) != first
    assert numbers.clock(key[:8]) == numbers.clock(key[:8])
    assert numbers.clock(key[:8]) != numbers.clock(key[1:9])


def test_counters_and_sysctls_are_listed():
    world = World()
    world.pair()
    counters = dict(world.a.kernel.counters)
    assert counters["tcp.active_opens"] == 1
    assert dict(world.b.kernel.counters)["tcp.passive_opens"] == 1
    for setting in world.a.kernel.sysctl:
        if setting.name.startswith("net.tcp."):
            assert setting.low <= setting.value <= setting.high, setting
            world.a.kernel.sysctl.set(setting.name, setting.value)


class Broken(Waiter):
    """Has a bug."""

    def wake(self):
        raise ValueError("a bug")


class Woken(Waiter):
    def __init__(self):
        self.times = 0

    def wake(self):
        self.times += 1


def test_a_connection_that_raises_keeps_no_other_of_its_batch_waiting():
    world = World()
    pairs = [world.pair(port) for port in (80, 81)]
    (client, server), (other_client, other_server) = pairs
    woken = Woken()
    server.queue.add(Broken())
    other_server.queue.add(woken)
    world.host.enter()
    client.send(b"x", 0, 0, None, world.now)
    other_client.send(b"y", 0, 0, None, world.now)
    with pytest.raises(ValueError, match="a bug"):
        world.host.leave()
    assert woken.times == 1
    world.run(5)
    assert woken.times == 1
    assert world.receive_all(other_server, 1) == b"y"
    assert world.receive_all(server, 1) == b"x"
    assert client.unacknowledged() == other_client.unacknowledged() == 0


def test_what_came_before_the_accept_is_acknowledged_when_it_was_read():
    """A timer that waits for a user comes forward when there is one."""
    world = World()
    listener = world.b.socket()
    world.call(listener.bind, (bytes(4), 80))
    world.call(listener.listen, 4)
    client = world.a.socket()
    world.call(client.connect, (world.b.address, 80), world.now)
    world.send_all(client, b"asked")
    world.run(0.01)
    assert client.unacknowledged() == 5
    server = world.call(listener.accept, world.now)
    world.run(0.01)
    assert client.unacknowledged() == 5
    assert world.call(server.receive, 9, 0, world.now).data == b"asked"
    world.run(0.002)
    assert client.unacknowledged() == 0
    world.send_all(client, b"again")
    world.run(0.002)
    assert client.unacknowledged() == 0


@pytest.mark.parametrize("mtu", [576, 1500, 65535])
@pytest.mark.parametrize("room", [0, 2048, 32768, 65535, 65536, 1 << 20])
def test_no_sender_waits_for_a_window_that_nobody_tells_it_of(mtu: int, room: int) -> None:
    """Data comes before the accept, and is read in small or large parts: between two of them there is never more than a delayed
    acknowledgement, whatever part of the first window the sender has used (RFC 9293 3.8.6.2.1: it may wait for half of one)."""
    for early, part in ((1, 1 << 20), (1460, 500), (32767, 1), (32768, 1 << 20), (65535, 32768)):
        world = World(mtu=mtu, delay=MILLISECOND // 10)
        listener = world.b.socket()
        world.call(listener.bind, (bytes(4), 80))
        if room:
            listener.set_option(SOL_SOCKET, SO_RCVBUF, room.to_bytes(4, "little"))
        world.call(listener.listen, 4)
        client = world.a.socket()
        world.call(client.connect, (world.b.address, 80), world.now)
        data = bytes(range(250)) * 600
        sent = world.attempt(client.send, data[:early], 0, 0, None, world.now) or 0
        world.run(0.005)
        server = world.call(listener.accept, world.now)
        got = bytearray(world.call(server.receive, part, 0, world.now).data)
        last = world.now
        while len(got) < len(data):
            sent += world.attempt(client.send, data[sent : sent + 65536], 0, 0, None, world.now) or 0
            found = world.attempt(server.receive, max(part, 500), 0, world.now)
            if found is None:
                world.run(0.0001)
                assert world.now - last < 45 * MILLISECOND, (early, part, len(got), sent)
            else:
                got += found.data
                last = world.now
        assert got == data
