"""Inode numbers: one for each file, the same while anybody knows it, however entries move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.fs.fat.numbers import Numbers

SIZE = 1 << 20
PLACES = st.integers(1, 12)


@given(st.lists(st.tuples(st.sampled_from(["make", "move", "remove", "keep"]), PLACES, PLACES), max_size=40))
def test_no_two_files_have_one_number_and_none_changes_its_own(steps: list[tuple[str, int, int]]):
    live: dict[int, object] = {}
    numbers = Numbers(SIZE, 4, live)
    there: dict[int, int] = {}
    kept: list[int] = []
    for what, place, other in steps:
        if what == "make" and place not in there:
            number = numbers.made(place * 32)
            assert number not in there.values() and number not in kept
            there[place] = number
            live[number] = None
        elif what == "move" and place in there and other not in there:
            numbers.moved(place * 32, other * 32)
            there[other] = there.pop(place)
        elif what in ("remove", "keep") and place in there:
            number = there.pop(place)
            numbers.removed(place * 32, what == "keep")
            if what == "keep":
                kept.append(number)
            else:
                numbers.gone(number)
                del live[number]
        assert {place: numbers.at(place * 32) for place in there} == there
    for number in kept:
        numbers.gone(number)


def test_what_nobody_knows_is_noted_within_a_limit():
    numbers = Numbers(SIZE, 100, {})
    for place in range(1000, 21000, 2):
        numbers.moved(place * 32, (place + 1) * 32)
    assert len(numbers._moved) <= 100
