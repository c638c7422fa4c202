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
        self.cuts: dict[int, int] = {}
        """Clusters that end a file's chain from the next commit on, while the FAT still says otherwise."""
        self._end: int = geometry.end
        self._limit: int = max(limit // PIECE, 4)
        self._pieces: dict[int, bytearray] = {}
        """By number; the ones used last are at the end."""
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

    def trim(self) -> None:
        """Forget pieces beyond the limit.  Nothing is dirty."""
        pieces = self._pieces
        while len(pieces) > self._limit:
            del pieces[next(iter(pieces))]


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
