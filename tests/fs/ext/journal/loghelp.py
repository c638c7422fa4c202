"""A journal on a ram disk, without a file system around it: its blocks lie in two runs, the rest of the disk is anybody's."""

from rumpkit.dev.block import BlockDevice
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.ext.journal import format as fmt
from rumpkit.fs.ext.journal.journalled import Journalled
from rumpkit.fs.ext.journal.mount import open_journal
from rumpkit.fs.ext.journal.replay import Recovery, write_superblock
from rumpkit.fs.ext.journal.space import LogSpace
from rumpkit.fs.ext.transaction import Sealer
from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.time import SECOND
from rumpkit.vfs.buffer import BufferCache

BLOCK = 1024
BLOCKS = 4096
RUNS = ((2000, 40), (3000, 1024 - 40))
UUID = bytes(range(16))

KINDS = {
    "plain": (0, 0),
    "v1": (fmt.COMPAT_CHECKSUM, 0),
    "64bit": (0, fmt.INCOMPAT_64BIT),
    "v2": (0, fmt.INCOMPAT_CSUM_V2),
    "v2-64bit": (0, fmt.INCOMPAT_CSUM_V2 | fmt.INCOMPAT_64BIT),
    "v3": (0, fmt.INCOMPAT_CSUM_V3),
    "v3-64bit": (0, fmt.INCOMPAT_CSUM_V3 | fmt.INCOMPAT_64BIT | fmt.INCOMPAT_REVOKE),
}
"""Features of journals: compatible and incompatible."""


def superblock(kind: str = "plain", blocks: int = 1024) -> fmt.JournalSuperblock:
    made = fmt.JournalSuperblock(BLOCK, blocks, UUID)
    made.compat, made.incompat = KINDS[kind]
    if made.has_checksums:
        made.checksum_type = fmt.CRC32C_CHECKSUM
    return made


class Log:
    """A disk with a journal, and whoever has it mounted.  The schedule is held all the time."""

    def __init__(self, kind: str = "plain", runs: tuple[tuple[int, int], ...] = RUNS) -> None:
        self.host = SimHost()
        self.host.enter()
        self.disk = RamDisk(BLOCK * BLOCKS)
        self.device = BlockDevice(self.host, "disk0", 0, self.disk)
        self.runs = runs
        cache = BufferCache(self.device, BLOCK, 1 << 20)
        write_superblock(LogSpace(cache, runs), superblock(kind, sum(count for _, count in runs)))

    def space(self) -> LogSpace:
        return LogSpace(BufferCache(self.device, BLOCK, 1 << 20), self.runs)

    def mount(self, interval: int = 5 * SECOND, limit: int = 0) -> tuple[BufferCache, Journalled, Recovery]:
        """As after a crash: whatever is in the memory of an earlier mount is gone."""
        cache = BufferCache(self.device, BLOCK, 1 << 20)
        journal, found = open_journal(self.host, cache, self.runs, interval, limit)
        return cache, journal, found

    def home(self, block: int) -> bytes:
        """The first bytes of a block on the disk."""
        return self.disk.read(block * BLOCK, 8)


def put(cache: BufferCache, journal: Journalled, contents: dict[int, bytes]) -> None:
    """One operation: blocks get new first bytes."""
    journal.begin(len(contents))
    for block, data in contents.items():
        buffer = cache.get(block)
        journal.dirty(buffer)
        buffer.data[: len(data)] = data
    journal.end()


class Notes(Sealer):
    """A mount that notes what it is told."""

    def __init__(self) -> None:
        self.seals = 0
        self.reasons: list[str] = []

    def seal(self) -> None:
        self.seals += 1

    def aborted(self, reason: str) -> None:
        self.reasons.append(reason)
