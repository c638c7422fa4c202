"""What the status line says: how long kernels are up, and what goes through their interfaces."""

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

    def __init__(self, *kernels: Kernel) -> None:
        self._kernels = kernels
        self._started = self._last = time.monotonic()
        self._bytes_in, self._bytes_out = self._bytes()

    def line(self, now: float) -> str:
        """The status at `now` (seconds, monotonic)."""
        bytes_in, bytes_out = self._bytes()
        elapsed = max(now - self._last, 1e-3)
        rate_in = amount((bytes_in - self._bytes_in) / elapsed)
        rate_out = amount((bytes_out - self._bytes_out) / elapsed)
        self._last, self._bytes_in, self._bytes_out = now, bytes_in, bytes_out
        name = ", ".join(kernel.spec.kernel.hostname for kernel in self._kernels)
        return f" {name} | up {now - self._started:.0f} s | in {rate_in}/s | out {rate_out}/s | Ctrl-C stops"

    def _bytes(self) -> tuple[int, int]:
        """What has come in and gone out of all kernels."""
        counters = [kernel.counters() for kernel in self._kernels]
        return sum(_total(one, "bytes_in") for one in counters), sum(_total(one, "bytes_out") for one in counters)


def _total(counters: dict[str, int], what: str) -> int:
    return sum(
        value
        for name, value in counters.items()
        if name.startswith("interface.") and name.endswith(what) and ".lo." not in name
    )
