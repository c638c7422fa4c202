"""System calls on the attributes of files: stat, access, chmod, chown, utimens, truncate, fsync, statvfs."""

from typing import Final

from mypy_extensions import mypyc_attr

from ..kern.abi.errno import EACCES, EINVAL, EISDIR, ENODEV, ENOTSUP, EPERM, EROFS, ESPIPE, error
from ..kern.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    FALLOC_FL_COLLAPSE_RANGE,
    FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_UNSHARE_RANGE,
    FALLOC_FL_ZERO_RANGE,
    O_ACCMODE,
    O_RDONLY,
    R_OK,
    S_IFDIR,
    S_IFIFO,
    S_IFREG,
    S_IFSOCK,
    S_ISGID,
    S_ISUID,
    UTIME_NOW,
    UTIME_OMIT,
    W_OK,
    X_OK,
)
from ..kern.abi.inotify import IN_ACCESS, IN_ATTRIB, IN_MODIFY
from ..kern.file import OpenFile
from ..kern.pipe import PipeReader, PipeWriter
from ..kern.process import Credentials, Process
from ..kern.socket import Socket
from .access import FIXED, check_access, check_changeable, check_owner, may_access, without_suid
from .acl import ACCESS, access_acl
from .callbase import Path
from .file import PathFile, VnodeFile, truncate
from .namecalls import NameCalls
from .namei import FOLLOW, NO_FOLLOW, Walk
from .stat import Stat, StatVfs
from .vfs import encode
from .vnode import Vnode

TIME_MAX: Final = 1 << 62
FALLOCATE_MODES: Final = (
    0,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_ZERO_RANGE,
    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
)
OTHER_MODES: Final = (
    FALLOC_FL_COLLAPSE_RANGE,
    FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_UNSHARE_RANGE,
    FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_KEEP_SIZE,
)
"""What Linux has for some file systems, and none here."""


