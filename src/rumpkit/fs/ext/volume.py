"""A file system on a device, below vnodes: its geometry, groups and inodes, and what of them waits to be written.

What changes metadata says so here; checksums and counts are made in `seal`, once for each transaction.
"""

from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EIO, EROFS, EUCLEAN
from ...kern.device import Device
from ...vfs.buffer import UNCHECKED, Buffer, BufferCache
from ...vfs.namecache import NameCache, NameCounters
from . import bitmaps, superblock
from .allocate import Allocator
from .checksum import inode_checksum, seed, set_inode_checksum, stored_inode_checksum, superblock_checksum
from .features import DIR_INDEX, DIR_NLINK, EA_INODE, FILETYPE, INLINE_DATA, LARGEDIR
from .geometry import Geometry, corrupt
from .groups import Group, GroupTable
from .inode import BASE, Inode
from .inodes import InodeAllocator
from .seals import apply
from .state import InodeState
from .superblock import Superblock
from .transaction import Sealer, Transaction, Unjournalled

if TYPE_CHECKING:
    from .mount import ExtMount

AHEAD_MASK: Final = 15
"""Blocks of an inode table that are read at once, less one."""
AHEAD_TRIES: Final = 8
"""So many places in inode tables that lay far apart, one after the other, and nothing is read ahead any more: a large directory's files
are asked for in the order of its hashes."""
LOW: Final = 4096
"""With fewer free blocks than that, those that were freed are wanted at once."""
GATHERED: Final = 4 << 20
"""Bytes of file data that are gathered to be written together."""


def read_superblock(device: Device) -> bytes:
    """The bytes where a superblock may be; zeros where the device is too small.  Raises EIO."""
    data = device.read(superblock.OFFSET, superblock.SIZE)
    assert isinstance(data, bytes)
    return data if len(data) == superblock.SIZE else bytes(superblock.SIZE)


