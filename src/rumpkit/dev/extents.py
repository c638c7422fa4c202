"""A set of bytes of a disk, kept as extents that don't touch: what a snapshot has changed."""

from bisect import bisect_left, bisect_right
from typing import NamedTuple, final


class Piece(NamedTuple):
    """Part of a range: bytes `start` to `end`, which are all `inside` the set or all outside."""

    start: int
    end: int
    inside: bool


@final
class ExtentSet:
    """Bytes that were added.  Adding where the last one ended, which is what streams do, takes no search."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        """The number of extents."""
        return len(self._starts)

    def add(self, start: int, end: int) -> None:
        """Add bytes `start` to `end`, joining what they touch."""
        if end <= start:
            return
        starts, ends = self._starts, self._ends
        if not starts or start > ends[-1]:
            starts.append(start)
            ends.append(end)
            return
        first = bisect_left(ends, start)
        stop = bisect_right(starts, end)
        if first == stop:
            starts.insert(first, start)
            ends.insert(first, end)
            return
        if starts[first] < start:
            start = starts[first]
        if ends[stop - 1] > end:
            end = ends[stop - 1]
        if stop - first == 1:
            starts[first], ends[first] = start, end
        else:
            starts[first:stop] = [start]
            ends[first:stop] = [end]

    def pieces(self, start: int, end: int) -> list[Piece]:
        """Bytes `start` to `end` cut where the set begins and ends."""
        starts, ends = self._starts, self._ends
        index = bisect_right(ends, start)
        found = []
        while start < end:
            if index == len(starts) or starts[index] >= end:
                found.append(Piece(start, end, False))
                break
            if start < starts[index]:
                found.append(Piece(start, starts[index], False))
                start = starts[index]
            stop = min(ends[index], end)
            found.append(Piece(start, stop, True))
            start = stop
            index += 1
        return found

    def extents(self) -> list[tuple[int, int]]:
        """All extents in order: first byte, and the byte after the last."""
        return list(zip(self._starts, self._ends, strict=True))

    def size(self) -> int:
        """Bytes in the set."""
        return sum(self._ends) - sum(self._starts)

    def clear(self) -> None:
        """Take everything out."""
        self._starts.clear()
        self._ends.clear()
