"""Extent trees changed: extents inserted, merged, cut, and the tree grown, split and shrunk as that needs.

A node's entries are handled as their 12 bytes each.  What can fail for want of space is made sure of before anything changes:
`RESERVE` blocks are free when an operation starts.
"""

from typing import Final, final

from ...kern.abi.errno import ENOSPC, error
from ...vfs.buffer import Buffer
from . import extents, seals
from .blockmap import node, root
from .extents import ENTRY, HEADER, MAX_BLOCK, MAX_LENGTH, MAX_UNWRITTEN, Extent, pack, unpack
from .state import InodeState

RESERVE: Final = 8
"""Blocks that have to be free for an insertion: a new one on each level, and one to spare."""
_KEY: Final = 4


@final
class Step:
    """A node on the way to a block of the file."""

    def __init__(self, buffer: Buffer | None, data: bytearray, slot: int, low: int, high: int) -> None:
        self.buffer: Buffer | None = buffer
        """None: the root, in the inode."""
        self.data: bytearray = data
        self.slot: int = slot
        """The entry that the way goes through, -1 before the first one."""
        self.low: int = low
        self.high: int = high
        """Blocks of the file that the node is for."""


def descend(state: InodeState, block: int) -> list[Step]:
    """The way from the root to the leaf for a block of the file."""
    data = bytearray(root(state))
    level = extents.depth(data)
    way = [Step(None, data, extents.search(data, block), 0, MAX_BLOCK)]
    low = 0
    high = MAX_BLOCK
    while level:
        # A block before the first entry belongs to the first child.
        slot = max(way[-1].slot, 0)
        way[-1].slot = slot
        low = extents.key(data, slot) if slot else low
        if slot + 1 < extents.entries(data):
            high = extents.key(data, slot + 1)
        level -= 1
        checked_low = min(low, extents.key(data, slot))
        buffer = node(state, extents.child(data, HEADER + slot * ENTRY), level, checked_low, high)
        data = buffer.data
        way.append(Step(buffer, data, extents.search(data, block), low, high))
    return way


def insert(state: InodeState, extent: Extent) -> None:
    """Map blocks of the file that are in a hole.  Raises ENOSPC, EUCLEAN, EIO."""
    way = descend(state, extent.start)
    leaf = way[-1]
    data = leaf.data
    slot = leaf.slot
    if slot >= 0:
        before = unpack(data, HEADER + slot * ENTRY)
        merged = _merge(before, extent)
        if merged is not None:
            data[HEADER + slot * ENTRY : HEADER + (slot + 1) * ENTRY] = pack(merged)
            following = slot + 1
            if following < extents.entries(data):
                both = _merge(merged, unpack(data, HEADER + following * ENTRY))
                if both is not None:
                    pieces = _pieces(data)
                    pieces[slot : slot + 2] = [pack(both)]
                    _write(state, way, len(way) - 1, pieces)
                    return
            _changed(state, leaf)
            return
    count = extents.entries(data)
    if slot == count - 1 and count < extents.room(data) and (slot >= 0 or len(way) == 1):
        at = HEADER + count * ENTRY
        data[at : at + ENTRY] = pack(extent)
        extents.set_entries(data, count + 1)
        _changed(state, leaf)
        return
    if state.volume.fields.free_blocks_count < RESERVE:
        raise error(ENOSPC)
    pieces = _pieces(data)
    pieces.insert(slot + 1, pack(extent))
    if slot + 2 < len(pieces):
        both = _merge(extent, unpack(pieces[slot + 2], 0))
        if both is not None:
            pieces[slot + 1 : slot + 3] = [pack(both)]
    _write(state, way, len(way) - 1, pieces)


def cut(state: InodeState, start: int, end: int, limit: int) -> tuple[list[Extent], bool]:
    """Unmap the blocks of the file from `start` up to below `end`, from the last on, up to `limit` extents of them.

    Returns what was unmapped, for the caller to free, and whether that was all.  Raises ENOSPC where an extent has to
    become two and there is no space for that.
    """
    gone: list[Extent] = []
    while len(gone) < limit:
        way = descend(state, end - 1)
        leaf = way[-1]
        if leaf.slot < 0:
            if leaf.low <= start or leaf.low == 0:
                return gone, True
            end = leaf.low
            continue
        found = unpack(leaf.data, HEADER + leaf.slot * ENTRY)
        low = max(found.start, start)
        high = min(found.start + found.length, end)
        if high <= low:
            if found.start + found.length <= start:
                return gone, True
            end = found.start
            continue
        _replace(state, way, _around(found, low, high))
        gone.append(Extent(low, high - low, found.block + low - found.start, found.unwritten))
        end = low
        if end <= start:
            return gone, True
    return gone, False


def convert(state: InodeState, start: int, length: int, unwritten: bool) -> None:
    """Make blocks of the file that have storage, all in one extent, written or unwritten.  Raises ENOSPC as `cut`."""
    way = descend(state, start)
    leaf = way[-1]
    found = unpack(leaf.data, HEADER + leaf.slot * ENTRY)
    inside = start - found.start
    length = min(length, found.length - inside)
    parts = _around(found, start, start + length)
    limit = MAX_UNWRITTEN if unwritten else MAX_LENGTH
    middle = []
    while length:
        piece = min(length, limit)
        middle.append(Extent(start, piece, found.block + start - found.start, unwritten))
        start += piece
        length -= piece
    place = 1 if inside else 0
    _replace(state, way, parts[:place] + middle + parts[place:])


def _around(found: Extent, low: int, high: int) -> list[Extent]:
    """What is left of an extent without the blocks from `low` to below `high`."""
    left = []
    if low > found.start:
        left.append(Extent(found.start, low - found.start, found.block, found.unwritten))
    end = found.start + found.length
    if high < end:
        left.append(Extent(high, end - high, found.block + high - found.start, found.unwritten))
    return left


