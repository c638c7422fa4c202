"""A directory of the host's for hostfs, which no path and no symbolic link leads out of.

The directory of a path's last name is opened beneath the root by openat2, which refuses links and "..", or on kernels without it
name by name with O_NOFOLLOW; the last name is then used relative to that.  So whatever somebody on the host puts in the place of a
directory meanwhile, the call ends on what was beneath the root or fails with ELOOP, ENOTDIR or EXDEV.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar, final

from ...hyper.calls import Hypercalls
from ...hyper.hostdir import HostDirectory, HostFile, HostSpace, HostStat

SYS_OPENAT2: Final = 437
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
"""Linux <linux/openat2.h>."""
_RETRIES: Final = 100
"""How often openat2 is asked again that found a rename in its way (EAGAIN)."""
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL: Final = stat.S_ISUID | stat.S_ISGID
"""What no file of the host's gets from a kernel: its users' programs would run with rights of ours."""

Result = TypeVar("Result")


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@final
class PosixFile(HostFile):
    """A regular file of the host's."""

    def __init__(self, hyper: Hypercalls, fd: int, writable: bool) -> None:
        self.writable = writable
        self._hyper = hyper
        self._fd = fd

    def stat(self) -> HostStat:
        return _converted(os.fstat(self._descriptor()))

    def read(self, offset: int, size: int) -> bytes:
        fd = self._descriptor()
        data = os.pread(fd, size, offset)
        while data and len(data) < size:
            more = os.pread(fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def write(self, offset: int, data: bytes) -> int:
        fd = self._descriptor()
        done = os.pwrite(fd, data, offset)
        while done < len(data):
            try:
                done += os.pwrite(fd, memoryview(data)[done:], offset + done)
            except OSError:
                break
        return done

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor(), size)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.fallocate(self._descriptor(), mode, ctypes.c_longlong(offset), ctypes.c_longlong(length)):
            raise _failure(ctypes.get_errno())

    def seek(self, offset: int, hole: bool) -> int:
        return os.lseek(self._descriptor(), offset, os.SEEK_HOLE if hole else os.SEEK_DATA)

    def sync(self, data_only: bool) -> None:
        (os.fdatasync if data_only else os.fsync)(self._descriptor())

    def chmod(self, mode: int) -> None:
        os.fchmod(self._descriptor(), mode & 0o7777 & ~_SPECIAL)

    def chown(self, uid: int, gid: int) -> None:
        os.fchown(self._descriptor(), uid, gid)

    def utimens(self, atime: int, mtime: int) -> None:
        os.utime(self._descriptor(), ns=(atime, mtime))

    def getxattr(self, name: bytes) -> bytes:
        return os.getxattr(self._descriptor(), name)

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        os.setxattr(self._descriptor(), name, value, flags)

    def listxattr(self) -> list[bytes]:
        return [os.fsencode(name) for name in os.listxattr(self._descriptor())]

    def removexattr(self, name: bytes) -> None:
        os.removexattr(self._descriptor(), name)

    def close(self) -> None:
        self._hyper.assert_unscheduled("closing a host file")
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _descriptor(self) -> int:
        self._hyper.assert_unscheduled("a call on a host file")
        return self._fd


