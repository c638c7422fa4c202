"""Mounted archives: a tree in memory, vnodes for what is in use, data on the devices."""

from typing import final

from ...hyper.calls import Hypercalls
from ...kern.abi.fcntl import NAME_MAX
from ...kern.device import Device
from ...vfs.stat import StatVfs
from ..readonly import ReadOnlyMount
from .node import TarNode
from .tree import Item, Tree


@final
class TarMount(ReadOnlyMount):
    """One tree."""

    def __init__(
        self, hyper: Hypercalls, kind: str, source: str, devices: list[Device], tree: Tree, vnodes: int
    ) -> None:
        super().__init__(hyper, kind, source, hyper.mutex())
        self.archives: list[Device] = devices
        """The archives, lowest first."""
        self.tree: Tree = tree
        self.read_only = True
        self._nodes: dict[int, TarNode] = {}
        self._vnodes: int = vnodes
        self._evict_at: int = vnodes
        self.root = self.get(tree.root)

    def get(self, item: Item) -> TarNode:
        """The vnode of a file."""
        node = self._nodes.get(item.number)
        if node is None:
            if len(self._nodes) >= self._evict_at:
                self._evict()
            node = self._nodes[item.number] = TarNode(self, item)
        node.recent = True
        return node

    def _evict(self) -> None:
        """Drop vnodes that nobody holds and nobody asked for lately."""
        nodes = self._nodes
        wanted = len(nodes) - self._vnodes + self._vnodes // 8 + 1
        for number in list(nodes):
            node = nodes[number]
            if node.references or node.recent or node is self.root:
                node.recent = False
            else:
                del nodes[number]
                wanted -= 1
                if not wanted:
                    break
        self._evict_at = max(self._vnodes, len(nodes) + self._vnodes // 8 + 1)

    def statvfs(self) -> StatVfs:
        """What the files take; nothing is free."""
        return self.full(self.tree.bytes, self.tree.files, NAME_MAX)

    def unmount(self) -> None:
        """Let go of the devices."""
        for device in self.archives:
            device.disclaim()
            device.close(self.hyper.now)
