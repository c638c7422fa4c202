"""System calls that open files and read directories: open, openat, creat, readdir."""

from typing import Final

from mypy_extensions import mypyc_attr

from ..kern.abi.errno import EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, ENXIO, EPERM, error
from ..kern.abi.fcntl import (
    AT_FDCWD,
    FS_IMMUTABLE_FL,
    O_ACCMODE,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    R_OK,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFREG,
    S_IFSOCK,
    W_OK,
    X_OK,
)
from ..kern.abi.inotify import IN_MODIFY, IN_OPEN
from ..kern.process import Credentials, Process
from ..kern.wait import Blocked
from .access import FIXED, check_access
from .callbase import CallBase, Path
from .fifo import FifoFile, FifoWait
from .file import DirectoryFile, PathFile, VnodeFile, truncate
from .namei import FOLLOW, NO_FOLLOW, NORMAL, Walk
from .special import SpecialFile
from .stat import DirectoryEntry
from .vfs import encode
from .vnode import Vnode

TMPFILE: Final = O_TMPFILE & ~O_DIRECTORY
"""The bit of O_TMPFILE that is its own."""


@mypyc_attr(allow_interpreted_subclasses=True)
class OpenCalls(CallBase):
    """Open files and read directories.  Reading, writing and closing is in kern/calls.py."""

    def open(self, process: Process, path: Path, flags: int, mode: int = 0o666, dirfd: int = AT_FDCWD) -> int | Blocked:
        """Open a file, with O_CREAT create it, and return its descriptor (POSIX open, openat).

        Flags: O_RDONLY, O_WRONLY, O_RDWR; O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC,
        O_NONBLOCK, O_SYNC, O_DSYNC, O_PATH; O_TMPFILE makes a file without a name in the directory `path`, which goes with its
        last descriptor unless `link` gives it a name (with O_EXCL: it can't).  Blocks on a FIFO until its other end is open.
        Raises EEXIST, EISDIR, ELOOP, EMFILE, ENOSPC, ENXIO, EINVAL; ENOTSUP where the file system has no O_TMPFILE.
        """
        name = encode(path)
        if flags & O_PATH:
            flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        if flags & O_CREAT and flags & O_DIRECTORY:
            raise error(EINVAL)
        if flags & TMPFILE and (flags & O_TMPFILE != O_TMPFILE or flags & O_ACCMODE == O_RDONLY):
            raise error(EINVAL)
        files = process.files
        files.check_room()
        walk = self.walk(process, name, dirfd)
        try:
            file = self._open(walk, process, name, flags, mode)
            if self.vfs.events.instances and not flags & O_PATH:
                self._introduce(file, walk)
        finally:
            walk.done()
        self.vfs.counters.opened += 1
        # The file is held over `install`, so that it is closed again if the number that was free no longer is.
        file.hold()
        try:
            if isinstance(file, FifoFile) and file.waits():
                return FifoWait(self.hyper, process, file, flags & O_CLOEXEC != 0)
            return files.install(file, flags & O_CLOEXEC != 0)
        finally:
            file.release(self.hyper.now)

    def creat(self, process: Process, path: Path, mode: int = 0o666) -> int | Blocked:
        """As open with O_WRONLY | O_CREAT | O_TRUNC (POSIX creat)."""
        return self.open(process, path, O_WRONLY | O_CREAT | O_TRUNC, mode)

    def readdir(self, process: Process, fd: int, count: int = 1024) -> list[DirectoryEntry]:
        """Up to `count` further entries of an open directory, "." and ".." first; [] at the end (POSIX
        posix_getdents).  lseek to a `d_off` goes on behind that entry, to 0 starts again.

        Raises EBADF, ENOTDIR, EINVAL, and ENOENT where the directory has been removed.
        """
        file = self.vnode_file(process, fd)
        file.check_readable()
        if not isinstance(file, DirectoryFile):
            raise error(ENOTDIR)
        if count <= 0:
            raise error(EINVAL)
        return file.entries(min(count, self.vfs.settings.max_directory_read), self.hyper.now)

    def _open(self, walk: Walk, process: Process, name: bytes, flags: int, mode: int) -> VnodeFile:
        credentials = process.credentials
        if flags & O_PATH:
            vnode = walk.get(name, NO_FOLLOW if flags & O_NOFOLLOW else FOLLOW)
            if flags & O_DIRECTORY and vnode.kind != S_IFDIR:
                raise error(ENOTDIR)
            return PathFile(vnode, flags & (O_PATH | O_CLOEXEC), credentials)
        if flags & TMPFILE:
            return self._nameless(walk, process, name, flags, mode)
        create = flags & O_CREAT != 0
        exclusive = create and flags & O_EXCL != 0
        walk.creating = create
        found = walk.find(name, NO_FOLLOW if exclusive or flags & O_NOFOLLOW else FOLLOW)
        if found is None:
            if not create:
                raise error(ENOENT)
            directory = self.may_add(walk.directory, credentials)
            vnode = self.create(directory, walk.name, process, S_IFREG | mode & 0o7777)
            return VnodeFile(vnode, _kept(flags), credentials)
        if exclusive:
            raise error(EEXIST)
        _check_kind(found, flags)
        _check_permission(found, flags, credentials)
        if flags & O_TRUNC and found.kind == S_IFREG:
            truncate(found, 0, credentials.uid == 0)
            if self.vfs.events.instances:
                file = self._file(found, flags, credentials)
                self._introduce(file, walk)
                file.tell(IN_MODIFY)
                return file
        return self._file(found, flags, credentials)

    def _nameless(self, walk: Walk, process: Process, path: bytes, flags: int, mode: int) -> VnodeFile:
        directory = walk.get(path, FOLLOW)
        if directory.kind != S_IFDIR:
            raise error(ENOTDIR)
        directory.mount.check_writable()
        check_access(directory, process.credentials, W_OK | X_OK)
        vnode = self.create(directory, b"", process, S_IFREG | mode & 0o7777)
        vnode.linkable = not flags & O_EXCL
        return VnodeFile(vnode, _kept(flags), process.credentials)

    def _file(self, vnode: Vnode, flags: int, credentials: Credentials) -> VnodeFile:
        kind = vnode.kind
        if kind == S_IFREG:
            return VnodeFile(vnode, _kept(flags), credentials)
        if kind == S_IFDIR:
            return DirectoryFile(vnode, _kept(flags), credentials)
        if kind == S_IFCHR or kind == S_IFBLK:
            device = self.vfs.devices.find(kind, vnode.device).open(flags)
            return SpecialFile(vnode, _kept(flags), credentials, device)
        if kind == S_IFIFO:
            return FifoFile(vnode.underlying(), _kept(flags), credentials, self.vfs.kernel.settings.pipe_size)
        assert kind == S_IFSOCK
        raise error(ENXIO)

    def _introduce(self, file: VnodeFile, walk: Walk) -> None:
        """Have a new open file tell what is done through it, beginning with that it was opened."""
        if file.events is None:
            file.events = self.vfs.events
            if walk.last == NORMAL and file.vnode is not file.vnode.mount.root:
                file.directory = walk.directory
                file.name = walk.name
            file.tell(IN_OPEN)