@final
class PosixDirectory(HostDirectory):
    """A directory of the host's."""

    def __init__(
        self, hyper: Hypercalls, path: str, read_only: bool = False, openat2: bool = True, single: bool = False
    ) -> None:
        """Open `path`; without `openat2` paths are walked name by name, as on a kernel that lacks it.  `single`: it is a regular file,
        and has the path b"".  Raises OSError."""
        hyper.assert_unscheduled(f"opening {path}")
        self.read_only = read_only
        self.path = path
        self._hyper = hyper
        self._root = os.open(path, os.O_PATH | (0 if single else os.O_DIRECTORY) | os.O_CLOEXEC)
        if single and not stat.S_ISREG(os.fstat(self._root).st_mode):
            os.close(self._root)
            raise OSError(errno.EINVAL, "it is no regular file", path)
        self._single = single
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._openat2 = openat2 and self._has_openat2()

    def close(self) -> None:
        self._hyper.assert_unscheduled("closing a host directory")
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    # Asking --------------------------------------------------------------------------------------------

    def stat(self, path: bytes) -> HostStat:
        with self._parent(path) as (directory, name):
            if not name:
                return _converted(os.fstat(directory))
            return _converted(os.stat(name, dir_fd=directory, follow_symlinks=False))

    def names(self, path: bytes, limit: int) -> list[tuple[bytes, int, int, int]]:
        with self._opened(path) as (_, entry):
            fd = os.open(b"/proc/self/fd/%d" % entry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            device = os.fstat(fd).st_dev
            found: list[tuple[bytes, int, int, int]] = []
            with os.scandir(fd) as entries:
                for one in entries:
                    if len(found) >= limit:
                        raise _failure(errno.EOVERFLOW)
                    found.append((os.fsencode(one.name), device, one.inode(), _kind(one)))
            return found
        finally:
            os.close(fd)

    def readlink(self, path: bytes) -> bytes:
        with self._parent(path) as (directory, name):
            return os.readlink(name, dir_fd=directory)

    def getxattr(self, path: bytes, name: bytes) -> bytes:
        with self._opened(path) as (_, entry):
            return os.getxattr(b"/proc/self/fd/%d" % entry, name)

    def listxattr(self, path: bytes) -> list[bytes]:
        with self._opened(path) as (_, entry):
            return [os.fsencode(name) for name in os.listxattr(b"/proc/self/fd/%d" % entry)]

    def space(self) -> HostSpace:
        self._hyper.assert_unscheduled("a call on a host directory")
        got = os.fstatvfs(self._root)
        return HostSpace(got.f_frsize, got.f_blocks, got.f_bfree, got.f_bavail, got.f_files, got.f_ffree, got.f_namemax)

    # Opening -------------------------------------------------------------------------------------------

    def open(self, path: bytes, writable: bool) -> HostFile:
        if writable:
            self._check_writable()
        with self._opened(path) as (_, entry):
            # What the path led to is looked at before it is opened, which can make a device do things.
            mode = os.fstat(entry).st_mode
            if not stat.S_ISREG(mode) and (writable or not stat.S_ISDIR(mode)):
                raise _failure(errno.EINVAL)
            flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
            return PosixFile(self._hyper, os.open(b"/proc/self/fd/%d" % entry, flags), writable)

    # Changing ------------------------------------------------------------------------------------------

    def create(self, path: bytes, mode: int) -> None:
        with self._changing(path) as (directory, name):
            kind = stat.S_IFMT(mode)
            if kind == stat.S_IFREG:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(name, flags, 0o600, dir_fd=directory)
                try:
                    os.fchmod(fd, mode & 0o7777 & ~_SPECIAL)
                finally:
                    os.close(fd)
            elif kind in (stat.S_IFIFO, stat.S_IFSOCK):
                os.mknod(name, kind | 0o600, dir_fd=directory)
                _by_entry(directory, name, lambda entry: os.chmod(entry, mode & 0o7777 & ~_SPECIAL))
            else:
                raise _failure(errno.EPERM)

    def mkdir(self, path: bytes, mode: int) -> None:
        with self._changing(path) as (directory, name):
            os.mkdir(name, 0o700, dir_fd=directory)
            _by_entry(directory, name, lambda entry: os.chmod(entry, mode & 0o7777 & ~_SPECIAL))

    def symlink(self, path: bytes, target: bytes) -> None:
        with self._changing(path) as (directory, name):
            os.symlink(target, name, dir_fd=directory)

    def link(self, path: bytes, new_path: bytes) -> None:
        with self._changing(path) as (directory, name), self._changing(new_path) as (other, new_name):
            os.link(name, new_name, src_dir_fd=directory, dst_dir_fd=other, follow_symlinks=False)

    def remove(self, path: bytes, directory: bool) -> None:
        with self._changing(path) as (parent, name):
            (os.rmdir if directory else os.unlink)(name, dir_fd=parent)

    def rename(self, path: bytes, new_path: bytes, flags: int) -> None:
        with self._changing(path) as (directory, name), self._changing(new_path) as (other, new_name):
            if not flags:
                os.rename(name, new_name, src_dir_fd=directory, dst_dir_fd=other)
            elif self._libc.renameat2(directory, name, other, new_name, flags):
                raise _failure(ctypes.get_errno())

    def chmod(self, path: bytes, mode: int) -> None:
        self._check_writable()
        with self._opened(path) as (_, entry):
            os.chmod(b"/proc/self/fd/%d" % entry, mode & 0o7777 & ~_SPECIAL)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        with self._changing(path) as (directory, name):
            if name:
                os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
            else:
                os.chown(b"/proc/self/fd/%d" % directory, uid, gid)

    def utimens(self, path: bytes, atime: int, mtime: int) -> None:
        with self._changing(path) as (directory, name):
            if name:
                os.utime(name, ns=(atime, mtime), dir_fd=directory, follow_symlinks=False)
            else:
                os.utime(b"/proc/self/fd/%d" % directory, ns=(atime, mtime))

    def setxattr(self, path: bytes, name: bytes, value: bytes, flags: int) -> None:
        self._check_writable()
        with self._opened(path) as (_, entry):
            os.setxattr(b"/proc/self/fd/%d" % entry, name, value, flags)

    def removexattr(self, path: bytes, name: bytes) -> None:
        self._check_writable()
        with self._opened(path) as (_, entry):
            os.removexattr(b"/proc/self/fd/%d" % entry, name)

    def sync(self) -> None:
        self._hyper.assert_unscheduled("a call on a host directory")
        only = 0 if self._single else os.O_DIRECTORY
        fd = os.open(b"/proc/self/fd/%d" % self._root, os.O_RDONLY | only | os.O_CLOEXEC)
        try:
            if self._libc.syncfs(fd):
                raise _failure(ctypes.get_errno())
        finally:
            os.close(fd)

    # Paths ---------------------------------------------------------------------------------------------

    @contextmanager
    def _parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """The directory that a path's last name is in, open, and that name; the root and b"" for the path b""."""
        self._hyper.assert_unscheduled("a call on a host directory")
        above, _, name = path.rpartition(b"/")
        if path and not all(part not in (b"", b".", b"..") and b"\0" not in part for part in path.split(b"/")):
            raise _failure(errno.EINVAL)
        if not above:
            yield self._root, name
            return
        fd = self._open_directory(above)
        try:
            yield fd, name
        finally:
            os.close(fd)

    @contextmanager
    def _opened(self, path: bytes) -> Iterator[tuple[int, int]]:
        """The directory of a path, and the file itself as O_PATH opens it; not a symbolic link (ELOOP), as what is done to it
        goes through /proc and would follow it."""
        with self._parent(path) as (directory, name):
            if not name:
                yield directory, directory
                return
            entry = os.open(name, _FILE, dir_fd=directory)
            try:
                if stat.S_ISLNK(os.fstat(entry).st_mode):
                    raise _failure(errno.ELOOP)
                yield directory, entry
            finally:
                os.close(entry)

    @contextmanager
    def _changing(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """As `_parent`, for a change."""
        self._check_writable()
        with self._parent(path) as found:
            yield found

    def _check_writable(self) -> None:
        if self.read_only:
            raise _failure(errno.EROFS)

    def _open_directory(self, path: bytes) -> int:
        if self._openat2:
            return self._open_beneath(path)
        fd = self._root
        try:
            for name in path.split(b"/"):
                following = os.open(name, _DIRECTORY, dir_fd=fd)
                if fd != self._root:
                    os.close(fd)
                fd = following
        except BaseException:
            if fd != self._root:
                os.close(fd)
            raise
        return fd

    def _open_beneath(self, path: bytes) -> int:
        how = _OpenHow(_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
        number = 0
        for _ in range(_RETRIES):
            fd = self._libc.syscall(SYS_OPENAT2, self._root, path, ctypes.byref(how), ctypes.sizeof(how))
            if fd >= 0:
                return int(fd)
            number = ctypes.get_errno()
            if number != errno.EAGAIN:
                break
        raise _failure(number)

    def _has_openat2(self) -> bool:
        try:
            os.close(self._open_beneath(b"."))
        except OSError:
            return False
        return True


def _by_entry(directory: int, name: bytes, call: Callable[[bytes], Result]) -> Result:
    """Call with a path to the very file that `name` is now, which nobody can exchange for another."""
    entry = os.open(name, _FILE, dir_fd=directory)
    try:
        if stat.S_ISLNK(os.fstat(entry).st_mode):
            raise _failure(errno.ELOOP)
        return call(b"/proc/self/fd/%d" % entry)
    finally:
        os.close(entry)


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _converted(got: os.stat_result) -> HostStat:
    return HostStat(
        got.st_dev,
        got.st_ino,
        got.st_mode,
        got.st_nlink,
        got.st_uid,
        got.st_gid,
        got.st_rdev,
        got.st_size,
        got.st_blocks,
        got.st_atime_ns,
        got.st_mtime_ns,
        got.st_ctime_ns,
    )


def _kind(entry: "os.DirEntry[str]") -> int:
    """The kind in an entry of a directory, without following links; 0 where the file has gone meanwhile."""
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    try:
        return stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return 0
