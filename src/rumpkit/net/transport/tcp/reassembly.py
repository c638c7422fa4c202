"""What arrived ahead of its turn: runs of bytes between the gaps that are still missing."""

from bisect import bisect_right
from typing import final

from mypy_extensions import i64

from ....kern.socket import Chunk
from .chunks import ChunkQueue


@final
class Reassembly:
    """Out-of-order data of one connection: chunks by reference, in order and without overlap."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._chunks: list[Chunk] = []

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._chunks

    def count(self) -> int:
        """How many pieces wait."""
        return len(self._chunks)

    def insert(self, position: i64, body: bytes, start: i64, size: i64) -> bool:
        """Keep body[start : start + size], which belongs at `position`.  False if there was nothing new in it.

        Of bytes that arrived before, the old copy stays: nothing may change what was acknowledged selectively.
        """
        chunks = self._chunks
        positions = self._positions
        end: i64 = position + size
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
                chunks.insert(index, Chunk(body, start, stop - position))
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
            done += 1
        del chunks[:done]
        del positions[:done]

    def clear(self) -> None:
        """Forget everything."""
        self._chunks.clear()
        self._positions.clear()

    def ranges(self) -> list[tuple[int, int]]:
        """What waits, as (first, end) positions with neighbours joined; SACK blocks are made of these."""
        found: list[tuple[int, int]] = []
        for position, chunk in zip(self._positions, self._chunks, strict=True):
            if found and found[-1][1] == position:
                found[-1] = (found[-1][0], position + chunk.size)
            else:
                found.append((position, position + chunk.size))
        return found
