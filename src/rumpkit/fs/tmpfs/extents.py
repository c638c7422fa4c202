"""A file's bytes: extents of 64 KiB by index, where a missing one is a hole.

An extent is `bytes` while it is as it was written, so that whole extents go in and out by reference, and becomes a
`bytearray` when a part of it changes.  One that is shorter than 64 KiB has zeros behind it, which take no storage.
"""

from typing import Final, final

from ...kern.abi.errno import ENOSPC, error
from .pool import UNIT, Pool

SHIFT: Final = 16
EXTENT: Final = 1 << SHIFT
MASK: Final = EXTENT - 1
_ZEROS: Final = bytes(EXTENT)
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
        index = offset >> SHIFT
        start = offset & MASK
        if start + size <= EXTENT:
            if size == 0:
                return 0
            end = self._make_room(index, start, start + size)
            if end <= start:
                return 0
            self._store(index, start, data if end - start == size else data[: end - start])
            return end - start
        return self._write_many(offset, data)

    def _write_many(self, offset: int, data: bytes) -> int:
        """As `write`, over several extents.  Each byte is copied once."""
        size = len(data)
        view = memoryview(data)
        done = 0
        while done < size:
            index = (offset + done) >> SHIFT
            start = (offset + done) & MASK
            end = self._make_room(index, start, min(EXTENT, start + size - done))
            if end <= start:
                break
            count = end - start
            extent = self._extents.get(index)
            if start == 0 and (extent is None or count >= len(extent)):
                self._extents[index] = data[done : done + count]
            else:
                self._store(index, start, view[done : done + count])
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

    def _store(self, index: int, start: int, piece: bytes | memoryview) -> None:
        extent = self._extents.get(index)
        have = 0 if extent is None else len(extent)
        end = start + len(piece)
        if start == 0 and end >= have:
            self._extents[index] = bytes(piece)
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

    def reserve(self, offset: int, end: int) -> None:
        """Take storage for the bytes from `offset` up to `end`, as if zeros had been written where there is none.

        Raises ENOSPC, and takes nothing then.
        """
        extents = self._extents
        first = offset >> SHIFT
        last = (end - 1) >> SHIFT
        pool = self._pool
        free = pool.size - pool.used
        # Whatever lies in between and is not there yet takes a whole extent: that bounds the loops.
        if (last - first - 1 - len(extents)) * EXTENT > free:
            raise error(ENOSPC)
        wanted = 0
        for index in range(first, last + 1):
            extent = extents.get(index)
            stop = EXTENT if index < last else ((end - 1) & MASK) + 1
            wanted += max(_units(stop) - (0 if extent is None else _units(len(extent))), 0)
        if wanted > free:
            raise error(ENOSPC)
        for index in range(first, last + 1):
            extent = extents.get(index)
            stop = EXTENT if index < last else ((end - 1) & MASK) + 1
            if extent is None:
                extents[index] = _ZEROS if stop == EXTENT else _ZEROS[:stop]
            elif len(extent) < stop:
                extents[index] = extent + bytes(stop - len(extent))
        pool.used += wanted
        self.allocated += wanted

    def zero(self, offset: int, end: int) -> None:
        """Make the bytes from `offset` up to `end` zeros, where they are stored.  They stay stored."""
        for index in self._between(offset, end):
            extent = self._extents[index]
            start = max(offset - (index << SHIFT), 0)
            stop = min(end - (index << SHIFT), len(extent))
            if start == 0 and stop == EXTENT:
                self._extents[index] = _ZEROS
            elif start < stop:
                self._store(index, start, _ZEROS[: stop - start])

    def punch(self, offset: int, end: int) -> None:
        """Make the bytes from `offset` up to `end` zeros, and give back what storage they don't need: whole extents, and
        the ends of extents."""
        for index in self._between(offset, end):
            extent = self._extents[index]
            have = len(extent)
            start = max(offset - (index << SHIFT), 0)
            if end - (index << SHIFT) < have:
                self.zero(max(offset, index << SHIFT), end)
                continue
            if start >= have:
                continue
            if start:
                self._extents[index] = extent[:start]
            else:
                del self._extents[index]
            freed = _units(have) - _units(start)
            self.allocated -= freed
            self._pool.used -= freed

    def _between(self, offset: int, end: int) -> list[int]:
        """The extents that have to do with the bytes from `offset` up to `end`."""
        if end <= offset:
            return []
        first = offset >> SHIFT
        last = (end - 1) >> SHIFT
        extents = self._extents
        if last - first < len(extents):
            return [index for index in range(first, last + 1) if index in extents]
        return [index for index in extents if first <= index <= last]

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
