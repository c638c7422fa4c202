"""The round-trip time and the retransmission timeout (RFC 6298), below everything that sends."""

from typing import Final, final

from mypy_extensions import mypyc_attr

from ....hyper.time import MILLISECOND, Duration
from .settings import TcpSettings

_UNKNOWN: Final = 0
_PROBE_MARGIN: Final = 2 * MILLISECOND
"""What timers are off by, at least."""


@final
@mypyc_attr(acyclic=True)
class RttEstimator:
    """Smoothed round-trip time, its variation and the timeout that follows, in nanoseconds."""

    def __init__(self, settings: TcpSettings) -> None:
        self._settings: TcpSettings = settings
        self.smoothed: Duration = _UNKNOWN
        """SRTT; 0 until the first measurement."""
        self.variation: Duration = 0
        """RTTVAR."""
        self.minimum: Duration = _UNKNOWN
        """The least sample so far."""
        self.timeout: Duration = settings.initial_rto * MILLISECOND
        """RTO, doubled by each `backoff`; only a new measurement makes it less again (the other half of Karn's rule: a
        path that has become slower than the timeout would otherwise never give one)."""
        self.patience: Duration = self.timeout
        """How long to wait for an acknowledgement before something is done about it: RTO, or with `probing` the probe timeout
        of RFC 8985 section 7.2, two round trips and a bit."""
        self.probing: bool = False
        self.backoffs: int = 0

    def sample(self, rtt: Duration) -> None:
        """Take a measurement (RFC 6298 section 2).  By Karn's rule it must not be of a segment sent twice."""
        if rtt <= 0:
            rtt = 1
        if self.smoothed == _UNKNOWN:
            self.smoothed = rtt
            self.variation = rtt // 2
            self.minimum = rtt
        else:
            deviation = self.smoothed - rtt
            if deviation < 0:
                deviation = -deviation
            self.variation += (deviation - self.variation) // 4
            self.smoothed += (rtt - self.smoothed) // 8
            if rtt < self.minimum:
                self.minimum = rtt
        self.restore()

    def restore(self) -> None:
        """Forget the backoff."""
        self.backoffs = 0
        settings = self._settings
        if self.smoothed == _UNKNOWN:
            self.timeout = self.patience = settings.initial_rto * MILLISECOND
            return
        # The floor is under the variation, as in Linux: a steady path of 300 ms still allows for a delayed ACK.
        margin = 4 * self.variation
        floor = settings.min_rto * MILLISECOND
        if margin < floor:
            margin = floor
        self.timeout = self._limited(self.smoothed + margin)
        self.patience = self.timeout
        if self.probing:
            patience = 2 * self.smoothed + _PROBE_MARGIN
            if patience < self.patience:
                self.patience = patience

    def backoff(self) -> None:
        """The timer went off: double the timeout (RFC 6298 rule 5.5)."""
        self.backoffs += 1
        self.timeout = self.patience = self._limited(self.timeout * 2)

    def distrust(self) -> None:
        """The SYN was lost, or took longer than the initial timeout: begin with three times that (RFC 6298 rule 5.7)."""
        self.backoffs = 0
        self.timeout = self.patience = self._limited(3 * self._settings.initial_rto * MILLISECOND)

    def _limited(self, timeout: Duration) -> Duration:
        limit = self._settings.max_rto * MILLISECOND
        return timeout if timeout < limit else limit
