"""Writing a new file system: groups with their bitmaps, the first inodes, the root directory, lost+found and the journal.

Between the plan (layout.py) and the device.  The superblock is the last to be written, and the place where it goes is cleared
first, so that what is half made is no file system.
"""

import struct
from typing import Final, final

from ....hyper.calls import Hypercalls
from ....kern.abi.errno import EIO, error
from ....kern.abi.fcntl import S_IFDIR, S_IFREG
from ....kern.device import Device
from ....vfs.buffer import BufferCache
from .. import checksum as sums
from .. import features as f
from .. import superblock as sb
from ..crc import crc32c
from ..group import BLOCK_UNINIT, INODE_UNINIT, INODE_ZEROED
from ..inode import BASE, EXTENTS, EXTRA, FIRST, JOURNAL, RESIZE, ROOT, Inode
from ..journal import format as jbd
from .addresses import address_map
from .layout import Layout

CACHE: Final = 4 << 20
"""Bytes of metadata that are held before they are written."""
ZEROED_AT_ONCE: Final = 1 << 20
DIRECTORY: Final = 2
"""The type of a directory in a directory entry."""
EXTENT_MAGIC: Final = 0xF30A
LONGEST_EXTENT: Final = 32768
_U32: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<IHBB")
_EXTENT_HEADER: Final = struct.Struct("<HHHHI")
_EXTENT: Final = struct.Struct("<IHHI")
_INDEX: Final = struct.Struct("<IIHH")


