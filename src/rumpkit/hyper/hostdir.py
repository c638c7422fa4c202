"""A directory of the host's that a kernel may use: the hypercalls of hostfs.

Paths are relative to the directory: names joined by "/", without "", "." and "..", and b"" for the directory itself.  An
implementation never follows a symbolic link, so that no path leads out of the directory, whoever changes it meanwhile.
Every call may block, so the kernel makes it off its schedule (`Hypercalls.unschedule`), and raises OSError as the host reports it.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

from mypy_extensions import mypyc_attr


class HostStat(NamedTuple):
    """What the host says of a file; times in nanoseconds since 1970."""

    device: int
    """With `number`, what tells files apart."""
    number: int
    mode: int
    links: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    """Of 512 bytes."""
    atime: int
    mtime: int
    ctime: int


class HostSpace(NamedTuple):
    """Size and use of the file system that the directory is on, as statvfs has them."""

    unit: int
    blocks: int
    free: int
    available: int
    files: int
    free_files: int
    name_max: int


@mypyc_attr(allow_interpreted_subclasses=True)
class HostFile(ABC):
    """An open regular file of the host's, or a directory, for its attributes."""

    writable: bool

    @abstractmethod
    def stat(self) -> HostStat:
        """Its attributes."""

    @abstractmethod
    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer only at the end."""

    @abstractmethod
    def write(self, offset: int, data: bytes) -> int:
        """Write at `offset`; how much there was room for, ENOSPC if none."""

    @abstractmethod
    def truncate(self, size: int) -> None:
        """Make it `size` bytes long."""

    @abstractmethod
    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """As Linux fallocate.  Raises ENOTSUP."""

    @abstractmethod
    def seek(self, offset: int, hole: bool) -> int:
        """The next data, or with `hole` the next hole, from `offset` on.  Raises ENXIO."""

    @abstractmethod
    def sync(self, data_only: bool) -> None:
        """Return once it is durable."""

    @abstractmethod
    def chmod(self, mode: int) -> None:
        """Set permission bits."""

    @abstractmethod
    def chown(self, uid: int, gid: int) -> None:
        """Set owner and group."""

    @abstractmethod
    def utimens(self, atime: int, mtime: int) -> None:
        """Set times."""

    @abstractmethod
    def getxattr(self, name: bytes) -> bytes:
        """An extended attribute."""

    @abstractmethod
    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute."""

    @abstractmethod
    def listxattr(self) -> list[bytes]:
        """The names of extended attributes."""

    @abstractmethod
    def removexattr(self, name: bytes) -> None:
        """Remove an extended attribute."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


@mypyc_attr(allow_interpreted_subclasses=True)
class HostDirectory(ABC):
    """A directory of the host's with all that is below it."""

    read_only: bool

    @abstractmethod
    def stat(self, path: bytes) -> HostStat:
        """A file's attributes; of a symbolic link itself."""

    @abstractmethod
    def open(self, path: bytes, writable: bool) -> HostFile:
        """Open a regular file, or for reading a directory.  Raises EINVAL for another kind, EROFS."""

    @abstractmethod
    def names(self, path: bytes, limit: int) -> list[tuple[bytes, int, int, int]]:
        """Name, device, number and kind (S_IFMT bits) of what is in a directory, in any order.  Raises EOVERFLOW for more than `limit`."""

    @abstractmethod
    def readlink(self, path: bytes) -> bytes:
        """What a symbolic link says."""

    @abstractmethod
    def create(self, path: bytes, mode: int) -> None:
        """Make a regular file, FIFO or socket name, as `mode` says.  Raises EEXIST, EPERM for other kinds."""

    @abstractmethod
    def mkdir(self, path: bytes, mode: int) -> None:
        """Make a directory."""

    @abstractmethod
    def symlink(self, path: bytes, target: bytes) -> None:
        """Make a symbolic link, whose target is not looked at."""

    @abstractmethod
    def link(self, path: bytes, new_path: bytes) -> None:
        """Give a file a further name."""

    @abstractmethod
    def remove(self, path: bytes, directory: bool) -> None:
        """Remove a name, or an empty directory."""

    @abstractmethod
    def rename(self, path: bytes, new_path: bytes, flags: int) -> None:
        """Move a name; flags as of Linux renameat2."""

    @abstractmethod
    def chmod(self, path: bytes, mode: int) -> None:
        """Set permission bits."""

    @abstractmethod
    def chown(self, path: bytes, uid: int, gid: int) -> None:
        """Set owner and group."""

    @abstractmethod
    def utimens(self, path: bytes, atime: int, mtime: int) -> None:
        """Set times."""

    @abstractmethod
    def getxattr(self, path: bytes, name: bytes) -> bytes:
        """An extended attribute."""

    @abstractmethod
    def setxattr(self, path: bytes, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute."""

    @abstractmethod
    def listxattr(self, path: bytes) -> list[bytes]:
        """The names of extended attributes."""

    @abstractmethod
    def removexattr(self, path: bytes, name: bytes) -> None:
        """Remove an extended attribute."""

    @abstractmethod
    def space(self) -> HostSpace:
        """Size and use of its file system."""

    @abstractmethod
    def sync(self) -> None:
        """Return once all of its file system is durable."""

    def close(self) -> None:
        """Let go of the directory."""
        return None
