"""Checksums that blocks get when their transaction is written: which kind of block needs which."""

from typing import Final

from .checksum import (
    has_tail,
    orphan_checksum,
    set_directory_checksum,
    set_extent_checksum,
    set_index_checksum,
    set_xattr_checksum,
)

LEAF: Final = 0
"""A block of names."""
INDEX: Final = 1
"""A node of a hash tree; its `extra` is where its limit and count lie."""
EXTENT: Final = 2
XATTR: Final = 3
"""Its `extra` is its own block number."""
ORPHAN: Final = 4
"""A block of the file of orphans; its `extra` is its own block number."""
BLOCKS: Final = 5
INODES: Final = 6
"""Bitmaps, whose checksums are in group descriptors."""
ROOT: Final = 7
"""The root of a hash tree.  It is sealed as INDEX; but what is sound as the one need not be as the other."""


def _leaf(seed: int, extra: int, data: bytearray) -> None:
    if has_tail(bytes(data[-12:])):
        set_directory_checksum(seed, data)


def _index(seed: int, extra: int, data: bytearray) -> None:
    set_index_checksum(seed, data, extra)


def _extent(seed: int, extra: int, data: bytearray) -> None:
    set_extent_checksum(seed, data)


def _xattr(seed: int, extra: int, data: bytearray) -> None:
    set_xattr_checksum(seed, extra, data)


def _orphan(seed: int, extra: int, data: bytearray) -> None:
    data[-4:] = orphan_checksum(seed, extra, bytes(data)).to_bytes(4, "little")


_SEALS: Final = (_leaf, _index, _extent, _xattr, _orphan)


def apply(kind: int, seed: int, extra: int, data: bytearray) -> None:
    """Put its checksum into a block."""
    _SEALS[kind](seed, extra, data)
