"""A file's bytes: extents of 64 KiB by index, where a missing one is a hole.

An extent is `bytes` while it is as it was written, so that whole extents go in and out by reference, and becomes a
`bytearray` when a part of it changes.  One that is shorter than 64 KiB has zeros behind it, which take no storage.
"""

from typing import Final, final

from .pool import UNIT, Pool

SHIFT: Final = 16
EXTENT: Final = 1 << SHIFT
MASK: Final = EXTENT - 1
_SCAN: Final = 64
"""How many neighbours `next_data` tries before it searches all extents."""


def _units(size: int) -> int:
    return (size + UNIT - 1) & -UNIT


@final
class Extents:
    """The storage of one file.  Knows nothing of the file's size: what is not stored reads as zeros."""

    def __init__(self, pool: Pool) -> None:
        self.allocated: int = 0
        """Bytes taken from the pool."""
        self._pool: Pool = pool
        self._extents: dict[int, bytes | bytearray] = {}

    def write(self, offset: int, data: bytes) -> int:
        """Store `data` at byte `offset`; returns how much of it the pool had room for."""
        size = len(data)
        done = 0
        while done < size:
            index = (offset + done) >> SHIFT
            start = (offset + done) & MASK
            end = self._make_room(index, start, min(EXTENT, start + size - done))
            if end <= start:
                break
            count = end - start
            self._store(index, start, data if count == size else data[done : done + count])
            done += count
        return done

    def _make_room(self, index: int, start: int, end: int) -> int:
        """Take from the pool what it takes to fill extent `index` up to `end`; returns how far that went, which is
        not above `start` if nothing can be written there."""
        extent = self._extents.get(index)
        have = 0 if extent is None else len(extent)
        if end <= have:
            return end
        pool = self._pool
        counted = _units(have)
        free = (pool.size - pool.used) & -UNIT
        if _units(end) - counted > free:
            end = counted + free
            if end <= start:
                return end
        grown = _units(end) - counted
        pool.used += grown
        self.allocated += grown
        return end

    def _store(self, index: int, start: int, piece: bytes) -> None:
        extent = self._extents.get(index)
        have = 0 if extent is None else len(extent)
        end = start + len(piece)
        if start == 0 and end >= have:
            self._extents[index] = piece
            return
        if extent is None:
            changed = bytearray(start)
        elif isinstance(extent, bytes):
            changed = bytearray(extent)
        else:
            changed = extent
        if start > have and extent is not None:
            changed += bytes(start - have)
        if start >= have:
            # Appending grows the buffer in large steps, which assigning a slice does not.
            changed += piece
        else:
            changed[start:end] = piece
        self._extents[index] = changed

    def read(self, offset: int, end: int) -> bytes:
        """The bytes from `offset` up to `end`, which is above it."""
        index = offset >> SHIFT
        last = (end - 1) >> SHIFT
        if index == last:
            return self._piece(index, offset & MASK, ((end - 1) & MASK) + 1)
        pieces = [self._piece(index, offset & MASK, EXTENT)]
        for between in range(index + 1, last):
            pieces.append(self._piece(between, 0, EXTENT))
        pieces.append(self._piece(last, 0, ((end - 1) & MASK) + 1))
        return b"".join(pieces)

    def _piece(self, index: int, start: int, end: int) -> bytes:
        extent = self._extents.get(index)
        if extent is None:
            return bytes(end - start)
        have = len(extent)
        if start == 0 and end >= have:
            if isinstance(extent, bytearray):
                extent = bytes(extent)
                self._extents[index] = extent
            piece = extent
        elif isinstance(extent, bytearray):
            piece = bytes(extent[start:end])
        else:
            piece = extent[start:end]
        if end > have:
            piece += bytes(end - start - len(piece))
        return piece

    def truncate(self, size: int) -> None:
        """Forget everything from byte `size` on."""
        last = size >> SHIFT
        keep = size & MASK
        extents = self._extents
        for index in [index for index in extents if index >= last]:
            extent = extents[index]
            have = len(extent)
            left = min(have, keep) if index == last else 0
            if left == 0:
                del extents[index]
            elif left < have:
                extents[index] = extent[:left]
            freed = _units(have) - _units(left)
            self.allocated -= freed
            self._pool.used -= freed

    def next_data(self, offset: int) -> int:
        """The first byte at or behind `offset` that is stored, or -1."""
        extents = self._extents
        index = offset >> SHIFT
        extent = extents.get(index)
        if extent is not None and offset & MASK < _units(len(extent)):
            return offset
        for near in range(index + 1, index + _SCAN):
            if near in extents:
                return near << SHIFT
        following = min((number for number in extents if number > index), default=-1)
        return following << SHIFT if following >= 0 else -1

    def next_hole(self, offset: int) -> int:
        """The first byte at or behind `offset` that is not stored."""
        index = offset >> SHIFT
        extent = self._extents.get(index)
        if extent is None or offset & MASK >= _units(len(extent)):
            return offset
        while extent is not None and _units(len(extent)) == EXTENT:
            index += 1
            extent = self._extents.get(index)
        return (index << SHIFT) + (0 if extent is None else _units(len(extent)))
