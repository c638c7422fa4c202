"""Repair of what a crash leaves: orphans, names without files, files without names, counts and bitmaps.

In rounds: one mends the names and inodes, and the next check sees what follows for bitmaps and counts.  Every block that is
changed gets its checksum anew.  The superblock says "not clean" from before the first change until after the last.
"""

from typing import Final, final

from ....hyper.calls import Hypercalls
from ....kern.device import Device
from ....vfs.buffer import Buffer
from ....vfs.types import Finding
from .. import checksum as sums
from .. import superblock as sb
from ..dirent import insert, put
from ..features import FILETYPE
from ..group import BLOCK_UNINIT, INODE_UNINIT
from ..inode import GENERATION_AT, INDEXED, INLINE, Inode
from .bitmaps import bare_bitmap, block_bitmap, inode_bitmap
from .check import run_passes
from .context import DIRECTORY, Check
from .inodes import DTIME_AT, LINKS_AT
from .maps import FileMap
from .start import open_check

MOST_ROUNDS: Final = 6
BLOCKS_AT: Final = 28
BLOCKS_HIGH_AT: Final = 116


@final
class Repair:
    """One repair of one file system."""

    def __init__(self, hyper: Hypercalls, device: Device, found: list[Finding]) -> None:
        """`found` gets what only the repair shows."""
        self._hyper: Hypercalls = hyper
        self._device: Device = device
        self._found: list[Finding] = found

    def run(self, check: Check, lost: list[int]) -> bool:
        """Mend what `check` found, and check again; whether nothing is wrong then.  Raises EIO, EROFS."""
        for _ in range(MOST_ROUNDS):
            if check.beyond:
                return False
            _Round(check).mend(lost)
            again: list[Finding] = []
            check = open_check(self._hyper, self._device, again.append)
            lost = run_passes(check)
            if not check.findings:
                return True
        self._found += again
        return False


