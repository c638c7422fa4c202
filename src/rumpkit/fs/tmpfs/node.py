"""Files of a tmpfs other than directories: regular files, symbolic links, special files."""

from typing import Final, final

from mypy_extensions import mypyc_attr

from ...kern.abi.errno import EEXIST, EFBIG, EMLINK, ENODATA, ENOSPC, ENOTSUP, error
from ...kern.abi.fcntl import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    FS_APPEND_FL,
    FS_IMMUTABLE_FL,
    FS_NOATIME_FL,
    FS_NODUMP_FL,
    S_IFLNK,
    XATTR_CREATE,
    XATTR_LIST_MAX,
    XATTR_REPLACE,
)
from ...vfs.vnode import Mount, Vnode
from .extents import Extents
from .pool import UNIT, Pool

FLAGS: Final = FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL
"""What can be set; the last two mean nothing here."""
SHORT: Final = 128
"""Bytes of a symbolic link's target from which on it counts as storage."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Node(Vnode):
    """What all files of a tmpfs share: they go away with their last name and their last holder."""

    xattrs: dict[bytes, bytes] | None = None
    """Extended attributes, once there are any."""
    further: int = 0
    """Names that `add_link` gave it, each of which counts as a file, or who makes only names could fill all memory."""

    def __init__(self, mount: Mount, pool: Pool, mode: int, uid: int, gid: int, now: int, number: int = -1) -> None:
        """With a new number, which counts in the pool, unless it has one."""
        super().__init__(mount, pool.take_inode() if number < 0 else number, mode, uid, gid, now)
        self.pool: Pool = pool

    def add_link(self, now: int) -> None:
        """It gets a name; one more than it has counts in the pool.  Raises EMLINK, ENOSPC."""
        pool = self.pool
        if self.links >= pool.links:
            raise error(EMLINK)
        if self.links:
            if pool.files >= pool.inodes:
                raise error(ENOSPC)
            pool.files += 1
            self.further += 1
        self.links += 1
        self.ctime = now

    def drop_link(self, now: int) -> None:
        """A name of this file has gone."""
        if self.further:
            self.further -= 1
            self.pool.files -= 1
        self.links -= 1
        self.ctime = now
        if self.links == 0 and self.references == 0:
            self.discard()

    def inactive(self) -> None:
        """Nobody holds the file: without a name it goes."""
        if self.links == 0:
            self.discard()

    def discard(self) -> None:
        """Give the storage back."""
        if self.xattrs is not None:
            self._replace_xattrs(None)
        self.pool.free_inode()

    # Extended attributes and flags -----------------------------------------------------------------------

    def getxattr(self, name: bytes) -> bytes:
        """The value of an extended attribute."""
        value = None if self.xattrs is None else self.xattrs.get(name)
        if value is None:
            raise error(ENODATA)
        return value

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute.  They are counted as storage."""
        attributes = {} if self.xattrs is None else dict(self.xattrs)
        if flags & XATTR_CREATE and name in attributes:
            raise error(EEXIST)
        if flags & XATTR_REPLACE and name not in attributes:
            raise error(ENODATA)
        attributes[name] = value
        if sum(len(known) + 1 for known in attributes) > XATTR_LIST_MAX:
            raise error(ENOSPC)
        self._replace_xattrs(attributes)
        self.ctime = self.mount.hyper.wall()

    def listxattr(self) -> list[bytes]:
        """The names."""
        return list(self.xattrs or ())

    def removexattr(self, name: bytes) -> None:
        """Remove an extended attribute."""
        self.getxattr(name)
        self._replace_xattrs({known: value for known, value in (self.xattrs or {}).items() if known != name} or None)
        self.ctime = self.mount.hyper.wall()

    def set_flags(self, flags: int, now: int) -> None:
        """Set the inode flags."""
        if flags & ~FLAGS:
            raise error(ENOTSUP)
        self.flags = flags
        self.ctime = now

    def _replace_xattrs(self, attributes: dict[bytes, bytes] | None) -> None:
        """Have these extended attributes.  Raises ENOSPC where the pool has no room for what is more."""
        grown = _storage(attributes) - _storage(self.xattrs)
        pool = self.pool
        if grown > 0 and pool.used + grown > pool.size:
            raise error(ENOSPC)
        pool.used += grown
        self.xattrs = attributes


