"""What a congestion control is: the congestion window of one connection, between `recovery` and the algorithms.

What was lost, and what to send again, is `recovery`'s to say; a congestion control only hears of it.  All sizes are bytes.
"""

from abc import ABC, abstractmethod
from typing import Final

from mypy_extensions import i64, mypyc_attr

from .....hyper.time import Instant

UNLIMITED: Final = 1 << 30
"""An ssthresh that no window reaches: slow start until the first loss."""


@mypyc_attr(allow_interpreted_subclasses=True)
class CongestionControl(ABC):
    """The congestion window of one connection.  Subclass it, and add it with `registry.register`."""

    def __init__(self, mss: i64, initial_segments: i64) -> None:
        self.name: str = ""
        self.mss: i64 = mss
        self.initial: i64 = initial_window(mss, initial_segments)
        self.window: i64 = self.initial
        """cwnd: what may be in flight.  Recovery inflates and deflates it while it lasts."""
        self.threshold: i64 = UNLIMITED
        """ssthresh: where slow start ends."""

    @abstractmethod
    def acknowledged(self, size: i64, flight: i64, sample: i64, rtt: i64, now: Instant) -> None:
        """`size` of `flight` bytes were acknowledged outside fast recovery, while the window was in use.  `sample` is what the
        newest of them took, 0 if that can't be told, and `rtt` the smoothed round trip, both in nanoseconds."""

    @abstractmethod
    def reduced_threshold(self, flight: i64, now: Instant) -> i64:
        """What ssthresh becomes now that a segment is lost with `flight` bytes outstanding."""

    def lost(self, flight: i64, now: Instant) -> None:
        """Fast retransmit: recovery begins, and sets the window itself."""
        self.threshold = self.reduced_threshold(flight, now)

    def recovered(self, flight: i64, now: Instant) -> None:
        """Recovery is over (RFC 6582 section 3.2 step 3, the choice that avoids a burst)."""
        self.window = min(self.threshold, max(flight, self.mss) + self.mss)

    def timed_out(self, flight: i64, first: bool, now: Instant) -> None:
        """The retransmission timer went off, for the `first` time for this segment (RFC 5681 section 3.1)."""
        if first:
            self.threshold = self.reduced_threshold(flight, now)
        self.window = self.mss

    def undo(self, window: i64, threshold: i64) -> None:
        """The last loss was none: `window` and `threshold` were before it (RFC 4015)."""
        self.window = max(self.window, window)
        self.threshold = max(self.threshold, threshold)

    def restart(self) -> None:
        """The connection was idle for longer than the retransmission timeout (RFC 5681 section 4.1)."""
        self.window = min(self.window, self.initial)

    def resize(self, mss: i64) -> None:
        """Segments have another size from now on: the handshake settled it, or the path's MTU changed."""
        if self.window == self.initial:
            self.initial = self.window = initial_window(mss, max(self.initial // self.mss, 1))
        self.mss = mss
        self.window = max(self.window, mss)


def initial_window(mss: i64, segments: i64) -> i64:
    """The initial window of RFC 6928 for ten segments: min(10 MSS, max(2 MSS, 14600)), and its like."""
    return min(segments * mss, max(2 * mss, segments * 1460))
