"""Directories as vnodes, changing: files made, linked, unlinked and renamed.  Each is one operation of a transaction."""

from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EMLINK, ENOENT, ENOTEMPTY, error
from ...kern.abi.fcntl import S_IFDIR, S_IFLNK, S_IFREG
from ...vfs.vnode import Vnode
from . import dirwrite, filewrite, inline
from .dirent import TYPES
from .dirnode import DirectoryReader
from .filenode import FileNode, check_plain
from .inode import BLOCK_SIZE, EXTENTS
from .node import MAX_LINKS, ExtNode

if TYPE_CHECKING:
    pass

NAME_CREDITS: Final = 24
"""Blocks of metadata that a name that comes or goes changes, at most about."""


@final
class DirectoryNode(DirectoryReader):
    """A directory."""

    # Names come ----------------------------------------------------------------------------------------

    def create(self, name: bytes, mode: int, uid: int, gid: int, device: int) -> Vnode:
        """Make a regular or special file."""
        now = self._check_alive()
        ext = self.ext
        ext.begin(NAME_CREDITS)
        try:
            node = ext.new_node(self, mode, uid, gid, now, device)
            self._add_new(name, node, now)
        except OSError as problem:
            raise ext.failed(problem) from None
        finally:
            ext.end()
        return node

    def nameless(self, mode: int, uid: int, gid: int) -> Vnode:
        """Make a regular file without a name: an orphan, as one that lost its last name in use."""
        now = self._check_alive()
        ext = self.ext
        ext.begin(NAME_CREDITS)
        try:
            node = ext.new_node(self, S_IFREG | mode & 0o7777, uid, gid, now, 0)
            node.links = 0
            ext.orphans.add(node.state)
        except OSError as problem:
            raise ext.failed(problem) from None
        finally:
            ext.end()
        return node

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Vnode:
        """Make a directory."""
        now = self._check_alive()
        self._check_links(self)
        ext = self.ext
        ext.begin(NAME_CREDITS)
        try:
            node = ext.new_node(self, S_IFDIR | mode, uid, gid, now, 0)
            try:
                dirwrite.start(node.state, self.number, self._type(S_IFDIR))
            except OSError:
                ext.discard(node)
                raise
            node.links = 2
            self._add_new(name, node, now)
            self._count_link(1)
        except OSError as problem:
            raise ext.failed(problem) from None
        finally:
            ext.end()
        return node

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Vnode:
        """Make a symbolic link: its target lies in the inode if it is short."""
        now = self._check_alive()
        ext = self.ext
        ext.begin(NAME_CREDITS)
        try:
            node = ext.new_node(self, S_IFLNK | 0o777, uid, gid, now, 0)
            state = node.state
            try:
                if len(target) < BLOCK_SIZE:
                    state.inode.flags &= ~EXTENTS
                    state.extents = False
                    state.inode.block = target.ljust(BLOCK_SIZE, b"\0")
                    state.inode.size = len(target)
                else:
                    filewrite.store(state, 0, target + b"\0" * (len(target) < state.volume.block_size))
                    state.inode.size = len(target)
            except OSError:
                ext.discard(node)
                raise
            node.flags = state.inode.flags
            node.size = len(target)
            self._add_new(name, node, now)
        except OSError as problem:
            raise ext.failed(problem) from None
        finally:
            ext.end()
        return node

    def link(self, name: bytes, vnode: Vnode) -> None:
        """Give a file a further name."""
        assert isinstance(vnode, ExtNode)
        now = self._check_alive()
        if vnode.links >= MAX_LINKS:
            raise error(EMLINK)
        self.ext.begin(NAME_CREDITS)
        try:
            dirwrite.add(self.state, name, vnode.number, self._type(vnode.kind))
            if vnode.links == 0:
                self.ext.orphans.drop(vnode.state)  # made without a name, it is like any other now
            vnode.links += 1
            vnode.ctime = now
            vnode.touched()
            self._changed(now)
        except OSError as problem:
            raise self.ext.failed(problem) from None
        finally:
            self.ext.end()

    # Names go ------------------------------------------------------------------------------------------

    def unlink(self, name: bytes, vnode: Vnode) -> None:
        """Take a name away."""
        assert isinstance(vnode, ExtNode)
        now = self.mount.hyper.wall()
        ext = self.ext
        ext.begin(2 * NAME_CREDITS)
        try:
            dirwrite.remove(self.state, name)
            self._changed(now)
            ext.drop_link(vnode, now)
        except OSError as problem:
            raise ext.failed(problem) from None
        finally:
            ext.end()
        ext.finish_removal(vnode)

    def rmdir(self, name: bytes, vnode: Vnode) -> None:
        """Remove an empty directory."""
        assert isinstance(vnode, DirectoryNode)
        check_plain(vnode.state)
        if not dirwrite.is_empty(vnode.state):
            raise error(ENOTEMPTY)
        now = self.mount.hyper.wall()
        ext = self.ext
        ext.begin(2 * NAME_CREDITS)
        try:
            dirwrite.remove(self.state, name)
            self._count_link(-1)
            self._changed(now)
            vnode.links = 1
            ext.drop_link(vnode, now)
        except OSError as problem:
            raise ext.failed(problem) from None
        finally:
            ext.end()
        ext.finish_removal(vnode)

    # Names move ----------------------------------------------------------------------------------------

    def rename(self, name: bytes, vnode: Vnode, directory: Vnode, new_name: bytes, replaced: Vnode | None) -> None:
        """Move a name, over another one where there is one."""
        assert isinstance(directory, DirectoryNode) and isinstance(vnode, ExtNode)
        now = directory._check_alive()
        moved = isinstance(vnode, DirectoryNode)
        if isinstance(replaced, DirectoryNode):
            check_plain(replaced.state)
            if not dirwrite.is_empty(replaced.state):
                raise error(ENOTEMPTY)
        elif moved and directory is not self:
            self._check_links(directory)
        ext = self.ext
        if replaced is not None:
            vnode.flush()  # whoever replaces a file by a new one wants either after a crash, and not an empty one
        ext.begin(3 * NAME_CREDITS)
        try:
            if replaced is None:
                dirwrite.add(directory.state, new_name, vnode.number, self._type(vnode.kind))
            else:
                dirwrite.replace(directory.state, new_name, vnode.number, self._type(vnode.kind))
            dirwrite.remove(self.state, name)
            self._changed(now)
            directory._changed(now)
            vnode.ctime = now
            vnode.touched()
            if moved and directory is not self:
                dirwrite.set_parent(vnode.state, directory.number)
                self._count_link(-1)
                directory._count_link(1)
            if isinstance(replaced, DirectoryNode):
                directory._count_link(-1)
                replaced.links = 1
            if isinstance(replaced, ExtNode):
                ext.drop_link(replaced, now)
        except OSError as problem:
            raise ext.failed(problem) from None
        finally:
            ext.end()
        if isinstance(replaced, ExtNode):
            ext.finish_removal(replaced)

    def exchange(self, name: bytes, vnode: Vnode, directory: Vnode, other_name: bytes, other: Vnode) -> None:
        """Swap two names' files."""
        assert isinstance(directory, DirectoryNode) and isinstance(vnode, ExtNode) and isinstance(other, ExtNode)
        now = self.mount.hyper.wall()
        self.ext.begin(3 * NAME_CREDITS)
        try:
            dirwrite.replace(self.state, name, other.number, self._type(other.kind))
            dirwrite.replace(directory.state, other_name, vnode.number, self._type(vnode.kind))
            for node, source, target in ((vnode, self, directory), (other, directory, self)):
                node.ctime = now
                node.touched()
                if isinstance(node, DirectoryNode) and source is not target:
                    dirwrite.set_parent(node.state, target.number)
                    source._count_link(-1)
                    target._count_link(1)
            self._changed(now)
            directory._changed(now)
        except OSError as problem:
            raise self.ext.failed(problem) from None
        finally:
            self.ext.end()

    # Helpers -------------------------------------------------------------------------------------------

    def _check_alive(self) -> int:
        """Raise ENOENT in a removed directory; returns the time."""
        if self.links == 0:
            raise error(ENOENT)
        check_plain(self.state)
        return self.mount.hyper.wall()

    def _check_links(self, directory: "DirectoryNode") -> None:
        """Raise EMLINK where a directory can't have a further one in it."""
        if directory.links >= MAX_LINKS - 1 and not directory.ext.volume.counts_many:
            raise error(EMLINK)

    def _count_link(self, more: int) -> None:
        """A directory came or went; 1 means that there were too many to count."""
        if self.links == 1:
            return
        self.links += more
        if self.links >= MAX_LINKS:
            self.links = 1
        self.touched()

    def _type(self, kind: int) -> int:
        return TYPES[kind] if self.state.volume.has_kinds else 0

    def _add_new(self, name: bytes, node: ExtNode, now: int) -> None:
        """The name of a new file, which goes away again where there is no room for that."""
        try:
            dirwrite.add(self.state, name, node.number, self._type(node.kind))
        except OSError:
            self.ext.discard(node)
            raise
        self._changed(now)

    def _changed(self, now: int) -> None:
        self.mtime = self.ctime = now
        self.size = self.state.inode.size
        self.touched()


def start_kind(node: ExtNode) -> None:
    """What a new file starts with beyond an empty block map."""
    state = node.state
    if isinstance(node, FileNode) and node.kind == S_IFREG and state.volume.has_inline:
        inline.start(state)
        node.flags = state.inode.flags