@mypyc_attr(allow_interpreted_subclasses=True)
class AttributeCalls(NameCalls):
    """What files are like.

    Calls with `flags` take AT_SYMLINK_NOFOLLOW (a symbolic link at the end is meant itself) and AT_EMPTY_PATH (an empty
    path means `dirfd`).
    """

    # Asking --------------------------------------------------------------------------------------------

    def stat(self, process: Process, path: Path, flags: int = 0, dirfd: int = AT_FDCWD) -> Stat:
        """A file's attributes (POSIX stat, fstatat)."""
        where = encode(path)
        if not where and flags & AT_EMPTY_PATH and dirfd != AT_FDCWD:
            return self.fstat(process, dirfd)
        walk = self.walk(process, where, dirfd)
        try:
            return self.found(walk, where, flags).stat()
        finally:
            walk.done()

    def lstat(self, process: Process, path: Path, dirfd: int = AT_FDCWD) -> Stat:
        """As stat, of a symbolic link itself (POSIX lstat)."""
        return self.stat(process, path, AT_SYMLINK_NOFOLLOW, dirfd)

    def fstat(self, process: Process, fd: int) -> Stat:
        """An open file's attributes (POSIX fstat).  Pipes and sockets have a kind and little else."""
        file = process.files.get(fd)
        if not isinstance(file, VnodeFile):
            return _stat_of_other(file, process.credentials)
        file.enter()
        try:
            return file.vnode.stat()
        finally:
            file.leave(self.hyper.now)

    def access(self, process: Process, path: Path, mode: int, flags: int = 0, dirfd: int = AT_FDCWD) -> None:
        """Raise unless the process may do all of `mode` (R_OK, W_OK, X_OK; F_OK: the file exists) (POSIX access,
        faccessat).  Raises EACCES, EROFS."""
        if mode & ~(R_OK | W_OK | X_OK):
            raise error(EINVAL)
        where = encode(path)
        walk = self.walk(process, where, dirfd)
        try:
            vnode = self.found(walk, where, flags)
            check_access(vnode, process.credentials, mode)
            if mode & W_OK and vnode.kind in (S_IFREG, S_IFDIR) and vnode.mount.read_only:
                raise error(EROFS)
        finally:
            walk.done()

    def statvfs(self, process: Process, path: Path) -> StatVfs:
        """The size and use of the file system that `path` is on (POSIX statvfs)."""
        where = encode(path)
        walk = self.walk(process, where, AT_FDCWD)
        try:
            return walk.get(where, FOLLOW).mount.statvfs()
        finally:
            walk.done()

    def fstatvfs(self, process: Process, fd: int) -> StatVfs:
        """The size and use of the file system that an open file is on (POSIX fstatvfs)."""
        file = self.vnode_file(process, fd)
        file.enter()
        try:
            return file.vnode.mount.statvfs()
        finally:
            file.leave(self.hyper.now)

    # Changing ------------------------------------------------------------------------------------------

    def chmod(self, process: Process, path: Path, mode: int, dirfd: int = AT_FDCWD) -> None:
        """Set a file's permission bits (POSIX chmod, fchmodat).  Raises EPERM unless owner or superuser."""
        where = encode(path)
        walk = self.walk(process, where, dirfd)
        try:
            vnode = walk.get(where, FOLLOW)
            change_mode(vnode, process.credentials, mode, self.hyper.wall())
            self.told(walk, vnode, IN_ATTRIB)
        finally:
            walk.done()

    def fchmod(self, process: Process, fd: int, mode: int) -> None:
        """As chmod, of an open file (POSIX fchmod)."""
        file = self.changeable(process, fd)
        file.enter()
        try:
            change_mode(file.vnode, process.credentials, mode, self.hyper.wall())
            file.tell(IN_ATTRIB)
        finally:
            file.leave(self.hyper.now)

    def chown(self, process: Process, path: Path, uid: int, gid: int, flags: int = 0, dirfd: int = AT_FDCWD) -> None:
        """Set a file's owner and group; -1 leaves one as it is (POSIX chown, fchownat).  Ordinary users may only give
        their own files to a group they are in, else EPERM.  Programs lose set-user-ID and set-group-ID."""
        where = encode(path)
        if not where and flags & AT_EMPTY_PATH and dirfd != AT_FDCWD:
            self.fchown(process, dirfd, uid, gid)
            return
        walk = self.walk(process, where, dirfd)
        try:
            vnode = self.found(walk, where, flags)
            change_owner(vnode, process.credentials, uid, gid, self.hyper.wall())
            self.told(walk, vnode, 0 if uid == gid == -1 else IN_ATTRIB)
        finally:
            walk.done()

    def lchown(self, process: Process, path: Path, uid: int, gid: int) -> None:
        """As chown, of a symbolic link itself (POSIX lchown)."""
        self.chown(process, path, uid, gid, AT_SYMLINK_NOFOLLOW)

    def fchown(self, process: Process, fd: int, uid: int, gid: int) -> None:
        """As chown, of an open file (POSIX fchown)."""
        file = self.changeable(process, fd)
        file.enter()
        try:
            change_owner(file.vnode, process.credentials, uid, gid, self.hyper.wall())
            file.tell(0 if uid == gid == -1 else IN_ATTRIB)
        finally:
            file.leave(self.hyper.now)

    def utimens(
        self,
        process: Process,
        path: Path,
        atime_ns: int = UTIME_NOW,
        mtime_ns: int = UTIME_NOW,
        flags: int = 0,
        dirfd: int = AT_FDCWD,
    ) -> None:
        """Set a file's times of access and modification, in nanoseconds since 1970 (POSIX utimensat).

        UTIME_NOW sets the present time, UTIME_OMIT leaves one as it is.  Raises EPERM unless owner or superuser;
        where both are UTIME_NOW write permission is enough (EACCES).
        """
        where = encode(path)
        if not where and flags & AT_EMPTY_PATH and dirfd != AT_FDCWD:
            self.futimens(process, dirfd, atime_ns, mtime_ns)
            return
        walk = self.walk(process, where, dirfd)
        try:
            vnode = self.found(walk, where, flags)
            change_times(vnode, process.credentials, atime_ns, mtime_ns, self.hyper.wall())
            self.told(walk, vnode, _event_of_times(atime_ns, mtime_ns))
        finally:
            walk.done()

    def futimens(self, process: Process, fd: int, atime_ns: int = UTIME_NOW, mtime_ns: int = UTIME_NOW) -> None:
        """As utimens, of an open file (POSIX futimens)."""
        file = self.changeable(process, fd)
        file.enter()
        try:
            change_times(file.vnode, process.credentials, atime_ns, mtime_ns, self.hyper.wall())
            file.tell(_event_of_times(atime_ns, mtime_ns))
        finally:
            file.leave(self.hyper.now)

    def truncate(self, process: Process, path: Path, size: int) -> None:
        """Make a regular file `size` bytes long (POSIX truncate).  Raises EISDIR, EINVAL, EFBIG."""
        where = encode(path)
        if size < 0:
            raise error(EINVAL)
        walk = self.walk(process, where, AT_FDCWD)
        try:
            vnode = walk.get(where, FOLLOW)
            if vnode.kind != S_IFREG:
                raise error(EISDIR if vnode.kind == S_IFDIR else EINVAL)
            check_access(vnode, process.credentials, W_OK)
            if vnode.flags & FIXED:
                raise error(EPERM)
            truncate(vnode, size, process.credentials.uid == 0)
            self.told(walk, vnode, IN_MODIFY)
        finally:
            walk.done()

    def ftruncate(self, process: Process, fd: int, size: int) -> None:
        """Make an open file `size` bytes long (POSIX ftruncate).  Raises EINVAL unless regular and open for writing."""
        if size < 0:
            raise error(EINVAL)
        file = process.files.get(fd)
        if isinstance(file, PathFile):
            file.check_writable()
        if not isinstance(file, VnodeFile) or file.vnode.kind != S_IFREG or file.flags & O_ACCMODE == O_RDONLY:
            raise error(EINVAL)
        file.truncate(size, self.hyper.now)

    def fallocate(self, process: Process, fd: int, mode: int, offset: int, length: int) -> None:
        """Give a range of an open file storage, or take it away (Linux fallocate, POSIX posix_fallocate).

        Modes: 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE with or without
        FALLOC_FL_KEEP_SIZE.  Raises EBADF unless open for writing, EINVAL, ENOTSUP, ESPIPE, ENODEV, EFBIG, ENOSPC.
        """
        file = process.files.get(fd)
        if isinstance(file, PathFile):
            file.check_writable()
        if offset < 0 or length <= 0:
            raise error(EINVAL)
        if mode not in FALLOCATE_MODES and mode not in OTHER_MODES:
            raise error(ENOTSUP)
        file.check_writable()
        if not isinstance(file, VnodeFile):
            raise error(ESPIPE)
        kind = file.vnode.kind
        if kind != S_IFREG:
            raise error(ESPIPE if kind == S_IFIFO else ENODEV)
        if mode in OTHER_MODES:
            raise error(ENOTSUP)
        file.fallocate(mode, offset, length, self.hyper.now)

    def fsync(self, process: Process, fd: int) -> None:
        """Return once what was written to the file is durable (POSIX fsync).  Raises EINVAL for pipes and sockets."""
        self._sync(process, fd, data_only=False)

    def fdatasync(self, process: Process, fd: int) -> None:
        """As fsync, less what it doesn't take to read the data back (POSIX fdatasync)."""
        self._sync(process, fd, data_only=True)

    # -----------------------------------------------------------------------------------------------------

    def _sync(self, process: Process, fd: int, data_only: bool) -> None:
        file = process.files.get(fd)
        if not isinstance(file, VnodeFile):
            raise error(EINVAL)
        if isinstance(file, PathFile):
            file.check_writable()
        file.sync(data_only, self.hyper.now)

    def walk_at(self, process: Process, where: bytes) -> Walk:
        """A walk from the working directory."""
        return self.walk(process, where, AT_FDCWD)

    def found(self, walk: Walk, where: bytes, flags: int) -> Vnode:
        """The file that a call with AT_* flags means."""
        if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
            raise error(EINVAL)
        if not where and flags & AT_EMPTY_PATH:
            return walk.directory
        return walk.get(where, NO_FOLLOW if flags & AT_SYMLINK_NOFOLLOW else FOLLOW)

    def changeable(self, process: Process, fd: int) -> VnodeFile:
        """An open file whose attributes a call may ask for or change: not one that only stands for a path (EBADF)."""
        file = self.vnode_file(process, fd)
        if isinstance(file, PathFile):
            file.check_writable()
        return file


