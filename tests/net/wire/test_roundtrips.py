"""Parse, emit, parse again, of every header, on what becomes of good bytes when some are changed, added or missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.net.wire.roundtrips import ROUND_TRIPS

change = st.tuples(st.integers(0, 300), st.one_of(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), st.integers(0, 255)))


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_good_bytes_are_taken(name):
    take, seeds = ROUND_TRIPS[name]
    assert all(take(data) for data in seeds)


@pytest.mark.rfc("8200", "4.5-s")
@pytest.mark.parametrize("name", ROUND_TRIPS)
@given(st.data(), st.lists(change, max_size=4), st.binary(max_size=8), st.integers(0, 12))
def test_parse_emit_parse(name, draw, changes, more, less):
    take, seeds = ROUND_TRIPS[name]
    data = bytearray(draw.draw(st.sampled_from(seeds)))
    for at, value in changes:
        data[at % len(data)] = value
    take(bytes(data) + more)
    take(bytes(data[: max(len(data) - less, 0)]))


@pytest.mark.parametrize("name", ROUND_TRIPS)
@given(st.binary(max_size=80))
def test_any_bytes_are_survived(name, data):
    ROUND_TRIPS[name][0](data)
