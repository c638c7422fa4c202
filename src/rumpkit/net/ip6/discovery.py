"""Neighbour discovery's messages (RFC 4861 sections 6, 7): what comes in is checked and handed to who keeps the state,
what goes out is made here.  Between ICMPv6 and `neighbours`, `dad` and `routers`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from ...hyper.calls import Hypercalls
from ...hyper.time import MILLISECOND, Duration, Instant
from ...kern.timer import TimerQueue
from ..wire.address import ANY_V6, is_multicast, is_unspecified
from ..wire.icmpv6 import (
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    Icmp6Message,
)
from ..wire.nd import (
    NONCE,
    OVERRIDE,
    ROUTER,
    SOLICITED,
    SOURCE_LINK_ADDRESS,
    TARGET_LINK_ADDRESS,
    Neighbour,
    Option,
    emit_options,
    first,
    link_address,
    parse_neighbour,
    parse_router_solicitation,
)
from .dad import DuplicateDetection
from .icmp import Icmp6, Icmp6Handler, Received6
from .identifiers import solicited_node
from .ipv6 import ALL_NODES, Ipv6
from .link import TENTATIVE, VALID, Link6
from .neighbours import Neighbours6
from .settings import NdCounters, NdSettings

if TYPE_CHECKING:
    from .routers import Routers

HOP_LIMIT: Final = 255
"""What no router has forwarded (RFC 4861 section 3.1)."""
ALL_ROUTERS: Final = b"\xff\x02" + bytes(13) + b"\2"


@final
class Discovery(Icmp6Handler):
    """One kernel's neighbour discovery."""

    def __init__(self, hyper: Hypercalls, timers: TimerQueue, ipv6: Ipv6, icmp: Icmp6) -> None:
        self.settings: NdSettings = NdSettings()
        self.counters: NdCounters = NdCounters()
        self.tables: dict[int, Neighbours6] = {}
        """By the interface's index."""
        self.dad: DuplicateDetection = DuplicateDetection(hyper, timers, ipv6, self.settings, self.counters)
        self.dad.discovery = self
        self.routers: Routers | None = None
        self._hyper: Hypercalls = hyper
        self._ipv6: Ipv6 = ipv6
        self._handlers: dict[int, Callable[[Received6, Instant], bool]] = {
            NEIGHBOUR_SOLICITATION: self._solicitation,
            NEIGHBOUR_ADVERTISEMENT: self._advertisement,
            ROUTER_SOLICITATION: self._router_solicitation,
            ROUTER_ADVERTISEMENT: self._router_message,
            REDIRECT: self._router_message,
        }
        for kind in self._handlers:
            icmp.handlers[kind] = self

    def handle(self, received: Received6, now: Instant) -> None:
        """Every message must come from the link itself, with code 0 (RFC 4861 sections 6.1, 7.1, 8.1)."""
        handler = self._handlers[received.message.kind]
        if received.hop_limit != HOP_LIMIT or received.message.code != 0 or not handler(received, now):
            self.counters.bad_in += 1

    # For the tables ------------------------------------------------------------------------------------

    def solicit(self, link: Link6, target: bytes, unicast: bool, prompted: bytes, now: Instant) -> None:
        """Ask for a neighbour's link address: from the address that the packet which wants it bears, if that is one of
        the link's (RFC 4861 section 7.2.2)."""
        source = prompted if prompted and link.owns(prompted) else link.link_local() or _any_address(link)
        if not source:
            return
        options = [Option(SOURCE_LINK_ADDRESS, link.interface.mac)]
        destination = target if unicast else solicited_node(target)
        self._emit(link, NEIGHBOUR_SOLICITATION, Neighbour(0, target, options).emit(), source, destination, now)
        self.counters.solicitations_out += 1

    def probe(self, link: Link6, target: bytes, nonce: bytes, now: Instant) -> None:
        """Ask whether anybody has a tentative address (RFC 4862 section 5.4.2)."""
        body = Neighbour(0, target, [Option(NONCE, nonce)]).emit()
        self._emit(link, NEIGHBOUR_SOLICITATION, body, ANY_V6, solicited_node(target), now)
        self.counters.solicitations_out += 1

    def solicit_routers(self, link: Link6, now: Instant) -> None:
        """Ask routers to say what they are (RFC 4861 section 6.3.7)."""
        source = link.link_local() or ANY_V6
        options = [] if source == ANY_V6 else [Option(SOURCE_LINK_ADDRESS, link.interface.mac)]
        self._emit(link, ROUTER_SOLICITATION, bytes(4) + emit_options(options), source, ALL_ROUTERS, now)
        self.counters.router_solicitations_out += 1

    def advertise(self, link: Link6, target: bytes, destination: bytes, flags: int, now: Instant) -> None:
        """Say where `target`, an address of ours, is."""
        if self._ipv6.settings.forwarding:
            flags |= ROUTER
        body = Neighbour(flags, target, [Option(TARGET_LINK_ADDRESS, link.interface.mac)]).emit()
        self._emit(link, NEIGHBOUR_ADVERTISEMENT, body, target, destination, now)
        self.counters.advertisements_out += 1

    def reachable_time(self, link: Link6) -> Duration:
        """How long a confirmation holds: between half and one and a half times the base (RFC 4861 section 6.3.2)."""
        base = link.reachable_milliseconds or self.settings.reachable_milliseconds
        factor = 512 + int.from_bytes(self._hyper.random(2), "big") % 1024
        return base * MILLISECOND * factor // 1024

    def not_a_router(self, link: Link6, address: bytes, now: Instant) -> None:
        """A neighbour that was a router says that it is none any more (RFC 4861 section 7.2.5)."""
        if self.routers is not None:
            self.routers.drop(link, address, now)

    def lost(self, link: Link6, address: bytes, now: Instant) -> None:
        """A neighbour does not answer: if it is a router, others are preferred to it (RFC 4861 section 6.3.6)."""
        if self.routers is not None:
            self.routers.lost(link, address, now)

    def found(self, link: Link6, address: bytes) -> None:
        """A neighbour answers that was not known: if it is a router, it is as good as others again."""
        if self.routers is not None:
            self.routers.found(link, address)

    # Messages in ---------------------------------------------------------------------------------------

    def _solicitation(self, received: Received6, now: Instant) -> bool:
        """RFC 4861 sections 7.1.1, 7.2.3, 7.2.4; RFC 4862 section 5.4.3."""
        self.counters.solicitations_in += 1
        message = parse_neighbour(received.message.body())
        if message is None or is_multicast(message.target):
            return False
        mac = link_address(message.options, SOURCE_LINK_ADDRESS)
        probing = is_unspecified(received.source)
        if probing and (mac or received.destination != solicited_node(message.target)):
            return False
        link = received.link
        own = link.find(message.target)
        if own is None:
            return True
        if own.state == TENTATIVE:
            if probing:
                self.dad.heard(own, first(message.options, NONCE)[:6], now)
            return True
        table = self.tables.get(link.interface.index)
        if own.state != VALID or table is None:
            return True
        if probing:
            self.advertise(link, message.target, ALL_NODES, OVERRIDE, now)
            return True
        if mac:
            table.heard(received.source, mac, now)
        self.advertise(link, message.target, received.source, SOLICITED | OVERRIDE, now)
        return True

    def _advertisement(self, received: Received6, now: Instant) -> bool:
        """RFC 4861 sections 7.1.2, 7.2.5; RFC 4862 section 5.4.4."""
        self.counters.advertisements_in += 1
        message = parse_neighbour(received.message.body())
        if message is None or is_multicast(message.target):
            return False
        flags = message.flags
        if is_multicast(received.destination) and flags & SOLICITED:
            return False
        own = received.link.find(message.target)
        if own is not None:
            if own.state == TENTATIVE:
                self.dad.heard(own, b"", now)
            else:
                self.counters.duplicates += 1  # somebody uses an address of ours
            return True
        table = self.tables.get(received.link.interface.index)
        if table is not None:
            mac = link_address(message.options, TARGET_LINK_ADDRESS)
            solicited = flags & SOLICITED != 0
            table.advertised(message.target, mac, flags & ROUTER != 0, solicited, flags & OVERRIDE != 0, now)
        return True

    def _router_solicitation(self, received: Received6, now: Instant) -> bool:
        """Hosts ignore them, and no router here advertises itself; neighbours are learnt (RFC 4861 section 6.2.6)."""
        options = parse_router_solicitation(received.message.body())
        if options is None:
            return False
        mac = link_address(options, SOURCE_LINK_ADDRESS)
        if mac and is_unspecified(received.source):
            return False
        table = self.tables.get(received.link.interface.index)
        if mac and table is not None and self._ipv6.settings.forwarding:
            table.heard(received.source, mac, now, 0)
        self.counters.ignored_in += 1
        return True

    def _router_message(self, received: Received6, now: Instant) -> bool:
        if self.routers is None:
            self.counters.ignored_in += 1
            return True
        return self.routers.handle(received, now)

    def _emit(self, link: Link6, kind: int, body: bytes, source: bytes, destination: bytes, now: Instant) -> None:
        message = Icmp6Message(kind, 0, int.from_bytes(body[:4], "big"), body[4:])
        self._ipv6.send_on(link, message, source, destination, now, HOP_LIMIT)


def _any_address(link: Link6) -> bytes:
    for own in link.addresses:
        if own.state == VALID:
            return own.address
    return b""
