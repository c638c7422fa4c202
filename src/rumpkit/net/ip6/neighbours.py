"""Neighbour unreachability detection and address resolution (RFC 4861 sections 7.2, 7.3): one table for each interface.

Theory of operation.  The interface's `headers` maps a neighbour's address to the 14 bytes that go in front of packets
for it; its fast path is one lookup there.  Only a miss comes here, to a neighbour in one of five states (or PERMANENT):

    INCOMPLETE  asked by multicast, packets wait     answer -> REACHABLE (or STALE), no answer -> forgotten, reported
    REACHABLE   in `headers`                         the reachable time passes -> STALE
    STALE       known, not in `headers`              a packet to send -> DELAY, unused for long -> forgotten
    DELAY       in `headers`                         confirmed -> REACHABLE, five seconds pass -> PROBE
    PROBE       in `headers`, asked by unicast       answer -> REACHABLE, no answer -> forgotten
"""

from typing import TYPE_CHECKING, Final, final

from ...hyper.frame import Frame
from ...hyper.time import FOREVER, MILLISECOND, SECOND, Duration, Instant
from ...kern.timer import Timer, TimerQueue
from ..link.ethernet import EthernetInterface
from ..link.interface import Resolver
from ..wire.address import is_multicast, multicast_mac
from ..wire.ethernet import ETHERTYPE_IPV6, emit_ethernet
from .link import Link6
from .settings import NdCounters, NdSettings

if TYPE_CHECKING:
    from .discovery import Discovery

INCOMPLETE: Final = 0
REACHABLE: Final = 1
STALE: Final = 2
DELAY: Final = 3
PROBE: Final = 4
PERMANENT: Final = 5
STATE_NAMES: Final = ("incomplete", "reachable", "stale", "delay", "probe", "permanent")
_SENDING: Final = frozenset((REACHABLE, DELAY, PROBE, PERMANENT))
"""States in which packets go out at once."""


@final
class Neighbour6(Timer):
    """One neighbour; its timer ends the state it is in."""

    def __init__(self, table: "Neighbours6", address: bytes) -> None:
        super().__init__()
        self.table: Neighbours6 = table
        self.address: bytes = address
        self.mac: bytes = b""
        self.state: int = INCOMPLETE
        self.is_router: bool = False
        self.attempts: int = 0
        self.waiting: list[Frame] = []

    def expire(self, now: Instant) -> None:
        self.table.expire(self, now)


