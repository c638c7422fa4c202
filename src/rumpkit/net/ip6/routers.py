"""Router discovery, the host's side (RFC 4861 section 6.3): default routers, prefixes on the link, what the link is like,
more specific routes (RFC 4191), name servers (RFC 8106); redirects (section 8.3), which are not believed by default.

Between `ip6.discovery`, which brings the messages, and the routing table.  Addresses are `ip6.slaac`'s.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar, final

from ...hyper.time import FOREVER, SECOND, Instant
from ...kern.timer import Timer, TimerQueue
from ..ip.names import ROUTER, NameSettings
from ..ip.routing import DYNAMIC, RouteEntry
from ..wire.address import is_link_local, is_multicast, network_of
from ..wire.icmpv6 import ROUTER_ADVERTISEMENT
from ..wire.ipv6 import MIN_MTU
from ..wire.nd import (
    INFINITY,
    ON_LINK,
    SOURCE_LINK_ADDRESS,
    TARGET_LINK_ADDRESS,
    RouterAdvertisement,
    link_address,
    link_mtu,
    name_servers,
    parse_redirect,
    parse_router_advertisement,
    prefixes,
    routes,
    search_domains,
)
from .discovery import Discovery
from .icmp import Received6
from .ipv6 import Ipv6
from .link import Link6
from .slaac import Slaac

if TYPE_CHECKING:
    from .neighbours import Neighbours6

SOLICITATION_INTERVAL: Final = 4 * SECOND
"""RTR_SOLICITATION_INTERVAL (RFC 4861 section 10)."""
REDIRECT_LIFETIME: Final = 600 * SECOND
MAX_NAMES: Final = 8
"""Name servers, and search domains, remembered of a link."""
_MAX_REACHABLE: Final = 3_600_000
_MIN_RETRANS: Final = 10
"""Milliseconds: beyond an hour (RFC 4861 section 6.2.1), or below this, nobody is believed."""
_METRIC: Final = 1024
_STEP: Final = 64
_LOST: Final = 8192
"""Metrics: of a route from a router, for a step of preference, and for a router that does not answer."""


@final
class LearntRoute:
    """A route that a router has announced, until its lifetime is over."""

    def __init__(self, key: tuple[bytes, int, bytes], entry: RouteEntry) -> None:
        self.key: tuple[bytes, int, bytes] = key
        self.entry: RouteEntry = entry
        self.until: Instant = FOREVER


@final
class Lifetimes(Timer):
    """The end of the next lifetime of what is known of a link.  There is one timer for all: what is forgotten would else be
    kept until its own is over."""

    def __init__(self, owner: "LinkRouters") -> None:
        super().__init__()
        self._owner: LinkRouters = owner

    def expire(self, now: Instant) -> None:
        self._owner.age(now)


@final
class LinkRouters(Timer):
    """What routers have said on one link.  Its timer is for the next solicitation."""

    def __init__(self, routers: "Routers", link: Link6) -> None:
        super().__init__()
        self.link: Link6 = link
        self.learnt: dict[tuple[bytes, int, bytes], LearntRoute] = {}
        """By prefix, length and gateway: default routers have length 0, prefixes on the link no gateway."""
        self.servers: dict[bytes, Instant] = {}
        self.domains: dict[str, Instant] = {}
        """Name servers and search domains, and until when they may be used."""
        self.lifetimes: Lifetimes = Lifetimes(self)
        self.solicitations: int = 0
        """How many are still to be sent."""
        self._routers: Routers = routers

    def expire(self, now: Instant) -> None:
        self._routers.solicit(self, now)

    def age(self, now: Instant) -> None:
        """Some lifetime is over."""
        self._routers.age(self, now)


@final
class Routers:
    """All links' routers of one kernel."""

    def __init__(self, timers: TimerQueue, ipv6: Ipv6, discovery: Discovery, slaac: Slaac, names: NameSettings) -> None:
        self.links: dict[int, LinkRouters] = {}
        """By the interface's index."""
        self._timers: TimerQueue = timers
        self._ipv6: Ipv6 = ipv6
        self._discovery: Discovery = discovery
        self._slaac: Slaac = slaac
        self._names: NameSettings = names
        discovery.routers = self

    # Asking --------------------------------------------------------------------------------------------

    def ask(self, link: Link6, now: Instant) -> None:
        """A link has come up: ask who routes (RFC 4861 section 6.3.7)."""
        if self._listens(link):
            state = self._of(link)
            state.solicitations = self._ipv6.settings.router_solicitations
            self.solicit(state, now)

    def solicit(self, state: LinkRouters, now: Instant) -> None:
        """Send a solicitation, if there are any left to send."""
        if state.solicitations > 0:
            state.solicitations -= 1
            self._discovery.solicit_routers(state.link, now)
            self._timers.set(state, now + SOLICITATION_INTERVAL)

    # Messages ------------------------------------------------------------------------------------------

    def handle(self, received: Received6, now: Instant) -> bool:
        """A router advertisement or redirect; False where it is malformed."""
        if not is_link_local(received.source):
            return False
        if received.message.kind != ROUTER_ADVERTISEMENT:
            return self._redirect(received, now)
        self._discovery.counters.router_advertisements_in += 1
        message = parse_router_advertisement(received.message.body())
        if message is None:
            return False
        link = received.link
        if not self._listens(link) or link.interface.index not in self._discovery.tables:
            self._discovery.counters.ignored_in += 1
            return True
        state = self._of(link)
        if message.lifetime > 0:
            state.solicitations = 0
        self._parameters(link, message)
        self._default_router(state, received.source, message, now)
        self._neighbour(link, received.source, link_address(message.options, SOURCE_LINK_ADDRESS), now)
        self._prefixes(state, message, now)
        self._routes(state, received.source, message, now)
        _remember(state.servers, name_servers(message.options), now)
        _remember(state.domains, search_domains(message.options), now)
        self.age(state, now)
        self._ipv6.moved()
        return True

    def _parameters(self, link: Link6, message: RouterAdvertisement) -> None:
        """What the link is like (RFC 4861 section 6.3.4); 0 leaves what was known."""
        link.hop_limit = message.hop_limit or link.hop_limit
        if 0 < message.reachable <= _MAX_REACHABLE:
            link.reachable_milliseconds = message.reachable
        if _MIN_RETRANS <= message.retrans <= _MAX_REACHABLE:
            link.retrans_milliseconds = message.retrans
        mtu = link_mtu(message.options)
        if MIN_MTU <= mtu <= link.interface.mtu:
            link.mtu = mtu

    def _default_router(self, state: LinkRouters, source: bytes, message: RouterAdvertisement, now: Instant) -> None:
        count = sum(1 for _, length, _ in state.learnt if length == 0)
        metric = _METRIC - message.preference() * _STEP
        if count < self._ipv6.settings.max_routers or (bytes(16), 0, source) in state.learnt:
            self._learn(state, bytes(16), 0, source, metric, message.lifetime, now)

    def _prefixes(self, state: LinkRouters, message: RouterAdvertisement, now: Instant) -> None:
        """Prefixes on the link (RFC 4861 section 6.3.4), and those to make addresses from (RFC 4862 section 5.5.3)."""
        for prefix in prefixes(message.options):
            network = network_of(prefix.prefix, prefix.length)
            if is_link_local(network) or is_multicast(network):
                continue
            if prefix.flags & ON_LINK and prefix.length > 0 and self._room(state, network, prefix.length, b""):
                self._learn(state, network, prefix.length, b"", _METRIC // 4, prefix.valid, now)
            self._slaac.announced(state.link, prefix, now)

    def _routes(self, state: LinkRouters, source: bytes, message: RouterAdvertisement, now: Instant) -> None:
        """More specific routes (RFC 4191 section 2.3)."""
        for route in routes(message.options):
            network = network_of(route.prefix, route.length)
            if route.length > 0 and not is_link_local(network) and self._room(state, network, route.length, source):
                metric = _METRIC - route.preference * _STEP
                self._learn(state, network, route.length, source, metric, route.lifetime, now)

    def _redirect(self, received: Received6, now: Instant) -> bool:
        """A router knows a better first hop (RFC 4861 sections 8.1, 8.3)."""
        self._discovery.counters.redirects_in += 1
        message = parse_redirect(received.message.body())
        if message is None or is_multicast(message.destination):
            return False
        on_link = message.target == message.destination
        if not on_link and not is_link_local(message.target):
            return False
        settings = self._ipv6.settings
        # A router keeps its own counsel (RFC 4861 section 8.2).
        if not settings.accept_redirects or settings.forwarding or not self._listens(received.link):
            self._discovery.counters.ignored_in += 1
            return True
        link = received.link
        try:
            route = self._ipv6.route(message.destination)
        except OSError:
            route = None
        if route is None or route.next_hop != received.source or route.interface is not link.interface:
            return False  # only the present first hop may
        state = self._of(link)
        gateway = b"" if on_link else message.target
        if self._room(state, message.destination, 128, gateway):
            self._learn(state, message.destination, 128, gateway, 0, REDIRECT_LIFETIME // SECOND, now)
            self.age(state, now)
        mac = link_address(message.options, TARGET_LINK_ADDRESS)
        if mac:
            self._discovery.tables[link.interface.index].heard(message.target, mac, now, 0 if on_link else 1)
        return True

    # Changes -------------------------------------------------------------------------------------------

    def lost(self, link: Link6, address: bytes, now: Instant) -> None:
        """A neighbour does not answer: routes through it come last, behind others of which the same is known, so that those
        take turns (RFC 4861 section 6.3.6)."""
        state = self.links.get(link.interface.index)
        if state is None:
            return
        for route in list(state.learnt.values()):
            if route.key[1:] == (128, address):
                self.forget_route(state, route)  # a redirect's: the router that sent it still knows a way
        self._rank(link, address, lambda metric: metric if metric >= _LOST else metric + _LOST)

    def found(self, link: Link6, address: bytes) -> None:
        """A neighbour has answered that had not before."""
        self._rank(link, address, lambda metric: metric % _LOST)

    def drop(self, link: Link6, address: bytes, now: Instant) -> None:
        """A neighbour is no router any more: nothing goes through it (RFC 4861 section 7.2.5)."""
        state = self.links.get(link.interface.index)
        if state is not None:
            for route in [route for route in state.learnt.values() if route.key[2] == address]:
                self.forget_route(state, route)

    def forget(self, link: Link6, now: Instant) -> None:
        """The link has gone down."""
        state = self.links.pop(link.interface.index, None)
        if state is None:
            return
        self._timers.set(state, FOREVER)
        state.servers.clear()
        state.domains.clear()
        for route in list(state.learnt.values()):
            self.forget_route(state, route)
        self.age(state, now)
        link.hop_limit = link.mtu = link.retrans_milliseconds = link.reachable_milliseconds = 0

    def age(self, state: LinkRouters, now: Instant) -> None:
        """Forget what may be used no longer, say which name servers and search domains may (RFC 8106 section 5.3), and see
        when that changes."""
        for route in list(state.learnt.values()):
            if route.until <= now:
                self.forget_route(state, route)
        _drop_old(state.servers, now)
        _drop_old(state.domains, now)
        origin = state.link.interface.name
        self._names.tell(f"{origin} router", ROUTER, list(state.servers), list(state.domains), origin)
        ends = [route.until for route in state.learnt.values()]
        self._timers.set(
            state.lifetimes, min([*ends, *state.servers.values(), *state.domains.values()], default=FOREVER)
        )

    def forget_route(self, state: LinkRouters, route: LearntRoute) -> None:
        """A route holds no longer."""
        if state.learnt.pop(route.key, None) is not None:
            self._ipv6.remove_route(route.entry)

    # Inside --------------------------------------------------------------------------------------------

    def _listens(self, link: Link6) -> bool:
        settings = self._ipv6.settings
        if not link.accept_ra:
            return False
        return settings.accept_ra == 2 or (settings.accept_ra == 1 and not settings.forwarding)

    def _of(self, link: Link6) -> LinkRouters:
        state = self.links.get(link.interface.index)
        if state is None:
            state = self.links[link.interface.index] = LinkRouters(self, link)
        return state

    def _room(self, state: LinkRouters, network: bytes, length: int, gateway: bytes) -> bool:
        """Whether one more prefix or route may be remembered."""
        count = sum(1 for _, size, _ in state.learnt if size > 0)
        return count < self._ipv6.settings.max_prefixes or (network, length, gateway) in state.learnt

    def _learn(
        self, state: LinkRouters, network: bytes, length: int, gateway: bytes, metric: int, lifetime: int, now: Instant
    ) -> None:
        """A route holds for `lifetime` seconds from now; 0 ends it."""
        key = (network, length, gateway)
        known = state.learnt.get(key)
        if lifetime == 0:
            if known is not None:
                self.forget_route(state, known)
            return
        if known is None:
            entry = RouteEntry(network, length, state.link.interface, gateway, metric, b"", DYNAMIC)
            known = state.learnt[key] = LearntRoute(key, entry)
            self._ipv6.table.add(entry)
        elif known.entry.metric != metric:
            self._move(known, metric)
        known.until = FOREVER if lifetime == INFINITY else now + lifetime * SECOND
        self._ipv6.moved()

    def _rank(self, link: Link6, address: bytes, change: Callable[[int], int]) -> None:
        """Give all routes through a router another rank; among equals they come last."""
        state = self.links.get(link.interface.index)
        if state is None:
            return
        for route in list(state.learnt.values()):
            if route.key[2] == address:
                self._move(route, change(route.entry.metric))
                self._ipv6.moved()

    def _move(self, route: LearntRoute, metric: int) -> None:
        """Give a route another rank."""
        table = self._ipv6.table
        table.remove(route.entry)
        route.entry.metric = metric
        table.add(route.entry)

    def _neighbour(self, link: Link6, source: bytes, mac: bytes, now: Instant) -> None:
        """A router is a neighbour (RFC 4861 section 6.3.4)."""
        table: Neighbours6 = self._discovery.tables[link.interface.index]
        if mac:
            table.heard(source, mac, now, 1)
        else:
            known = table.known.get(source)
            if known is not None:
                known.is_router = True


_Name = TypeVar("_Name", bytes, str)


def _remember(known: dict[_Name, Instant], announced: list[tuple[_Name, int]], now: Instant) -> None:
    """Take in names with their lifetimes in seconds; 0 ends one (RFC 8106 section 5.3.1)."""
    for name, lifetime in announced:
        known.pop(name, None)
        if lifetime > 0:
            known[name] = FOREVER if lifetime == INFINITY else now + lifetime * SECOND
    while len(known) > MAX_NAMES:
        del known[next(iter(known))]


def _drop_old(known: dict[_Name, Instant], now: Instant) -> None:
    for name in [name for name, until in known.items() if until <= now]:
        del known[name]