@final
class _Round:
    """The repairs that follow from one check."""

    def __init__(self, check: Check) -> None:
        self._check: Check = check
        self._touched: dict[int, int] = {}
        """Blocks of directories, and the directories."""

    def mend(self, lost: list[int]) -> None:
        """Mend names and inodes; where these are right, links, bitmaps and counts."""
        check = self._check
        self._store_super(False)
        check.cache.sync()
        names = bool(check.orphans or check.bad_entries or check.bad_dtimes or lost or check.bad_dotdots)
        names = names or bool(check.bad_sectors)
        if names:
            self._drop_orphans()
            for number, block, at, kind in check.bad_entries:
                self._entry(number, block, at, kind)
            for number, value in check.bad_dtimes:
                seconds = check.hyper.wall() // 1_000_000_000 & 0xFFFFFFFF
                self._patch(number, DTIME_AT, (seconds if value else 0).to_bytes(4, "little"))
            for number, sectors in check.bad_sectors:
                self._patch(number, BLOCKS_AT, (sectors & 0xFFFFFFFF).to_bytes(4, "little"))
                self._patch(number, BLOCKS_HIGH_AT, (sectors >> 32).to_bytes(2, "little"))
            for number, parent in check.bad_dotdots:
                self._dotdot(number, parent)
            for number in lost:
                self._attach(number)
            self._seal_directories()
        else:
            for number, count in check.bad_links:
                self._patch(number, LINKS_AT, min(count, 65000).to_bytes(2, "little"))
            self._bitmaps()
        check.cache.sync()
        if not names:
            check.fields.free_blocks_count = check.free_blocks
            check.fields.free_inodes_count = check.free_inodes
        check.fields.last_orphan = 0
        self._store_super(not names)
        check.cache.sync()

    # Inodes --------------------------------------------------------------------------------------------

    def _patch(self, number: int, at: int, data: bytes) -> None:
        """Change bytes of an inode."""
        check = self._check
        block, start = check.place(number)
        buffer = check.cache.get(block)
        buffer.data[start + at : start + at + len(data)] = data
        if check.fields.has_checksums:
            generation = int.from_bytes(buffer.data[start + GENERATION_AT : start + GENERATION_AT + 4], "little")
            seed = sums.inode_seed(check.seed, number, generation)
            sums.set_inode_checksum(seed, buffer.data, start, check.geometry.inode_size)
        check.cache.mark(buffer)

    def _drop_orphans(self) -> None:
        """Files without links go; those that were being truncated have nothing behind their end, or this were not tried."""
        check = self._check
        for number in check.orphans:
            if check.links.get(number, 1):
                self._patch(number, DTIME_AT, bytes(4))
                continue
            block, start = check.place(number)
            buffer = check.cache.get(block)
            size = check.geometry.inode_size
            buffer.data[start : start + size] = bytes(size)
            check.cache.mark(buffer)

    # Names ---------------------------------------------------------------------------------------------

    def _entry(self, number: int, block: int, at: int, kind: int) -> None:
        buffer = self._names(number, block)
        if kind:
            buffer.data[at + 7] = kind
        else:
            buffer.data[at : at + 4] = bytes(4)

    def _dotdot(self, number: int, parent: int) -> None:
        check = self._check
        inode = self._inode(number)
        if inode.flags & INLINE:
            self._patch(number, 40, parent.to_bytes(4, "little"))
            return
        blocks = self._blocks(number, inode)
        if blocks:
            buffer = self._names(number, blocks[0])
            buffer.data[12:16] = parent.to_bytes(4, "little")
            check.cache.mark(buffer)

    def _attach(self, number: int) -> None:
        """Give a file without a name one in lost+found: "#" and its number.  Without room there, it stays as it is."""
        check = self._check
        place = check.lost_and_found
        home = self._inode(place)
        if not place or home.flags & (INLINE | INDEXED):
            return
        name = b"#%d" % number
        kind = check.kinds[number]
        for index, block in enumerate(self._blocks(place, home)):
            buffer = self._names(place, block)
            end = check.block_size - (sums.TAIL_SIZE if check.fields.has_checksums else 0)
            start = 24 if not index else 0
            if not index:
                start = 12 + int.from_bytes(buffer.data[16:18], "little")
                if start >= end:
                    # ".." takes all of the block: what it doesn't need is free.
                    put(buffer.data, 12, int.from_bytes(buffer.data[12:16], "little"), 12, b"..", buffer.data[19])
                    put(buffer.data, 24, 0, end - 24, b"", 0)
                    start = 24
            if (
                insert(buffer.data, start, end, number, name, kind if check.fields.feature_incompat & FILETYPE else 0)
                >= 0
            ):
                if kind == DIRECTORY:
                    self._dotdot(number, place)
                return

    def _names(self, number: int, block: int) -> Buffer:
        """A block of a directory, which is about to be changed."""
        buffer = self._check.cache.get(block)
        self._touched[block] = number
        self._check.cache.mark(buffer)
        return buffer

    def _seal_directories(self) -> None:
        check = self._check
        if not check.fields.has_checksums:
            return
        for block, number in self._touched.items():
            seed = sums.inode_seed(check.seed, number, self._inode(number).generation)
            buffer = check.cache.get(block)
            if sums.has_tail(bytes(buffer.data)):
                sums.set_directory_checksum(seed, buffer.data)
            else:
                sums.set_index_checksum(seed, buffer.data, 32)
            check.cache.mark(buffer)

    def _inode(self, number: int) -> Inode:
        raw = self._check.raw_inode(number)
        return Inode(raw, len(raw))

    def _blocks(self, number: int, inode: Inode) -> list[int]:
        runs = FileMap(self._check, number, inode, False, 0).runs
        return [start + index for _, start, count, _ in runs for index in range(count)]

    # Bitmaps and counts --------------------------------------------------------------------------------

    def _bitmaps(self) -> None:
        check = self._check
        geometry = check.geometry
        size = geometry.descriptor_size
        for group, descriptor in enumerate(check.descriptors):
            before = descriptor.emit(size)
            made, free = block_bitmap(check, group)
            descriptor.free_blocks = free
            if not descriptor.flags & BLOCK_UNINIT or made != bare_bitmap(check, group):
                descriptor.flags &= ~BLOCK_UNINIT
                descriptor.block_bitmap_csum = self._bitmap(descriptor.block_bitmap, made, geometry.blocks_per_group)
            made, used, directories = inode_bitmap(check, group)
            descriptor.free_inodes = geometry.inodes_per_group - used
            descriptor.used_dirs = directories
            if not descriptor.flags & INODE_UNINIT or used:
                descriptor.flags &= ~INODE_UNINIT
                descriptor.inode_bitmap_csum = self._bitmap(descriptor.inode_bitmap, made, geometry.inodes_per_group)
            if check.fields.has_group_checksums:
                descriptor.checksum = sums.group_checksum(check.fields, check.seed, group, descriptor.emit(size))
            if descriptor.emit(size) != before:
                index, slot = divmod(group, geometry.descriptors_per_block)
                buffer = check.cache.get(geometry.descriptor_block(index))
                buffer.data[slot * size : slot * size + size] = descriptor.emit(size)
                check.cache.mark(buffer)

    def _bitmap(self, block: int, made: bytes, bits: int) -> int:
        """Write a bitmap where it differs; its checksum."""
        check = self._check
        buffer = check.cache.get(block)
        if buffer.data != made:
            buffer.data[:] = made
            check.cache.mark(buffer)
        if not check.fields.has_checksums:
            return 0
        value = sums.bitmap_checksum(check.seed, made, bits)
        return value if check.geometry.descriptor_size >= 64 else value & 0xFFFF

    def _store_super(self, clean: bool) -> None:
        check = self._check
        fields = check.fields
        fields.state &= ~(sb.STATE_VALID | sb.STATE_ERROR)
        if clean:
            fields.state |= sb.STATE_VALID
        fields.block_group_nr = 0
        if fields.has_checksums:
            fields.checksum = sums.superblock_checksum(fields.emit())
        buffer = check.cache.get(sb.OFFSET // check.block_size)
        at = sb.OFFSET % check.block_size
        buffer.data[at : at + sb.SIZE] = fields.emit()
        check.cache.mark(buffer)
