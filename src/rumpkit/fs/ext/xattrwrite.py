"""Extended attributes of an inode changed: in the inode while there is room, then in a block that files with equal ones share, then, where
the file system has that (ea_inode), in files of their own."""

from typing import Final, final

from ...kern.abi.errno import EEXIST, ENODATA, ENOSPC, error
from ...kern.abi.fcntl import S_IFLNK, S_IFMT, XATTR_CREATE, XATTR_REPLACE
from ...vfs.buffer import Buffer
from . import seals, xattr, xattrformat, xattrvalue
from .aclformat import to_disk
from .features import EXT_ATTR
from .inode import BASE, EXTRA
from .state import InodeState
from .xattrformat import ACLS, BLOCK_HEADER, HEAD, INLINE, MAGIC, MAGIC_BYTES, SYSTEM, Attribute

MOST_SHARED: Final = 1024
"""Inodes that may have one block."""
KNOWN: Final = 512
"""Blocks that are remembered for sharing."""


@final
class Counts:
    """How many references more, or fewer, values that are files get by a change."""

    def __init__(self) -> None:
        self.more: dict[int, int] = {}
        """By their inodes."""

    def add(self, attributes: list[Attribute], count: int) -> None:
        """Entries came to be, or went."""
        for each in attributes:
            if each.inode:
                self.more[each.inode] = self.more.get(each.inode, 0) + count

    def settle(self, state: InodeState) -> list[InodeState]:
        """Count; returns those that have none any more."""
        gone = []
        for number, count in self.more.items():
            holder = xattrvalue.count(state, number, count) if count else None
            if holder is not None:
                gone.append(holder)
        return gone


def room(state: InodeState) -> int:
    """Bytes that entries and values may take in the inode."""
    inode = state.inode
    size = state.volume.geometry.inode_size
    if size <= BASE:
        return 0
    return size - BASE - max(inode.extra_isize, EXTRA) - 4


def put_in_inode(state: InodeState, attributes: list[Attribute]) -> bool:
    """Give the inode these attributes, if there is room for them in itself."""
    volume = state.volume
    inode = state.inode
    size = volume.geometry.inode_size
    if not attributes and (size <= BASE or not xattr.in_inode(state)):
        return True
    if xattrformat.space(attributes) > room(state):
        return False
    if inode.extra_isize < EXTRA:
        inode.extra_isize = EXTRA
        inode.rest = bytes(size - BASE - EXTRA)
    start = inode.attributes_at
    data = bytearray(len(inode.rest))
    data[:start] = inode.rest[:start]
    if attributes:
        data[start : start + 4] = MAGIC_BYTES
        xattrformat.emit(attributes, data, start + 4, start + 4)
    inode.rest = bytes(data)
    volume.mark_inode(state)
    return True


def change(state: InodeState, name: bytes, value: bytes | None, flags: int) -> list[InodeState]:
    """Set the attribute `name`, or with None remove it.  Returns files that were values and are none any more, to be removed
    within the same operation.  Raises ENODATA, EEXIST, ENOSPC, ENOTSUP, EINVAL.
    """
    index, rest = xattrformat.split(name)
    here = xattr.in_inode(state)
    block = xattr.in_block(state)
    there = [each for each in (*here, *block) if each.index == index and each.name == rest]
    if there and flags & XATTR_CREATE:
        raise error(EEXIST)
    if not there and (value is None or flags & XATTR_REPLACE):
        raise error(ENODATA)
    xattrvalue.check_changeable(state, [*here, *block])
    counted = Counts()
    new_here = [each for each in here if each not in there]
    new_block = [each for each in block if each not in there]
    if value is not None:
        made = Attribute(index, rest, to_disk(value) if index in ACLS else value)
        _place(state, made, new_here, new_block, counted)
    if len(new_block) != len(block) or any(one is not two for one, two in zip(new_block, block, strict=True)):
        _put_in_block(state, new_block, block, counted)
    put_in_inode(state, new_here)
    counted.add(here, -1)
    counted.add(new_here, 1)
    more = xattrvalue.blocks_of(state, [*new_here, *new_block]) - xattrvalue.blocks_of(state, [*here, *block])
    if more:
        state.add_blocks(more)
        state.volume.mark_inode(state)
    fields = state.volume.fields
    if not fields.feature_compat & EXT_ATTR:
        fields.feature_compat |= EXT_ATTR
        state.volume.mark_super()
    return counted.settle(state)


