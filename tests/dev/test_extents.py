"""Sets of bytes as extents, against plain sets of numbers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.dev.extents import ExtentSet, Piece

RANGE = st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(RANGE), st.lists(RANGE, max_size=5))
def test_like_a_set(added, asked) -> None:
    extents = ExtentSet()
    model: set[int] = set()
    for start, end in added:
        extents.add(start, end)
        model |= set(range(start, end))
        rows = extents.extents()
        assert {byte for first, last in rows for byte in range(first, last)} == model
        assert all(first < last for first, last in rows)
        assert all(one[1] < other[0] for one, other in pairwise(rows))
        assert len(extents) == len(rows) and extents.size() == len(model)
    for start, end in asked:
        pieces = extents.pieces(start, end)
        assert [byte for piece in pieces for byte in range(piece.start, piece.end)] == list(range(start, end))
        assert all(piece.inside == (byte in model) for piece in pieces for byte in range(piece.start, piece.end))
        assert all(one.inside != other.inside for one, other in pairwise(pieces))
    extents.clear()
    assert extents.pieces(0, 5) == [Piece(0, 5, False)] and len(extents) == 0
