"""New file systems for tests of the ext family."""

from rumpkit.dev.block import BlockDevice
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.ext.mkfs.format import make_file_system
from rumpkit.fs.ext.mkfs.options import FORMAT_OPTIONS
from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.block import BlockBackend
from rumpkit.vfs.types import OptionValue


def complete(options: dict[str, OptionValue]) -> dict[str, OptionValue]:
    return {option.name: option.default for option in FORMAT_OPTIONS} | options


def format_disk(disk: BlockBackend, kind: str, options: dict[str, OptionValue], seed: int = 0) -> None:
    host = SimHost(seed)
    host.enter()
    try:
        make_file_system(host, BlockDevice(host, "disk0", 0, disk), kind, complete(options))
    finally:
        host.leave()


def new_disk(kind: str, size: int, seed: int = 0, **options: OptionValue) -> RamDisk:
    disk = RamDisk(size)
    format_disk(disk, kind, options, seed)
    return disk
