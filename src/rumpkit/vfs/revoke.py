"""Taking a file system away from its users: what is left in the hands of those who had files of it open (BSD's deadfs)."""

from typing import TYPE_CHECKING, final

from ..hyper.calls import Hypercalls
from ..kern.abi.errno import EIO, error
from ..kern.abi.fcntl import O_ACCMODE, O_RDONLY, S_IFDIR, S_IFREG
from ..kern.process import PathContext
from .file import VnodeFile
from .paths import VfsPaths
from .stat import Stat, StatVfs
from .vnode import Entry, Mount, Vnode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..kern.kernel import RumpKernel


@final
class DeadMount(Mount):
    """The mount of what has been taken away."""

    def __init__(self, hyper: Hypercalls, gone: Mount) -> None:
        super().__init__(hyper, gone.kind, gone.source)
        self.number = gone.number
        self.access_times = False
        self.finished = True
        self.root = DeadVnode(self, 0, S_IFDIR)

    def statvfs(self) -> StatVfs:
        raise error(EIO)

    def check_writable(self) -> None:
        raise error(EIO)


@final
class DeadVnode(Vnode):
    """A file that has been taken away: whatever is asked of it fails with EIO."""

    def __init__(self, mount: Mount, number: int, mode: int) -> None:
        super().__init__(mount, number, mode, 0, 0, 0)
        self.links = 0

    def stat(self) -> Stat:
        raise error(EIO)

    def set_mode(self, mode: int, now: int) -> None:
        raise error(EIO)

    def set_owner(self, uid: int, gid: int, mode: int, now: int) -> None:
        raise error(EIO)

    def set_times(self, atime: int, mtime: int, now: int) -> None:
        raise error(EIO)

    def getxattr(self, name: bytes) -> bytes:
        raise error(EIO)

    def listxattr(self) -> list[bytes]:
        raise error(EIO)

    def read(self, offset: int, size: int) -> bytes:
        raise error(EIO)

    def sync(self, data_only: bool) -> None:
        raise error(EIO)

    def next_data(self, offset: int) -> int:
        raise error(EIO)

    def next_hole(self, offset: int) -> int:
        raise error(EIO)

    def readlink(self) -> bytes:
        raise error(EIO)

    def lookup(self, name: bytes) -> Vnode | None:
        raise error(EIO)

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        raise error(EIO)


def open_files(kernel: "RumpKernel", mount: Mount) -> "Iterator[VnodeFile]":
    """The open files of a mount that processes have, some perhaps more than once."""
    for process in kernel.processes.values():
        for fd in process.files.numbers():
            file = process.files.lookup(fd)
            if isinstance(file, VnodeFile) and file.vnode.mount is mount:
                yield file


def has_writers(kernel: "RumpKernel", mount: Mount) -> bool:
    """Whether somebody has a regular file of the mount open for writing."""
    return any(file.flags & O_ACCMODE != O_RDONLY and file.vnode.kind == S_IFREG for file in open_files(kernel, mount))


def revoke(kernel: "RumpKernel", mount: Mount) -> None:
    """Put dead files in the place of all files of the mount that processes have open, are in, or have for their root, and of those
    that watchers hold.  Called under the mount's lock."""
    dead = DeadMount(kernel.hyper, mount)
    for file in list(open_files(kernel, mount)):
        if file.vnode.mount is mount:
            file.vnode = _exchange(file.vnode, dead)
    contexts: list[PathContext | None] = [process.paths for process in kernel.processes.values()]
    for paths in (*contexts, kernel.paths):
        if isinstance(paths, VfsPaths):
            if paths.root.mount is mount:
                paths.root = _exchange(paths.root, dead)
            if paths.directory.mount is mount:
                paths.directory = _exchange(paths.directory, dead)
    for watcher in mount.watch.watchers:
        watcher.revoked(mount, lambda vnode: _exchange(vnode, dead))


def _exchange(vnode: Vnode, dead: DeadMount) -> Vnode:
    """A dead file for a living one, held and released."""
    gone = DeadVnode(dead, vnode.number, vnode.mode)
    gone.hold()
    try:
        vnode.release()
    except OSError:
        pass  # a file without a name that can't be removed: the others go nevertheless
    return gone
