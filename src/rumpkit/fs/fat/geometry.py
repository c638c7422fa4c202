"""A FAT volume's shape, read from its boot sector with every number checked.  Between the device and the rest of the package."""

from typing import final

from ...kern.abi.errno import EINVAL, EUCLEAN
from .layout import (
    BOOT_BYTES,
    BPB,
    BPB16,
    BPB16_OFFSET,
    BPB32,
    BPB32_OFFSET,
    ENTRY_SIZE,
    EXTENDED,
    FIRST_CLUSTER,
    MAX_CLUSTERS,
    SIGNATURE,
    SIGNATURE_OFFSET,
    STATE16,
    STATE32,
    STATE_DIRTY,
)


def _bad(text: str) -> OSError:
    return OSError(EUCLEAN, f"boot sector: {text}")


@final
class Geometry:
    """Where everything of a volume is, in bytes from its start.  Made from the first 512 bytes of a device of `device_size` bytes.

    Raises EINVAL where that is no boot sector at all, EUCLEAN where its numbers make no volume.
    """

    def __init__(self, boot: bytes, device_size: int) -> None:
        if len(boot) < BOOT_BYTES or boot[SIGNATURE_OFFSET : SIGNATURE_OFFSET + 2] != SIGNATURE:
            raise OSError(EINVAL, "no boot sector: the signature 55 AA is missing")
        fields = BPB.unpack_from(boot)
        (_, _, sector, per_cluster, reserved, fats, root_entries, total16, media, fat16, _, _, hidden, total32) = fields
        if sector not in (512, 1024, 2048, 4096):
            raise _bad(f"{sector} bytes a sector")
        if per_cluster == 0 or per_cluster & (per_cluster - 1):
            raise _bad(f"{per_cluster} sectors a cluster")
        if reserved == 0:
            raise _bad("no reserved sector")
        if fats == 0:
            raise _bad("no FAT")
        if media != 0xF0 and media < 0xF8:
            raise _bad(f"media descriptor {media:#04x}")
        self.sector_size: int = sector
        self.cluster_size: int = sector * per_cluster
        self.reserved_sectors: int = reserved
        self.fats: int = fats
        self.media: int = media
        self.hidden: int = hidden
        self.wide: bool = fat16 == 0
        """Whether it is laid out as FAT32."""
        self.fat_sectors: int = fat16
        self.root_entries: int = root_entries
        self.root_cluster: int = 0
        self.active_fat: int = 0
        self.mirrored: bool = True
        """Whether all FATs are kept alike; else only `active_fat` is in use."""
        self.fsinfo_offset: int = 0
        """0: there is none."""
        self.backup_offset: int = 0
        self.volume_id: int = 0
        self.label: bytes = b""
        self.state_offset: int = STATE16
        if self.wide:
            self._read_wide(boot)
        else:
            state = BPB16.unpack_from(boot, BPB16_OFFSET)
            self._set_identity(state[2], state[3], state[4])
        total = total16 or total32
        self._place(total, device_size)
        self.dirty: bool = bool(boot[self.state_offset] & STATE_DIRTY)

    def _read_wide(self, boot: bytes) -> None:
        sectors, flags, version, root, fsinfo, backup, _, _, _, extended, number, label, _ = BPB32.unpack_from(
            boot, BPB32_OFFSET
        )
        if sectors == 0:
            raise _bad("a FAT of no sectors")
        if version != 0:
            raise _bad(f"FAT32 version {version >> 8}.{version & 255}")
        if self.root_entries:
            raise _bad(f"FAT32 with {self.root_entries} entries in a fixed root directory")
        self.fat_sectors = sectors
        self.root_cluster = root
        if flags & 0x80:
            self.mirrored = False
            self.active_fat = flags & 0x0F
            if self.active_fat >= self.fats:
                raise _bad(f"FAT {self.active_fat} is active, of {self.fats}")
        self.state_offset = STATE32
        if 0 < fsinfo < self.reserved_sectors:
            self.fsinfo_offset = fsinfo * self.sector_size
        if 0 < backup < self.reserved_sectors:
            self.backup_offset = backup * self.sector_size
        self._set_identity(extended, number, label)

    def _set_identity(self, extended: int, number: int, label: bytes) -> None:
        if extended == EXTENDED:
            self.volume_id = number
            self.label = label

    def _place(self, total: int, device_size: int) -> None:
        sector = self.sector_size
        if total * sector > device_size:
            raise _bad(f"{total} sectors of {sector} bytes on a device of {device_size} bytes")
        if self.root_entries * ENTRY_SIZE % sector:
            raise _bad(f"{self.root_entries} entries in the root directory don't fill whole sectors")
        if not self.wide and self.root_entries == 0:
            raise _bad("no entries in the root directory")
        self.total_sectors: int = total
        self.fat_offset: int = self.reserved_sectors * sector
        self.fat_bytes: int = self.fat_sectors * sector
        self.root_offset: int = self.fat_offset + self.fats * self.fat_bytes
        self.root_bytes: int = self.root_entries * ENTRY_SIZE
        self.data_offset: int = self.root_offset + self.root_bytes
        clusters = (total * sector - self.data_offset) // self.cluster_size
        if clusters <= 0:
            raise _bad(f"{total} sectors hold no cluster")
        # The specification goes by the count of clusters alone; what has no 16-bit FAT size can only be FAT32, and
        # small volumes of that kind are common.
        if self.wide:
            bits = 32
        elif clusters <= MAX_CLUSTERS[12]:
            bits = 12
        else:
            bits = 16
        if clusters > MAX_CLUSTERS[bits]:
            raise _bad(f"{clusters} clusters are too many for FAT{bits}")
        self.bits: int = bits
        """12, 16 or 32."""
        # A FAT that is too short for the clusters leaves the last ones out.
        self.clusters: int = min(clusters, self.fat_bytes * 8 // bits - FIRST_CLUSTER)
        if self.clusters <= 0:
            raise _bad("the FAT has no room for a cluster")
        self.end: int = self.clusters + FIRST_CLUSTER
        """Behind the last cluster's number."""
        if self.wide and not FIRST_CLUSTER <= self.root_cluster < self.end:
            raise _bad(f"the root directory begins at cluster {self.root_cluster} of {self.clusters}")

    def address(self, cluster: int) -> int:
        """Where a cluster begins on the device."""
        return self.data_offset + (cluster - FIRST_CLUSTER) * self.cluster_size

    def size(self) -> int:
        """Bytes that the volume takes."""
        return self.total_sectors * self.sector_size
