"""Identifications of packets that may be fragmented (RFC 6864)."""

from rumpkit.hosts.sim.host import SimHost
from rumpkit.net.ip.identification import Identifications


def test_each_value_comes_once_in_a_round():
    identifications = Identifications(SimHost(1))
    values = [identifications.next() for _ in range(65536)]
    assert sorted(values) == list(range(65536))
    assert identifications.next() == values[0]


def test_the_order_is_secret():
    rounds = []
    for seed in (1, 2):
        identifications = Identifications(SimHost(seed))
        rounds.append([identifications.next() for _ in range(1000)])
    assert sum(one == other for one, other in zip(*rounds, strict=True)) < 5
    steps = {(after - before) & 0xFFFF for before, after in zip(rounds[0], rounds[0][1:], strict=False)}
    assert len(steps) > 500
