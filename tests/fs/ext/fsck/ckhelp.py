"""Checks of file systems in memory."""

from rumpkit.dev.block import BlockDevice
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.ext.fsck.check import check_file_system
from rumpkit.hosts.sim.host import SimHost
from rumpkit.vfs.types import Finding


def check_disk(disk: RamDisk, repair: bool = False) -> tuple[bool, list[Finding]]:
    """Whether the file system on a disk is sound, and the findings.  Raises as the check does."""
    host = SimHost()
    host.enter()
    try:
        found: list[Finding] = []
        sound = check_file_system(host, BlockDevice(host, "disk0", 0, disk), repair, found.append)
        return sound, found
    finally:
        host.leave()


def check_bytes(data: bytes, repair: bool = False) -> tuple[bool, list[Finding], bytes]:
    """The same for an image; and what the image is then."""
    disk = RamDisk(len(data))
    disk.write(0, data)
    sound, found = check_disk(disk, repair)
    return sound, found, disk.read(0, disk.size)
