"""The local client's calls over paths, which the vfs faction answers; the rest is in `local.py`.

Paths are text (lone surrogates stand for bytes that are not UTF-8) or bytes; those that are not absolute start at `dirfd`, an
open directory, or at the working directory.  Every call raises what POSIX lists for it: ENOENT, ENOTDIR, EACCES, ELOOP and
ENAMETOOLONG for paths that don't lead anywhere, EROFS and ENOSPC for changes; docstrings name the others.
ENOSYS where the kernel has no files.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, cast

from mypy_extensions import mypyc_attr

from ..kern.abi.fcntl import AT_FDCWD, O_RDONLY
from .gate import Gate

if TYPE_CHECKING:
    from ..vfs.stat import DirectoryEntry, Stat

Path: TypeAlias = str | bytes


@mypyc_attr(allow_interpreted_subclasses=True)
class LocalFiles(Gate):
    """The system calls over paths that a process can make."""

    def run_vfs(self, name: str, *arguments: object) -> object:
        """Make the vfs faction's call `name`.  Raises ENOSYS where the kernel has no files."""
        method: Callable[..., object] = getattr(self.service("VfsCalls"), name)
        return self.run(name, method, *arguments)

    def open(self, path: Path, flags: int = O_RDONLY, mode: int = 0o666, dirfd: int = AT_FDCWD) -> int:
        """Open a file, with O_CREAT create it (permissions `mode` less the mask); its number (POSIX open, openat).
        Flags O_RDONLY, O_WRONLY, O_RDWR; O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC,
        O_NONBLOCK, O_SYNC, O_DSYNC, O_PATH.  Raises EEXIST, EISDIR, EMFILE, ENXIO, EINVAL."""
        return cast(int, self.run_vfs("open", path, flags, mode, dirfd))

    def creat(self, path: Path, mode: int = 0o666) -> int:
        """As `open` with O_WRONLY | O_CREAT | O_TRUNC (POSIX creat)."""
        return cast(int, self.run_vfs("creat", path, mode))

    def readdir(self, fd: int, count: int = 1024) -> "list[DirectoryEntry]":
        """Up to `count` further entries of an open directory, "." and ".." first; [] at the end (POSIX
        posix_getdents).  `lseek` to a `d_off` goes on behind that entry, to 0 starts again.  Raises EINVAL."""
        return cast("list[DirectoryEntry]", self.run_vfs("readdir", fd, count))

    def mkdir(self, path: Path, mode: int = 0o777, dirfd: int = AT_FDCWD) -> None:
        """Create a directory (POSIX mkdir, mkdirat).  Raises EEXIST, EMLINK."""
        self.run_vfs("mkdir", path, mode, dirfd)

    def rmdir(self, path: Path) -> None:
        """Remove an empty directory (POSIX rmdir).  Raises ENOTEMPTY, EBUSY, EINVAL."""
        self.run_vfs("rmdir", path)

    def unlink(self, path: Path) -> None:
        """Remove a name; the file goes with its last name and last open file (POSIX unlink).  Raises EISDIR, EPERM."""
        self.run_vfs("unlink", path)

    def rename(self, old: Path, new: Path) -> None:
        """Move a name, over an existing one if that is of the same kind (POSIX rename).
        Raises EXDEV, EISDIR, ENOTEMPTY, EINVAL, EBUSY."""
        self.run_vfs("rename", old, new)

    def stat(self, path: Path) -> "Stat":
        """What `path` leads to, symbolic links followed (POSIX stat)."""
        return cast("Stat", self.run_vfs("stat", path))

    def lstat(self, path: Path) -> "Stat":
        """What `path` names, a symbolic link itself (POSIX lstat)."""
        return cast("Stat", self.run_vfs("lstat", path))

    def fstat(self, fd: int) -> "Stat":
        """What `fd` is open on (POSIX fstat)."""
        return cast("Stat", self.run_vfs("fstat", fd))

    def ftruncate(self, fd: int, size: int) -> None:
        """Make the file `size` bytes long, with a hole where it grows (POSIX ftruncate).  Raises EINVAL, EFBIG."""
        self.run_vfs("ftruncate", fd, size)

    def chdir(self, path: Path) -> None:
        """Change the working directory (POSIX chdir)."""
        self.run_vfs("chdir", path)

    def getcwd(self) -> str:
        """The working directory's path (POSIX getcwd).  Raises ENOENT if it was removed."""
        return cast(str, self.run_vfs("getcwd"))
