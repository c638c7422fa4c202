"""Kernels on a bad network: loss, duplicates and delays of single segments, with every offload and with none."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rumpkit.hyper.link import Receiver
from rumpkit.net.wire.offload import finish
from tests.net.tcp_world import World


class BadWire(Receiver):
    """Stands before a node's interface; super-segments are taken apart first, as any egress would."""

    def __init__(self, world, index, loss, twice, late):
        self.port = world.switch._ports[index]
        self.inner = self.port.receiver
        self.port.receiver = self
        self.world = world
        self.loss, self.twice, self.late = loss, twice, late
        self.random = Random(index + world.seed)
        self.on = True

    def receive(self, frame, now):
        for part in finish(frame, 1):
            chance = self.random.random
            if self.on and chance() < self.loss:
                continue
            for _ in range(2 if self.on and chance() < self.twice else 1):
                if self.on and chance() < self.late:
                    self.world.host.post(self.inner, part, self.random.randrange(30_000_000))
                else:
                    self.inner.receive(part, now)

    def flush(self, now):
        self.inner.flush(now)


def bad_world(seed, loss, twice, late, features):
    world = World(seed, delay=2_000_000, features=features)
    client, server = world.pair()
    for index in (0, 1):
        BadWire(world, index, loss, twice, late)
    return world, client, server


@pytest.mark.parametrize("features", [0, 7])
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 1 << 30), loss=st.sampled_from((0.0, 0.01, 0.1)), late=st.sampled_from((0.0, 0.05)))
def test_transfers_are_exact_and_connections_end(features, seed, loss, late):
    world, client, server = bad_world(seed, loss, 0.02, late, features)
    there, back = world.host.random(200_000), world.host.random(50_000)
    world.transfer(client, server, there)
    world.transfer(server, client, back)
    world.call(client.release, world.now)
    assert world.receive_all(server) == b""
    world.call(server.release, world.now)
    world.run()
    for node in (world.a, world.b):
        assert not node.tcp.channels
        assert node.tcp.orphans == node.tcp.time_waits == 0


def test_one_percent_of_loss_does_not_stop_the_flow():
    """Fast retransmit mends single losses: a transfer takes round trips, not timeouts."""
    world, client, server = bad_world(5, 0.01, 0.0, 0.0, 7)
    world.transfer(client, server, bytes(3_000_000))
    assert world.a.counter("fast_retransmits") > 5
    assert world.now < 20_000_000_000
