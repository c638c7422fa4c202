"""CUBIC (RFC 9438): the window as a cubic function of the time since the last loss, at least what Reno would have, with
HyStart++ (RFC 9406) in the first slow start.

Windows inside are segments, times are seconds, both as floats; only the four operations are used, so that the same
simulation gives the same window anywhere.
"""

from typing import Final, final

from mypy_extensions import i64

from .....hyper.time import SECOND, Instant
from .control import UNLIMITED, CongestionControl
from .hystart import HyStart

_C: Final = 0.4
"""How fast the window grows, in segments a cubed second (section 5)."""
_BETA: Final = 0.7
"""What is left of the window after a loss."""
_ALPHA: Final = 3.0 * (1.0 - _BETA) / (1.0 + _BETA)
"""Segments a round trip with which a Reno that keeps beta has Reno's share (section 4.3)."""


@final
class Cubic(CongestionControl):
    """The names in the RFC: `_w_max`, `_k`, `_w_est`, cwnd_prior is `_prior`."""

    def __init__(self, mss: i64, initial_segments: i64) -> None:
        super().__init__(mss, initial_segments)
        self._w_max: float = 0.0
        """Segments in the window before the last loss, less with fast convergence; 0 after a timeout and before any."""
        self._k: float = 0.0
        """Seconds from the start of the epoch until the window is at `_origin` again."""
        self._origin: float = 0.0
        self._w_est: float = 0.0
        """What Reno would have."""
        self._prior: float = 0.0
        self._epoch: i64 = -1
        """When congestion avoidance began; -1 if it hasn't since the last loss."""
        self._used_at: i64 = 0
        """When the window was in use last."""
        self._growth: float = 0.0
        """Bytes by which the window is to grow, less than one."""
        self._undone_w_max: float = 0.0
        self._start: HyStart | None = None

    def acknowledged(self, size: i64, flight: i64, sample: i64, rtt: i64, now: Instant) -> None:
        """Grow (sections 4.2 to 4.5, 4.10)."""
        if self.window < self.threshold:
            if self.threshold == UNLIMITED:
                self._slow_start(size, flight, sample)
                return
            growth = min(size, self.threshold - self.window)
            self.window += growth
            size -= growth
            if size == 0:
                return
        self._avoid(size, rtt, now)

    def _slow_start(self, size: i64, flight: i64, sample: i64) -> None:
        if self._start is None:
            self._start = HyStart()
        growth = self._start.growth(size, flight, sample)
        if growth < 0:
            self.threshold = self.window
            self._start = None
        else:
            self.window += growth

    def _avoid(self, size: i64, rtt: i64, now: i64) -> None:
        mss = float(self.mss)
        window = float(self.window) / mss
        if self._epoch < 0:
            self._begin(window, now)
        elif now - self._used_at > 2 * rtt + SECOND // 100:
            # The window was not in use meanwhile: that time does not count (section 5.8).
            self._epoch += now - self._used_at
        self._used_at = now
        acked = float(size) / mss
        self._w_est += (_ALPHA if self._w_est < self._prior else 1.0) * acked / window
        time = float(now - self._epoch) / 1e9
        if self._curve(time) < self._w_est:
            wanted = self._w_est - window
            if wanted > 0.0:
                self._grow(wanted * mss)
            return
        target = self._curve(time + float(rtt) / 1e9)
        if target > 1.5 * window:
            target = 1.5 * window
        if target > window:
            self._grow((target - window) / window * acked * mss)

    def _begin(self, window: float, now: i64) -> None:
        """Congestion avoidance begins: where is the plateau?"""
        self._epoch = now
        self._w_est = window
        if window < self._w_max:
            self._origin = self._w_max
            self._k = cube_root((self._w_max - window) / _C)
        else:
            self._origin = window
            self._k = 0.0

    def _curve(self, time: float) -> float:
        """W_cubic (equation 1)."""
        since = time - self._k
        return self._origin + _C * since * since * since

    def _grow(self, size: float) -> None:
        self._growth += size
        whole: i64 = int(self._growth)
        self._growth -= float(whole)
        self.window += whole

    def reduced_threshold(self, flight: i64, now: Instant) -> i64:
        """Seven tenths (section 4.6); a flow whose window did not get back to where it was lets go of some more for others
        (fast convergence, section 4.7)."""
        window = float(self.window) / float(self.mss)
        self._undone_w_max = self._w_max
        if window < self._w_max:
            self._w_max = window * (1.0 + _BETA) / 2.0
        else:
            self._w_max = window
        self._prior = window
        self._epoch = -1
        self._growth = 0.0
        self._start = None
        base = min(flight, self.window)
        return max(base * 7 // 10, 2 * self.mss)

    def timed_out(self, flight: i64, first: bool, now: Instant) -> None:
        """The next congestion avoidance begins on its own plateau (section 4.8)."""
        super().timed_out(flight, first, now)
        self._w_max = 0.0
        self._epoch = -1

    def undo(self, window: i64, threshold: i64) -> None:
        """The last loss was none (section 4.9)."""
        super().undo(window, threshold)
        self._w_max = self._undone_w_max
        self._epoch = -1


def cube_root(value: float) -> float:
    """The cube root of `value` >= 0, by Newton's method, as good as a float can be."""
    if value <= 0.0:
        return 0.0
    root = 1.0 if value < 1.0 else 1.0 + value / 3.0  # not below it, so that each step comes down
    for _ in range(80):
        better = (2.0 * root + value / (root * root)) / 3.0
        if better >= root:
            break
        root = better
    return root
