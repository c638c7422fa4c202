"""NewReno's congestion window (RFC 5681), counting bytes (RFC 3465) so that the acknowledgement of a super-segment counts for what it
acknowledges, with HyStart++ in the first slow start."""

from typing import final

from mypy_extensions import i64

from .....hyper.time import Instant
from .control import UNLIMITED, CongestionControl
from .hystart import HyStart


@final
class NewReno(CongestionControl):
    """One segment more for each window, half the flight after a loss."""

    def __init__(self, mss: i64, initial_segments: i64) -> None:
        super().__init__(mss, initial_segments)
        self._credit: i64 = 0
        """Bytes acknowledged in congestion avoidance and not yet turned into window."""
        self._start: HyStart | None = None

    def acknowledged(self, size: i64, flight: i64, sample: i64, rtt: i64, now: Instant) -> None:
        """Grow: by what was acknowledged in slow start, by one segment a window after it."""
        if self.window < self.threshold:
            growth = size
            if self.threshold == UNLIMITED:
                if self._start is None:
                    self._start = HyStart()
                growth = self._start.growth(size, flight, sample)
                if growth < 0:
                    self.threshold = self.window
                    self._start = None
                    return
                self.window += growth
                return
            growth = min(growth, self.threshold - self.window)
            self.window += growth
            size -= growth
        self._credit += size
        if self._credit >= self.window:
            self._credit -= self.window
            self.window += self.mss

    def reduced_threshold(self, flight: i64, now: Instant) -> i64:
        """Half the flight, at least two segments (RFC 5681 equation 4)."""
        self._credit = 0
        self._start = None
        return max(flight // 2, 2 * self.mss)
