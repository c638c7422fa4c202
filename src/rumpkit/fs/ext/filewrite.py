"""A file's data written to its blocks: storage given where there is none, what is around the written bytes kept."""

from typing import Final

from ...kern.abi.errno import ENOSPC
from . import extentmap, filedata, storage
from .blockmap import find
from .features import LARGE_FILE
from .state import InodeState

CREDITS: Final = 32
"""Blocks of metadata that giving storage to one file changes, about."""
BATCH: Final = 16 << 20
"""Bytes that one operation writes."""


def old_bytes(state: InodeState, start: int, end: int) -> bytes:
    """What lies on disk from `start` up to `end`, within a block; zeros behind the file's end."""
    size = min(state.inode.size, end)
    if size <= start:
        return bytes(end - start)
    return filedata.read(state, start, size) + bytes(end - size)


def store(state: InodeState, offset: int, data: bytes) -> int:
    """Write `data` at byte `offset`; how much of it there was storage for.  Raises ENOSPC if none, EFBIG, EIO, EUCLEAN.

    The inode's size grows with it.
    """
    volume = state.volume
    mask = volume.block_size - 1
    head = offset & mask
    end = offset + len(data)
    tail = -end & mask
    if head or tail:
        before = old_bytes(state, offset - head, offset) if head else b""
        behind = (old_bytes(state, end, end + tail) if end < state.inode.size else bytes(tail)) if tail else b""
        data = before + data + behind
    at = 0
    start = offset - head
    while at < len(data):
        piece = data if len(data) <= BATCH else data[at : at + BATCH]
        volume.begin(CREDITS)
        try:
            done = _store_blocks(state, start >> volume.block_bits, piece)
            reached = min(start + done, end)
            if done and reached > state.inode.size:
                grow(state, reached)
        except OSError as problem:
            raise volume.failed(problem) from None
        finally:
            volume.end()
        at += done
        start += done
        if done < len(piece):
            break
    written = min(start, end) - offset
    if written <= 0:
        raise OSError(ENOSPC, "No space left on device")
    return written


def grow(state: InodeState, size: int) -> None:
    """Set the size of the inode, to more than it was."""
    state.inode.size = size
    volume = state.volume
    if size >> 31 and not volume.fields.feature_ro_compat & LARGE_FILE:
        volume.fields.feature_ro_compat |= LARGE_FILE
        volume.mark_super()
    volume.mark_inode(state)


def _store_blocks(state: InodeState, block: int, data: bytes) -> int:
    """Write whole blocks; how many bytes of them there was storage for."""
    volume = state.volume
    bits = volume.block_bits
    left = len(data) >> bits
    at = 0
    while left:
        run = find(state, block, left)
        where, count = run.block, run.length
        if not where:
            try:
                where, count = storage.give(state, block, count)
            except OSError as problem:
                if problem.errno != ENOSPC:
                    raise
                break
        elif run.unwritten:
            try:
                extentmap.convert(state, block, count, False)
            except OSError as problem:
                if problem.errno != ENOSPC:
                    raise
                break
        size = count << bits
        volume.put_data(where, data if size == len(data) else data[at : at + size])
        at += size
        block += count
        left -= count
    return at


def clear_tail(state: InodeState, size: int) -> None:
    """Zero what lies behind byte `size` in its block, if the block has data."""
    volume = state.volume
    used = size & volume.block_size - 1
    if not used:
        return
    block = size >> volume.block_bits
    run = find(state, block, 1)
    if run.block and not run.unwritten:
        volume.write_data()
        data = volume.cache.read_direct(run.block, 1)
        if data[used:].strip(b"\0"):
            volume.put_data(run.block, data[:used] + bytes(len(data) - used))


def zero(state: InodeState, start: int, end: int) -> None:
    """Zero the bytes from `start` up to below `end`, which lie in one block, where it has data."""
    volume = state.volume
    run = find(state, start >> volume.block_bits, 1)
    if run.block and not run.unwritten:
        volume.write_data()
        data = volume.cache.read_direct(run.block, 1)
        base = start & ~(volume.block_size - 1)
        volume.put_data(run.block, data[: start - base] + bytes(end - start) + data[end - base :])