def _replace(state: InodeState, way: list[Step], parts: list[Extent]) -> None:
    """Put `parts` in the place of the extent that a way leads to, merged with their neighbours."""
    leaf = way[-1]
    pieces = _pieces(leaf.data)
    slot = leaf.slot
    first = slot
    last = slot + 1
    if parts and first and (merged := _merge(unpack(pieces[first - 1], 0), parts[0])) is not None:
        parts = [merged, *parts[1:]]
        first -= 1
    if parts and last < len(pieces) and (merged := _merge(parts[-1], unpack(pieces[last], 0))) is not None:
        parts = [*parts[:-1], merged]
        last += 1
    if len(parts) > last - first and state.volume.fields.free_blocks_count < RESERVE:
        raise error(ENOSPC)
    pieces[first:last] = [pack(part) for part in parts]
    _write(state, way, len(way) - 1, pieces)


def _merge(one: Extent, two: Extent) -> Extent | None:
    """Two extents as one, if they follow each other and are alike."""
    length = one.length + two.length
    limit = MAX_UNWRITTEN if one.unwritten else MAX_LENGTH
    if (
        one.start + one.length != two.start
        or one.block + one.length != two.block
        or one.unwritten != two.unwritten
        or length > limit
    ):
        return None
    return Extent(one.start, length, one.block, one.unwritten)


# Nodes -------------------------------------------------------------------------------------------------


def _pieces(data: bytearray) -> list[bytes]:
    raw = bytes(data)
    return [raw[at : at + ENTRY] for at in range(HEADER, HEADER + extents.entries(data) * ENTRY, ENTRY)]


def _fill(data: bytearray, pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    data[HEADER : HEADER + len(raw)] = raw
    extents.set_entries(data, len(pieces))


def _changed(state: InodeState, step: Step) -> None:
    """A node was changed: say so."""
    volume = state.volume
    if step.buffer is None:
        state.inode.block = state.sound = bytes(step.data)
        volume.mark_inode(state)
    else:
        volume.mark_sealed(step.buffer, seals.EXTENT, state.seed)


def _write(state: InodeState, way: list[Step], depth: int, pieces: list[bytes]) -> None:
    """Give the node at `depth` of a way these entries: it may have to go, to be split, or the tree to grow."""
    step = way[depth]
    data = step.data
    if not pieces and depth:
        assert step.buffer is not None
        _drop_block(state, step.buffer.block)
        above = way[depth - 1]
        rest = _pieces(above.data)
        del rest[above.slot]
        _write(state, way, depth - 1, rest)
        return
    room = extents.room(data)
    if len(pieces) > room:
        if not depth:
            _grow(state, way, pieces)
        else:
            _split(state, way, depth, pieces)
        return
    if not pieces:
        data[6:8] = b"\0\0"
    old = bytes(data[HEADER : HEADER + _KEY])
    _fill(data, pieces)
    _changed(state, step)
    if depth and pieces and pieces[0][:_KEY] != old:
        _set_key(state, way, depth - 1, pieces[0][:_KEY])


def _set_key(state: InodeState, way: list[Step], depth: int, key: bytes) -> None:
    """A child starts with another block of the file now."""
    while depth >= 0:
        step = way[depth]
        at = HEADER + step.slot * ENTRY
        step.data[at : at + _KEY] = key
        _changed(state, step)
        if step.slot:
            return
        depth -= 1


def _grow(state: InodeState, way: list[Step], pieces: list[bytes]) -> None:
    """The root is full: its entries go to a block, and it points to that."""
    data = way[0].data
    level = extents.depth(data)
    size = state.volume.block_size
    buffer = _new_block(state, level, (size - HEADER) // ENTRY)
    _fill(buffer.data, pieces)
    key = int.from_bytes(pieces[0][:_KEY], "little")
    fresh = extents.new_node(len(data), level + 1, extents.room(data))
    _fill(fresh, [extents.pack_index(key, buffer.block)])
    data[:] = fresh
    _changed(state, way[0])


def _split(state: InodeState, way: list[Step], depth: int, pieces: list[bytes]) -> None:
    """A block is full: a part of its entries goes to a new one behind it."""
    step = way[depth]
    level = extents.depth(step.data)
    room = extents.room(step.data)
    # Files grow at their end: the new entry alone goes on, and the old block stays full.
    keep = room if step.high == MAX_BLOCK and len(pieces) == room + 1 else len(pieces) // 2
    buffer = _new_block(state, level, (state.volume.block_size - HEADER) // ENTRY)
    _fill(buffer.data, pieces[keep:])
    above = way[depth - 1]
    slot = above.slot
    _write(state, way, depth, pieces[:keep])
    rest = _pieces(above.data)
    key = int.from_bytes(pieces[keep][:_KEY], "little")
    rest.insert(slot + 1, extents.pack_index(key, buffer.block))
    _write(state, way, depth - 1, rest)


def _new_block(state: InodeState, level: int, room: int) -> Buffer:
    volume = state.volume
    block, _ = volume.blocks.allocate(state.goal, 1)
    buffer = volume.cache.fresh(block)
    buffer.data[:] = extents.new_node(volume.block_size, level, room)
    state.add_blocks(1)
    volume.mark_inode(state)
    volume.sound(buffer, seals.EXTENT)
    volume.mark_sealed(buffer, seals.EXTENT, state.seed)
    return buffer


def _drop_block(state: InodeState, block: int) -> None:
    volume = state.volume
    volume.drop_blocks(block, 1)
    volume.blocks.free(block, 1)
    state.add_blocks(-1)
    volume.mark_inode(state)
