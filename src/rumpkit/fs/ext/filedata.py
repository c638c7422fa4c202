"""A file's data on disk: reading bytes through the block map, and where data and holes are."""

from typing import Final

from ...kern.abi.errno import EIO, error
from .blockmap import find
from .state import InodeState

LARGEST: Final = 8 << 20
"""Bytes that are read or written in one call of the device."""


def read(state: InodeState, offset: int, end: int) -> bytes:
    """The bytes from `offset` up to `end`, which is above it; holes read as zeros.  Raises EIO, EUCLEAN."""
    volume = state.volume
    volume.write_data()
    bits = volume.block_bits
    first = block = offset >> bits
    behind = ((end - 1) >> bits) + 1
    most = LARGEST >> bits
    parts: list[bytes] = []
    while block < behind:
        run = find(state, block, min(behind - block, most))
        if run.length <= 0:
            raise error(EIO)
        if run.block and not run.unwritten:
            parts.append(volume.cache.read_direct(run.block, run.length))
        else:
            parts.append(bytes(run.length << bits))
        block += run.length
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    start = offset - (first << bits)
    return data if start == 0 and len(data) == end - offset else data[start : start + end - offset]


def next_data(state: InodeState, offset: int, size: int) -> int:
    """The first byte at or behind `offset` that has written storage; -1 if none has below `size`."""
    bits = state.volume.block_bits
    block = offset >> bits
    end = (size + (1 << bits) - 1) >> bits
    while block < end:
        run = find(state, block, end - block)
        if run.block and not run.unwritten:
            return max(offset, block << bits)
        block += run.length
    return -1


def next_hole(state: InodeState, offset: int, size: int) -> int:
    """The first byte at or behind `offset` that has none; what is at `size` has none."""
    bits = state.volume.block_bits
    block = offset >> bits
    end = (size + (1 << bits) - 1) >> bits
    while block < end:
        run = find(state, block, end - block)
        if not run.block or run.unwritten:
            return min(max(offset, block << bits), size)
        block += run.length
    return size
