"""A directory's names: found, added and removed in constant time, and read in a stable order by cookie.

Names lie in a dict and, in the order they came, in a list; a removed one stays in the list, dead, until half of the
list is.  Cookies only grow, so a reader finds its place by binary search whatever has come and gone.
"""

from typing import Final, final

from ...vfs.vnode import FIRST_COOKIE, Entry, Vnode

_SLACK: Final = 16
"""Dead names that are always put up with."""


@final
class _Name:
    __slots__ = ("cookie", "name", "vnode")

    def __init__(self, name: bytes, vnode: Vnode, cookie: int) -> None:
        self.name: bytes = name
        self.vnode: Vnode | None = vnode
        self.cookie: int = cookie


@final
class NameTable:
    """The names of one directory."""

    def __init__(self) -> None:
        self._names: dict[bytes, _Name] = {}
        self._order: list[_Name] = []
        self._dead: int = 0
        self._start: int = 0
        """How many dead names the list starts with: directories are often emptied from the front."""
        self._cookie: int = FIRST_COOKIE

    def __len__(self) -> int:
        return len(self._names)

    def get(self, name: bytes) -> Vnode | None:
        """The file called `name`, or None."""
        found = self._names.get(name)
        return None if found is None else found.vnode

    def add(self, name: bytes, vnode: Vnode) -> None:
        """Add a name, which is not there yet."""
        new = _Name(name, vnode, self._cookie)
        self._cookie += 1
        self._names[name] = new
        self._order.append(new)

    def replace(self, name: bytes, vnode: Vnode) -> None:
        """Let `name`, which is there, mean `vnode`.  It keeps its cookie, so that no reader misses it."""
        self._names[name].vnode = vnode

    def remove(self, name: bytes) -> None:
        """Remove a name, which is there."""
        gone = self._names.pop(name)
        gone.vnode = None
        self._dead += 1
        order = self._order
        if order[-1] is gone:
            # The list's last name is never dead, so that the loop below ends.
            while order and order[-1].vnode is None:
                order.pop()
                self._dead -= 1
            self._start = min(self._start, len(order))
            return
        while order[self._start].vnode is None:
            self._start += 1
        if self._dead > _SLACK and 2 * self._dead > len(order):
            self._order = [kept for kept in order if kept.vnode is not None]
            self._dead = 0
            self._start = 0

    def end(self) -> int:
        """A cookie behind all names that are there now."""
        return self._cookie

    def read(self, cookie: int, count: int) -> list[Entry]:
        """Up to `count` entries from `cookie` on."""
        order = self._order
        place = self._find(cookie)
        size = len(order)
        entries: list[Entry] = []
        while place < size and len(entries) < count:
            name = order[place]
            vnode = name.vnode
            if vnode is not None:
                entries.append(Entry(name.name, vnode.number, vnode.kind, name.cookie + 1))
            place += 1
        return entries

    def _find(self, cookie: int) -> int:
        """The place in the list of the first name whose cookie is not below `cookie`."""
        order = self._order
        low = self._start
        high = len(order)
        while low < high:
            middle = (low + high) >> 1
            if order[middle].cookie < cookie:
                low = middle + 1
            else:
                high = middle
        return low
