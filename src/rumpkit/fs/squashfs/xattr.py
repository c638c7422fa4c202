"""Extended attributes: lists of keys and values in metadata blocks of their own; equal values are stored once."""

from typing import Final, final

from ...kern.abi.errno import ENODATA, error
from ...kern.abi.fcntl import XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX
from .format import ELSEWHERE, NO_TABLE, NONE, NUMBER, POSITION, PREFIXES, XATTR_KEY, XATTR_LIST, XATTR_TABLE, corrupt
from .inode import Inode
from .metadata import Cursor, Metadata, Table

UNKNOWN: Final = b""
"""For a prefix that there is not: such attributes are passed over."""


@final
class Attributes:
    """All extended attributes of an image."""

    def __init__(self, metadata: Metadata, start: int) -> None:
        """`start` is where their table is, or NO_TABLE.  Raises EUCLEAN, EIO."""
        self._metadata: Metadata = metadata
        self._start: int = 0
        count = 0
        if start != NO_TABLE:
            self._start, count, _ = XATTR_TABLE.unpack(metadata.raw(start, XATTR_TABLE.size))
            blocks = count * XATTR_LIST.size // 8192
            if start + XATTR_TABLE.size + blocks * POSITION.size > metadata.end:
                raise corrupt(f"{count} lists of extended attributes end behind the image")
        self._lists: Table = Table(metadata, "list of extended attributes", start + XATTR_TABLE.size, count, XATTR_LIST)

    def names(self, inode: Inode) -> list[bytes]:
        """The names of an inode's attributes, with their prefixes.  Raises EUCLEAN, EIO."""
        return [name for name, _ in self._all(inode, None) if name != UNKNOWN]

    def get(self, inode: Inode, name: bytes) -> bytes:
        """The value of one of them.  Raises ENODATA, EUCLEAN, EIO."""
        for found, value in self._all(inode, name):
            if found == name:
                return value
        raise error(ENODATA)

    def _all(self, inode: Inode, wanted: bytes | None) -> list[tuple[bytes, bytes]]:
        """Names, and the value of the one that is wanted."""
        if inode.xattrs == NONE:
            return []
        reference, count, _ = self._lists.get(inode.xattrs)
        cursor = self._cursor(reference)
        found: list[tuple[bytes, bytes]] = []
        room = XATTR_LIST_MAX
        for _ in range(count):
            prefix, length = XATTR_KEY.unpack(cursor.read(XATTR_KEY.size))
            room -= length + 1
            if length > XATTR_NAME_MAX or room < 0:
                raise corrupt(f"{inode.where}: the names of its extended attributes are too long")
            kind = prefix & ~ELSEWHERE
            name = cursor.read(length)
            name = PREFIXES[kind] + name if kind < len(PREFIXES) else UNKNOWN
            value = self._value(cursor, inode, prefix & ELSEWHERE != 0, name == wanted)
            found.append((name, value))
            if name == wanted:
                break
        return found

    def _value(self, cursor: Cursor, inode: Inode, elsewhere: bool, wanted: bool) -> bytes:
        """The value that comes next; b"" in its place where it isn't wanted."""
        (size,) = NUMBER.unpack(cursor.read(NUMBER.size))
        if elsewhere and size == POSITION.size:
            (reference,) = POSITION.unpack(cursor.read(POSITION.size))
            if not wanted:
                return b""
            cursor = self._cursor(reference)
            (size,) = NUMBER.unpack(cursor.read(NUMBER.size))
        if size > XATTR_SIZE_MAX:
            raise corrupt(f"{inode.where}: the value of an extended attribute has {size} bytes")
        if wanted:
            return cursor.read(size)
        cursor.skip(size)
        return b""

    def _cursor(self, reference: int) -> Cursor:
        return Cursor(self._metadata, self._start + (reference >> 16), reference & 0xFFFF)
