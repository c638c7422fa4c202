"""Where everything goes in a new file system: groups, bitmaps, inode tables, and the blocks of its first files.

Between the request (options.py) and the writing (build.py).  Numbers only: nothing is read or written, so `estimate` uses it, too.
"""

from bisect import bisect_right
from typing import Final, final

from ....kern.abi.errno import EFBIG, EINVAL, ENOSPC
from .. import features as f
from ..checksum import superblock_checksum
from ..geometry import Geometry
from ..group import GroupDescriptor
from ..inode import EXTRA, FIRST
from ..superblock import CRC32C, FLAG_SIGNED_HASH, MAGIC, STATE_VALID, Superblock
from .options import Request

LEAST_TAIL: Final = 50
"""Blocks beyond its own metadata that a last group has at least: otherwise the file system ends before it."""
LARGEST_GROUP: Final = 65528
RESIZE_FACTOR: Final = 1024
"""How much larger a file system with resize_inode may grow."""
JOURNAL_SIZES: Final = (
    (2048, 0),
    (32768, 1024),
    (256 << 10, 4096),
    (512 << 10, 8192),
    (4096 << 10, 16384),
    (8192 << 10, 32768),
    (16384 << 10, 65536),
    (32768 << 10, 131072),
)
"""Blocks of the journal of a file system of fewer than so many blocks."""
LARGEST_JOURNAL: Final = 262144
LEAST_JOURNAL: Final = 1024
LOST_AND_FOUND: Final = 16384
"""Bytes of lost+found, so that it need not grow where blocks can't be trusted."""
MOUNT_OPTIONS: Final = 0xC
"""Default mount options: user_xattr and acl."""