def change_mode(vnode: Vnode, credentials: Credentials, mode: int, now: int) -> None:
    """Set permission bits, and the access control list's with them.  Raises EPERM unless owner or superuser, EROFS."""
    check_changeable(vnode)
    check_owner(vnode, credentials)
    mode &= 0o7777
    if mode & S_ISGID and credentials.uid != 0 and not credentials.in_group(vnode.gid):
        mode &= ~S_ISGID
    if vnode.acl is not None:
        acl = access_acl(vnode)
        if acl is not None:
            acl = acl.with_mode(mode)
            vnode.setxattr(ACCESS, acl.pack(), 0)
            vnode.acl = acl
    vnode.set_mode(mode, now)
    vnode.mount.watch.changed(vnode, False)


def change_owner(vnode: Vnode, credentials: Credentials, uid: int, gid: int, now: int) -> None:
    """Set owner and group (-1: as it is); programs lose set-user-ID.  Raises EPERM, EROFS."""
    check_changeable(vnode)
    if credentials.uid != 0:
        if uid != -1 and (uid != vnode.uid or credentials.uid != vnode.uid):
            raise error(EPERM)
        if gid != -1 and (credentials.uid != vnode.uid or not (credentials.in_group(gid) or gid == vnode.gid)):
            raise error(EPERM)
    mode = vnode.mode & 0o7777
    if vnode.kind != S_IFDIR and mode & (S_ISUID | S_ISGID):
        mode = without_suid(mode)
    vnode.set_owner(vnode.uid if uid == -1 else uid, vnode.gid if gid == -1 else gid, mode, now)
    vnode.mount.watch.changed(vnode, False)


