"""The asynchronous client's calls over paths; the rest is in `aio.py`.  Docstrings are those of `local_files.py`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from ..kern.abi.errno import ENOSYS, error
from ..kern.abi.fcntl import AT_FDCWD, F_OK, O_RDONLY, UTIME_NOW
from ..kern.kernel import RumpKernel
from ..kern.process import Process
from .aio_gate import AioGate
from .local_files import Path

if TYPE_CHECKING:
    from ..vfs.calls import VfsCalls
    from ..vfs.stat import DirectoryEntry, Stat, StatVfs
    from ..vfs.types import OptionValue


class AioFiles(AioGate):
    """The system calls over paths that a process can make."""

    def __init__(self, kernel: RumpKernel, process: Process) -> None:
        super().__init__(kernel, process)
        self._vfs = cast("VfsCalls | None", kernel.service("VfsCalls"))

    @property
    def vfs_calls(self) -> "VfsCalls":
        """The vfs faction's calls.  Raises ENOSYS where the kernel has no files."""
        if self._vfs is None:
            raise error(ENOSYS)
        return self._vfs

    # Opening ------------------------------------------------------------------------------------------

    async def open(self, path: Path, flags: int = O_RDONLY, mode: int = 0o666, dirfd: int = AT_FDCWD) -> int:
        return cast(int, await self.run("open", self.vfs_calls.open, path, flags, mode, dirfd))

    async def creat(self, path: Path, mode: int = 0o666) -> int:
        return cast(int, await self.run("creat", self.vfs_calls.creat, path, mode))

    async def readdir(self, fd: int, count: int = 1024) -> "list[DirectoryEntry]":
        return cast("list[DirectoryEntry]", await self.run("readdir", self.vfs_calls.readdir, fd, count))

    # Names --------------------------------------------------------------------------------------------

    async def mkdir(self, path: Path, mode: int = 0o777, dirfd: int = AT_FDCWD) -> None:
        await self.run("mkdir", self.vfs_calls.mkdir, path, mode, dirfd)

    async def mknod(self, path: Path, mode: int, device: int = 0, dirfd: int = AT_FDCWD) -> None:
        await self.run("mknod", self.vfs_calls.mknod, path, mode, device, dirfd)

    async def mkfifo(self, path: Path, mode: int = 0o666, dirfd: int = AT_FDCWD) -> None:
        await self.run("mkfifo", self.vfs_calls.mkfifo, path, mode, dirfd)

    async def symlink(self, target: Path, path: Path, dirfd: int = AT_FDCWD) -> None:
        await self.run("symlink", self.vfs_calls.symlink, target, path, dirfd)

    async def link(
        self, path: Path, new_path: Path, flags: int = 0, dirfd: int = AT_FDCWD, new_dirfd: int = AT_FDCWD
    ) -> None:
        await self.run("link", self.vfs_calls.link, path, new_path, flags, dirfd, new_dirfd)

    async def unlink(self, path: Path, flags: int = 0, dirfd: int = AT_FDCWD) -> None:
        await self.run("unlink", self.vfs_calls.unlink, path, flags, dirfd)

    async def rmdir(self, path: Path, dirfd: int = AT_FDCWD) -> None:
        await self.run("rmdir", self.vfs_calls.rmdir, path, dirfd)

    async def readlink(self, path: Path, dirfd: int = AT_FDCWD) -> str:
        return cast(str, await self.run("readlink", self.vfs_calls.readlink, path, dirfd))

    async def rename(
        self, path: Path, new_path: Path, flags: int = 0, dirfd: int = AT_FDCWD, new_dirfd: int = AT_FDCWD
    ) -> None:
        await self.run("rename", self.vfs_calls.rename, path, new_path, flags, dirfd, new_dirfd)

    # Attributes ---------------------------------------------------------------------------------------

    async def stat(self, path: Path, flags: int = 0, dirfd: int = AT_FDCWD) -> "Stat":
        return cast("Stat", await self.run("stat", self.vfs_calls.stat, path, flags, dirfd))

    async def lstat(self, path: Path, dirfd: int = AT_FDCWD) -> "Stat":
        return cast("Stat", await self.run("lstat", self.vfs_calls.lstat, path, dirfd))

    async def fstat(self, fd: int) -> "Stat":
        return cast("Stat", await self.run("fstat", self.vfs_calls.fstat, fd))

    async def access(self, path: Path, mode: int = F_OK, flags: int = 0, dirfd: int = AT_FDCWD) -> None:
        await self.run("access", self.vfs_calls.access, path, mode, flags, dirfd)

    async def statvfs(self, path: Path) -> "StatVfs":
        return cast("StatVfs", await self.run("statvfs", self.vfs_calls.statvfs, path))

    async def fstatvfs(self, fd: int) -> "StatVfs":
        return cast("StatVfs", await self.run("fstatvfs", self.vfs_calls.fstatvfs, fd))

    async def chmod(self, path: Path, mode: int, dirfd: int = AT_FDCWD) -> None:
        await self.run("chmod", self.vfs_calls.chmod, path, mode, dirfd)

    async def fchmod(self, fd: int, mode: int) -> None:
        await self.run("fchmod", self.vfs_calls.fchmod, fd, mode)

    async def chown(self, path: Path, uid: int, gid: int, flags: int = 0, dirfd: int = AT_FDCWD) -> None:
        await self.run("chown", self.vfs_calls.chown, path, uid, gid, flags, dirfd)

    async def lchown(self, path: Path, uid: int, gid: int) -> None:
        await self.run("lchown", self.vfs_calls.lchown, path, uid, gid)

    async def fchown(self, fd: int, uid: int, gid: int) -> None:
        await self.run("fchown", self.vfs_calls.fchown, fd, uid, gid)

    async def utimens(
        self, path: Path, atime_ns: int = UTIME_NOW, mtime_ns: int = UTIME_NOW, flags: int = 0, dirfd: int = AT_FDCWD
    ) -> None:
        await self.run("utimens", self.vfs_calls.utimens, path, atime_ns, mtime_ns, flags, dirfd)

    async def futimens(self, fd: int, atime_ns: int = UTIME_NOW, mtime_ns: int = UTIME_NOW) -> None:
        await self.run("futimens", self.vfs_calls.futimens, fd, atime_ns, mtime_ns)

    async def truncate(self, path: Path, size: int) -> None:
        await self.run("truncate", self.vfs_calls.truncate, path, size)

    async def ftruncate(self, fd: int, size: int) -> None:
        await self.run("ftruncate", self.vfs_calls.ftruncate, fd, size)

    async def fsync(self, fd: int) -> None:
        await self.run("fsync", self.vfs_calls.fsync, fd)

    async def fdatasync(self, fd: int) -> None:
        await self.run("fdatasync", self.vfs_calls.fdatasync, fd)

    # Where paths start, and file systems --------------------------------------------------------------

    async def chdir(self, path: Path) -> None:
        await self.run("chdir", self.vfs_calls.chdir, path)

    async def fchdir(self, fd: int) -> None:
        await self.run("fchdir", self.vfs_calls.fchdir, fd)

    async def chroot(self, path: Path) -> None:
        await self.run("chroot", self.vfs_calls.chroot, path)

    async def getcwd(self) -> str:
        return cast(str, await self.run("getcwd", self.vfs_calls.getcwd))

    async def umask(self, mask: int) -> int:
        return cast(int, await self.run("umask", self.vfs_calls.umask, mask))

    async def sync(self) -> None:
        await self.run("sync", self.vfs_calls.sync)

    async def mount(
        self, kind: str, path: Path, options: "Mapping[str, OptionValue] | None" = None, source: str = ""
    ) -> None:
        await self.run("mount", self.vfs_calls.mount, kind, path, options, source)

    async def unmount(self, path: Path) -> None:
        await self.run("unmount", self.vfs_calls.unmount, path)
