"""QEMU's qcow2 images, read: versions 2 and 3, zero and compressed clusters, and a backing file where its user finds it.

Between a host file, or any backend that holds such an image, and a disk.  The format is described in QEMU's docs/interop/qcow2.  What an
image says is checked before it is believed: whatever can't be is EUCLEAN, what is not supported ENOTSUP.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple, final

from ..hyper.block import BlockBackend
from ..kern.abi.errno import EINVAL, ENOTSUP, EROFS, EUCLEAN, error

MAGIC: Final = b"QFI\xfb"
MAX_L1: Final = 32 << 20
"""Bytes of the L1 table that are believed, as QEMU's limit."""
MAX_BACKING_NAME: Final = 1023
TABLE_BYTES: Final = 16 << 20
"""L2 tables that are kept in memory."""
CLUSTERS_KEPT: Final = 16
"""Unpacked clusters that are kept in memory."""

_HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQ")
"""Magic, version, place and length of the backing file's name, cluster bits, size, encryption, L1 entries, L1's place, refcount table's
place and clusters, number and place of snapshots."""
_HEADER_3: Final = struct.Struct(">QQQII")
"""Incompatible, compatible and autoclear features, refcount order, header's length."""
_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = 1, 2, 4, 8, 16
_UNSUPPORTED: Final = {_DATA_FILE: "its data is in another file", _EXTENDED_L2: "it has subclusters"}
_OFFSET: Final = 0x00FFFFFFFFFFFE00
_COMPRESSED: Final = 1 << 62
_ZERO: Final = 1
_ENTRY: Final = struct.Struct(">Q")

Resolver = Callable[[str], BlockBackend]
"""Finds a backing file by the name that an image has for it."""


class _Header(NamedTuple):
    version: int
    cluster_bits: int
    size: int
    l1_entries: int
    l1_place: int
    backing: str


