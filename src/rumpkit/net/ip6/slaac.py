"""Addresses that a kernel makes for itself from the prefixes that routers announce (RFC 4862 section 5.5), with stable
identifiers (RFC 7217) and, where asked for, temporary ones (RFC 8981).

Between `ip6.routers`, which brings prefixes, and `ip6.ipv6`, which has the addresses.
"""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.time import FOREVER, MILLISECOND, SECOND, Instant
from ...kern.timer import TimerQueue
from ..wire.address import is_link_local
from ..wire.nd import AUTONOMOUS, INFINITY, PrefixInformation
from .identifiers import ID_SIZE, IDGEN_RETRIES, from_mac, is_reserved, stable
from .ipv6 import Ipv6
from .link import STABLE, TEMPORARY, TENTATIVE, Address6, Link6
from .settings import NdSettings

TWO_HOURS: Final = 7200 * SECOND
"""What nobody can shorten an address's life below (RFC 4862 section 5.5.3 (e))."""
_PREFIX_BITS: Final = 64
_MAX_CONFLICTS: Final = 64
"""Prefixes whose duplicates are remembered."""


@final
class Slaac:
    """One kernel's."""

    def __init__(self, hyper: Hypercalls, timers: TimerQueue, ipv6: Ipv6, settings: NdSettings, secret: bytes) -> None:
        self._hyper: Hypercalls = hyper
        self._timers: TimerQueue = timers
        self._ipv6: Ipv6 = ipv6
        self._settings: NdSettings = settings
        self._secret: bytes = secret
        self._conflicts: dict[tuple[int, bytes], int] = {}
        """Duplicates met, by interface and prefix: the next identifier is another (RFC 7217 section 5)."""

    def announced(self, link: Link6, prefix: PrefixInformation, now: Instant) -> None:
        """A router announces a prefix (RFC 4862 section 5.5.3)."""
        if not prefix.flags & AUTONOMOUS or not self._ipv6.settings.autoconf or prefix.preferred > prefix.valid:
            return
        network = prefix.prefix[:8]
        if prefix.length != _PREFIX_BITS or is_link_local(prefix.prefix):
            return
        valid, preferred = _until(prefix.valid, now), _until(prefix.preferred, now)
        mine = [own for own in link.addresses if own.address[:8] == network and own.origin in (STABLE, TEMPORARY)]
        for own in mine:
            if own.origin == STABLE:
                _prolong(own, valid, preferred, now)
            else:
                self._prolong_temporary(own, valid, preferred)
            self.lifetime(own, now)
        if prefix.valid == 0:
            return
        if not any(own.origin == STABLE for own in mine):
            self._make(link, network, STABLE, valid, preferred, now)
        if self._ipv6.settings.use_temporary and not any(
            own.origin == TEMPORARY and not own.deprecated and not own.regenerated for own in mine
        ):
            self._make_temporary(link, network, valid, preferred, now)

    def lifetime(self, address: Address6, now: Instant) -> None:
        """See what an address's lifetimes have come to, and set its timer for what comes next; while it is tentative, the
        timer is duplicate address detection's."""
        if address.state == TENTATIVE:
            return
        if address.valid_until <= now:
            link = address.link
            if link.find(address.address) is address:
                self._ipv6.remove_address(link, address.address, now)
            return
        deprecated = address.preferred_until <= now
        if deprecated != address.deprecated:
            address.deprecated = deprecated
            self._ipv6.moved()
        following = address.valid_until if deprecated else address.preferred_until
        if address.origin == TEMPORARY and not address.regenerated and not deprecated:
            # A successor is made a little earlier, so that there always is one (RFC 8981 section 3.6).
            renewal = address.preferred_until - self._regenerate_advance()
            if renewal <= now:
                address.regenerated = True
                self._succeed(address, now)
            else:
                following = renewal
        self._timers.set(address, following)

    def is_duplicate(self, address: Address6, now: Instant) -> None:
        """Somebody has the address already: try another identifier, but not for ever."""
        link, network = address.link, address.address[:8]
        key = (link.interface.index, network)
        count = self._conflicts.pop(key, 0)
        if len(self._conflicts) >= _MAX_CONFLICTS:
            del self._conflicts[next(iter(self._conflicts))]
        self._conflicts[key] = count + 1
        if self._conflicts[key] <= IDGEN_RETRIES and self._ipv6.settings.stable_privacy:
            self._ipv6.remove_address(link, address.address, now)
            self._make(link, network, address.origin, address.valid_until, address.preferred_until, now)

    # Inside --------------------------------------------------------------------------------------------

    def _make(self, link: Link6, network: bytes, origin: int, valid: Instant, preferred: Instant, now: Instant) -> None:
        """Add an address, tentative."""
        made = sum(1 for own in link.addresses if own.origin in (STABLE, TEMPORARY))
        if made >= self._ipv6.settings.max_addresses:
            return
        address = network + self._identifier(link, network, origin)
        try:
            own = self._ipv6.add_address(link, address, _PREFIX_BITS, origin, now)
        except OSError:
            return  # somebody has configured just that one
        own.valid_until = valid
        own.preferred_until = preferred
        own.deprecated = preferred <= now
        self.lifetime(own, now)

    def _identifier(self, link: Link6, network: bytes, origin: int) -> bytes:
        if origin == TEMPORARY:
            made = self._hyper.random(ID_SIZE)
            while is_reserved(made):
                made = self._hyper.random(ID_SIZE)
            return made
        interface = link.interface
        if not self._ipv6.settings.stable_privacy:
            return from_mac(interface.mac)
        conflicts = self._conflicts.get((interface.index, network), 0)
        return stable(network, interface.name, interface.mac, conflicts, self._secret)

    # Temporary addresses (RFC 8981) --------------------------------------------------------------------

    def _make_temporary(self, link: Link6, network: bytes, valid: Instant, preferred: Instant, now: Instant) -> None:
        """RFC 8981 section 3.4: a life of its own, no longer than the prefix's, and not too short to be of use."""
        settings = self._ipv6.settings
        limit = settings.temporary_preferred_seconds * SECOND
        # Not all at the same time (DESYNC_FACTOR): up to 0.4 of the preferred lifetime earlier.
        limit -= int.from_bytes(self._hyper.random(8), "big") % (limit * 2 // 5 + 1)
        preferred = min(preferred, now + limit)
        valid = min(valid, now + settings.temporary_valid_seconds * SECOND)
        if preferred - now > self._regenerate_advance():
            self._make(link, network, TEMPORARY, valid, preferred, now)

    def _prolong_temporary(self, own: Address6, valid: Instant, preferred: Instant) -> None:
        """A prefix's lifetimes bound those of its temporary addresses, and never lengthen them beyond their own."""
        settings = self._ipv6.settings
        own.valid_until = min(valid, own.created + settings.temporary_valid_seconds * SECOND)
        own.preferred_until = min(preferred, own.preferred_until)

    def _succeed(self, address: Address6, now: Instant) -> None:
        """Make a temporary address that takes another's place."""
        if not self._ipv6.settings.use_temporary:
            return
        link = address.link
        for own in link.addresses:
            if own.origin == STABLE and own.address[:8] == address.address[:8]:
                self._make_temporary(link, address.address[:8], own.valid_until, own.preferred_until, now)
                return

    def _regenerate_advance(self) -> int:
        """REGEN_ADVANCE (RFC 8981 section 3.8)."""
        retries = IDGEN_RETRIES * self._ipv6.settings.dad_transmits * self._settings.retrans_milliseconds
        return 2 * SECOND + retries * MILLISECOND


def _until(lifetime: int, now: Instant) -> Instant:
    return FOREVER if lifetime == INFINITY else now + lifetime * SECOND


def _prolong(own: Address6, valid: Instant, preferred: Instant, now: Instant) -> None:
    """New lifetimes for an address; nobody can end one within two hours who could not before (RFC 4862 section 5.5.3
    (e))."""
    own.preferred_until = preferred
    if valid > now + TWO_HOURS or valid > own.valid_until:
        own.valid_until = valid
    elif own.valid_until > now + TWO_HOURS:
        own.valid_until = now + TWO_HOURS
