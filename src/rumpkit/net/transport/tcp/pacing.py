"""Pacing: what is sent is spread over the round trip, by sysctl or for a socket that limits its rate (SO_MAX_PACING_RATE).

Functions over a ControlBlock, below `send`.  Off by default: then all it costs is to find that out.  What may not go yet waits for
`wake_at`, one of the connection's deadlines.
"""

from typing import Final

from mypy_extensions import i64

from ....hyper.time import SECOND, Instant
from .block import ControlBlock

_SLOW_START: Final = 200
"""Percent of a window a round trip: slow start doubles it (as Linux's tcp_pacing_ss_ratio)."""
_AVOIDANCE: Final = 120
_BURSTS: Final = 1000
"""Bursts a second, if they are not too small."""
_LEAST: Final = 2
"""Segments in the smallest burst."""


def pacing_rate(block: ControlBlock) -> i64:
    """Bytes a second; 0 if it is not limited."""
    limit: i64 = block.options.max_pacing_rate
    if not block.settings.pacing:
        return limit
    smoothed: i64 = block.rtt.smoothed
    if smoothed == 0:
        return limit
    congestion = block.congestion
    percent = _SLOW_START if congestion.window < congestion.threshold // 2 else _AVOIDANCE
    rate = congestion.window * percent // 100 * SECOND // smoothed
    if limit and limit < rate:
        rate = limit
    return max(rate, 1)


def burst(block: ControlBlock, rate: i64) -> i64:
    """What may go at once: a millisecond's worth, in whole segments."""
    mss = block.snd_mss
    return max(rate // _BURSTS // mss, _LEAST) * mss


def paced(block: ControlBlock, now: Instant) -> bool:
    """Whether it is too early to send; `wake_at` then says when it isn't."""
    if block.pace_at <= now:
        return False
    if block.pace_at < block.wake_at:
        block.wake_at = block.pace_at
    return True


def pace(block: ControlBlock, size: i64, rate: i64, now: Instant) -> None:
    """`size` bytes go now: the next may when they would have left at `rate`."""
    begin = block.pace_at if block.pace_at > now else now
    block.pace_at = begin + size * SECOND // rate
