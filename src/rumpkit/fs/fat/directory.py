"""Directories of a FAT volume as vnodes.  Between vfs and a directory's names (index.py)."""

from typing import TYPE_CHECKING, final

from ...kern.abi.errno import ENOENT, ENOSPC, ENOTEMPTY, EPERM, EUCLEAN, error
from ...kern.abi.fcntl import S_IFDIR, S_IFMT, S_IFREG
from ...vfs.stat import Stat
from ...vfs.vnode import FIRST_COOKIE, Entry, Vnode
from . import record, times
from .chain import Chain
from .index import Index
from .layout import ARCHIVE, DIRECTORY, DOT_DOT_NAME, DOT_NAME, ENTRY_SIZE
from .longname import check, from_bytes
from .node import FileNode, Node
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
        else:
            self.fat.loaded[self] = self.fat.loaded.pop(self)
        return found

    def forget_names(self) -> None:
        """Take the names out of memory; nothing of them waits to be written."""
        self.index = None
        self.slots.data = bytearray()
        self.slots.later.clear()

    def first_cluster(self) -> int:
        """Where its chain begins; 0 for the root, as entries that mean it have it."""
        chain = self.slots.chain
        return 0 if chain is None or self.directory is None else chain.first

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

    # Names come ----------------------------------------------------------------------------------------

    def create(self, name: bytes, mode: int, uid: int, gid: int, device: int) -> Vnode:
        """Make a regular file; others are EPERM, as there are none on FAT.  Raises EINVAL, ENAMETOOLONG, ENOSPC."""
        if mode & S_IFMT != S_IFREG:
            raise error(EPERM)
        text, now = self._begin(name)
        found = self._new_record(now, ARCHIVE, 0)
        slot = self.names().add(text, found)
        node = FileNode(self.fat, self.volume.numbers.made(self.address(slot)), self, slot, found)
        self.fat.keep(node)
        self.touch(now)
        return node

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Vnode:
        """Make a directory.  Raises EINVAL, ENAMETOOLONG, ENOSPC."""
        text, now = self._begin(name)
        volume = self.volume
        chain = Chain(volume.table, 0)
        if not volume.extend(chain, 1):
            raise error(ENOSPC)
        found = self._new_record(now, DIRECTORY, chain.first)
        try:
            slot = self.names().add(text, found)
        except OSError:
            volume.cut(chain, 0)
            raise
        node = DirectoryNode(self.fat, volume.numbers.made(self.address(slot)), self, slot, found)
        node.slots.chain = chain
        node.start(found)
        self.fat.directories[chain.first] = node
        self.fat.keep(node)
        self.links += 1
        self.touch(now)
        return node

    def start(self, found: Record) -> None:
        """Fill a new directory, which has a cluster."""
        above = self.directory
        assert above is not None
        slots = self.slots
        size = self.volume.geometry.cluster_size
        self.fat.make_room()
        slots.data = bytearray(size)
        slots.fresh = True
        slots.put(0, record.pack(found._replace(name=DOT_NAME)))
        slots.put(1, record.pack(found._replace(name=DOT_DOT_NAME, cluster=above.first_cluster())))
        slots.mark(0, size // ENTRY_SIZE)
        self.index = Index(slots)
        self.size = size
        self.fat.loaded[self] = None

    # Names go ------------------------------------------------------------------------------------------

    def unlink(self, name: bytes, vnode: Vnode) -> None:
        """Take a file's name away."""
        assert isinstance(vnode, Node)
        self.fat.balance()
        self.volume.begin()
        self._take_away(vnode, self.fat.hyper.wall())

    def rmdir(self, name: bytes, vnode: Vnode) -> None:
        """Remove an empty directory."""
        assert isinstance(vnode, DirectoryNode)
        vnode.check_empty()
        self.fat.balance()
        self.volume.begin()
        self._take_away(vnode, self.fat.hyper.wall())

    def discard(self) -> None:
        """It has no name and no user: give its storage up."""
        self.volume.writer.forget(self.slots)
        self.fat.loaded.pop(self, None)
        self.forget_names()
        if self.slots.chain is not None:
            try:
                self.volume.cut(self.slots.chain, 0)
            except OSError as problem:
                if problem.errno != EUCLEAN:
                    raise

    def inactive(self) -> None:
        """Nobody holds it: without a name it goes."""
        if self.links == 0:
            self.fat.bury(self)

    def check_empty(self) -> None:
        """Raise ENOTEMPTY where there are names."""
        if self.names().files:
            raise error(ENOTEMPTY)

    # Names move ----------------------------------------------------------------------------------------

    def rename(self, name: bytes, vnode: Vnode, directory: Vnode, new_name: bytes, replaced: Vnode | None) -> None:
        """Move a name.  Over another one, that one's entry becomes this file's, and keeps its spelling."""
        assert isinstance(vnode, Node) and isinstance(directory, DirectoryNode)
        text, now = directory._begin(new_name)
        if isinstance(replaced, DirectoryNode):
            replaced.check_empty()
        self.names()
        directory.names()
        if isinstance(vnode, DirectoryNode):
            vnode.names()
        if isinstance(replaced, Node):
            directory._take_over(vnode, replaced)
        else:
            directory._move_in(vnode, text)
        self.touch(now)
        directory.touch(now)

    def _take_over(self, vnode: Node, replaced: Node) -> None:
        """Give the entry of `replaced` to `vnode`, whose own goes once that is durable."""
        source = vnode.directory
        assert source is not None
        slot = replaced.slot
        at = slot * ENTRY_SIZE
        old = self.address(vnode.slot) if source is self else source.address(vnode.slot)
        here = self.address(slot)
        keep = self.slots.data[at : at + 13]
        entry = record.pack(vnode.record())
        ghosts = source is not self or not self.slots.in_one_sector(vnode.slot, slot)
        source._drop_entry(vnode.slot, ghosts)
        self.slots.put(slot, bytes(keep[:11]) + entry[11:12] + bytes(keep[12:13]) + entry[13:])
        replaced.links = 0
        self.volume.numbers.removed(here, replaced.references > 0)
        if isinstance(replaced, DirectoryNode):
            self.links -= 1
        if not replaced.references:
            self.fat.bury(replaced)
        self._adopt(vnode, slot, old)

    def _move_in(self, vnode: Node, text: str) -> None:
        """Give `vnode` a new entry in here, and take its old one away once that is durable."""
        source = vnode.directory
        assert source is not None
        old = source.address(vnode.slot)
        source_index, index = source.names(), self.names()
        source_index.hide(vnode.slot)
        try:
            slot = index.add(text, vnode.record())
        except OSError:
            source_index.show(vnode.slot)
            raise
        first = record.first_slot(source.slots.data, vnode.slot)
        low = min(first, record.first_slot(self.slots.data, slot))
        ghosts = source is not self or not self.slots.in_one_sector(low, max(slot, vnode.slot))
        source_index.remove(vnode.slot, ghosts)
        self._adopt(vnode, slot, old)

    def _drop_entry(self, slot: int, ghosts: bool) -> None:
        index = self.names()
        index.hide(slot)
        index.remove(slot, ghosts)

    def _adopt(self, vnode: Node, slot: int, old: int) -> None:
        """`vnode`, whose entry was at byte `old` of the device, is in here now."""
        source = vnode.directory
        assert source is not None
        self.volume.numbers.moved(old, self.address(slot))
        vnode.slot = slot
        if source is not self:
            vnode.directory = self
            source.children -= 1
            self.children += 1
            if isinstance(vnode, DirectoryNode):
                source.links -= 1
                self.links += 1
                vnode.point_up()
        vnode.changed()

    def point_up(self) -> None:
        """Correct ".." after a move."""
        above = self.directory
        assert above is not None
        self.names()
        data = self.slots.data
        if bytes(data[ENTRY_SIZE : ENTRY_SIZE + 11]) == DOT_DOT_NAME:
            up = record.unpack(data, 1)._replace(cluster=above.first_cluster())
            self.slots.put(1, record.pack(up))

    # Helpers -------------------------------------------------------------------------------------------

    def _begin(self, name: bytes) -> tuple[str, int]:
        """Get ready for a new name; returns it as text, and the time."""
        if self.links == 0:
            raise error(ENOENT)
        text = check(name)
        self.fat.balance()
        self.volume.begin()
        return text, self.fat.hyper.wall()

    def _new_record(self, now: int, attributes: int, cluster: int) -> Record:
        date, time, hundredths = times.encode(now, self.volume.time_offset)
        return Record(b"", attributes, 0, (date, time, hundredths), date, (date, time), cluster, 0)

    def _take_away(self, vnode: Node, now: int) -> None:
        address = self.address(vnode.slot)
        self._drop_entry(vnode.slot, False)
        vnode.links = 0
        if isinstance(vnode, DirectoryNode):
            self.links -= 1
        self.volume.numbers.removed(address, vnode.references > 0)
        if not vnode.references:
            self.fat.bury(vnode)
        self.touch(now)
