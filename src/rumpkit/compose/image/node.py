"""One file, of an image or of the host, as the engines of `rump fs` see it.

The methods are those of a vnode, less what only a kernel needs; names and targets are bytes, times nanoseconds.  Nodes of images
are used on the schedule, which a session holds for as long as it is open.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final, NamedTuple

from ...kern.abi.errno import ENOENT, ENOTDIR, EUCLEAN, MESSAGES
from ...kern.abi.fcntl import S_IFDIR
from ...vfs.stat import Stat

PIECE: Final = 1 << 20
"""Bytes that are read or written at once."""


DEPTH_LIMIT: Final = 4096
"""Directories below each other: more than a path can name."""


class Named(NamedTuple):
    """A name in a directory."""

    name: bytes
    number: int
    kind: int
    """S_IFMT bits."""


class Node(ABC):
    """A file.  Whoever got it closes it; all methods raise OSError."""

    kind: int
    """S_IFMT bits."""
    on_host: bool = False
    """It is a file of the host."""
    lost_mode: bool = False
    """It was made here, and could not get the owner or the mode that it was to have."""

    # Asking --------------------------------------------------------------------------------------------

    @abstractmethod
    def stat(self) -> Stat:
        """Its attributes."""

    def size_now(self) -> int:
        """Its size, asked anew: somebody else may be writing to it."""
        return self.stat().st_size

    @abstractmethod
    def entries(self) -> Iterator[Named]:
        """The names in this directory, in the order they are stored, without "." and ".."."""

    @abstractmethod
    def child(self, name: bytes) -> "Node | None":
        """What is called `name` in this directory, links not followed; None where nothing is."""

    @abstractmethod
    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end only."""

    @abstractmethod
    def readlink(self) -> bytes:
        """A symbolic link's target."""

    @abstractmethod
    def xattrs(self) -> list[tuple[bytes, bytes]]:
        """Extended attributes, names with their prefix; none where the file system has no such thing."""

    @abstractmethod
    def next_data(self, offset: int) -> int:
        """Where data begin at or behind `offset`, which is below the size; -1 where only a hole follows."""

    @abstractmethod
    def next_hole(self, offset: int) -> int:
        """Where data that begin at `offset` end."""

    # Changing ------------------------------------------------------------------------------------------

    @abstractmethod
    def make(self, name: bytes, mode: int, uid: int, gid: int, device: int = 0, sure: bool = False) -> "Node":
        """Make a file or directory of the kind in `mode` (no link).  With `sure` the caller knows that nothing is called so, and
        the directory is not searched for it."""

    @abstractmethod
    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> "Node":
        """Make a symbolic link."""

    @abstractmethod
    def link(self, name: bytes, node: "Node") -> None:
        """Give `node`, of the same tree, a further name."""

    @abstractmethod
    def remove(self, name: bytes, node: "Node") -> None:
        """Take away the name `name`, which is `node`'s; a directory has to be empty."""

    @abstractmethod
    def rename(self, name: bytes, directory: "Node", new_name: bytes) -> None:
        """Move a name to another directory of the same tree, over what is there."""

    @abstractmethod
    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data`."""

    @abstractmethod
    def truncate(self, size: int) -> None:
        """Make it `size` bytes long."""

    @abstractmethod
    def set_mode(self, mode: int) -> None:
        """Set the permission bits."""

    @abstractmethod
    def set_owner(self, uid: int, gid: int) -> None:
        """Set the owner."""

    @abstractmethod
    def set_times(self, atime: int, mtime: int) -> None:
        """Set the times of access and modification."""

    @abstractmethod
    def set_xattr(self, name: bytes, value: bytes) -> None:
        """Set an extended attribute."""

    @abstractmethod
    def settle(self, mode: int, atime: int, mtime: int) -> None:
        """All has been written: set the times, and what writing may have changed of `mode`, with which it was made."""

    @abstractmethod
    def close(self) -> None:
        """Nobody needs it any more."""

    @abstractmethod
    def holds(self, directory: "Node") -> bool:
        """Whether `directory` is this directory, or lies in it."""

    def sync(self) -> None:
        """Make it durable, where nobody else does that at the end: on the host."""
        return None

    def rest(self) -> None:
        """It may be needed again, but not soon: let go of what can be had again."""
        return None

    # Made of the others --------------------------------------------------------------------------------

    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.kind == S_IFDIR

    def get(self, name: bytes) -> "Node":
        """As `child`, of what has to be there.  Raises ENOENT, ENOTDIR."""
        if self.kind != S_IFDIR:
            raise failure(ENOTDIR)
        found = self.child(name)
        if found is None:
            raise failure(ENOENT)
        return found

    def pieces(self, size: int, piece: int = PIECE) -> Iterator[tuple[int, bytes]]:
        """(offset, data) of all that is stored in the first `size` bytes, holes left out."""
        offset = 0
        while offset < size:
            start = self.next_data(offset)
            if start < 0:
                return
            end = min(self.next_hole(start), size)
            while start < end:
                data = self.read(start, min(piece, end - start))
                if not data:
                    return
                yield start, data
                start += len(data)
            offset = max(start, end)

    def content(self, piece: int = PIECE) -> Iterator[bytes]:
        """All bytes, piece by piece, holes as zeros."""
        offset = 0
        while True:
            data = self.read(offset, piece)
            if not data:
                return
            yield data
            offset += len(data)


def failure(number: int, text: str = "", place: str = "") -> OSError:
    """An OSError; without a text the number's own."""
    problem = OSError(number, text or MESSAGES.get(number, f"error {number}"))
    if place:
        problem.filename = place
    return problem


def check_name(name: bytes) -> bytes:
    """A name that an image says it has, before it becomes one elsewhere.  Raises EUCLEAN."""
    if name in (b"", b".", b"..") or 47 in name or 0 in name:  # "/" and NUL, by the number a tenth of the time
        raise failure(EUCLEAN, f"{name!r} is no name for a file")
    return name
