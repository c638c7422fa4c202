"""A union as a mount: the vnodes of what comes from below, and how full its layer in memory is.

What differs from below lies in two places: a vnode that was changed stays in memory, found by the number that it has below; and a
directory knows the names that came and those that went.
"""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...kern.abi.errno import ESTALE, EUCLEAN, error
from ...kern.abi.fcntl import NAME_MAX, PATH_MAX, S_IFDIR, S_IFREG
from ...vfs.stat import StatVfs
from ...vfs.vnode import Mount, Vnode
from ..tmpfs.pool import UNIT, Pool
from .directory import UnionDirectory
from .node import LowerFile, LowerOther, UnionNode

OWN: Final = 1 << 44
"""Where the numbers begin of files that are not from below; those of a union over a union begin at the double, and so on."""
FAR: Final = 1 << 63
"""What is changed in numbers from below that lie among them, as those of a host's may."""
OWN_COOKIES: Final = 1 << 61
"""Likewise, of a directory's own names: behind all cookies below."""
STEP: Final = 1 << 56
DEEPEST: Final = 8
"""Unions over each other."""


def depth_over(lower: Vnode) -> int:
    """How many unions lie below one over `lower`."""
    mount = lower.underlying().mount
    return mount.depth + 1 if isinstance(mount, UnionMount) else 0


def own_numbers(depth: int) -> int:
    """Where numbers begin of files that are not from below."""
    return OWN * (depth + 1)


@final
class UnionMount(Mount):
    """One union, under the lock of the mount below."""

    def __init__(self, hyper: Hypercalls, lower: Vnode, source: str, pool: Pool, vnodes: int) -> None:
        """`pool` counts from `own_numbers` on."""
        super().__init__(hyper, "union", source, lower.mount.lock)
        self.pool: Pool = pool
        self.depth: int = depth_over(lower)
        self.cookies: int = OWN_COOKIES + self.depth * STEP
        self._own: int = own_numbers(self.depth)
        self._known: dict[int, UnionNode] = {}
        """By the number below: each of them holds what it is from."""
        self._vnodes: int = vnodes
        self._evict_at: int = vnodes
        root = UnionDirectory(self, lower.mode, lower.uid, lower.gid, lower.mtime, lower)
        self._known[lower.number] = root
        root.change()
        self.root = root

    def number_of(self, number: int) -> int:
        """The number here of a file that has `number` below."""
        return number ^ FAR if self._own <= number < self._own + OWN else number

    def upper(self, lower: Vnode) -> UnionNode:
        """The file that is `lower` below.  Raises ESTALE where another one with its number is in use: it has come behind our back, or the
        file system isn't sound; EUCLEAN where a file has more names than it says."""
        node = self._known.get(lower.number)
        if node is not None:
            if node.lower is lower:
                if node.links == 0:
                    raise OSError(EUCLEAN, f"inode {lower.number} below has more names than it says")
                node.recent = True
                return node
            if node.changed or node.references:
                raise error(ESTALE)
            self.forget(node)
        if len(self._known) >= self._evict_at:
            self._evict()
        if lower.kind == S_IFDIR:
            node = UnionDirectory(self, lower.mode, lower.uid, lower.gid, lower.mtime, lower)
        elif lower.kind == S_IFREG:
            node = LowerFile(self, lower)
        else:
            node = LowerOther(self, lower)
        self._known[lower.number] = node
        return node

    def knows(self, node: UnionNode) -> bool:
        """Whether it is the vnode of a file from below: no other one has come in its place."""
        return node.lower is not None and self._known.get(node.lower.number) is node

    def forget(self, node: UnionNode) -> None:
        """A file has gone: let go of the one below."""
        lower = node.lower
        if lower is not None and self.knows(node):
            del self._known[lower.number]
            lower.release()

    def _evict(self) -> None:
        """Drop vnodes that are as below, and that nobody holds or asked for lately.  There are more new ones between two times than a
        path has names, so what a call has just come by stays."""
        for node in list(self._known.values()):
            if node.changed or node.references:
                continue
            if node.recent:
                node.recent = False
            else:
                self.forget(node)
        self._evict_at = max(self._vnodes, len(self._known) + PATH_MAX)

    def statvfs(self) -> StatVfs:
        """Limits and use of what is in memory."""
        pool = self.pool
        free = max(pool.size - pool.used, 0) // UNIT
        left = max(pool.inodes - pool.files, 0)
        total = pool.size // UNIT
        flags = int(self.read_only)
        return StatVfs(UNIT, UNIT, total, free, free, pool.inodes, left, left, self.number, flags, NAME_MAX)

    def unmount(self) -> None:
        """Forget all changes."""
        known, self._known = self._known, {}
        for node in known.values():
            if node.lower is not None:
                node.lower.release()
