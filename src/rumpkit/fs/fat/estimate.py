"""How large an image has to be for some files: the smallest size for which the default format has room for them."""

from typing import Final

from ...vfs.types import Estimate, Option
from .layout import ENTRY_SIZE, LONG_UNITS
from .plan import MIB, Plan

STEP: Final = 64 * 1024


def estimate(files: Estimate, options: tuple[Option, ...]) -> int:
    """Bytes of an image for `files`, made with the defaults of `options`.  Rather too many than too few: every name is taken to
    be a long one, and each directory to leave most of a cluster unused."""
    defaults = {option.name: option.default for option in options}
    names = files.files + files.directories
    slots = 2 * names + files.name_bytes // LONG_UNITS + 1 + 2 * files.directories
    size = max(sum(files.sizes) + slots * ENTRY_SIZE, MIB)
    while True:
        size += STEP - size % STEP
        plan = Plan(size, defaults)
        cluster = plan.per_cluster * plan.sector_size
        needed = sum([-(-one // cluster) for one in files.sizes])
        needed += 2 * files.directories + 2 + slots * ENTRY_SIZE // cluster
        if needed + plan.clusters // 64 <= plan.clusters:
            return size
        missing = (needed - plan.clusters) * cluster
        size += max(missing, size // 64)
