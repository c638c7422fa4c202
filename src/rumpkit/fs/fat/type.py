"""FAT as a type that can be mounted, with its options."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, final

from ...kern.device import Device
from ...vfs.types import Estimate, FileSystemType, Finding, Option, OptionValue, Recognition
from ...vfs.vnode import Mount
from .format import OPTIONS as FORMAT_OPTIONS
from .format import format_volume
from .geometry import Geometry
from .mount import FatMount
from .shortname import CODE_PAGE
from .volume import read_fsinfo, read_geometry

if TYPE_CHECKING:
    from ...vfs.vfs import Vfs

MEBIBYTE: Final = 1 << 20
OPTIONS: Final = (
    Option("uid", 0, 0, 0xFFFFFFFE, "owner of all files"),
    Option("gid", 0, 0, 0xFFFFFFFE, "group of all files"),
    Option("fmask", 0o022, 0, 0o777, "permission bits that files lack"),
    Option("dmask", 0o022, 0, 0o777, "permission bits that directories lack"),
    Option("quiet", False, 0, 1, "let chown and chmod to what FAT can't keep succeed, without effect"),
    Option("time_offset", 0, -1440, 1440, "minutes that the times on the volume are ahead of UTC"),
    Option("table_bytes", 16 * MEBIBYTE, 1 << 16, 1 << 32, "bytes of the FAT that are kept in memory"),
    Option("directory_bytes", 8 * MEBIBYTE, 1 << 16, 1 << 32, "bytes of directories that are kept in memory"),
    Option("cached_files", 32768, 4096, 1 << 24, "files that are kept in memory"),
)


@final
class Fat(FileSystemType):
    """The types "fat" and "vfat"."""

    def __init__(self, name: str) -> None:
        super().__init__(name, OPTIONS, FORMAT_OPTIONS)

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """The volume on the block device `source`.  Raises ENOENT, ENOTBLK, EROFS, EBUSY; EINVAL where there is no boot sector,
        EUCLEAN where it makes no sense, EIO."""
        device = vfs.claim(source, not options["read_only"])
        try:
            return FatMount(vfs.hyper, self.name, device, read_geometry(device), options)
        except BaseException:
            device.disclaim()
            device.close(vfs.hyper.now)
            raise

    def recognise(self, device: Device) -> Recognition | None:
        """Whether a boot sector with sensible numbers is there."""
        data = device.read(0, 512)
        if not isinstance(data, bytes):
            return None
        try:
            geometry = Geometry(data, device.size())
        except OSError:
            return None
        free, _ = read_fsinfo(device, geometry)
        label = geometry.label.rstrip(b" ").decode(CODE_PAGE)
        number = geometry.volume_id
        return Recognition(
            "vfat",
            "" if label == "NO NAME" else label,
            f"{number >> 16:04X}-{number & 0xFFFF:04X}" if number else "",
            geometry.size(),
            geometry.cluster_size,
            (geometry.clusters - free) * geometry.cluster_size if free >= 0 else -1,
            (f"fat{geometry.bits}",),
            "dirty" if geometry.dirty else "clean",
        )

    def format(self, vfs: "Vfs", device: Device, options: Mapping[str, OptionValue]) -> None:
        """Make an empty volume on the device.  Raises ENOSPC, EFBIG, EINVAL, EROFS, EIO."""
        format_volume(vfs.hyper, device, options)

    def check(self, vfs: "Vfs", device: Device, repair: bool, report: Callable[[Finding], None]) -> bool:
        """Check the volume, and repair it.  Clusters that no file has become free.  Raises EINVAL where there is no boot sector,
        EUCLEAN where neither it nor its backup make sense, EIO."""
        from .fsck import Checker, find_geometry

        return Checker(vfs.hyper, device, find_geometry(device, repair, report), repair, report).run()

    def estimate(self, files: Estimate) -> int:
        """Bytes of an image for such files."""
        from .estimate import estimate

        return estimate(files, self.format_options)

    def fitting(self, files: Estimate, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        """A root directory of FAT12 and FAT16 that has room for all names, where the usual one has not."""
        from .estimate import root_entries

        entries = 0 if "root_entries" in given else root_entries(files)
        return {"root_entries": entries} if entries else {}