def change_times(vnode: Vnode, credentials: Credentials, atime: int, mtime: int, now: int) -> None:
    """Set times, or UTIME_NOW or UTIME_OMIT.  Raises EPERM, EACCES, EINVAL, EROFS."""
    if atime == UTIME_OMIT and mtime == UTIME_OMIT:
        return
    for time in (atime, mtime):
        if not -TIME_MAX <= time <= TIME_MAX:
            raise error(EINVAL)
    check_changeable(vnode)
    if credentials.uid not in (0, vnode.uid):
        if atime != UTIME_NOW or mtime != UTIME_NOW:
            raise error(EPERM)
        if not may_access(vnode, credentials, W_OK):
            raise error(EACCES)
    vnode.set_times(_time(atime, vnode.atime, now), _time(mtime, vnode.mtime, now), now)
    vnode.mount.watch.changed(vnode, False)


def _event_of_times(atime: int, mtime: int) -> int:
    """What setting one or both times counts as; 0 for neither."""
    if atime == UTIME_OMIT:
        return 0 if mtime == UTIME_OMIT else IN_MODIFY
    return IN_ACCESS if mtime == UTIME_OMIT else IN_ATTRIB


def _time(wanted: int, old: int, now: int) -> int:
    return now if wanted == UTIME_NOW else old if wanted == UTIME_OMIT else wanted


def _stat_of_other(file: OpenFile, credentials: Credentials) -> Stat:
    mode = 0o600
    if isinstance(file, Socket):
        mode = S_IFSOCK | 0o777
    elif isinstance(file, (PipeReader, PipeWriter)):
        mode = S_IFIFO | 0o600
    return Stat(mode, 0, 0, 1, credentials.uid, credentials.gid, 0, 0, 4096, 0, 0, 0, 0)