def _place(state: InodeState, made: Attribute, here: list[Attribute], block: list[Attribute], counted: Counts) -> None:
    """Add an attribute to those in the inode or to those in the block, where its value becomes a file if there is no room for it
    otherwise.  Raises ENOSPC."""
    limit = state.volume.block_size - BLOCK_HEADER
    if xattrformat.space([*here, made]) <= room(state):
        here.append(made)
        return
    if xattrformat.space([*block, made]) > limit:
        entry = Attribute(made.index, made.name, b"", 1, 1)
        # A short link that has blocks and no block of attributes looks to e2fsck as if its target were addresses.
        fits = state.inode.mode & S_IFMT != S_IFLNK and xattrformat.space([*here, entry]) <= room(state)
        if not state.volume.has_values or not (fits or xattrformat.space([*block, entry]) <= limit):
            raise error(ENOSPC)
        if xattrvalue.make(state, made):
            counted.more[made.inode] = -1
        if fits:
            here.append(made)
            return
    else:
        made.hash = xattrformat.entry_hash(made.name, made.value)
    block.append(made)
    block.sort(key=xattrformat.sort_key)


def drop(state: InodeState) -> None:
    """The inode goes: give up its block."""
    if state.inode.file_acl:
        _put_in_block(state, [], [], Counts())


def _put_in_block(state: InodeState, attributes: list[Attribute], before: list[Attribute], counted: Counts) -> None:
    """Give the inode these attributes in a block, one that is there already if it can be; `before` it had those."""
    volume = state.volume
    inode = state.inode
    old = inode.file_acl
    if not attributes:
        if old:
            if _release(state, old):
                counted.add(before, -1)
            inode.file_acl = 0
            state.add_blocks(-1)
            volume.mark_inode(state)
        return
    for each in attributes:
        if not each.hash:
            each.hash = xattrformat.entry_hash(each.name, each.value)
    body = bytearray(volume.block_size)
    xattrformat.emit(attributes, body, BLOCK_HEADER, 0)
    key = bytes(body[BLOCK_HEADER:])
    shared = _find_equal(state, key)
    if shared is not None:
        if shared.block != old:
            _count(state, shared, 1)
            inode.file_acl = shared.block
    else:
        if old and references(volume.cache.get(old)) == 1:
            buffer = volume.cache.get(old)
            volume.mark_sealed(buffer, seals.XATTR, volume.seed, old)
            counted.add(before, -1)
        else:
            block, _ = volume.blocks.allocate(state.goal or old, 1)
            buffer = volume.cache.fresh(block)
            volume.mark_sealed(buffer, seals.XATTR, volume.seed, block)
            inode.file_acl = block
        HEAD.pack_into(body, 0, MAGIC, 1, 1, xattrformat.block_hash(attributes), 0)
        buffer.data[:] = body
        counted.add(attributes, 1)
        volume.sound(buffer, seals.XATTR)
        known = volume.attribute_blocks
        if len(known) >= KNOWN:
            known.clear()
        known[key] = inode.file_acl
    if not old:
        state.add_blocks(1)
    elif old != inode.file_acl and _release(state, old):
        counted.add(before, -1)
    volume.mark_inode(state)


def _find_equal(state: InodeState, key: bytes) -> Buffer | None:
    """A block with the same attributes that another inode may have, too."""
    volume = state.volume
    block = volume.attribute_blocks.get(key)
    if block is None:
        return None
    buffer = volume.cache.get(block)
    if volume.is_sound(buffer, seals.XATTR) and buffer.data[BLOCK_HEADER:] == key:
        if 0 < references(buffer) < MOST_SHARED and buffer.data[:4] == MAGIC_BYTES:
            return buffer
    del volume.attribute_blocks[key]
    return None


def references(buffer: Buffer) -> int:
    """How many inodes have a block of attributes."""
    return int.from_bytes(buffer.data[4:8], "little")


def _count(state: InodeState, buffer: Buffer, more: int) -> None:
    buffer.data[4:8] = (references(buffer) + more).to_bytes(4, "little")
    state.volume.mark_sealed(buffer, seals.XATTR, state.volume.seed, buffer.block)


def _release(state: InodeState, block: int) -> bool:
    """One inode less has a block; whether it was the last."""
    volume = state.volume
    buffer = volume.cache.get(block)
    if references(buffer) > 1:
        _count(state, buffer, -1)
        return False
    volume.attribute_blocks.pop(bytes(buffer.data[BLOCK_HEADER:]), None)
    volume.drop_blocks(block, 1)
    volume.blocks.free(block, 1)
    return True


# Inline data -------------------------------------------------------------------------------------------


def put_inline(state: InodeState, value: bytes | None) -> bool:
    """Give the inode the rest of its inline data (None: none any more), if there is room for it."""
    here = [each for each in xattr.in_inode(state) if each.index != SYSTEM or each.name != INLINE]
    if value is not None:
        here.append(Attribute(SYSTEM, INLINE, value))
    return put_in_inode(state, here)


def inline_room(state: InodeState) -> int:
    """Bytes of inline data that there is room for beside the block map's."""
    here = [each for each in xattr.in_inode(state) if each.index != SYSTEM or each.name != INLINE]
    return max((room(state) - xattrformat.space([*here, Attribute(SYSTEM, INLINE, b"")])) & ~3, 0)
