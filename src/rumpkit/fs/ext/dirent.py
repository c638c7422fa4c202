"""Directory entries on disk: an inode number, the entry's length, the name and the file's kind, each entry behind the other.

Entries fill a block to its end; one that was removed has inode 0 or has become a part of the one before it.
"""

import struct
from typing import Final

from ...kern.abi.fcntl import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK
from .checksum import TAIL_HEAD, TAIL_SIZE
from .geometry import Geometry, corrupt

HEAD: Final = struct.Struct("<IHBB")
HEADER: Final = 8
SMALLEST: Final = 12

KINDS: Final = (0, S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK)
"""S_IFMT bits by the number that stands for them in entries."""
TYPES: Final = {kind: number for number, kind in enumerate(KINDS) if kind}


def needed(name: bytes) -> int:
    """Bytes that an entry for a name takes."""
    return len(name) + 11 & ~3


def length_of(stored: int, size: int) -> int:
    """An entry's length, in a block of `size` bytes."""
    return size if stored in (0, 0xFFFF) and size == 65536 else stored


def stored(length: int) -> int:
    """How a length is written."""
    return 0xFFFF if length == 65536 else length


def check_names(data: bytes | bytearray, start: int, end: int, geometry: Geometry, whose: str) -> None:
    """Raise EUCLEAN unless the entries from `start` to `end` are sound: they fill it, and their names and inodes can be."""
    at = start
    while at < end:
        if end - at < SMALLEST:
            raise corrupt(f"{whose}: {end - at} bytes at {at} can't be a directory entry")
        inode, length, name, _ = HEAD.unpack_from(data, at)
        length = length_of(length, end)
        if length < SMALLEST or length & 3 or at + length > end or HEADER + name > length:
            raise corrupt(f"{whose}: the directory entry at {at} has {length} bytes and a name of {name}")
        if inode:
            geometry.check_inode(inode, whose)
            if not name:
                raise corrupt(f"{whose}: the directory entry at {at} has no name")
        at += length


def end_of(data: bytes | bytearray) -> int:
    """Where the entries of a block end: before the one that has its checksum."""
    size = len(data)
    return size - TAIL_SIZE if data[size - TAIL_SIZE : size - 4] == TAIL_HEAD else size


def find_name(data: bytes | bytearray, start: int, end: int, name: bytes) -> int:
    """Where the entry for `name` lies between `start` and `end`, entries that are sound; -1 if there is none."""
    size = len(name)
    found = data.find(name, start + HEADER, end)
    while found >= 0:
        at = found - HEADER
        if data[at + 6] == size and not at & 3 and data[at : at + 4] != b"\0\0\0\0" and _is_entry(data, start, at):
            return at
        found = data.find(name, found + 1, end)
    return -1


def _is_entry(data: bytes | bytearray, start: int, wanted: int) -> bool:
    """Whether an entry starts at `wanted`: the names of those that were removed are still there."""
    at = start
    while at < wanted:
        length = data[at + 4] | data[at + 5] << 8
        if length in (0, 0xFFFF):
            return False
        at += length
    return at == wanted


def inode_at(data: bytes | bytearray, at: int) -> int:
    """The inode of the entry at `at`."""
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24


def put(data: bytearray, at: int, inode: int, length: int, name: bytes, kind: int) -> None:
    """Write an entry."""
    HEAD.pack_into(data, at, inode, stored(length), len(name), kind)
    data[at + HEADER : at + HEADER + len(name)] = name


def insert(data: bytearray, start: int, end: int, inode: int, name: bytes, kind: int, hint: int = -1) -> int:
    """Put a name where there is room for it between `start` and `end`; where it went, or -1 if there is none.

    `hint` is an entry to start looking at.
    """
    wanted = needed(name)
    at = hint if hint >= start else start
    while at < end:
        length = length_of(data[at + 4] | data[at + 5] << 8, end)
        if length >= wanted:
            if not data[at] and not data[at + 1] and not data[at + 2] and not data[at + 3]:
                put(data, at, inode, length, name, kind)
                return at
            used = data[at + 6] + 11 & ~3
            if length - used >= wanted:
                data[at + 4 : at + 6] = used.to_bytes(2, "little")
                put(data, at + used, inode, length - used, name, kind)
                return at + used
        at += length
    return -1


def remove(data: bytearray, start: int, end: int, wanted: int) -> None:
    """Remove the entry at `wanted`: the one before it takes its bytes, if there is one."""
    at = before = start
    while at < wanted:
        before = at
        at += length_of(data[at + 4] | data[at + 5] << 8, end)
    gone = length_of(data[wanted + 4] | data[wanted + 5] << 8, end)
    if before == wanted:
        data[wanted : wanted + 4] = b"\0\0\0\0"
    else:
        length = wanted - before + gone
        data[before + 4 : before + 6] = stored(length).to_bytes(2, "little")


def names(data: bytes | bytearray, start: int, end: int) -> list[tuple[int, int, int, int, bytes]]:
    """The names in use between `start` and `end`: place, length, inode, kind and name of each."""
    found = []
    at = start
    while at < end:
        inode, length, size, kind = HEAD.unpack_from(data, at)
        length = length_of(length, end)
        if inode:
            found.append((at, length, inode, kind, bytes(data[at + HEADER : at + HEADER + size])))
        at += length
    return found


def empty_block(size: int, tail: bool) -> bytearray:
    """A block without names; with `tail`, with an entry for its checksum."""
    data = bytearray(size)
    HEAD.pack_into(data, 0, 0, stored(size - TAIL_SIZE if tail else size), 0, 0)
    if tail:
        data[size - TAIL_SIZE : size - 4] = TAIL_HEAD
    return data
