"""Bitmaps of groups: read and checked, made where the descriptor says that they were never written, searched and changed."""

from typing import TYPE_CHECKING, Final

from ...vfs.buffer import Buffer
from . import seals
from .checksum import bitmap_checksum
from .geometry import corrupt
from .group import BLOCK_UNINIT, INODE_UNINIT

if TYPE_CHECKING:
    from .groups import Group
    from .volume import Volume

_LOW_ZEROS: Final = tuple(next((bit for bit in range(8) if not byte >> bit & 1), 8) for byte in range(256))
"""The lowest bit of a byte that is not set; 8 if all are."""


def block_bitmap(volume: "Volume", group: "Group") -> Buffer:
    """A group's bitmap of blocks, checked.  Raises EUCLEAN, EIO."""
    descriptor = group.descriptor
    block = descriptor.block_bitmap
    if descriptor.flags & BLOCK_UNINIT:
        return _make_block_bitmap(volume, group)
    buffer = volume.cache.get(block)
    if not volume.is_sound(buffer, seals.BLOCKS):
        bits = volume.geometry.blocks_per_group >> volume.geometry.cluster_bits
        if volume.has_checksums and not group.blocks_changed:
            right = bitmap_checksum(volume.seed, bytes(buffer.data), bits)
            if right & _width(volume) != descriptor.block_bitmap_csum:
                raise corrupt(f"group {group.number}: the checksum of the block bitmap is wrong")
        _check_own(volume, group, buffer.data)
        volume.sound(buffer, seals.BLOCKS)
    return buffer


def inode_bitmap(volume: "Volume", group: "Group") -> Buffer:
    """A group's bitmap of inodes, checked.  Raises EUCLEAN, EIO."""
    descriptor = group.descriptor
    block = descriptor.inode_bitmap
    count = volume.geometry.inodes_per_group
    if descriptor.flags & INODE_UNINIT:
        buffer = volume.cache.fresh(block)
        buffer.data[count >> 3 :] = b"\xff" * (volume.block_size - (count >> 3))
        descriptor.flags &= ~INODE_UNINIT
        change_inodes(volume, group, buffer)
        volume.sound(buffer, seals.INODES)
        return buffer
    buffer = volume.cache.get(block)
    if not volume.is_sound(buffer, seals.INODES):
        if volume.has_checksums and not group.inodes_changed:
            right = bitmap_checksum(volume.seed, bytes(buffer.data), count)
            if right & _width(volume) != descriptor.inode_bitmap_csum:
                raise corrupt(f"group {group.number}: the checksum of the inode bitmap is wrong")
        volume.sound(buffer, seals.INODES)
    return buffer


def change_blocks(volume: "Volume", group: "Group", buffer: Buffer) -> None:
    """A group's bitmap of blocks was changed, or is about to be."""
    group.blocks_changed = True
    volume.mark(buffer)
    volume.mark_group(group)


def change_inodes(volume: "Volume", group: "Group", buffer: Buffer) -> None:
    """A group's bitmap of inodes was changed, or is about to be."""
    group.inodes_changed = True
    volume.mark(buffer)
    volume.mark_group(group)


def seal(volume: "Volume", group: "Group") -> None:
    """Put the checksums of changed bitmaps into a group's descriptor."""
    descriptor = group.descriptor
    if volume.has_checksums:
        geometry = volume.geometry
        if group.blocks_changed:
            data = bytes(volume.cache.get(descriptor.block_bitmap).data)
            bits = geometry.blocks_per_group >> geometry.cluster_bits
            descriptor.block_bitmap_csum = bitmap_checksum(volume.seed, data, bits) & _width(volume)
        if group.inodes_changed:
            data = bytes(volume.cache.get(descriptor.inode_bitmap).data)
            descriptor.inode_bitmap_csum = bitmap_checksum(volume.seed, data, geometry.inodes_per_group) & _width(
                volume
            )
    group.blocks_changed = False
    group.inodes_changed = False


def _width(volume: "Volume") -> int:
    return 0xFFFFFFFF if volume.geometry.descriptor_size >= 64 else 0xFFFF


