"""Sysctls of a kernel: every limit and default has a name, bounds and a line of help.

A component keeps its settings as plain attributes of one small object, which hot code reads directly; the table
beside it (`Sysctl` rows) tells this registry which of them may be changed, and within what bounds.
"""

from collections.abc import Iterator
from typing import NamedTuple, final

from .abi.errno import EINVAL, ENOENT, error


class Sysctl(NamedTuple):
    """One settable value: `attribute` of a settings object, an int from `low` to `high` inclusive."""

    attribute: str
    low: int
    high: int
    help: str


class Setting(NamedTuple):
    """A row of a listing: dotted name, present value, bounds, help."""

    name: str
    value: int
    low: int
    high: int
    help: str


@final
class SysctlRegistry:
    """All sysctls of a kernel, under dotted names such as `net.tcp.send_buffer`."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[object, tuple[Sysctl, ...]]] = {}

    def register(self, prefix: str, settings: object, table: tuple[Sysctl, ...]) -> None:
        """List the rows of `table` under `prefix`, which must be new."""
        if prefix in self._groups:
            raise ValueError(f"sysctls of {prefix!r} are registered already")
        self._groups[prefix] = (settings, table)

    def get(self, name: str) -> int:
        """The value of `name`.  Raises ENOENT."""
        settings, row = self._find(name)
        return int(getattr(settings, row.attribute))

    def set(self, name: str, value: int) -> None:
        """Change `name`, at once.  Raises ENOENT, and EINVAL outside the bounds."""
        settings, row = self._find(name)
        if not row.low <= value <= row.high:
            raise OSError(EINVAL, f"{name} must be from {row.low} to {row.high}, not {value}")
        setattr(settings, row.attribute, value)

    def __iter__(self) -> Iterator[Setting]:
        for prefix, (settings, table) in self._groups.items():
            for row in table:
                value = int(getattr(settings, row.attribute))
                yield Setting(f"{prefix}.{row.attribute}", value, row.low, row.high, row.help)

    def _find(self, name: str) -> tuple[object, Sysctl]:
        prefix, _, attribute = name.rpartition(".")
        settings, table = self._groups.get(prefix, (None, ()))
        for row in table:
            if row.attribute == attribute:
                return settings, row
        raise error(ENOENT, name)
