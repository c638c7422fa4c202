"""What this process has open, for tests that look whether something was left open."""

from __future__ import annotations

import gc
import os


def open_descriptors() -> set[str]:
    """The numbers, one that is closed again among them."""
    return set(os.listdir("/proc/self/fd"))


def descriptors_before() -> set[str]:
    """The same before the test: what earlier ones have dropped is closed now, and not meanwhile."""
    gc.collect()
    return open_descriptors()
