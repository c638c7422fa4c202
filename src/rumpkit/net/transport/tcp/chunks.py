"""Bytes in order, held by reference: what a connection has to send, and what its user has yet to read.

Chunks are immutable and go in at one end; bytes are dropped from the other.  Every byte has a position, which for
a connection is its (unwrapped) sequence number.
"""

from bisect import bisect_right
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from ....kern.socket import Chunk

_SMALL: Final = 4096
"""Neighbours that together are no longer than this become one chunk: a thousand tiny writes are not a thousand
references."""
_LARGE: Final = 16384
"""A run of at least this size is worth a segment of its own, cut by reference."""
_SPARE: Final = 64
"""Dropped entries that a list may keep in front before it is moved."""


_NO_CHUNKS: Final[list[Chunk]] = []
_NO_POSITIONS: Final[list[int]] = []
"""What every empty queue has, as most queues are empty most of the time.  Nobody puts anything in."""


@final
@mypyc_attr(acyclic=True)
class ChunkQueue:
    """A queue of bytes between two positions, `start` (inclusive) and `end` (exclusive)."""

    def __init__(self, position: i64) -> None:
        self.start: i64 = position
        self.end: i64 = position
        self._chunks: list[Chunk] = _NO_CHUNKS
        self._positions: list[int] = _NO_POSITIONS
        """Where each chunk begins; the first one may begin before `start`."""
        self._first: int = 0
        self._next: int = 0
        """The chunk that the last cut ended in: the next one is likely to begin there."""

    def size(self) -> i64:
        """Bytes in the queue."""
        return self.end - self.start

    def append(self, body: bytes, start: int, size: int, sealed: i64 = 0) -> None:
        """Queue body[start : start + size] by reference; copies only to join tiny neighbours.

        Bytes before position `sealed` were given out and stay as they are.
        """
        if size <= 0:
            return
        chunks = self._chunks
        if size < _SMALL and len(chunks) > self._first:
            last = chunks[-1]
            if last.size + size <= _SMALL and self._positions[-1] >= sealed:
                joined = last.bytes() + body[start : start + size]
                chunks[-1] = Chunk(joined, 0, len(joined))
                self.end += size
                return
        if chunks:
            chunks.append(Chunk(body, start, size))
            self._positions.append(self.end)
        else:
            self._chunks = [Chunk(body, start, size)]
            self._positions = [self.end]
        self.end += size

    def drop(self, size: i64) -> None:
        """Forget the first `size` bytes, or all if there are fewer."""
        self.start = min(self.start + size, self.end)
        chunks = self._chunks
        positions = self._positions
        first = self._first
        while first < len(chunks) and positions[first] + chunks[first].size <= self.start:
            first += 1
        if first == len(chunks):
            self._chunks = _NO_CHUNKS
            self._positions = _NO_POSITIONS
            first = 0
            self._next = 0
        elif first > _SPARE and first * 2 > len(chunks):
            del chunks[:first]
            del positions[:first]
            self._next = max(self._next - first, 0)
            first = 0
        self._first = first

    def clear(self) -> None:
        """Forget everything."""
        self.drop(self.end - self.start)

    def cut(self, position: i64, limit: i64, unit: i64) -> Chunk:
        """A run of bytes that begins at `position` (before `end`): at most `limit` bytes, at least one.

        By reference wherever that gives `limit` bytes, or many whole `unit`s; else small chunks are joined.
        """
        index = self._find(position)
        chunk = self._chunks[index]
        offset: int = position - self._positions[index]
        there: i64 = chunk.size - offset
        if there >= limit:
            self._next = index
            return Chunk(chunk.body, chunk.start + offset, limit)
        if there >= _LARGE and there >= unit:
            self._next = index
            return Chunk(chunk.body, chunk.start + offset, there - there % unit)
        return self._join(index, offset, limit, unit)

    def front(self, limit: int) -> list[Chunk]:
        """The first chunks, `limit` bytes at most, but at least one chunk if there is any.  They stay queued."""
        found: list[Chunk] = []
        chunks = self._chunks
        index = self._first
        offset: int = 0
        if index < len(chunks):
            offset = self.start - self._positions[index]
        while index < len(chunks):
            chunk = chunks[index]
            if offset:
                chunk = Chunk(chunk.body, chunk.start + offset, chunk.size - offset)
                offset = 0
            if found and chunk.size > limit:
                break
            found.append(chunk)
            limit -= chunk.size
            index += 1
        return found

    def peek(self, limit: int) -> bytes:
        """The first `limit` bytes, or all if there are fewer; copied unless they are just one chunk's whole body."""
        parts: list[bytes] = []
        chunks = self._chunks
        index = self._first
        offset: int = 0
        if index < len(chunks):
            offset = self.start - self._positions[index]
        while limit > 0 and index < len(chunks):
            chunk = chunks[index]
            size: int = min(chunk.size - offset, limit)
            begin = chunk.start + offset
            parts.append(chunk.body[begin : begin + size])
            limit -= size
            offset = 0
            index += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _find(self, position: i64) -> int:
        positions = self._positions
        index = self._next
        if index < len(positions) and positions[index] <= position:
            if position < positions[index] + self._chunks[index].size:
                return index
            index += 1
            if index < len(positions) and position < positions[index] + self._chunks[index].size:
                return index
        return bisect_right(positions, position, self._first) - 1

    def _join(self, index: int, offset: int, limit: i64, unit: i64) -> Chunk:
        """Join what is left of chunk `index` with those behind it.  Of a large one only what completes a unit is
        taken, so that the rest of it can go by reference."""
        parts: list[bytes] = []
        size: i64 = 0
        while size < limit and index < len(self._chunks):
            chunk = self._chunks[index]
            wanted: i64 = min(chunk.size - offset, limit - size)
            if chunk.size >= _LARGE and size and wanted > unit:
                wanted = min(wanted, (unit - size % unit) % unit)
                limit = size + wanted
            if wanted:
                begin = chunk.start + offset
                parts.append(chunk.body[begin : begin + wanted])
                size += wanted
                self._next = index
            offset = 0
            index += 1
        joined = parts[0] if len(parts) == 1 else b"".join(parts)
        return Chunk(joined, 0, size)
