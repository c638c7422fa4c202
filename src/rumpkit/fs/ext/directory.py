"""A directory's names on disk, read: its blocks found and checked, a name looked up by walking them or by its hash tree.

Positions are bytes from the directory's start.  Changing names is in dirwrite.py.
"""

from typing import Final

from ...vfs.buffer import Buffer
from . import dirent, htree, inline
from .blockmap import find
from .checksum import directory_checksum, has_tail
from .geometry import corrupt
from .inode import BLOCK_SIZE, INDEXED
from .inode import INLINE as INLINE_FLAG
from .seals import LEAF
from .state import InodeState

AHEAD: Final = 16
"""Blocks of a directory that are read at once."""


def block_count(state: InodeState) -> int:
    """Blocks of a directory.  Raises EUCLEAN for a size that none has."""
    volume = state.volume
    size = state.inode.size
    if size & (volume.block_size - 1) or not size or size >> volume.block_bits > volume.geometry.blocks:
        raise corrupt(f"{state.where}: a directory of {size} bytes")
    return size >> volume.block_bits


def raw_block(state: InodeState, number: int) -> Buffer:
    """A block of a directory, unchecked.  Raises EUCLEAN for a hole."""
    places = state.places
    block = places.get(number)
    if block is None:
        run = find(state, number, AHEAD)
        if not run.block or run.unwritten:
            raise corrupt(f"{state.where}: block {number} of the directory is a hole")
        block = run.block
        for index in range(run.length):
            places[number + index] = block + index
        if run.length > 1:
            state.volume.cache.read_ahead(block, run.length)
    return state.volume.cache.get(block)


def leaf(state: InodeState, number: int) -> Buffer:
    """A block of names, checked.  Raises EUCLEAN."""
    buffer = raw_block(state, number)
    volume = state.volume
    if not volume.is_sound(buffer, LEAF):
        data = buffer.data
        if volume.has_checksums and buffer.block not in volume.unsealed:
            if not has_tail(bytes(data[-12:])):
                raise corrupt(f"{state.where}: block {number} of the directory has no checksum")
            if int.from_bytes(data[-4:], "little") != directory_checksum(state.seed, bytes(data)):
                raise corrupt(f"{state.where}: the checksum of block {number} of the directory is wrong")
        dirent.check_names(data, 0, dirent.end_of(data), volume.geometry, f"{state.where}, block {number}")
        volume.sound(buffer, LEAF)
    return buffer


def is_indexed(state: InodeState) -> bool:
    """Whether a directory has a hash tree that is to be believed."""
    return state.inode.flags & INDEXED != 0 and state.volume.has_index


def inline_parts(state: InodeState) -> list[tuple[bytes, int, int]]:
    """The regions of names of an inline directory: bytes, where names start in them, and the position of their first byte."""
    size = state.inode.size
    parts = [(state.inode.block, inline.PARENT, 0)]
    if size > BLOCK_SIZE:
        rest = inline.rest(state)
        if len(rest) != size - BLOCK_SIZE:
            raise corrupt(f"{state.where}: its inline data has {len(rest)} bytes of {size - BLOCK_SIZE}")
        if rest:
            parts.append((rest, 0, BLOCK_SIZE))
    elif size < BLOCK_SIZE:
        raise corrupt(f"{state.where}: an inline directory of {size} bytes")
    for data, start, _ in parts:
        dirent.check_names(data, start, len(data), state.volume.geometry, state.where)
    return parts


def place(state: InodeState, name: bytes) -> tuple[Buffer, int, int] | None:
    """Where a directory with blocks has `name`: its block in memory, the byte of the entry in it, the number of the block."""
    if is_indexed(state):
        for number in htree.leaves(state, name):
            buffer = leaf(state, number)
            at = dirent.find_name(buffer.data, 0, dirent.end_of(buffer.data), name)
            if at >= 0:
                return buffer, at, number
        return None
    for number in range(block_count(state)):
        buffer = leaf(state, number)
        at = dirent.find_name(buffer.data, 0, dirent.end_of(buffer.data), name)
        if at >= 0:
            return buffer, at, number
    return None


def lookup(state: InodeState, name: bytes) -> int:
    """The inode called `name`; 0 if there is none.  Raises EUCLEAN, EIO."""
    if state.inode.flags & INLINE_FLAG:
        for data, start, _ in inline_parts(state):
            at = dirent.find_name(data, start, len(data), name)
            if at >= 0:
                return dirent.inode_at(data, at)
        return 0
    found = place(state, name)
    return 0 if found is None else dirent.inode_at(found[0].data, found[1])


def parent(state: InodeState) -> int:
    """The inode of the directory that a directory is in.  Raises EUCLEAN."""
    if state.inode.flags & INLINE_FLAG:
        number = dirent.inode_at(state.inode.block, 0)
    else:
        data = raw_block(state, 0).data
        at = dirent.length_of(data[4] | data[5] << 8, len(data))
        if at != 12 or data[at + 6] != 2 or data[at + 8 : at + 10] != b"..":
            raise corrupt(f"{state.where}: a directory without ..")
        number = dirent.inode_at(data, at)
    state.volume.geometry.check_inode(number, f"{state.where}, ..")
    return number


def entries(state: InodeState, position: int, count: int) -> list[tuple[int, int, int, bytes]]:
    """Up to `count` names from a position on, "." and ".." left out: the position behind each, inode, kind, name.

    A position in the middle of an entry stands for the entry behind that.
    """
    found: list[tuple[int, int, int, bytes]] = []
    if state.inode.flags & INLINE_FLAG:
        for part, start, base in inline_parts(state):
            _take(found, part, start, len(part), base, position, count)
        return found
    bits = state.volume.block_bits
    for number in range(position >> bits, block_count(state)):
        data = leaf(state, number).data
        _take(found, data, 0, dirent.end_of(data), number << bits, position, count)
        if len(found) >= count:
            break
    return found


def _take(
    found: list[tuple[int, int, int, bytes]],
    data: bytes | bytearray,
    start: int,
    end: int,
    base: int,
    position: int,
    count: int,
) -> None:
    for at, length, inode, kind, name in dirent.names(data, start, end):
        if len(found) >= count:
            return
        if base + at >= position and name != b"." and name != b"..":
            found.append((base + at + length, inode, kind, name))
