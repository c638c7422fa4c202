"""A directory's bytes: read whole, kept in memory, and where each slot lies on the device.

Between the directory's names (index.py) and the volume.  A directory has at most 65,536 slots, so this is bounded.
"""

from typing import TYPE_CHECKING, final

from ...kern.abi.errno import EUCLEAN
from .chain import Chain
from .layout import ENTRY_SIZE, MAX_SLOTS

if TYPE_CHECKING:
    from .volume import Volume


@final
class Slots:
    """The storage of one directory."""

    def __init__(self, volume: "Volume", chain: Chain | None) -> None:
        self.volume: Volume = volume
        self.chain: Chain | None = chain
        """None: the fixed root directory of FAT12 and FAT16."""
        self.data: bytearray = bytearray()
        self.fresh: bool = False
        """Made since the last commit: nothing on the device refers to it, so it may be written at any time before."""
        self.dirty: set[int] = set()
        """Sectors, counted from the directory's start, that are newer in memory."""
        self.ghosts: dict[int, bytes] = {}
        """Slots that are free in memory, with what they hold on the device until what replaces them is durable there."""

    def load(self) -> None:
        """Read the directory.  Raises EUCLEAN, EIO."""
        volume = self.volume
        geometry = volume.geometry
        if self.chain is None:
            self.data = bytearray(volume.read(geometry.root_offset, geometry.root_bytes))
            return
        chain = self.chain
        most = MAX_SLOTS * ENTRY_SIZE // geometry.cluster_size
        if chain.find(most + 1) > most and most:
            raise OSError(EUCLEAN, f"the directory at cluster {chain.first} has more than {MAX_SLOTS} entries")
        if chain.known == 0:
            raise OSError(EUCLEAN, "a directory without a cluster")
        parts = [volume.read(geometry.address(start), count * geometry.cluster_size) for start, count in chain.runs()]
        self.data = bytearray(b"".join(parts))

    def capacity(self) -> int:
        """Slots that there is room for."""
        return len(self.data) // ENTRY_SIZE

    def address(self, offset: int) -> int:
        """Where byte `offset` of the directory is on the device."""
        geometry = self.volume.geometry
        if self.chain is None:
            return geometry.root_offset + offset
        index = offset // geometry.cluster_size
        return geometry.address(self.chain.locate(index)[0]) + offset - index * geometry.cluster_size
