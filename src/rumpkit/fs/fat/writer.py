"""What a volume has to write, and in which order: so that a crash at any moment leaves at worst clusters that no file has.

A commit goes in steps, each durable before the next begins:

1. data of files, directories that nothing refers to yet, and the FAT with what was added to it;
2. directory entries, first as if nothing had moved away (`Slots.ghosts`), then without what has: a file that is
   renamed from one sector to another has both names for a moment, and never none;
3. the ends of chains that were cut; then the clusters that are free now.

What was freed is taken again only after a further flush (alloc.py).  Data of files doesn't wait for a commit: it is gathered while it
goes to neighbouring clusters, as new files do, and written in large pieces.
"""

from typing import TYPE_CHECKING, Final, final

from ...hyper.mutex import Mutex
from ...kern.abi.errno import EIO, error
from ...kern.device import Device
from .alloc import MOST_COOLING, Allocator
from .geometry import Geometry
from .layout import ENTRY_SIZE, FSINFO, FSINFO_LEAD, FSINFO_STRUCTURE, FSINFO_TRAIL, FSINFO_UNKNOWN, STATE_DIRTY
from .slots import Slots
from .table import Table

if TYPE_CHECKING:
    from .node import Node

GATHERED: Final = 1 << 20
"""Bytes of data that are gathered for one write of the device."""
DIRECT: Final = 1 << 18
"""A piece of data of at least that size is not copied to gather it."""
CLEAN_BITS: Final = {12: 0, 16: 0x8000, 32: 0x08000000}
"""Of the FAT's second entry: set while the volume is not in use."""