@final
class Qcow2Backend(BlockBackend):
    """The disk in a qcow2 image.  Closing it closes the image, and its backing file."""

    def __init__(self, image: BlockBackend, resolve: Resolver | None = None) -> None:
        """Raises EUCLEAN for a damaged image; ENOTSUP for what is not supported, and for a backing file without `resolve`."""
        header = _read_header(image)
        super().__init__(header.size, read_only=True)
        self.image: BlockBackend = image
        self.version: int = header.version
        self.backing: BlockBackend | None = None
        self._bits: int = header.cluster_bits
        self._cluster: int = 1 << header.cluster_bits
        self._per_table: int = self._cluster // 8
        raw = image.read(header.l1_place, header.l1_entries * 8)
        self._l1: list[int] = [entry for (entry,) in _ENTRY.iter_unpack(raw)]
        self._tables: dict[int, bytes] = {}
        self._tables_kept: int = max(TABLE_BYTES // self._cluster, 1)
        self._unpacked: dict[int, bytes] = {}
        if header.backing:
            if resolve is None:
                raise OSError(
                    ENOTSUP, f"qcow2: it rests on another image, {header.backing!r}; qemu-img convert makes it whole"
                )
            self.backing = resolve(header.backing)

    def read(self, offset: int, size: int) -> bytes:
        """Read exactly `size` bytes.  Raises EINVAL outside of the disk, EUCLEAN, and what the image's storage raises."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise error(EINVAL)
        parts: list[bytes] = []
        end = offset + size
        while offset < end:
            entry = self._entry(offset)
            stop = min((offset // self._cluster + 1) * self._cluster, end)
            if entry & _COMPRESSED:
                parts.append(self._unpack(entry)[offset % self._cluster : offset % self._cluster + stop - offset])
                offset = stop
                continue
            kind = self._kind(entry)
            while stop < end and self._follows(entry, kind, stop, offset):
                stop = min(stop + self._cluster, end)
            parts.append(self._piece(entry, kind, offset, stop - offset))
            offset = stop
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        """Raises EROFS."""
        raise error(EROFS)

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Close the image and its backing file."""
        self.image.close()
        if self.backing is not None:
            self.backing.close()

    # Where a cluster is ------------------------------------------------------------------------------------

    def _entry(self, offset: int) -> int:
        """The L2 entry of the cluster at this offset of the disk; 0 where there is none."""
        index = offset >> self._bits
        l1 = self._l1[index // self._per_table]
        place = l1 & _OFFSET
        if not place:
            return 0
        table = self._tables.get(place)
        if table is None:
            table = self._load_table(place)
        entry: int = _ENTRY.unpack_from(table, index % self._per_table * 8)[0]
        return entry

    def _load_table(self, place: int) -> bytes:
        if place % self._cluster or place + self._cluster > self.image.size:
            raise OSError(EUCLEAN, f"qcow2: an L2 table is at byte {place}, which can't be")
        table = self.image.read(place, self._cluster)
        if len(self._tables) >= self._tables_kept:
            del self._tables[next(iter(self._tables))]
        self._tables[place] = table
        return table

    def _kind(self, entry: int) -> int:
        """0: nothing here, look at the backing file; 1: zeros; 2: data."""
        if self.version >= 3 and entry & _ZERO:
            return 1
        return 2 if entry & _OFFSET else 0

    def _follows(self, entry: int, kind: int, stop: int, offset: int) -> bool:
        """Whether the cluster at `stop` goes on where the run that began at `offset` with `entry` ends."""
        following = self._entry(stop)
        if following & _COMPRESSED or self._kind(following) != kind:
            return False
        clusters = (stop >> self._bits) - (offset >> self._bits)
        return kind != 2 or following & _OFFSET == (entry & _OFFSET) + clusters * self._cluster

    # What is in it -----------------------------------------------------------------------------------------

    def _piece(self, entry: int, kind: int, offset: int, size: int) -> bytes:
        if kind == 1:
            return bytes(size)
        if kind == 0:
            return self._below(offset, size)
        place = entry & _OFFSET
        if place % self._cluster or place >= self.image.size:
            raise OSError(EUCLEAN, f"qcow2: a cluster is at byte {place}, which can't be")
        place += offset % self._cluster
        there = max(min(size, self.image.size - place), 0)
        data = self.image.read(place, there) if there else b""
        return data if there == size else data.ljust(size, b"\0")

    def _below(self, offset: int, size: int) -> bytes:
        """What the backing file has there: zeros behind its end, and where there is none."""
        backing = self.backing
        if backing is None or offset >= backing.size:
            return bytes(size)
        return backing.read(offset, min(size, backing.size - offset)).ljust(size, b"\0")

    def _unpack(self, entry: int) -> bytes:
        """A compressed cluster: raw deflate in whole sectors from any byte on."""
        known = self._unpacked.get(entry)
        if known is not None:
            return known
        shift = 62 - (self._bits - 8)
        place = entry & ((1 << shift) - 1)
        length = ((entry & (_COMPRESSED - 1)) >> shift) * 512 + 512 - place % 512
        if place >= self.image.size:
            raise OSError(EUCLEAN, f"qcow2: a compressed cluster is at byte {place}, which can't be")
        packed = self.image.read(place, min(length, self.image.size - place))
        try:
            data = zlib.decompressobj(-15).decompress(packed, self._cluster)
        except zlib.error as problem:
            raise OSError(EUCLEAN, f"qcow2: the compressed cluster at byte {place} is damaged: {problem}") from None
        if len(data) != self._cluster:
            raise OSError(EUCLEAN, f"qcow2: the compressed cluster at byte {place} has {len(data)} bytes")
        if len(self._unpacked) >= CLUSTERS_KEPT:
            del self._unpacked[next(iter(self._unpacked))]
        self._unpacked[entry] = data
        return data


def _read_header(image: BlockBackend) -> _Header:
    """The header, all numbers checked.  Raises EUCLEAN, ENOTSUP."""
    if image.size < _HEADER.size:
        raise OSError(EUCLEAN, "qcow2: it is too short to be such an image")
    raw = image.read(0, min(image.size, _HEADER.size + _HEADER_3.size + 1))
    magic, version, name_place, name_size, bits, size, crypt, entries, place, _, _, _, _ = _HEADER.unpack_from(raw)
    if magic != MAGIC:
        raise OSError(EUCLEAN, "qcow2: it is no such image")
    if version not in (2, 3):
        raise OSError(ENOTSUP, f"qcow2: version {version} is not known")
    if version == 3:
        _check_features(raw)
    if crypt:
        raise OSError(ENOTSUP, "qcow2: it is encrypted")
    if not 9 <= bits <= 21:
        raise OSError(EUCLEAN, f"qcow2: clusters of 2**{bits} bytes")
    cluster = 1 << bits
    if not 0 <= size < 1 << 62 or entries * 8 > MAX_L1 or -(-size // (cluster * (cluster // 8))) > entries:
        raise OSError(EUCLEAN, f"qcow2: a disk of {size} bytes can't have an L1 table of {entries} entries")
    if place % cluster or place + entries * 8 > image.size:
        raise OSError(EUCLEAN, f"qcow2: an L1 table of {entries} entries at byte {place} is not within the image")
    backing = ""
    if name_place:
        if name_size > MAX_BACKING_NAME or name_place + name_size > min(cluster, image.size):
            raise OSError(EUCLEAN, "qcow2: the name of its backing file is not within its first cluster")
        backing = image.read(name_place, name_size).decode("utf-8", "surrogateescape")
    return _Header(version, bits, size, entries, place, backing)


def _check_features(raw: bytes) -> None:
    """What version 3 says of itself: unknown incompatible features are not to be ignored."""
    if len(raw) < _HEADER.size + _HEADER_3.size:
        raise OSError(EUCLEAN, "qcow2: it is too short to be such an image")
    incompatible, _, _, _, length = _HEADER_3.unpack_from(raw, _HEADER.size)
    if incompatible & _CORRUPT:
        raise OSError(EUCLEAN, "qcow2: it is marked as corrupt; qemu-img check -r all may mend it")
    for bit, text in _UNSUPPORTED.items():
        if incompatible & bit:
            raise OSError(ENOTSUP, f"qcow2: {text}")
    if incompatible & ~(_DIRTY | _COMPRESSION):
        raise OSError(ENOTSUP, f"qcow2: it has features that are not known ({incompatible:#x})")
    if length < _HEADER.size + _HEADER_3.size:
        raise OSError(EUCLEAN, f"qcow2: a header of {length} bytes")
    if incompatible & _COMPRESSION and (length < 105 or raw[104:105] != b"\0"):
        raise OSError(ENOTSUP, "qcow2: it is not compressed by zlib")