def _storage(attributes: dict[bytes, bytes] | None) -> int:
    """Bytes of the pool that extended attributes take, in whole units."""
    if attributes is None:
        return 0
    return (sum(len(name) + len(value) for name, value in attributes.items()) + UNIT - 1) & -UNIT


@final
class SpecialNode(Node):
    """A device, a FIFO or a socket: a name and nothing behind it."""

    def __init__(self, mount: Mount, pool: Pool, mode: int, uid: int, gid: int, device: int, now: int) -> None:
        super().__init__(mount, pool, mode, uid, gid, now)
        self.device = device


@final
class SymlinkNode(Node):
    """A symbolic link."""

    def __init__(self, mount: Mount, pool: Pool, target: bytes, uid: int, gid: int, now: int) -> None:
        super().__init__(mount, pool, S_IFLNK | 0o777, uid, gid, now)
        self.target: bytes = target
        self.size = len(target)
        self._stored: int = UNIT if len(target) >= SHORT else 0
        if self._stored > max(pool.size - pool.used, 0):
            pool.free_inode()
            raise error(ENOSPC)
        pool.used += self._stored

    def discard(self) -> None:
        """Give the storage back."""
        self.pool.used -= self._stored
        super().discard()

    def readlink(self) -> bytes:
        """The target."""
        return self.target

    def blocks(self) -> int:
        """A short target takes no storage of its own."""
        return self._stored >> 9


@final
class FileNode(Node):
    """A regular file."""

    def __init__(self, mount: Mount, pool: Pool, mode: int, uid: int, gid: int, now: int, number: int = -1) -> None:
        super().__init__(mount, pool, mode, uid, gid, now, number)
        self.extents: Extents = Extents(pool)

    def blocks(self) -> int:
        """Storage in units of 512 bytes: holes take none."""
        return self.extents.allocated >> 9

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from byte `offset`."""
        end = min(offset + size, self.size)
        return self.extents.read(offset, end) if end > offset else b""

    def write(self, offset: int, data: bytes) -> int:
        """Write as much of `data` as there is room for.  Raises EFBIG or ENOSPC if there is none."""
        room = self.pool.file_size - offset
        if room < len(data):
            if room <= 0:
                raise error(EFBIG)
            data = data[:room]
        done = self.extents.write(offset, data)
        if done == 0 and data:
            raise error(ENOSPC)
        self.size = max(self.size, offset + done)
        self.mtime = self.ctime = self.mount.hyper.wall()
        return done

    def truncate(self, size: int) -> None:
        """Cut the file, or let a hole grow at its end."""
        if size > self.pool.file_size:
            raise error(EFBIG)
        if size < self.size:
            self.extents.truncate(size)
        self.size = size
        self.mtime = self.ctime = self.mount.hyper.wall()

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Give a range storage, punch a hole or make it zeros."""
        end = offset + length
        extents = self.extents
        if mode & FALLOC_FL_PUNCH_HOLE:
            extents.punch(offset, min(end, self.size))
        else:
            if end > self.pool.file_size:
                raise error(EFBIG)
            extents.reserve(offset, end)
            if mode & FALLOC_FL_ZERO_RANGE:
                extents.zero(offset, end)
            if not mode & FALLOC_FL_KEEP_SIZE:
                self.size = max(self.size, end)
        self.mtime = self.ctime = self.mount.hyper.wall()

    def next_data(self, offset: int) -> int:
        """The next byte that is stored."""
        found = self.extents.next_data(offset)
        return found if found < self.size else -1

    def next_hole(self, offset: int) -> int:
        """The next byte that is not stored, or the end."""
        return min(self.extents.next_hole(offset), self.size)

    def discard(self) -> None:
        """Give the storage back."""
        self.extents.truncate(0)
        if self.xattrs is not None:
            self._replace_xattrs(None)
        self.pool.free_inode()
