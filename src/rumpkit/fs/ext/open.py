"""Mounting: the superblock is read and checked, the journal opened or read through, the mount made."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...kern.device import Device
from ...vfs.types import OptionValue
from .geometry import Geometry, check_magic
from .mount import ExtMount
from .superblock import Superblock
from .type import check_writable
from .volume import Volume, read_superblock

if TYPE_CHECKING:
    from ...vfs.vfs import Vfs


def open_volume(vfs: "Vfs", device: Device) -> Volume:
    """The file system on a device, not mounted.  Raises EINVAL, EUCLEAN, EIO."""
    raw = read_superblock(device)
    check_magic(raw)
    geometry = Geometry(raw, device.size())
    return Volume(vfs.buffer_cache(device, geometry.block_size), geometry)


def open_mount(vfs: "Vfs", kind: str, source: str, device: Device, options: Mapping[str, OptionValue]) -> ExtMount:
    """Mount an open device.  Raises EINVAL, EUCLEAN, EIO."""
    raw = read_superblock(device)
    check_magic(raw)
    if not options["read_only"]:
        check_writable(Superblock(raw))
    volume = open_volume(vfs, device)
    mount = ExtMount(vfs.hyper, kind, source, device, volume, int(options["vnodes"]))
    if not options["read_only"]:
        mount.start_writing()
    return mount
