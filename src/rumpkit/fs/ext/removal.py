"""Storage of files taken away: cut, or removed for good with their inode, in as many operations as that takes."""

from typing import TYPE_CHECKING, Final

from ...kern.abi.fcntl import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from . import extents, filewrite, storage, xattr, xattrvalue, xattrwrite
from .blockmap import largest
from .inode import BLOCK_SIZE, INLINE
from .node import is_fast
from .state import InodeState

if TYPE_CHECKING:
    from .orphans import OrphanList
    from .volume import Volume

CREDITS: Final = filewrite.CREDITS + storage.BATCH
SECOND: Final = 1_000_000_000


def has_map(state: InodeState) -> bool:
    """Whether an inode has a block map at all."""
    inode = state.inode
    kind = inode.mode & S_IFMT
    if inode.flags & INLINE or kind not in (S_IFREG, S_IFDIR, S_IFLNK):
        return False
    return kind != S_IFLNK or not is_fast(state)


def is_small(state: InodeState) -> bool:
    """Whether all of a file's storage goes in one short operation."""
    if not has_map(state):
        return True
    if state.extents:
        return extents.depth(state.inode.block) == 0
    return state.inode.block[48:] == bytes(12)


def shrink(volume: "Volume", orphans: "OrphanList", state: InodeState, size: int) -> None:
    """Cut a file to `size` bytes.  Raises EUCLEAN, EIO."""
    bits = volume.block_bits
    first = (size + (1 << bits) - 1) >> bits
    small = is_small(state)
    volume.begin(CREDITS)
    try:
        state.inode.size = size
        volume.mark_inode(state)
        if not small:
            orphans.add(state)
        done = storage.take(state, first, largest(state))
        if done:
            orphans.drop(state)
            filewrite.clear_tail(state, size)
    except OSError as problem:
        raise volume.failed(problem) from None
    finally:
        volume.end()
    while not done:
        volume.begin(CREDITS)
        try:
            done = storage.take(state, first, largest(state))
            if done:
                orphans.drop(state)
                filewrite.clear_tail(state, size)
        except OSError as problem:
            raise volume.failed(problem) from None
        finally:
            volume.end()


def erase(volume: "Volume", orphans: "OrphanList", state: InodeState, now: int) -> None:
    """Remove a file without a name: its storage, its attributes, its inode.  Raises EUCLEAN, EIO."""
    mapped = has_map(state)
    directory = state.inode.mode & S_IFMT == S_IFDIR
    done = not mapped
    while not done:
        volume.begin(CREDITS)
        try:
            done = storage.take(state, 0, largest(state), directory)
            if done:
                _finish(volume, orphans, state, directory, now)
        except OSError as problem:
            raise volume.failed(problem) from None
        finally:
            volume.end()
    if not mapped:
        volume.begin(CREDITS)
        try:
            _finish(volume, orphans, state, directory, now)
        except OSError as problem:
            raise volume.failed(problem) from None
        finally:
            volume.end()


def _finish(volume: "Volume", orphans: "OrphanList", state: InodeState, directory: bool, now: int) -> None:
    inode = state.inode
    found = xattr.in_inode(state)
    there = xattr.in_block(state)
    if there and xattrwrite.references(volume.cache.get(inode.file_acl)) == 1:
        found += there  # the values of a block that others have, too, stay
    for each in found:
        if each.inode:
            gone = xattrvalue.count(state, each.inode, -1)
            if gone is not None:
                erase(volume, orphans, gone, now)
    xattrwrite.drop(state)
    orphans.drop(state)
    inode.links = 0
    inode.size = 0
    inode.blocks = 0
    inode.flags &= ~INLINE
    inode.block = bytes(BLOCK_SIZE)
    if state.extents:
        storage.empty_map(state)
    inode.dtime = now // SECOND & 0xFFFFFFFF
    volume.inodes.free(state.number, directory)
    volume.mark_inode(state)
