"""ARP (RFC 826, RFC 1122 section 2.3.2): from IPv4 neighbours to Ethernet headers, one table for each interface.

Theory of operation.  `headers` maps a neighbour's address to the 14 bytes that go in front of packets for it; the
interface's fast path is one lookup there.  Only a miss comes here, to a neighbour in one of four states:

    INCOMPLETE  asked by broadcast, packets wait     answer -> REACHABLE, no answer -> forgotten, packets reported
    REACHABLE   in `headers`                         `lifetime` passes, or a transport doubts it -> STALE
    STALE       known, not in `headers`              a packet to send -> PROBE, `lifetime` passes -> forgotten
    PROBE       in `headers`, asked by unicast       answer -> REACHABLE, no answer -> forgotten

So a neighbour in use is confirmed once a lifetime, and no packet waits for that.
"""

from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.frame import Frame
from ...hyper.time import FOREVER, MILLISECOND, SECOND, Duration, Instant
from ...kern.counters import Counters
from ...kern.sysctl import Sysctl
from ...kern.timer import Timer, TimerQueue
from ..wire.address import (
    ANY_MAC,
    ANY_V4,
    BROADCAST_MAC,
    BROADCAST_V4,
    broadcast_of,
    is_group_mac,
    is_multicast,
    is_unspecified,
    multicast_mac,
)
from ..wire.arp import REPLY, REQUEST, ArpPacket, parse_arp
from ..wire.ethernet import ETHERTYPE_ARP, ETHERTYPE_IPV4, emit_ethernet
from .interface import LinkInterface

INCOMPLETE: Final = 0
REACHABLE: Final = 1
STALE: Final = 2
PROBE: Final = 3
STATE_NAMES: Final = ("incomplete", "reachable", "stale", "probe")

DEFEND_INTERVAL: Final = 10 * SECOND
"""How often an address in conflict is defended (RFC 5227 section 2.4)."""


@final
class ArpSettings:
    """Limits and times of all tables of a kernel."""

    def __init__(self) -> None:
        self.retries: int = 3
        self.retry_milliseconds: int = 1000
        self.lifetime_seconds: int = 60
        self.queue_packets: int = 64
        self.max_neighbours: int = 1024


ARP_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("retries", 1, 100, "requests without an answer before a neighbour is given up"),
    Sysctl("retry_milliseconds", 10, 60_000, "wait for an answer (RFC 1122 2.3.2.1: at least 1000 on shared links)"),
    Sysctl("lifetime_seconds", 1, 86_400, "how long an answer holds before it is confirmed again"),
    Sysctl("queue_packets", 1, 65_536, "packets that wait for one neighbour; the oldest is dropped"),
    Sysctl("max_neighbours", 1, 1 << 20, "neighbours that an interface remembers; the oldest is forgotten"),
)


@final
class ArpCounters(Counters):
    """ARP of all interfaces of a kernel."""

    def __init__(self) -> None:
        self.requests_in: int = 0
        self.replies_in: int = 0
        self.requests_out: int = 0
        self.replies_out: int = 0
        self.bad_in: int = 0
        self.conflicts: int = 0
        self.queue_dropped: int = 0
        self.unresolved: int = 0
        self.evicted: int = 0

    def names(self) -> tuple[str, ...]:
        return _COUNTERS


_COUNTERS: Final = (
    "requests_in", "replies_in", "requests_out", "replies_out", "bad_in", "conflicts", "queue_dropped", "unresolved",
    "evicted",
)  # fmt: skip


@mypyc_attr(allow_interpreted_subclasses=True)
class AddressWatcher:
    """Somebody to whom it matters that an address is nobody else's (RFC 5227)."""

    def conflict(self, address: bytes, now: Instant) -> None:
        """Another host has it, asks for it at the same time as we do, or, once it is ours, insists on it."""
        raise NotImplementedError


@final
class Neighbour(Timer):
    """One neighbour; its timer ends the state it is in."""

    def __init__(self, table: "NeighbourTable", address: bytes) -> None:
        super().__init__()
        self.table: NeighbourTable = table
        self.address: bytes = address
        self.mac: bytes = b""
        self.state: int = INCOMPLETE
        self.attempts: int = 0
        self.waiting: list[Frame] = []

    def expire(self, now: Instant) -> None:
        self.table.expire(self, now)


