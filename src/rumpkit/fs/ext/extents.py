"""Extents on disk: the header, entries and index entries of an extent tree's nodes, parsed, emitted and checked.

A node is 60 bytes in the inode or a block: a header of 12 bytes, then entries of 12 bytes in the order of the file.
"""

import struct
from typing import Final, NamedTuple

from .geometry import corrupt

MAGIC: Final = 0xF30A
HEADER: Final = 12
ENTRY: Final = 12
MAX_DEPTH: Final = 5
MAX_LENGTH: Final = 32768
"""Blocks of an extent; an unwritten one, which reads as zeros, has one less at most."""
MAX_UNWRITTEN: Final = MAX_LENGTH - 1
MAX_BLOCK: Final = 0xFFFFFFFF
"""Behind the last block that a file can have."""

HEAD: Final = struct.Struct("<HHHHI")
LEAF: Final = struct.Struct("<IHHI")
INDEX: Final = struct.Struct("<IIHH")


class Extent(NamedTuple):
    """Blocks of a file that lie side by side."""

    start: int
    """The first one's number in the file."""
    length: int
    block: int
    """Where it lies."""
    unwritten: bool = False


def pack(extent: Extent) -> bytes:
    """An extent's 12 bytes."""
    count = extent.length + MAX_LENGTH if extent.unwritten else extent.length
    return LEAF.pack(extent.start, count, extent.block >> 32, extent.block & 0xFFFFFFFF)


def unpack(data: bytes | bytearray, at: int) -> Extent:
    """The extent at byte `at`."""
    start, count, high, low = LEAF.unpack_from(data, at)
    if count > MAX_LENGTH:
        return Extent(start, count - MAX_LENGTH, high << 32 | low, True)
    return Extent(start, count, high << 32 | low)


def child(data: bytes | bytearray, at: int) -> int:
    """The block that the index entry at byte `at` points to."""
    _, low, high, _ = INDEX.unpack_from(data, at)
    return int(low | high << 32)


def pack_index(start: int, block: int) -> bytes:
    """An index entry's 12 bytes."""
    return INDEX.pack(start, block & 0xFFFFFFFF, block >> 32, 0)


def new_node(size: int, depth: int, room: int) -> bytearray:
    """An empty node of `size` bytes with place for `room` entries."""
    data = bytearray(size)
    HEAD.pack_into(data, 0, MAGIC, 0, room, depth, 0)
    return data


def entries(data: bytes | bytearray) -> int:
    """How many entries a node has."""
    return data[2] | data[3] << 8


def room(data: bytes | bytearray) -> int:
    """How many entries a node has place for."""
    return data[4] | data[5] << 8


def depth(data: bytes | bytearray) -> int:
    """How many levels are below a node."""
    return data[6] | data[7] << 8


def set_entries(data: bytearray, count: int) -> None:
    """Set how many entries a node has."""
    data[2] = count & 0xFF
    data[3] = count >> 8


def search(data: bytes | bytearray, block: int) -> int:
    """The last entry that starts at or before `block`; -1 if none does."""
    low = 0
    high = data[2] | data[3] << 8
    while low < high:
        middle = (low + high) >> 1
        at = HEADER + middle * ENTRY
        if data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24 <= block:
            low = middle + 1
        else:
            high = middle
    return low - 1


def key(data: bytes | bytearray, index: int) -> int:
    """The first block of the file that the entry `index` is about."""
    return int.from_bytes(data[HEADER + index * ENTRY : HEADER + index * ENTRY + 4], "little")


def check_node(data: bytes | bytearray, level: int, low: int, high: int, limit: int, first: int, whose: str) -> None:
    """Raise EUCLEAN unless a node is sound: of `level` levels above the leaves, its entries in order and for blocks from `low`
    up to below `high`, pointing to blocks from `first` up to below `limit`."""
    size = len(data)
    magic, count, most, deep, _ = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise corrupt(f"{whose}: a node of its extents lacks the magic number")
    if deep != level or level > MAX_DEPTH:
        raise corrupt(f"{whose}: a node of its extents is at level {deep} and should be at {level}")
    if count > most or HEADER + most * ENTRY > size or most == 0:
        raise corrupt(f"{whose}: a node of its extents has {count} entries of {most}")
    if level and not count:
        raise corrupt(f"{whose}: an inner node of its extents is empty")
    at = HEADER
    for _ in range(count):
        start, length, upper, lower = LEAF.unpack_from(data, at)
        if level:
            block = child(data, at)
            length = 1
            end = start + 1
        else:
            length = length - MAX_LENGTH if length > MAX_LENGTH else length
            block = upper << 32 | lower
            end = start + length
        if length == 0 or start < low or end > high:
            raise corrupt(f"{whose}: its extent {start}+{length} is not between {low} and {high}")
        if block < first or block + length > limit:
            raise corrupt(f"{whose}: its extent {start}+{length} at block {block} is outside of the file system")
        low = end
        at += ENTRY
