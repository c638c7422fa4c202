"""The last pass: bitmaps and free counts against what the other passes found, and their checksums."""

from .. import checksum as sums
from ..group import BLOCK_UNINIT, INODE_UNINIT
from .context import DIRECTORY, Check


def inode_bitmap(check: Check, group: int) -> tuple[bytes, int, int]:
    """A group's inode bitmap as it should be, how many inodes are in use, and how many of them are directories."""
    geometry = check.geometry
    count = geometry.inodes_per_group
    first = group * count + 1
    kinds = check.kinds[first : first + count]
    reserved = max(min(geometry.first_inode - first, count), 0)
    made = bytearray(check.block_size)
    used = directories = 0
    for index, kind in enumerate(kinds):
        if kind or index < reserved or first + index in check.orphans:
            made[index >> 3] |= 1 << (index & 7)
            used += 1
            if kind == DIRECTORY:
                directories += 1
    made[count >> 3 :] = b"\xff" * (len(made) - (count >> 3))
    return bytes(made), used, directories


def block_bitmap(check: Check, group: int) -> tuple[bytes, int]:
    """A group's block bitmap as it should be, and how many blocks are free."""
    geometry = check.geometry
    count = geometry.group_blocks(group)
    made = check.claimed.take(geometry.group_start(group), count)
    free = count - int.from_bytes(made, "little").bit_count() + (-count & 7)
    return made + b"\xff" * (check.block_size - len(made)), free


def check_bitmaps(check: Check) -> None:
    """Compare all groups, and the sums in the superblock."""
    geometry = check.geometry
    fields = check.fields
    free_blocks = free_inodes = 0
    for group in range(geometry.groups):
        where = f"group {group}"
        descriptor = check.descriptors[group]
        made, free = block_bitmap(check, group)
        free_blocks += free
        if not descriptor.flags & BLOCK_UNINIT:
            _compare(check, descriptor.block_bitmap, made, geometry.group_blocks(group), "block", where)
            _checksum(
                check, descriptor.block_bitmap, geometry.blocks_per_group, descriptor.block_bitmap_csum, "block", where
            )
        elif made != bare_bitmap(check, group):
            check.find("its block bitmap is said not to be written, and blocks are in use", where, True)
        if free != descriptor.free_blocks:
            check.find(f"it has {free} free blocks and says {descriptor.free_blocks}", where, True)
        made, used, directories = inode_bitmap(check, group)
        free_inodes += geometry.inodes_per_group - used
        if not descriptor.flags & INODE_UNINIT:
            _compare(check, descriptor.inode_bitmap, made, geometry.inodes_per_group, "inode", where)
            _checksum(
                check, descriptor.inode_bitmap, geometry.inodes_per_group, descriptor.inode_bitmap_csum, "inode", where
            )
        elif used:
            check.find("its inode bitmap is said not to be written, and inodes are in use", where, True)
        if geometry.inodes_per_group - used != descriptor.free_inodes:
            check.find(
                f"it has {geometry.inodes_per_group - used} free inodes and says {descriptor.free_inodes}", where, True
            )
        if directories != descriptor.used_dirs:
            check.find(f"it has {directories} directories and says {descriptor.used_dirs}", where, True)
    check.free_blocks, check.free_inodes = free_blocks, free_inodes
    if free_blocks != fields.free_blocks_count:
        check.find(f"there are {free_blocks} free blocks, and it says {fields.free_blocks_count}", "superblock", True)
    if free_inodes != fields.free_inodes_count:
        check.find(f"there are {free_inodes} free inodes, and it says {fields.free_inodes_count}", "superblock", True)


def bare_bitmap(check: Check, group: int) -> bytes:
    """The block bitmap of a group that has nothing but metadata."""
    from .bits import Bits

    geometry = check.geometry
    start = geometry.group_start(group)
    count = geometry.group_blocks(group)
    bits = Bits(check.block_size * 8)
    bits.add(0, min(geometry.fixed_blocks(group), count))
    for other in check.descriptors:
        for block, size in (
            (other.block_bitmap, 1),
            (other.inode_bitmap, 1),
            (other.inode_table, geometry.inode_blocks),
        ):
            low, high = max(block, start), min(block + size, start + count)
            if low < high:
                bits.add(low - start, high - low)
    bits.add(count, check.block_size * 8 - count)
    return bytes(bits.data)


def _compare(check: Check, block: int, made: bytes, count: int, kind: str, where: str) -> None:
    data = bytes(check.cache.get(block).data)
    if data == made:
        return
    bad = [index for index in range(count) if (data[index >> 3] ^ made[index >> 3]) >> (index & 7) & 1]
    used = [index for index in bad if made[index >> 3] >> (index & 7) & 1]
    if used:
        check.find(f"{len(used)} {kind}s are in use and marked as free, the first {used[0]}", where, True)
    if len(bad) > len(used):
        first = next(index for index in bad if not made[index >> 3] >> (index & 7) & 1)
        check.find(f"{len(bad) - len(used)} {kind}s are free and marked as in use, the first {first}", where, True)
    if not bad:
        check.find(f"the {kind} bitmap's bits behind its end are not set", where, True)


def _checksum(check: Check, block: int, bits: int, stored: int, kind: str, where: str) -> None:
    if not check.fields.has_checksums:
        return
    made = sums.bitmap_checksum(check.seed, bytes(check.cache.get(block).data), bits)
    if check.geometry.descriptor_size < 64:
        made &= 0xFFFF
    if made != stored:
        check.find(f"the {kind} bitmap's checksum is wrong", where, True)
