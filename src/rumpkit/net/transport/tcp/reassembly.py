"""What arrived ahead of its turn: runs of bytes between the gaps that are still missing."""

from bisect import bisect_right
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from ....kern.socket import Chunk
from .chunks import ChunkQueue

_REMEMBERED: Final = 6
"""Runs whose order of arrival is kept: more than fit into one header, as some may have become one since."""


@final
@mypyc_attr(acyclic=True)
class Reassembly:
    """Out-of-order data of one connection: chunks by reference, in order and without overlap."""

    def __init__(self) -> None:
        self.bytes: i64 = 0
        """How much waits."""
        self._positions: list[int] = []
        self._chunks: list[Chunk] = []
        self._firsts: list[int] = []
        """Where the runs begin; neighbouring chunks make one run."""
        self._ends: list[int] = []
        self._recent: list[int] = []
        """Positions in the runs that grew last, latest first."""
        self.fresh: int = 0
        """Runs that were begun since `newest` was asked last."""
        self.duplicate_first: i64 = 0
        self.duplicate_end: i64 = 0
        """What came once more and has not been reported; 0 if nothing has."""

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._chunks

    def count(self) -> int:
        """How many pieces wait."""
        return len(self._chunks)

    def first(self, default: i64) -> i64:
        """Where the first piece begins."""
        return self._positions[0] if self._positions else default

    def insert(self, position: i64, body: bytes, start: i64, size: i64) -> bool:
        """Keep body[start : start + size], which belongs at `position`.  False if there was nothing new in it.

        Of bytes that arrived before, the old copy stays: nothing may change what was acknowledged selectively.
        """
        chunks = self._chunks
        positions = self._positions
        end: i64 = position + size
        self._note(position, end)
        new = False
        index = bisect_right(positions, position)
        if index > 0:
            before: i64 = positions[index - 1] + chunks[index - 1].size
            if before > position:
                start += before - position
                position = before
        while position < end:
            stop = end
            if index < len(positions) and positions[index] < stop:
                stop = positions[index]
            if stop > position:
                positions.insert(index, position)
                chunks.insert(index, _chunk(body, start, stop - position))
                self.bytes += stop - position
                new = True
                index += 1
            if index == len(positions):
                break
            following: i64 = positions[index] + chunks[index].size
            start += following - position
            position = following
            index += 1
        return new

    def deliver(self, queue: ChunkQueue) -> None:
        """Move what now follows the end of `queue` into it."""
        chunks = self._chunks
        positions = self._positions
        done = 0
        while done < len(positions) and positions[done] <= queue.end:
            chunk = chunks[done]
            known: int = queue.end - positions[done]
            if known < chunk.size:
                queue.append(chunk.body, chunk.start + known, chunk.size - known)
            self.bytes -= chunk.size
            done += 1
        del chunks[:done]
        del positions[:done]
        runs = 0
        while runs < len(self._ends) and self._ends[runs] <= queue.end:
            runs += 1
        del self._firsts[:runs]
        del self._ends[:runs]
        if not chunks:
            self._recent.clear()
            self.fresh = 0

    def clear(self) -> None:
        """Forget everything."""
        self._chunks.clear()
        self._positions.clear()
        self.bytes = 0
        self._firsts.clear()
        self._ends.clear()
        self._recent.clear()
        self.fresh = 0
        self.duplicate_end = 0

    def ranges(self) -> list[tuple[int, int]]:
        """What waits, as (first, end) positions of runs, in order."""
        return list(zip(self._firsts, self._ends, strict=True))

    def newest(self, room: int) -> list[tuple[int, int]]:
        """The runs that grew last, latest first, `room` at most: what SACK blocks say (RFC 2018 section 4)."""
        self.fresh = 0
        found: list[tuple[int, int]] = []
        for position in self._recent:
            if len(found) >= room:
                break
            index = bisect_right(self._firsts, position) - 1
            if index < 0 or position >= self._ends[index]:
                continue
            run = (self._firsts[index], self._ends[index])
            if run not in found:
                found.append(run)
        return found

    def _note(self, position: int, end: int) -> None:
        """Bytes `position` to `end` are here: keep the runs and their order of arrival."""
        firsts = self._firsts
        ends = self._ends
        recent = self._recent
        low = bisect_right(firsts, position) - 1
        if low < 0 or ends[low] < position:
            low += 1
        high = low
        while high < len(firsts) and firsts[high] <= end:
            high += 1
        if low == high:
            firsts.insert(low, position)
            ends.insert(low, end)
            self.fresh += 1
        else:
            if position < firsts[low]:
                firsts[low] = position
            if ends[high - 1] > end:
                end = ends[high - 1]
            ends[low] = end
            del firsts[low + 1 : high]
            del ends[low + 1 : high]
        run = firsts[low]
        if recent and run <= recent[0] < end:
            recent[0] = position  # the same run as before, the usual case
            return
        others = [one for one in recent if not run <= one < end]
        self._recent = [position, *others[: _REMEMBERED - 1]]


def _chunk(body: bytes, start: int, size: int) -> Chunk:
    """By reference, unless a small part would keep all of a large body in memory."""
    if size * 2 < len(body):
        return Chunk(body[start : start + size], 0, size)
    return Chunk(body, start, size)


NOTHING: Final = Reassembly()
"""What connections have until something arrives ahead of its turn.  Nobody puts anything in."""
