"""Storage of a file changed, whichever block map it has: blocks given to it, taken from it, written and unwritten."""

from typing import Final

from ...kern.abi.errno import ENOSPC, error
from . import blockmap, extentmap, extents, indirectmap
from .extents import MAX_LENGTH, MAX_UNWRITTEN, Extent
from .features import EXTENTS as EXTENTS_FEATURE
from .inode import BLOCK_SIZE, EXTENTS
from .state import InodeState

BATCH: Final = 256
"""Extents that one operation frees."""


def goal_for(state: InodeState, block: int) -> int:
    """Where a block of a file would be best: behind the one before it, else where its group was last given blocks."""
    volume = state.volume
    if block:
        run = blockmap.find(state, block - 1, 1)
        if run.block:
            return run.block + 1
    geometry = volume.geometry
    number = (state.number - 1) // geometry.inodes_per_group
    return volume.groups.get(number).cursor or geometry.group_start(number)


def give(state: InodeState, block: int, want: int, unwritten: bool = False) -> tuple[int, int]:
    """Give storage to up to `want` blocks of the file that are in a hole, from `block` on: where, and how many.

    Raises ENOSPC, EFBIG, EUCLEAN.
    """
    volume = state.volume
    if volume.blocks.kept:
        want = min(want, volume.fields.free_blocks_count - volume.blocks.kept)
        if want <= 0:
            raise error(ENOSPC)
    goal = goal_for(state, block)
    found, count = volume.blocks.allocate(goal, min(want, MAX_UNWRITTEN if unwritten else MAX_LENGTH), min(want, 16))
    state.goal = found + count
    extent = Extent(block, count, found, unwritten)
    try:
        if state.extents:
            extentmap.insert(state, extent)
        else:
            indirectmap.insert(state, extent)
    except OSError:
        volume.blocks.free(found, count)
        raise
    state.add_blocks(count)
    volume.mark_inode(state)
    return found, count


def take(state: InodeState, start: int, end: int, metadata: bool = False) -> bool:
    """Take the storage of blocks of the file from `start` up to below `end` away, or of the last of them; whether that was
    all.  `metadata`: they were in the buffer cache, as a directory's are."""
    volume = state.volume
    cutter = extentmap.cut if state.extents else indirectmap.cut
    gone, done = cutter(state, start, end, BATCH)
    for extent in gone:
        if metadata:
            volume.drop_blocks(extent.block, extent.length)
        volume.blocks.free(extent.block, extent.length)
        state.add_blocks(-extent.length)
    if gone:
        volume.mark_inode(state)
    return done


def empty_map(state: InodeState) -> None:
    """Give an inode an empty block map: extents where the file system has them."""
    inode = state.inode
    state.extents = state.volume.fields.feature_incompat & EXTENTS_FEATURE != 0
    if state.extents:
        inode.flags |= EXTENTS
        inode.block = bytes(extents.new_node(BLOCK_SIZE, 0, 4))
    else:
        inode.flags &= ~EXTENTS
        inode.block = bytes(BLOCK_SIZE)
