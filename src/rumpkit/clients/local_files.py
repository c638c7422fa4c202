"""The local client's calls over paths and file systems, which the vfs faction answers; the rest is in `local.py`.

Paths are text (lone surrogates stand for bytes that are not UTF-8) or bytes; those that are not absolute start at `dirfd`, an
open directory, or at the working directory (AT_FDCWD).  Every call raises what POSIX lists for it: ENOENT, ENOTDIR, EACCES,
ELOOP and ENAMETOOLONG for paths that don't lead anywhere, EROFS and ENOSPC for changes; docstrings name the others.
ENOSYS where the kernel has no files.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

from mypy_extensions import mypyc_attr

from ..kern.abi.errno import ENOSYS, error
from ..kern.abi.fcntl import AT_FDCWD, F_OK, O_RDONLY, SEEK_SET, UTIME_NOW
from ..kern.kernel import RumpKernel
from ..kern.process import Process
from .gate import Gate

if TYPE_CHECKING:
    from ..vfs.calls import VfsCalls
    from ..vfs.locks import FileLock
    from ..vfs.stat import DirectoryEntry, Stat, StatVfs
    from ..vfs.types import OptionValue

Path: TypeAlias = str | bytes


@mypyc_attr(allow_interpreted_subclasses=True)
class LocalFiles(Gate):
    """The system calls over paths that a process can make."""

    def __init__(self, kernel: RumpKernel, process: Process) -> None:
        super().__init__(kernel, process)
        self._vfs: VfsCalls | None = cast("VfsCalls | None", kernel.service("VfsCalls"))

    @property
    def vfs_calls(self) -> "VfsCalls":
        """The vfs faction's calls.  Raises ENOSYS where the kernel has no files."""
        vfs = self._vfs
        if vfs is None:
            raise error(ENOSYS)
        return vfs

    # Opening ------------------------------------------------------------------------------------------

    def open(self, path: Path, flags: int = O_RDONLY, mode: int = 0o666, dirfd: int = AT_FDCWD) -> int:
        """Open a file, with O_CREAT create it (permissions `mode` less the mask); its number (POSIX open, openat).
        Flags O_RDONLY, O_WRONLY, O_RDWR; O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC,
        O_NONBLOCK, O_SYNC, O_DSYNC, O_PATH, O_TMPFILE.  Raises EEXIST, EISDIR, EMFILE, ENXIO, EINVAL."""
        return cast(int, self.run("open", self.vfs_calls.open, path, flags, mode, dirfd))

    def creat(self, path: Path, mode: int = 0o666) -> int:
        """As `open` with O_WRONLY | O_CREAT | O_TRUNC (POSIX creat)."""
        return cast(int, self.run("creat", self.vfs_calls.creat, path, mode))

    def readdir(self, fd: int, count: int = 1024) -> "list[DirectoryEntry]":
        """Up to `count` further entries of an open directory, "." and ".." first; [] at the end (POSIX
        posix_getdents).  `lseek` to a `d_off` goes on behind that entry, to 0 starts again.  Raises EINVAL."""
        return cast("list[DirectoryEntry]", self.run("readdir", self.vfs_calls.readdir, fd, count))

    # Names --------------------------------------------------------------------------------------------

    def mkdir(self, path: Path, mode: int = 0o777, dirfd: int = AT_FDCWD) -> None:
        """Make a directory with permissions `mode` less the mask (POSIX mkdir, mkdirat).  Raises EEXIST, EMLINK."""
        self.run("mkdir", self.vfs_calls.mkdir, path, mode, dirfd)

    def mknod(self, path: Path, mode: int, device: int = 0, dirfd: int = AT_FDCWD) -> None:
        """Make a regular file, FIFO, socket name or (root) special file, as S_IF* in `mode` says (POSIX mknod).
        Raises EEXIST, EINVAL, EPERM."""
        self.run("mknod", self.vfs_calls.mknod, path, mode, device, dirfd)

    def mkfifo(self, path: Path, mode: int = 0o666, dirfd: int = AT_FDCWD) -> None:
        """Make a FIFO (POSIX mkfifo).  Raises EEXIST."""
        self.run("mkfifo", self.vfs_calls.mkfifo, path, mode, dirfd)

    def symlink(self, target: Path, path: Path, dirfd: int = AT_FDCWD) -> None:
        """Make a symbolic link to `target`, which need not exist (POSIX symlink, symlinkat).  Raises EEXIST."""
        self.run("symlink", self.vfs_calls.symlink, target, path, dirfd)

    def link(
        self, path: Path, new_path: Path, flags: int = 0, dirfd: int = AT_FDCWD, new_dirfd: int = AT_FDCWD
    ) -> None:
        """Give a file a further name (POSIX link, linkat).  A symbolic link at the end is linked itself, unless `flags` has
        AT_SYMLINK_FOLLOW.  Raises EEXIST, EMLINK, EPERM for directories, EXDEV."""
        self.run("link", self.vfs_calls.link, path, new_path, flags, dirfd, new_dirfd)

    def unlink(self, path: Path, flags: int = 0, dirfd: int = AT_FDCWD) -> None:
        """Remove a file's name, or with AT_REMOVEDIR a directory; the file goes with its last name and last descriptor
        (POSIX unlink, unlinkat).  Raises EISDIR, EPERM in a sticky directory, EBUSY."""
        self.run("unlink", self.vfs_calls.unlink, path, flags, dirfd)

    def rmdir(self, path: Path, dirfd: int = AT_FDCWD) -> None:
        """Remove an empty directory (POSIX rmdir).  Raises ENOTEMPTY, EBUSY for a mount point, EINVAL."""
        self.run("rmdir", self.vfs_calls.rmdir, path, dirfd)

    def readlink(self, path: Path, dirfd: int = AT_FDCWD) -> str:
        """What a symbolic link points to (POSIX readlink, readlinkat).  Raises EINVAL where it is none."""
        return cast(str, self.run("readlink", self.vfs_calls.readlink, path, dirfd))

    def rename(
        self, path: Path, new_path: Path, flags: int = 0, dirfd: int = AT_FDCWD, new_dirfd: int = AT_FDCWD
    ) -> None:
        """Move a name, in one step over what had the new name (POSIX rename, renameat; Linux renameat2: RENAME_NOREPLACE,
        RENAME_EXCHANGE).  Raises EISDIR, ENOTEMPTY, EEXIST, EXDEV, EBUSY, EINVAL for a directory into itself."""
        self.run("rename", self.vfs_calls.rename, path, new_path, flags, dirfd, new_dirfd)

    # Attributes ---------------------------------------------------------------------------------------

    def stat(self, path: Path, flags: int = 0, dirfd: int = AT_FDCWD) -> "Stat":
        """A file's attributes (POSIX stat, fstatat): `st_mode`, `st_size` in bytes, `st_mtime_ns` and so on.  Flags
        AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH."""
        return cast("Stat", self.run("stat", self.vfs_calls.stat, path, flags, dirfd))

    def lstat(self, path: Path, dirfd: int = AT_FDCWD) -> "Stat":
        """As `stat`, of a symbolic link itself (POSIX lstat)."""
        return cast("Stat", self.run("lstat", self.vfs_calls.lstat, path, dirfd))

    def fstat(self, fd: int) -> "Stat":
        """An open file's attributes (POSIX fstat).  Pipes and sockets have a kind and little else."""
        return cast("Stat", self.run("fstat", self.vfs_calls.fstat, fd))

    def access(self, path: Path, mode: int = F_OK, flags: int = 0, dirfd: int = AT_FDCWD) -> None:
        """Raise EACCES or EROFS unless the process may do all of `mode`: R_OK, W_OK, X_OK; F_OK asks only whether the file
        exists (POSIX access, faccessat)."""
        self.run("access", self.vfs_calls.access, path, mode, flags, dirfd)

    def statvfs(self, path: Path) -> "StatVfs":
        """Size and use of the file system that `path` is on (POSIX statvfs)."""
        return cast("StatVfs", self.run("statvfs", self.vfs_calls.statvfs, path))

    def fstatvfs(self, fd: int) -> "StatVfs":
        """Size and use of the file system that an open file is on (POSIX fstatvfs)."""
        return cast("StatVfs", self.run("fstatvfs", self.vfs_calls.fstatvfs, fd))

    def chmod(self, path: Path, mode: int, dirfd: int = AT_FDCWD) -> None:
        """Set a file's permission bits (POSIX chmod, fchmodat).  Raises EPERM unless owner or root."""
        self.run("chmod", self.vfs_calls.chmod, path, mode, dirfd)

    def fchmod(self, fd: int, mode: int) -> None:
        """As `chmod`, of an open file (POSIX fchmod)."""
        self.run("fchmod", self.vfs_calls.fchmod, fd, mode)

    def chown(self, path: Path, uid: int, gid: int, flags: int = 0, dirfd: int = AT_FDCWD) -> None:
        """Set a file's owner and group, -1 leaves one as it is (POSIX chown, fchownat).  Others than root may only give their
        own files to a group they are in, else EPERM."""
        self.run("chown", self.vfs_calls.chown, path, uid, gid, flags, dirfd)

    def lchown(self, path: Path, uid: int, gid: int) -> None:
        """As `chown`, of a symbolic link itself (POSIX lchown)."""
        self.run("lchown", self.vfs_calls.lchown, path, uid, gid)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """As `chown`, of an open file (POSIX fchown)."""
        self.run("fchown", self.vfs_calls.fchown, fd, uid, gid)

    def utimens(
        self, path: Path, atime_ns: int = UTIME_NOW, mtime_ns: int = UTIME_NOW, flags: int = 0, dirfd: int = AT_FDCWD
    ) -> None:
        """Set the times of access and modification, in nanoseconds since 1970, UTIME_NOW or UTIME_OMIT (POSIX utimensat).
        Raises EPERM unless owner or root; for the present time write permission is enough."""
        self.run("utimens", self.vfs_calls.utimens, path, atime_ns, mtime_ns, flags, dirfd)

    def futimens(self, fd: int, atime_ns: int = UTIME_NOW, mtime_ns: int = UTIME_NOW) -> None:
        """As `utimens`, of an open file (POSIX futimens)."""
        self.run("futimens", self.vfs_calls.futimens, fd, atime_ns, mtime_ns)

    def truncate(self, path: Path, size: int) -> None:
        """Make a regular file `size` bytes long, with a hole where it grows (POSIX truncate).  Raises EISDIR, EINVAL, EFBIG."""
        self.run("truncate", self.vfs_calls.truncate, path, size)

    def ftruncate(self, fd: int, size: int) -> None:
        """As `truncate`, of an open file (POSIX ftruncate)."""
        self.run("ftruncate", self.vfs_calls.ftruncate, fd, size)

    def fsync(self, fd: int) -> None:
        """Return once a file's data and attributes are durable (POSIX fsync).  Raises EIO, EINVAL."""
        self.run("fsync", self.vfs_calls.fsync, fd)

    def fdatasync(self, fd: int) -> None:
        """Return once a file's data is durable (POSIX fdatasync).  Raises EIO, EINVAL."""
        self.run("fdatasync", self.vfs_calls.fdatasync, fd)

    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        """Give a range of an open file storage or, with FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, take it away; with
        FALLOC_FL_ZERO_RANGE make it zeros (Linux fallocate).  Raises ENOTSUP, EINVAL, ESPIPE, ENODEV, EFBIG."""
        self.run("fallocate", self.vfs_calls.fallocate, fd, mode, offset, length)

    # Extended attributes ------------------------------------------------------------------------------

    def getxattr(self, path: Path, name: Path, flags: int = 0) -> bytes:
        """The value of an extended attribute such as "user.comment"; flag AT_SYMLINK_NOFOLLOW (Linux getxattr).  Raises ENODATA,
        ENOTSUP."""
        return cast(bytes, self.run("getxattr", self.vfs_calls.getxattr, path, name, flags))

    def lgetxattr(self, path: Path, name: Path) -> bytes:
        """As `getxattr`, of a symbolic link itself (Linux lgetxattr)."""
        return cast(bytes, self.run("lgetxattr", self.vfs_calls.lgetxattr, path, name))

    def fgetxattr(self, fd: int, name: Path) -> bytes:
        """As `getxattr`, of an open file (Linux fgetxattr)."""
        return cast(bytes, self.run("fgetxattr", self.vfs_calls.fgetxattr, fd, name))

    def setxattr(self, path: Path, name: Path, value: bytes, flags: int = 0, at_flags: int = 0) -> None:
        """Set an extended attribute: "user.*" on regular files and directories, "trusted.*" and "security.*" for root,
        "system.posix_acl_access" and "system.posix_acl_default"; flags XATTR_CREATE, XATTR_REPLACE (Linux setxattr).
        Raises EEXIST, ENODATA, EPERM, E2BIG, ERANGE, ENOTSUP, EINVAL."""
        self.run("setxattr", self.vfs_calls.setxattr, path, name, value, flags, at_flags)

    def lsetxattr(self, path: Path, name: Path, value: bytes, flags: int = 0) -> None:
        """As `setxattr`, of a symbolic link itself (Linux lsetxattr)."""
        self.run("lsetxattr", self.vfs_calls.lsetxattr, path, name, value, flags)

    def fsetxattr(self, fd: int, name: Path, value: bytes, flags: int = 0) -> None:
        """As `setxattr`, of an open file (Linux fsetxattr)."""
        self.run("fsetxattr", self.vfs_calls.fsetxattr, fd, name, value, flags)

    def listxattr(self, path: Path, flags: int = 0) -> list[str]:
        """The names of a file's extended attributes; those of "trusted." only root sees (Linux listxattr)."""
        return cast("list[str]", self.run("listxattr", self.vfs_calls.listxattr, path, flags))

    def llistxattr(self, path: Path) -> list[str]:
        """As `listxattr`, of a symbolic link itself (Linux llistxattr)."""
        return cast("list[str]", self.run("llistxattr", self.vfs_calls.llistxattr, path))

    def flistxattr(self, fd: int) -> list[str]:
        """As `listxattr`, of an open file (Linux flistxattr)."""
        return cast("list[str]", self.run("flistxattr", self.vfs_calls.flistxattr, fd))

    def removexattr(self, path: Path, name: Path, flags: int = 0) -> None:
        """Remove an extended attribute (Linux removexattr).  Raises ENODATA, EPERM, ENOTSUP."""
        self.run("removexattr", self.vfs_calls.removexattr, path, name, flags)

    def lremovexattr(self, path: Path, name: Path) -> None:
        """As `removexattr`, of a symbolic link itself (Linux lremovexattr)."""
        self.run("lremovexattr", self.vfs_calls.lremovexattr, path, name)

    def fremovexattr(self, fd: int, name: Path) -> None:
        """As `removexattr`, of an open file (Linux fremovexattr)."""
        self.run("fremovexattr", self.vfs_calls.fremovexattr, fd, name)

    # Locks --------------------------------------------------------------------------------------------

    def fcntl_lock(
        self, fd: int, command: int, kind: int, start: int = 0, length: int = 0, whence: int = SEEK_SET
    ) -> "FileLock | None":
        """Lock (`kind` F_RDLCK, F_WRLCK) or unlock (F_UNLCK) bytes of a file, for the process with F_SETLK or, waiting, F_SETLKW, for the
        open file with F_OFD_SETLK, F_OFD_SETLKW; F_GETLK and F_OFD_GETLK give the lock that is in the way (POSIX fcntl).
        Raises EAGAIN, EDEADLK, EINVAL, EOVERFLOW, ENOLCK."""
        return cast(
            "FileLock | None",
            self.run("fcntl_lock", self.vfs_calls.fcntl_lock, fd, command, kind, start, length, whence),
        )

    def flock(self, fd: int, operation: int) -> None:
        """Lock a whole file for an open file: LOCK_SH, LOCK_EX, LOCK_UN; with LOCK_NB without waiting (BSD flock).
        Raises EAGAIN, EINVAL, ENOLCK."""
        self.run("flock", self.vfs_calls.flock, fd, operation)

    # Events -------------------------------------------------------------------------------------------

    def inotify_init1(self, flags: int = 0) -> int:
        """A descriptor that events of files are read from, as struct inotify_event; flags IN_CLOEXEC, IN_NONBLOCK (Linux
        inotify_init1).  Raises EINVAL, EMFILE."""
        return cast(int, self.run("inotify_init1", self.vfs_calls.inotify_init1, flags))

    def inotify_add_watch(self, fd: int, path: Path, mask: int) -> int:
        """Watch a file, or a directory and what is in it, for the IN_* events in `mask`; the watch's number (Linux
        inotify_add_watch).  Raises EINVAL, EEXIST, ENOSPC."""
        return cast(int, self.run("inotify_add_watch", self.vfs_calls.inotify_add_watch, fd, path, mask))

    def inotify_rm_watch(self, fd: int, watch: int) -> None:
        """End a watch, whose last event is IN_IGNORED (Linux inotify_rm_watch).  Raises EINVAL."""
        self.run("inotify_rm_watch", self.vfs_calls.inotify_rm_watch, fd, watch)

    # Where paths start, and file systems --------------------------------------------------------------

    def chdir(self, path: Path) -> None:
        """Change the working directory (POSIX chdir)."""
        self.run("chdir", self.vfs_calls.chdir, path)

    def fchdir(self, fd: int) -> None:
        """Change the working directory to an open one (POSIX fchdir)."""
        self.run("fchdir", self.vfs_calls.fchdir, fd)

    def chroot(self, path: Path) -> None:
        """Change what "/" means; the working directory stays (BSD chroot).  Raises EPERM unless root."""
        self.run("chroot", self.vfs_calls.chroot, path)

    def getcwd(self) -> str:
        """The working directory's path (POSIX getcwd).  Raises ENOENT where it was removed or is out of reach."""
        return cast(str, self.run("getcwd", self.vfs_calls.getcwd))

    def umask(self, mask: int) -> int:
        """Set the permission bits that new files don't get; the old ones (POSIX umask)."""
        return cast(int, self.run("umask", self.vfs_calls.umask, mask))

    def sync(self) -> None:
        """Return once all file systems are durable (POSIX sync)."""
        self.run("sync", self.vfs_calls.sync)

    def mount(
        self, kind: str, path: Path, options: "Mapping[str, OptionValue] | None" = None, source: str = ""
    ) -> None:
        """Mount a new file system of this kind on a directory (as Linux mount).
        Raises EPERM unless root, ENODEV, EINVAL, EBUSY."""
        self.run("mount", self.vfs_calls.mount, kind, path, options, source)

    def remount(self, path: Path, options: "Mapping[str, OptionValue]") -> None:
        """Change "read_only", "access_times" or "devices" of the file system mounted on `path` (Linux MS_REMOUNT).
        Raises EPERM unless root, EINVAL, EBUSY where a file is open for writing, EROFS."""
        self.run("remount", self.vfs_calls.remount, path, options)

    def unmount(self, path: Path, flags: int = 0) -> None:
        """Take the file system mounted on `path` away; MNT_DETACH: from the tree now, the rest with its last user; MNT_FORCE: now,
        and its open files fail with EIO (BSD unmount, Linux umount2).  Raises EPERM unless root, EINVAL, EBUSY."""
        self.run("unmount", self.vfs_calls.unmount, path, flags)
