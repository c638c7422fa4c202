"""Hash trees of directories grown: a directory's only block becomes a tree, full leaves and full nodes are split."""

import struct

from ...kern.abi.errno import ENOSPC, error
from ...vfs.buffer import Buffer
from . import directory, dirent, htree, seals
from .directory import is_indexed
from .dirwrite import append_block, mark_leaf
from .geometry import corrupt
from .htree import ENTRY, INFO, NODE_COUNT, ROOT_COUNT, Level
from .inode import INDEXED
from .namehash import name_hash
from .state import InodeState

_U32 = struct.Struct("<I")
RESERVE = 16
"""Blocks that have to be free for a name: a leaf and a node on each level, and what their places in the file take."""

Names = list[tuple[tuple[int, int], int, int, bytes]]
"""Hashes, inode, kind and name."""


def start(state: InodeState) -> None:
    """Make a directory of one block a hash tree: its names go to a second block."""
    volume = state.volume
    if volume.fields.free_blocks_count < RESERVE:
        raise error(ENOSPC)
    node = state.node
    if node is not None:
        node.moving()
    root = directory.leaf(state, 0)
    parent = directory.parent(state)
    kind = root.data[7]
    moved = [
        (inode, kind, name)
        for _, _, inode, kind, name in dirent.names(root.data, 0, dirent.end_of(root.data))
        if name not in (b".", b"..")
    ]
    buffer, _ = append_block(state)
    _fill(state, buffer, moved)
    size = volume.block_size
    data = bytearray(size)
    dirent.put(data, 0, state.number, 12, b".", kind)
    dirent.put(data, 12, parent, size - 12, b"..", kind)
    version = volume.fields.def_hash_version
    data[INFO + 4] = version if version <= 2 else 1
    data[INFO + 5] = 8
    _start_node(state, data, ROOT_COUNT, 1)
    root = directory.raw_block(state, 0)
    root.data[:] = data
    state.inode.flags |= INDEXED
    volume.sound(root, seals.ROOT)
    volume.mark_sealed(root, seals.INDEX, state.seed, ROOT_COUNT)
    volume.mark_inode(state)
    if node is not None:
        node.flags = state.inode.flags
    assert is_indexed(state)


def add(state: InodeState, name: bytes, inode: int, kind: int) -> None:
    """Add a name, which is not there yet.  Raises ENOSPC, EUCLEAN."""
    hashed = htree.hash_of(state, name)
    for _ in range(2 * state.volume.index_levels + 2):  # on each level a node may be split, and the root made deeper
        way = htree.probe(state, hashed[0])
        buffer = directory.leaf(state, htree.leaf_number(way))
        at = dirent.insert(buffer.data, 0, dirent.end_of(buffer.data), inode, name, kind)
        if at >= 0:
            mark_leaf(state, buffer)
            return
        if state.volume.fields.free_blocks_count < RESERVE:
            raise error(ENOSPC)
        if _make_room(state, way):
            continue
        _split_leaf(state, way)
    raise OSError(ENOSPC, f"{state.where}: no room is made in the hash tree")


def _split_leaf(state: InodeState, way: list[Level]) -> None:
    """Move the upper half of a full leaf's names, by hash, to a new block."""
    version = htree.version(state)
    seed = state.volume.fields.hash_seed
    buffer = directory.leaf(state, htree.leaf_number(way))
    found: Names = [
        (name_hash(name, version, seed), inode, kind, name)
        for _, _, inode, kind, name in dirent.names(buffer.data, 0, dirent.end_of(buffer.data))
    ]
    found.sort()
    if len(found) < 2:
        raise corrupt(f"{state.where}: a block of one name is full")
    total = sum(dirent.needed(name) for _, _, _, name in found)
    keep = 0
    size = 0
    while keep < len(found) - 1 and size + dirent.needed(found[keep][3]) <= total // 2:
        size += dirent.needed(found[keep][3])
        keep += 1
    keep = max(keep, 1)
    border = found[keep][0][0]
    if found[keep - 1][0][0] == border:
        border |= 1  # names of this hash are in both blocks
    new, number = append_block(state)
    buffer = directory.leaf(state, htree.leaf_number(way))
    _fill(state, buffer, [(inode, kind, name) for _, inode, kind, name in found[:keep]])
    _fill(state, new, [(inode, kind, name) for _, inode, kind, name in found[keep:]])
    _insert(state, way[-1], border, number)


