"""A directory's names on disk changed: added where there is room, removed, given other inodes; blocks and index nodes split."""

from typing import TYPE_CHECKING

from ...kern.abi.errno import ENOENT, ENOSPC, error
from ...vfs.buffer import Buffer
from . import directory, dirent, inline, seals, storage
from .inode import BLOCK_SIZE, INDEXED
from .inode import INLINE as INLINE_FLAG
from .state import InodeState

if TYPE_CHECKING:
    pass


def append_block(state: InodeState, kind: int = seals.LEAF) -> tuple[Buffer, int]:
    """A further block for a directory, empty and not marked yet, and its number.  `kind` is what it is to be (seals.py).  Raises ENOSPC."""
    volume = state.volume
    number = state.inode.size >> volume.block_bits
    block, count = storage.give(state, number, 1)
    assert count == 1
    buffer = volume.cache.fresh(block)
    state.inode.size += volume.block_size
    if state.node is not None:
        state.node.size = state.inode.size
    state.places[number] = block
    volume.sound(buffer, kind)
    return buffer, number


def mark_leaf(state: InodeState, buffer: Buffer) -> None:
    """A block of names was changed."""
    state.volume.mark_sealed(buffer, seals.LEAF, state.seed)


def start(state: InodeState, parent: int, kind: int) -> None:
    """Give a new directory its first block, with "." and "..".  Raises ENOSPC."""
    volume = state.volume
    buffer, _ = append_block(state)
    buffer.data[:] = dirent.empty_block(volume.block_size, volume.has_checksums)
    end = dirent.end_of(buffer.data)
    dirent.put(buffer.data, 0, state.number, 12, b".", kind)
    dirent.put(buffer.data, 12, parent, end - 12, b"..", kind)
    mark_leaf(state, buffer)


def add(state: InodeState, name: bytes, inode: int, kind: int) -> None:
    """Add a name, which is not there yet.  `kind` is the number that entries have for kinds.  Raises ENOSPC, EUCLEAN."""
    state.volume.names.forget(state.number, state.inode.generation, name)
    if state.inode.flags & INLINE_FLAG:
        if _add_inline(state, name, inode, kind):
            return
        leave_inode(state)
    if directory.is_indexed(state):
        from . import htreewrite

        htreewrite.add(state, name, inode, kind)
        return
    _stop_index(state)
    hint, at = state.hint
    last = directory.block_count(state)
    for number in range(min(hint, last - 1), last):
        buffer = directory.leaf(state, number)
        start = at if number == hint else 0
        at = dirent.insert(buffer.data, 0, dirent.end_of(buffer.data), inode, name, kind, start)
        if at >= 0:
            state.hint = (number, at)
            mark_leaf(state, buffer)
            return
    if last == 1 and state.volume.has_index:
        from . import htreewrite

        htreewrite.start(state)
        htreewrite.add(state, name, inode, kind)
        return
    buffer, number = append_block(state)
    buffer.data[:] = dirent.empty_block(state.volume.block_size, state.volume.has_checksums)
    at = dirent.insert(buffer.data, 0, dirent.end_of(buffer.data), inode, name, kind)
    state.hint = (number, at)
    mark_leaf(state, buffer)


def remove(state: InodeState, name: bytes) -> None:
    """Remove a name, which is there."""
    state.volume.names.forget(state.number, state.inode.generation, name)
    if state.inode.flags & INLINE_FLAG:
        _edit_inline(state, name, 0, 0)
        return
    found = directory.place(state, name)
    if found is None:
        raise error(ENOENT)
    buffer, at, number = found
    _stop_index(state)
    dirent.remove(buffer.data, 0, dirent.end_of(buffer.data), at)
    if number <= state.hint[0]:
        state.hint = (number, 0)
    mark_leaf(state, buffer)


