"""Hash trees of directories: from a name's hash to the block that has the name.

Block 0 is the root: entries for "." and "..", then the index.  An index is a limit, a count, and pairs of a hash and a
block, sorted, the first without a hash.  Below are further nodes, then blocks of names.  Hashes have their lowest bit set in
the index where names of the same hash are in the block before, too.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from ...vfs.buffer import Buffer
from . import directory
from .checksum import index_checksum
from .geometry import corrupt
from .namehash import UNSIGNED, name_hash
from .seals import INDEX, ROOT
from .state import InodeState
from .superblock import FLAG_UNSIGNED_HASH

ROOT_COUNT: Final = 32
"""Where the root's index starts."""
NODE_COUNT: Final = 8
INFO: Final = 24
"""Where the root says which hash it uses and how many levels there are."""
ENTRY: Final = 8
_PAIR: Final = struct.Struct("<II")
_COUNTS: Final = struct.Struct("<HH")


class Level(NamedTuple):
    """One node on the way to a leaf."""

    buffer: Buffer
    count_at: int
    slot: int
    """Which entry the way goes through."""
    number: int
    """The node's block in the directory."""


def version(state: InodeState) -> int:
    """Which hash a directory uses (namehash.py).  Raises EUCLEAN."""
    volume = state.volume
    data = directory.raw_block(state, 0).data
    found = data[INFO + 4]
    if found > 2 or data[INFO + 5] != 8:
        raise corrupt(f"{state.where}: the hash tree is of version {found}")
    return found + (UNSIGNED if volume.fields.flags & FLAG_UNSIGNED_HASH else 0)


def levels(state: InodeState) -> int:
    """How many levels of nodes are below the root.  Raises EUCLEAN."""
    found = directory.raw_block(state, 0).data[INFO + 6]
    if found >= state.volume.index_levels:
        raise corrupt(f"{state.where}: the hash tree has {found + 1} levels")
    return found


def hash_of(state: InodeState, name: bytes) -> tuple[int, int]:
    """Hash and minor hash of a name in a directory."""
    return name_hash(name, version(state), state.volume.fields.hash_seed)


def node(state: InodeState, number: int, count_at: int) -> Buffer:
    """A node of the hash tree, checked.  Raises EUCLEAN."""
    buffer = directory.raw_block(state, number)
    volume = state.volume
    kind = INDEX if count_at == NODE_COUNT else ROOT
    if not volume.is_sound(buffer, kind):
        data = buffer.data
        where = f"{state.where}: node {number} of the hash tree"
        limit, count = _COUNTS.unpack_from(data, count_at)
        tail = 1 if volume.has_checksums else 0
        if count_at + limit * ENTRY + tail * ENTRY > len(data) or not 0 < count <= limit:
            raise corrupt(f"{where} has {count} entries of {limit}")
        if volume.has_checksums and buffer.block not in volume.unsealed:
            at = count_at + limit * ENTRY + 4
            if int.from_bytes(data[at : at + 4], "little") != index_checksum(state.seed, bytes(data), count_at):
                raise corrupt(f"{where} has a wrong checksum")
        blocks = directory.block_count(state)
        before = -1
        for index in range(count):
            hashed, block = _PAIR.unpack_from(data, count_at + index * ENTRY)
            if not 0 < block & 0x0FFFFFFF < blocks:
                raise corrupt(f"{where} points to block {block} of {blocks}")
            if index:
                if hashed < before:
                    raise corrupt(f"{where} is not in order")
                before = hashed
        volume.sound(buffer, kind)
    return buffer


def count(level: Level) -> int:
    """How many entries a node has."""
    return int(_COUNTS.unpack_from(level.buffer.data, level.count_at)[1])


def hash_at(level: Level, index: int) -> int:
    """The hash that the names behind an entry start with."""
    return int(_PAIR.unpack_from(level.buffer.data, level.count_at + index * ENTRY)[0]) if index else 0


def block_at(level: Level, index: int) -> int:
    """The block that an entry points to."""
    return int(_PAIR.unpack_from(level.buffer.data, level.count_at + index * ENTRY)[1]) & 0x0FFFFFFF


def probe(state: InodeState, hashed: int) -> list[Level]:
    """The way from the root to the leaf where a hash is."""
    way: list[Level] = []
    number = 0
    for depth in range(levels(state) + 1):
        count_at = NODE_COUNT if depth else ROOT_COUNT
        level = Level(node(state, number, count_at), count_at, 0, number)
        low = 1
        high = count(level)
        while low < high:
            middle = (low + high) >> 1
            if hash_at(level, middle) > hashed:
                high = middle
            else:
                low = middle + 1
        level = level._replace(slot=low - 1)
        way.append(level)
        number = block_at(level, low - 1)
        if any(number == above.number for above in way):
            raise corrupt(f"{state.where}: the hash tree is in itself")
    return way


def advance(state: InodeState, way: list[Level]) -> bool:
    """Move a way on to the next leaf; False behind the last one."""
    depth = len(way) - 1
    while way[depth].slot + 1 >= count(way[depth]):
        if not depth:
            return False
        depth -= 1
    way[depth] = way[depth]._replace(slot=way[depth].slot + 1)
    for below in range(depth + 1, len(way)):
        number = block_at(way[below - 1], way[below - 1].slot)
        way[below] = Level(node(state, number, NODE_COUNT), NODE_COUNT, 0, number)
    return True


def next_hash(way: list[Level]) -> int:
    """The hash with which the leaf behind this one starts; -1 if there is none."""
    for level in reversed(way):
        if level.slot + 1 < count(level):
            return hash_at(level, level.slot + 1)
    return -1


def leaf_number(way: list[Level]) -> int:
    """The leaf that a way leads to."""
    return block_at(way[-1], way[-1].slot)


def leaves(state: InodeState, name: bytes) -> Iterator[int]:
    """The blocks where a name may be: one, and those behind it where the same hash goes on."""
    if name == b"." or name == b"..":
        yield 0
        return
    hashed, _ = hash_of(state, name)
    way = probe(state, hashed)
    seen = 0
    while True:
        yield leaf_number(way)
        following = next_hash(way)
        seen += 1
        if following < 0 or not following & 1 or following & ~1 != hashed or seen > directory.block_count(state):
            return
        advance(state, way)
