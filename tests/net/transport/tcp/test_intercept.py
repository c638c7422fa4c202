"""Requests for hosts that are elsewhere: asked about, then accepted, refused or unreachable."""

import pytest

from rumpkit.kern.abi.errno import ECONNREFUSED, EHOSTUNREACH, EINVAL
from rumpkit.net.transport.tcp.intercept import Interceptor
from tests.net.tcp_world import World

ELSEWHERE = (b"\x5d\xb8\xd8\x22", 443)


class Gateway(Interceptor):
    def __init__(self):
        self.asked = []
        self.gone = []

    def syn(self, pending):
        self.asked.append(pending)

    def withdrawn(self, pending):
        self.gone.append(pending)


def world_with_gateway():
    world = World(delay=1_000_000)
    world.a.ip.add_route("default", "10.0.0.2")
    world.b.ip.v4.settings.accept_any_destination = 1
    gateway = Gateway()
    world.b.tcp.intercept(gateway)
    return world, gateway


def request(world):
    client = world.a.socket()
    world.attempt(client.connect, ELSEWHERE, world.now)
    return client


def test_nothing_is_answered_until_accepted():
    world, gateway = world_with_gateway()
    client = request(world)
    world.run(4)
    [pending] = gateway.asked
    assert pending.local == ELSEWHERE
    assert pending.remote == client.local_address()
    assert world.b.counter("segments_out") == 0
    assert world.b.counter("segments_in") == 3
    server = world.call(pending.accept)
    server.hold()
    assert world.call(server.put, b"greeting", world.now) == 8
    world.run(1)
    assert world.receive_all(client, 8) == b"greeting"
    assert client.peer_address() == ELSEWHERE
    world.transfer(client, server, bytes(100_000))
    assert not world.b.tcp._pending


def test_refused():
    world, gateway = world_with_gateway()
    client = request(world)
    world.run(0.1)
    world.call(gateway.asked[0].refuse)
    world.run(0.1)
    assert client.reset_by() == ECONNREFUSED


def test_unreachable():
    world, gateway = world_with_gateway()
    client = request(world)
    world.run(0.1)
    world.call(gateway.asked[0].unreachable, 1)
    world.run(0.1)
    assert client.reset_by() == EHOSTUNREACH


def test_an_answer_counts_once():
    world, gateway = world_with_gateway()
    request(world)
    world.run(0.1)
    [pending] = gateway.asked
    world.call(pending.drop)
    for late in (pending.accept, pending.refuse, pending.drop, lambda: pending.unreachable(0)):
        with pytest.raises(OSError) as caught:
            world.call(late)
        assert caught.value.errno == EINVAL


def test_requests_end_by_themselves():
    world, gateway = world_with_gateway()
    client = request(world)
    world.run(0.1)
    world.call(client.release, world.now)
    world.run(61)
    assert gateway.gone == gateway.asked
    assert not world.b.tcp._pending
    with pytest.raises(OSError):
        world.call(gateway.asked[0].accept)


def test_requests_have_a_limit():
    world, gateway = world_with_gateway()
    world.b.kernel.sysctl.set("net.tcp.max_pending", 2)
    for _ in range(5):
        request(world)
    world.run(0.1)
    assert len(gateway.asked) == 2
    assert world.b.counter("pending_overflows") == 3


def test_listeners_come_first():
    world, gateway = world_with_gateway()
    client, server = world.pair(443)
    world.send_all(client, b"x")
    assert world.receive_all(server, 1) == b"x"
    assert not gateway.asked


def test_segments_of_old_connections_are_reset():
    world, gateway = world_with_gateway()
    client = request(world)
    world.run(0.1)
    server = world.call(gateway.asked[0].accept)
    server.hold()
    world.run(0.1)
    channel = server.channel
    world.b.tcp.channels.pop(channel.key)
    world.send_all(client, b"are you there?")
    world.run(0.1)
    assert client.reset_by()
    assert len(gateway.asked) == 1


def test_a_gone_client_meets_the_late_answer():
    world, gateway = world_with_gateway()
    client = request(world)
    world.run(0.1)
    world.call(client.release, world.now)
    server = world.call(gateway.asked[0].accept)
    server.hold()
    world.run(0.1)
    assert server.reset_by()
