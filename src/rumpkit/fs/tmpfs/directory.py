"""Directories of a tmpfs."""

from typing import final

from ...kern.abi.errno import EMLINK, ENOENT, ENOTEMPTY, error
from ...kern.abi.fcntl import S_IFDIR, S_IFREG
from ...vfs.vnode import Entry, Mount, Vnode
from .names import NameTable
from .node import FileNode, Node, SpecialNode, SymlinkNode
from .pool import Pool


@final
class DirectoryNode(Node):
    """A directory: names, and where it lies itself."""

    def __init__(self, mount: Mount, pool: Pool, mode: int, uid: int, gid: int, now: int) -> None:
        super().__init__(mount, pool, S_IFDIR | mode, uid, gid, now)
        self.names: NameTable = NameTable()
        self.directory: DirectoryNode = self
        """The directory that it is in; a root is in itself."""
        self.name: bytes = b""
        """What it is called there."""
        self.links = 2
        self._counts: bool = True
        """In the pool."""

    def discard(self) -> None:
        """Nobody has it any more; but somebody may come back to it, from a removed directory that was in it."""
        if self._counts:
            self._counts = False
            super().discard()

    def blocks(self) -> int:
        """Names are not counted as storage."""
        return 0

    # Reading -------------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Vnode | None:
        """The file called `name`."""
        return self.names.get(name)

    def parent(self) -> Vnode:
        """The directory that it is in."""
        return self.directory

    def name_of(self, child: Vnode) -> bytes:
        """The name of a directory in this one."""
        if isinstance(child, DirectoryNode) and child.directory is self and child.links:
            return child.name
        raise error(ENOENT)

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        """Entries from `cookie` on."""
        return self.names.read(cookie, count)

    def end_cookie(self) -> int:
        """Behind the names that are there now."""
        return self.names.end()

    # Names come ----------------------------------------------------------------------------------------

    def create(self, name: bytes, mode: int, uid: int, gid: int, device: int) -> Vnode:
        """Make a regular or special file."""
        now = self._check_alive()
        node: Node
        if mode & 0o170000 == S_IFREG:
            node = FileNode(self.mount, self.pool, mode, uid, gid, now)
        else:
            node = SpecialNode(self.mount, self.pool, mode, uid, gid, device, now)
        self._add(name, node, now)
        return node

    def nameless(self, mode: int, uid: int, gid: int) -> Vnode:
        """Make a regular file without a name."""
        node = FileNode(self.mount, self.pool, S_IFREG | mode, uid, gid, self._check_alive())
        node.links = 0
        return node

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Vnode:
        """Make a directory."""
        now = self._check_alive()
        if self.links >= self.pool.links:
            raise error(EMLINK)
        node = DirectoryNode(self.mount, self.pool, mode, uid, gid, now)
        node.directory = self
        node.name = name
        self.links += 1
        self._add(name, node, now)
        return node

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Vnode:
        """Make a symbolic link."""
        now = self._check_alive()
        node = SymlinkNode(self.mount, self.pool, target, uid, gid, now)
        self._add(name, node, now)
        return node

    def link(self, name: bytes, vnode: Vnode) -> None:
        """Give a file a further name."""
        assert isinstance(vnode, Node)
        now = self._check_alive()
        vnode.add_link(now)
        self._add(name, vnode, now)

    # Names go ------------------------------------------------------------------------------------------

    def unlink(self, name: bytes, vnode: Vnode) -> None:
        """Take a name away."""
        assert isinstance(vnode, Node)
        now = self.mount.hyper.wall()
        self._remove(name, now)
        vnode.drop_link(now)

    def rmdir(self, name: bytes, vnode: Vnode) -> None:
        """Remove an empty directory."""
        assert isinstance(vnode, DirectoryNode)
        vnode.check_empty()
        now = self.mount.hyper.wall()
        self._remove(name, now)
        self._bury(vnode, now)

    # Names move ----------------------------------------------------------------------------------------

    def rename(self, name: bytes, vnode: Vnode, directory: Vnode, new_name: bytes, replaced: Vnode | None) -> None:
        """Move a name, over another one where there is one."""
        assert isinstance(directory, DirectoryNode)
        now = directory._check_alive()
        if isinstance(replaced, DirectoryNode):
            replaced.check_empty()
        elif vnode.kind == S_IFDIR and directory is not self and directory.links >= self.pool.links:
            raise error(EMLINK)
        self._remove(name, now)
        if replaced is None:
            directory._add(new_name, vnode, now)
        else:
            directory.names.replace(new_name, vnode)
            directory._touch(now)
        vnode.ctime = now
        if isinstance(vnode, DirectoryNode):
            self.links -= 1
            directory.links += 1
            vnode.directory = directory
            vnode.name = new_name
        if isinstance(replaced, DirectoryNode):
            directory._bury(replaced, now)
        elif isinstance(replaced, Node):
            replaced.drop_link(now)

    def exchange(self, name: bytes, vnode: Vnode, directory: Vnode, other_name: bytes, other: Vnode) -> None:
        """Swap two names' files."""
        assert isinstance(directory, DirectoryNode)
        now = self.mount.hyper.wall()
        self.names.replace(name, other)
        directory.names.replace(other_name, vnode)
        for node, target, called in ((vnode, directory, other_name), (other, self, name)):
            node.ctime = now
            if isinstance(node, DirectoryNode):
                node.directory.links -= 1
                node.directory = target
                node.name = called
                target.links += 1
        self._touch(now)
        directory._touch(now)

    # Helpers -------------------------------------------------------------------------------------------

    def check_empty(self) -> None:
        """Raise ENOTEMPTY where there are names."""
        if len(self.names):
            raise error(ENOTEMPTY)

    def _check_alive(self) -> int:
        """Raise ENOENT in a removed directory; returns the time, which whoever changes it needs."""
        if self.links == 0:
            raise error(ENOENT)
        return self.mount.hyper.wall()

    def _add(self, name: bytes, vnode: Vnode, now: int) -> None:
        self.names.add(name, vnode)
        self._touch(now)

    def _remove(self, name: bytes, now: int) -> None:
        self.names.remove(name)
        self._touch(now)

    def _bury(self, child: "DirectoryNode", now: int) -> None:
        """`child`, an empty directory in here, has lost its name; with that its "." and its ".." go, too."""
        self.links -= 1
        child.links = 1
        child.drop_link(now)

    def _touch(self, now: int) -> None:
        self.size = len(self.names)
        self.mtime = self.ctime = now
