"""What TCP makes of bad paths, in simulated time: goodput under loss and reordering, long fat paths, and fairness.

Seeds make every figure the same each time; the bounds leave room for changes that are no worse.
"""

from math import sqrt

import pytest

from rumpkit.lab.switch import Switch
from rumpkit.lab.world import simulate
from rumpkit.net.link.impairment import ImpairmentConfig

PORT = 80
MSS = 1448
CUBIC: dict[str, int] = {}
NEWRENO = {"net.tcp.congestion": 1, "net.tcp.sack": 0}
MEGABIT = 1_000_000


class Flow:
    """A transfer of `size` bytes between two kernels, with the time at which each part of it had arrived."""

    def __init__(self, world, sender, receiver, size, port=PORT):
        self.world = world
        self.size = size
        self.marks = [(world.now, 0)]
        self.address = world.address(receiver)
        self.port = port
        self.kernel = sender
        self.sender = sender.process()
        self.receiver = receiver.process()
        listener = self.receiver.listen("tcp", port)
        self.done = world.spawn(self._receive, listener)
        self.sending = world.spawn(self._send)

    def _send(self):
        client = self.sender.connect("tcp", (self.address, self.port))
        block = bytes(1 << 18)
        left = self.size
        while left:
            left -= self.sender.send(client.fileno(), block[: min(left, len(block))])
        client.close()

    def _receive(self, listener):
        session, _ = listener.accept()
        got = 0
        while data := self.receiver.recv(session.fileno(), 1 << 20):
            got += len(data)
            self.marks.append((self.world.now, got))
        assert got == self.size

    def join(self):
        self.sending.join()
        self.done.join()
        return self

    def rate(self, first=0.0, last=1.0):
        """Bits a second while the part of it from `first` to `last` arrived."""
        inside = [mark for mark in self.marks if first * self.size <= mark[1] <= last * self.size]
        return (inside[-1][1] - inside[0][1]) * 8 / (inside[-1][0] - inside[0][0])

    def received(self, since, until):
        """Bytes that arrived between two instants."""
        inside = [mark[1] for mark in self.marks if since <= mark[0] <= until]
        return inside[-1] - inside[0] if inside else 0

    def count(self, name):
        return self.kernel.core.counters.get(f"tcp.{name}")


def transfer(size, sysctl, seed=1, queue=1 << 20, **path):
    with simulate(seed=seed) as world:
        lan = Switch(offload=False, **path)
        a, b = world.kernel(link=lan, sysctl=sysctl), world.kernel(link=lan, sysctl=sysctl)
        for cable in world.lan(lan).cables:
            config = lan.config()
            cable.config = ImpairmentConfig(
                delay=config.delay, rate=config.rate, reorder_delay=config.reorder_delay, queue_bytes=queue
            )
            cable.config.loss, cable.config.reorder = config.loss, config.reorder
        return Flow(world, a, b, size).join()


def goodput(size, sysctl, seeds=(1, 2), **path):
    """Mean bits a second over some seeds."""
    return sum(transfer(size, sysctl, seed, **path).rate() for seed in seeds) / len(seeds)


@pytest.mark.parametrize(
    ("loss", "delay", "size", "share", "advantage"),
    [
        (0.01, "10ms", 3_000_000, 0.9, 1.0),
        (0.05, "10ms", 1_000_000, 0.6, 1.5),
        (0.01, "100ms", 1_500_000, 1.0, 1.0),
        (0.05, "100ms", 500_000, 0.7, 1.4),
    ],
)
def test_random_loss(loss, delay, size, share, advantage):
    """At least most of what the square root law gives Reno (Mathis and others), and more than NewReno without SACK."""
    path = {"loss": loss, "delay": delay, "rate": 100 * MEGABIT}
    ours = goodput(size, CUBIC, **path)
    law = sqrt(1.5) * MSS * 8 / (0.02 if delay == "10ms" else 0.2) / sqrt(loss)
    assert ours >= share * law, f"{ours / 1e6:.2f} Mbit/s of {law / 1e6:.2f}"
    theirs = goodput(size, NEWRENO, **path)
    assert ours >= advantage * theirs, f"{ours / 1e6:.2f} Mbit/s against {theirs / 1e6:.2f}"


@pytest.mark.parametrize("sysctl", [CUBIC, {"net.tcp.timestamps": 0}])
def test_reordering_is_not_taken_for_loss(sysctl):
    """A twentieth of all packets comes 5 ms late: the reordering window, and taking back what was wrong, by timestamps or D-SACK."""
    path = {"delay": "10ms", "rate": 50 * MEGABIT, "reorder": 0.05, "reorder_delay": "5ms"}
    flow = transfer(3_000_000, sysctl, queue=4 << 20, **path)
    assert flow.rate(0.3) >= 0.9 * 50 * MEGABIT
    assert flow.count("retransmits") <= 40
    assert flow.count("timeouts") == 0


def test_a_lossless_path_is_filled():
    flow = transfer(5_000_000, CUBIC, delay="10ms", rate=50 * MEGABIT, queue=4 << 20)
    assert flow.rate(0.3) >= 0.93 * 50 * MEGABIT
    assert flow.count("retransmits") == 0


def test_a_small_queue_is_filled_and_overflows_gently():
    """A queue of half a path: CUBIC keeps it busy."""
    flow = transfer(8_000_000, CUBIC, delay="20ms", rate=20 * MEGABIT, queue=50_000)
    assert flow.rate(0.4) >= 0.85 * 20 * MEGABIT
    assert flow.count("retransmits") < 0.03 * 8_000_000 / MSS
    assert flow.count("timeouts") == 0


def test_a_long_fat_path_is_filled():
    """1 Gbit/s and 200 ms: 25 MB in flight, which both buffers have to grow to, and a queue of 8 MiB that slow start overruns."""
    flow = transfer(120_000_000, CUBIC, delay="100ms", rate=1000 * MEGABIT, mtu=9000, queue=8 << 20)
    assert flow.rate(0.4, 0.9) >= 0.9 * 1000 * MEGABIT
    assert flow.count("timeouts") == 0


@pytest.mark.parametrize("sysctl", [CUBIC, {"net.tcp.congestion": 1}])
def test_two_flows_share_a_path(sysctl):
    """Jain's index of what they get once both are up."""
    rate = 4 * MEGABIT
    with simulate(seed=3) as world:
        lan = Switch(offload=False, delay="10ms", rate=rate)
        a, b = world.kernel(link=lan, sysctl=sysctl), world.kernel(link=lan, sysctl=sysctl)
        for cable in world.lan(lan).cables:
            cable.config = ImpairmentConfig(delay=lan.config().delay, rate=rate, queue_bytes=30_000)
        first = Flow(world, a, b, 1 << 30, PORT)
        world.sleep("1s")
        second = Flow(world, a, b, 1 << 30, PORT + 1)
        world.sleep("40s")
        now = world.now
        got = [flow.received(now - 30, now) for flow in (first, second)]
        assert sum(got) * 8 / 30 >= 0.9 * rate
        assert sum(got) ** 2 / (2 * sum(one * one for one in got)) >= 0.95, got
        first.sending.cancel()
        second.sending.cancel()
