"""Checksums of each kind of metadata: what they cover, what they start from, and where they lie.

Functions named after a structure return the checksum that it should have; `set_...` put it there.  Everything but a
superblock starts from the file system's seed (`seed`), and what belongs to an inode from that inode's (`inode_seed`).
"""

import struct
from typing import Final

from . import group, inode, superblock
from .crc import crc16, crc32c
from .superblock import Superblock

ALL: Final = 0xFFFFFFFF
_U32: Final = struct.Struct("<I")
_PAIR: Final = struct.Struct("<II")
_U64: Final = struct.Struct("<Q")

TAIL_SIZE: Final = 12
"""Bytes of a directory block's last entry, which has its checksum."""
TAIL_HEAD: Final = b"\0\0\0\0\x0c\0\0\xde"
"""How that entry starts: no inode, its length, no name, and a kind that no file has."""


def superblock_checksum(data: bytes) -> int:
    """The checksum of a superblock's 1024 bytes."""
    return crc32c(ALL, data[: superblock.CHECKSUM_AT])


def seed(fields: Superblock) -> int:
    """What the checksums of a file system start from."""
    return fields.checksum_seed if fields.has_seed else crc32c(ALL, fields.uuid)


def group_checksum(fields: Superblock, seed: int, number: int, data: bytes) -> int:
    """The checksum of a group descriptor (its bytes) of either kind: metadata_csum, else uninit_bg."""
    at = group.CHECKSUM_AT
    if fields.has_checksums:
        return crc32c(seed, _U32.pack(number) + data[:at] + b"\0\0" + data[at + 2 :]) & 0xFFFF
    return crc16(crc16(0xFFFF, fields.uuid + _U32.pack(number) + data[:at]), data[at + 2 :])


def inode_seed(seed: int, number: int, generation: int) -> int:
    """What the checksums of an inode and its blocks start from."""
    return crc32c(seed, _PAIR.pack(number, generation))


def inode_checksum(start: int, data: bytes) -> int:
    """The checksum of an inode, all its bytes; 16 bits of it where it has no room for more."""
    low = inode.CHECKSUM_AT
    if len(data) <= inode.BASE:
        return crc32c(start, data[:low] + b"\0\0" + data[low + 2 :]) & 0xFFFF
    if data[inode.EXTRA_AT] | data[inode.EXTRA_AT + 1] << 8 < 4:
        return crc32c(start, data[:low] + b"\0\0" + data[low + 2 :]) & 0xFFFF
    high = inode.CHECKSUM_HIGH_AT
    return crc32c(start, data[:low] + b"\0\0" + data[low + 2 : high] + b"\0\0" + data[high + 2 :])


def stored_inode_checksum(data: bytes) -> int:
    """The checksum that an inode has."""
    low = inode.CHECKSUM_AT
    value = data[low] | data[low + 1] << 8
    if len(data) > inode.BASE and data[inode.EXTRA_AT] | data[inode.EXTRA_AT + 1] << 8 >= 4:
        high = inode.CHECKSUM_HIGH_AT
        value |= data[high] << 16 | data[high + 1] << 24
    return value


def set_inode_checksum(start: int, data: bytearray, at: int, size: int) -> None:
    """Put its checksum into the inode of `size` bytes at `at`."""
    value = inode_checksum(start, bytes(data[at : at + size]))
    low = at + inode.CHECKSUM_AT
    data[low] = value & 0xFF
    data[low + 1] = value >> 8 & 0xFF
    if size > inode.BASE and data[at + inode.EXTRA_AT] | data[at + inode.EXTRA_AT + 1] << 8 >= 4:
        high = at + inode.CHECKSUM_HIGH_AT
        data[high] = value >> 16 & 0xFF
        data[high + 1] = value >> 24


def bitmap_checksum(seed: int, data: bytes, bits: int) -> int:
    """The checksum of a bitmap of so many bits; the group descriptor has it, or 16 bits of it if that is small."""
    return crc32c(seed, data[: bits >> 3])


def directory_checksum(start: int, data: bytes) -> int:
    """The checksum of a block of names, which its last entry has."""
    return crc32c(start, data[: len(data) - TAIL_SIZE])


def has_tail(data: bytes) -> bool:
    """Whether a block of names ends in an entry for its checksum."""
    end = len(data)
    return data[end - TAIL_SIZE : end - 4] == TAIL_HEAD


def set_directory_checksum(start: int, data: bytearray) -> None:
    """Put its checksum into a block of names that has the entry for it."""
    _U32.pack_into(data, len(data) - 4, directory_checksum(start, bytes(data)))


def index_checksum(start: int, data: bytes, count_at: int) -> int:
    """The checksum of a hash tree's node: `count_at` is where its limit and count lie.  It lies 4 bytes behind the
    place of the last entry that there may be."""
    limit, count = struct.unpack_from("<HH", data, count_at)
    tail = count_at + limit * 8
    return crc32c(start, data[: count_at + count * 8] + data[tail : tail + 4] + b"\0\0\0\0")


def set_index_checksum(start: int, data: bytearray, count_at: int) -> None:
    """Put its checksum into a hash tree's node."""
    limit = data[count_at] | data[count_at + 1] << 8
    _U32.pack_into(data, count_at + limit * 8 + 4, index_checksum(start, bytes(data), count_at))


def extent_checksum(start: int, data: bytes) -> int:
    """The checksum of a block of extents, which lies behind the place of the last one that there may be."""
    return crc32c(start, data[: extent_tail(data)])


def extent_tail(data: bytes | bytearray) -> int:
    """Where a block of extents has its checksum."""
    return 12 + 12 * (data[4] | data[5] << 8)


def set_extent_checksum(start: int, data: bytearray) -> None:
    """Put its checksum into a block of extents."""
    _U32.pack_into(data, extent_tail(data), extent_checksum(start, bytes(data)))


def xattr_checksum(seed: int, block: int, data: bytes) -> int:
    """The checksum of the block `block` of extended attributes, which it has at byte 16."""
    return crc32c(seed, _U64.pack(block) + data[:16] + b"\0\0\0\0" + data[20:])


def set_xattr_checksum(seed: int, block: int, data: bytearray) -> None:
    """Put its checksum into a block of extended attributes."""
    _U32.pack_into(data, 16, xattr_checksum(seed, block, bytes(data)))


def orphan_checksum(start: int, block: int, data: bytes) -> int:
    """The checksum of the block `block` of the file of orphans, which its last 4 bytes have."""
    return crc32c(start, _U64.pack(block) + data[: len(data) - 8])
