"""A mounted squashfs: its vnodes in memory."""

from typing import TYPE_CHECKING, Final, final

from ...hyper.calls import Hypercalls
from ...kern.abi.fcntl import NAME_MAX, PATH_MAX, S_IFDIR, S_IFREG
from ...kern.device import Device
from ...vfs.namecache import NameCache
from ...vfs.stat import StatVfs
from ..readonly import ReadOnlyMount
from .format import corrupt
from .inode import Inode
from .node import DirectoryNode, FileNode, SquashfsNode
from .volume import Volume
from .xattr import Attributes

if TYPE_CHECKING:
    pass

DEEPEST: Final = PATH_MAX
"""Directories that lie in each other."""


@final
class SquashfsMount(ReadOnlyMount):
    """One mounted image."""

    def __init__(
        self, hyper: Hypercalls, kind: str, source: str, device: Device, volume: Volume, names: NameCache, vnodes: int
    ) -> None:
        """Raises EUCLEAN, EIO."""
        super().__init__(hyper, kind, source, hyper.mutex())
        self.device: Device = device
        self.volume: Volume = volume
        self.names: NameCache = names
        """What names lead to: an inode's reference and 1."""
        self.attributes: Attributes = Attributes(volume.metadata, volume.fields.xattr_table)
        self.block_size = volume.fields.block_size
        self.read_only = True
        self._nodes: dict[int, SquashfsNode] = {}
        self._vnodes: int = vnodes
        self._evict_at: int = vnodes
        self.root = self.get(volume.fields.root, None)
        if self.root.kind != S_IFDIR:
            raise corrupt("the root is no directory")

    def get(self, reference: int, above: DirectoryNode | None) -> SquashfsNode:
        """The file of an inode, found in the directory `above`.  Raises EUCLEAN, EIO."""
        node = self._nodes.get(reference)
        if node is not None:
            node.recent = True
            if isinstance(node, DirectoryNode) and (
                above is None or node.above is None or node.above.number != above.number
            ):
                raise corrupt(f"{node.inode.where}: a directory with two names")
            return node
        if len(self._nodes) >= self._evict_at:
            self._evict()
        inode = Inode(self.volume, reference)
        if inode.kind == S_IFDIR:
            self._check_place(inode, above)
            node = DirectoryNode(self, inode, above)
        elif inode.kind == S_IFREG:
            node = FileNode(self, inode)
        else:
            node = SquashfsNode(self, inode)
        self._nodes[reference] = node
        return node

    def known(self, node: DirectoryNode) -> DirectoryNode:
        """The one vnode for a directory that somebody remembers."""
        found = self._nodes.setdefault(node.inode.reference, node)
        assert isinstance(found, DirectoryNode)
        return found

    def _check_place(self, inode: Inode, above: DirectoryNode | None) -> None:
        """Raise EUCLEAN where a directory is in itself."""
        depth = 0
        while above is not None:
            depth += 1
            if above.number == inode.number or depth > DEEPEST:
                raise corrupt(f"{inode.where}: the directory is in itself, or {depth} deep")
            above = above.above

    def _evict(self) -> None:
        """Drop vnodes that nobody holds and nobody asked for lately."""
        nodes = self._nodes
        wanted = len(nodes) - self._vnodes + self._vnodes // 8 + 1
        for reference in list(nodes):
            node = nodes[reference]
            if node.references or node.recent or node is self.root:
                node.recent = False
            else:
                del nodes[reference]
                wanted -= 1
                if not wanted:
                    break
        self._evict_at = max(self._vnodes, len(nodes) + self._vnodes // 8 + 1)

    def statvfs(self) -> StatVfs:
        """What the image takes; nothing is free."""
        return self.full(self.volume.fields.bytes_used, self.volume.fields.inodes, NAME_MAX)

    def unmount(self) -> None:
        """Let go of the device."""
        self.volume.drop()
        self.device.disclaim()
        self.device.close(self.hyper.now)
