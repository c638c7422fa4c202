"""Directories of a union: the names below, less those that have gone, and those that came.

A name that came is in a table of its own, whether its file is new or was moved here from elsewhere below; a directory that was moved keeps
what it has below, as it is the same vnode.  A name in the table is never one that shows from below, too; where it was one, who reads the
directory finds it in the place that it has below, so that nobody misses a name whose file is replaced.
"""

from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EMLINK, ENOENT, ENOSPC, ENOTEMPTY, error
from ...kern.abi.fcntl import S_IFDIR, S_IFMT, S_IFREG
from ...vfs.vnode import FIRST_COOKIE, Entry, Vnode
from ..tmpfs.names import NameTable
from ..tmpfs.node import FileNode, Node, SpecialNode, SymlinkNode
from .node import UnionNode

if TYPE_CHECKING:
    from .mount import UnionMount

_MANY: Final = 256


@final
class UnionDirectory(UnionNode):
    """A directory."""

    def __init__(self, over: "UnionMount", mode: int, uid: int, gid: int, now: int, lower: Vnode | None) -> None:
        number = -1 if lower is None else over.number_of(lower.number)
        super().__init__(over, S_IFDIR | mode, uid, gid, now, number, lower)
        self.names: NameTable = NameTable()
        self.gone: set[bytes] = set()
        """Names below that don't show.  Each counts as a file."""
        self.directory: UnionDirectory | None = None
        """The directory that it is in, unless it is where it is below."""
        self.name: bytes = b""
        """What it is called there."""
        self.links = 2 if lower is None else max(lower.links, 1)
        """1 where what is below doesn't count subdirectories."""
        self._counts: bool = True
        """It may count in the pool."""

    def blocks(self) -> int:
        """Names are not counted as storage."""
        return 0

    def discard(self) -> None:
        """Nobody has it any more; but somebody may come back to it, from a removed directory that was in it."""
        if self._counts:
            self._counts = False
            self.pool.files -= len(self.gone)
            super().discard()
            self.lower = None

    # Reading -------------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Vnode | None:
        """The file called `name`."""
        found = self.names.get(name)
        if found is not None:
            return found
        lower = self.lower
        if lower is None or name in self.gone:
            return None
        below = lower.lookup(name)
        return None if below is None else self.over.upper(below)

    def parent(self) -> Vnode:
        """The directory that it is in."""
        if self.directory is not None:
            return self.directory
        lower = self.lower
        if lower is None or self is self.over.root:
            return self
        return self.over.upper(lower.parent())

    def name_of(self, child: Vnode) -> bytes:
        """The name of a directory in this one."""
        if isinstance(child, UnionDirectory) and child.links:
            if child.directory is self:
                return child.name
            if child.directory is None and child.lower is not None and self.lower is not None:
                return self.lower.name_of(child.lower)
        raise error(ENOENT)

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        """Entries from `cookie` on: those below before those in the table."""
        found: list[Entry] = []
        lower = self.lower
        own = self.over.cookies
        if lower is not None and cookie < own:
            gone, number_of = self.gone, self.over.number_of
            while len(found) < count:
                entries = lower.readdir(cookie, count - len(found))
                if not entries:
                    break
                cookie = entries[-1].cookie
                for name, number, kind, behind in entries:
                    if name not in gone:
                        found.append(Entry(name, number_of(number), kind, behind))
                    elif (instead := self.names.get(name)) is not None:
                        found.append(Entry(name, instead.number, instead.kind, behind))
        cookie = max(cookie - own, FIRST_COOKIE)
        while len(found) < count:
            entries = self.names.read(cookie, count - len(found))
            if not entries:
                break
            cookie = entries[-1].cookie
            for name, number, kind, behind in entries:
                if name not in self.gone:
                    found.append(Entry(name, number, kind, behind + own))
        return found

    def end_cookie(self) -> int:
        """Behind the names that are there now."""
        return self.over.cookies + self.names.end()

    def check_empty(self) -> None:
        """Raise ENOTEMPTY where there are names."""
        if len(self.names):
            raise error(ENOTEMPTY)
        lower = self.lower
        cookie = FIRST_COOKIE
        while lower is not None:
            entries = lower.readdir(cookie, _MANY)
            if not entries:
                return
            cookie = entries[-1].cookie
            for entry in entries:
                if entry.name not in self.gone:
                    raise error(ENOTEMPTY)

    # Names come ----------------------------------------------------------------------------------------

    def create(self, name: bytes, mode: int, uid: int, gid: int, device: int) -> Vnode:
        """Make a regular or special file."""
        now = self._begin()
        node: Node
        if mode & S_IFMT == S_IFREG:
            node = FileNode(self.over, self.pool, mode, uid, gid, now)
        else:
            node = SpecialNode(self.over, self.pool, mode, uid, gid, device, now)
        self._add(name, node, now)
        return node

    def nameless(self, mode: int, uid: int, gid: int) -> Vnode:
        """Make a regular file without a name."""
        node = FileNode(self.over, self.pool, S_IFREG | mode, uid, gid, self._begin())
        node.links = 0
        return node

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Vnode:
        """Make a directory."""
        now = self._begin()
        if self.links >= self.pool.links:
            raise error(EMLINK)
        node = UnionDirectory(self.over, mode, uid, gid, now, None)
        node.directory = self
        node.name = name
        self._gain_directory()
        self._add(name, node, now)
        return node

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Vnode:
        """Make a symbolic link."""
        now = self._begin()
        node = SymlinkNode(self.over, self.pool, target, uid, gid, now)
        self._add(name, node, now)
        return node

    def link(self, name: bytes, vnode: Vnode) -> None:
        """Give a file a further name."""
        assert isinstance(vnode, Node)
        now = self._begin(vnode)
        vnode.add_link(now)
        self._add(name, vnode, now)

    # Names go ------------------------------------------------------------------------------------------

    def unlink(self, name: bytes, vnode: Vnode) -> None:
        """Take a name away."""
        assert isinstance(vnode, Node)
        now = self._begin(vnode, name)
        self._remove(name, now)
        vnode.drop_link(now)

    def rmdir(self, name: bytes, vnode: Vnode) -> None:
        """Remove an empty directory."""
        assert isinstance(vnode, UnionDirectory)
        vnode.check_empty()
        now = self._begin(vnode, name)
        self._remove(name, now)
        self._bury(vnode, now)

    # Names move ----------------------------------------------------------------------------------------

    def rename(self, name: bytes, vnode: Vnode, directory: Vnode, new_name: bytes, replaced: Vnode | None) -> None:
        """Move a name, over another one where there is one."""
        assert isinstance(directory, UnionDirectory)
        if isinstance(replaced, UnionDirectory):
            replaced.check_empty()
        elif vnode.kind == S_IFDIR and directory is not self and directory.links >= self.pool.links:
            raise error(EMLINK)
        directory._begin(replaced, b"" if replaced is None else new_name)
        now = self._begin(vnode, name)
        self._remove(name, now)
        if replaced is None:
            directory._add(new_name, vnode, now)
        else:
            directory._replace(new_name, vnode, now)
        vnode.ctime = now
        if isinstance(vnode, UnionDirectory):
            self._lose_directory()
            directory._gain_directory()
            vnode.directory = directory
            vnode.name = new_name
        if isinstance(replaced, UnionDirectory):
            directory._bury(replaced, now)
        elif isinstance(replaced, Node):
            replaced.drop_link(now)

    def exchange(self, name: bytes, vnode: Vnode, directory: Vnode, other_name: bytes, other: Vnode) -> None:
        """Swap two names' files."""
        assert isinstance(directory, UnionDirectory)
        directory._begin(other, other_name)
        now = self._begin(vnode, name)
        self._replace(name, other, now)
        directory._replace(other_name, vnode, now)
        for node, source, target, called in ((vnode, self, directory, other_name), (other, directory, self, name)):
            node.ctime = now
            if isinstance(node, UnionDirectory):
                source._lose_directory()
                target._gain_directory()
                node.directory = target
                node.name = called

    # Helpers -------------------------------------------------------------------------------------------

    def _begin(self, vnode: Vnode | None = None, name: bytes = b"") -> int:
        """This directory changes, and `vnode`, which is in it or comes into it, and `name` goes or means another file; returns the time.
        Raises ENOENT in a removed directory, ENOSPC; nothing behind this fails."""
        if self.links == 0:
            raise error(ENOENT)
        self.change()
        if isinstance(vnode, UnionNode):
            vnode.change()
        if name and self.names.get(name) is None and self.pool.files >= self.pool.inodes:
            raise error(ENOSPC)  # the name is below
        return self.over.hyper.wall()

    def _add(self, name: bytes, vnode: Vnode, now: int) -> None:
        """Add a name, which is free."""
        self.names.add(name, vnode)
        self._touch(now)

    def _remove(self, name: bytes, now: int) -> None:
        """Take away a name, which is there."""
        if self.names.get(name) is not None:
            self.names.remove(name)
        else:
            self._hide(name)
        self._touch(now)

    def _replace(self, name: bytes, vnode: Vnode, now: int) -> None:
        """Let a name, which is there, mean `vnode`."""
        if self.names.get(name) is not None:
            self.names.replace(name, vnode)
        else:
            self._hide(name)
            self.names.add(name, vnode)
        self._touch(now)

    def _hide(self, name: bytes) -> None:
        self.gone.add(name)
        self.pool.files += 1

    def _bury(self, child: "UnionDirectory", now: int) -> None:
        """`child`, an empty directory in here, has lost its name; with that its "." and its ".." go, too."""
        self._lose_directory()
        child.directory = self
        child.links = 1
        child.drop_link(now)

    def _gain_directory(self) -> None:
        if self.links > 1:
            self.links += 1

    def _lose_directory(self) -> None:
        """A directory isn't in here any more.  What is below may have counted them otherwise, or not at all."""
        if self.links > 2:
            self.links -= 1

    def _touch(self, now: int) -> None:
        if self.lower is None:
            self.size = len(self.names)
        self.mtime = self.ctime = now