@final
class Builder:
    """One new file system on a device."""

    def __init__(self, hyper: Hypercalls, device: Device, layout: Layout) -> None:
        self._hyper: Hypercalls = hyper
        self._device: Device = device
        self._layout: Layout = layout
        self._fields: sb.Superblock = layout.fields
        self._block_size: int = layout.geometry.block_size
        self._cache: BufferCache = BufferCache(device, self._block_size, CACHE)
        if self._fields.has_seed:
            self._fields.checksum_seed = crc32c(sums.ALL, self._fields.uuid)
        self._seed: int = sums.seed(self._fields)
        self._inodes: dict[int, Inode] = {}

    def build(self) -> None:
        """Write it all.  Raises EIO, EROFS."""
        cleared = max(sb.OFFSET + sb.SIZE, self._block_size)
        self._write(0, bytes(cleared))
        self._device.flush()
        self._root()
        self._lost_and_found()
        if self._layout.resize:
            self._resize_inode()
        if self._layout.journal:
            self._journal()
        self._inode_tables()
        self._store_inodes()
        self._groups()
        self._cache.sync()
        self._cache.drop()
        self._superblocks()

    def _write(self, offset: int, data: bytes) -> None:
        if self._device.write(offset, data) != len(data):
            raise error(EIO)

    def _put(self, block: int, data: bytes) -> None:
        buffer = self._cache.fresh(block)
        buffer.data[: len(data)] = data
        self._cache.mark(buffer)

    # Files ---------------------------------------------------------------------------------------------

    def _inode(self, number: int, mode: int, size: int, blocks: int) -> Inode:
        """A new inode; `blocks` are those that it takes."""
        size_on_disk = self._fields.inode_size
        made = Inode(bytes(size_on_disk), size_on_disk)
        made.mode = mode
        made.links = 1
        made.size = size
        made.blocks = blocks * (self._block_size // 512)
        made.atime = made.ctime = made.mtime = made.crtime = self._layout.request.wall // 1_000_000_000 * 1_000_000_000
        if size_on_disk >= BASE + EXTRA:
            made.extra_isize = EXTRA
            made.rest = bytes(size_on_disk - BASE - EXTRA)
        self._inodes[number] = made
        return made

    def _map(self, inode: Inode, number: int, runs: list[tuple[int, int]], maps: list[int]) -> None:
        """Give an inode its blocks; `maps` are those for extents or addresses beyond what fits into it."""
        if self._fields.feature_incompat & f.EXTENTS:
            inode.flags |= EXTENTS
            inode.block = self._extents(self._inode_seed(number), runs, maps)
        else:
            blocks = [block for start, count in runs for block in range(start, start + count)]
            inode.block = address_map(blocks, maps, self._block_size, self._put)

    def _extents(self, seed: int, runs: list[tuple[int, int]], maps: list[int]) -> bytes:
        entries = []
        logical = 0
        for start, count in runs:
            while count:
                size = min(count, LONGEST_EXTENT)
                entries.append((logical, _EXTENT.pack(logical, size, start >> 32, start & 0xFFFFFFFF)))
                logical += size
                start += size
                count -= size
        if not maps:
            head = _EXTENT_HEADER.pack(EXTENT_MAGIC, len(entries), 4, 0, 0)
            return (head + b"".join(data for _, data in entries)).ljust(60, b"\0")
        most = (self._block_size - 12) // 12
        index = b""
        for number, block in enumerate(maps):
            leaf = entries[number * most : (number + 1) * most]
            index += _INDEX.pack(leaf[0][0], block & 0xFFFFFFFF, block >> 32, 0)
            data = bytearray(self._block_size)
            head = _EXTENT_HEADER.pack(EXTENT_MAGIC, len(leaf), most, 0, 0)
            content = head + b"".join(entry for _, entry in leaf)
            data[: len(content)] = content
            if self._fields.has_checksums:
                sums.set_extent_checksum(seed, data)
            self._put(block, bytes(data))
        head = _EXTENT_HEADER.pack(EXTENT_MAGIC, len(maps), 4, 1, 0)
        return (head + index).ljust(60, b"\0")

    def _inode_seed(self, number: int) -> int:
        return sums.inode_seed(self._seed, number, 0)

    def _names(self, number: int, block: int, entries: list[tuple[int, bytes]]) -> None:
        """Write a block of a directory."""
        tail = sums.TAIL_SIZE if self._fields.has_checksums else 0
        end = self._block_size - tail
        data = bytearray(self._block_size)
        at = 0
        kind = DIRECTORY if self._fields.feature_incompat & f.FILETYPE else 0
        for index, (target, name) in enumerate(entries):
            size = end - at if index == len(entries) - 1 else (8 + len(name) + 3) & ~3
            _ENTRY.pack_into(
                data, at, target, size & 0xFFFF if size < 65536 else 0xFFFF, len(name), kind if target else 0
            )
            data[at + 8 : at + 8 + len(name)] = name
            at += size
        if tail:
            data[end : end + 8] = sums.TAIL_HEAD
            sums.set_directory_checksum(self._inode_seed(number), data)
        self._put(block, bytes(data))

    def _root(self) -> None:
        inode = self._inode(ROOT, S_IFDIR | 0o755, self._block_size, 1)
        inode.links = 3
        inode.uid, inode.gid = self._layout.request.uid, self._layout.request.gid
        self._map(inode, ROOT, [(self._layout.root, 1)], [])
        self._names(ROOT, self._layout.root, [(ROOT, b"."), (ROOT, b".."), (FIRST, b"lost+found")])

    def _lost_and_found(self) -> None:
        runs = self._layout.lost
        count = sum(size for _, size in runs)
        inode = self._inode(FIRST, S_IFDIR | 0o700, count * self._block_size, count)
        inode.links = 2
        self._map(inode, FIRST, runs, [])
        entries = [(FIRST, b"."), (ROOT, b"..")]
        for start, size in runs:
            for block in range(start, start + size):
                self._names(FIRST, block, entries)
                entries = [(0, b"")]

    def _resize_inode(self) -> None:
        """The inode that holds the blocks kept for more group descriptors: each of them lists its copies."""
        geometry = self._layout.geometry
        per_block = self._block_size // 4
        first = geometry.first_data_block + 1 + geometry.descriptor_blocks
        backups = [group for group in range(1, geometry.groups) if geometry.has_super(group)]
        table = bytearray(self._block_size)
        reserved = self._fields.reserved_gdt_blocks
        for index in range(reserved):
            block = first + index
            _U32.pack_into(table, (geometry.descriptor_blocks + index) % per_block * 4, block)
            copies = [block + group * geometry.blocks_per_group for group in backups]
            self._put(block, b"".join(map(_U32.pack, copies)))
        self._put(self._layout.resize, bytes(table))
        size = (per_block * per_block + per_block + 12) * self._block_size
        inode = self._inode(RESIZE, S_IFREG | 0o600, size, 1 + reserved * (1 + len(backups)))
        inode.block = bytes(13 * 4) + _U32.pack(self._layout.resize) + bytes(4)

    def _journal(self) -> None:
        runs = self._layout.journal
        count = sum(size for _, size in runs)
        maps = self._layout.journal_maps
        inode = self._inode(JOURNAL, S_IFREG | 0o600, count * self._block_size, count + len(maps))
        self._map(inode, JOURNAL, runs, maps)
        fields = self._fields
        fields.journal_inum = JOURNAL
        fields.jnl_backup_type = 1
        fields.jnl_blocks = inode.block + struct.pack("<II", inode.size >> 32, inode.size & 0xFFFFFFFF)
        made = jbd.JournalSuperblock(self._block_size, count, bytes(16))
        made.uuid = fields.uuid if fields.has_checksums else bytes(16)
        if fields.has_checksums:
            made.incompat |= jbd.INCOMPAT_CSUM_V3
            made.checksum_type = jbd.CRC32C_CHECKSUM
        if fields.feature_incompat & f.BIT64:
            made.incompat |= jbd.INCOMPAT_64BIT
        # What lies in the log from an earlier file system has other numbers, or it would seem to be this one's.
        made.sequence = int.from_bytes(self._hyper.random(4), "big") >> 1 | 1
        self._put(runs[0][0], made.encode())

    # Groups --------------------------------------------------------------------------------------------

    def _inode_tables(self) -> None:
        """Zero the inode tables where they are not zero: a new image stays sparse."""
        geometry = self._layout.geometry
        zeros = bytes(ZEROED_AT_ONCE)
        for descriptor in self._layout.descriptors:
            at = descriptor.inode_table * self._block_size
            left = geometry.inode_blocks * self._block_size
            while left:
                size = min(left, ZEROED_AT_ONCE)
                data = self._device.read(at, size)
                if not isinstance(data, bytes) or len(data) != size:
                    raise error(EIO)
                if data != zeros[:size]:
                    self._write(at, zeros[:size])
                at += size
                left -= size

    def _store_inodes(self) -> None:
        geometry = self._layout.geometry
        size = geometry.inode_size
        for number, inode in sorted(self._inodes.items()):
            data = bytearray(inode.emit(size))
            if self._fields.has_checksums:
                sums.set_inode_checksum(self._inode_seed(number), data, 0, size)
            index = (number - 1) % geometry.inodes_per_group
            table = self._layout.descriptors[(number - 1) // geometry.inodes_per_group].inode_table
            buffer = self._cache.get(table + index * size // self._block_size)
            at = index * size % self._block_size
            buffer.data[at : at + size] = data
            self._cache.mark(buffer)

    def _groups(self) -> None:
        """Fill in the group descriptors and write the bitmaps of groups that have anything but their own metadata."""
        layout = self._layout
        geometry = layout.geometry
        fields = self._fields
        lazy = fields.has_group_checksums
        free = 0
        first_inodes = geometry.first_inode
        for group, descriptor in enumerate(layout.descriptors):
            start = geometry.group_start(group)
            count = geometry.group_blocks(group)
            taken = layout.used.within(start, start + count)
            descriptor.free_blocks = count - sum(high - low for low, high in taken)
            free += descriptor.free_blocks
            inodes = min(max(first_inodes - group * geometry.inodes_per_group, 0), geometry.inodes_per_group)
            descriptor.free_inodes = geometry.inodes_per_group - inodes
            descriptor.used_dirs = sum(
                1 for number in (ROOT, FIRST) if (number - 1) // geometry.inodes_per_group == group
            )
            if lazy:
                descriptor.flags = INODE_ZEROED
                descriptor.itable_unused = descriptor.free_inodes
            if lazy and not inodes:
                descriptor.flags |= INODE_UNINIT
            else:
                self._inode_bitmap(group, inodes)
            if lazy and 0 < group < geometry.groups - 1 and self._is_bare(group, taken):
                descriptor.flags |= BLOCK_UNINIT
            else:
                self._block_bitmap(group, start, count, taken)
        fields.free_blocks_count = free
        fields.overhead_clusters = min(layout.overhead + sum(size for _, size in layout.journal), 0xFFFFFFFF)

    def _is_bare(self, group: int, taken: list[tuple[int, int]]) -> bool:
        """Whether all that is taken of a group is what follows from the group descriptors: what BLOCK_UNINIT means."""
        geometry = self._layout.geometry
        start = geometry.group_start(group)
        fixed = geometry.fixed_blocks(group)
        own = self._layout.descriptors[group]
        places = [(own.block_bitmap, 1), (own.inode_bitmap, 1), (own.inode_table, geometry.inode_blocks)]
        end = start + geometry.group_blocks(group)
        inside = sum(count for place, count in places if start <= place < end)
        return sum(high - low for low, high in taken) == fixed + inside

    def _inode_bitmap(self, group: int, used: int) -> None:
        data = _bitmap(self._block_size, [(0, used)], self._layout.geometry.inodes_per_group)
        self._put(self._layout.descriptors[group].inode_bitmap, data)
        if self._fields.has_checksums:
            made = sums.bitmap_checksum(self._seed, data, self._layout.geometry.inodes_per_group)
            self._layout.descriptors[group].inode_bitmap_csum = self._cut(made)

    def _block_bitmap(self, group: int, start: int, count: int, taken: list[tuple[int, int]]) -> None:
        data = _bitmap(self._block_size, [(low - start, high - start) for low, high in taken], count)
        self._put(self._layout.descriptors[group].block_bitmap, data)
        if self._fields.has_checksums:
            made = sums.bitmap_checksum(self._seed, data, self._layout.geometry.blocks_per_group)
            self._layout.descriptors[group].block_bitmap_csum = self._cut(made)

    def _cut(self, value: int) -> int:
        return value if self._fields.descriptor_size >= 64 else value & 0xFFFF

    def _superblocks(self) -> None:
        """Write the group descriptors and superblocks, copies first."""
        geometry = self._layout.geometry
        fields = self._fields
        size = geometry.descriptor_size
        parts = []
        for group, descriptor in enumerate(self._layout.descriptors):
            if fields.has_group_checksums:
                descriptor.checksum = sums.group_checksum(fields, self._seed, group, descriptor.emit(size))
            parts.append(descriptor.emit(size))
        table = b"".join(parts).ljust(geometry.descriptor_blocks * self._block_size, b"\0")
        meta = fields.feature_incompat & f.META_BG != 0
        for group in range(geometry.groups - 1, -1, -1):
            copy = geometry.has_super(group)
            behind = geometry.group_start(group) + int(copy)
            if not meta and copy:
                self._write(behind * self._block_size, table)
            elif meta and geometry.fixed_blocks(group) > int(copy):
                at = group // geometry.descriptors_per_block * self._block_size
                self._write(behind * self._block_size, table[at : at + self._block_size])
            if copy and group:
                self._write(
                    geometry.group_start(group) * self._block_size,
                    self._superblock(group).ljust(self._block_size, b"\0"),
                )
        self._device.flush()
        self._write(sb.OFFSET, self._superblock(0))
        self._device.flush()

    def _superblock(self, group: int) -> bytes:
        fields = self._fields
        fields.block_group_nr = group & 0xFFFF
        if fields.has_checksums:
            fields.checksum = sums.superblock_checksum(fields.emit())
        return fields.emit()


def _bitmap(size: int, taken: list[tuple[int, int]], count: int) -> bytes:
    """A bitmap of `size` bytes where the bits from `low` up to `high` of each pair are set, and all from `count` on."""
    data = bytearray(size)
    for low, high in (*taken, (count, size * 8)):
        while low < high and low & 7:
            data[low >> 3] |= 1 << (low & 7)
            low += 1
        while low < high and high & 7:
            high -= 1
            data[high >> 3] |= 1 << (high & 7)
        if low < high:
            data[low >> 3 : high >> 3] = b"\xff" * ((high - low) >> 3)
    return bytes(data)