@final
class Volume(Sealer):
    """One file system on one device."""

    def __init__(self, cache: BufferCache, geometry: Geometry) -> None:
        self.cache: BufferCache = cache
        self.names: NameCache = NameCache(0, NameCounters())
        """What names mean; whoever mounts gives it room."""
        self.geometry: Geometry = geometry
        self.fields: Superblock = geometry.fields
        self.block_size: int = geometry.block_size
        self.block_bits: int = geometry.block_bits
        self.has_checksums: bool = self.fields.has_checksums
        self.has_index: bool = self.fields.feature_compat & DIR_INDEX != 0
        self.has_kinds: bool = self.fields.feature_incompat & FILETYPE != 0
        """Whether directory entries have the kinds of files."""
        self.has_inline: bool = self.fields.feature_incompat & INLINE_DATA != 0
        self.has_values: bool = self.fields.feature_incompat & EA_INODE != 0
        """Whether the value of an extended attribute may be a file."""
        self.counts_many: bool = self.fields.feature_ro_compat & DIR_NLINK != 0
        """Whether a directory may have more others in it than can be counted."""
        self.index_levels: int = 3 if self.fields.feature_incompat & LARGEDIR else 2
        """Levels of nodes that a hash tree may have."""
        self.seed: int = seed(self.fields)
        self.groups: GroupTable = GroupTable(cache, geometry, self.seed)
        self.transaction: Transaction = Unjournalled(cache, cache.limit // 8)
        self.transaction.attach(self)
        # Whoever had the cache before may have gone by another geometry.
        cache.distrust(0, cache.blocks)
        self.unsealed: dict[int, tuple[int, int, int]] = {}
        """Blocks of the running transaction whose checksums are to be made: kind (seals.py), seed, extra."""
        self.dirty_inodes: list[InodeState] = []
        self._changed: dict[int, InodeState] = {}
        """The same by their numbers."""
        self.dirty_groups: list[Group] = []
        self.super_dirty: bool = False
        self.blocks: Allocator = Allocator(self)
        self.inodes: InodeAllocator = InodeAllocator(self)
        self.mount: ExtMount | None = None
        """The mount, where there is one: it is told when there is something to write."""
        self.problem: str = ""
        """Why nothing is written any more; "" while all is well."""
        self.attribute_blocks: dict[bytes, int] = {}
        """Blocks of extended attributes by what is in them."""
        self.attribute_values: dict[tuple[int, int], int] = {}
        """Files that are values of extended attributes, by checksum and size."""
        self._ahead: int = -1
        """The part of an inode table that was read last, by its first block."""
        self._ahead_tries: int = AHEAD_TRIES
        self._depth: int = 0
        self._data: list[tuple[int, bytes]] = []
        """File data for blocks that the running transaction gives to files: it has to be there before that is."""
        self._data_size: int = 0

    # Reading -------------------------------------------------------------------------------------------

    def inode_place(self, number: int) -> tuple[int, int]:
        """Block and byte where an inode lies.  Raises EUCLEAN for a number that none has."""
        geometry = self.geometry
        if not 0 < number <= geometry.inodes:
            raise corrupt(f"inode {number} is outside of the file system")
        group, index = divmod(number - 1, geometry.inodes_per_group)
        block, slot = divmod(index, geometry.inodes_per_block)
        return self.groups.get(group).descriptor.inode_table + block, slot * geometry.inode_size

    def read_inode(self, number: int) -> InodeState:
        """An inode, as it is in the cache or on disk.  Raises EUCLEAN where its checksum or a size in it is wrong."""
        block, at = self.inode_place(number)
        size = self.geometry.inode_size
        if not self.cache.has(block):
            self._read_table(number, block)
        raw = bytes(self.cache.get(block).data[at : at + size])
        inode = Inode(raw, size)
        state = InodeState(self, number, inode)
        if self.has_checksums and inode.mode:
            if inode_checksum(state.seed, raw) != stored_inode_checksum(raw):
                raise corrupt(f"inode {number}: the checksum is wrong")
        if size > BASE and (inode.extra_isize > size - BASE or inode.extra_isize & 3):
            raise corrupt(f"inode {number}: extra_isize is {inode.extra_isize}")
        return state

    def _read_table(self, number: int, block: int) -> None:
        """Read the part of an inode table in that `block` lies in, for the inode `number`, unless the last ones were of no further use."""
        part = block & ~AHEAD_MASK
        near = part == self._ahead or part == self._ahead + AHEAD_MASK + 1
        self._ahead = part
        self._ahead_tries = AHEAD_TRIES if near else max(self._ahead_tries - 1, 0)
        if self._ahead_tries:
            table = self.groups.get((number - 1) // self.geometry.inodes_per_group).descriptor.inode_table
            first = max(table, part)
            self.cache.read_ahead(first, min(part + AHEAD_MASK + 1, table + self.geometry.inode_blocks) - first)

    def current_inode(self, number: int) -> InodeState:
        """An inode as the running transaction has it, for those without a vnode.  Raises EUCLEAN, EIO."""
        state = self._changed.get(number)
        return self.read_inode(number) if state is None else state

    def sound(self, buffer: Buffer, kind: int) -> None:
        """Remember, as long as it is cached, that the contents of a block were checked, as those of one kind (seals.py): on a damaged
        file system a block may be claimed as several things."""
        buffer.checked = kind

    def is_sound(self, buffer: Buffer, kind: int) -> bool:
        """Whether the contents were checked, as those of a block of that kind and none other since."""
        return buffer.checked == kind

    def unsound(self, buffer: Buffer) -> None:
        """A block is changed as one of a kind that is not checked."""
        buffer.checked = UNCHECKED

    # Writing -------------------------------------------------------------------------------------------

    def begin(self, credits: int) -> None:
        """An operation starts that changes up to about `credits` blocks of metadata, or a part of one.

        Raises EROFS once something could not be written; EIO.
        """
        if self._depth == 0:
            self.check_sound()
            if self.blocks.freed and self.fields.free_blocks_count < LOW + credits:
                self.transaction.sync(False)
            self.transaction.begin(credits)
        self._depth += 1

    def is_idle(self) -> bool:
        """Whether no operation is under way."""
        return self._depth == 0

    def end(self) -> None:
        """The operation, or its part, is over."""
        self._depth -= 1
        if self._depth == 0 and not self.problem:
            self.transaction.end()

    def failed(self, problem: OSError) -> OSError:
        """An operation failed, and may be half-done.  Returns `problem`, to raise.

        Where that is damage (EUCLEAN, EIO), and not a want of space, nothing is written from now on: neither this operation nor
        what else is in its transaction.
        """
        if problem.errno in (EUCLEAN, EIO) and not self.problem:
            self.problem = f"nothing is written any more, because of an error: {problem.strerror}"
        return problem

    def check_sound(self) -> None:
        """Raise EROFS where nothing is written any more."""
        if self.problem:
            raise OSError(EROFS, self.problem)

    def mark_inode(self, state: InodeState) -> None:
        """An inode was changed, or will be within this operation."""
        if not state.dirty:
            state.dirty = True
            self.dirty_inodes.append(state)
            self._changed[state.number] = state
            self.transaction.dirty(self.cache.get(self.inode_place(state.number)[0]))

    def mark_group(self, group: Group) -> None:
        """A group's descriptor was changed.  Its free counts are the superblock's, too."""
        if not group.dirty:
            group.dirty = True
            self.dirty_groups.append(group)
            self.transaction.dirty(self.cache.get(self.groups.place(group.number)[0]))
            self.mark_super()

    def mark_super(self) -> None:
        """The superblock was changed."""
        if not self.super_dirty:
            self.super_dirty = True
            self.transaction.dirty(self._super_buffer())

    def mark(self, buffer: Buffer) -> None:
        """A block of metadata that has no checksum was changed, or will be within this operation."""
        self.transaction.dirty(buffer)

    def mark_sealed(self, buffer: Buffer, kind: int, seed: int, extra: int = 0) -> None:
        """The same of a block that gets a checksum: its kind is one of seals.py's."""
        self.transaction.dirty(buffer)
        if self.has_checksums:
            self.unsealed[buffer.block] = (kind, seed, extra)

    def drop_blocks(self, block: int, count: int) -> None:
        """Blocks of metadata are no longer in use."""
        self.transaction.revoke(block, count)
        unsealed = self.unsealed
        for number in range(block, block + count):
            unsealed.pop(number, None)
        self.cache.distrust(block, count)

    def started(self) -> None:
        """The first change of a transaction was made: the mount is to be written back in time."""
        if self.mount is not None:
            self.mount.started()

    def withhold(self) -> None:
        """Blocks that the transaction frees are not free before it is durable."""
        self.blocks.withhold()

    def give_out(self) -> None:
        """They are."""
        self.blocks.give_out()

    def aborted(self, reason: str) -> None:
        """The journal can't be written: nothing is changed any more."""
        self.problem = reason

    def count_free(self) -> None:
        """Make the superblock's free counts those of the groups: after a crash they may be old.  Raises EUCLEAN."""
        blocks = inodes = 0
        for number in range(len(self.groups)):
            descriptor = self.groups.get(number).descriptor
            blocks += descriptor.free_blocks
            inodes += descriptor.free_inodes
        self.fields.free_blocks_count = blocks
        self.fields.free_inodes_count = inodes

    def put_data(self, block: int, data: bytes) -> None:
        """Write whole blocks of file data, at the latest before the running transaction."""
        self._data.append((block, data))
        self._data_size += len(data)
        if self._data_size >= GATHERED:
            self.write_data()

    def write_data(self) -> None:
        """Write what `put_data` gathered, neighbours in one piece."""
        waiting = self._data
        if not waiting:
            return
        self._data = []
        self._data_size = 0
        bits = self.block_bits
        at = 0
        while at < len(waiting):
            start, data = waiting[at]
            end = start + (len(data) >> bits)
            stop = at + 1
            while stop < len(waiting) and waiting[stop][0] == end:
                end += len(waiting[stop][1]) >> bits
                stop += 1
            if stop - at > 1:
                data = b"".join([piece for _, piece in waiting[at:stop]])
            try:
                self.cache.write_direct(start, data)
            except OSError as problem:
                # The running transaction gives blocks to files that these bytes, and those behind, are lost for.
                self.problem = self.problem or f"nothing is written any more: file data can't be: {problem.strerror}"
                raise
            at = stop

    def seal(self) -> None:
        """Bring everything that the running transaction changed into its blocks, with checksums."""
        self.write_data()
        self.blocks.settle()
        for state in self.dirty_inodes:
            self._store(state)
        self.dirty_inodes.clear()
        self._changed.clear()
        for block, (kind, start, extra) in self.unsealed.items():
            apply(kind, start, extra, self.cache.get(block).data)
        self.unsealed.clear()
        for group in self.dirty_groups:
            group.dirty = False
            bitmaps.seal(self, group)
            self.groups.store(group)
        self.dirty_groups.clear()
        if self.super_dirty:
            self.super_dirty = False
            self.store_super()

    def store_super(self) -> None:
        """Put the superblock with its checksum into its cached block."""
        buffer = self._super_buffer()
        fields = self.fields
        if fields.has_checksums:
            fields.checksum = superblock_checksum(fields.emit())
        at = superblock.OFFSET % self.block_size
        buffer.data[at : at + superblock.SIZE] = fields.emit()

    def write_super(self, now: int) -> None:
        """Write the superblock past the journal, durably.  `now` is in seconds.  No transaction may have it."""
        fields = self.fields
        fields.wtime = now & 0xFFFFFFFF
        fields.wtime_hi = now >> 32 & 0xFF
        self.store_super()
        buffer = self._super_buffer()
        self.cache.mark(buffer)
        self.cache.write_back([buffer])
        self.cache.flush()

    def _super_buffer(self) -> Buffer:
        return self.cache.get(superblock.OFFSET // self.block_size)

    def _store(self, state: InodeState) -> None:
        state.dirty = False
        block, at = self.inode_place(state.number)
        size = self.geometry.inode_size
        if state.node is not None:
            state.node.copy_attributes()
        buffer = self.cache.get(block)
        self.unsound(buffer)
        data = buffer.data
        state.inode.emit_into(data, at, size)
        if len(data) != self.block_size:
            raise OSError(
                EUCLEAN, f"inode {state.number}: its attributes take {len(data) - self.block_size} bytes too many"
            )
        if self.has_checksums:
            set_inode_checksum(state.seed, data, at, size)
