"""What `FileSystemType.format` and `estimate` of ext2, ext3 and ext4 do."""

from collections.abc import Mapping
from typing import Final

from ....hyper.calls import Hypercalls
from ....kern.abi.errno import EFBIG, ENOSPC
from ....kern.device import Device
from ....vfs.types import Estimate, OptionValue
from .build import Builder
from .layout import Layout
from .options import FORMAT_OPTIONS, Request

LARGEST_ESTIMATE: Final = 1 << 44
NAME_COST: Final = 12
"""Bytes of a directory entry besides its name, rounded up."""


def make_file_system(hyper: Hypercalls, device: Device, kind: str, options: Mapping[str, OptionValue]) -> None:
    """Make a new file system of type `kind` on the device.  `options` has a value for each of FORMAT_OPTIONS.

    Raises EINVAL, ENOTSUP, ENOSPC, EFBIG before anything is written; EROFS, EIO.
    """
    Builder(hyper, device, Layout(Request(kind, device.size(), options, hyper))).build()


def estimate_size(kind: str, files: Estimate) -> int:
    """Bytes of an image of type `kind` with the default options that holds `files`: rather too many.  Raises EFBIG."""
    options = {option.name: option.default for option in FORMAT_OPTIONS}
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
        if problem.errno == ENOSPC:
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
