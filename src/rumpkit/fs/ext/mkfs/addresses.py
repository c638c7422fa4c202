"""The block map of a file without extents: addresses in the inode, and in indirect blocks.  Used where a file is made whole."""

import struct
from collections.abc import Callable
from typing import Final

DIRECT: Final = 12


def address_map(blocks: list[int], maps: list[int], block_size: int, put: Callable[[int, bytes], None]) -> bytes:
    """The 60 bytes of an inode whose blocks are `blocks`; indirect blocks are taken from `maps`, in order, and written by `put`."""
    free = iter(maps)
    per_block = block_size // 4
    words = blocks[:DIRECT]
    words += [0] * (DIRECT - len(words))
    at = DIRECT

    def branch(depth: int) -> int:
        """Write an indirect block `depth` levels above the file's, and what is below it."""
        nonlocal at
        block = next(free)
        if depth == 1:
            entries = blocks[at : at + per_block]
            at += len(entries)
        else:
            entries = []
            while len(entries) < per_block and at < len(blocks):
                entries.append(branch(depth - 1))
        put(block, struct.pack(f"<{len(entries)}I", *entries))
        return block

    for depth in (1, 2, 3):
        words.append(branch(depth) if at < len(blocks) else 0)
    return struct.pack("<15I", *words)
