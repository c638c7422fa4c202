"""HyStart++ (RFC 9406): slow start ends when the round trip grows."""

import pytest

from rumpkit.hyper.time import MILLISECOND
from rumpkit.net.transport.tcp.congestion.control import UNLIMITED
from rumpkit.net.transport.tcp.congestion.cubic import Cubic
from rumpkit.net.transport.tcp.congestion.hystart import HyStart
from rumpkit.net.transport.tcp.congestion.reno import NewReno

MSS = 1000


def one_round(made, rtt, samples=16):
    """One window is acknowledged; every sample is `rtt` ms.  The next round begins with the next call."""
    window = made.window
    size = window // samples
    for _ in range(samples):
        made.acknowledged(size, window + size, rtt * MILLISECOND, rtt * MILLISECOND, 0)


@pytest.mark.parametrize("kind", [Cubic, NewReno])
def test_a_steady_round_trip_doubles_the_window(kind):
    made = kind(MSS, 10)
    for _ in range(5):
        one_round(made, 50)
    assert made.window == pytest.approx(10 * MSS * 32, rel=0.01)
    assert made.threshold == UNLIMITED


@pytest.mark.parametrize("kind", [Cubic, NewReno])
def test_a_growing_round_trip_ends_it_after_five_careful_rounds(kind):
    made = kind(MSS, 10)
    for _ in range(3):
        one_round(made, 50)
    window = made.window
    for _ in range(8):
        one_round(made, 60)
    assert made.threshold < UNLIMITED
    assert made.window < window * 2 * 1.25**6
    assert made.window >= made.threshold


def test_a_round_trip_that_shrinks_again_was_only_jitter():
    start = HyStart()

    def round_of(rtt):
        return [start.growth(1000, 17_000, rtt * MILLISECOND) for _ in range(16)]

    round_of(50)
    round_of(50)
    round_of(60)
    assert start.conservative()
    round_of(50)
    assert not start.conservative()


@pytest.mark.parametrize(
    ("before", "after", "ends"), [(10, 13, False), (10, 15, True), (200, 210, False), (200, 217, True)]
)
def test_how_much_is_growth(before, after, ends):
    """An eighth of the round trip, at least 4 ms and at most 16 ms."""
    start = HyStart()
    for rtt in (before, before, after):
        for _ in range(16):
            start.growth(1000, 17_000, rtt * MILLISECOND)
    assert start.conservative() is ends


def test_a_few_samples_prove_nothing():
    start = HyStart()
    for rtt in (50, 50, 90, 90):
        for _ in range(5):
            start.growth(2000, 12_000, rtt * MILLISECOND)
    assert not start.conservative()


def test_conservative_growth_is_a_quarter():
    start = HyStart()
    for rtt in (50, 50, 60):
        for _ in range(16):
            start.growth(1000, 17_000, rtt * MILLISECOND)
    assert start.growth(1000, 17_000, 60 * MILLISECOND) == 250


def test_a_loss_ends_it_for_good():
    made = Cubic(MSS, 10)
    one_round(made, 50)
    made.lost(made.window, 0)
    assert made._start is None
    assert made.threshold < UNLIMITED
