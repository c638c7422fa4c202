"""Runs of blocks as a set: those that touch are one, so that it can't be larger than what it covers, however often that is added."""

from bisect import bisect_left, bisect_right
from typing import final


@final
class Runs:
    """A set of numbers, kept as runs in order."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        """Behind the last one of each."""

    def add(self, start: int, count: int) -> None:
        """Have `count` numbers from `start` on in the set."""
        if count <= 0:
            return
        end = start + count
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def touches(self, start: int, count: int) -> bool:
        """Whether one of `count` numbers from `start` on is in the set."""
        at = bisect_right(self._ends, start)
        return count > 0 and at < len(self._starts) and self._starts[at] < start + count

    def all(self) -> list[tuple[int, int]]:
        """First number and how many of each run, in order."""
        return [(start, end - start) for start, end in zip(self._starts, self._ends, strict=True)]
