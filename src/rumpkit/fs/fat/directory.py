"""Directories of a FAT volume as vnodes.  Between vfs and a directory's names (index.py)."""

from typing import TYPE_CHECKING, final

from ...kern.abi.errno import ENOENT, error
from ...kern.abi.fcntl import S_IFDIR, S_IFREG
from ...vfs.stat import Stat
from ...vfs.vnode import FIRST_COOKIE, Entry, Vnode
from . import record
from .chain import Chain
from .index import Index
from .layout import DIRECTORY, ENTRY_SIZE
from .longname import from_bytes
from .node import Node
from .record import Record
from .slots import Slots

if TYPE_CHECKING:
    from .mount import FatMount


@final
class DirectoryNode(Node):
    """A directory, whose names are read when they are first asked for."""

    def __init__(
        self, mount: "FatMount", number: int, directory: "DirectoryNode | None", slot: int, found: Record | None
    ) -> None:
        super().__init__(mount, number, directory, slot, found)
        geometry = mount.volume.geometry
        chain: Chain | None = None
        if found is not None:
            first = found.cluster if geometry.bits == 32 else found.cluster & 0xFFFF
            chain = Chain(mount.volume.table, first)
        elif geometry.bits == 32:
            chain = Chain(mount.volume.table, geometry.root_cluster)
        self.slots: Slots = Slots(mount.volume, chain)
        self.index: Index | None = None
        """Its names, while they are in memory."""
        self.links = 2

    # Names in memory -----------------------------------------------------------------------------------

    def names(self) -> Index:
        """The names, read if need be.  Raises EUCLEAN, EIO."""
        found = self.index
        if found is None:
            self.fat.make_room()
            self.slots.load()
            found = self.index = Index(self.slots)
            self.links = 2 + found.directories
            self.size = len(self.slots.data)
            self.fat.loaded[self] = None
        elif self.fat.crowded:
            self.fat.loaded[self] = self.fat.loaded.pop(self)
        return found

    def address(self, slot: int) -> int:
        """Where a slot is on the device."""
        return self.slots.address(slot * ENTRY_SIZE)

    # Attributes ----------------------------------------------------------------------------------------

    def stat(self) -> Stat:
        """The attributes: what the number of subdirectories makes of its links takes reading it."""
        if self.links:
            self.names()
        return super().stat()

    # Reading -------------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Vnode | None:
        """The file called `name`, in whatever case, or by its 8.3 name."""
        text = from_bytes(name)
        if not text:
            return None
        slot = self.names().find(text)
        return None if slot < 0 else self.fat.node(self, slot)

    def parent(self) -> Vnode:
        """The directory that it is in."""
        return self if self.directory is None else self.directory

    def name_of(self, child: Vnode) -> bytes:
        """The name of a directory in this one."""
        if isinstance(child, Node) and child.directory is self and child.links:
            self.names()
            return record.shown(self.slots.data, child.slot).encode("utf-8", "surrogatepass")
        raise error(ENOENT)

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        """Entries from `cookie` on, in the order of their slots."""
        end = self.names().end
        data = self.slots.data
        numbers = self.volume.numbers
        found: list[Entry] = []
        slot = max(cookie - FIRST_COOKIE, 0)
        while slot < end and len(found) < count:
            if record.is_file(data, slot):
                name = record.shown(data, slot).encode("utf-8", "surrogatepass")
                kind = S_IFDIR if data[slot * ENTRY_SIZE + 11] & DIRECTORY else S_IFREG
                found.append(Entry(name, numbers.at(self.address(slot)), kind, slot + 1 + FIRST_COOKIE))
            slot += 1
        return found

    def end_cookie(self) -> int:
        """Behind the names that are there now."""
        return self.names().end + FIRST_COOKIE
