"""ext2, ext3 and ext4 as types that can be mounted and recognised.  One implementation serves all three."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EINVAL, EROFS
from ...kern.device import Device
from ...vfs.types import Estimate, FileSystemType, Finding, Option, OptionValue, Recognition
from ...vfs.vnode import Mount
from .features import (
    BIT64,
    EXTENTS,
    FLEX_BG,
    GDT_CSUM,
    HAS_JOURNAL,
    HUGE_FILE,
    INLINE_DATA,
    JOURNAL_DEV,
    METADATA_CSUM,
    RECOVER,
)
from .superblock import MAGIC, STATE_ERROR, STATE_VALID, Superblock

if TYPE_CHECKING:
    from ...vfs.vfs import Vfs

OPTIONS: Final = (
    Option("vnodes", 8192, 64, 1 << 30, "files that stay in memory though nobody has them open"),
    Option("commit", 5, 1, 3600, "seconds after which what was changed is committed (with a journal)"),
    Option("transaction_blocks", 0, 0, 1 << 20, "blocks of a transaction; 0: as many as journal and cache allow"),
    Option("delayed_bytes", 32 << 20, 0, 1 << 40, "written bytes that may wait for storage, of all files"),
    Option("delayed_file_bytes", 2 << 20, 0, 1 << 40, "written bytes that may wait for storage, of one file"),
)


def kind_of(fields: Superblock) -> str:
    """Which of the three a file system is: ext4 with any feature that came with it, else ext3 with a journal."""
    modern = fields.feature_incompat & (EXTENTS | BIT64 | FLEX_BG | INLINE_DATA)
    if modern or fields.feature_ro_compat & (HUGE_FILE | GDT_CSUM | METADATA_CSUM):
        return "ext4"
    return "ext3" if fields.feature_compat & HAS_JOURNAL else "ext2"


@final
class Ext(FileSystemType):
    """The type "ext2", "ext3" or "ext4": any of them mounts all that the three can be."""

    def __init__(self, name: str) -> None:
        from .mkfs.options import FORMAT_OPTIONS

        super().__init__(name, OPTIONS, FORMAT_OPTIONS)

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """Mount what is on the block device `source`.  Raises EINVAL for what is not known, EUCLEAN for what can't be."""
        from .open import open_mount

        try:
            device = vfs.claim(source, not options["read_only"])
        except OSError as problem:
            if problem.errno == EROFS:
                raise OSError(EROFS, f"{source} can't be written; mount it read-only") from None
            raise
        try:
            return open_mount(vfs, self.name, source, device, options)
        except BaseException:
            device.disclaim()
            device.close(vfs.hyper.now)
            raise

    def recognise(self, device: Device) -> Recognition | None:
        """What the superblock says."""
        from .volume import read_superblock

        fields = Superblock(read_superblock(device))
        if fields.magic != MAGIC or fields.feature_incompat & JOURNAL_DEV or fields.log_block_size > 6:
            return None
        size = fields.block_size
        uuid = fields.uuid.hex()
        state = "clean" if fields.state & STATE_VALID else "not cleanly unmounted"
        if fields.state & STATE_ERROR:
            state = "has errors"
        if fields.feature_incompat & RECOVER:
            state = "needs recovery"
        return Recognition(
            kind_of(fields),
            fields.volume_name.split(b"\0")[0].decode("utf-8", "replace"),
            "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])),
            fields.blocks_count * size,
            size,
            max(fields.blocks_count - fields.free_blocks_count, 0) * size,
            fields.features(),
            state,
        )

    def format(self, vfs: "Vfs", device: Device, options: Mapping[str, OptionValue]) -> None:
        """Make a new file system with the features of this type."""
        from .mkfs.format import make_file_system

        make_file_system(vfs.hyper, device, self.name, options)

    def check(self, vfs: "Vfs", device: Device, repair: bool, report: Callable[[Finding], None]) -> bool:
        """Check the file system on the device, of whichever of the three types it is."""
        from .fsck.check import check_file_system

        return check_file_system(vfs.hyper, device, repair, report)

    def estimate(self, files: Estimate) -> int:
        """Bytes of an image that holds that much."""
        from .mkfs.format import estimate_size

        return estimate_size(self.name, files)

    def fitting(self, files: Estimate, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        """The number of inodes, where the files are so small that an image would have to be larger only to have more of them."""
        from .mkfs.format import inodes_for

        if not {"inodes", "inode_ratio", "usage", "size"}.isdisjoint(given):
            return {}
        inodes = inodes_for(self.name, files)
        return {"inodes": inodes} if inodes else {}


def check_writable(fields: Superblock) -> None:
    """Raise EINVAL where a file system has features that forbid writing, with their names."""
    from .features import READ_ONLY, unwritable

    missing = unwritable(fields.feature_incompat, fields.feature_ro_compat)
    if missing:
        why = "; ".join(text for bit, text in READ_ONLY.items() if fields.feature_incompat & bit)
        text = f"it can only be mounted read-only: {', '.join(missing)}"
        raise OSError(EINVAL, f"{text} ({why})" if why else text)
