from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.sequence import (
    seq_add,
    seq_diff,
    seq_geq,
    seq_gt,
    seq_in_window,
    seq_leq,
    seq_lt,
    seq_max,
    seq_min,
)

numbers = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
near = st.integers(-(2**31) + 1, 2**31 - 1) | st.sampled_from([-1, 0, 1])


@given(numbers, near)
def test_comparisons_follow_the_distance_across_the_wrap(a: int, distance: int) -> None:
    b = seq_add(a, distance)
    assert b == (a + distance) % 2**32
    assert seq_diff(b, a) == distance
    assert seq_lt(a, b) == (distance > 0)
    assert seq_leq(a, b) == (distance >= 0)
    assert seq_gt(a, b) == (distance < 0)
    assert seq_geq(a, b) == (distance <= 0)
    assert seq_max(a, b) == (b if distance > 0 else a)
    assert seq_min(a, b) == (b if distance < 0 else a)


def test_the_point_half_way_round_is_behind() -> None:
    assert seq_diff(2**31, 0) == -(2**31)
    assert seq_lt(2**31, 0)


@given(numbers, st.integers(0, 2**31), st.integers(-(2**31), 2**31 - 1))
def test_window_is_half_open(start: int, size: int, distance: int) -> None:
    assert seq_in_window(seq_add(start, distance), start, size) == (0 <= distance < size)
