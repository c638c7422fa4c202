"""The disks of a kernel: block devices made of backends that a host gives, and ram disks."""

from typing import Final, final

from ..hyper.block import BlockBackend
from ..kern.abi.errno import EBUSY, EEXIST, EINVAL, ENFILE, ENXIO, error
from ..kern.device import DeviceSwitch, device_number
from ..kern.kernel import RumpKernel
from ..kern.sysctl import Sysctl
from .block import BlockDevice
from .ramdisk import RamDisk

MAJOR: Final = 259
"""Linux's blkext: disks whose numbers are handed out as they come."""


@final
class DiskSettings:
    """Limits of disks."""

    def __init__(self) -> None:
        self.max_disks: int = 256


SYSCTLS: Final = (Sysctl("max_disks", 0, 1 << 20, "block devices that there may be at once"),)


@final
class Disks:
    """Attaches and detaches block devices.  All methods are called on the schedule."""

    def __init__(self, kernel: RumpKernel, devices: DeviceSwitch) -> None:
        self._kernel: RumpKernel = kernel
        self._devices: DeviceSwitch = devices
        self._disks: dict[str, BlockDevice] = {}
        self._minor: int = 0
        self.settings: DiskSettings = DiskSettings()
        kernel.sysctl.register("dev.disk", self.settings, SYSCTLS)

    def attach(self, name: str, backend: BlockBackend) -> BlockDevice:
        """Make `backend` the block device /dev/`name`.  Raises EEXIST, EINVAL (no name), ENFILE (too many)."""
        if not name or "/" in name:
            raise error(EINVAL, name)
        if len(self._disks) >= self.settings.max_disks:
            raise error(ENFILE, name)
        if self._devices.named(name) is not None:
            raise error(EEXIST, name)
        disk = BlockDevice(self._kernel.hyper, name, device_number(MAJOR, self._minor), backend)
        disk.peers = self._disks
        self._devices.attach(disk)
        self._kernel.counters.register(f"disk.{name}", disk.counters)
        self._minor += 1
        self._disks[name] = disk
        return disk

    def attach_ram(self, name: str, size: int) -> BlockDevice:
        """A ram disk of `size` bytes as /dev/`name`.  Raises as `attach`, and EINVAL for a negative size."""
        if size < 0:
            raise error(EINVAL, name)
        return self.attach(name, RamDisk(size))

    def detach(self, name: str) -> None:
        """Take a disk away and let go of its backend.  Raises ENXIO where there is none, EBUSY while it is open."""
        disk = self._disks.get(name)
        if disk is None:
            raise error(ENXIO, name)
        if disk.opens:
            raise error(EBUSY, name)
        del self._disks[name]
        self._devices.detach(disk)
        self._kernel.counters.unregister(f"disk.{name}")
        disk.release_backend()

    def disks(self) -> list[BlockDevice]:
        """What is attached, in the order it came."""
        return list(self._disks.values())

    def close(self) -> None:
        """Let go of all backends: the kernel goes away."""
        for disk in self.disks():
            del self._disks[disk.name]
            disk.release_backend()