def _make_block_bitmap(volume: "Volume", group: "Group") -> Buffer:
    """The bitmap of a group of which nothing but the file system's own blocks was ever used."""
    geometry = volume.geometry
    descriptor = group.descriptor
    buffer = volume.cache.fresh(descriptor.block_bitmap)
    data = buffer.data
    first = geometry.group_start(group.number)
    blocks = geometry.group_blocks(group.number)
    set_bits(data, 0, geometry.fixed_blocks(group.number))
    # With flex_bg bitmaps and tables of other groups may lie in here.
    flex = 1 << volume.fields.log_groups_per_flex if 0 < volume.fields.log_groups_per_flex < 32 else 1
    start = group.number // flex * flex
    for number in range(start, min(start + flex, geometry.groups)):
        other = volume.groups.get(number).descriptor
        for block, count in (
            (other.block_bitmap, 1),
            (other.inode_bitmap, 1),
            (other.inode_table, geometry.inode_blocks),
        ):
            low = max(block - first, 0)
            high = min(block + count - first, blocks)
            if low < high:
                set_bits(data, low, high - low)
    set_bits(data, blocks, volume.block_size * 8 - blocks)
    used = int.from_bytes(data[: blocks >> 3], "little").bit_count() + _ones(data, blocks)
    free = blocks - used
    if free != descriptor.free_blocks:
        raise corrupt(
            f"group {group.number}: nothing is in use, but {descriptor.free_blocks} blocks are free and not {free}"
        )
    descriptor.flags &= ~BLOCK_UNINIT
    change_blocks(volume, group, buffer)
    volume.sound(buffer, seals.BLOCKS)
    return buffer


def _ones(data: bytearray, blocks: int) -> int:
    rest = blocks & 7
    return (data[blocks >> 3] & (1 << rest) - 1).bit_count() if rest else 0


def _check_own(volume: "Volume", group: "Group", data: bytearray) -> None:
    """Raise EUCLEAN where a group's bitmap says that its own metadata is free."""
    geometry = volume.geometry
    first = geometry.group_start(group.number)
    blocks = geometry.group_blocks(group.number)
    descriptor = group.descriptor
    bits = geometry.cluster_bits
    own = ((descriptor.block_bitmap, 1), (descriptor.inode_bitmap, 1), (descriptor.inode_table, geometry.inode_blocks))
    for block, count in own:
        if first <= block < first + blocks:
            last = min(block + count - first, blocks) - 1 >> bits
            low = block - first >> bits
            if free_run(data, low, 1) or not all(data[at >> 3] >> (at & 7) & 1 for at in (low, last)):
                raise corrupt(f"group {group.number}: the bitmap says that its metadata is free")
    rest = blocks >> bits
    if rest < volume.block_size * 8 and rest >> 3 < len(data) and rest & 7:
        if not data[rest >> 3] >> (rest & 7) & 1:
            raise corrupt(f"group {group.number}: the bitmap has blocks behind the end")


# Bits --------------------------------------------------------------------------------------------------


def set_bits(data: bytearray, start: int, count: int) -> None:
    """Set `count` bits from `start` on."""
    end = start + count
    while start < end and start & 7:
        data[start >> 3] |= 1 << (start & 7)
        start += 1
    whole = end - start >> 3
    if whole > 0:
        data[start >> 3 : (start >> 3) + whole] = b"\xff" * whole
        start += whole << 3
    while start < end:
        data[start >> 3] |= 1 << (start & 7)
        start += 1


def clear_bits(data: bytearray, start: int, count: int) -> bool:
    """Clear `count` bits from `start` on; whether all of them were set."""
    end = start + count
    right = True
    while start < end:
        if not start & 7 and end - start >= 8:
            whole = end - start >> 3
            if data[start >> 3 : (start >> 3) + whole] != b"\xff" * whole:
                right = False
            data[start >> 3 : (start >> 3) + whole] = bytes(whole)
            start += whole << 3
            continue
        bit = 1 << (start & 7)
        if not data[start >> 3] & bit:
            right = False
        data[start >> 3] &= ~bit
        start += 1
    return right


def free_run(data: bytearray, start: int, most: int) -> int:
    """How many bits from `start` on are clear, up to `most`."""
    end = min(start + most, len(data) << 3)
    at = start
    while at < end and at & 7:
        if data[at >> 3] >> (at & 7) & 1:
            return at - start
        at += 1
    if end - at >= 8:
        piece = data[at >> 3 : end >> 3]
        at += len(piece) - len(piece.lstrip(b"\0")) << 3
    while at < end:
        if data[at >> 3] >> (at & 7) & 1:
            break
        at += 1
    return at - start


def first_free(data: bytearray, start: int, end: int) -> int:
    """The first clear bit from `start` on and below `end`; -1 if none is."""
    at = start
    while at < end and at & 7:
        if not data[at >> 3] >> (at & 7) & 1:
            return at
        at += 1
    if at >= end:
        return -1
    piece = data[at >> 3 : end + 7 >> 3]
    skipped = len(piece) - len(piece.lstrip(b"\xff"))
    if skipped == len(piece):
        return -1
    at += (skipped << 3) + _LOW_ZEROS[piece[skipped]]
    return at if at < end else -1
