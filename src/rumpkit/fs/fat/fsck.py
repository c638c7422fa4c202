"""Checking a FAT volume, and repairing it (fsck.fat): boot sector and its backup, the FATs, lost clusters, FSInfo.

What is in directories is checked by fsckdir.py, which this drives.  Nothing trusts the volume: a cluster belongs to whoever came to it
first, so no chain is followed twice.  Takes one byte of memory a cluster.  Without `repair` the same repairs are made in memory alone, so
that what follows from one fault isn't reported as another.
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple, final

from ...hyper.calls import Hypercalls
from ...kern.abi.errno import EIO, error
from ...kern.device import Device
from ...vfs.types import Finding
from .geometry import Geometry
from .layout import (
    FIRST_CLUSTER,
    FSINFO,
    FSINFO_LEAD,
    FSINFO_STRUCTURE,
    FSINFO_TRAIL,
    FSINFO_UNKNOWN,
    LABEL16,
    LABEL32,
    NO_NAME,
    STATE_DIRTY,
)
from .table import Table
from .writer import CLEAN_BITS

TABLE_BYTES: Final = 16 << 20
CHUNK: Final = 1 << 16
BACKUP_SECTOR: Final = 6
"""Where Windows and mkfs.fat keep the backup of a boot sector that can't be asked."""


class Walked(NamedTuple):
    """A chain as far as it is good."""

    clusters: list[int]
    problem: str
    """What ends it before its end; "" if nothing does."""


