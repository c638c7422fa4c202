"""Bad links: each kind of trouble, by count, by time, and repeatably."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import CHECKSUM_UNVERIFIED, CHECKSUM_VERIFIED, Frame
from rumpkit.hyper.link import LinkPort, Receiver
from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.net.link.impairment import DROP, PASS, PLAN, ImpairedPort, Impairment, ImpairmentConfig
from rumpkit.net.wire.arp import REQUEST, ArpPacket
from rumpkit.net.wire.ethernet import ETHERTYPE_ARP, ETHERTYPE_IPV4, emit_ethernet
from rumpkit.net.wire.offload import verify
from tests.net.lan import packet
from tests.net.link.test_pcapng import super_frame


def frame(number=0, size=100):
    head = emit_ethernet(bytes(6), bytes(6), ETHERTYPE_IPV4) + number.to_bytes(4, "big")
    return Frame(head + bytes(size - len(head)))


def number(of):
    return int.from_bytes(of.head[14:18], "big")


def impaired(seed=1, **config):
    host = SimHost(seed)
    return host, Impairment(host, ImpairmentConfig(**config))


def test_a_good_link_changes_nothing():
    _, link = impaired()
    one = frame()
    passages = link.plan(one, 5)
    assert [(passage.frame, passage.delay) for passage in passages] == [(one, 0)]


@pytest.mark.parametrize(("name", "count"), [("loss", "lost"), ("duplicate", "duplicated"), ("reorder", "reordered")])
def test_chances_are_about_what_was_asked_for(name, count):
    _, link = impaired(**{name: 0.1})
    passages = [passage for index in range(2000) for passage in link.plan(frame(index), 0)]
    trouble = getattr(link, count)
    assert 140 < trouble < 260
    assert len(passages) == 2000 + {"loss": -trouble, "duplicate": trouble, "reorder": 0}[name]
    assert link.passed == len(passages)


def test_each_chance_has_random_bits_of_its_own():
    """However many are drawn at once: all of them together would have no two alike."""
    _, link = impaired(loss=0.1, duplicate=0.1, corrupt=0.1, reorder=0.1)
    kept = [len(link.plan(frame(index), 0)) for index in range(2000)]
    repeats = sum(kept[at : at + 50] == kept[:50] for at in range(50, 1950))
    assert repeats == 0
    assert all(120 < count < 280 for count in (link.lost, link.duplicated, link.corrupted, link.reordered))


def test_loss_takes_single_segments():
    _, link = impaired(loss=0.5)
    sizes = [len(passage.frame) for _ in range(200) for passage in link.plan(super_frame(), 0)]
    assert 0 < link.lost < 800
    assert len(sizes) == 800 - link.lost
    assert set(sizes) == {1442, 842}


def test_certain_loss_and_a_cut_let_nothing_through():
    _, link = impaired(loss=1.0)
    assert link.plan(frame(), 0) == []
    _, link = impaired()
    link.cut = True
    assert link.plan(super_frame(), 0) == []
    assert link.lost == 4


def test_a_flipped_bit_meets_a_checksum():
    _, link = impaired(corrupt=1.0)
    for original in (super_frame(), super_frame(1000, gso_size=0)):
        for passage in link.plan(original, 0):
            damaged = passage.frame
            assert damaged.checksum == CHECKSUM_UNVERIFIED
            at_fault_in_header = not _header_fine(damaged.head)
            assert at_fault_in_header or not verify(damaged, 14)
    assert link.corrupted == 5


def _header_fine(head):
    total = sum(int.from_bytes(head[at : at + 2], "big") for at in range(14, 34, 2))
    return (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_damage_is_one_bit_and_a_verified_frame_is_verified_no_more():
    _, link = impaired(corrupt=1.0)
    original = Frame(packet("10.0.0.1", "10.0.0.2", 17, bytes(100)))
    original.checksum = CHECKSUM_VERIFIED
    for _ in range(50):
        (passage,) = link.plan(original, 0)
        before, after = original.linear(), passage.frame.linear()
        assert before[:14] == after[:14]
        assert (int.from_bytes(before, "big") ^ int.from_bytes(after, "big")).bit_count() == 1
        assert passage.frame.checksum == CHECKSUM_UNVERIFIED


def test_damaged_arp_is_lost_as_ethernet_would_have_noticed():
    _, link = impaired(corrupt=1.0)
    arp = ArpPacket(REQUEST, bytes(6), bytes(4), bytes(6), bytes(4)).emit()
    assert link.plan(Frame(emit_ethernet(bytes(6), bytes(6), ETHERTYPE_ARP) + arp), 0) == []
    assert (link.lost, link.corrupted) == (1, 0)


def test_delay_and_jitter_keep_the_order():
    _, link = impaired(delay=20 * MILLISECOND, jitter=15 * MILLISECOND)
    arrivals = []
    for index in range(500):
        now = index * MILLISECOND
        (passage,) = link.plan(frame(index), now)
        arrivals.append(now + passage.delay)
        assert passage.delay >= 5 * MILLISECOND
    assert arrivals == sorted(arrivals)
    assert len(set(arrivals)) > 50


def test_reordering_lets_later_frames_overtake():
    _, link = impaired(reorder=0.2, reorder_delay=10 * MILLISECOND)
    arrivals = []
    for index in range(200):
        (passage,) = link.plan(frame(index), index * MILLISECOND)
        arrivals.append((index * MILLISECOND + passage.delay, index))
    order = [index for _, index in sorted(arrivals)]
    assert order != list(range(200))
    assert sorted(order) == list(range(200))


def test_the_rate_spaces_frames_and_its_queue_has_a_limit():
    _, link = impaired(rate=8_000_000, queue_bytes=2500)  # a byte a microsecond
    delays = [[passage.delay for passage in link.plan(frame(size=1000), 0)] for _ in range(5)]
    assert delays == [[MILLISECOND], [2 * MILLISECOND], [3 * MILLISECOND], [], []]
    assert link.overflowed == 2
    assert [passage.delay for passage in link.plan(frame(size=1000), SECOND)] == [MILLISECOND]


@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_trouble(seed):
    config = {"loss": 0.1, "duplicate": 0.1, "corrupt": 0.1, "reorder": 0.1, "jitter": 1000, "delay": 500}

    def history():
        _, link = impaired(seed, **config)
        passages = [passage for index in range(30) for passage in link.plan(frame(index), index)]
        return [(passage.delay, passage.frame.linear()) for passage in passages]

    assert history() == history()


@pytest.mark.parametrize(
    "config",
    [
        {"loss": 1.1},
        {"loss": -0.1},
        {"duplicate": 2},
        {"delay": -1},
        {"jitter": 3601 * SECOND},
        {"rate": -1},
        {"queue_bytes": 0},
    ],
)
def test_nonsense_is_refused(config):
    with pytest.raises(ValueError, match=next(iter(config))):
        ImpairmentConfig(**config)


class Bin(Receiver):
    def __init__(self):
        self.got = []
        self.flushed = 0

    def receive(self, frame, now):
        self.got.append((now, number(frame)))

    def flush(self, now):
        self.flushed += 1


class Straight(LinkPort):
    def __init__(self, host):
        super().__init__()
        self.host = host
        self.far = Bin()
        self.near = None
        self.closed = False

    def attach(self, receiver):
        self.near = receiver

    def transmit(self, frame):
        self.host.post(self.far, frame)

    def close(self):
        self.closed = True


def test_an_impaired_port_delays_what_is_sent_and_what_comes_in():
    host = SimHost()
    inner = Straight(host)
    way_out = Impairment(host, ImpairmentConfig(delay=3 * MILLISECOND))
    way_in = Impairment(host, ImpairmentConfig(delay=5 * MILLISECOND))
    port = ImpairedPort(host, inner, way_out, way_in)
    assert (port.mtu, port.features) == (inner.mtu, inner.features)
    near = Bin()
    port.attach(near)
    host.enter()
    port.transmit(frame(1))
    port.transmit(frame(2))
    assert inner.near is not None
    inner.near.receive(frame(3), host.now)
    host.leave()
    host.run()
    assert inner.far.got == [(3 * MILLISECOND, 1), (3 * MILLISECOND, 2)]
    assert near.got == [(5 * MILLISECOND, 3)]
    assert near.flushed == 1
    port.close()
    assert inner.closed


def test_a_good_port_passes_at_once():
    host = SimHost()
    inner = Straight(host)
    port = ImpairedPort(host, inner, None, Impairment(host, ImpairmentConfig()))
    near = Bin()
    port.attach(near)
    host.enter()
    port.transmit(frame(1))
    assert inner.near is not None
    inner.near.receive(frame(2), 0)
    inner.near.flush(0)
    host.leave()
    assert (inner.far.got, near.got, near.flushed) == ([(0, 1)], [(0, 2)], 1)


@pytest.mark.parametrize("config", [{}, {"loss": 0.3}, {"loss": 1.0}])
def test_a_simple_decision_is_what_the_plan_would_have_been(config):
    """One wire is asked to decide, its twin of the same seed to plan: frame by frame they agree."""
    _, quick = impaired(**config)
    _, slow = impaired(**config)
    for index in range(500):
        planned = PASS if slow.plan(frame(index), index) else DROP
        assert quick.decide(frame(index), index) == planned
    assert (quick.passed, quick.lost) == (slow.passed, slow.lost)


@pytest.mark.parametrize(
    "config", [{"delay": 5}, {"rate": 1000}, {"corrupt": 0.1}, {"duplicate": 0.1}, {"reorder": 0.1}]
)
def test_what_is_not_simple_is_planned(config):
    _, link = impaired(**config)
    assert link.decide(frame(), 0) == PLAN
    assert impaired()[1].decide(super_frame(), 0) == PLAN


def test_nothing_overtakes_what_was_delayed_before_the_link_got_better():
    _, link = impaired(delay=MILLISECOND)
    link.plan(frame(), 0)
    link.config = ImpairmentConfig()
    assert link.decide(frame(), 10) == PLAN
    assert link.decide(frame(), MILLISECOND) == PASS
