"""The shape of a new FAT volume: width, cluster size and sizes of the parts, as mkfs.fat and Windows choose them by the device's size.

Between the options of a format and what writes it (format.py).  Everything is in sectors unless it says otherwise.
"""

from collections.abc import Mapping
from typing import Final, final

from ...kern.abi.errno import EFBIG, EINVAL, ENOSPC
from ...vfs.types import OptionValue
from .layout import ENTRY_SIZE, FIRST_CLUSTER, MAX_CLUSTERS, MIN_CLUSTERS_32

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

FLOPPIES: Final = {
    160: (1, 64),
    180: (1, 64),
    320: (2, 112),
    360: (2, 112),
    720: (2, 112),
    1200: (1, 224),
    1440: (1, 224),
    2880: (2, 240),
}
"""Sectors a cluster and root entries of floppy disks, by KiB."""
WIDE_FROM: Final = 512 * MIB
"""Volumes of that size and more are FAT32."""
WIDE_CLUSTERS: Final = (
    (260 * MIB, 512),
    (8 * GIB, 4 * KIB),
    (16 * GIB, 8 * KIB),
    (32 * GIB, 16 * KIB),
    (1 << 62, 32 * KIB),
)
"""Bytes of a FAT32's clusters for volumes up to a size (the table of Microsoft's specification)."""
NARROW_START: Final = 2 * KIB
"""Bytes of a FAT12's or FAT16's clusters, unless there would be too many."""
LARGEST_CLUSTER: Final = 64 * KIB
ROOT_ENTRIES: Final = 512
WIDE_RESERVED: Final = 32
MAX_SECTORS: Final = 0xFFFFFFFF


def _bad(text: str) -> OSError:
    return OSError(EINVAL, text)


@final
class Plan:
    """What a format will write.  Raises EINVAL for options that don't go together, ENOSPC and EFBIG for the device's size."""

    def __init__(self, size: int, options: Mapping[str, OptionValue]) -> None:
        self.sector_size: int = int(options["sector_size"])
        if self.sector_size not in (512, 1024, 2048, 4096):
            raise _bad(f"sectors have 512, 1024, 2048 or 4096 bytes, not {self.sector_size}")
        self.total: int = size // self.sector_size
        if self.total > MAX_SECTORS:
            raise OSError(EFBIG, f"FAT has no more than {MAX_SECTORS} sectors, here of {self.sector_size} bytes")
        self.fats: int = int(options["fats"])
        self.align: bool = bool(options["align"])
        floppy = FLOPPIES.get(size // KIB) if size % KIB == 0 and self.sector_size == 512 else None
        self.media: int = 0xF0 if floppy else 0xF8
        given = int(options["bits"])
        if given not in (0, 12, 16, 32):
            raise _bad(f"a FAT has 12, 16 or 32 bits, not {given}")
        self.bits: int = given or (32 if size >= WIDE_FROM else 0)
        if floppy and self.bits in (0, 12):
            self.align = False
        self.reserved: int = int(options["reserved"]) or (WIDE_RESERVED if self.bits == 32 else 1)
        if self.bits == 32 and self.reserved < 2:
            raise _bad("FAT32 takes 2 reserved sectors at least")
        entries = int(options["root_entries"]) or (floppy[1] if floppy else ROOT_ENTRIES)
        per_sector = self.sector_size // ENTRY_SIZE
        self.root_entries: int = 0 if self.bits == 32 else -(-entries // per_sector) * per_sector
        if self.root_entries > 65535:
            self.root_entries -= per_sector
        self._fixed_reserved: bool = bool(options["reserved"])
        self.per_cluster: int = 0
        self.fat_sectors: int = 0
        self.clusters: int = 0
        wanted = int(options["cluster_size"])
        if wanted:
            self._check_cluster(wanted)
            self._settle([wanted])
        elif floppy and self.bits in (0, 12):
            self._settle([floppy[0] * 512])
        else:
            self._settle(self._sizes(size))

    def _check_cluster(self, size: int) -> None:
        per = size // self.sector_size
        if size % self.sector_size or per == 0 or per & (per - 1) or per > 128:
            raise _bad(f"a cluster has 1 to 128 sectors, a power of 2; {size} bytes are not")

    def _sizes(self, size: int) -> list[int]:
        """Cluster sizes to try, in bytes."""
        if self.bits == 32:
            start = next(cluster for limit, cluster in WIDE_CLUSTERS if size <= limit)
        else:
            start = NARROW_START
        start = max(start, self.sector_size)
        sizes = []
        while start <= max(LARGEST_CLUSTER, self.sector_size):
            sizes.append(start)
            start *= 2
        return sizes

    def _settle(self, sizes: list[int]) -> None:
        """Take the first cluster size, and width if that is open, that fits."""
        for size in sizes:
            for bits in (self.bits,) if self.bits else (12, 16):
                if self._fits(size // self.sector_size, bits):
                    self.bits = bits
                    return
        if self.clusters <= 0:
            raise OSError(ENOSPC, f"{self.total} sectors are too few")
        raise _bad(f"{self.total} sectors don't make a FAT{self.bits or 16} with clusters of {sizes[-1]} bytes")

    def _fits(self, per_cluster: int, bits: int) -> bool:
        """Whether so many sectors a cluster make a volume of that width; sets the sizes if so."""
        root = self.root_entries * ENTRY_SIZE // self.sector_size
        reserved = self.reserved
        fat = 1
        while True:
            start = reserved + self.fats * fat + root
            pad = -start % per_cluster if self.align and not self._fixed_reserved else 0
            clusters = (self.total - start - pad) // per_cluster
            self.clusters = clusters
            if clusters <= 0:
                return False
            needed = -(-(clusters + FIRST_CLUSTER) * bits // (8 * self.sector_size))
            if needed <= fat:
                break
            fat = needed
        if clusters > MAX_CLUSTERS[bits] or (bits == 16 and clusters <= MAX_CLUSTERS[12]):
            return False
        if bits != 32 and fat > 65535:
            return False
        if self.reserved + pad > 65535:
            return False
        self.per_cluster = per_cluster
        self.fat_sectors = fat
        self.reserved += pad
        return True

    def is_small(self) -> bool:
        """Whether it is a FAT32 with fewer clusters than the specification has for one; most systems take it."""
        return self.bits == 32 and self.clusters < MIN_CLUSTERS_32