@final
class Layout:
    """A plan for a file system."""

    def __init__(self, request: Request) -> None:
        """Raises ENOSPC (too small), EFBIG (too large), EINVAL."""
        self.request: Request = request
        self.fields: Superblock = _superblock(request)
        self.geometry: Geometry = _size_up(request, self.fields)
        self.descriptors: list[GroupDescriptor] = [GroupDescriptor() for _ in range(self.geometry.groups)]
        self.used: UsedBlocks = UsedBlocks(self.geometry.first_data_block, self.geometry.blocks)
        self._fix()
        self._place_tables()
        self.overhead: int = self.used.total() + self.geometry.first_data_block
        """Blocks that no file has."""
        self.root: int = self.used.take(1)[0][0]
        self.lost: list[tuple[int, int]] = self.used.take(lost_blocks(self.geometry.block_size))
        """Runs of blocks of lost+found; those of the journal, likewise."""
        self.resize: int = self.used.take(1)[0][0] if self.fields.reserved_gdt_blocks else 0
        """The block of the resize inode that points to those for more group descriptors."""
        journal = self._journal_blocks()
        self.journal: list[tuple[int, int]] = self.used.take(journal, True) if journal else []
        self.journal_maps: list[int] = self._map_blocks()
        """Blocks that tell where the journal's blocks are."""

    def _fix(self) -> None:
        geometry = self.geometry
        for group in range(geometry.groups):
            count = geometry.fixed_blocks(group)
            if count:
                self.used.add(geometry.group_start(group), count)

    def _place_tables(self) -> None:
        """Bitmaps and inode tables: those of all groups of a flex group in its first one, as far as there is room."""
        geometry = self.geometry
        together = self.request.flex_groups if self.fields.feature_incompat & f.FLEX_BG else 1
        for first in range(0, geometry.groups, together):
            groups = range(first, min(first + together, geometry.groups))
            end = geometry.group_start(groups[-1]) + geometry.group_blocks(groups[-1])
            at = geometry.group_start(first)
            for group in groups:
                at = self.descriptors[group].block_bitmap = self.used.take_run(1, at, end)
            for group in groups:
                at = self.descriptors[group].inode_bitmap = self.used.take_run(1, at, end)
            for group in groups:
                at = self.descriptors[group].inode_table = self.used.take_run(geometry.inode_blocks, at, end)

    def _journal_blocks(self) -> int:
        """The length of the journal.  A file system that is too small for one goes without, unless it was asked for."""
        if not self.fields.feature_compat & f.HAS_JOURNAL:
            return 0
        blocks = self.geometry.blocks
        wanted = self.request.journal_size // self.geometry.block_size
        if not wanted:
            wanted = next((size for limit, size in JOURNAL_SIZES if blocks < limit), LARGEST_JOURNAL)
        elif wanted < LEAST_JOURNAL:
            raise OSError(EINVAL, f"a journal of {wanted} blocks is too small: it has at least {LEAST_JOURNAL}")
        elif wanted > blocks // 2:
            raise OSError(ENOSPC, f"a journal of {wanted} blocks takes more than half of {blocks}")
        if not wanted:
            self.fields.feature_compat &= ~f.HAS_JOURNAL
        return wanted

    def _map_blocks(self) -> list[int]:
        runs = sum(-(-count // 32768) for _, count in self.journal)
        count = sum(count for _, count in self.journal)
        if self.fields.feature_incompat & f.EXTENTS:
            needed = -(-runs // ((self.geometry.block_size - 12) // 12)) if runs > 4 else 0
        else:
            needed = indirect_blocks(count, self.geometry.block_size // 4)
        return [
            block for start, size in (self.used.take(needed) if needed else []) for block in range(start, start + size)
        ]

    def free_blocks(self) -> int:
        """Blocks that are free in the new file system."""
        return self.geometry.blocks - self.geometry.first_data_block - self.used.total()

    def free_inodes(self) -> int:
        """Inodes that are free."""
        return self.geometry.inodes - self.geometry.first_inode


@final
class UsedBlocks:
    """Which blocks are taken: runs in order, none touching another."""

    def __init__(self, first: int, end: int) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._first: int = first
        self._end: int = end

    def add(self, start: int, count: int) -> None:
        """Take blocks that are free.  Raises ENOSPC where they are not, or are behind the end."""
        end = start + count
        at = bisect_right(self._starts, start)
        before = at > 0 and self._ends[at - 1]
        if (
            end > self._end
            or (at and self._ends[at - 1] > start)
            or (at < len(self._starts) and self._starts[at] < end)
        ):
            raise OSError(ENOSPC, f"there is no room for {count} blocks of metadata at block {start}")
        joins = at < len(self._starts) and self._starts[at] == end
        if at and before == start:
            self._ends[at - 1] = self._ends.pop(at) if joins else end
            if joins:
                del self._starts[at]
        elif joins:
            self._starts[at] = start
        else:
            self._starts.insert(at, start)
            self._ends.insert(at, end)

    def take_run(self, count: int, goal: int, end: int) -> int:
        """Take the first `count` free neighbours from `goal` on, before `end` if there are some.  Raises ENOSPC."""
        for low, high in ((goal, end), (self._first, self._end)):
            for start, room in self._gaps(low):
                if room >= count and start + count <= high:
                    self.add(start, count)
                    return start
        raise OSError(ENOSPC, f"there is no room for {count} blocks of metadata")

    def take(self, count: int, large: bool = False) -> list[tuple[int, int]]:
        """Take `count` free blocks, in runs; with `large`, leaving small gaps alone.  Raises ENOSPC."""
        least = min(count, 1024) if large else 1
        runs: list[tuple[int, int]] = []
        left = count
        for start, room in list(self._gaps_up_to(count, least)):
            taken = min(room, left)
            runs.append((start, taken))
            left -= taken
        if left:
            if large:
                return self.take(count)
            raise OSError(ENOSPC, f"the device is too small: there is no room for {count} blocks")
        for start, taken in runs:
            self.add(start, taken)
        return runs

    def _gaps_up_to(self, count: int, least: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for start, room in self._gaps(self._first):
            if count <= 0:
                break
            if room >= least:
                found.append((start, room))
                count -= room
        return found

    def _gaps(self, goal: int) -> "list[tuple[int, int]]":
        """Free runs from `goal` on."""
        at = bisect_right(self._starts, goal)
        begin = max(goal, self._ends[at - 1]) if at else goal
        found: list[tuple[int, int]] = []
        for index in range(at, len(self._starts)):
            if self._starts[index] > begin:
                found.append((begin, self._starts[index] - begin))
            begin = self._ends[index]
        if begin < self._end:
            found.append((begin, self._end - begin))
        return found

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of runs that lie from `start` up to `end`: (first block, behind the last)."""
        at = max(bisect_right(self._starts, start) - 1, 0)
        found: list[tuple[int, int]] = []
        while at < len(self._starts) and self._starts[at] < end:
            low, high = max(self._starts[at], start), min(self._ends[at], end)
            if low < high:
                found.append((low, high))
            at += 1
        return found

    def total(self) -> int:
        """How many are taken."""
        return sum(self._ends) - sum(self._starts)


def lost_blocks(block_size: int) -> int:
    """Blocks of lost+found: as many as a directory has without indirect blocks, at most."""
    return min(12, max(2, LOST_AND_FOUND // block_size))


def indirect_blocks(count: int, per_block: int) -> int:
    """Blocks of addresses that a file of `count` blocks without extents has."""
    left = count - 12
    if left <= 0:
        return 0
    left -= per_block
    if left <= 0:
        return 1
    second = min(left, per_block * per_block)
    blocks = 2 + -(-second // per_block)
    left -= second
    if left > 0:
        blocks += 1 + -(-left // per_block) + -(-left // (per_block * per_block))
    return blocks


def _superblock(request: Request) -> Superblock:
    """What of the superblock doesn't depend on sizes."""
    made = Superblock()
    made.magic = MAGIC
    made.rev_level = 1
    made.state = STATE_VALID
    made.errors = 1
    made.max_mnt_count = 0xFFFF
    made.first_ino = FIRST
    made.inode_size = request.inode_size
    made.feature_compat = request.features.compat
    made.feature_incompat = request.features.incompat
    made.feature_ro_compat = request.features.ro_compat
    made.log_block_size = made.log_cluster_size = request.block_size.bit_length() - 11
    made.first_data_block = 1 if request.block_size == 1024 else 0
    made.blocks_per_group = made.clusters_per_group = min(request.block_size * 8, LARGEST_GROUP)
    made.uuid = request.uuid
    made.hash_seed = request.hash_seed
    made.def_hash_version = 1
    made.flags = FLAG_SIGNED_HASH
    made.volume_name = request.label.ljust(16, b"\0")
    seconds = request.wall // 1_000_000_000
    made.mkfs_time = made.wtime = made.lastcheck = seconds & 0xFFFFFFFF
    made.mkfs_time_hi = made.wtime_hi = made.lastcheck_hi = seconds >> 32 & 0xFF
    made.default_mount_opts = MOUNT_OPTIONS
    made.desc_size = 64 if made.feature_incompat & f.BIT64 else 0
    if made.feature_incompat & f.FLEX_BG:
        made.log_groups_per_flex = request.flex_groups.bit_length() - 1
    if made.has_checksums:
        made.checksum_type = CRC32C
    if request.inode_size >= 128 + EXTRA:
        made.min_extra_isize = made.want_extra_isize = EXTRA
    return made


def _size_up(request: Request, fields: Superblock) -> Geometry:
    """Fill in how many blocks, groups and inodes there are."""
    size = request.block_size
    blocks = request.size // size
    if blocks > 0xFFFFFFFF and not fields.feature_incompat & f.BIT64:
        raise OSError(EFBIG, f"{blocks} blocks are too many without 64bit; larger blocks make fewer")
    if blocks >= 1 << 48:
        raise OSError(EFBIG, f"{blocks} blocks are too many")
    while True:
        fields.blocks_count = blocks
        if blocks <= fields.first_data_block + 8:
            raise OSError(ENOSPC, f"{request.size} bytes are too few for a file system")
        _count_inodes(request, fields)
        groups = fields.groups
        fields.reserved_gdt_blocks = _reserved(fields)
        _place_backups(fields)
        fields.r_blocks_count = blocks * request.reserved_percent // 100
        if fields.has_checksums:
            fields.checksum = superblock_checksum(fields.emit())
        geometry = Geometry(fields.emit(), request.size)
        geometry.fields = fields
        last = groups - 1
        overhead = 2 + geometry.inode_blocks + geometry.fixed_blocks(last)
        tail = geometry.group_blocks(last)
        if groups == 1 and tail < overhead + 3 + lost_blocks(size):
            raise OSError(
                ENOSPC, f"{request.size} bytes are too few for {fields.inodes_count} inodes and what goes with them"
            )
        if groups == 1 or tail == fields.blocks_per_group or tail >= overhead + LEAST_TAIL:
            return geometry
        blocks -= tail


def _count_inodes(request: Request, fields: Superblock) -> None:
    size = request.block_size
    groups = fields.groups
    wanted = request.inodes or fields.blocks_count * size // request.inode_ratio
    per_block = size // request.inode_size
    most = min(size * 8, 65536 - per_block)
    wanted = max(wanted, FIRST + 1)
    if wanted > 0xFFFFFFFF:
        if request.inodes:
            raise OSError(EFBIG, f"{wanted} inodes are too many")
        wanted = 0xFFFFFFFF - groups * (per_block + 8)
    per_group = -(-wanted // groups)
    unit = max(per_block, 8)
    per_group = -(-per_group // unit) * unit
    if per_group > most:
        if request.inodes:
            raise OSError(EINVAL, f"{wanted} inodes in {groups} groups are too many: a group has at most {most}")
        per_group = most // unit * unit
    fields.inodes_per_group = per_group
    fields.inodes_count = per_group * groups
    fields.free_inodes_count = fields.inodes_count - FIRST


def _reserved(fields: Superblock) -> int:
    """Blocks behind the group descriptors that are kept for more of them."""
    if not fields.feature_compat & f.RESIZE_INODE:
        return 0
    per_block = fields.block_size // fields.descriptor_size
    most = min(fields.blocks_count * RESIZE_FACTOR, 0xFFFFFFFF)
    groups = -(-(most - fields.first_data_block) // fields.blocks_per_group)
    now = -(-fields.groups // per_block)
    return max(min(-(-groups // per_block) - now, fields.block_size // 4), 0)


def _place_backups(fields: Superblock) -> None:
    if fields.feature_compat & f.SPARSE_SUPER2:
        groups = fields.groups
        first, last = (1 if groups > 1 else 0), (groups - 1 if groups > 2 else 0)
        fields.backup_bgs = first.to_bytes(4, "little") + last.to_bytes(4, "little")
