"""A tmpfs with a lock, as file systems over a block device have: it shows that vfs takes and gives up mounts' locks.

The lock of a host with one thread raises when it is taken twice or given up twice.
"""

from __future__ import annotations

from collections.abc import Mapping

from rumpkit.fs.tmpfs.mount import TmpfsMount
from rumpkit.fs.tmpfs.pool import Pool
from rumpkit.kern.abi.errno import EINVAL
from rumpkit.vfs.types import FileSystemType, Option, OptionValue
from rumpkit.vfs.vfs import Vfs
from rumpkit.vfs.vnode import Mount


class LockedTmpfs(FileSystemType):
    """The type "locked"."""

    def __init__(self) -> None:
        super().__init__("locked", (Option("size", 1 << 30, 0, 1 << 30, "bytes"),))
        self.mounts: list[Mount] = []

    def make(self, vfs: Vfs, source: str, options: Mapping[str, OptionValue]) -> Mount:
        if source == "bad":
            raise OSError(EINVAL, "a source that can't be used")
        mount = TmpfsMount(vfs.hyper, Pool(int(options["size"]), 10000, 1 << 60, 1000), 0o755, 0, 0, "locked")
        mount.lock = vfs.hyper.mutex()
        self.mounts.append(mount)
        return mount

    def check_unlocked(self) -> None:
        """Assert that nobody has a lock, and that no call is left in a mount."""
        for mount in self.mounts:
            assert mount.lock is not None
            mount.lock.acquire()
            mount.lock.release()
            assert mount.calls == 0
