"""Vnodes of archives: files whose data is read where it is in the archive."""

from typing import TYPE_CHECKING, final

from ...kern.abi.errno import EIO, ENODATA, error
from ...vfs.acl import UNREAD
from ...vfs.vnode import FIRST_COOKIE, Entry, Vnode
from ..readonly import ReadOnlyNode
from .tree import Item

if TYPE_CHECKING:
    from .mount import TarMount


@final
class TarNode(ReadOnlyNode):
    """One file."""

    def __init__(self, mount: "TarMount", item: Item) -> None:
        super().__init__(mount, item.number, item.kind | item.mode, item.uid, item.gid, item.mtime)
        self.tar: TarMount = mount
        self.item: Item = item
        self.links = item.links
        self.size = item.size
        self.device = item.device
        if item.xattrs:
            self.acl = self.default_acl = UNREAD

    # Files -----------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file; holes are zeros."""
        item = self.item
        if item.names is not None:
            return super().read(offset, size)
        end = min(offset + size, item.size)
        if offset >= end:
            return b""
        if item.pieces is None:
            return self._bytes(item.position + offset, end - offset)
        parts: list[bytes] = []
        for start, length, position in item.pieces[self._piece(offset) :]:
            if start >= end:
                break
            if start > offset:
                parts.append(bytes(start - offset))
                offset = start
            stop = min(start + length, end)
            parts.append(self._bytes(position + offset - start, stop - offset))
            offset = stop
        parts.append(bytes(end - offset))
        return b"".join(parts)

    def _bytes(self, position: int, size: int) -> bytes:
        data = self.tar.archives[self.item.archive].read(position, size)
        if not isinstance(data, bytes) or len(data) != size:
            raise error(EIO)
        return data

    def _piece(self, offset: int) -> int:
        """The first piece of a sparse file that ends behind `offset`."""
        pieces = self.item.pieces or []
        low, high = 0, len(pieces)
        while low < high:
            middle = (low + high) // 2
            if pieces[middle][0] + pieces[middle][1] <= offset:
                low = middle + 1
            else:
                high = middle
        return low

    def blocks(self) -> int:
        """Storage that it takes in the archive."""
        pieces = self.item.pieces
        stored = self.size if pieces is None else sum([length for _, length, _ in pieces])
        return (stored + 511) >> 9

    def next_data(self, offset: int) -> int:
        """The first byte that is in no hole."""
        pieces = self.item.pieces
        if pieces is None:
            return offset
        index = self._piece(offset)
        return max(offset, pieces[index][0]) if index < len(pieces) else -1

    def next_hole(self, offset: int) -> int:
        """The first byte that is in a hole."""
        pieces = self.item.pieces
        if pieces is None:
            return self.size
        index = self._piece(offset)
        while index < len(pieces) and pieces[index][0] <= offset:
            offset = pieces[index][0] + pieces[index][1]
            index += 1
        return min(offset, self.size)

    def readlink(self) -> bytes:
        """The target of a symbolic link."""
        return self.item.target or super().readlink()

    def getxattr(self, name: bytes) -> bytes:
        """The value of an attribute."""
        value = (self.item.xattrs or {}).get(name)
        if value is None:
            raise error(ENODATA)
        return value

    def listxattr(self) -> list[bytes]:
        """The names of the attributes."""
        return list(self.item.xattrs or ())

    # Directories -----------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Vnode | None:
        """The file called `name`."""
        found = self.item.names.get(name) if self.item.names is not None else None
        return None if found is None else self.tar.get(found)

    def parent(self) -> Vnode:
        """The directory that it is in."""
        return self.tar.get(self.item.above or self.item)

    def name_of(self, child: Vnode) -> bytes:
        """The name of a directory in this one."""
        for name, item in (self.item.names or {}).items():
            if item.number == child.number:
                return name
        return super().name_of(child)

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        """Entries from `cookie` on: their places, as nothing changes."""
        names = self.item.names or {}
        order = self.item.order
        if order is None:
            order = self.item.order = list(names)
        at = cookie - FIRST_COOKIE
        return [
            Entry(name, names[name].number, names[name].kind, FIRST_COOKIE + at + index + 1)
            for index, name in enumerate(order[at : at + count])
        ]
