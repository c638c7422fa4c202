"""The FAT: which clusters are free, and which follows which.  Cached in pieces; changes are written to every copy.

Between the volume (volume.py) and its device.  In memory an entry has 2 bytes on FAT12 and FAT16, and 4 on FAT32.
A chain that leads nowhere is EUCLEAN.
"""

import struct
from typing import Final, final

from ...kern.abi.errno import EIO, EUCLEAN, error
from ...kern.device import Device
from .geometry import Geometry
from .layout import FIRST_CLUSTER

PIECE: Final = 32768
"""Bytes of a FAT16 or FAT32 that are read at once; a FAT12 is one piece, as it is no larger."""
_HALF: Final = struct.Struct("<H")
_WORD: Final = struct.Struct("<I")
END: Final = -1
"""What `following` says at the end of a chain."""


@final
class Table:
    """One volume's FAT."""

    def __init__(self, device: Device, geometry: Geometry, limit: int) -> None:
        self.geometry: Geometry = geometry
        self.device: Device = device
        bits = geometry.bits
        self.mask: int = (1 << min(bits, 28)) - 1
        self.last: int = self.mask
        """What is written at the end of a chain."""
        self._least_last: int = self.mask & ~7
        self.bad: int = self._least_last - 1
        """Marks a cluster that can't be used."""
        self.wide: bool = bits == 32
        self.width: int = 4 if self.wide else 2
        """Bytes of an entry in memory."""
        self.per_piece: int = 4096 if bits == 12 else PIECE // self.width
        self.cuts: set[int] = set()
        """Clusters that end a file's chain from the next commit on, while the FAT still says otherwise."""
        self._end: int = geometry.end
        self._limit: int = max(limit // PIECE, 4)
        self._pieces: dict[int, bytearray] = {}
        """By number, in the order they were read."""
        self._dirty: set[int] = set()
        """Sectors of the FAT that are newer in memory."""

    # Entries -------------------------------------------------------------------------------------------

    def get(self, cluster: int) -> int:
        """What the FAT has for a cluster, as it is."""
        index = cluster // self.per_piece
        piece = self._pieces.get(index)
        if piece is None:
            piece = self._load(index)
        if self.wide:
            value: int = _WORD.unpack_from(piece, (cluster - index * self.per_piece) * 4)[0]
            return value & self.mask
        half: int = _HALF.unpack_from(piece, (cluster - index * self.per_piece) * 2)[0]
        return half

    def is_last(self, value: int) -> bool:
        """Whether an entry ends a chain."""
        return value >= self._least_last

    def following(self, cluster: int) -> int:
        """The cluster behind `cluster` in its chain, or END.  Raises EUCLEAN."""
        if cluster in self.cuts:
            return END
        value = self.get(cluster)
        if FIRST_CLUSTER <= value < self._end:
            return value
        if value >= self._least_last:
            return END
        what = "is bad" if value == self.bad else "is free" if value == 0 else f"is followed by {value}"
        raise OSError(EUCLEAN, f"cluster {cluster} of a chain {what}; the volume has {self.geometry.clusters} clusters")

    # Changes -------------------------------------------------------------------------------------------

    def set(self, cluster: int, value: int) -> None:
        """Change an entry."""
        index = cluster // self.per_piece
        piece = self.piece(index)
        at = (cluster - index * self.per_piece) * self.width
        if self.wide:
            # The highest four bits are not ours.
            old: int = _WORD.unpack_from(piece, at)[0]
            _WORD.pack_into(piece, at, old & ~self.mask | value)
        else:
            _HALF.pack_into(piece, at, value)
        self._touch(cluster, cluster)

    def link(self, before: int, start: int, count: int) -> None:
        """Make the `count` free clusters from `start` on a chain behind `before` (0: a new one)."""
        cluster = start
        end = start + count
        code = "I" if self.wide else "H"
        while cluster < end:
            index = cluster // self.per_piece
            base = index * self.per_piece
            stop = min(end, base + self.per_piece)
            struct.pack_into(
                f"<{stop - cluster}{code}",
                self.piece(index),
                (cluster - base) * self.width,
                *range(cluster + 1, stop + 1),
            )
            cluster = stop
        self._touch(start, end - 1)
        self.set(end - 1, self.last)
        if before:
            self.set(before, start)

    def free(self, start: int, count: int) -> None:
        """Make the `count` clusters from `start` on free."""
        cluster = start
        end = start + count
        while cluster < end:
            index = cluster // self.per_piece
            base = index * self.per_piece
            stop = min(end, base + self.per_piece)
            low = (cluster - base) * self.width
            high = (stop - base) * self.width
            piece = self.piece(index)
            if self.wide and max(piece[low + 3 : high : 4]) > 0x0F:
                for one in range(cluster, stop):
                    self.set(one, 0)
            else:
                piece[low:high] = bytes(high - low)
            cluster = stop
        self._touch(start, end - 1)

    def find_free(self, start: int, stop: int, want: int) -> tuple[int, int]:
        """The first free cluster from `start` on and below `stop`, and how many are free from it on, of at most `want` and
        within one piece; (0, 0) if there is none."""
        width = self.width
        cluster = start
        while cluster < stop:
            index = cluster // self.per_piece
            base = index * self.per_piece
            limit = min(stop, base + self.per_piece)
            piece = self.piece(index)
            at = _find_zero(piece, (cluster - base) * width, (limit - base) * width, width)
            if at >= 0:
                some = piece[at : min((limit - base) * width, at + want * width)]
                zeros = len(some) - len(some.lstrip(b"\0"))
                return base + at // width, zeros // width
            cluster = limit
        return 0, 0

    def is_dirty(self) -> bool:
        """Whether there is something to write."""
        return bool(self._dirty)

    def write(self) -> None:
        """Write what has changed to every copy of the FAT that is in use.  Raises EIO, EROFS."""
        if not self._dirty:
            return
        geometry = self.geometry
        runs: list[tuple[int, int]] = []
        for sector in sorted(self._dirty):
            if runs and runs[-1][1] == sector:
                runs[-1] = (runs[-1][0], sector + 1)
            else:
                runs.append((sector, sector + 1))
        pieces = [(first * geometry.sector_size, self._bytes(first, end)) for first, end in runs]
        copies = range(geometry.fats) if geometry.mirrored else (geometry.active_fat,)
        for copy in copies:
            offset = geometry.fat_offset + copy * geometry.fat_bytes
            for start, data in pieces:
                self.device.write(offset + start, data)
        self._dirty.clear()

    def _bytes(self, first: int, end: int) -> bytes:
        """The FAT's sectors from `first` up to `end` as they are on disk."""
        size = self.geometry.sector_size
        if self.geometry.bits == 12:
            piece = self.piece(0)
            return _narrow(piece, self.geometry.fat_bytes)[first * size : end * size]
        parts = []
        start, stop = first * size, end * size
        while start < stop:
            index = start // PIECE
            until = min(stop, (index + 1) * PIECE)
            parts.append(bytes(self.piece(index)[start - index * PIECE : until - index * PIECE]))
            start = until
        return b"".join(parts)

    def _touch(self, first: int, last: int) -> None:
        size = self.geometry.sector_size
        bits = self.geometry.bits
        low = first * bits // 8 // size
        high = (last * bits + bits - 1) // 8 // size
        if low == high:
            self._dirty.add(low)
        else:
            self._dirty.update(range(low, high + 1))

    # Pieces --------------------------------------------------------------------------------------------

    def piece(self, index: int) -> bytearray:
        """One piece of the FAT in memory."""
        found = self._pieces.get(index)
        return self._load(index) if found is None else found

    def _load(self, index: int) -> bytearray:
        geometry = self.geometry
        if geometry.bits == 12:
            packed = self._read(0, min(geometry.fat_bytes, 4096 * 3 // 2))
            piece = _widen(packed)
        else:
            start = index * PIECE
            piece = bytearray(self._read(start, min(PIECE, geometry.fat_bytes - start)))
        if len(self._pieces) >= self._limit and not self._dirty:
            del self._pieces[next(iter(self._pieces))]
        self._pieces[index] = piece
        return piece

    def _read(self, start: int, size: int) -> bytes:
        geometry = self.geometry
        offset = geometry.fat_offset + geometry.active_fat * geometry.fat_bytes + start
        data = self.device.read(offset, size)
        if not isinstance(data, bytes) or len(data) != size:
            raise error(EIO)
        return data

    def pieces(self) -> int:
        """How many pieces there are."""
        return (self._end + self.per_piece - 1) // self.per_piece

    def count_free(self) -> int:
        """Clusters whose entry is 0."""
        found = 0
        code = "I" if self.wide else "H"
        for index in range(self.pieces()):
            first = index * self.per_piece
            count = min(self.per_piece, self._end - first)
            values = struct.unpack_from(f"<{count}{code}", self.piece(index))
            found += values.count(0)
            if self.wide:
                found += sum(1 for value in values if value and not value & self.mask)
            if first == 0:
                found -= values[:FIRST_CLUSTER].count(0)
            self.trim()
        return found

    def is_over(self) -> bool:
        """Whether more is in memory than the limit says, because it has to be written first."""
        return len(self._pieces) > self._limit

    def trim(self) -> None:
        """Forget pieces beyond the limit, unless some are to be written."""
        pieces = self._pieces
        if self._dirty:
            return
        while len(pieces) > self._limit:
            del pieces[next(iter(pieces))]


def _find_zero(piece: bytearray, low: int, high: int, width: int) -> int:
    """Where the first entry that is 0 begins in bytes `low` to `high` of a piece, or -1."""
    zero = bytes(width)
    at = piece.find(zero, low, high)
    while at >= 0 and at % width:
        at = piece.find(zero, at - at % width + width, high)
    return at


def _widen(packed: bytes) -> bytearray:
    """A FAT12, 2 bytes an entry."""
    count = len(packed) * 2 // 3
    values = []
    for at in range(0, count // 2 * 3, 3):
        three = packed[at] | packed[at + 1] << 8 | packed[at + 2] << 16
        values.append(three & 0xFFF)
        values.append(three >> 12)
    if len(values) < count:
        at = count // 2 * 3
        values.append(packed[at] | (packed[at + 1] & 0x0F) << 8)
    return bytearray(struct.pack(f"<{len(values)}H", *values))


def _narrow(piece: bytearray, size: int) -> bytes:
    """`size` bytes of FAT12 of 2-byte entries."""
    values = struct.unpack(f"<{len(piece) // 2}H", piece)
    packed = bytearray()
    for at in range(0, len(values) - 1, 2):
        three = values[at] & 0xFFF | (values[at + 1] & 0xFFF) << 12
        packed += three.to_bytes(3, "little")
    if len(values) % 2:
        packed += (values[-1] & 0xFFF).to_bytes(2, "little")
    return bytes(packed[:size])
