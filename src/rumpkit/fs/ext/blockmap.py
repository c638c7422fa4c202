"""Where the blocks of a file lie: reading its extents, or the indirect blocks of files without them.

`find` answers for one block and those that follow it.  Changing the map is in extentmap.py and indirectmap.py.
"""

import struct
from typing import Final, NamedTuple

from ...vfs.buffer import Buffer
from . import extents
from .checksum import extent_checksum, extent_tail
from .geometry import corrupt
from .seals import EXTENT
from .state import InodeState

DIRECT: Final = 12
"""Blocks that an inode without extents points to itself; behind them come an indirect, a double and a triple one."""


class Run(NamedTuple):
    """Blocks of a file, from the one that was asked for on."""

    block: int
    """Where they lie; 0: in a hole."""
    length: int
    unwritten: bool = False
    """They have storage, but read as zeros."""


def find(state: InodeState, block: int, most: int) -> Run:
    """Where the blocks of a file from `block` on lie: up to `most` of them that lie side by side, or are in one hole.

    Raises EUCLEAN, EIO.
    """
    return _find_extent(state, block, most) if state.extents else _find_indirect(state, block, most)


def largest(state: InodeState) -> int:
    """How many blocks a file can have."""
    if state.extents:
        return extents.MAX_BLOCK
    per = 1 << (state.volume.block_bits - 2)
    return min(DIRECT + per + per * per + per * per * per, extents.MAX_BLOCK)


# Extents -----------------------------------------------------------------------------------------------


def root(state: InodeState) -> bytes:
    """The root of the extent tree, checked."""
    data = state.inode.block
    if state.sound is not data:
        geometry = state.volume.geometry
        level = extents.depth(data)
        extents.check_node(
            data, level, 0, extents.MAX_BLOCK, geometry.blocks, geometry.first_data_block + 1, state.where
        )
        state.sound = data
    return data


def node(state: InodeState, block: int, level: int, low: int, high: int) -> Buffer:
    """A block of the extent tree, checked, `level` levels above the leaves and for blocks of the file from `low` to below `high`."""
    volume = state.volume
    buffer = volume.cache.get(block)
    data = buffer.data
    if not volume.is_sound(buffer, EXTENT) or extents.depth(data) != level:
        geometry = volume.geometry
        extents.check_node(data, level, low, high, geometry.blocks, geometry.first_data_block + 1, state.where)
        if volume.has_checksums and block not in volume.unsealed:
            tail = extent_tail(data)
            stored = int.from_bytes(data[tail : tail + 4], "little")
            if tail + 4 > len(data) or stored != extent_checksum(state.seed, bytes(data)):
                raise corrupt(f"{state.where}: the checksum of its extents in block {block} is wrong")
        volume.sound(buffer, EXTENT)
    return buffer


def _find_extent(state: InodeState, block: int, most: int) -> Run:
    data: bytes | bytearray = root(state)
    level = extents.depth(data)
    low = 0
    high = extents.MAX_BLOCK
    while level:
        index = extents.search(data, block)
        if index < 0:
            return Run(0, min(most, extents.key(data, 0) - block))
        low = extents.key(data, index)
        if index + 1 < extents.entries(data):
            high = extents.key(data, index + 1)
        level -= 1
        data = node(state, extents.child(data, extents.HEADER + index * extents.ENTRY), level, low, high).data
    index = extents.search(data, block)
    if index >= 0:
        found = extents.unpack(data, extents.HEADER + index * extents.ENTRY)
        inside = block - found.start
        if inside < found.length:
            return Run(found.block + inside, min(most, found.length - inside), found.unwritten)
    if index + 1 < extents.entries(data):
        high = extents.key(data, index + 1)
    return Run(0, min(most, high - block))


# Indirect blocks ---------------------------------------------------------------------------------------


def path(state: InodeState, block: int) -> tuple[int, list[int]]:
    """How to reach a block of a file without extents: the index in the inode, and those in each indirect block.

    Raises EUCLEAN where there can't be such a block.
    """
    bits = state.volume.block_bits - 2
    if block < DIRECT:
        return block, []
    block -= DIRECT
    mask = (1 << bits) - 1
    for level in range(1, 4):
        if block < 1 << (bits * level):
            return DIRECT + level - 1, [block >> (bits * at) & mask for at in range(level - 1, -1, -1)]
        block -= 1 << (bits * level)
    raise corrupt(f"{state.where}: it has a block beyond those that indirect blocks reach")


def pointer(state: InodeState, index: int) -> int:
    """A block number in the inode, checked; 0 for a hole."""
    block = int.from_bytes(state.inode.block[index * 4 : index * 4 + 4], "little")
    if block:
        state.volume.geometry.check_block(block, 1, state.where)
    return block


def _find_indirect(state: InodeState, block: int, most: int) -> Run:
    bits = state.volume.block_bits - 2
    if block >= largest(state):
        return Run(0, most)
    index, below = path(state, block)
    if not below:
        return _run(state, state.inode.block, index, DIRECT, most)
    found = pointer(state, index)
    depth = len(below)
    for level, slot in enumerate(below):
        if not found:
            # The hole goes on to where the block that is missing would have ended.
            reach = bits * (depth - level)
            inside = 0
            for later in below[level:]:
                inside = inside << bits | later
            return Run(0, min(most, (1 << reach) - inside))
        data = state.volume.cache.get(found).data
        if level == depth - 1:
            return _run(state, data, slot, 1 << bits, most)
        found = int.from_bytes(data[slot * 4 : slot * 4 + 4], "little")
        if found:
            state.volume.geometry.check_block(found, 1, state.where)
    raise corrupt(f"{state.where}: no such block")


def _run(state: InodeState, data: bytes | bytearray, index: int, end: int, most: int) -> Run:
    """The run of block numbers that starts with the one at `index`."""
    count = min(end - index, most)
    numbers = struct.unpack_from(f"<{count}I", data, index * 4)
    first = int(numbers[0])
    length = 1
    if first:
        while length < count and numbers[length] == first + length:
            length += 1
        state.volume.geometry.check_block(first, length, state.where)
    else:
        while length < count and not numbers[length]:
            length += 1
    return Run(first, length)
