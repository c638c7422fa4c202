"""CUBIC's window by itself, against the formulas of RFC 9438."""

import pytest

from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.net.transport.tcp.congestion.control import UNLIMITED
from rumpkit.net.transport.tcp.congestion.cubic import Cubic, cube_root

MSS = 1000
RTT = 100 * MILLISECOND


def flow(segments=100, rtt=RTT):
    """A CUBIC that has just recovered from a loss with `segments` in its window."""
    made = Cubic(MSS, 10)
    made.window = segments * MSS
    made.lost(segments * MSS, 0)
    made.recovered(made.threshold, 0)
    return made


def run(made, seconds, rtt=RTT, start=0):
    """A window is acknowledged each round trip, in ten parts.  Returns the time."""
    now = start
    end = start + round(seconds * SECOND)
    while now < end:
        part = made.window // 10
        now += rtt // 10
        made.acknowledged(part, made.window, rtt, rtt, now)
    return now


def test_a_loss_leaves_seven_tenths():
    made = flow(100)
    assert made.threshold == made.window == 70 * MSS


def test_two_segments_are_the_least():
    made = Cubic(MSS, 10)
    made.window = 2 * MSS
    made.lost(2 * MSS, 0)
    assert made.threshold == 2 * MSS


def test_it_is_back_at_the_old_window_after_k():
    """K = cbrt(W_max (1 - beta) / C)."""
    made = flow(500)
    k = (500 * 0.3 / 0.4) ** (1 / 3)
    run(made, k)
    assert made.window / MSS == pytest.approx(500, rel=0.02)


def test_it_is_flat_around_the_old_window_and_probes_beyond():
    made = flow(500)
    k = (500 * 0.3 / 0.4) ** (1 / 3)
    now = run(made, k - 1)
    before = made.window
    now = run(made, 2, start=now)
    assert made.window - before < 10 * MSS
    run(made, 5, start=now)
    assert made.window > 540 * MSS


def test_it_follows_the_curve():
    made = flow(1000)
    k = (1000 * 0.3 / 0.4) ** (1 / 3)
    now = 0
    for seconds in range(1, 12):
        now = run(made, seconds - now / SECOND, start=now)
        expected = 1000 + 0.4 * (now / SECOND - k) ** 3
        assert made.window / MSS == pytest.approx(expected, rel=0.03), seconds


def test_with_short_round_trips_it_grows_as_reno_would():
    """The Reno-friendly region (section 4.3): 3 (1 - beta) / (1 + beta) segments a round trip."""
    made = flow(20, rtt=MILLISECOND)
    rounds = 10
    run(made, rounds / 1000, rtt=MILLISECOND)
    assert made.window / MSS == pytest.approx(14 + rounds * 3 * 0.3 / 1.7, abs=1.5)


def test_no_faster_than_half_as_much_again_a_round_trip():
    made = Cubic(MSS, 10)
    made.window = 10 * MSS
    made.threshold = 10 * MSS
    now = run(made, 0.1)
    made._epoch -= 100 * SECOND  # as if congestion avoidance had begun long ago
    before = made.window
    run(made, 0.1, start=now)
    assert made.window <= before * 1.66  # type: ignore[operator]


def test_fast_convergence_lets_go_of_some_more():
    made = flow(100)
    made.window = 80 * MSS
    made.lost(80 * MSS, SECOND)
    assert made._w_max == pytest.approx(80 * 0.85)
    made.window = 90 * MSS
    made.lost(90 * MSS, 2 * SECOND)
    assert made._w_max == 90


def test_after_a_timeout_the_next_plateau_is_where_slow_start_ended():
    made = flow(100)
    made.timed_out(70 * MSS, True, SECOND)
    assert made.window == MSS
    made.acknowledged(made.threshold - MSS, made.threshold, RTT, RTT, 2 * SECOND)
    now = run(made, 0.5, start=2 * SECOND)
    assert made.threshold <= made.window < made.threshold + 5 * MSS
    run(made, 10, start=now)
    assert made.window > 2 * made.threshold


def test_time_in_which_the_window_was_not_in_use_does_not_count():
    one, other = flow(100), flow(100)
    now = run(one, 1)
    run(other, 1)
    run(one, 1, start=now)
    run(other, 1, start=now + 60 * SECOND)
    assert other.window == pytest.approx(one.window, rel=0.02)


def test_a_spurious_loss_is_forgotten():
    made = flow(100)
    window, threshold, plateau = made.window, made.threshold, made._w_max
    made.lost(window, SECOND)
    assert made.threshold < window
    made.undo(window, threshold)
    assert (made.window, made.threshold, made._w_max) == (window, threshold, plateau)


def test_the_same_steps_give_the_same_window():
    one, other = flow(777), flow(777)
    run(one, 20)
    run(other, 20)
    assert one.window == other.window


@pytest.mark.parametrize("value", [1e-9, 0.001, 0.5, 1.0, 2.0, 375.0, 1e6, 1e12])
def test_cube_root(value):
    assert cube_root(value) == pytest.approx(value ** (1 / 3), rel=1e-12)


def test_no_root_of_nothing():
    assert cube_root(0.0) == 0.0
    assert Cubic(MSS, 10).threshold == UNLIMITED
