"""Time as data: an `Instant` is an integer count of nanoseconds on the host's monotonic clock."""

from typing import Final, TypeAlias

Instant: TypeAlias = int
"""Nanoseconds since a host's own epoch (monotonic); only differences mean something."""

Duration: TypeAlias = int
"""Nanoseconds."""

MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000

FOREVER: Final = 1 << 61
"""A deadline that never comes; still a small integer once compiled."""
