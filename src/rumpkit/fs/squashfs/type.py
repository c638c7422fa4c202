"""squashfs as a type that can be mounted and recognised."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EINVAL, EROFS
from ...kern.device import Device
from ...vfs.types import FileSystemType, Option, OptionValue, Recognition
from ...vfs.vnode import Mount
from .format import MAGIC_BYTES, Superblock

if TYPE_CHECKING:
    from ...vfs.vfs import Vfs

OPTIONS: Final = (
    Option("vnodes", 8192, 64, 1 << 30, "files that stay in memory though nobody has them open"),
    Option(
        "metadata_bytes", 4 << 20, 1 << 16, 1 << 40, "bytes of unpacked inodes and directories that are kept in memory"
    ),
    Option("data_bytes", 16 << 20, 1 << 16, 1 << 40, "bytes of unpacked file data that are kept in memory"),
)


@final
class Squashfs(FileSystemType):
    """The type "squashfs"."""

    def __init__(self) -> None:
        super().__init__("squashfs", OPTIONS)
        self.read_only = True

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """Mount the image on the block device `source`.  Raises EROFS unless it is mounted read-only, EINVAL, EUCLEAN, ENOTSUP
        where what unpacks it is missing."""
        from .mount import SquashfsMount
        from .volume import Volume

        if not options["read_only"]:
            raise OSError(EROFS, "squashfs can only be read")
        device = vfs.claim(source, False)
        try:
            volume = Volume(device, int(options["metadata_bytes"]), int(options["data_bytes"]))
            return SquashfsMount(vfs.hyper, self.name, source, device, volume, vfs.name_cache(), int(options["vnodes"]))
        except BaseException:
            device.disclaim()
            device.close(vfs.hyper.now)
            raise

    def recognise(self, device: Device) -> Recognition | None:
        """What the superblock says."""
        from .volume import COMPRESSORS, read_head

        data = read_head(device)
        if not data.startswith(MAGIC_BYTES):
            return None
        try:
            fields = Superblock(data, device.size())
        except OSError as problem:
            if problem.errno == EINVAL:
                return None
            return Recognition(self.name, state=problem.strerror or "")
        known = 0 < fields.compressor < len(COMPRESSORS)
        compressor = COMPRESSORS[fields.compressor] if known else f"compressor {fields.compressor}"
        return Recognition(
            self.name,
            "",
            "",
            fields.bytes_used,
            fields.block_size,
            fields.bytes_used,
            (compressor, *fields.features()),
            "read-only",
        )
