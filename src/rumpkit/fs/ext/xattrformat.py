"""Extended attributes on disk: in the inode behind its fields, and in a block that inodes with the same ones may share.

Entries grow from the start, values from the end; in a block entries are sorted, and have hashes.
"""

import struct
from typing import Final, final

from ...kern.abi.errno import ENOTSUP, error
from .geometry import corrupt
from .inode import Inode

MAGIC: Final = 0xEA020000
MAGIC_BYTES: Final = MAGIC.to_bytes(4, "little")
BLOCK_HEADER: Final = 32
SECOND: Final = 1_000_000_000
ENTRY: Final = struct.Struct("<BBHIII")
HEAD: Final = struct.Struct("<IIIII")
"""Of a block: magic, references, blocks (1), hash, checksum."""

SYSTEM: Final = 7
PREFIXES: Final = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
    7: b"system.",
    8: b"system.richacl",
}
ACLS: Final = (2, 3)
INLINE: Final = b"data"
"""Under SYSTEM: the rest of a file that lies in its inode."""


@final
class Attribute:
    """One attribute."""

    def __init__(self, index: int, name: bytes, value: bytes, inode: int = 0, size: int = -1, hashed: int = 0) -> None:
        self.index: int = index
        """Which prefix."""
        self.name: bytes = name
        self.value: bytes = value
        self.inode: int = inode
        """The file that has the value, or 0."""
        self.size: int = len(value) if size < 0 else size
        self.hash: int = hashed

    @property
    def full_name(self) -> bytes:
        """With its prefix; b"" where that is not known."""
        prefix = PREFIXES.get(self.index)
        return b"" if prefix is None else prefix + self.name


def split(name: bytes) -> tuple[int, bytes]:
    """A name as the number of its prefix and the rest.  Raises ENOTSUP where it has no such prefix."""
    for index in (2, 3, 8):
        if name == PREFIXES[index]:
            return index, b""
    for index in (1, 4, 6):
        prefix = PREFIXES[index]
        if name.startswith(prefix) and len(name) > len(prefix):
            return index, name[len(prefix) :]
    raise error(ENOTSUP)


def parse(data: bytes, start: int, base: int, whose: str) -> list[Attribute]:
    """The attributes whose entries start at `start`; values lie relative to `base`.  Raises EUCLEAN."""
    found = []
    at = start
    size = len(data)
    while True:
        if at + 4 > size:
            raise corrupt(f"{whose}: its extended attributes do not end")
        if data[at : at + 4] == b"\0\0\0\0":
            break
        if at + ENTRY.size > size:
            raise corrupt(f"{whose}: its extended attributes do not end")
        length, index, offset, inode, value_size, hashed = ENTRY.unpack_from(data, at)
        name_at = at + ENTRY.size
        if name_at + length > size:
            raise corrupt(f"{whose}: the name of an extended attribute is cut off")
        value = b""
        if not inode and value_size:
            if base + offset + value_size > size or base + offset < name_at:
                raise corrupt(f"{whose}: the value of an extended attribute is outside")
            value = data[base + offset : base + offset + value_size]
        found.append(Attribute(index, data[name_at : name_at + length], value, inode, value_size, hashed))
        at = (name_at + length + 3) & ~3
    return found


def space(attributes: list[Attribute]) -> int:
    """Bytes that entries and values take, with the word that ends the entries."""
    total = 4
    for each in attributes:
        total += ENTRY.size + (len(each.name) + 3 & ~3)
        if not each.inode:
            total += len(each.value) + 3 & ~3
    return total


def emit(attributes: list[Attribute], data: bytearray, start: int, base: int) -> None:
    """Write attributes whose entries start at `start`; there is room for them.  The space between is zeroed."""
    end = len(data)
    data[start:] = bytes(end - start)
    at = start
    for each in attributes:
        offset = 0
        if not each.inode and each.value:
            end -= len(each.value) + 3 & ~3
            data[end : end + len(each.value)] = each.value
            offset = end - base
        ENTRY.pack_into(data, at, len(each.name), each.index, offset, each.inode, each.size, each.hash)
        at += ENTRY.size
        data[at : at + len(each.name)] = each.name
        at += len(each.name) + 3 & ~3


def references_of(inode: Inode) -> int:
    """How many entries name a file that is a value: its time of change, which is none, and its version."""
    return (inode.ctime // SECOND & 0xFFFFFFFF) << 32 | inode.version


def entry_hash(name: bytes, value: bytes) -> int:
    """The hash of an entry in a block."""
    hashed = 0
    for byte in name:
        hashed = (hashed << 5 & 0xFFFFFFFF) ^ hashed >> 27 ^ byte
    padded = value + bytes(-len(value) & 3)
    for (word,) in struct.iter_unpack("<I", padded):
        hashed = (hashed << 16 & 0xFFFFFFFF) ^ hashed >> 16 ^ word
    return hashed


def block_hash(attributes: list[Attribute]) -> int:
    """The hash of a block, by which equal ones are found; 0: it is not to be shared."""
    hashed = 0
    for each in attributes:
        if not each.hash:
            return 0
        hashed = (hashed << 16 & 0xFFFFFFFF) ^ hashed >> 16 ^ each.hash
    return hashed


def sort_key(each: Attribute) -> tuple[int, int, bytes]:
    """The order of entries in a block."""
    return each.index, len(each.name), each.name
