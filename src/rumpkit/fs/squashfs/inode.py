"""One inode: its fourteen types, read from the inode table.  Between the metadata and the vnodes."""

from typing import TYPE_CHECKING, Final, final

from ...kern.abi.fcntl import PATH_MAX, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG
from .format import (
    DEVICE,
    DIRECTORY,
    DIRECTORY_EXTENDED,
    EXTENDED,
    FILE,
    FILE_EXTENDED,
    HEAD,
    IPC,
    KINDS,
    LISTING_EXTRA,
    NONE,
    NUMBER,
    SYMLINK,
    corrupt,
)
from .metadata import Cursor

if TYPE_CHECKING:
    from .volume import Volume

MOST_SIZE: Final = 1 << 62


@final
class Inode:
    """What an inode says.  `after` is the place behind it, where a file's block lengths or a directory's index are."""

    def __init__(self, volume: "Volume", reference: int) -> None:
        """Read the inode of a reference: metadata block in the inode table and offset.  Raises EUCLEAN, EIO."""
        cursor = volume.inode_cursor(reference)
        kind, mode, uid, gid, mtime, number = HEAD.unpack(cursor.read(HEAD.size))
        self.reference: int = reference
        self.number: int = number
        where = self.where = f"inode {number}"
        extended = kind > EXTENDED
        basic = kind - EXTENDED if extended else kind
        if not 0 < basic < len(KINDS):
            raise corrupt(f"{where} at {reference:#x} is of type {kind}, which there is not")
        if not 0 < number <= volume.fields.inodes:
            raise corrupt(f"{where} at {reference:#x}: there are {volume.fields.inodes}")
        self.kind: int = KINDS[basic]
        self.mode: int = self.kind | mode & 0o7777
        self.uid: int = volume.owner(uid)
        self.gid: int = volume.owner(gid)
        self.mtime: int = mtime
        self.links: int = 1
        self.size: int = 0
        self.sparse: int = 0
        """Bytes of a file that are in holes, where it says so."""
        self.device: int = 0
        self.start: int = 0
        """A file's first data block; a directory's first metadata block, within the directory table."""
        self.offset: int = 0
        """In the fragment; in the metadata block."""
        self.fragment: int = NONE
        self.indexes: int = 0
        self.xattrs: int = NONE
        self.target: bytes = b""
        self._parse(cursor, extended)
        if not self.links:
            raise corrupt(f"{where} has no name")
        self.after: tuple[int, int] = (cursor.position, cursor.offset)

    def _parse(self, cursor: Cursor, extended: bool) -> None:
        if self.kind == S_IFDIR:
            self._parse_directory(cursor, extended)
        elif self.kind == S_IFREG:
            self._parse_file(cursor, extended)
        else:
            if self.kind == S_IFLNK:
                self.links, self.size = SYMLINK.unpack(cursor.read(SYMLINK.size))
                if not 0 < self.size < PATH_MAX:
                    raise corrupt(f"{self.where}: a symbolic link of {self.size} bytes")
                self.target = cursor.read(self.size)
                if b"\0" in self.target:
                    raise corrupt(f"{self.where}: a symbolic link with a NUL in its target")
            elif self.kind in (S_IFBLK, S_IFCHR):
                self.links, self.device = DEVICE.unpack(cursor.read(DEVICE.size))
            else:
                (self.links,) = IPC.unpack(cursor.read(IPC.size))
            if extended:
                (self.xattrs,) = NUMBER.unpack(cursor.read(NUMBER.size))

    def _parse_directory(self, cursor: Cursor, extended: bool) -> None:
        if extended:
            fields = DIRECTORY_EXTENDED.unpack(cursor.read(DIRECTORY_EXTENDED.size))
            self.links, self.size, self.start, _, self.indexes, self.offset, self.xattrs = fields
        else:
            fields = DIRECTORY.unpack(cursor.read(DIRECTORY.size))
            self.start, self.links, self.size, self.offset, _ = fields
        if self.size < LISTING_EXTRA:
            raise corrupt(f"{self.where}: a directory of {self.size} bytes")

    def _parse_file(self, cursor: Cursor, extended: bool) -> None:
        if extended:
            fields = FILE_EXTENDED.unpack(cursor.read(FILE_EXTENDED.size))
            self.start, self.size, self.sparse, self.links, self.fragment, self.offset, self.xattrs = fields
        else:
            self.start, self.fragment, self.offset, self.size = FILE.unpack(cursor.read(FILE.size))
        if self.size > MOST_SIZE:
            raise corrupt(f"{self.where}: a file of {self.size} bytes")
