"""A mounted ext2, ext3 or ext4: its vnodes in memory, and how full it is."""

from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from ...hyper.calls import Hypercalls
from ...kern.abi.fcntl import NAME_MAX, O_RDONLY, O_RDWR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from ...kern.device import Device
from ...vfs.stat import StatVfs
from ...vfs.vnode import Mount
from .dirent import TYPES
from .dirnode import DirectoryReader
from .filenode import FileNode
from .geometry import corrupt
from .inode import ROOT
from .node import ExtNode, SpecialNode, SymlinkNode
from .state import InodeState

if TYPE_CHECKING:
    from .volume import Volume


@mypyc_attr(allow_interpreted_subclasses=True)
class ExtMount(Mount):
    """One mounted file system."""

    def __init__(
        self, hyper: Hypercalls, kind: str, source: str, device: Device, volume: "Volume", vnodes: int
    ) -> None:
        super().__init__(hyper, kind, source, hyper.mutex())
        self.device: Device = device
        self.volume: Volume = volume
        self.block_size = volume.block_size
        self.vnodes: int = vnodes
        """Vnodes that nobody holds and that stay in memory nevertheless."""
        self._nodes: dict[int, ExtNode] = {}
        self._evict_at: int = vnodes
        self.overhead: int = 0
        self.root = self.get(ROOT)
        if self.root.kind != S_IFDIR:
            raise corrupt("inode 2: the root is no directory")

    # Vnodes --------------------------------------------------------------------------------------------

    def get(self, number: int) -> ExtNode:
        """The file of an inode number.  Raises EUCLEAN where it is in no use, EIO."""
        node = self._nodes.get(number)
        if node is not None:
            node.recent = True
            return node
        if len(self._nodes) >= self._evict_at:
            self._evict()
        if number < self.volume.geometry.first_inode and number != ROOT:
            raise corrupt(f"inode {number} is no ordinary file's")
        state = self.volume.read_inode(number)
        inode = state.inode
        if not inode.mode or not inode.links:
            raise corrupt(f"inode {number} has a name but is not in use")
        node = self.make(state)
        self._nodes[number] = node
        return node

    def make(self, state: InodeState) -> ExtNode:
        """A vnode for an inode.  Raises EUCLEAN."""
        kind = state.inode.mode & S_IFMT
        if kind == S_IFREG:
            return FileNode(self, state)
        if kind == S_IFDIR:
            return DirectoryReader(self, state)
        if kind == S_IFLNK:
            return SymlinkNode(self, state)
        if kind not in TYPES:
            raise corrupt(f"{state.where}: it is of no known kind (mode {state.inode.mode:o})")
        return SpecialNode(self, state)

    def kind_of(self, number: int) -> int:
        """S_IFMT bits of an inode, without a vnode for it."""
        node = self._nodes.get(number)
        return self.volume.read_inode(number).inode.mode & S_IFMT if node is None else node.kind

    def _evict(self) -> None:
        """Drop vnodes that nobody holds and nobody asked for lately."""
        nodes = self._nodes
        wanted = len(nodes) - self.vnodes + self.vnodes // 8 + 1
        for number in list(nodes):
            node = nodes[number]
            if node.references or node.recent or node.state.dirty or node is self.root:
                node.recent = False
            else:
                del nodes[number]
                wanted -= 1
                if not wanted:
                    break
        self._evict_at = max(self.vnodes, len(nodes) + self.vnodes // 8 + 1)

    # Changes -------------------------------------------------------------------------------------------

    def change_inode(self, state: InodeState) -> None:
        """An attribute of a file has changed."""

    def remove(self, node: ExtNode) -> None:
        """A file without a name is held by nobody any more."""

    # The whole -----------------------------------------------------------------------------------------

    def statvfs(self) -> StatVfs:
        """Size and use.  What the format itself takes does not count."""
        fields = self.volume.fields
        free = fields.free_blocks_count
        available = max(free - fields.r_blocks_count, 0)
        size = self.block_size
        blocks = fields.blocks_count - self.overhead
        left = fields.free_inodes_count
        flags = int(self.read_only)
        return StatVfs(
            size, size, blocks, free, available, fields.inodes_count, left, left, self.number, flags, NAME_MAX
        )

    def unmount(self) -> None:
        """Let go of the device."""
        self.volume.cache.drop()
        self.device.close(self.hyper.now)


READ: Final = O_RDONLY
WRITE: Final = O_RDWR
