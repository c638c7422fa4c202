"""Fast commits replayed: inodes, names and ranges of blocks that Linux logged one by one, brought into the file system.

It all happens in memory, on a device whose writes go nowhere; what comes out are the blocks that are different then, for the
journal to have as one transaction.  So a crash meanwhile leaves either the fast commits or the transaction that they became.

A directory gets its names by the tags for names alone: the blocks that Linux gave it are not what it gets here.
"""

from typing import Final, final

from ...kern.abi.fcntl import S_IFDIR, S_IFMT
from ...kern.device import Device
from ...vfs.buffer import BufferCache
from . import blockmap, directory, dirent, dirwrite, extentmap, extents, removal, storage
from .bitmaps import block_bitmap, change_blocks, clear_bits, set_bits
from .checksum import inode_seed
from .extents import Extent
from .geometry import Geometry, check_magic, corrupt
from .inode import BASE, BLOCK_AT, BLOCK_SIZE, EXTENTS, GENERATION_AT, HUGE, INDEXED, INLINE, ROOT, Inode
from .journal.fastcommit import ADD_RANGE, CREAT, DEL_RANGE, INODE, LINK, UNLINK, Tag
from .journal.overlay import ChangedDevice
from .node import MAX_LINKS
from .orphans import OrphanList
from .runs import Runs
from .state import InodeState
from .volume import Volume, read_superblock

CREDITS: Final = 64
CACHE_BYTES: Final = 16 << 20
SECOND: Final = 1_000_000_000
MAX_PROMISED: Final = 1 << 31
"""Blocks that all ranges together may give to files; Linux's usual area of 1 MiB has not the room for more."""


def changed_blocks(device: Device, tags: list[Tag]) -> dict[int, bytes]:
    """The blocks of the file system on `device` that these tags change, as they are then.  Raises EUCLEAN, ENOSPC, EIO."""
    raw = read_superblock(device)
    check_magic(raw)
    geometry = Geometry(raw, device.size())
    over = ChangedDevice(device, geometry.block_size)
    volume = Volume(BufferCache(over, geometry.block_size, CACHE_BYTES), geometry)
    volume.count_free()
    replay = _Replay(volume)
    replay.run(tags)
    volume.transaction.close()
    volume.cache.sync()
    return over.blocks