def _make_room(state: InodeState, way: list[Level]) -> bool:
    """Split the lowest node that is full where the one above it has room; whether any had to be split.

    Raises ENOSPC where the tree can't grow any more.
    """
    full = [_limit(level) <= htree.count(level) for level in way]
    if not full[-1]:
        return False
    depth = len(way) - 1
    while depth and full[depth - 1]:
        depth -= 1
    if depth:
        _split_node(state, way[depth - 1], way[depth])
        return True
    if len(way) >= state.volume.index_levels:
        raise OSError(ENOSPC, f"{state.where}: the directory's hash tree is full")
    _deepen(state, way[0])
    return True


def _split_node(state: InodeState, above: Level, level: Level) -> None:
    """Move the upper half of a node's entries to a new one."""
    count = htree.count(level)
    keep = count // 2
    buffer, number = append_block(state, seals.INDEX)
    source = directory.raw_block(state, level.number)
    raw = bytes(source.data[level.count_at + keep * ENTRY : level.count_at + count * ENTRY])
    border = _U32.unpack_from(raw)[0]
    _new_node(state, buffer, raw)
    _set_count(source.data, level.count_at, keep)
    _mark(state, source, level.count_at)
    _insert(state, above._replace(buffer=directory.raw_block(state, above.number)), border, number)


def _deepen(state: InodeState, root: Level) -> None:
    """Move all of the root's entries to a new node, which becomes its only one."""
    count = htree.count(root)
    buffer, number = append_block(state, seals.INDEX)
    source = directory.raw_block(state, 0)
    _new_node(state, buffer, bytes(source.data[ROOT_COUNT : ROOT_COUNT + count * ENTRY]))
    source.data[INFO + 6] += 1
    _set_count(source.data, ROOT_COUNT, 1)
    _U32.pack_into(source.data, ROOT_COUNT + 4, number)
    _mark(state, source, ROOT_COUNT)


def _new_node(state: InodeState, buffer: Buffer, raw: bytes) -> None:
    """Make a block a node with these entries; the first one's hash doesn't count."""
    size = state.volume.block_size
    data = bytearray(size)
    dirent.put(data, 0, 0, size, b"", 0)
    _start_node(state, data, NODE_COUNT, 0)
    limit = data[NODE_COUNT : NODE_COUNT + 2]
    data[NODE_COUNT : NODE_COUNT + len(raw)] = raw
    data[NODE_COUNT : NODE_COUNT + 2] = limit
    _set_count(data, NODE_COUNT, len(raw) // ENTRY)
    buffer.data[:] = data
    _mark(state, buffer, NODE_COUNT)


def _start_node(state: InodeState, data: bytearray, count_at: int, first: int) -> None:
    """The start of a node's index: its limit, one entry."""
    limit = (len(data) - count_at) // ENTRY - (1 if state.volume.has_checksums else 0)
    struct.pack_into("<HHI", data, count_at, limit, 1, first)


def _insert(state: InodeState, level: Level, hashed: int, number: int) -> None:
    """Put an entry behind that which a way goes through, or where its hash belongs; there is room for it."""
    buffer = directory.raw_block(state, level.number)
    data = buffer.data
    count = htree.count(level._replace(buffer=buffer))
    at = level.count_at + (level.slot + 1) * ENTRY
    end = level.count_at + count * ENTRY
    data[at + ENTRY : end + ENTRY] = data[at:end]
    struct.pack_into("<II", data, at, hashed, number)
    _set_count(data, level.count_at, count + 1)
    _mark(state, buffer, level.count_at)


def _limit(level: Level) -> int:
    data = level.buffer.data
    return data[level.count_at] | data[level.count_at + 1] << 8


def _set_count(data: bytearray, count_at: int, count: int) -> None:
    data[count_at + 2] = count & 0xFF
    data[count_at + 3] = count >> 8


def _mark(state: InodeState, buffer: Buffer, count_at: int) -> None:
    state.volume.mark_sealed(buffer, seals.INDEX, state.seed, count_at)


def _fill(state: InodeState, buffer: Buffer, names: list[tuple[int, int, bytes]]) -> None:
    """Make a block one of these names, each behind the other."""
    volume = state.volume
    data = dirent.empty_block(volume.block_size, volume.has_checksums)
    end = dirent.end_of(data)
    at = 0
    for index, (inode, kind, name) in enumerate(names):
        length = dirent.needed(name) if index < len(names) - 1 else end - at
        dirent.put(data, at, inode, length, name, kind)
        at += length
    buffer.data[:] = data
    mark_leaf(state, buffer)
