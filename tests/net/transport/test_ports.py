"""Local ports: bind(2)'s rules of sharing, and ephemeral ports that nobody can guess."""

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.kern.abi.errno import EADDRINUSE, EADDRNOTAVAIL
from rumpkit.net.transport.ports import PortAllocator, PortSettings

ANY = bytes(4)
A = b"\x0a\0\0\1"
B = b"\x0a\0\0\2"


def allocator(seed=1, first=32768, last=60999):
    settings = PortSettings()
    settings.ephemeral_first, settings.ephemeral_last = first, last
    return PortAllocator(SimHost(seed), settings)


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        (A, A, False),
        (A, B, True),
        (ANY, A, False),
        (A, ANY, False),
        (ANY, ANY, False),
    ],
)
def test_overlapping_addresses_conflict(one, other, fits):
    ports = allocator()
    ports.bind(one, 80)
    if fits:
        ports.bind(other, 80)
    else:
        fails(EADDRINUSE, ports.bind, other, 80)
    ports.bind(other, 81)


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        ((True, False, 0), (True, False, 0), True),
        ((True, False, 0), (False, False, 0), False),
        ((False, True, 0), (False, True, 0), True),
        ((False, True, 1), (False, True, 2), False),
        ((False, True, 0), (True, False, 0), False),
        ((True, True, 1), (True, True, 2), True),
    ],
)
def test_sharing_must_be_mutual(one, other, fits):
    ports = allocator()
    ports.bind(A, 80, *one)
    if fits:
        ports.bind(ANY, 80, *other)
    else:
        fails(EADDRINUSE, ports.bind, ANY, 80, *other)


def test_a_listener_shares_its_port_only_by_reuseport():
    ports = allocator()
    listener = ports.bind(A, 80, True)
    ports.listen(listener)
    fails(EADDRINUSE, ports.bind, A, 80, True)
    ports.unlisten(listener)
    other = ports.bind(A, 80, True)
    ports.listen(other)
    fails(EADDRINUSE, ports.listen, listener)
    grouped = allocator()
    for _ in range(2):
        grouped.listen(grouped.bind(A, 80, False, True))


def test_connections_hold_their_listener_s_port():
    ports = allocator()
    listener = ports.bind(ANY, 80)
    ports.listen(listener)
    ports.hold(listener)  # an accepted connection
    ports.unlisten(listener)
    ports.release(listener)
    fails(EADDRINUSE, ports.bind, ANY, 80)
    assert ports.bound(80)
    ports.release(listener)
    assert not ports.bound(80)
    ports.bind(ANY, 80)


def test_ephemeral_ports_are_in_range_distinct_and_differ_by_seed():
    drawn = []
    for seed in (1, 2):
        ports = allocator(seed)
        drawn.append([ports.bind(ANY, 0).port for _ in range(100)])
        assert len(set(drawn[-1])) == 100
        assert all(32768 <= port <= 60999 for port in drawn[-1])
    assert drawn[0] != drawn[1]
    steps = {after - before for before, after in zip(drawn[0], drawn[0][1:], strict=False)}
    assert len(steps) > 90


def test_every_ephemeral_port_can_be_had_and_then_no_more():
    ports = allocator(first=5000, last=5009)
    held = [ports.bind(ANY, 0) for _ in range(10)]
    assert sorted(binding.port for binding in held) == list(range(5000, 5010))
    fails(EADDRINUSE, ports.bind, ANY, 0)
    fails(EADDRINUSE, ports.bind, A, 0, True, True)  # an ephemeral port is never a shared one
    ports.release(held[3])
    assert ports.bind(A, 0).port == held[3].port


def test_unbound_connections_choose_what_neither_binding_nor_connection_has():
    ports = allocator(first=5000, last=5003)
    ports.bind(A, 5000)
    assert {ports.choose(lambda port: port == 5001) for _ in range(50)} == {5002, 5003}
    fails(EADDRNOTAVAIL, ports.choose, lambda port: True)
