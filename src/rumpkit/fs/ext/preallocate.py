"""fallocate: storage for bytes that read as zeros (unwritten extents), holes punched, ranges zeroed."""

from typing import TYPE_CHECKING, Final

from ...kern.abi.errno import ENOSPC, ENOTSUP, error
from ...kern.abi.fcntl import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE
from . import extentmap, filewrite, inline, storage
from .blockmap import find
from .inode import INLINE
from .state import InodeState

if TYPE_CHECKING:
    from .filenode import FileNode

PUNCH: Final = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


def change_storage(node: "FileNode", mode: int, offset: int, length: int) -> None:
    """fallocate on a regular file; see `Vnode.fallocate`."""
    if mode not in (0, FALLOC_FL_KEEP_SIZE, PUNCH, FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE):
        raise error(ENOTSUP)
    state = node.state
    if state.inode.flags & INLINE:
        node.leave_inode(inline.read(state))
    if mode != PUNCH and not state.extents:
        raise error(ENOTSUP)
    node.flush()
    end = offset + length
    if mode == PUNCH:
        _punch(node, offset, end)
    else:
        if mode & FALLOC_FL_ZERO_RANGE:
            _unwrite(node, offset, end)
        _reserve(node, offset, end)
        if not mode & FALLOC_FL_KEEP_SIZE and end > node.size:
            node.ext.begin(4)
            try:
                filewrite.clear_tail(state, state.inode.size)
                filewrite.grow(state, end)
            except OSError as problem:
                raise node.ext.failed(problem) from None
            finally:
                node.ext.end()
            node.size = end
    node.mtime = node.ctime = node.mount.hyper.wall()
    node.touched()


def _zero_edges(state: InodeState, start: int, end: int) -> tuple[int, int]:
    """Zero the parts of blocks at both ends of a range; the whole blocks between: the first, and the one behind the last."""
    bits = state.volume.block_bits
    size = 1 << bits
    first = (start + size - 1) >> bits
    last = end >> bits
    edges = ((start, min(first << bits, end)), (max(last << bits, start), end))
    for low, high in edges if first <= last else ((start, end),):
        if low < high:
            filewrite.zero(state, low, high)
    return first, last


def _unwrite(node: "FileNode", start: int, end: int) -> None:
    """Make bytes zeros where they have storage, which they keep."""
    state = node.state
    block, behind = _zero_edges(state, start, end)
    while block < behind:
        run = find(state, block, behind - block)
        if run.block and not run.unwritten:
            node.ext.begin(filewrite.CREDITS)
            try:
                extentmap.convert(state, block, run.length, True)
            except OSError as problem:
                raise node.ext.failed(problem) from None
            finally:
                node.ext.end()
        block += run.length


def _punch(node: "FileNode", start: int, end: int) -> None:
    """Make bytes a hole: whole blocks lose their storage, parts of blocks are zeroed."""
    state = node.state
    first, last = _zero_edges(state, start, end)
    done = first >= last
    while not done:
        node.ext.begin(filewrite.CREDITS + storage.BATCH)
        try:
            done = storage.take(state, first, last)
        except OSError as problem:
            raise node.ext.failed(problem) from None
        finally:
            node.ext.end()


def _reserve(node: "FileNode", start: int, end: int) -> None:
    """Give storage to what has none."""
    state = node.state
    bits = state.volume.block_bits
    block = start >> bits
    behind = (end + (1 << bits) - 1) >> bits
    while block < behind:
        run = find(state, block, behind - block)
        count = run.length
        if not run.block:
            if state.volume.blocks.available(node.ext.privileged(node)) < min(count, 1 << 30) + extentmap.RESERVE:
                raise error(ENOSPC)
            node.ext.begin(filewrite.CREDITS)
            try:
                _, count = storage.give(state, block, count, unwritten=True)
            except OSError as problem:
                raise node.ext.failed(problem) from None
            finally:
                node.ext.end()
        block += count
