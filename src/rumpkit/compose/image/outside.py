"""A file of the host, as a node.  What is made has mode 0600 or 0700 until it is settled.

A directory is held open, and what is in it is reached through its descriptor without following links, so that nothing in an image
that is copied out can lead elsewhere: not a name, not a link that was made a moment ago.
"""

import errno
import os
import stat as modes
from collections.abc import Iterator
from typing import Final, final

from ...kern.abi.errno import MESSAGES
from ...vfs.stat import Stat
from .node import Named, Node, check_name

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NO_XATTRS: Final = frozenset((errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA, errno.ELOOP))


@final
class Outside(Node):
    """A file of the host: its directory's descriptor, its name there, and what lstat says."""

    on_host = True

    def __init__(self, above: int, name: bytes, status: os.stat_result, path: bytes) -> None:
        self._above: int = above
        """The directory's descriptor, which its node keeps open; -1 where `name` is a path of its own."""
        self._name: bytes = name
        self._status: os.stat_result = status
        self._fd: int = -1
        self._writable: bool = False
        self._foreign: bool = False
        """It was made here and is not its owner's: set-user-ID bits would lend our rights."""
        self.path: bytes = path
        """Where it was found: for messages, and for hard links."""
        self.kind: int = modes.S_IFMT(status.st_mode)

    # Asking --------------------------------------------------------------------------------------------

    def stat(self) -> Stat:
        s = self._status
        return Stat(
            s.st_mode,
            s.st_ino,
            s.st_dev,
            s.st_nlink,
            s.st_uid,
            s.st_gid,
            s.st_rdev,
            s.st_size,
            s.st_blksize,
            s.st_blocks,
            s.st_atime_ns,
            s.st_mtime_ns,
            s.st_ctime_ns,
        )

    def size_now(self) -> int:
        return os.fstat(self._file()).st_size

    def entries(self) -> Iterator[Named]:
        with os.scandir(self._directory()) as found:
            for entry in found:
                kind = 0
                if entry.is_symlink():
                    kind = modes.S_IFLNK
                elif entry.is_dir(follow_symlinks=False):
                    kind = modes.S_IFDIR
                elif entry.is_file(follow_symlinks=False):
                    kind = modes.S_IFREG
                yield Named(os.fsencode(entry.name), entry.inode(), kind)

    def child(self, name: bytes) -> "Outside | None":
        directory = self._directory()
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return Outside(directory, name, status, os.path.join(self.path, name))

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file(), size, offset)

    def readlink(self) -> bytes:
        return os.readlink(self._name, dir_fd=self._at())

    def xattrs(self) -> list[tuple[bytes, bytes]]:
        if self.kind == modes.S_IFLNK:
            return self._xattrs_of_link()
        where = self._directory() if self.kind == modes.S_IFDIR else self._file() if self.kind == modes.S_IFREG else -1
        if where < 0:
            return []
        try:
            names = os.listxattr(where)
            return [(os.fsencode(name), os.getxattr(where, name)) for name in sorted(names)] if names else []
        except OSError as problem:
            if problem.errno in NO_XATTRS:
                return []
            raise

    def _xattrs_of_link(self) -> list[tuple[bytes, bytes]]:
        try:
            names = os.listxattr(self.path, follow_symlinks=False)
            return [(os.fsencode(n), os.getxattr(self.path, n, follow_symlinks=False)) for n in sorted(names)]
        except OSError:
            return []

    def next_data(self, offset: int) -> int:
        try:
            return os.lseek(self._file(), offset, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno == errno.ENXIO:
                return -1
            raise

    def next_hole(self, offset: int) -> int:
        return os.lseek(self._file(), offset, os.SEEK_HOLE)

    # Changing ------------------------------------------------------------------------------------------

    def make(self, name: bytes, mode: int, uid: int, gid: int, device: int = 0, sure: bool = False) -> "Outside":
        directory = self._directory()
        kind = modes.S_IFMT(mode)
        made = Outside(directory, check_name(name), self._status, os.path.join(self.path, name))
        if kind == modes.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=directory)
        elif kind == modes.S_IFREG:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            made._fd = os.open(name, flags, 0o600, dir_fd=directory)
            made._writable = True
        else:
            os.mknod(name, kind | 0o600, device, dir_fd=directory)
        made.kind = kind
        _give(made, uid, gid)
        return made

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> "Outside":
        directory = self._directory()
        os.symlink(target, check_name(name), dir_fd=directory)
        made = Outside(directory, name, self._status, os.path.join(self.path, name))
        made.kind = modes.S_IFLNK
        _give(made, uid, gid)
        return made

    def link(self, name: bytes, node: Node) -> None:
        if not isinstance(node, Outside):
            raise OSError(errno.EXDEV, MESSAGES[errno.EXDEV])
        os.link(node.path, check_name(name), dst_dir_fd=self._directory(), follow_symlinks=False)

    def remove(self, name: bytes, node: Node) -> None:
        if node.kind == modes.S_IFDIR:
            os.rmdir(name, dir_fd=self._directory())
        else:
            os.unlink(name, dir_fd=self._directory())

    def rename(self, name: bytes, directory: Node, new_name: bytes) -> None:
        if not isinstance(directory, Outside):
            raise OSError(errno.EXDEV, MESSAGES[errno.EXDEV])
        os.rename(name, check_name(new_name), src_dir_fd=self._directory(), dst_dir_fd=directory._directory())

    def write(self, offset: int, data: bytes) -> None:
        fd = self._file(write=True)
        done = os.pwrite(fd, data, offset)
        while done < len(data):
            done += os.pwrite(fd, data[done:], offset + done)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._file(write=True), size)

    def set_mode(self, mode: int) -> None:
        if self.kind == modes.S_IFLNK:
            return
        mode &= 0o7777
        if self._foreign and self.kind != modes.S_IFDIR and mode & 0o7000:
            mode &= 0o777
            self.lost_mode = True
        if self._fd >= 0:
            os.fchmod(self._fd, mode)
        elif self.kind in (modes.S_IFDIR, modes.S_IFREG):
            os.fchmod(self._directory() if self.kind == modes.S_IFDIR else self._file(), mode)
        else:
            self._set_special_mode(mode)

    def _set_special_mode(self, mode: int) -> None:
        """Of a FIFO, socket or device, which are not opened.  Raises ELOOP where something else has its name by now."""
        where = os.open(self._name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._at())
        try:
            if modes.S_IFMT(os.fstat(where).st_mode) != self.kind:
                raise OSError(errno.ELOOP, MESSAGES[errno.ELOOP])
            os.chmod(f"/proc/self/fd/{where}", mode)
        finally:
            os.close(where)

    def set_owner(self, uid: int, gid: int) -> None:
        os.chown(self._name, uid, gid, dir_fd=self._at(), follow_symlinks=False)

    def set_times(self, atime: int, mtime: int) -> None:
        if self._fd >= 0:
            os.utime(self._fd, ns=(atime, mtime))
        else:
            os.utime(self._name, ns=(atime, mtime), dir_fd=self._at(), follow_symlinks=False)

    def set_xattr(self, name: bytes, value: bytes) -> None:
        if self.kind == modes.S_IFLNK:
            os.setxattr(self.path, name, value, follow_symlinks=False)
        else:
            os.setxattr(self._directory() if self.kind == modes.S_IFDIR else self._file(), name, value)

    def settle(self, mode: int, atime: int, mtime: int) -> None:
        self.set_mode(mode)
        self.set_times(atime, mtime)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def sync(self) -> None:
        if self.kind == modes.S_IFDIR:
            os.fsync(self._directory())
        elif self.kind == modes.S_IFREG:
            os.fsync(self._file())

    def rest(self) -> None:
        self.close()

    def holds(self, directory: Node) -> bool:
        if not isinstance(directory, Outside):
            return False
        here, there = os.path.realpath(self.path), os.path.realpath(directory.path)
        return os.path.commonpath((here, there)) == here

    # ---------------------------------------------------------------------------------------------------

    def _at(self) -> int | None:
        return self._above if self._above >= 0 else None

    def _directory(self) -> int:
        """This directory, open.  Raises ENOTDIR, and ELOOP where a link has taken its place."""
        if self._fd < 0:
            self._fd = os.open(self._name, DIRECTORY, dir_fd=self._at())
        return self._fd

    def _file(self, write: bool = False) -> int:
        if self._fd >= 0 and write and not self._writable:
            self.close()
        if self._fd < 0:
            # A FIFO or a device would block or do something: only regular files are opened.
            if self.kind != modes.S_IFREG:
                number = errno.EISDIR if self.kind == modes.S_IFDIR else errno.EINVAL
                raise OSError(number, MESSAGES[number])
            flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            self._fd = os.open(self._name, flags, dir_fd=self._at())
            self._writable = write
        return self._fd


def _give(made: Outside, uid: int, gid: int) -> None:
    """Set the owner where we may; else it stays ours, as with cp -a, and gets no set-user-ID bits (GNU cp does so, too)."""
    user = os.geteuid()
    made._foreign = user not in (0, uid)
    if made._foreign:
        return
    try:
        made.set_owner(uid, gid)
    except OSError as problem:
        if problem.errno not in (
            errno.EPERM,
            errno.EINVAL,
        ):  # a group that is not ours, one that a user namespace lacks
            raise
        made._foreign = True


def outside(path: bytes, follow: bool = True) -> Outside:
    """The host's file at `path`; a link at its end is followed, or not.  Raises OSError."""
    if follow and os.path.islink(path):
        path = os.path.realpath(path)
    return Outside(-1, path, os.stat(path, follow_symlinks=False), path)
