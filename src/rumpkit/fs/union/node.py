"""Files of a union that come from below, other than directories.

Between vfs and the file system below.  Such a file is one vnode all its life: its attributes are copies of those below until somebody
changes them, its data are read below until somebody changes them, and from then on both are in memory, as in tmpfs.  So its number
stays, whoever has it open sees the changes, and all its names do.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EFBIG, EIO, ENODATA, ENOSPC, ENOTSUP, ESTALE, error
from ...vfs.vnode import Vnode
from ..tmpfs.node import FLAGS, FileNode, Node

if TYPE_CHECKING:
    from .mount import UnionMount

PIECE: Final = 1 << 20
"""Bytes that are copied at once."""


class UnionNode(Node):
    """What files of a union share that may be from below.  Whoever changes one calls `change` before."""

    def __init__(
        self, over: "UnionMount", mode: int, uid: int, gid: int, now: int, number: int, lower: Vnode | None
    ) -> None:
        super().__init__(over, over.pool, mode, uid, gid, now, number)
        self.over: UnionMount = over
        self.lower: Vnode | None = lower
        self.changed: bool = lower is None
        """It differs from the one below, and is remembered until it is gone."""
        self.recent: bool = True
        """Asked for since the mount last looked for vnodes to drop."""
        self._xattrs_below: bool = lower is not None
        if lower is not None:
            lower.hold()
            self.links = max(lower.links, 1)
            self.size = lower.size
            self.device = lower.device
            self.atime = lower.atime
            self.mtime = lower.mtime
            self.ctime = lower.ctime
            self.generation = lower.generation
            self.flags = lower.flags & FLAGS
            self.acl = lower.acl
            self.default_acl = lower.default_acl

    def change(self) -> None:
        """Be remembered: this counts as a file.  Raises ENOSPC; ESTALE where the mount has let go of this vnode since the call got it."""
        if not self.changed:
            if not self.over.knows(self):
                raise error(ESTALE)
            self.pool.take_inode()
            self.changed = True

    def discard(self) -> None:
        """Its last name and its last holder have gone."""
        super().discard()
        self.over.forget(self)

    # Attributes ------------------------------------------------------------------------------------------

    def set_mode(self, mode: int, now: int) -> None:
        """Set the permission bits."""
        self.change()
        super().set_mode(mode, now)

    def set_owner(self, uid: int, gid: int, mode: int, now: int) -> None:
        """Set owner, group and permission bits."""
        self.change()
        super().set_owner(uid, gid, mode, now)

    def set_times(self, atime: int, mtime: int, now: int) -> None:
        """Set the times of access and modification."""
        self.change()
        super().set_times(atime, mtime, now)

    def set_flags(self, flags: int, now: int) -> None:
        """Set the inode flags."""
        self.change()
        super().set_flags(flags, now)

    def accessed(self, now: int) -> None:
        """Of what nobody has changed times stay as they are below."""
        if self.changed:
            self.atime = now

    # Extended attributes: all of them are below, or all in memory -----------------------------------------

    def getxattr(self, name: bytes) -> bytes:
        """The value of an extended attribute."""
        lower = self.lower
        if lower is None or not self._xattrs_below:
            return super().getxattr(name)
        try:
            return lower.getxattr(name)
        except OSError as problem:
            if problem.errno == ENOTSUP:
                raise error(ENODATA) from None
            raise

    def listxattr(self) -> list[bytes]:
        """The names."""
        lower = self.lower
        if lower is None or not self._xattrs_below:
            return super().listxattr()
        try:
            return lower.listxattr()
        except OSError as problem:
            if problem.errno == ENOTSUP:
                return []
            raise

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute."""
        self._take_xattrs()
        super().setxattr(name, value, flags)

    def removexattr(self, name: bytes) -> None:
        """Remove an extended attribute."""
        self.getxattr(name)
        self._take_xattrs()
        super().removexattr(name)

    def _take_xattrs(self) -> None:
        self.change()
        if self._xattrs_below:
            found = {name: self.getxattr(name) for name in self.listxattr()}
            self._replace_xattrs(found or None)
            self._xattrs_below = False


