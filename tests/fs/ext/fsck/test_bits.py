"""Sets of blocks against Python's own sets."""

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.fs.ext.fsck.bits import Bits

RUNS = st.lists(st.tuples(st.integers(0, 180), st.integers(0, 70)), max_size=12)


@given(RUNS)
def test_runs_are_added_and_collisions_noticed(runs: list[tuple[int, int]]) -> None:
    bits, expected = Bits(256), set[int]()
    for start, count in runs:
        run = range(start, start + count)
        assert bits.add(start, count) == (not expected.intersection(run))
        expected.update(run)
    assert {number for number in range(256) if bits.has(number)} == expected


@given(RUNS, st.integers(0, 100), st.integers(1, 100))
def test_a_part_is_a_bitmap_of_its_own(runs: list[tuple[int, int]], start: int, count: int) -> None:
    bits = Bits(256)
    for first, size in runs:
        bits.add(first, size)
    made = bits.take(start, count)
    assert len(made) == (count + 7) // 8
    for index in range(len(made) * 8):
        assert made[index >> 3] >> (index & 7) & 1 == (index >= count or bits.has(start + index))
