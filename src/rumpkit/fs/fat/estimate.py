"""How large an image has to be for some files: the smallest size for which the default format has room for them."""

from typing import Final

from ...vfs.types import Estimate, Option
from .layout import ENTRY_SIZE, LONG_UNITS
from .plan import MIB, ROOT_ENTRIES, Plan

STEP: Final = 64 * 1024
SPARE_SLOTS: Final = 16
"""Entries that the root directory has to spare: its label takes one."""
LARGEST_ROOT: Final = 65520


def estimate(files: Estimate, options: tuple[Option, ...]) -> int:
    """Bytes of an image for `files`, made with the defaults of `options`.  Rather too many than too few: every name is taken to
    be a long one, and each directory to leave most of a cluster unused."""
    defaults = {option.name: option.default for option in options}
    defaults["root_entries"] = root_entries(files)
    names = files.files + files.directories
    slots = 2 * names + files.name_bytes // LONG_UNITS + 1 + 2 * files.directories
    size = max(sum(files.sizes) + files.hole_bytes + slots * ENTRY_SIZE, MIB - STEP)
    while True:
        size += STEP - size % STEP
        plan = Plan(size, defaults)
        cluster = plan.per_cluster * plan.sector_size
        needed = sum([-(-one // cluster) for one in files.sizes])
        needed += -(-files.hole_bytes // cluster)
        needed += 2 * files.directories + 2 + slots * ENTRY_SIZE // cluster
        if needed + plan.clusters // 64 <= plan.clusters:
            return size
        missing = (needed - plan.clusters) * cluster
        size += max(missing, size // 64)


def root_entries(files: Estimate) -> int:
    """How many entries the root directory of a FAT12 or FAT16 should have for `files`; 0 where as many as usual."""
    slots = 2 * files.root_names + files.root_name_bytes // LONG_UNITS + SPARE_SLOTS
    return 0 if slots <= ROOT_ENTRIES else min(-(-slots // 16) * 16, LARGEST_ROOT)
