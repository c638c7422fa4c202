"""What a receiver says of data that came out of order or twice: SACK blocks (RFC 2018) and D-SACK (RFC 2883).

Below `send`, above `block`.
"""

from typing import Final

from ...wire.segment import Segment
from ...wire.sequence import SEQ_MASK
from .block import ControlBlock

_ROOM: Final = 4
"""Blocks that fit into a header without timestamps; with them one less."""


def attach_blocks(block: ControlBlock, segment: Segment) -> None:
    """Put the blocks on a pure acknowledgement: a duplicate first, then the run that grew last, then those before it."""
    reassembly = block.reassembly
    room = _ROOM - 1 if block.timestamps else _ROOM
    blocks: list[tuple[int, int]] = []
    if reassembly.duplicate_end:
        first = reassembly.duplicate_first
        end = reassembly.duplicate_end
        blocks.append((int(first & SEQ_MASK), int(end & SEQ_MASK)))
        reassembly.duplicate_end = 0
        block.counters.duplicates_reported += 1
    for first, end in reassembly.newest(room - len(blocks)):
        blocks.append((int(first & SEQ_MASK), int(end & SEQ_MASK)))
    segment.sack_blocks = tuple(blocks)
