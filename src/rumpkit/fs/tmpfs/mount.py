"""tmpfs as a mount: its limits and how full it is."""

from mypy_extensions import mypyc_attr

from ...hyper.calls import Hypercalls
from ...kern.abi.fcntl import NAME_MAX
from ...vfs.stat import StatVfs
from ...vfs.vnode import Mount
from .directory import DirectoryNode
from .pool import UNIT, Pool


@mypyc_attr(allow_interpreted_subclasses=True)
class TmpfsMount(Mount):
    """One tmpfs."""

    def __init__(self, hyper: Hypercalls, pool: Pool, mode: int, uid: int, gid: int, kind: str = "tmpfs") -> None:
        super().__init__(hyper, kind, kind)
        self.pool: Pool = pool
        self.root = DirectoryNode(self, pool, mode, uid, gid, hyper.wall())

    def statvfs(self) -> StatVfs:
        """Limits and use, in units of storage."""
        pool = self.pool
        free = max(pool.size - pool.used, 0) // UNIT
        left = max(pool.inodes - pool.files, 0)
        total = pool.size // UNIT
        flags = int(self.read_only)
        return StatVfs(UNIT, UNIT, total, free, free, pool.inodes, left, left, self.number, flags, NAME_MAX)
