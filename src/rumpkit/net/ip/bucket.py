"""A token bucket: no more than so many events a second in the long run, and so many at once after a pause.

Below the ICMP of both versions of IP, which limit the errors that they send (RFC 1812 section 4.3.2.8, RFC 4443 section
2.4 (f))."""

from typing import final

from ...hyper.time import SECOND, Instant


@final
class TokenBucket:
    """Full at first."""

    def __init__(self, burst: int) -> None:
        self._tokens: int = burst
        self._filled: Instant = 0

    def take(self, rate: int, burst: int, now: Instant) -> bool:
        """Whether one more event is fine: `rate` a second, `burst` at once."""
        if rate > 0:
            earned = (now - self._filled) * rate // SECOND
            if earned > 0:
                self._tokens = min(self._tokens + earned, burst)
                self._filled = now
        if self._tokens <= 0:
            return False
        self._tokens -= 1
        return True
