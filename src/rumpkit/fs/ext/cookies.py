"""Where readers of directories are: cookies.

Directories without a hash tree are read in the order of their bytes, as entries stay where they are: a cookie is the
position behind an entry.  With a hash tree entries move when blocks are split, but their hashes stay: they are read in the
order of hashes.  When a directory gets a hash tree, or blocks instead of inline data, what it was is kept for those who are
reading it: they get the names that are still there, with the cookies that they know.
"""

from typing import Final

from ...vfs.vnode import FIRST_COOKIE, Entry
from . import directory, dirent, htree
from .namehash import name_hash
from .state import InodeState

HASHED: Final = 1 << 59
ERA: Final = 40
"""Positions are below 1 << ERA; above is how often the directory changed its form."""
MASK: Final = (1 << ERA) - 1
Names = list[tuple[int, int, int, bytes]]
"""Position behind, inode, kind, name."""


def hash_cookie(hashed: int, minor: int) -> int:
    """The cookie of names with these hashes."""
    return HASHED | (hashed >> 1) << 28 | minor >> 4


def read_hashed(state: InodeState, cookie: int, count: int) -> list[Entry]:
    """Entries of a directory with a hash tree, in the order of hashes, from a cookie on.

    Those with the same hash come together, so there may be more than `count`.
    """
    from_hash = (cookie >> 28 & 0x7FFFFFFF) << 1 if cookie >= HASHED else 0
    way = htree.probe(state, from_hash)
    found: list[tuple[int, Entry]] = []
    steps = directory.block_count(state)
    version = htree.version(state)
    seed = state.volume.fields.hash_seed
    while steps:
        steps -= 1
        number = htree.leaf_number(way)
        data = directory.leaf(state, number).data
        for _, _, inode, kind, name in dirent.names(data, 0, dirent.end_of(data)):
            key = hash_cookie(*name_hash(name, version, seed))
            if key >= cookie:
                found.append((key, Entry(name, inode, kind_of(kind), key + 1)))
        following = htree.next_hash(way)
        if following < 0:
            break
        if len(found) >= count and not following & 1:
            break
        htree.advance(state, way)
    found.sort()
    end = count
    while 0 < end < len(found) and found[end][0] == found[end - 1][0]:
        end += 1
    return [entry for _, entry in found[:end]]


def read_linear(names: Names, era: int) -> list[Entry]:
    """Entries with cookies, of names with positions."""
    base = era << ERA
    return [Entry(name, inode, kind_of(kind), base + max(behind, FIRST_COOKIE)) for behind, inode, kind, name in names]


def kind_of(number: int) -> int:
    """S_IFMT bits of a number in an entry; 0 where it isn't known."""
    return dirent.KINDS[number] if number < len(dirent.KINDS) else 0