@final
class NeighbourTable:
    """The neighbours on one interface."""

    def __init__(
        self, interface: LinkInterface, timers: TimerQueue, settings: ArpSettings, counters: ArpCounters
    ) -> None:
        self.headers: dict[bytes, bytes] = {}
        """The Ethernet header for each neighbour that packets can go to at once."""
        self.settings: ArpSettings = settings
        self.counters: ArpCounters = counters
        self._interface: LinkInterface = interface
        self._timers: TimerQueue = timers
        self._neighbours: dict[bytes, Neighbour] = {}
        self._unanswered: dict[bytes, Neighbour] = {}
        """Those that have never answered, oldest first."""
        self._defended: Instant = -DEFEND_INTERVAL
        self._watchers: dict[bytes, AddressWatcher] = {}

    # Out -----------------------------------------------------------------------------------------------

    def miss(self, frame: Frame, next_hop: bytes, now: Instant) -> None:
        """Send, queue or drop a packet for a neighbour that is not in `headers`."""
        neighbour = self._neighbours.get(next_hop)
        if neighbour is None:
            group = self._group_mac(next_hop)
            if group:
                self._send(frame, self._header(group, ETHERTYPE_IPV4), now)
                return
            neighbour = self._add(next_hop)
        if neighbour.state == INCOMPLETE:
            if len(neighbour.waiting) >= self.settings.queue_packets:
                neighbour.waiting.pop(0)
                self.counters.queue_dropped += 1
            neighbour.waiting.append(frame)
            if neighbour.attempts == 0:
                self._ask(neighbour, now)
            return
        if neighbour.state == STALE:
            neighbour.state = PROBE
            neighbour.attempts = 0
            self.headers[next_hop] = self._header(neighbour.mac, ETHERTYPE_IPV4)
            self._ask(neighbour, now)
        self._send(frame, self.headers[next_hop], now)

    def doubt(self, next_hop: bytes, now: Instant) -> None:
        """The next packet for a neighbour asks it whether it is still there, before its time is over."""
        neighbour = self._neighbours.get(next_hop)
        if neighbour is not None and neighbour.state == REACHABLE:
            self._grow_stale(neighbour, now)

    def announce(self, address: bytes, now: Instant) -> None:
        """Tell everybody that `address` is here (RFC 5227 section 2.3), so that stale entries are mended."""
        self.counters.requests_out += 1
        self._emit(ArpPacket(REQUEST, self._interface.mac, address, ANY_MAC, address), BROADCAST_MAC, now)

    def probe(self, address: bytes, now: Instant) -> None:
        """Ask whether somebody has an address, without saying that we want it (RFC 5227 section 2.1.1)."""
        self.counters.requests_out += 1
        self._emit(ArpPacket(REQUEST, self._interface.mac, ANY_V4, ANY_MAC, address), BROADCAST_MAC, now)

    def watch(self, address: bytes, watcher: AddressWatcher | None) -> None:
        """Tell `watcher` of conflicts about an address from now on; None: nobody any more."""
        if watcher is None:
            self._watchers.pop(address, None)
        else:
            self._watchers[address] = watcher

    # In ------------------------------------------------------------------------------------------------

    def input(self, head: bytes, offset: int, now: Instant) -> None:
        """Take the ARP packet at head[offset]."""
        packet = parse_arp(head, offset)
        interface = self._interface
        if packet is None or is_group_mac(packet.sender_mac) or packet.sender_mac == interface.mac:
            self.counters.bad_in += 1
            return
        if packet.operation == REQUEST:
            self.counters.requests_in += 1
        else:
            self.counters.replies_in += 1
        sender = packet.sender_ip
        if interface.owns(sender):
            self._conflict(sender, now)
            return
        if self._watchers and self._contested(packet, now):
            return
        for_us = interface.owns(packet.target_ip)
        known = self._neighbours.get(sender)
        if known is None and for_us and self._learnable(sender):
            known = self._add(sender)
        if known is not None:
            self._confirm(known, packet.sender_mac, now)
        if for_us and packet.operation == REQUEST:
            self.counters.replies_out += 1
            reply = ArpPacket(REPLY, interface.mac, packet.target_ip, packet.sender_mac, sender)
            self._emit(reply, packet.sender_mac, now)

    def expire(self, neighbour: Neighbour, now: Instant) -> None:
        """A neighbour's timer has run out."""
        if neighbour.state == REACHABLE:
            self._grow_stale(neighbour, now)
        elif neighbour.state != STALE and neighbour.attempts < self.settings.retries:
            self._ask(neighbour, now)
        else:
            self._forget(neighbour)
            self._give_up(neighbour, now)

    def clear(self) -> None:
        """Forget everybody; what waits is dropped (the link has gone down)."""
        for neighbour in list(self._neighbours.values()):
            self._forget(neighbour)
            neighbour.waiting.clear()

    def all(self) -> list[Neighbour]:
        """Everybody that is known or asked for."""
        return list(self._neighbours.values())

    def forget(self, address: bytes, now: Instant) -> bool:
        """Forget a neighbour, so that the next packet for it asks again; whether it was known.  Senders of packets that wait
        for it are told that it is not there."""
        neighbour = self._neighbours.get(address)
        if neighbour is None:
            return False
        self._forget(neighbour)
        self._give_up(neighbour, now)
        return True

    def rows(self) -> list[tuple[bytes, bytes, str]]:
        """Address, MAC address (empty while unknown) and state of each neighbour, for listings."""
        return [(n.address, n.mac, STATE_NAMES[n.state]) for n in self._neighbours.values()]

    # Inside --------------------------------------------------------------------------------------------

    def _grow_stale(self, neighbour: Neighbour, now: Instant) -> None:
        neighbour.state = STALE
        self.headers.pop(neighbour.address, b"")
        self._timers.set(neighbour, now + self._lifetime())

    def _group_mac(self, next_hop: bytes) -> bytes:
        """The group MAC address of a broadcast or multicast address, or b"" for other addresses."""
        if next_hop == BROADCAST_V4:
            return BROADCAST_MAC
        if is_multicast(next_hop):
            return multicast_mac(next_hop)
        for own in self._interface.addresses:
            if own.length < 31 and next_hop == broadcast_of(own.address, own.length):
                return BROADCAST_MAC
        return b""

    def _learnable(self, sender: bytes) -> bool:
        """Whether an unasked neighbour may be remembered: strangers don't push out those that are in use."""
        if is_unspecified(sender) or len(self._neighbours) >= self.settings.max_neighbours:
            return False
        return not self._group_mac(sender)

    def _add(self, address: bytes) -> Neighbour:
        if len(self._neighbours) >= self.settings.max_neighbours:
            # Who has not answered goes first: a flood from invented addresses pushes out nobody who is there.
            oldest = next(iter((self._unanswered or self._neighbours).values()))
            self._forget(oldest)
            self.counters.evicted += 1
            self.counters.queue_dropped += len(oldest.waiting)
        neighbour = Neighbour(self, address)
        self._neighbours[address] = neighbour
        self._unanswered[address] = neighbour
        return neighbour

    def _forget(self, neighbour: Neighbour) -> None:
        self._neighbours.pop(neighbour.address, None)
        self._unanswered.pop(neighbour.address, None)
        self.headers.pop(neighbour.address, b"")
        self._timers.set(neighbour, FOREVER)

    def _confirm(self, neighbour: Neighbour, mac: bytes, now: Instant) -> None:
        """The neighbour has said where it is."""
        self._unanswered.pop(neighbour.address, None)
        neighbour.mac = mac
        neighbour.state = REACHABLE
        neighbour.attempts = 0
        header = self._header(mac, ETHERTYPE_IPV4)
        self.headers[neighbour.address] = header
        self._timers.set(neighbour, now + self._lifetime())
        waiting = neighbour.waiting
        if waiting:
            neighbour.waiting = []
            for frame in waiting:
                self._send(frame, header, now)

    def _ask(self, neighbour: Neighbour, now: Instant) -> None:
        """Send a request: to everybody, or to the place where the neighbour was last."""
        interface = self._interface
        neighbour.attempts += 1
        self._timers.set(neighbour, now + self.settings.retry_milliseconds * MILLISECOND)
        self.counters.requests_out += 1
        packet = ArpPacket(REQUEST, interface.mac, self._source(neighbour.address), ANY_MAC, neighbour.address)
        self._emit(packet, neighbour.mac if neighbour.state == PROBE else BROADCAST_MAC, now)

    def _source(self, target: bytes) -> bytes:
        """The address to ask from: one in the target's own network, as others may not answer."""
        addresses = self._interface.addresses
        for own in addresses:
            if broadcast_of(own.address, own.length) == broadcast_of(target, own.length):
                return own.address
        return addresses[0].address if addresses else bytes(4)

    def _give_up(self, neighbour: Neighbour, now: Instant) -> None:
        """Nobody answers: whoever sent the packets that waited is told."""
        waiting = neighbour.waiting
        neighbour.waiting = []
        self.counters.unresolved += 1
        network = self._interface.ipv4
        if network is not None:
            for frame in waiting:
                network.undeliverable(frame, now)

    def _conflict(self, address: bytes, now: Instant) -> None:
        """Somebody else uses our address: say so once, and go on (RFC 5227 section 2.4 (b)), unless somebody watches who
        can have another address."""
        self.counters.conflicts += 1
        if now - self._defended >= DEFEND_INTERVAL:
            self._defended = now
            self.announce(address, now)
            return
        watcher = self._watchers.get(address)
        if watcher is not None:
            watcher.conflict(address, now)

    def _contested(self, packet: ArpPacket, now: Instant) -> bool:
        """Whether the packet is about an address that is being probed: its owner's, or another prober's."""
        probed = packet.operation == REQUEST and is_unspecified(packet.sender_ip)
        address = packet.target_ip if probed else packet.sender_ip
        watcher = self._watchers.get(address)
        if watcher is None or self._interface.owns(address):
            return False
        self.counters.conflicts += 1
        watcher.conflict(address, now)
        return True

    def _lifetime(self) -> Duration:
        return self.settings.lifetime_seconds * SECOND

    def _header(self, mac: bytes, kind: int) -> bytes:
        return emit_ethernet(mac, self._interface.mac, kind)

    def _send(self, frame: Frame, header: bytes, now: Instant) -> None:
        frame.push(header)
        self._interface.transmit(frame, now)

    def _emit(self, packet: ArpPacket, destination: bytes, now: Instant) -> None:
        self._send(Frame(packet.emit()), self._header(destination, ETHERTYPE_ARP), now)