@final
class Writer:
    """The pending changes of one volume."""

    def __init__(self, device: Device, geometry: Geometry, table: Table, alloc: Allocator) -> None:
        self.device: Device = device
        self.geometry: Geometry = geometry
        self.table: Table = table
        self.alloc: Allocator = alloc
        self.slots: dict[Slots, None] = {}
        """Directories with sectors to be written."""
        self.stale: dict[Node, None] = {}
        """Files whose entries are not up to date."""
        self.commits: int = 0
        """How many there were."""
        self.changes: int = 0
        """Grows with whatever may make something to be written."""
        self.tail: bytearray = bytearray()
        self.tail_address: int = 0
        self._marked: bool = False
        """The volume is marked as in use."""
        self._was_dirty: bool = geometry.dirty
        """It was so before, and stays so until somebody checks it."""
        self._unflushed: bool = False
        """The device may not have everything."""
        self._flushes: int = 0
        self._flushing: int = 0
        """Flushes that are under way: before they have ended, the device may not have everything either."""
        self._ordered: bool = False
        """Something was written that has to be durable before the FAT is."""

    # The state of the volume ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Something will change: mark the volume as in use.  Raises EIO, EROFS."""
        self.changes += 1
        if not self._marked:
            self._mark(True)
            self._marked = True

    def _mark(self, dirty: bool) -> None:
        if self._was_dirty:
            return
        geometry = self.geometry
        clean = CLEAN_BITS[geometry.bits]
        if clean:
            value = self.table.get(1)
            self.table.set(1, value & ~clean if dirty else value | clean)
            self.table.write()
        state = self.device.read(geometry.state_offset, 1)
        if not isinstance(state, bytes) or not state:
            raise error(EIO)
        byte = state[0] | STATE_DIRTY if dirty else state[0] & ~STATE_DIRTY
        self.device.write(geometry.state_offset, bytes([byte]))
        self.flush()

    def flush(self, lock: Mutex | None = None) -> None:
        """Make everything that was written durable.  Raises EIO.

        `lock` is the mount's, given where the caller holds it but needs nothing to stay as it is: others use the mount meanwhile.
        """
        cooling = self.alloc.cooling
        cooled = len(cooling)
        if lock is None:
            self.device.flush()
            self._unflushed = False
            self._flushes += 1
            cooling.clear()
            return
        before = self._flushes
        self._unflushed = False
        self._flushing += 1
        lock.release()
        try:
            self.device.flush()
            if self._flushes == before:
                del cooling[:cooled]
            self._flushes += 1
        except BaseException:
            self._unflushed = True
            raise
        finally:
            self._flushing -= 1
            lock.retake()

    # Data ----------------------------------------------------------------------------------------------

    def write_data(self, address: int, data: bytes) -> None:
        """Write bytes of a file.  Raises EIO."""
        tail = self.tail
        if tail:
            within = address - self.tail_address
            if 0 <= within <= len(tail) and (len(data) < DIRECT or within < len(tail)):
                tail[within : within + len(data)] = data
                if len(tail) >= GATHERED:
                    self.write_tail()
                return
            self.write_tail()
        if len(data) >= DIRECT:
            self._put(address, data)
            return
        self.tail_address = address
        self.tail += data

    def write_tail(self) -> None:
        """Write the data that was gathered."""
        if self.tail:
            data = bytes(self.tail)
            self._put(self.tail_address, data)
            self.tail.clear()

    def overlaps(self, address: int, size: int) -> bool:
        """Whether some of these bytes of the device are newer in memory."""
        start = self.tail_address
        return address < start + len(self.tail) and start < address + size

    def write_before(self, address: int, data: bytes) -> None:
        """Write something that must be durable before the FAT and the directories that come to refer to it."""
        self._put(address, data)
        self._ordered = True

    def _put(self, address: int, data: bytes) -> None:
        done = self.device.write(address, data)
        if done != len(data):
            raise error(EIO)
        self._unflushed = True

    # Commits -------------------------------------------------------------------------------------------

    def commit(self, lock: Mutex | None = None) -> None:
        """Make everything durable, but for what is free now.  Raises EIO; what was not written then is still pending.

        With the mount's `lock` others go on during the first flush and the last.  What they have changed during the first may refer to
        clusters that the FAT on the device doesn't have yet: then that is written, too, and waited for under the lock.
        """
        pending = self._prepare()
        if self._unflushed or self._flushing:
            changes = self.changes
            self.flush(lock)
            if self.changes != changes:
                pending = self._prepare()
                if self._unflushed or self._flushing:
                    self.flush()
        last = lock is not None and not self.table.cuts and not self.alloc.freeing
        self._commit_directories(pending, not last)
        self.commits += 1
        self._commit_frees()
        if last and (self._unflushed or self._flushing):
            self.flush(lock)

    def _prepare(self) -> list[Slots]:
        """Write what has to be durable before directory entries are; the directories that come then."""
        self.changes += 1  # for another commit that is in its first flush
        for node in list(self.stale):
            node.update_entry()
        self.stale.clear()
        if self._ordered:
            self.flush()
            self._ordered = False
        self.write_tail()
        pending = list(self.slots)
        for slots in pending:
            if slots.fresh:
                self._write_slots(slots, slots.dirty, {})
        if self.table.is_dirty():
            self.table.write()
            self._unflushed = True
        return pending

    def _commit_directories(self, pending: list[Slots], durable: bool) -> None:
        moved = False
        for slots in pending:
            if not slots.fresh:
                self._write_slots(slots, slots.dirty, slots.ghosts)
                moved = moved or bool(slots.ghosts)
        if moved:
            self.flush()
            self._write_removals([slots for slots in pending if slots.ghosts and not slots.fresh])
        if durable and (self._unflushed or self._flushing):
            self.flush()
        for slots in pending:
            slots.fresh = False
            slots.dirty.clear()
            slots.ghosts.clear()
            self.slots.pop(slots, None)

    def _write_removals(self, pending: list[Slots]) -> None:
        """Write directories without what has moved away.  An 8.3 entry goes before those parts of its long name that lie in another
        sector: a file must not be left under its 8.3 name alone while its new name is there, too."""
        per_sector = self.geometry.sector_size // ENTRY_SIZE
        apart = [slots.parts_apart() for slots in pending]
        for slots, parts in zip(pending, apart, strict=True):
            self._write_slots(slots, {slot // per_sector for slot in slots.ghosts}, parts)
        if any(apart):
            self.flush()
            for slots, parts in zip(pending, apart, strict=True):
                self._write_slots(slots, {slot // per_sector for slot in parts}, {})

    def _commit_frees(self) -> None:
        table, alloc = self.table, self.alloc
        if table.cuts:
            for cluster in table.cuts:
                table.set(cluster, table.last)
            table.write()
            self.flush()
            table.cuts.clear()
        if alloc.freeing:
            for start, count in alloc.freeing:
                table.free(start, count)
                alloc.cooling.append((start, start + count))
            alloc.freeing.clear()
            table.write()
            self._unflushed = True
            if len(alloc.cooling) > MOST_COOLING:
                self.flush()
        table.trim()

    def _write_slots(self, slots: Slots, sectors: set[int], ghosts: dict[int, bytes]) -> None:
        """Write sectors of a directory, neighbours in one piece, with other slots for those in `ghosts`."""
        size = self.geometry.sector_size
        data = slots.data
        if ghosts:
            data = bytearray(data)
            for slot, old in ghosts.items():
                data[slot * ENTRY_SIZE : slot * ENTRY_SIZE + ENTRY_SIZE] = old
        start = end = address = 0
        for sector in sorted(sectors):
            offset = sector * size
            where = slots.address(offset)
            if end > start and offset == end and where == address + end - start:
                end += size
                continue
            if end > start:
                self._put(address, bytes(data[start:end]))
            start, end, address = offset, offset + size, where
        if end > start:
            self._put(address, bytes(data[start:end]))

    def forget(self, slots: Slots) -> None:
        """A directory is no more: nothing of it is to be written."""
        self.slots.pop(slots, None)

    # The whole -----------------------------------------------------------------------------------------

    def is_pending(self) -> bool:
        """Whether a commit has something to do."""
        return bool(
            self.stale
            or self.slots
            or self.tail
            or self._ordered
            or self.table.is_dirty()
            or self.table.cuts
            or self.alloc.freeing
        )

    def sync(self) -> None:
        """Make everything durable, and mark the volume as not in use.  Raises EIO."""
        if not self._marked:
            return
        if self.is_pending():
            self.commit()
        self._write_fsinfo()
        if self._unflushed or self._flushing:
            self.flush()
        self._mark(False)
        self._marked = False

    def _write_fsinfo(self) -> None:
        geometry = self.geometry
        if not geometry.fsinfo_offset:
            return
        data = self.device.read(geometry.fsinfo_offset, FSINFO.size)
        if not isinstance(data, bytes) or len(data) != FSINFO.size:
            raise error(EIO)
        lead, space, structure, _, _, rest, trail = FSINFO.unpack(data)
        if lead != FSINFO_LEAD or structure != FSINFO_STRUCTURE or trail != FSINFO_TRAIL:
            return
        free = self.alloc.free if self.alloc.free >= 0 else FSINFO_UNKNOWN
        hint = self.alloc.hint if self.alloc.hint < geometry.end else 2
        new = FSINFO.pack(lead, space, structure, free, hint, rest, trail)
        if new != data:
            self._put(geometry.fsinfo_offset, new)
