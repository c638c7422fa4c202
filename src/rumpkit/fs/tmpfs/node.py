"""Files of a tmpfs other than directories: regular files, symbolic links, special files."""

from typing import final

from mypy_extensions import mypyc_attr

from ...kern.abi.errno import EFBIG, ENOSPC, error
from ...kern.abi.fcntl import S_IFLNK
from ...vfs.vnode import Mount, Vnode
from .extents import Extents
from .pool import Pool


@mypyc_attr(allow_interpreted_subclasses=True)
class Node(Vnode):
    """What all files of a tmpfs share: they go away with their last name and their last holder."""

    def __init__(self, mount: Mount, pool: Pool, mode: int, uid: int, gid: int, now: int) -> None:
        super().__init__(mount, pool.take_inode(), mode, uid, gid, now)
        self.pool: Pool = pool

    def drop_link(self, now: int) -> None:
        """A name of this file has gone."""
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
        self.pool.free_inode()


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

    def readlink(self) -> bytes:
        """The target."""
        return self.target

    def blocks(self) -> int:
        """Its target takes no storage of its own."""
        return 0


@final
class FileNode(Node):
    """A regular file."""

    def __init__(self, mount: Mount, pool: Pool, mode: int, uid: int, gid: int, now: int) -> None:
        super().__init__(mount, pool, mode, uid, gid, now)
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
        self.pool.free_inode()
