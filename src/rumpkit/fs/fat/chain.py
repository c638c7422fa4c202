"""A file's chain of clusters, as runs of neighbours found so far.  Between files (node.py, slots.py) and the FAT (table.py).

A chain is followed only as far as somebody asks, and remembered.  One that comes back to where it was is EUCLEAN: its
newest cluster is compared with one seen before, which moves up at every power of two (Brent's algorithm).
"""

from bisect import bisect_right
from typing import final

from ...kern.abi.errno import EUCLEAN
from .table import END, Table


@final
class Chain:
    """The clusters of one file; `first` is 0 where it has none."""

    def __init__(self, table: Table, first: int) -> None:
        self.table: Table = table
        self.first: int = first
        self.known: int = 0
        """Clusters found so far."""
        self.whole: bool = first == 0
        """Whether those are all."""
        self.last: int = 0
        """The last cluster found."""
        self._indexes: list[int] = []
        """Of each run, how many clusters come before it."""
        self._starts: list[int] = []
        """Of each run, its first cluster."""
        self._seen: int = 0
        self._next_seen: int = 1

    def find(self, count: int) -> int:
        """Follow the chain until `count` clusters are known, or to its end; how many are known then.  Raises EUCLEAN."""
        if self.known >= count or self.whole:
            return self.known
        table = self.table
        cluster = self._begin() if self.known == 0 else self.last
        known = self.known
        try:
            while known < count:
                following = table.following(cluster)
                if following == END:
                    self.whole = True
                    break
                if following == self._seen:
                    raise OSError(EUCLEAN, f"the chain from cluster {self.first} comes back to cluster {following}")
                if following != cluster + 1:
                    self._indexes.append(known)
                    self._starts.append(following)
                cluster = following
                known += 1
                if known == self._next_seen:
                    self._seen = cluster
                    self._next_seen = known * 2
        finally:
            self.known = known
            self.last = cluster
        return known

    def _begin(self) -> int:
        first = self.first
        geometry = self.table.geometry
        if not 2 <= first < geometry.end:
            raise OSError(EUCLEAN, f"a file begins at cluster {first} of {geometry.clusters}")
        self._indexes.append(0)
        self._starts.append(first)
        self.known = 1
        self._seen = first
        self._next_seen = 2
        return first

    def all(self) -> int:
        """Follow the chain to its end; how many clusters it has.  Raises EUCLEAN."""
        return self.find(self.table.geometry.end)

    def locate(self, index: int) -> tuple[int, int]:
        """The cluster that is number `index`, which is known, and how many neighbours are known from it on."""
        run = bisect_right(self._indexes, index) - 1
        start = self._indexes[run]
        end = self._indexes[run + 1] if run + 1 < len(self._indexes) else self.known
        return self._starts[run] + index - start, end - index

    def append(self, start: int, count: int) -> None:
        """The chain, which is whole, has `count` clusters from `start` on behind it now."""
        if self.known and start == self.last + 1:
            pass
        else:
            if not self.known:
                self.first = start
            self._indexes.append(self.known)
            self._starts.append(start)
        self.known += count
        self.last = start + count - 1
        self._seen = 0

    def cut(self, count: int) -> list[tuple[int, int]]:
        """Keep the first `count` clusters of the chain, which is whole; returns the runs (start, count) of the others."""
        if count >= self.known:
            return []
        run = bisect_right(self._indexes, count) - 1 if count else 0
        gone: list[tuple[int, int]] = []
        known = self.known
        for place in range(len(self._indexes) - 1, run - 1, -1):
            index = max(self._indexes[place], count)
            if index < known:
                gone.append((self._starts[place] + index - self._indexes[place], known - index))
            known = index
        if count == 0:
            self.first = 0
            self.last = 0
            self._indexes.clear()
            self._starts.clear()
        else:
            keep = run + 1 if self._indexes[run] < count else run
            del self._indexes[keep:]
            del self._starts[keep:]
            self.last = self._starts[-1] + count - 1 - self._indexes[-1]
        self.known = count
        self._seen = 0
        gone.reverse()
        return gone

    def runs(self) -> list[tuple[int, int]]:
        """The runs (start, count) that are known."""
        if not self.known:
            return []
        ends = [*self._indexes[1:], self.known]
        return [(start, end - index) for start, index, end in zip(self._starts, self._indexes, ends, strict=True)]
