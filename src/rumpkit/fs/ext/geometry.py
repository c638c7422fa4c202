"""The numbers of a file system, checked: what the superblock says of sizes and places is believed only behind this.

Where each thing lies follows from them: superblock copies, group descriptors, a group's blocks, an inode's place.
"""

from typing import Final, final

from ...kern.abi.errno import EINVAL, EUCLEAN
from .checksum import superblock_checksum
from .features import BIGALLOC, BIT64, JOURNAL_DEV, META_BG, SPARSE_SUPER, SPARSE_SUPER2, unreadable
from .inode import BASE, FIRST
from .superblock import CRC32C, MAGIC, Superblock

LARGEST_DESCRIPTOR: Final = 1024


def corrupt(text: str) -> OSError:
    """An error to raise for what can't be on a sound file system (EUCLEAN), with what and where."""
    return OSError(EUCLEAN, text)


def check_magic(data: bytes) -> None:
    """Raise EINVAL where a superblock's bytes are not of this kind of file system, or need what is not known here."""
    fields = Superblock(data)
    if fields.magic != MAGIC:
        raise OSError(EINVAL, "there is no ext2, ext3 or ext4 file system")
    if fields.rev_level > 1:
        raise OSError(EINVAL, f"revision {fields.rev_level} of ext2 is not known")
    if fields.feature_incompat & JOURNAL_DEV:
        raise OSError(EINVAL, "this is a journal and not a file system")
    missing = unreadable(fields.feature_incompat)
    if missing:
        raise OSError(EINVAL, f"it has features that are not known: {', '.join(missing)}")


