"""One FAT volume on its device: what files and directories share.  Between them (node.py, directory.py) and the device."""

from typing import TYPE_CHECKING, final

from ...hyper.calls import Hypercalls
from ...hyper.time import Instant
from ...kern.abi.errno import EIO, error
from ...kern.device import Device
from .alloc import Allocator
from .chain import Chain
from .geometry import Geometry
from .layout import FIRST_CLUSTER, FSINFO, FSINFO_LEAD, FSINFO_STRUCTURE, FSINFO_TRAIL
from .numbers import Numbers
from .table import Table
from .writer import Writer

if TYPE_CHECKING:
    from .mount import FatMount
    from .node import Node


@final
class Volume:
    """The device, its shape, its FAT."""

    def __init__(self, hyper: Hypercalls, device: Device, geometry: Geometry, table_bytes: int, numbers: int) -> None:
        self.hyper: Hypercalls = hyper
        self.device: Device = device
        self.geometry: Geometry = geometry
        self.table: Table = Table(device, geometry, table_bytes)
        self.nodes: dict[int, Node] = {}
        """The files of the mount that are in memory, by inode number."""
        self.numbers: Numbers = Numbers(device.size(), numbers, self.nodes)
        self.mount: FatMount | None = None
        """The mount, where there is one: it is told when there is something to write."""
        self.waiting: bool = False
        """Something was changed, and the volume not synced since;"""
        self.since: Instant = 0
        """when that was."""
        self.time_offset: int = 0
        """Minutes that the times on the volume are ahead of UTC."""
        self.alloc: Allocator = Allocator(self.table)
        self.writer: Writer = Writer(device, geometry, self.table, self.alloc)

    def free_clusters(self) -> int:
        """Clusters that no file has.  Counted once; a clean volume's FSInfo is taken at its word.  Raises EIO."""
        alloc = self.alloc
        if alloc.free < 0:
            if not self.geometry.dirty:
                alloc.free = read_fsinfo(self.device, self.geometry)[0]
            if alloc.free < 0:
                alloc.free = self.table.count_free() + sum([count for _, count in alloc.freeing])
        return alloc.free

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the device.  Raises EIO."""
        if self.writer.tail and self.writer.overlaps(address, size):
            self.writer.write_tail()
        data = self.device.read(address, size)
        if not isinstance(data, bytes) or len(data) != size:
            raise error(EIO)
        return data

    def begin(self) -> None:
        """Something will change."""
        if self.alloc.free < 0:
            self.free_clusters()
            self.alloc.hint = max(read_fsinfo(self.device, self.geometry)[1], FIRST_CLUSTER)
        self.writer.begin()
        self.changed()

    def changed(self) -> None:
        """There is something to write."""
        if not self.waiting:
            self.waiting = True
            self.since = self.hyper.now
            if self.mount is not None:
                self.mount.dirtied()

    def extend(self, chain: Chain, count: int) -> int:
        """Put up to `count` clusters behind a chain, which is whole; returns how many there was room for.

        What waits for a commit or a flush to be free is waited for where nothing else is.  Raises EIO.
        """
        if chain.known and chain.last in self.table.cuts:
            # What was cut off here must be off on the device before something else is put on.
            self.writer.commit()
        done = self.alloc.extend(chain, count)
        if done < count and (self.alloc.freeing or self.alloc.cooling):
            self.settle()
            done += self.alloc.extend(chain, count - done)
        return done

    def settle(self) -> None:
        """Make what was given up free to be taken."""
        self.writer.commit()
        self.writer.flush()

    def cut(self, chain: Chain, count: int) -> None:
        """Keep the first `count` clusters of a chain and give the others up.  Raises EUCLEAN, EIO."""
        chain.all()
        if count < chain.known:
            self.alloc.give_up(chain.cut(count))
            if count:
                self.table.cuts.add(chain.last)


def read_geometry(device: Device) -> Geometry:
    """The shape of the volume on a device.  Raises EINVAL, EUCLEAN, EIO."""
    data = device.read(0, 512)
    return Geometry(data if isinstance(data, bytes) else b"", device.size())


def read_fsinfo(device: Device, geometry: Geometry) -> tuple[int, int]:
    """What FSInfo says: free clusters, and where to look for the next one; -1 for what it doesn't."""
    if not geometry.fsinfo_offset:
        return -1, -1
    data = device.read(geometry.fsinfo_offset, FSINFO.size)
    if not isinstance(data, bytes) or len(data) != FSINFO.size:
        raise error(EIO)
    lead, _, structure, free, following, _, trail = FSINFO.unpack(data)
    if lead != FSINFO_LEAD or structure != FSINFO_STRUCTURE or trail != FSINFO_TRAIL:
        return -1, -1
    return (
        free if free <= geometry.clusters else -1,
        following if 2 <= following < geometry.end else -1,
    )
