"""An inode in memory: its fields, and what is known of it beyond them.  Vnodes (node.py) and block maps use it."""

from typing import TYPE_CHECKING, final

from .checksum import inode_seed
from .inode import EXTENTS, HUGE, Inode

if TYPE_CHECKING:
    from .node import ExtNode
    from .volume import Volume


@final
class InodeState:
    """One inode in memory.  While a vnode has it, the vnode's attributes count where they differ."""

    def __init__(self, volume: "Volume", number: int, inode: Inode) -> None:
        self.volume: Volume = volume
        self.number: int = number
        self.inode: Inode = inode
        self.node: ExtNode | None = None
        """The vnode that has it."""
        self.dirty: bool = False
        """It is to be written with the running transaction."""
        self.extents: bool = inode.flags & EXTENTS != 0
        self.hint: tuple[int, int] = (0, 0)
        """Block and byte where a directory was given a name last."""
        self.goal: int = 0
        """Where the next block would be best."""
        self.sound: bytes = b""
        """The root of the extents that was checked."""
        self.places: dict[int, int] = {}
        """Where the blocks of a directory lie that were asked for."""
        self._seed: int = -1

    @property
    def seed(self) -> int:
        """What the checksums of the inode and its blocks start from."""
        if self._seed < 0:
            self._seed = inode_seed(self.volume.seed, self.number, self.inode.generation)
        return self._seed

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"inode {self.number}"

    def sectors(self) -> int:
        """Storage that it takes, in units of 512 bytes."""
        inode = self.inode
        return inode.blocks << (self.volume.block_bits - 9) if inode.flags & HUGE else inode.blocks

    def add_blocks(self, count: int) -> None:
        """It has `count` blocks more (or, negative, fewer)."""
        inode = self.inode
        inode.blocks = max(inode.blocks + (count if inode.flags & HUGE else count << (self.volume.block_bits - 9)), 0)
