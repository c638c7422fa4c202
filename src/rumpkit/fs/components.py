"""File systems as components: each registers its type with the vfs.  Interpreted; see kern/component.py."""

from typing import TYPE_CHECKING

from ..kern.component import component

if TYPE_CHECKING:
    from ..kern.device import DeviceSwitch
    from ..vfs.vfs import Vfs
    from .devfs import Devfs
    from .tmpfs.type import Tmpfs


@component("tmpfs", faction="fs")
def tmpfs(vfs: "Vfs") -> "Tmpfs":
    """A file system in memory, with limits."""
    from .tmpfs.type import Tmpfs

    kind = Tmpfs()
    vfs.types.register(kind)
    return kind


@component("devfs", faction="fs")
def devfs(vfs: "Vfs", devices: "DeviceSwitch") -> "Devfs":
    """The file system for /dev, with a file for each device."""
    from .devfs import Devfs

    kind = Devfs(devices)
    vfs.types.register(kind)
    return kind
