"""Inline data: a small file or directory in its inode, 60 bytes in place of the block map, the rest as an extended attribute."""

from typing import Final

from . import xattr, xattrwrite
from .geometry import corrupt
from .inode import BLOCK_SIZE, EXTENTS
from .inode import INLINE as FLAG
from .state import InodeState
from .storage import empty_map
from .xattrformat import INLINE, SYSTEM

PARENT: Final = 4
"""Bytes that an inline directory starts with: the inode of the one that it is in."""


def rest(state: InodeState) -> bytes:
    """What is in the extended attribute.  Raises EUCLEAN where there is none."""
    for each in xattr.in_inode(state):
        if each.index == SYSTEM and each.name == INLINE:
            return each.value
    raise corrupt(f"{state.where}: its inline data lacks an attribute")


def read(state: InodeState) -> bytes:
    """All of a file's data.  Raises EUCLEAN."""
    size = state.inode.size
    if size <= BLOCK_SIZE:
        return state.inode.block[:size]
    data = state.inode.block + rest(state)
    if len(data) < size:
        raise corrupt(f"{state.where}: its inline data has {len(data)} bytes of {size}")
    return data[:size]


def most(state: InodeState) -> int:
    """How long an inline file can be."""
    return BLOCK_SIZE + xattrwrite.inline_room(state)


def write(state: InodeState, data: bytes) -> bool:
    """Make `data` all that is in an inline file, if there is room for it."""
    inode = state.inode
    if not xattrwrite.put_inline(state, data[BLOCK_SIZE:]):
        return False
    inode.block = data[:BLOCK_SIZE].ljust(BLOCK_SIZE, b"\0")
    inode.size = len(data)
    state.volume.mark_inode(state)
    return True


def start(state: InodeState) -> None:
    """Make a new file an inline one, if it has room for the attribute."""
    inode = state.inode
    block = inode.block
    inode.block = bytes(BLOCK_SIZE)
    if xattrwrite.put_inline(state, b""):
        inode.flags = inode.flags & ~EXTENTS | FLAG
        state.extents = False
    else:
        inode.block = block


def clear(state: InodeState) -> None:
    """Make an inline file an empty one with blocks."""
    xattrwrite.put_inline(state, None)
    inode = state.inode
    inode.flags &= ~FLAG
    inode.size = 0
    empty_map(state)
    state.volume.mark_inode(state)
