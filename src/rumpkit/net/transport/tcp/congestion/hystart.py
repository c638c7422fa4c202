"""HyStart++ (RFC 9406): leaving the first slow start when the round trip begins to grow, before it ends in losses.

Below the congestion controls.  Rounds are counted in acknowledged bytes, which is the same as the RFC's windowEnd.
"""

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from .....hyper.time import MILLISECOND

_MIN_THRESHOLD: Final = 4 * MILLISECOND
_MAX_THRESHOLD: Final = 16 * MILLISECOND
_DIVISOR: Final = 8
"""MIN_RTT_DIVISOR: an eighth more than in the round before counts as growing."""
_SAMPLES: Final = 8
"""N_RTT_SAMPLE: samples that make a round's least round trip believable."""
_GROWTH_DIVISOR: Final = 4
"""CSS_GROWTH_DIVISOR: how much slower than slow start conservative slow start is."""
_ROUNDS: Final = 5
"""CSS_ROUNDS: rounds of conservative slow start before congestion avoidance."""
_NONE: Final = 1 << 61


@final
@mypyc_attr(acyclic=True)
class HyStart:
    """The rounds of one slow start."""

    def __init__(self) -> None:
        self._left: i64 = 0
        """Bytes to acknowledge until the round is over."""
        self._last: i64 = _NONE
        """lastRoundMinRTT."""
        self._least: i64 = _NONE
        """currentRoundMinRTT."""
        self._samples: i64 = 0
        self._baseline: i64 = _NONE
        """cssBaselineMinRtt."""
        self._rounds: i64 = 0
        """Rounds of conservative slow start that are left; 0 in standard slow start."""

    def growth(self, size: i64, flight: i64, sample: i64) -> i64:
        """What the window grows by for `size` of `flight` bytes, acknowledged after `sample` nanoseconds (0: unknown); -1 when
        slow start is over.

        The RFC's limit L, 8 segments an acknowledgement, is left out: one acknowledgement stands for a whole super-segment or
        batch here, and would otherwise hold slow start back.
        """
        self._left -= size
        if self._left <= 0:
            self._left = max(flight - size, 1)
            if self._rounds:
                self._rounds -= 1
                if self._rounds == 0:
                    return -1
            self._last = self._least
            self._least = _NONE
            self._samples = 0
        if sample > 0:
            self._samples += 1
            if sample < self._least:
                self._least = sample
        if self._samples >= _SAMPLES:
            if self._rounds:
                if self._least < self._baseline:
                    self._rounds = 0  # it was jitter: back to slow start
            elif self._last < _NONE and self._least >= self._last + self._threshold():
                self._baseline = self._least
                self._rounds = _ROUNDS
        return size // _GROWTH_DIVISOR if self._rounds else size

    def conservative(self) -> bool:
        """Whether it is in conservative slow start."""
        return self._rounds > 0

    def _threshold(self) -> i64:
        return min(max(self._last // _DIVISOR, _MIN_THRESHOLD), _MAX_THRESHOLD)