def replace(state: InodeState, name: bytes, inode: int, kind: int) -> None:
    """Let a name, which is there, mean another inode."""
    state.volume.names.forget(state.number, state.inode.generation, name)
    if state.inode.flags & INLINE_FLAG:
        _edit_inline(state, name, inode, kind)
        return
    found = directory.place(state, name)
    if found is None:
        raise error(ENOENT)
    buffer, at, _ = found
    _stop_index(state)
    buffer.data[at : at + 4] = inode.to_bytes(4, "little")
    buffer.data[at + 7] = kind
    mark_leaf(state, buffer)


def set_parent(state: InodeState, parent: int) -> None:
    """Let ".." mean another directory."""
    directory.parent(state)
    raw = parent.to_bytes(4, "little")
    if state.inode.flags & INLINE_FLAG:
        state.inode.block = raw + state.inode.block[4:]
        state.volume.mark_inode(state)
        return
    buffer = directory.raw_block(state, 0)
    buffer.data[12:16] = raw
    if directory.is_indexed(state):
        from .htree import ROOT_COUNT

        state.volume.mark_sealed(buffer, seals.INDEX, state.seed, ROOT_COUNT)
    else:
        mark_leaf(state, buffer)


def is_empty(state: InodeState) -> bool:
    """Whether there is nothing but "." and ".."."""
    if not directory.is_indexed(state) or state.inode.flags & INLINE_FLAG:
        return not directory.entries(state, 0, 1)
    from . import htree

    way = htree.probe(state, 0)
    for _ in range(directory.block_count(state)):
        data = directory.leaf(state, htree.leaf_number(way)).data
        if dirent.names(data, 0, dirent.end_of(data)):
            return False
        if not htree.advance(state, way):
            return True
    return False


def _stop_index(state: InodeState) -> None:
    """A directory whose hash tree is not kept has none from now on."""
    if state.inode.flags & INDEXED and not state.volume.has_index:
        state.inode.flags &= ~INDEXED
        state.volume.mark_inode(state)


# Inline directories ------------------------------------------------------------------------------------


def _add_inline(state: InodeState, name: bytes, inode: int, kind: int) -> bool:
    """Add a name to an inline directory, if there is room for it."""
    for part, start, base in directory.inline_parts(state):
        data = bytearray(part)
        if dirent.insert(data, start, len(data), inode, name, kind) >= 0:
            _put_part(state, base, data)
            return True
    return False


def _edit_inline(state: InodeState, name: bytes, inode: int, kind: int) -> None:
    """Give a name of an inline directory another inode; 0 removes it."""
    for part, start, base in directory.inline_parts(state):
        data = bytearray(part)
        at = dirent.find_name(data, start, len(data), name)
        if at >= 0:
            if inode:
                data[at : at + 4] = inode.to_bytes(4, "little")
                data[at + 7] = kind
            else:
                dirent.remove(data, start, len(data), at)
            _put_part(state, base, data)
            return
    raise error(ENOENT)


def _put_part(state: InodeState, base: int, data: bytearray) -> None:
    whole = inline.read(state)
    if not inline.write(state, whole[:base] + bytes(data) + whole[base + len(data) :]):
        raise error(ENOSPC)


def leave_inode(state: InodeState) -> None:
    """Move an inline directory's names to a block.  Raises ENOSPC."""
    node = state.node
    if node is not None:
        node.moving()
    found = directory.entries(state, 0, BLOCK_SIZE * BLOCK_SIZE)
    parent = directory.parent(state)
    if state.volume.blocks.available(True) < storage.BATCH >> 4:
        raise error(ENOSPC)
    inline.clear(state)
    start(state, parent, dirent.TYPES[0o040000] if state.volume.has_kinds else 0)
    buffer = directory.raw_block(state, 0)
    for _, inode, kind, name in found:
        if dirent.insert(buffer.data, 0, dirent.end_of(buffer.data), inode, name, kind) < 0:
            raise error(ENOSPC)
    mark_leaf(state, buffer)
