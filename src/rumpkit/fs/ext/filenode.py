"""Regular files as vnodes."""

from typing import TYPE_CHECKING, final

from ...kern.abi.errno import EACCES
from . import filedata, inline
from .blockmap import largest
from .geometry import corrupt
from .inode import ENCRYPTED, INLINE
from .node import ExtNode
from .state import InodeState

if TYPE_CHECKING:
    from .mount import ExtMount


@final
class FileNode(ExtNode):
    """A regular file."""

    def __init__(self, mount: "ExtMount", state: InodeState) -> None:
        super().__init__(mount, state)
        if self.size > 1 << 62 or (self.size - 1) >> state.volume.block_bits >= largest(state):
            raise corrupt(f"{state.where}: a file of {self.size} bytes")

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from byte `offset`."""
        end = min(offset + size, self.size)
        if end <= offset:
            return b""
        state = self.state
        if state.inode.flags & (INLINE | ENCRYPTED):
            check_plain(state)
            return inline.read(state)[offset:end]
        return filedata.read(state, offset, end)

    def next_data(self, offset: int) -> int:
        """The next byte that has storage."""
        state = self.state
        return offset if state.inode.flags & INLINE else filedata.next_data(state, offset)

    def next_hole(self, offset: int) -> int:
        """The next byte that has none, or the end."""
        state = self.state
        return self.size if state.inode.flags & INLINE else filedata.next_hole(state, offset)


def check_plain(state: InodeState) -> None:
    """Raise EACCES for a file whose data is encrypted."""
    if state.inode.flags & ENCRYPTED:
        raise OSError(EACCES, f"{state.where}: it is encrypted, and there is no key")
