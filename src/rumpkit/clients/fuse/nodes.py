"""The files that the Linux kernel knows of: node ids, the vnodes behind them, and how often each was looked up.

The protocol counts lookups: a vnode is held from the first reply that names it until the kernel has forgotten it as often as
it was told.  Ids are never used again, so that a late request can't reach another file.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, final

from ...kern.abi.errno import ENFILE, ESTALE, error
from ...vfs.events import Events
from ...vfs.vnode import Mount, Vnode, let_go
from .wire import ROOT_ID

TRIM: Final = 64
"""How many nodes are named at a time to be given up, where there are too many."""
MOST_NAMES: Final = 16
"""Names of a node that are remembered, the last ones: Linux keeps a file as long as it keeps any of its names."""

Place = tuple[int, bytes]
"""The node of a directory, and what a file is called there."""


@final
class Node:
    """One file that the Linux kernel knows of."""

    def __init__(self, number: int, vnode: Vnode, above: int, name: bytes) -> None:
        self.number: int = number
        """The node id."""
        self.vnode: Vnode = vnode
        self.lookups: int = 0
        self.above: int = above
        """The node of the directory in which it was last looked up, and what it was called there: the way to have the kernel
        drop what it remembers of that name.  0 of a file that never had one."""
        self.name: bytes = name
        self._others: list[Place] | None = None

    def place(self, above: int, name: bytes) -> None:
        """It has this name, too."""
        if self.above and (self.above, self.name) != (above, name):
            others = [one for one in self._others or () if one != (above, name)]
            self._others = [*others[1 - MOST_NAMES :], (self.above, self.name)]
        self.above = above
        self.name = name

    def moved(self, old: Place, new: Place) -> None:
        """It was renamed: of its names one is another now."""
        if self._others is not None:
            self._others = [one for one in self._others if one != old]
        if (self.above, self.name) == old:
            self.above = 0
        self.place(*new)

    def places(self) -> list[Place]:
        """Its names, as far as they are remembered."""
        return [(self.above, self.name), *(self._others or ())] if self.above else []


@final
class NodeTable:
    """All nodes of one mount.  Used on the schedule."""

    def __init__(self, root: Vnode, limit: int, events: Events) -> None:
        """Holds `root`."""
        self.limit: int = limit
        self._events: Events = events
        root.hold()
        self._root: Node = Node(ROOT_ID, root, 0, b"")
        self._root.lookups = 1
        self._nodes: dict[int, Node] = {ROOT_ID: self._root}
        self._by_vnode: dict[Vnode, Node] = {root: self._root}
        self._standing: dict[Vnode, list[Node]] = {root.underlying(): [self._root]}
        """By the files that they stand for in the end (`Vnode.underlying`)."""
        self._last: int = ROOT_ID
        self._kept: int = ROOT_ID
        """Nodes up to this one are never named to be given up."""

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, number: int) -> Node:
        """The node with this id.  Raises ESTALE."""
        node = self._nodes.get(number)
        if node is None:
            raise error(ESTALE)
        return node

    def of(self, vnode: Vnode) -> list[Node]:
        """The nodes of a file that Linux knows of: several where null mounts show it at several places.  `vnode` is the one that the
        others stand for."""
        return self._standing.get(vnode, [])

    def enter(self, vnode: Vnode, above: int, name: bytes) -> Node:
        """The node of a vnode that a reply is about to name: its lookups grow by one.  Raises ENFILE at the limit."""
        node = self._by_vnode.get(vnode)
        if node is None:
            if len(self._nodes) >= self.limit:
                raise error(ENFILE)
            self._last += 1
            node = Node(self._last, vnode, above, name)
            vnode.hold()
            self._nodes[node.number] = node
            self._by_vnode[vnode] = node
            self._stand(node)
        else:
            node.place(above, name)
        node.lookups += 1
        return node

    def moved(self, vnode: Vnode | None, old: Place, new: Place) -> None:
        """Linux has renamed a file: it knows it by its new name without having looked that up."""
        node = self._by_vnode.get(vnode) if vnode is not None else None
        if node is not None:
            node.moved(old, new)

    def forget(self, number: int, lookups: int) -> None:
        """The kernel takes back that many lookups; with the last one the vnode is let go.  It may sleep for that."""
        node = self._nodes.get(number)
        if node is None or node is self._root:
            return
        node.lookups -= lookups
        if node.lookups <= 0:
            self._drop(node)

    def keep(self) -> None:
        """Linux shall not be asked to forget what it knows by now."""
        self._kept = self._last

    def oldest(self) -> list[Node]:
        """Some of those that came first: what to have the kernel forget where there are too many.  They count as new then, so
        that the next ones come up if these are in use."""
        found: list[Node] = []
        for node in self._nodes.values():
            if node.number > self._kept:
                found.append(node)
                if len(found) >= TRIM:
                    break
        for node in found:
            del self._nodes[node.number]
            self._nodes[node.number] = node
        return found

    def revoke(self, mount: Mount, exchange: Callable[[Vnode], Vnode]) -> list[Node]:
        """A mount is taken away: its nodes get dead files, which `exchange` makes for held ones that it releases.  Returns them.

        The last to let go of a file may sleep, and Linux forgets nodes meanwhile: that one has its dead file by then.
        """
        found: list[Node] = []
        for node in list(self._nodes.values()):
            old = node.vnode
            if self._nodes.get(node.number) is not node or old.mount is not mount:
                continue
            old.hold()
            dead = exchange(old)
            del self._by_vnode[old]
            self._stand_down(node)
            node.vnode = dead
            self._by_vnode[dead] = node
            self._stand(node)
            found.append(node)
            with suppress(OSError):  # a file without a name that can't be removed: the others go nevertheless
                old.release()
        return found

    def clear(self) -> None:
        """The mount has gone: let go of everything."""
        for node in list(self._nodes.values()):
            self._drop(node)

    def _drop(self, node: Node) -> None:
        del self._nodes[node.number]
        del self._by_vnode[node.vnode]
        self._stand_down(node)
        try:
            let_go(node.vnode)
        except OSError:
            pass  # Linux hears no answer to this; the file system has noted it, and says so when it is unmounted
        self._events.closed(node.vnode)

    def _stand(self, node: Node) -> None:
        under = node.vnode.underlying()
        others = self._standing.get(under)
        if others is None:
            self._standing[under] = [node]
        else:
            others.append(node)

    def _stand_down(self, node: Node) -> None:
        under = node.vnode.underlying()
        others = self._standing[under]
        others.remove(node)
        if not others:
            del self._standing[under]