@final
class Geometry:
    """Sizes and places, all of them sound."""

    def __init__(self, data: bytes, device_size: int) -> None:
        """Check a superblock (its 1024 bytes) on a device of `device_size` bytes.  Raises EINVAL, EUCLEAN."""
        check_magic(data)
        fields = Superblock(data)
        self.fields: Superblock = fields
        if fields.has_checksums:
            _demand(fields.checksum_type == CRC32C, f"checksums of type {fields.checksum_type} are not known")
            _demand(superblock_checksum(data) == fields.checksum, "the superblock's checksum is wrong")
        _demand(fields.log_block_size <= 6, f"blocks of 2^{10 + fields.log_block_size} bytes")
        self.block_size: int = fields.block_size
        self.block_bits: int = 10 + fields.log_block_size
        self.blocks: int = fields.blocks_count
        self.first_data_block: int = fields.first_data_block
        self.inodes: int = fields.inodes_count
        self.inodes_per_group: int = fields.inodes_per_group
        self.blocks_per_group: int = fields.blocks_per_group
        self.inode_size: int = BASE if fields.rev_level == 0 else fields.inode_size
        self.first_inode: int = FIRST if fields.rev_level == 0 else fields.first_ino
        self.descriptor_size: int = fields.descriptor_size
        self.cluster_bits: int = 0
        """log2 of blocks in a cluster (bigalloc); bitmaps count clusters."""
        self._check_blocks(device_size)
        self._check_inodes()
        self.groups: int = fields.groups
        self.inodes_per_block: int = self.block_size // self.inode_size
        self.inode_blocks: int = self.inodes_per_group // self.inodes_per_block
        """Blocks of a group's inode table."""
        self._check_groups()
        self.descriptors_per_block: int = self.block_size // self.descriptor_size
        self.descriptor_blocks: int = -(-self.groups // self.descriptors_per_block)
        _demand(fields.reserved_gdt_blocks <= self.block_size // 4, "too many blocks reserved for group descriptors")
        meta = fields.feature_incompat & META_BG != 0
        self.first_meta: int = fields.first_meta_bg if meta else self.descriptor_blocks
        """From this block of group descriptors on they lie in the groups that they describe (meta_bg)."""
        _demand(self.first_meta <= self.descriptor_blocks, "first_meta_bg is beyond the group descriptors")
        # With blocks of 1024 bytes and clusters, block 0 is the boot block and counts as a group's first block.
        self._boot: int = 1 if self.block_size == 1024 and self.first_data_block == 0 else 0
        table = self.first_data_block + self._boot + 1 + self.first_meta
        _demand(table <= min(self.blocks, self.first_data_block + self.blocks_per_group), "group 0 has no room")

    def _check_blocks(self, device_size: int) -> None:
        fields = self.fields
        bits = self.block_size * 8
        clusters = fields.feature_ro_compat & BIGALLOC != 0
        if clusters:
            _demand(
                fields.log_block_size <= fields.log_cluster_size <= fields.log_block_size + 16,
                f"clusters of 2^{10 + fields.log_cluster_size} bytes",
            )
            self.cluster_bits = fields.log_cluster_size - fields.log_block_size
            _demand(
                fields.blocks_per_group == fields.clusters_per_group << self.cluster_bits,
                f"groups of {fields.blocks_per_group} blocks and {fields.clusters_per_group} clusters",
            )
        per_group = self.blocks_per_group >> self.cluster_bits
        _demand(0 < per_group <= bits and per_group % 8 == 0, f"groups of {self.blocks_per_group} blocks")
        first = self.first_data_block
        _demand(
            first == (1 if self.block_size == 1024 else 0) or (clusters and first == 0),
            f"the first data block is {first}",
        )
        _demand(first < self.blocks, f"a size of {self.blocks} blocks")
        _demand(
            self.blocks <= device_size >> self.block_bits,
            f"the file system has {self.blocks} blocks, the device {device_size >> self.block_bits}",
        )
        _demand(fields.r_blocks_count <= self.blocks, "more blocks are reserved than there are")

    def _check_inodes(self) -> None:
        fields = self.fields
        size = self.inode_size
        _demand(BASE <= size <= self.block_size and size & (size - 1) == 0, f"inodes of {size} bytes")
        per_block = self.block_size // size
        count = self.inodes_per_group
        _demand(
            0 < count <= self.block_size * 8 and count % per_block == 0 and count % 8 == 0,
            f"groups of {count} inodes",
        )
        _demand(FIRST <= self.first_inode <= self.inodes, f"the first inode of files is {self.first_inode}")
        if fields.feature_incompat & BIT64:
            size = self.descriptor_size
            right = 64 <= size <= min(LARGEST_DESCRIPTOR, self.block_size) and size & (size - 1) == 0
            _demand(right, f"group descriptors of {size} bytes")

    def _check_groups(self) -> None:
        _demand(
            self.inodes == self.groups * self.inodes_per_group and self.inodes <= 0xFFFFFFFF,
            f"{self.inodes} inodes in {self.groups} groups of {self.inodes_per_group}",
        )

    # Places --------------------------------------------------------------------------------------------

    def group_start(self, group: int) -> int:
        """The first block of a group."""
        return self.first_data_block + group * self.blocks_per_group

    def group_blocks(self, group: int) -> int:
        """How many blocks a group has: the last one may have fewer."""
        return min(self.blocks_per_group, self.blocks - self.group_start(group))

    def has_super(self, group: int) -> bool:
        """Whether a group starts with a copy of the superblock."""
        fields = self.fields
        if group == 0:
            return True
        if fields.feature_compat & SPARSE_SUPER2:
            backups = fields.backup_bgs
            return group in (int.from_bytes(backups[:4], "little"), int.from_bytes(backups[4:], "little"))
        if group == 1 or not fields.feature_ro_compat & SPARSE_SUPER:
            return True
        for base in (3, 5, 7):
            power = base
            while power < group:
                power *= base
            if power == group:
                return True
        return False

    def descriptor_block(self, index: int) -> int:
        """Where the `index`th block of group descriptors lies."""
        if index < self.first_meta:
            return self.first_data_block + self._boot + 1 + index
        group = index * self.descriptors_per_block
        return self.group_start(group) + int(self.has_super(group)) + (self._boot if group == 0 else 0)

    def fixed_blocks(self, group: int) -> int:
        """How many blocks at a group's start are taken by a superblock, group descriptors and room for more of these."""
        metagroup, place = divmod(group, self.descriptors_per_block)
        supers = int(self.has_super(group))
        if group == 0:
            supers += self._boot
        if metagroup < self.first_meta or not self.fields.feature_incompat & META_BG:
            if not self.has_super(group):
                return 0
            return supers + self.first_meta + self.fields.reserved_gdt_blocks
        last = min(self.descriptors_per_block, self.groups - metagroup * self.descriptors_per_block) - 1
        return supers + int(place in (0, 1) or place == self.descriptors_per_block - 1 or place == last == 0)

    def check_block(self, block: int, count: int, whose: str) -> None:
        """Raise EUCLEAN where blocks that somebody claims are not all between the superblock and the end."""
        if block <= self.first_data_block or block + count > self.blocks:
            raise corrupt(f"{whose}: blocks {block} to {block + count - 1} are outside of the file system")

    def check_inode(self, number: int, whose: str) -> None:
        """Raise EUCLEAN where there can be no inode of that number in a directory."""
        if not 0 < number <= self.inodes:
            raise corrupt(f"{whose}: inode {number} is outside of the file system")


def _demand(right: bool, text: str) -> None:
    if not right:
        raise corrupt(f"superblock: {text}")
