"""Paths that swallow large segments without a word (RFC 4821, RFC 8899, RFC 2923)."""

import pytest

from rumpkit.net.transport.tcp.options import TcpOptions
from tests.net.tcp_world import World
from tests.net.transport.tcp.script import Ack, Script, SynAck, established

SIZES = [1460, 1448]


class Hole:
    """Stands on a wire of the switch and drops what is longer than `mtu`."""

    def __init__(self, port, mtu):
        from rumpkit.hyper.link import Receiver

        hole = self

        class Before(Receiver):
            def receive(self, frame, now):
                if len(frame) - 14 <= hole.mtu:
                    hole.inner.receive(frame, now)
                else:
                    hole.swallowed += 1

            def flush(self, now):
                hole.inner.flush(now)

        self.mtu = mtu
        self.inner = port.receiver
        self.swallowed = 0
        port.receiver = Before()


def world_with_hole(mtu, **settings):
    world = World(delay=5_000_000, features=0)
    for name, value in settings.items():
        world.a.kernel.sysctl.set("net.tcp." + name, value)
    client, server = world.pair()
    return world, client, server, Hole(world.switch._ports[1], mtu)


def send(world, client, server, size=60_000, limit=60):
    data = world.host.random(size)
    got = b""
    done = 0
    end = world.now + limit * 10**9
    while len(got) < size and world.now < end:
        if done < size:
            done += world.attempt(client.send, data, done, 0, None, world.now) or 0
        world.run(0.05)
        part = world.attempt(server.receive, 1 << 20, 0, world.now)
        got += part.data if part is not None else b""
    return got == data


# Black holes


@pytest.mark.parametrize("mtu", [1400, 1280, 1100])
def test_a_black_hole_is_found_and_got_round(mtu):
    world, client, server, hole = world_with_hole(mtu)
    assert send(world, client, server)
    assert world.a.counter("black_holes") == 1
    block = client.channel.connection.block
    assert block.snd_mss == 1024 - 12 or block.snd_mss > 1024
    assert block.snd_mss <= mtu - 52
    assert hole.swallowed > 0


def test_a_very_narrow_hole_takes_more_steps():
    world, client, server, _ = world_with_hole(600)
    assert send(world, client, server, 20_000, 120)
    assert world.a.counter("black_holes") == 2
    assert client.channel.connection.block.snd_mss <= 600 - 52


def test_without_the_sysctl_nothing_gets_through():
    """What the tests above would look like without it."""
    world, client, server, _ = world_with_hole(1400, mtu_probing=0)
    assert not send(world, client, server, 20_000, 30)
    assert world.a.counter("black_holes") == 0


def test_a_dead_path_is_no_black_hole_for_small_segments():
    """Only a segment that is larger than what would be tried instead is a reason."""
    t = established()
    t.write(b"x" * 500)
    t.at(60_000)
    assert t.environment.counters.timeouts > 3
    assert t.environment.counters.black_holes == 0
    assert t.block.search is None


def test_segments_shrink_at_the_third_time_out():
    t = Script(mss=1460)
    t.open()
    t.send(0, SynAck(mss=1460))
    t.write(bytes(5000))
    t.out.clear()
    sizes = []
    for second in range(1, 60):
        t.at(second * 1000)
        sizes += [segment.size for segment in t.out]
        t.out.clear()
    assert sizes[:2] == [1460, 1460]
    assert 1024 in sizes
    assert min(sizes) == 512
    assert t.environment.counters.black_holes >= 1


def test_the_floor():
    t = Script(mss=1460, mtu_probe_floor=300, retries=100)
    t.open()
    t.send(0, SynAck(mss=1460))
    t.write(bytes(5000))
    t.at(3_000_000)
    assert t.block.snd_mss == 300
    assert t.block.search.low == 300  # type: ignore[union-attr]


def test_what_was_small_because_of_a_hole_grows_again_when_it_has_gone():
    world, client, server, hole = world_with_hole(1200, mtu_probe_interval=2000)
    assert send(world, client, server)
    assert client.channel.connection.block.snd_mss <= 1148
    hole.mtu = 1500
    for _ in range(8):
        assert send(world, client, server, 100_000)
        world.run(3)
    assert client.channel.connection.block.snd_mss >= 1448 - 8
    assert world.a.counter("mtu_probes_succeeded") >= 1


