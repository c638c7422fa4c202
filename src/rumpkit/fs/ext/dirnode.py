"""Directories as vnodes, reading: names are looked up and listed.  Changing them is in dirchange.py."""

from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from ...vfs.vnode import FIRST_COOKIE, NO_END, Entry, Vnode
from . import cookies, directory
from .filenode import check_plain
from .node import ExtNode
from .state import InodeState

if TYPE_CHECKING:
    from .mount import ExtMount


@mypyc_attr(allow_interpreted_subclasses=True)
class DirectoryReader(ExtNode):
    """A directory that can be read."""

    def __init__(self, mount: "ExtMount", state: InodeState) -> None:
        super().__init__(mount, state)
        self.era: int = 0
        """How often entries got other positions."""
        self.before: cookies.Names = []
        """What was there when they last did."""

    def lookup(self, name: bytes) -> Vnode | None:
        """The file called `name`."""
        state = self.state
        check_plain(state)
        names = state.volume.names
        generation = state.inode.generation
        number = names.get(self.number, generation, name)
        if number < 0:
            number = directory.lookup(state, name)
            names.put(self.number, generation, name, number)
        return self.ext.get(number) if number else None

    def parent(self) -> Vnode:
        """The directory that it is in."""
        return self.ext.get(directory.parent(self.state))

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        """Entries from `cookie` on."""
        state = self.state
        check_plain(state)
        if self.links == 0:
            return []
        if cookie < cookies.HASHED and cookie > FIRST_COOKIE and cookie >> cookies.ERA != self.era:
            return self._read_before(cookie, count)
        if directory.is_indexed(state):
            entries = cookies.read_hashed(state, cookie, count)
        else:
            position = cookie & cookies.MASK if cookie < cookies.HASHED else 0
            if cookie == FIRST_COOKIE:
                position = 0
            entries = cookies.read_linear(directory.entries(state, position, count), self.era)
        return self._with_kinds(entries)

    def end_cookie(self) -> int:
        """Behind all entries that are there now."""
        state = self.state
        return (
            NO_END if directory.is_indexed(state) else (self.era << cookies.ERA) + max(state.inode.size, FIRST_COOKIE)
        )

    def moving(self) -> None:
        """Entries are about to get other positions: keep what is there for those who read it."""
        self.before = directory.entries(self.state, 0, 1 << 30)
        self.era += 1

    def _read_before(self, cookie: int, count: int) -> list[Entry]:
        """For a reader who began before entries moved: what is still there of what it had before it."""
        if cookie >> cookies.ERA != self.era - 1:
            return []
        position = cookie & cookies.MASK
        names = [each for each in self.before if each[0] > position]
        still = [each for each in names if directory.lookup(self.state, each[3]) == each[1]]
        return self._with_kinds(cookies.read_linear(still[:count], self.era - 1))

    def _with_kinds(self, entries: list[Entry]) -> list[Entry]:
        """Without the feature filetype the kinds are in the inodes only."""
        if all(entry.kind for entry in entries):
            return entries
        return [entry if entry.kind else entry._replace(kind=self.ext.kind_of(entry.number)) for entry in entries]
