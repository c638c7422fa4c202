"""SYN floods: a listener's memory stays as it is, and people still get in (RFC 4987)."""

import pytest

from tests.net.transport.tcp.siege import Siege


def besieged(**settings):
    world = Siege(**settings)
    listener = world.b.socket()
    world.call(listener.bind, (bytes(4), 80))
    world.call(listener.listen, 100)
    return world, listener


def connected(world, listener):
    client = world.a.socket()
    world.call(client.connect, (world.b.address, 80), world.now)
    server = world.call(listener.accept, world.now)
    server.hold()
    return client, server


@pytest.mark.parametrize("mode", [1, 2])
def test_a_flood_leaves_room_for_who_is_real(mode):
    world, listener = besieged(syncookies=mode, max_syn_backlog=64)
    early = connected(world, listener)
    for _ in range(2000):
        world.syn()
    world.run(0.01)
    assert len(listener.listener.half_open) == (64 if mode == 1 else 0)
    assert len(world.b.tcp.channels) <= 65
    assert world.b.counter("syncookies_sent") - 2000 + len(listener.listener.half_open) in (0, 1)

    # In the middle of it somebody comes, and who was there before goes on.
    began = world.now
    for _ in range(200):
        world.syn()
    late = connected(world, listener)
    assert world.now - began < 20_000_000
    assert world.b.counter("syncookies_received") >= 1
    for client, server in (early, late):
        took = world.under(lambda step: [world.syn() for _ in range(10)], client, server)
        assert took < 200
    assert len(world.b.tcp.channels) <= 66


def test_without_cookies_who_is_real_has_to_wait():
    """What the flood does where cookies are off: the comparison that makes the test above worth something."""
    world, listener = besieged(syncookies=0, max_syn_backlog=64)
    for _ in range(200):
        world.syn()
    world.run(0.01)
    client = world.a.socket()
    world.attempt(client.connect, (world.b.address, 80), world.now)
    for _ in range(100):
        world.syn()
        world.run(0.01)
    assert not listener.listener.ready
    assert world.b.counter("listen_drops") >= 100


def test_half_open_connections_go_by_themselves():
    world, listener = besieged(max_syn_backlog=64)
    for _ in range(300):
        world.syn()
    world.run(130)
    assert not listener.listener.half_open
    assert not world.b.tcp.channels
    assert world.b.counter("failed_attempts") == 64


def test_many_listeners_each_have_their_limit():
    world = Siege(max_syn_backlog=16)
    listeners = []
    for port in range(8000, 8008):
        listener = world.b.socket()
        world.call(listener.bind, (bytes(4), port))
        world.call(listener.listen, 100)
        listeners.append(listener)
    for step in range(1000):
        world.syn(to=8000 + step % 8)
    world.run(0.01)
    assert [len(listener.listener.half_open) for listener in listeners] == [16] * 8  # type: ignore[union-attr]
    assert len(world.b.tcp.channels) == 128


def test_acks_with_guessed_cookies_open_nothing():
    """2**32 guesses for each connection; here a few thousand, all refused and counted."""
    from rumpkit.net.wire.segment import ACK, Segment

    world, listener = besieged(syncookies=2)
    world.syn()
    for _ in range(3000):
        guess = Segment(world.random.getrandbits(32), world.random.getrandbits(32), ACK, 1000)
        world.forge(guess, b"\x0a\0\0\x07", 7777, 80)
    world.run(0.01)
    assert not listener.listener.ready
    assert world.b.counter("syncookies_failed") == 3000
    assert not world.b.tcp.channels


def test_accepted_and_never_read_connections_stop_at_the_backlog():
    """Real handshakes, from one real host, that nobody accepts."""
    world, listener = besieged(syncookies=2)
    listener.listener.backlog = 20
    clients = []
    for _ in range(60):
        client = world.a.socket()
        world.attempt(client.connect, (world.b.address, 80), world.now)
        clients.append(client)
    world.run(1)
    assert len(listener.listener.ready) == 21
    assert len(world.b.tcp.channels) == 21
    assert world.b.counter("listen_overflows") + world.b.counter("listen_drops") > 0


def test_no_listener_costs_nothing_but_resets():
    world = Siege()
    for _ in range(500):
        world.syn(to=9999)
    world.run(0.01)
    assert not world.b.tcp.channels
    assert world.b.counter("resets_sent") == 500