# Probing


def test_probing_from_the_start_finds_the_whole_path():
    world = World(delay=5_000_000, features=0)
    world.a.kernel.sysctl.set("net.tcp.mtu_probing", 2)
    client, server = world.pair()
    assert client.channel.connection.block.snd_mss == 1024 - 12
    assert send(world, client, server, 300_000)
    assert client.channel.connection.block.snd_mss == 1448
    assert world.a.counter("mtu_probes_succeeded") == 1
    assert world.a.counter("mtu_probes_failed") == 0


@pytest.mark.parametrize("mtu", [1499, 1420, 1300, 1220, 1090])
def test_the_search_ends_close_to_the_truth(mtu):
    world = World(delay=5_000_000, features=0)
    world.a.kernel.sysctl.set("net.tcp.mtu_probing", 2)
    client, server = world.pair()
    hole = Hole(world.switch._ports[1], mtu)
    for _ in range(6):
        assert send(world, client, server, 200_000)
    found = client.channel.connection.block.snd_mss + 52
    assert mtu - 10 <= found <= mtu
    assert hole.swallowed == world.a.counter("mtu_probes_failed")


@pytest.mark.parametrize("sack", [0, 1])
def test_a_lost_probe_does_not_reduce_the_window(sack):
    world = World(delay=5_000_000, features=0)
    world.a.kernel.sysctl.set("net.tcp.mtu_probing", 2)
    world.a.kernel.sysctl.set("net.tcp.sack", sack)
    client, server = world.pair()
    Hole(world.switch._ports[1], 1200)
    assert send(world, client, server, 400_000)
    assert world.a.counter("mtu_probes_failed") >= 2
    assert world.a.counter("fast_retransmits") == 0
    assert world.a.counter("timeouts") == 0
    congestion = client.channel.connection.block.congestion
    assert congestion.threshold > 1 << 28, "still slow start: nothing counted as congestion"


def test_a_probe_carries_data_that_would_go_anyway():
    t = Script(mss=1460, mtu_probing=2, base_mss=500)
    t.open()
    t.send(0, SynAck(mss=1460))
    t.write(bytes(range(256)) * 60)
    payload = b"".join(segment.payload() for segment in t.out)
    assert (bytes(range(256)) * 60).startswith(payload)
    assert [segment.gso_size for segment in t.out if segment.size].count(1460) == 1
    assert {segment.gso_size for segment in t.out if segment.size} == {500, 1460}


def test_no_probe_without_followers_and_none_beyond_the_window():
    t = Script(mss=1460, mtu_probing=2, base_mss=500)
    t.open()
    t.send(0, SynAck(mss=1460, window=2500))
    t.write(bytes(2000))
    assert t.environment.counters.mtu_probes == 0
    t.write(bytes(100_000))
    assert t.environment.counters.mtu_probes == 0


def test_one_probe_at_a_time():
    t = Script(mss=1460, mtu_probing=2, base_mss=500)
    t.open()
    t.send(0, SynAck(mss=1460))
    t.write(bytes(100_000))
    assert t.environment.counters.mtu_probes == 1
    t.send(10, Ack(1, 501))
    assert t.environment.counters.mtu_probes == 1


def test_the_users_limit_is_a_ceiling():
    options = TcpOptions()
    options.max_segment = 700
    t = Script(options=options, mss=1460, mtu_probing=2, base_mss=500)
    t.open()
    t.send(0, SynAck(mss=1460))
    t.write(bytes(100_000))
    assert max(min(segment.size, segment.gso_size) for segment in t.out) == 700


def test_a_router_that_does_speak_is_believed_at_once():
    from rumpkit.kern.abi.errno import EMSGSIZE

    t = Script(mss=1460, mtu_probing=2, base_mss=500)
    t.open()
    t.send(0, SynAck(mss=1460))
    t.write(bytes(100_000))
    t.icmp(1, EMSGSIZE, 900)
    assert t.block.path_mss == 900
    assert t.block.snd_mss == 500
    for step in range(40):
        t.send(20 + step, Ack(1, 1 + min(t.block.snd_max - t.block.iss - 1, 500 * (step + 1))))
    assert t.block.snd_mss <= 900
