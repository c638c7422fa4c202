"""Duplicate address detection (RFC 4862 section 5.4, with the nonces of RFC 7527): no address is used before the link has
been asked for it.  Between `ip6.control`, which starts it, and `ip6.discovery`, which sends and hears for it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from ...hyper.calls import Hypercalls
from ...hyper.time import FOREVER, MILLISECOND, Instant
from ...kern.timer import TimerQueue
from .identifiers import solicited_node
from .ipv6 import Ipv6
from .link import DUPLICATED, TENTATIVE, VALID, Address6
from .settings import NdCounters, NdSettings

if TYPE_CHECKING:
    from .discovery import Discovery

_NONCE_SIZE = 6


@final
class DuplicateDetection:
    """The tentative addresses of one kernel."""

    def __init__(
        self, hyper: Hypercalls, timers: TimerQueue, ipv6: Ipv6, settings: NdSettings, counters: NdCounters
    ) -> None:
        self.discovery: Discovery | None = None
        """Who sends solicitations; set by it."""
        self.became_valid: Callable[[Address6, Instant], None] | None = None
        self.is_duplicate: Callable[[Address6, Instant], None] | None = None
        """Told of each address that turns out to be ours, or somebody else's."""
        self._hyper: Hypercalls = hyper
        self._timers: TimerQueue = timers
        self._ipv6: Ipv6 = ipv6
        self._settings: NdSettings = settings
        self._counters: NdCounters = counters

    def start(self, address: Address6, delay: bool, now: Instant) -> None:
        """Begin with an address; `delay`: wait a random while first, as everybody else may have been told just now."""
        address.attempts = 0
        address.halfway = False
        limit = self._ipv6.settings.dad_delay_milliseconds
        if self._ipv6.settings.dad_transmits == 0:
            self._done(address, now)
        elif delay and limit > 0:
            wait = int.from_bytes(self._hyper.random(4), "big") % (limit * MILLISECOND)
            self._timers.set(address, now + wait)
        else:
            self.timer(address, now)

    def timer(self, address: Address6, now: Instant) -> None:
        """Ask, or ask again, or be done.  On a link that has just come up, where the first answer may be lost, the first
        solicitation goes twice within its time."""
        retrans = (address.link.retrans_milliseconds or self._settings.retrans_milliseconds) * MILLISECOND
        if address.halfway:
            address.halfway = False
            self._timers.set(address, now + retrans - retrans // 2)
            self._probe(address, now)
            return
        if address.attempts >= self._ipv6.settings.dad_transmits:
            self._done(address, now)
            return
        address.attempts += 1
        address.nonce = self._hyper.random(_NONCE_SIZE)
        address.halfway = address.attempts == 1 and now < address.link.fresh_until
        self._timers.set(address, now + (retrans // 2 if address.halfway else retrans))
        self._probe(address, now)

    def _probe(self, address: Address6, now: Instant) -> None:
        if self.discovery is not None:
            self.discovery.probe(address.link, address.address, address.nonce, now)

    def heard(self, address: Address6, nonce: bytes, now: Instant) -> None:
        """Somebody else asks for, or has, a tentative address.  Our own question may come back (RFC 7527)."""
        if address.state != TENTATIVE or (nonce and nonce == address.nonce):
            return
        self._counters.duplicates += 1
        address.state = DUPLICATED
        self._timers.set(address, FOREVER)
        self._ipv6.leave_on(address.link, solicited_node(address.address), now)
        self._ipv6.rebuild()
        if self.is_duplicate is not None:
            self.is_duplicate(address, now)

    def _done(self, address: Address6, now: Instant) -> None:
        address.state = VALID
        self._timers.set(address, FOREVER)
        self._ipv6.rebuild()
        if self.became_valid is not None:
            self.became_valid(address, now)
