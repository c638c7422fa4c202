"""One FAT volume on its device: what files and directories share.  Between them (node.py, directory.py) and the device."""

from typing import final

from ...hyper.calls import Hypercalls
from ...kern.abi.errno import EIO, error
from ...kern.device import Device
from .geometry import Geometry
from .layout import FSINFO, FSINFO_LEAD, FSINFO_STRUCTURE, FSINFO_TRAIL
from .numbers import Numbers
from .table import Table


@final
class Volume:
    """The device, its shape, its FAT."""

    def __init__(self, hyper: Hypercalls, device: Device, geometry: Geometry, table_bytes: int, numbers: int) -> None:
        self.hyper: Hypercalls = hyper
        self.device: Device = device
        self.geometry: Geometry = geometry
        self.table: Table = Table(device, geometry, table_bytes)
        self.numbers: Numbers = Numbers(device.size(), numbers)
        self.time_offset: int = 0
        """Minutes that the times on the volume are ahead of UTC."""
        self.free: int = -1
        """Free clusters, once they were counted."""

    def free_clusters(self) -> int:
        """Clusters that no file has.  Counted once; a clean volume's FSInfo is taken at its word.  Raises EIO."""
        if self.free < 0:
            if not self.geometry.dirty:
                self.free = read_fsinfo(self.device, self.geometry)[0]
            if self.free < 0:
                self.free = self.table.count_free()
        return self.free

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the device.  Raises EIO."""
        data = self.device.read(address, size)
        if not isinstance(data, bytes) or len(data) != size:
            raise error(EIO)
        return data


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
