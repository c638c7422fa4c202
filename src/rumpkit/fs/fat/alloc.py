"""Where free clusters are found.  Between files that grow and the FAT.

A cluster that a file gave up is taken again only once that is durable: else a crash could leave it in two files.
"""

from typing import Final, final

from .chain import Chain
from .layout import FIRST_CLUSTER
from .table import Table

MOST_COOLING: Final = 256
"""Runs of clusters that are given up and not yet known to be so on the device, before a flush is worth its time."""


@final
class Allocator:
    """The free clusters of one volume."""

    def __init__(self, table: Table) -> None:
        self.table: Table = table
        self.hint: int = FIRST_CLUSTER
        """Where to look first: behind what was taken last."""
        self.free: int = -1
        """Free clusters, -1 until they were counted.  Those that are `freeing` are free, too."""
        self.freeing: list[tuple[int, int]] = []
        """Runs (start, count) that nobody will refer to any more once the next commit is through."""
        self.cooling: list[tuple[int, int]] = []
        """Runs (start, end) that are free in the FAT, but perhaps not on the device."""

    def give_up(self, runs: list[tuple[int, int]]) -> None:
        """These clusters are no file's any longer."""
        self.freeing += runs
        if self.free >= 0:
            self.free += sum([count for _, count in runs])

    def extend(self, chain: Chain, count: int) -> int:
        """Put up to `count` free clusters behind a chain, which is whole; returns how many were found."""
        table = self.table
        done = 0
        while done < count:
            start, found = self._find(chain.last + 1 if chain.known else self.hint, count - done)
            if not found:
                break
            table.link(chain.last, start, found)
            chain.append(start, found)
            self.hint = start + found
            done += found
        if self.free >= 0:
            self.free = max(self.free - done, 0)
        return done

    def _find(self, goal: int, want: int) -> tuple[int, int]:
        """A run (start, count) of free clusters: at `goal`, else from the hint on, else from the beginning."""
        end = self.table.geometry.end
        if goal != self.hint and goal < end:
            start, found = self._warm(goal, goal + 1, want)
            if found:
                start, more = self._warm(goal, end, want)
                return start, max(found, more)
        hint = self.hint if self.hint < end else FIRST_CLUSTER
        start, found = self._warm(hint, end, want)
        if not found and hint > FIRST_CLUSTER:
            start, found = self._warm(FIRST_CLUSTER, hint, want)
        return start, found

    def _warm(self, start: int, stop: int, want: int) -> tuple[int, int]:
        """As `Table.find_free`, without what is cooling."""
        while True:
            found, count = self.table.find_free(start, stop, want)
            if not count or not self.cooling:
                return found, count
            for low, high in self.cooling:
                if low <= found < high:
                    start = high
                    break
                if found < low < found + count:
                    count = low - found
            else:
                return found, count