def _kept(flags: int) -> int:
    """The flags that stay with the open file."""
    return flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC | O_NOFOLLOW)


def _check_kind(vnode: Vnode, flags: int) -> None:
    kind = vnode.kind
    if kind == S_IFREG:
        if flags & O_DIRECTORY:
            raise error(ENOTDIR)
    elif kind == S_IFDIR:
        if flags & (O_CREAT | O_TRUNC) or flags & O_ACCMODE != O_RDONLY:
            raise error(EISDIR)
    elif flags & O_DIRECTORY:
        raise error(ENOTDIR)
    elif kind == S_IFLNK:
        raise error(ELOOP)
    elif kind in (S_IFCHR, S_IFBLK) and not vnode.mount.devices:
        raise error(EACCES)


def _check_permission(vnode: Vnode, flags: int, credentials: Credentials) -> None:
    access = flags & O_ACCMODE
    wanted = W_OK if access == O_WRONLY else R_OK if access == O_RDONLY else R_OK | W_OK
    if flags & O_TRUNC:
        wanted |= W_OK
    if wanted & W_OK and vnode.kind == S_IFREG:
        vnode.mount.check_writable()
    if vnode.flags & FIXED and wanted & W_OK:
        # What may only grow is written at its end.
        if vnode.flags & FS_IMMUTABLE_FL or not flags & O_APPEND or flags & O_TRUNC:
            raise error(EPERM)
    check_access(vnode, credentials, wanted)
