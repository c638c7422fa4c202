"""What squashfs 4.0 looks like on disk: the superblock, inodes, directories, tables.  Between the bytes and what is made of them.

After the description of the format in squashfs-tools-ng (doc/format) and in Linux (Documentation/filesystems/squashfs).  Numbers are
little-endian.
"""

from struct import Struct
from typing import Final, final

from ...kern.abi.errno import EINVAL, EUCLEAN
from ...kern.abi.fcntl import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK

MAGIC: Final = 0x73717368
MAGIC_BYTES: Final = b"hsqs"
SUPERBLOCK: Final = Struct("<5I6H8Q")
"""magic, inodes, mtime, block size, fragments; compressor, block log, flags, ids, major, minor; root, bytes used, id table, xattr
table, inode table, directory table, fragment table, export table."""
METADATA: Final = 8192
"""Bytes of a metadata block, unpacked."""
PLAIN_METADATA: Final = 0x8000
"""In a metadata block's length: it is not compressed."""
PLAIN: Final = 1 << 24
"""In a data block's length: it is not compressed."""
NONE: Final = 0xFFFFFFFF
"""No fragment; no extended attributes."""
NO_TABLE: Final = 0xFFFFFFFFFFFFFFFF
LEAST_LOG: Final = 12
MOST_LOG: Final = 20

FLAGS: Final = (
    (0x01, "uncompressed inodes"),
    (0x02, "uncompressed data"),
    (0x08, "uncompressed fragments"),
    (0x10, "no fragments"),
    (0x20, "always fragments"),
    (0x40, "duplicates"),
    (0x80, "exportable"),
    (0x100, "uncompressed xattrs"),
    (0x200, "no xattrs"),
    (0x400, "compressor options"),
    (0x800, "uncompressed ids"),
)

# Inodes --------------------------------------------------------------------------------------------------

HEAD: Final = Struct("<4H2I")
"""type, permissions, uid index, gid index, mtime, inode number."""
DIRECTORY: Final = Struct("<2I2HI")
"""block, links, size, offset, parent's number."""
DIRECTORY_EXTENDED: Final = Struct("<4I2HI")
"""links, size, block, parent's number, index entries, offset, xattrs."""
FILE: Final = Struct("<4I")
"""first block, fragment, offset in it, size."""
FILE_EXTENDED: Final = Struct("<3Q4I")
"""first block, size, sparse bytes, links, fragment, offset in it, xattrs."""
SYMLINK: Final = Struct("<2I")
"""links, size."""
DEVICE: Final = Struct("<2I")
"""links, device."""
IPC: Final = Struct("<I")
"""links."""
NUMBER: Final = Struct("<I")
POSITION: Final = Struct("<Q")

KINDS: Final = (0, S_IFDIR, S_IFREG, S_IFLNK, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK)
"""S_IFMT bits by inode type; from 8 on they come again, extended."""
EXTENDED: Final = 7
"""An extended type is its basic one and this."""

# Directories ---------------------------------------------------------------------------------------------

INDEX: Final = Struct("<3I")
"""position in the listing, metadata block, length of the name less 1."""
RUN: Final = Struct("<3I")
"""entries less 1, inodes' metadata block, inode number."""
ENTRY: Final = Struct("<HhHH")
"""offset in the metadata block, inode number less the run's, type, length of the name less 1."""
MOST_ENTRIES: Final = 256
"""Of a run."""
LISTING_EXTRA: Final = 3
"""A directory's size is that of its listing and this, for "." and ".."."""

# Tables --------------------------------------------------------------------------------------------------

ID: Final = NUMBER
FRAGMENT: Final = Struct("<Q2I")
"""position, length, unused."""
EXPORT: Final = POSITION
XATTR_TABLE: Final = Struct("<Q2I")
"""where keys and values are, lists, unused."""
XATTR_LIST: Final = Struct("<Q2I")
"""first key, keys, bytes."""
XATTR_KEY: Final = Struct("<2H")
"""prefix, length of the name."""
PREFIXES: Final = (b"user.", b"trusted.", b"security.")
ELSEWHERE: Final = 0x100
"""In a key's prefix: its value is a reference."""


def corrupt(text: str) -> OSError:
    """An error to raise for what can't be in a sound image (EUCLEAN), with what and where."""
    return OSError(EUCLEAN, f"squashfs: {text}")


@final
class Superblock:
    """The first 96 bytes, checked.  Raises EINVAL for what is no squashfs 4.0, EUCLEAN where its numbers make none on a device of
    `device_size` bytes."""

    def __init__(self, data: bytes, device_size: int) -> None:
        if len(data) < SUPERBLOCK.size or not data.startswith(MAGIC_BYTES):
            raise OSError(EINVAL, "there is no squashfs")
        (
            _,
            self.inodes,
            self.mtime,
            self.block_size,
            self.fragments,
            self.compressor,
            self.block_log,
            self.flags,
            self.ids,
            major,
            minor,
            self.root,
            self.bytes_used,
            self.id_table,
            self.xattr_table,
            self.inode_table,
            self.directory_table,
            self.fragment_table,
            self.export_table,
        ) = SUPERBLOCK.unpack_from(data)
        if (major, minor) != (4, 0):
            raise OSError(EINVAL, f"squashfs {major}.{minor} is not supported, only 4.0")
        if not LEAST_LOG <= self.block_log <= MOST_LOG or self.block_size != 1 << self.block_log:
            raise corrupt(f"blocks of {self.block_size} bytes (logarithm {self.block_log})")
        if not SUPERBLOCK.size <= self.bytes_used <= device_size:
            raise corrupt(f"it has {self.bytes_used} bytes, and the device {device_size}")
        if not SUPERBLOCK.size <= self.inode_table < self.directory_table <= self.bytes_used:
            raise corrupt(f"inode table at {self.inode_table}, directory table at {self.directory_table}")
        self._check_table("fragment", self.fragment_table, self.fragments, FRAGMENT.size)
        self._check_table("export", self.export_table, self.inodes, EXPORT.size)
        self._check_table("id", self.id_table, self.ids, ID.size)
        if not self.inodes or not self.ids or self.id_table == NO_TABLE:
            raise corrupt(f"{self.inodes} inodes, {self.ids} owners")
        if self.xattr_table != NO_TABLE and self.xattr_table + XATTR_TABLE.size > self.bytes_used:
            raise corrupt(f"the table of extended attributes is at {self.xattr_table}")

    def _check_table(self, name: str, start: int, count: int, size: int) -> None:
        """Raise EUCLEAN unless the list of a table's blocks is within the image."""
        if start == NO_TABLE or not count:
            return
        blocks = (count * size + METADATA - 1) // METADATA
        if start + blocks * POSITION.size > self.bytes_used:
            raise corrupt(f"the {name} table of {count} entries at {start} ends behind the image")

    def features(self) -> tuple[str, ...]:
        """What its flags say."""
        return tuple(text for bit, text in FLAGS if self.flags & bit)
