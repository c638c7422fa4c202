"""What `FileSystemType.format` and `estimate` of ext2, ext3 and ext4 do."""

from collections.abc import Mapping
from typing import Final

from ....hyper.calls import Hypercalls
from ....kern.abi.errno import EFBIG, EINVAL, ENOSPC
from ....kern.device import Device
from ....vfs.types import Estimate, OptionValue
from .build import Builder
from .layout import Layout
from .options import FORMAT_OPTIONS, Request

LARGEST_ESTIMATE: Final = 1 << 44
SPARE_INODES: Final = 64
"""Inodes of an image that is only as large as its files need, besides an eighth more than there are files."""
NAME_COST: Final = 12
"""Bytes of a directory entry besides its name, rounded up."""


def make_file_system(hyper: Hypercalls, device: Device, kind: str, options: Mapping[str, OptionValue]) -> None:
    """Make a new file system of type `kind` on the device.  `options` has a value for each of FORMAT_OPTIONS.

    Raises EINVAL, ENOTSUP, ENOSPC, EFBIG before anything is written; EROFS, EIO.
    """
    Builder(hyper, device, Layout(Request(kind, device.size(), options, hyper))).build()


def estimate_size(kind: str, files: Estimate) -> int:
    """Bytes of an image of type `kind` that holds `files`, with as many inodes as `inodes_for` says: rather too many.  Raises EFBIG."""
    inodes = inodes_for(kind, files)
    return _smallest(kind, files, inodes)


def inodes_for(kind: str, files: Estimate) -> int:
    """How many inodes an image should have that is only as large as `files` need; 0 where as many as usual.  Raises EFBIG."""
    wanted = files.files + files.directories
    wanted += wanted // 8 + SPARE_INODES
    return wanted if _smallest(kind, files, wanted) < _smallest(kind, files, 0) * 9 // 10 else 0


def _smallest(kind: str, files: Estimate, inodes: int) -> int:
    """The smallest size for so many inodes (0: as many as usual), nearly."""
    options = {option.name: option.default for option in FORMAT_OPTIONS}
    options["inodes"] = inodes
    size = 1 << 20
    while size <= LARGEST_ESTIMATE:
        if _holds(kind, options, size, files):
            break
        size *= 2
    else:
        raise OSError(EFBIG, "the files don't fit into any file system")
    low = size // 2
    while size - low > max(size >> 6, 65536):
        middle = (low + size) // 2 & -65536
        if _holds(kind, options, middle, files):
            size = middle
        else:
            low = middle
    return size


def _holds(kind: str, options: dict[str, OptionValue], size: int, files: Estimate) -> bool:
    try:
        layout = Layout(Request(kind, size, options, None))
    except OSError as problem:
        # A group has only so many inodes: with more of them it is EINVAL until there is a further group.
        if problem.errno == ENOSPC or (problem.errno == EINVAL and options["inodes"]):
            return False
        raise
    block = layout.geometry.block_size
    blocks = sum(-(-length // block) for length in files.sizes)
    blocks += blocks // (block // 4) + sum(1 for length in files.sizes if length > 12 * block)
    # Directories split their blocks in halves as they grow, so that they are two thirds full.
    names = files.name_bytes + (files.files + files.directories) * NAME_COST
    blocks += files.directories * 2 + names * 3 // 2 // block
    blocks += files.xattr_bytes // 64
    special = max(files.files - len(files.sizes), 0)
    blocks += special // 4
    return layout.free_blocks() * 98 // 100 >= blocks and layout.free_inodes() >= files.files + files.directories