@final
class _Replay:
    """One replay."""

    def __init__(self, volume: Volume) -> None:
        self._volume: Volume = volume
        self._states: dict[int, InodeState] = {}
        self._ranges: dict[int, Runs] = {}
        """By inode, the blocks of the file that were given other ones."""
        self._gone: Runs = Runs()
        """Blocks that perhaps no file has any more."""
        self._promised: dict[int, Runs] = {}
        """By inode, the blocks of all ranges that are to be added."""
        self._total: int = 0
        """How many blocks that is, each as often as it is promised."""
        self._counted: dict[int, None] = {}
        """Directories whose subdirectories have to be counted."""

    def run(self, tags: list[Tag]) -> None:
        """Replay them in their order."""
        for tag in tags:
            if tag.kind == ADD_RANGE:
                self._promise(tag.data)
        table = {
            INODE: self._inode,
            CREAT: self._create,
            LINK: self._link,
            UNLINK: self._unlink,
            ADD_RANGE: self._add_range,
            DEL_RANGE: self._delete_range,
        }
        for tag in tags:
            step = table.get(tag.kind)
            if step is not None:
                self._volume.begin(CREDITS)
                try:
                    step(tag.data)
                finally:
                    self._volume.end()
        self._finish()

    # Inodes --------------------------------------------------------------------------------------------

    def _state(self, number: int) -> InodeState:
        """An inode.  Raises EUCLEAN for one that no name can have."""
        state = self._states.get(number)
        if state is None:
            if number < self._volume.geometry.first_inode and number != ROOT:
                raise corrupt(f"fast commit: inode {number} is no ordinary file's")
            state = self._states[number] = self._volume.read_inode(number)
        return state

    def _inode(self, data: bytes) -> None:
        """The fields of an inode, but for its map of blocks, which ranges make."""
        number = int.from_bytes(data[:4], "little")
        volume = self._volume
        size = volume.geometry.inode_size
        if number < volume.geometry.first_inode and number != ROOT:
            raise corrupt(f"fast commit: inode {number} is no ordinary file's")
        if not BASE <= len(data) - 4 <= size:
            raise corrupt(f"fast commit: inode {number} has {len(data) - 4} bytes")
        mode = int.from_bytes(data[4:6], "little")
        fresh = volume.inodes.claim(number, mode & S_IFMT == S_IFDIR)
        if fresh:
            # What the number was before, or what an earlier tag named in vain, is not this file's.
            self._states[number] = InodeState(volume, number, Inode(bytes(size), size))
        state = self._state(number)
        old = state.inode
        raw = bytearray(old.emit(size) if not fresh else bytes(size))
        flags = int.from_bytes(data[36:40], "little")
        raw[:BLOCK_AT] = data[4 : 4 + BLOCK_AT]
        if not flags & EXTENTS:
            raw[BLOCK_AT:GENERATION_AT] = data[4 + BLOCK_AT : 4 + GENERATION_AT]
        raw[GENERATION_AT : len(data) - 4] = data[4 + GENERATION_AT :]
        inode = state.inode = Inode(bytes(raw), size)
        state._seed = inode_seed(volume.seed, number, inode.generation)
        if inode.flags & EXTENTS and (fresh or not old.flags & EXTENTS):
            inode.block = bytes(extents.new_node(BLOCK_SIZE, 0, 4))
        if mode & S_IFMT == S_IFDIR:
            # What the directory is made of is ours.
            keep = INDEXED | INLINE | EXTENTS
            inode.flags = inode.flags & ~keep | (0 if fresh else old.flags & keep)
            inode.size = old.size
            inode.block = old.block
            if fresh:
                storage.empty_map(state)
        state.extents = inode.flags & EXTENTS != 0
        state.sound = b""
        volume.mark_inode(state)

    # Names ---------------------------------------------------------------------------------------------

    def _entry(self, data: bytes) -> tuple[InodeState, InodeState, bytes]:
        """Directory, file and name of a tag.  Raises EUCLEAN."""
        parent = self._state(int.from_bytes(data[:4], "little"))
        child = self._state(int.from_bytes(data[4:8], "little"))
        name = data[8:]
        if parent.inode.mode & S_IFMT != S_IFDIR or parent.number == child.number:
            raise corrupt(f"fast commit: {parent.where} is no directory for {child.where}")
        if not 0 < len(name) <= 255 or b"/" in name or b"\0" in name or name in (b".", b".."):
            raise corrupt(f"fast commit: {child.where} can't be called {name!r}")
        return parent, child, name

    def _kind(self, child: InodeState) -> int:
        kind = dirent.TYPES.get(child.inode.mode & S_IFMT)
        if kind is None:
            raise corrupt(f"fast commit: {child.where} is of no known kind")
        return kind if self._volume.has_kinds else 0

    def _create(self, data: bytes) -> None:
        """A new file, which has its first name."""
        parent, child, name = self._entry(data)
        if child.inode.mode & S_IFMT == S_IFDIR:
            if not child.inode.size:
                dirwrite.start(child, parent.number, self._kind(child))
            self._counted[parent.number] = self._counted[child.number] = None
        else:
            child.inode.links = 1
        self._put(parent, child, name)
        self._volume.mark_inode(child)

    def _link(self, data: bytes) -> None:
        """A further name."""
        parent, child, name = self._entry(data)
        if self._put(parent, child, name):
            child.inode.links = min(child.inode.links + 1, 0xFFFF)
            self._volume.mark_inode(child)

    def _unlink(self, data: bytes) -> None:
        """A name that is gone."""
        parent, child, name = self._entry(data)
        if self._find(parent, name) != child.number:
            return
        dirwrite.remove(parent, name)
        self._volume.mark_inode(parent)
        directory = child.inode.mode & S_IFMT == S_IFDIR
        if directory:
            self._counted[parent.number] = None
        child.inode.links = 0 if directory else max(child.inode.links - 1, 0)
        self._volume.mark_inode(child)
        if child.inode.links == 0:
            # The number may be another file's soon.
            removal.erase(self._volume, OrphanList(self._volume), child, max(child.inode.ctime, SECOND))
            del self._states[child.number]
            self._counted.pop(child.number, None)

    def _find(self, parent: InodeState, name: bytes) -> int:
        """What a name means; 0 for nothing."""
        for _, number, _, found in directory.entries(parent, 0, 1 << 30) if parent.inode.flags & INLINE else ():
            if found == name:
                return int(number)
        if parent.inode.flags & INLINE:
            return 0
        found_place = directory.place(parent, name)
        return 0 if found_place is None else dirent.inode_at(bytes(found_place[0].data), found_place[1])

    def _put(self, parent: InodeState, child: InodeState, name: bytes) -> bool:
        """Let a name mean a file; False where it does already."""
        there = self._find(parent, name)
        if there == child.number:
            return False
        if there:
            dirwrite.replace(parent, name, child.number, self._kind(child))
        else:
            dirwrite.add(parent, name, child.number, self._kind(child))
        self._volume.mark_inode(parent)
        return True

    # Blocks --------------------------------------------------------------------------------------------

    def _range(self, data: bytes) -> tuple[InodeState | None, Extent]:
        """The file and the extent of a tag; None for a directory.  Raises EUCLEAN."""
        number = int.from_bytes(data[:4], "little")
        if len(data) < 16:
            raise corrupt(f"fast commit: a range of {len(data)} bytes")
        extent = extents.unpack(data, 4)
        if not extent.length or extent.start + extent.length > extents.MAX_BLOCK:
            raise corrupt(f"fast commit: inode {number} has blocks {extent.start}+{extent.length}")
        self._volume.geometry.check_block(extent.block, extent.length, f"fast commit: inode {number}")
        state = self._state(number)
        return (None if state.inode.mode & S_IFMT == S_IFDIR else state), extent

    def _promise(self, data: bytes) -> None:
        """Blocks that a file is going to have: nobody else may take them."""
        if len(data) < 16:
            raise corrupt(f"fast commit: a range of {len(data)} bytes")
        number = int.from_bytes(data[:4], "little")
        extent = extents.unpack(data, 4)
        self._volume.geometry.check_block(extent.block, extent.length, f"fast commit: inode {number}")
        self._total += extent.length
        if self._total > MAX_PROMISED:
            raise corrupt(f"fast commit: inode {number}: files get more than {MAX_PROMISED} blocks")
        self._volume.begin(CREDITS)
        try:
            taken = self._use(extent.block, extent.length, True)
        finally:
            self._volume.end()
        if taken != extent.length and not self._has(number, extent):
            raise corrupt(f"fast commit: inode {number} gets blocks {extent.block}+{extent.length}, which are in use")
        self._gone.add(extent.block, extent.length)
        promised = self._promised.get(number)
        if promised is None:
            promised = self._promised[number] = Runs()
        promised.add(extent.block, extent.length)

    def _has(self, number: int, extent: Extent) -> bool:
        """Whether a file has blocks, or those of its own, already, or an earlier tag gave them to it."""
        promised = self._promised.get(number)
        if promised is not None and promised.touches(extent.block, extent.length):
            return True
        state = self._volume.read_inode(number)
        if not state.inode.mode or not state.extents:
            return False
        block = extent.start
        while block < extent.start + extent.length:
            run = blockmap.find(state, block, extent.start + extent.length - block)
            if run.block and run.block != extent.block + block - extent.start:
                return False
            block += run.length
        return True

    def _add_range(self, data: bytes) -> None:
        """Blocks of a file lie here."""
        state, extent = self._range(data)
        if state is None:
            return
        if not state.extents:
            raise corrupt(f"fast commit: {state.where} has no extents")
        run = blockmap.find(state, extent.start, extent.length)
        ranges = self._ranges.get(state.number)
        if ranges is None:
            ranges = self._ranges[state.number] = Runs()
        ranges.add(extent.start, extent.length)
        if (run.block, run.length, run.unwritten) != (extent.block, extent.length, extent.unwritten):
            self._cut(state, extent.start, extent.start + extent.length)
            extentmap.insert(state, extent)
        self._volume.mark_inode(state)

    def _delete_range(self, data: bytes) -> None:
        """Blocks of a file are a hole."""
        number, start, length = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4, 8))
        if len(data) < 12 or start + length > extents.MAX_BLOCK + 1:
            raise corrupt(f"fast commit: inode {number} loses blocks {start}+{length}")
        state = self._state(number)
        if state.inode.mode & S_IFMT == S_IFDIR or not length:
            return
        if not state.extents:
            raise corrupt(f"fast commit: {state.where} has no extents")
        self._cut(state, start, start + length)
        self._volume.mark_inode(state)

    def _cut(self, state: InodeState, start: int, end: int) -> None:
        done = False
        while not done:
            gone, done = extentmap.cut(state, start, end, 1024)
            for extent in gone:
                self._gone.add(extent.block, extent.length)

    def _use(self, block: int, count: int, used: bool) -> int:
        """Mark blocks as used or free; how many were not."""
        volume = self._volume
        geometry = volume.geometry
        changed = 0
        while count:
            number, offset = divmod(block - geometry.first_data_block, geometry.blocks_per_group)
            piece = min(count, geometry.blocks_per_group - offset)
            group = volume.groups.get(number)
            data = block_bitmap(volume, group).data
            free = piece - _ones(data, offset, piece)
            more = free if used else piece - free
            if more:
                change_blocks(volume, group, block_bitmap(volume, group))
                if used:
                    set_bits(data, offset, piece)
                else:
                    clear_bits(data, offset, piece)
                group.block_hint = 0
                group.descriptor.free_blocks += -more if used else more
                volume.fields.free_blocks_count += -more if used else more
            changed += more
            block += piece
            count -= piece
        return changed

    # The end -------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Blocks that no file has are free, files without a name go, and everything is counted."""
        volume = self._volume
        volume.transaction.sync(True)  # what was removed is free
        volume.begin(CREDITS)
        for block, count in self._gone.all():
            self._use(block, count, False)
        for number, ranges in self._ranges.items():
            state = self._states.get(number)
            if state is None or not state.extents:
                continue
            for start, length in ranges.all():
                while length:
                    run = blockmap.find(state, start, length)
                    if run.block:
                        self._use(run.block, run.length, True)
                    start += run.length
                    length -= run.length
        volume.end()
        for number in self._counted:
            state = self._states[number]
            if state.inode.links != 1 or not volume.counts_many:
                state.inode.links = min(2 + self._subdirectories(state), MAX_LINKS)
        for state in list(self._states.values()):
            volume.begin(CREDITS)
            if state.extents:
                blocks = _storage(state) + (1 if state.inode.file_acl else 0)
                state.inode.blocks = blocks if state.inode.flags & HUGE else blocks << volume.block_bits - 9
            volume.mark_inode(state)
            volume.end()

    def _subdirectories(self, state: InodeState) -> int:
        """How many directories are in one."""
        found = 0
        position = 0
        while names := directory.entries(state, position, 1024):
            position = names[-1][0]
            for _, number, kind, _ in names:
                if self._volume.has_kinds:
                    found += kind == dirent.TYPES[S_IFDIR]
                else:
                    found += self._volume.current_inode(number).inode.mode & S_IFMT == S_IFDIR
        return found


def _ones(data: bytearray, start: int, count: int) -> int:
    """How many of `count` bits from `start` on are set."""
    bits = int.from_bytes(data[start >> 3 : start + count + 7 >> 3], "little") >> (start & 7)
    return (bits & (1 << count) - 1).bit_count()


def _storage(state: InodeState) -> int:
    """The blocks of a file with extents, and those of the extents themselves."""

    def below(data: bytes | bytearray, level: int, low: int, high: int) -> int:
        total = 0
        count = extents.entries(data)
        for index in range(count):
            at = extents.HEADER + index * extents.ENTRY
            if not level:
                total += extents.unpack(data, at).length
                continue
            start = extents.key(data, index)
            end = extents.key(data, index + 1) if index + 1 < count else high
            child = blockmap.node(
                state, extents.child(data, at), level - 1, min(low, start) if not index else start, end
            )
            total += 1 + below(bytes(child.data), level - 1, start, end)
        return total

    top = blockmap.root(state)
    return below(top, extents.depth(top), 0, extents.MAX_BLOCK)
