"""A file of an image: a node over a vnode.

The session that opened the image holds the schedule and the mount's lock meanwhile, so these are plain calls into the file system:
a file of a few bytes is made with three of them.  What vfs checks for system calls (kinds, names, read-only mounts) is checked here,
for a caller who may do everything.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import (
    E2BIG,
    EEXIST,
    EINVAL,
    EISDIR,
    ENAMETOOLONG,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    ENOTSUP,
    EUCLEAN,
    EXDEV,
)
from ...kern.abi.fcntl import NAME_MAX, S_IFDIR
from ...vfs.stat import Stat
from ...vfs.vnode import FIRST_COOKIE
from .node import DEPTH_LIMIT, Named, Node, check_name, failure

if TYPE_CHECKING:
    from ...vfs.vnode import Mount, Vnode

SPARE_BLOCKS: Final = 16
"""Free blocks of a file system that is not full."""
ENTRIES: Final = 256
"""Names that are read at once."""


@final
class Inside(Node):
    """A file of an image."""

    def __init__(self, vnode: "Vnode") -> None:
        vnode.hold()
        self.vnode: Vnode = vnode
        self.kind: int = vnode.kind
        self._open: bool = True

    # Asking --------------------------------------------------------------------------------------------

    def stat(self) -> Stat:
        return self.vnode.stat()

    def entries(self) -> Iterator[Named]:
        cookie = FIRST_COOKIE
        while True:
            found = self.vnode.readdir(cookie, ENTRIES)
            if not found:
                return
            for name, number, kind, _ in found:
                yield Named(name, number, kind)
            if found[-1].cookie <= cookie:
                raise failure(EINVAL, "the directory's entries don't come to an end")
            cookie = found[-1].cookie

    def child(self, name: bytes) -> "Inside | None":
        found = self.vnode.lookup(name)
        return None if found is None else Inside(found)

    def parent(self) -> "Inside":
        """The directory above this one; the root's is itself."""
        return Inside(self.vnode if self.vnode is self.vnode.mount.root else self.vnode.parent())

    def read(self, offset: int, size: int) -> bytes:
        return self.vnode.read(offset, size)

    def readlink(self) -> bytes:
        return self.vnode.readlink()

    def xattrs(self) -> list[tuple[bytes, bytes]]:
        try:
            names = self.vnode.listxattr()
        except OSError as problem:
            if problem.errno == ENOTSUP:
                return []
            raise
        return [(name, self.vnode.getxattr(name)) for name in sorted(names)]

    def next_data(self, offset: int) -> int:
        return self.vnode.next_data(offset)

    def next_hole(self, offset: int) -> int:
        return self.vnode.next_hole(offset)

    # Changing ------------------------------------------------------------------------------------------

    def make(self, name: bytes, mode: int, uid: int, gid: int, device: int = 0, sure: bool = False) -> "Inside":
        directory = self._may_add(name, sure)
        if mode & 0o170000 == S_IFDIR:
            return Inside(directory.mkdir(name, mode & 0o7777, uid, gid))
        vnode = directory.create(name, mode, uid, gid, device)
        made = Inside(vnode)
        made.lost_mode = vnode.uid != uid or vnode.gid != gid or mode & ~vnode.mode & 0o7000 != 0
        return made

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> "Inside":
        return Inside(self._may_add(name).symlink(name, target, uid, gid))

    def link(self, name: bytes, node: Node) -> None:
        directory = self._may_add(name)
        directory.link(name, self._same(node))

    def remove(self, name: bytes, node: Node) -> None:
        vnode = self._same(node)
        self._writable()
        if vnode.kind == S_IFDIR:
            self.vnode.rmdir(name, vnode)
        else:
            self.vnode.unlink(name, vnode)

    def rename(self, name: bytes, directory: Node, new_name: bytes) -> None:
        target = self._same(directory)
        self._writable()
        vnode = self.vnode.lookup(name)
        if vnode is None:
            raise failure(ENOENT)
        _check_length(check_name(new_name))
        replaced = target.lookup(new_name)
        if replaced is vnode:
            return
        if vnode.kind == S_IFDIR and _is_below(target, vnode):
            raise failure(EINVAL, "a directory can't be moved into itself")
        if replaced is not None and (replaced.kind == S_IFDIR) != (vnode.kind == S_IFDIR):
            raise failure(EISDIR if replaced.kind == S_IFDIR else ENOTDIR)
        if replaced is not None and replaced.kind == S_IFDIR and replaced.readdir(FIRST_COOKIE, 1):
            raise failure(ENOTEMPTY)
        self.vnode.rename(name, vnode, target, new_name, replaced)

    def write(self, offset: int, data: bytes) -> None:
        self._writable()
        done = self.vnode.write(offset, data)
        while done < len(data):
            more = self.vnode.write(offset + done, data[done:])
            if more <= 0:
                raise failure(ENOSPC)
            done += more

    def truncate(self, size: int) -> None:
        self._writable()
        self.vnode.truncate(size)

    def set_mode(self, mode: int) -> None:
        self._writable()
        self.vnode.set_mode(mode & 0o7777, self.vnode.mount.hyper.wall())

    def set_owner(self, uid: int, gid: int) -> None:
        self._writable()
        vnode = self.vnode
        vnode.set_owner(uid, gid, vnode.mode & 0o7777, vnode.mount.hyper.wall())

    def set_times(self, atime: int, mtime: int) -> None:
        self._writable()
        self.vnode.set_times(atime, mtime, self.vnode.mount.hyper.wall())

    def set_xattr(self, name: bytes, value: bytes) -> None:
        self._writable()
        try:
            self.vnode.setxattr(name, value, 0)
        except OSError as problem:
            if problem.errno == ENOSPC and self.vnode.mount.statvfs().f_bavail > SPARE_BLOCKS:
                raise failure(E2BIG, "the file system has no room for so large attributes of a file") from None
            raise

    def settle(self, mode: int, atime: int, mtime: int) -> None:
        vnode = self.vnode
        vnode.set_times(atime, mtime, vnode.mount.hyper.wall())

    def close(self) -> None:
        if self._open:
            self._open = False
            self.vnode.release()

    def holds(self, directory: Node) -> bool:
        if not isinstance(directory, Inside) or directory.vnode.mount is not self.vnode.mount:
            return False
        return _is_below(directory.vnode, self.vnode)

    # ---------------------------------------------------------------------------------------------------

    def mount(self) -> "Mount":
        """The file system that it is of."""
        return self.vnode.mount

    def _writable(self) -> None:
        self.vnode.mount.check_writable()

    def _may_add(self, name: bytes, sure: bool = False) -> "Vnode":
        """This directory, where `name` may be made.  Raises EROFS, ENOTDIR, EEXIST, ENAMETOOLONG."""
        vnode = self.vnode
        vnode.mount.check_writable()
        if vnode.kind != S_IFDIR:
            raise failure(ENOTDIR)
        _check_length(check_name(name))
        if not sure and vnode.lookup(name) is not None:
            raise failure(EEXIST)
        return vnode

    def _same(self, node: Node) -> "Vnode":
        """The vnode of a node of this file system.  Raises EXDEV."""
        if not isinstance(node, Inside) or node.vnode.mount is not self.vnode.mount:
            raise failure(EXDEV)
        return node.vnode


def _check_length(name: bytes) -> None:
    if len(name) > NAME_MAX:
        raise failure(ENAMETOOLONG)


def _is_below(directory: "Vnode", ancestor: "Vnode") -> bool:
    """Whether `directory` is `ancestor` or lies in it."""
    for _ in range(DEPTH_LIMIT):
        if directory is ancestor:
            return True
        if directory is directory.mount.root:
            return False
        directory = directory.parent()
    raise failure(EUCLEAN, "the directories above it don't end")