@final
class Neighbours6(Resolver):
    """The neighbours on one interface."""

    def __init__(
        self,
        link: Link6,
        interface: EthernetInterface,
        discovery: "Discovery",
        timers: TimerQueue,
        settings: NdSettings,
        counters: NdCounters,
    ) -> None:
        self.link: Link6 = link
        self.known: dict[bytes, Neighbour6] = {}
        self._interface: EthernetInterface = interface
        self._headers: dict[bytes, bytes] = interface.headers
        self._discovery: Discovery = discovery
        self._timers: TimerQueue = timers
        self._settings: NdSettings = settings
        self._counters: NdCounters = counters
        self._incomplete: int = 0

    # Out -----------------------------------------------------------------------------------------------

    def miss(self, frame: Frame, next_hop: bytes, now: Instant) -> None:
        if is_multicast(next_hop):
            self._send(frame, self._header(multicast_mac(next_hop)), now)
            return
        neighbour = self.known.get(next_hop)
        if neighbour is None:
            neighbour = self._add(next_hop, now)
        if neighbour.state == INCOMPLETE:
            if len(neighbour.waiting) >= self._settings.queue_packets:
                neighbour.waiting.pop(0)  # the oldest goes (RFC 4861 section 7.2.2)
                self._counters.queue_dropped += 1
            neighbour.waiting.append(frame)
            if neighbour.attempts == 0:
                self._ask(neighbour, now)
            return
        if neighbour.state == STALE:
            self._enter(neighbour, DELAY, now)
        self._send(frame, self._headers[next_hop], now)

    def doubt(self, next_hop: bytes, now: Instant) -> None:
        neighbour = self.known.get(next_hop)
        if neighbour is not None and neighbour.state == REACHABLE:
            self._enter(neighbour, STALE, now)

    def add_static(self, address: bytes, mac: bytes, now: Instant) -> None:
        """A neighbour that is never asked for, nor forgotten."""
        neighbour = self.known.get(address) or self._add(address, now)
        neighbour.mac = mac
        self._enter(neighbour, PERMANENT, now)

    def confirm(self, address: bytes, now: Instant) -> None:
        """A transport has seen its packets arrive through this neighbour (RFC 4861 section 7.3.1)."""
        neighbour = self.known.get(address)
        if neighbour is not None and neighbour.state in (REACHABLE, STALE, DELAY, PROBE):
            self._enter(neighbour, REACHABLE, now)

    # In ------------------------------------------------------------------------------------------------

    def heard(self, address: bytes, mac: bytes, now: Instant, is_router: int = -1) -> None:
        """Somebody has told its link address unasked, by a solicitation, a router advertisement or a redirect (RFC
        4861 section 7.2.3): it is known, but not to be reachable.  `is_router`: -1 for no news."""
        neighbour = self.known.get(address)
        if neighbour is None:
            if len(self.known) >= self._settings.max_neighbours:
                return  # strangers don't push out those that are in use
            neighbour = self._add(address, now)
        if is_router >= 0:
            neighbour.is_router = is_router > 0
        if neighbour.state == PERMANENT:
            return
        if neighbour.mac != mac:
            neighbour.mac = mac
            self._enter(neighbour, STALE, now)
            self._release(neighbour, now)

    def advertised(
        self, target: bytes, mac: bytes, is_router: bool, solicited: bool, override: bool, now: Instant
    ) -> None:
        """A neighbour advertisement (RFC 4861 section 7.2.5); `mac` is b"" where it has none."""
        neighbour = self.known.get(target)
        if neighbour is None or neighbour.state == PERMANENT:
            return
        if neighbour.state == INCOMPLETE:
            if not mac:
                return
            neighbour.mac = mac
            neighbour.is_router = is_router
            self._enter(neighbour, REACHABLE if solicited else STALE, now)
            if is_router:
                self._discovery.found(self.link, target)
            self._release(neighbour, now)
            return
        other = len(mac) > 0 and mac != neighbour.mac
        if other and not override:
            if neighbour.state == REACHABLE:
                self._enter(neighbour, STALE, now)
            return
        if other:
            neighbour.mac = mac
        if solicited:
            self._enter(neighbour, REACHABLE, now)
        elif other:
            self._enter(neighbour, STALE, now)
        if neighbour.is_router and not is_router:
            self._discovery.not_a_router(self.link, target, now)
        neighbour.is_router = is_router

    def expire(self, neighbour: Neighbour6, now: Instant) -> None:
        """A neighbour's timer has run out."""
        state = neighbour.state
        if state == REACHABLE:
            self._enter(neighbour, STALE, now)
        elif state == DELAY:
            self._enter(neighbour, PROBE, now)
            self._ask(neighbour, now)
        elif neighbour.attempts < self._solicits(state):
            self._ask(neighbour, now)
        else:
            self._forget(neighbour)
            if state != STALE:
                self._give_up(neighbour, now)

    def clear(self) -> None:
        """Forget everybody but permanent ones; what waits is dropped (the link has gone down)."""
        for neighbour in list(self.known.values()):
            if neighbour.state != PERMANENT:
                self._forget(neighbour)
                self._counters.queue_dropped += len(neighbour.waiting)
                neighbour.waiting.clear()

    def forget(self, address: bytes, now: Instant) -> bool:
        """Forget one neighbour, whatever its state, so that the next packet for it asks again; False where it wasn't known.
        Senders of packets that wait for it are told that it is not there."""
        neighbour = self.known.get(address)
        if neighbour is None:
            return False
        self._forget(neighbour)
        if neighbour.state == INCOMPLETE:
            self._give_up(neighbour, now)
        return True

    def rows(self) -> list[tuple[bytes, bytes, str, bool]]:
        """Address, MAC address (empty while unknown), state and whether it is a router, for listings."""
        return [(n.address, n.mac, STATE_NAMES[n.state], n.is_router) for n in self.known.values()]

    # Inside --------------------------------------------------------------------------------------------

    def _enter(self, neighbour: Neighbour6, state: int, now: Instant) -> None:
        """Change a neighbour's state and set the timer that ends it."""
        if neighbour.state == INCOMPLETE and state != INCOMPLETE:
            self._incomplete -= 1
        neighbour.state = state
        neighbour.attempts = 0
        if state in _SENDING:
            self._headers[neighbour.address] = self._header(neighbour.mac)
        else:
            self._headers.pop(neighbour.address, b"")
        settings = self._settings
        until = FOREVER
        if state == REACHABLE:
            until = now + self._discovery.reachable_time(self.link)
        elif state == STALE:
            until = now + settings.stale_seconds * SECOND
        elif state == DELAY:
            until = now + settings.delay_milliseconds * MILLISECOND
        self._timers.set(neighbour, until)

    def _release(self, neighbour: Neighbour6, now: Instant) -> None:
        """The neighbour is known: send what waited."""
        waiting = neighbour.waiting
        neighbour.waiting = []
        for frame in waiting:
            self._interface.output(frame, neighbour.address, now)

    def _add(self, address: bytes, now: Instant) -> Neighbour6:
        settings = self._settings
        if self._incomplete >= settings.max_incomplete:
            self._evict((INCOMPLETE,))
        if len(self.known) >= settings.max_neighbours:
            self._evict((STALE, INCOMPLETE, DELAY, PROBE, REACHABLE))
        neighbour = Neighbour6(self, address)
        self.known[address] = neighbour
        self._incomplete += 1
        return neighbour

    def _evict(self, states: tuple[int, ...]) -> None:
        """Forget the oldest neighbour in the first of these states that any is in."""
        for state in states:
            for neighbour in self.known.values():
                if neighbour.state == state:
                    self._forget(neighbour)
                    self._counters.evicted += 1
                    self._counters.queue_dropped += len(neighbour.waiting)
                    neighbour.waiting.clear()  # its timer may keep it for a while
                    return

    def _forget(self, neighbour: Neighbour6) -> None:
        if self.known.pop(neighbour.address, None) is not None and neighbour.state == INCOMPLETE:
            self._incomplete -= 1
        self._headers.pop(neighbour.address, b"")
        self._timers.set(neighbour, FOREVER)

    def _ask(self, neighbour: Neighbour6, now: Instant) -> None:
        """Send a solicitation: to everybody who may have the address, or to where the neighbour was last."""
        neighbour.attempts += 1
        self._timers.set(neighbour, now + self._retrans())
        prompted = neighbour.waiting[0].head[8:24] if neighbour.waiting else b""
        self._discovery.solicit(self.link, neighbour.address, neighbour.state == PROBE, prompted, now)

    def _give_up(self, neighbour: Neighbour6, now: Instant) -> None:
        """Nobody answers: whoever sent the packets that waited is told (RFC 4861 section 7.2.2)."""
        waiting = neighbour.waiting
        neighbour.waiting = []
        self._counters.unresolved += 1
        self._discovery.lost(self.link, neighbour.address, now)
        network = self._interface.ipv6
        if network is not None:
            for frame in waiting:
                network.undeliverable(frame, now)

    def _solicits(self, state: int) -> int:
        """How often a neighbour in this state is asked before it is given up."""
        if state == INCOMPLETE:
            return self._settings.multicast_solicits
        return self._settings.unicast_solicits if state == PROBE else 0

    def _retrans(self) -> Duration:
        return (self.link.retrans_milliseconds or self._settings.retrans_milliseconds) * MILLISECOND

    def _header(self, mac: bytes) -> bytes:
        return emit_ethernet(mac, self._interface.mac, ETHERTYPE_IPV6)

    def _send(self, frame: Frame, header: bytes, now: Instant) -> None:
        frame.push(header)
        self._interface.transmit(frame, now)
