"""The system calls of the vfs faction: one class, in a chain of files by topic.

A call is a plain method `(process, ...)`, entered on the schedule, that returns its result or raises OSError with
the errno that POSIX names; only open returns `Blocked` (for FIFOs).  Reading, writing, seeking and closing by descriptor
is in kern/calls.py.  This file has the working directory, the mask, and mounts; the others come in by inheritance: watchcalls.py,
lockcalls.py, xattrcalls.py, attributecalls.py, namecalls.py, opencalls.py.
"""

from collections.abc import Mapping
from typing import final

from ..kern.abi.errno import EINVAL, ENOTDIR, EPERM, error
from ..kern.abi.fcntl import AT_FDCWD, MNT_DETACH, MNT_FORCE, S_IFDIR, UMOUNT_NOFOLLOW
from ..kern.process import Process
from .access import SEARCH, check_access
from .callbase import Path
from .namei import FOLLOW, Walk
from .types import OptionValue
from .vfs import decode, encode
from .vnode import Vnode, let_go
from .watchcalls import WatchCalls


@final
class VfsCalls(WatchCalls):
    """All path and file system calls of one kernel."""

    def chdir(self, process: Process, path: Path) -> None:
        """Change the working directory (POSIX chdir)."""
        self.paths_of(process).change_directory(self._hold_directory(process, path))

    def fchdir(self, process: Process, fd: int) -> None:
        """Change the working directory to an open one (POSIX fchdir).  Raises EBADF, ENOTDIR, EACCES."""
        file = self.vnode_file(process, fd)
        if file.vnode.kind != S_IFDIR:
            raise error(ENOTDIR)
        file.enter()
        try:
            check_access(file.vnode, process.credentials, SEARCH)
            file.vnode.hold()
        finally:
            file.leave(self.hyper.now)
        self.paths_of(process).change_directory(file.vnode)

    def chroot(self, process: Process, path: Path) -> None:
        """Change what "/" means; the working directory stays (BSD chroot).  Raises EPERM unless superuser."""
        root = self._hold_directory(process, path)
        if process.credentials.uid != 0:
            let_go(root)
            raise error(EPERM)
        self.paths_of(process).change_root(root)

    def getcwd(self, process: Process) -> str:
        """The working directory's path (POSIX getcwd).  Raises ENOENT where it has been removed or is out of reach."""
        paths = self.paths_of(process)
        walk = Walk(paths.root, paths.directory, process.credentials)
        names: list[bytes] = []
        try:
            while walk.directory is not paths.root:
                names.append(walk.climb())
        finally:
            walk.done()
        return decode(b"/" + b"/".join(reversed(names)))

    def umask(self, process: Process, mask: int) -> int:
        """Set the permission bits that new files don't get; returns the old ones (POSIX umask)."""
        paths = self.paths_of(process)
        old = paths.mask
        paths.mask = mask & 0o777
        return old

    def sync(self, process: Process) -> None:
        """Return once all file systems are durable (POSIX sync)."""
        self.vfs.sync()

    def mount(
        self,
        process: Process,
        kind: str,
        path: Path,
        options: Mapping[str, OptionValue] | None = None,
        source: str = "",
    ) -> None:
        """Mount a new file system on a directory (as Linux mount(2), with typed options: vfs/types.py).

        Raises EPERM unless superuser, ENODEV, EINVAL, EBUSY, ENOENT, ENOTDIR.
        """
        if process.credentials.uid != 0:
            raise error(EPERM)
        self.vfs.mount(kind, path, options, source, self.paths_of(process))

    def remount(self, process: Process, path: Path, options: Mapping[str, OptionValue]) -> None:
        """Change "read_only", "access_times" or "devices" of the file system mounted on `path` (Linux MS_REMOUNT).

        Raises EPERM unless superuser, EINVAL, EBUSY where a file is open for writing, EROFS.
        """
        if process.credentials.uid != 0:
            raise error(EPERM)
        self.vfs.remount(path, options, self.paths_of(process))

    def unmount(self, process: Process, path: Path, flags: int = 0) -> None:
        """Take the file system mounted on `path` away (BSD unmount, Linux umount2).  With MNT_DETACH it leaves the tree at once
        and goes with its last user; with MNT_FORCE its open files fail with EIO from now on.  Raises EPERM unless
        superuser, EINVAL, EBUSY."""
        if process.credentials.uid != 0:
            raise error(EPERM)
        if flags & ~(MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW):
            raise error(EINVAL)
        self.vfs.unmount(path, self.paths_of(process), flags)

    def _hold_directory(self, process: Process, path: Path) -> Vnode:
        """The directory `path`, which the process may search, held."""
        where = encode(path)
        walk = self.walk(process, where, AT_FDCWD)
        try:
            vnode = walk.get(where, FOLLOW)
            if vnode.kind != S_IFDIR:
                raise error(ENOTDIR)
            check_access(vnode, process.credentials, SEARCH)
            vnode.hold()
            return vnode
        finally:
            walk.done()
