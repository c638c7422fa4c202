"""Group descriptors on disk: where a group's bitmaps and inode table lie and what is free in it.  32 or 64 bytes each."""

import struct
from typing import Final, final

INODE_UNINIT: Final = 1
"""flags: no inode is in use, and the inode bitmap is not written."""
BLOCK_UNINIT: Final = 2
"""flags: the block bitmap is not written; only the group's own metadata is in use."""
INODE_ZEROED: Final = 4
"""flags: the inode table is zeroed."""

CHECKSUM_AT: Final = 0x1E
SMALL: Final = 32
LARGE: Final = 64

_LOW: Final = struct.Struct("<IIIHHHHIHHHH")
_HIGH: Final = struct.Struct("<IIIHHHHIHHI")


@final
class GroupDescriptor:
    """The fields of a group descriptor; halves are put together."""

    block_bitmap: int
    inode_bitmap: int
    inode_table: int
    free_blocks: int
    """Clusters, with bigalloc."""
    free_inodes: int
    used_dirs: int
    flags: int
    exclude_bitmap: int
    block_bitmap_csum: int
    inode_bitmap_csum: int
    itable_unused: int
    """Inodes at the table's end that were never in use."""
    checksum: int

    def __init__(self, data: bytes = bytes(LARGE)) -> None:
        """Parse 32 or at least 64 bytes, whatever they are."""
        (
            self.block_bitmap,
            self.inode_bitmap,
            self.inode_table,
            self.free_blocks,
            self.free_inodes,
            self.used_dirs,
            self.flags,
            self.exclude_bitmap,
            self.block_bitmap_csum,
            self.inode_bitmap_csum,
            self.itable_unused,
            self.checksum,
        ) = _LOW.unpack_from(data)
        self.reserved: int = 0
        if len(data) >= LARGE:
            high = _HIGH.unpack_from(data, SMALL)
            self.block_bitmap |= high[0] << 32
            self.inode_bitmap |= high[1] << 32
            self.inode_table |= high[2] << 32
            self.free_blocks |= high[3] << 16
            self.free_inodes |= high[4] << 16
            self.used_dirs |= high[5] << 16
            self.itable_unused |= high[6] << 16
            self.exclude_bitmap |= high[7] << 32
            self.block_bitmap_csum |= high[8] << 16
            self.inode_bitmap_csum |= high[9] << 16
            self.reserved = high[10]

    def emit(self, size: int) -> bytes:
        """`size` bytes, with `checksum` as it is here (checksum.py makes it)."""
        low = _LOW.pack(
            self.block_bitmap & 0xFFFFFFFF,
            self.inode_bitmap & 0xFFFFFFFF,
            self.inode_table & 0xFFFFFFFF,
            self.free_blocks & 0xFFFF,
            self.free_inodes & 0xFFFF,
            self.used_dirs & 0xFFFF,
            self.flags,
            self.exclude_bitmap & 0xFFFFFFFF,
            self.block_bitmap_csum & 0xFFFF,
            self.inode_bitmap_csum & 0xFFFF,
            self.itable_unused & 0xFFFF,
            self.checksum,
        )
        if size < LARGE:
            return low
        high = _HIGH.pack(
            self.block_bitmap >> 32,
            self.inode_bitmap >> 32,
            self.inode_table >> 32,
            self.free_blocks >> 16,
            self.free_inodes >> 16,
            self.used_dirs >> 16,
            self.itable_unused >> 16,
            self.exclude_bitmap >> 32,
            self.block_bitmap_csum >> 16,
            self.inode_bitmap_csum >> 16,
            self.reserved,
        )
        return low + high + bytes(size - LARGE)
