"""Inline data: a small file or directory in its inode, 60 bytes in place of the block map, the rest as an extended attribute."""

from typing import Final

from . import xattr
from .geometry import corrupt
from .inode import BLOCK_SIZE
from .state import InodeState
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