@final
class LowerFile(UnionNode):
    """A regular file from below."""

    def __init__(self, over: "UnionMount", lower: Vnode) -> None:
        number = over.number_of(lower.number)
        super().__init__(over, lower.mode, lower.uid, lower.gid, lower.mtime, number, lower)
        self._data: Vnode = lower
        """Who has the data."""
        self._copy: FileNode | None = None
        """Has them, once they have been changed."""

    def discard(self) -> None:
        """Give the storage back."""
        if self._copy is not None:
            self._copy.extents.truncate(0)
        super().discard()

    def blocks(self) -> int:
        """Storage, here or below."""
        return self._data.blocks()

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from byte `offset`."""
        return self._data.read(offset, size)

    def next_data(self, offset: int) -> int:
        """The next byte that is stored."""
        return self._data.next_data(offset)

    def next_hole(self, offset: int) -> int:
        """The next byte that is not stored, or the end."""
        return self._data.next_hole(offset)

    def write(self, offset: int, data: bytes) -> int:
        """Write as much of `data` as there is room for.  Raises EFBIG or ENOSPC if there is none."""
        copy = self._copied(self.size)
        done = copy.write(offset, data)
        self._follow(copy)
        return done

    def truncate(self, size: int) -> None:
        """Cut the file, or let a hole grow at its end.  What is cut off isn't copied before."""
        if size > self.pool.file_size:
            raise error(EFBIG)
        copy = self._copied(min(size, self.size))
        copy.truncate(size)
        self._follow(copy)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Give a range storage, punch a hole or make it zeros."""
        copy = self._copied(self.size)
        copy.fallocate(mode, offset, length)
        self._follow(copy)

    def _follow(self, copy: FileNode) -> None:
        self.size = copy.size
        self.mtime = copy.mtime
        self.ctime = copy.ctime

    def _copied(self, size: int) -> FileNode:
        """The data in memory: those that were, or the first `size` bytes of those below.  It is no file that counts.  Raises ENOSPC, EFBIG,
        EIO; then all is as it was."""
        if self._copy is not None:
            return self._copy
        pool = self.pool
        if size > pool.file_size:
            raise error(EFBIG)
        if size > pool.size - pool.used and sum(end - start for start, end in self._runs(size)) > pool.size - pool.used:
            raise error(ENOSPC)  # or each attempt would copy as much as there is room for
        copy = FileNode(self.over, pool, self.mode, self.uid, self.gid, self.mtime, self.number)
        try:
            self._copy_data(copy, size)
            self.change()
        except BaseException:
            copy.extents.truncate(0)
            raise
        self._data = self._copy = copy
        return copy

    def _copy_data(self, copy: FileNode, size: int) -> None:
        """What is no hole below."""
        lower = self._data
        for start, end in self._runs(size):
            while start < end:
                data = lower.read(start, min(end - start, PIECE))
                if not data:
                    raise error(EIO)
                if copy.write(start, data) < len(data):
                    raise error(ENOSPC)
                start += len(data)
        if copy.size < size:
            copy.truncate(size)

    def _runs(self, size: int) -> Iterator[tuple[int, int]]:
        """Beginnings and ends of what is no hole below, in the first `size` bytes.  Raises EIO."""
        lower = self._data
        end = 0
        while end < size:
            start = lower.next_data(end)
            if start < 0 or start >= size:
                return
            end = min(lower.next_hole(start), size)
            if end <= start:
                raise error(EIO)
            yield start, end


@final
class LowerOther(UnionNode):
    """A symbolic link or special file from below."""

    def __init__(self, over: "UnionMount", lower: Vnode) -> None:
        number = over.number_of(lower.number)
        super().__init__(over, lower.mode, lower.uid, lower.gid, lower.mtime, number, lower)
        self._below: Vnode = lower

    def readlink(self) -> bytes:
        """The target."""
        return self._below.readlink()

    def blocks(self) -> int:
        """What it takes below."""
        return self._below.blocks()