@final
class Checker:
    """One check of one volume."""

    def __init__(
        self,
        hyper: Hypercalls,
        device: Device,
        geometry: Geometry,
        repair: bool,
        report: Callable[[Finding], None],
    ) -> None:
        self.hyper: Hypercalls = hyper
        self.device: Device = device
        self.geometry: Geometry = geometry
        self.repair: bool = repair
        self.left: int = 0
        """Faults that are still there."""
        self.used: bytearray = bytearray(geometry.end)
        """By cluster: 1 where a file has it."""
        self.first: dict[int, str] = {}
        """Paths of files by their first cluster."""
        self.table: Table = Table(device, geometry, TABLE_BYTES)
        self.label: bytes = b""
        """The root directory's."""
        self._report: Callable[[Finding], None] = report

    def found(self, text: str, where: str = "", fixed: bool = True) -> None:
        """Report a fault; `fixed`: the repair that the caller makes now is one."""
        fixed = fixed and self.repair
        if not fixed:
            self.left += 1
        self._report(Finding(text, where, fixed))

    def write(self, offset: int, data: bytes) -> None:
        """Change the device, if this is a repair."""
        if self.repair and self.device.write(offset, data) != len(data):
            raise error(EIO)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the device."""
        data = self.device.read(offset, size)
        if not isinstance(data, bytes) or len(data) != size:
            raise error(EIO)
        return data

    def run(self) -> bool:
        """Check everything; whether the volume is consistent now."""
        from .fsckdir import check_tree

        self._check_backup()
        self._check_first_entries()
        check_tree(self)
        self._check_label()
        self._check_lost()
        if self.repair and self.table.is_dirty():
            self.table.write()
        self._check_copies()
        self._check_fsinfo()
        if self.repair:
            self.device.flush()
        self._check_state()
        if self.repair:
            self.device.flush()
        return self.left == 0

    # The boot sector -----------------------------------------------------------------------------------

    def _check_backup(self) -> None:
        geometry = self.geometry
        if not geometry.backup_offset:
            return
        size = 512
        boot = self.read(0, size)
        backup = self.read(geometry.backup_offset, size)
        at = geometry.state_offset
        differing = [index for index in range(size) if boot[index] != backup[index] and index != at]
        if differing:
            self.found(f"the backup of the boot sector differs in {len(differing)} bytes", "boot sector")
            self.write(geometry.backup_offset, boot[:at] + backup[at : at + 1] + boot[at + 1 :])

    def _check_label(self) -> None:
        """The boot sector has a copy of the label in the root directory."""
        geometry = self.geometry
        wanted = self.label or NO_NAME
        if not geometry.label or geometry.label == wanted:
            return
        self.found(f"its label is {geometry.label!r}, but that of the root directory {self.label!r}", "boot sector")
        at = LABEL32 if geometry.bits == 32 else LABEL16
        self.write(at, wanted)
        if geometry.backup_offset:
            self.write(geometry.backup_offset + at, wanted)

    def _check_state(self) -> None:
        geometry = self.geometry
        clean = CLEAN_BITS[geometry.bits]
        value = self.table.get(1)
        state = self.read(geometry.state_offset, 1)[0]
        if not state & STATE_DIRTY and value & clean == clean:
            return
        self.found("the volume was not unmounted", "boot sector", self.left == 0)
        if self.left == 0:
            self.write(geometry.state_offset, bytes([state & ~STATE_DIRTY]))
            self.table.set(1, value | clean)
            if self.repair:
                self.table.write()

    # The FATs ------------------------------------------------------------------------------------------

    def _check_first_entries(self) -> None:
        geometry, table = self.geometry, self.table
        wanted = table.mask & ~0xFF | geometry.media
        if table.get(0) == wanted:
            return
        if geometry.mirrored and geometry.fats > 1:
            geometry.active_fat = 1
            other = Table(self.device, geometry, TABLE_BYTES)
            if other.get(0) == wanted:
                self.found("the first FAT is damaged, the second is taken", "FAT")
                self.table = other
                return
            geometry.active_fat = 0
        self.found(f"the FAT begins with {table.get(0):#x}, not {wanted:#x}", "FAT")
        table.set(0, wanted)

    def _check_copies(self) -> None:
        geometry = self.geometry
        if not geometry.mirrored:
            return
        good = geometry.active_fat
        for copy in range(geometry.fats):
            if copy == good:
                continue
            differing = 0
            for at in range(0, geometry.fat_bytes, CHUNK):
                size = min(CHUNK, geometry.fat_bytes - at)
                data = self.read(geometry.fat_offset + good * geometry.fat_bytes + at, size)
                offset = geometry.fat_offset + copy * geometry.fat_bytes + at
                if self.read(offset, size) != data:
                    differing += 1
                    self.write(offset, data)
            if differing:
                self.found(f"FAT {copy + 1} is not like FAT {good + 1}", "FAT")

    def follow(self, first: int, most: int, owner: str = "") -> Walked:
        """Go along a chain for at most `most` clusters, which are taken from now on."""
        geometry, table, used = self.geometry, self.table, self.used
        clusters: list[int] = []
        cluster = first
        while len(clusters) < most:
            if not FIRST_CLUSTER <= cluster < geometry.end:
                return Walked(clusters, f"goes on at cluster {cluster} of {geometry.clusters}")
            if used[cluster]:
                return Walked(clusters, f"comes to cluster {cluster}, which is in use already")
            value = table.get(cluster)
            if value == 0:
                return Walked(clusters, f"comes to cluster {cluster}, which is free")
            if value == table.bad:
                return Walked(clusters, f"comes to cluster {cluster}, which is bad")
            used[cluster] = 1
            clusters.append(cluster)
            if table.is_last(value):
                break
            cluster = value
        return Walked(clusters, "")

    def end_at(self, clusters: list[int]) -> None:
        """Let a chain end behind the last of `clusters`."""
        if clusters:
            self.table.set(clusters[-1], self.table.last)

    def _check_lost(self) -> None:
        geometry, table, used = self.geometry, self.table, self.used
        lost = 0
        code = "I" if table.wide else "H"
        for index in range(table.pieces()):
            base = index * table.per_piece
            count = min(table.per_piece, geometry.end - base)
            values = struct.unpack_from(f"<{count}{code}", table.piece(index))
            if values.count(0) == count:
                continue
            for cluster, value in enumerate(values, base):
                if value and not used[cluster] and cluster >= FIRST_CLUSTER:
                    value &= table.mask
                    if value and value != table.bad:
                        lost += 1
                        table.set(cluster, 0)
        if lost:
            self.found(f"{lost} clusters are in use, but no file has them", "FAT")

    # FSInfo --------------------------------------------------------------------------------------------

    def _check_fsinfo(self) -> None:
        geometry = self.geometry
        if not geometry.fsinfo_offset:
            return
        data = self.read(geometry.fsinfo_offset, FSINFO.size)
        lead, space, structure, free, following, rest, trail = FSINFO.unpack(data)
        if lead != FSINFO_LEAD or structure != FSINFO_STRUCTURE or trail != FSINFO_TRAIL:
            self.found("FSInfo has no signatures", "FSInfo")
            space, rest, free, following = bytes(480), bytes(12), FSINFO_UNKNOWN, FSINFO_UNKNOWN
        else:
            counted = self.table.count_free()
            if free in (counted, FSINFO_UNKNOWN):
                return
            self.found(f"FSInfo says that {free} clusters are free, but {counted} are", "FSInfo")
        counted = self.table.count_free()
        fresh = FSINFO.pack(FSINFO_LEAD, space, FSINFO_STRUCTURE, counted, following, rest, FSINFO_TRAIL)
        self.write(geometry.fsinfo_offset, fresh)


def find_geometry(device: Device, repair: bool, report: Callable[[Finding], None]) -> Geometry:
    """The shape of the volume on a device; where its boot sector makes none, that of the backup of FAT32, which a repair puts back.
    Raises EINVAL or EUCLEAN where that is no better, EIO."""
    boot = device.read(0, 512)
    assert isinstance(boot, bytes)
    try:
        return Geometry(boot, device.size())
    except OSError as problem:
        for size in (512, 4096, 1024, 2048):
            data = device.read(BACKUP_SECTOR * size, 512)
            assert isinstance(data, bytes)
            try:
                geometry = Geometry(data, device.size())
            except OSError:
                continue
            if geometry.backup_offset == BACKUP_SECTOR * size:
                report(Finding(f"{problem.strerror}; its backup is good", "boot sector", repair))
                if repair:
                    device.write(0, data)
                return geometry
        raise
