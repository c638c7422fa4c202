"""Partitions: a window on a backend, and what a partition table says, whatever its format.

Between a whole disk's storage (hyper/block.py) and the device or file system on one part of it.  partition_gpt.py and partition_mbr.py
read and write tables; partition_table.py chooses between them.  Sizes and places are in bytes here; tables count sectors.
"""

from typing import Final, NamedTuple, final

from ..hyper.block import BlockBackend
from ..kern.abi.errno import EINVAL, EROFS, EUCLEAN, error

SECTOR: Final = 512
ALIGNMENT: Final = 1 << 20
"""Where new partitions begin: at a multiple of this."""
MAX_PARTITIONS: Final = 1024
"""The most that are read from one table."""


class Partition(NamedTuple):
    """One row of a partition table."""

    number: int
    """From 1; of MBR's logical ones from 5."""
    start: int
    """Bytes."""
    size: int
    """Bytes."""
    type: str
    """GPT: the type GUID in capitals; MBR: two hex digits."""
    name: str = ""
    """GPT only: the label."""
    uuid: str = ""
    """GPT: the partition's GUID in capitals; MBR: the disk's signature and the number, as Linux's PARTUUID."""
    bootable: bool = False
    """MBR: the active flag; GPT: the attribute "legacy BIOS bootable"."""
    attributes: int = 0
    """GPT only: the 64 attribute bits."""

    @property
    def end(self) -> int:
        """The byte after its last."""
        return self.start + self.size


class PartitionTable(NamedTuple):
    """A disk's partition table."""

    kind: str
    """ "gpt" or "dos" """
    identifier: str
    """GPT: the disk's GUID in capitals; MBR: its signature, 0x and eight hex digits."""
    partitions: tuple[Partition, ...]
    """In the order of their numbers."""
    sector_size: int = SECTOR
    notes: tuple[str, ...] = ()
    """What is wrong with it and was borne: "the primary GPT is damaged; its backup was read"."""

    def find(self, name: str) -> Partition | None:
        """The partition with this number, label or UUID, or None."""
        for partition in self.partitions:
            if name in (str(partition.number), partition.name) or name.upper() == partition.uuid:
                return partition
        return None


@final
class PartitionBackend(BlockBackend):
    """Some bytes of another backend as a disk of their own.  Closing it leaves that one open, unless it is `owner`."""

    def __init__(self, backend: BlockBackend, start: int, size: int, owner: bool = False) -> None:
        """Raises EINVAL for a window that is not within the backend."""
        if start < 0 or size < 0 or start + size > backend.size:
            raise OSError(EINVAL, f"bytes {start} to {start + size} are not within a disk of {backend.size}")
        super().__init__(size, backend.read_only)
        self.shares_flush = backend.shares_flush
        self.start: int = start
        self._backend: BlockBackend = backend
        self._owner: bool = owner

    def read(self, offset: int, size: int) -> bytes:
        """Read exactly `size` bytes.  Raises EINVAL outside of the partition, and what the backend raises."""
        self._check(offset, size)
        return self._backend.read(self.start + offset, size)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data`.  Raises EINVAL outside of the partition, EROFS, and what the backend raises."""
        if self.read_only:
            raise error(EROFS)
        self._check(offset, len(data))
        self._backend.write(self.start + offset, data)

    def write_durable(self, offset: int, data: bytes) -> None:
        """As `write`, durable on return."""
        if self.read_only:
            raise error(EROFS)
        self._check(offset, len(data))
        self._backend.write_durable(self.start + offset, data)

    def window(self) -> tuple[BlockBackend, int, int]:
        """Where it lies on the whole disk."""
        disk, start, _ = self._backend.window()
        return disk, start + self.start, start + self.start + self.size

    def flush(self) -> None:
        """Return once what was written is durable: the whole backend's flush."""
        self._backend.flush()

    def discard(self, offset: int, size: int) -> bool:
        """As the backend's."""
        self._check(offset, size)
        return self._backend.discard(self.start + offset, size)

    def close(self) -> None:
        """Let go of the backend, if it is ours."""
        if self._owner:
            self._backend.close()

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise error(EINVAL)


def check_layout(partitions: list[Partition], first: int, last: int, what: str) -> None:
    """Raise EUCLEAN unless the partitions lie between byte `first` and byte `last` and none lies on another."""
    end = first
    before = 0
    for partition in sorted(partitions, key=_start):
        if partition.size <= 0 or partition.start < first or partition.end > last:
            raise OSError(
                EUCLEAN,
                f"{what}: partition {partition.number}, bytes {partition.start} to {partition.end}, is outside the disk",
            )
        if partition.start < end:
            raise OSError(EUCLEAN, f"{what}: partitions {before} and {partition.number} overlap")
        end, before = partition.end, partition.number


def _start(partition: Partition) -> int:
    return partition.start
