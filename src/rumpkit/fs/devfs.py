"""devfs: the file system for /dev, with a special file for each device of the kernel.

As Linux's devtmpfs it is a tmpfs that fills itself: names can be removed, linked and given other permissions.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from ..hyper.calls import Hypercalls
from ..kern.abi.errno import EINVAL, error
from ..kern.device import Device, DeviceObserver, DeviceSwitch
from ..vfs.types import FileSystemType, OptionValue
from ..vfs.vnode import Mount
from .tmpfs.mount import TmpfsMount
from .tmpfs.pool import Pool

if TYPE_CHECKING:
    from ..vfs.vfs import Vfs

LARGEST: Final = 1 << 20
"""Bytes and files that a devfs may have: it is meant for names."""


@final
class _Nodes(DeviceObserver):
    """Keeps a directory's special files as the devices are."""

    def __init__(self, mount: Mount) -> None:
        self._mount: Mount = mount

    def attached(self, device: Device) -> None:
        root = self._mount.root
        name = device.name.encode()
        if root.lookup(name) is None:
            root.create(name, device.kind | device.mode, 0, 0, device.number)

    def detached(self, device: Device) -> None:
        root = self._mount.root
        name = device.name.encode()
        vnode = root.lookup(name)
        if vnode is not None and vnode.kind == device.kind and vnode.device == device.number:
            root.unlink(name, vnode)


@final
class DevfsMount(TmpfsMount):
    """One devfs."""

    def __init__(self, hyper: Hypercalls, devices: DeviceSwitch) -> None:
        super().__init__(hyper, Pool(LARGEST, LARGEST, LARGEST, LARGEST), 0o755, 0, 0, "devfs")
        self._devices: DeviceSwitch = devices
        self._nodes: _Nodes = _Nodes(self)
        devices.observe(self._nodes)

    def unmount(self) -> None:
        """Hear of devices no longer."""
        self._devices.ignore(self._nodes)


@final
class Devfs(FileSystemType):
    """The type "devfs"."""

    def __init__(self, devices: DeviceSwitch) -> None:
        super().__init__("devfs")
        self._devices: DeviceSwitch = devices

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """A new devfs with all devices.  Raises EINVAL where a source is named: it has none."""
        if source not in ("", "devfs"):
            raise error(EINVAL, source)
        return DevfsMount(vfs.hyper, self._devices)
