"""Runs against a set of numbers."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from rumpkit.fs.ext.runs import Runs


@pytest.mark.parametrize("seed", range(8))
def test_as_a_set_has_them(seed: int) -> None:
    noise = random.Random(seed)
    runs, model = Runs(), set[int]()
    for _ in range(60):
        start, count = noise.randrange(200), noise.randrange(8)
        numbers = range(start, start + count)
        assert runs.touches(start, count) == (not model.isdisjoint(numbers))
        runs.add(start, count)
        model.update(numbers)
        found = runs.all()
        assert [at for first, many in found for at in range(first, first + many)] == sorted(model)
        assert all(a[0] + a[1] < b[0] for a, b in pairwise(found)), "those that touch are one"
