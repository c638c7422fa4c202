"""The block map of files without extents changed: block numbers in the inode and in up to three levels of indirect blocks."""

import struct

from ...kern.abi.errno import EFBIG, ENOSPC, error
from ...vfs.buffer import Buffer
from .blockmap import DIRECT, largest, path, pointer
from .extentmap import RESERVE
from .extents import Extent
from .state import InodeState


def insert(state: InodeState, extent: Extent) -> None:
    """Map blocks of the file that are in a hole.  Raises ENOSPC, EFBIG."""
    volume = state.volume
    if extent.start + extent.length > largest(state) or extent.block + extent.length > 1 << 32:
        raise error(EFBIG)
    per = volume.block_size >> 2
    if volume.fields.free_blocks_count < RESERVE + extent.length // per:
        raise error(ENOSPC)
    start, block, left = extent.start, extent.block, extent.length
    while left:
        index, below = path(state, start)
        if not below:
            count = min(left, DIRECT - index)
            _set_root(state, index, struct.pack(f"<{count}I", *range(block, block + count)))
        else:
            buffer = _leaf(state, index, below)
            slot = below[-1]
            count = min(left, per - slot)
            struct.pack_into(f"<{count}I", buffer.data, slot * 4, *range(block, block + count))
            volume.mark(buffer)
            volume.unsound(buffer)
        start += count
        block += count
        left -= count


def cut(state: InodeState, start: int, end: int, limit: int) -> tuple[list[Extent], bool]:
    """Unmap the blocks of the file from `start` up to below `end`, up to about `limit` runs of them, from the last on.

    Returns what was unmapped, for the caller to free, and whether that was all.
    """
    gone: list[Extent] = []
    bits = state.volume.block_bits - 2
    base = DIRECT
    spans = [(index, index, 0) for index in range(DIRECT)]
    for level in range(1, 4):
        spans.append((DIRECT + level - 1, base, level))
        base += 1 << bits * level
    for index, first, level in reversed(spans):
        size = 1 << bits * level
        low = max(start - first, 0)
        high = min(end - first, size)
        if low >= high:
            continue
        block = pointer(state, index)
        if not block:
            continue
        if level == 0:
            _add(gone, first, block)
            _set_root(state, index, b"\0\0\0\0")
            continue
        if len(gone) >= limit:
            return gone, False
        empty, done = _cut_block(state, block, level, low, high, first, gone, limit)
        if empty:
            _drop(state, block)
            _set_root(state, index, b"\0\0\0\0")
        if not done:
            return gone, False
    return gone, True


def _cut_block(
    state: InodeState, block: int, level: int, low: int, high: int, base: int, gone: list[Extent], limit: int
) -> tuple[bool, bool]:
    """Unmap a part of what is below an indirect block: whether that is empty now, and whether all of it was done."""
    volume = state.volume
    bits = volume.block_bits - 2
    size = 1 << bits * (level - 1)
    buffer = volume.cache.get(block)
    volume.mark(buffer)
    volume.unsound(buffer)
    numbers = list(struct.unpack(f"<{1 << bits}I", buffer.data))
    done = True
    for slot in range((high - 1) >> bits * (level - 1), (low >> bits * (level - 1)) - 1, -1):
        below = numbers[slot]
        if not below:
            continue
        volume.geometry.check_block(below, 1, state.where)
        if level == 1:
            _add(gone, base + slot, below)
            numbers[slot] = 0
            continue
        if len(gone) >= limit:
            done = False
            break
        first = slot * size
        empty, done = _cut_block(
            state, below, level - 1, max(low - first, 0), min(high - first, size), base + first, gone, limit
        )
        if empty:
            _drop(state, below)
            numbers[slot] = 0
        if not done:
            break
    # Taken again: the blocks below may have pushed it out.
    buffer = volume.cache.get(block)
    volume.unsound(buffer)
    struct.pack_into(f"<{1 << bits}I", buffer.data, 0, *numbers)
    return not any(numbers), done


def _add(gone: list[Extent], start: int, block: int) -> None:
    """Note an unmapped block; they come from the last on."""
    if gone and gone[-1].start == start + 1 and gone[-1].block == block + 1:
        gone[-1] = Extent(start, gone[-1].length + 1, block)
    else:
        gone.append(Extent(start, 1, block))


def _leaf(state: InodeState, index: int, below: list[int]) -> Buffer:
    """The last indirect block on the way to a block of the file; what is missing of the way is made."""
    volume = state.volume
    block = pointer(state, index)
    if not block:
        block = _new(state)
        _set_root(state, index, block.to_bytes(4, "little"))
    for slot in below[:-1]:
        buffer = volume.cache.get(block)
        following = int.from_bytes(buffer.data[slot * 4 : slot * 4 + 4], "little")
        if following:
            volume.geometry.check_block(following, 1, state.where)
        else:
            following = _new(state)
            buffer = volume.cache.get(block)
            buffer.data[slot * 4 : slot * 4 + 4] = following.to_bytes(4, "little")
            volume.mark(buffer)
            volume.unsound(buffer)
        block = following
    return volume.cache.get(block)


def _set_root(state: InodeState, index: int, value: bytes) -> None:
    block = state.inode.block
    state.inode.block = block[: index * 4] + value + block[index * 4 + len(value) :]
    state.volume.mark_inode(state)


def _new(state: InodeState) -> int:
    volume = state.volume
    block, _ = volume.blocks.allocate(state.goal, 1)
    buffer = volume.cache.fresh(block)
    volume.mark(buffer)
    volume.unsound(buffer)
    state.add_blocks(1)
    volume.mark_inode(state)
    return block


def _drop(state: InodeState, block: int) -> None:
    volume = state.volume
    volume.drop_blocks(block, 1)
    volume.blocks.free(block, 1)
    state.add_blocks(-1)
