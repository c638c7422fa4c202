"""What the status line says: how long a kernel is up, and what goes through its interfaces."""

import time

from ..compose.kernel import Kernel

UNITS = ("B", "kB", "MB", "GB")


def amount(count: float) -> str:
    """Bytes as people read them: "1.2 MB"."""
    unit = 0
    while count >= 1000 and unit < len(UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f} {UNITS[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {UNITS[unit]}"


class Traffic:
    """Rates between one call of `line` and the next."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._started = self._last = time.monotonic()
        counters = kernel.counters()
        self._bytes_in, self._bytes_out = _total(counters, "bytes_in"), _total(counters, "bytes_out")

    def line(self, now: float) -> str:
        """The status at `now` (seconds, monotonic)."""
        counters = self._kernel.counters()
        bytes_in = _total(counters, "bytes_in")
        bytes_out = _total(counters, "bytes_out")
        elapsed = max(now - self._last, 1e-3)
        rate_in = amount((bytes_in - self._bytes_in) / elapsed)
        rate_out = amount((bytes_out - self._bytes_out) / elapsed)
        self._last, self._bytes_in, self._bytes_out = now, bytes_in, bytes_out
        name = self._kernel.spec.kernel.hostname
        return f" {name} | up {now - self._started:.0f} s | in {rate_in}/s | out {rate_out}/s | Ctrl-C stops"


def _total(counters: dict[str, int], what: str) -> int:
    return sum(
        value
        for name, value in counters.items()
        if name.startswith("interface.") and name.endswith(what) and ".lo." not in name
    )
