"""Bridges: several Ethernet interfaces made one network (IEEE 802.1D clause 7, without the spanning tree).

An interface that is a port of a bridge gives it every frame that comes in, before anything else looks at it.  The bridge
learns behind which port each sender is, sends frames out where their destination is, or, where that isn't known, everywhere
but where they came from.  The kernel's own part in the network is an interface over the bridge's `own` port.

Without the spanning tree nothing ends a loop: whoever connects two ports with each other has a storm.  Its messages pass, so
that bridges which have it see the loop.
"""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.frame import GSO_NONE, Frame
from ...hyper.link import LinkPort, Receiver
from ...hyper.time import SECOND, Instant
from ...kern.abi.errno import EBUSY, ENOSPC, error
from ...kern.counters import Counters
from ...kern.sysctl import Sysctl
from ..wire.ethernet import ETHERTYPE_VLAN, HEADER_SIZE, TAG_SIZE, ethertype
from .ethernet import EthernetInterface, FrameTaker

RESERVED: Final = b"\x01\x80\xc2\x00\x00"
"""Of these group addresses the first sixteen are for the next bridge alone (IEEE 802.1D table 7-10)."""
SWEEP: Final = SECOND
"""How often at most a full table is searched for what has grown old."""


@final
class BridgeSettings:
    """Limits of all bridges of a kernel."""

    def __init__(self) -> None:
        self.ageing_seconds: int = 300
        self.max_addresses: int = 4096
        self.max_ports: int = 64


BRIDGE_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("ageing_seconds", 1, 1_000_000, "how long a bridge remembers where an address was seen"),
    Sysctl("max_addresses", 1, 1 << 20, "addresses that a bridge remembers; frames to others are flooded"),
    Sysctl("max_ports", 1, 1024, "interfaces that one bridge joins"),
)


@final
class BridgeCounters(Counters):
    """What one bridge did with frames."""

    def __init__(self) -> None:
        self.forwarded: int = 0
        self.flooded: int = 0
        self.own_in: int = 0
        self.own_out: int = 0
        self.learned: int = 0
        self.moved: int = 0
        self.not_learned: int = 0
        self.same_port: int = 0
        self.reserved_in: int = 0
        self.bad_source: int = 0
        self.too_big: int = 0

    def names(self) -> tuple[str, ...]:
        return _COUNTERS


_COUNTERS: Final = (
    "forwarded", "flooded", "own_in", "own_out", "learned", "moved", "not_learned", "same_port", "reserved_in",
    "bad_source", "too_big",
)  # fmt: skip


@final
class _Seen:
    """Where an address was seen last, and when."""

    __slots__ = ("at", "member")

    def __init__(self, member: "BridgeMember", at: Instant) -> None:
        self.member: BridgeMember = member
        self.at: Instant = at


@final
class BridgeMember(FrameTaker):
    """One interface that is a port of a bridge."""

    def __init__(self, bridge: "Bridge", interface: EthernetInterface) -> None:
        self.bridge: Bridge = bridge
        self.interface: EthernetInterface = interface

    def take(self, frame: Frame, now: Instant) -> None:
        self.bridge.input(self, frame, now)

    def flush(self, now: Instant) -> None:
        receiver = self.bridge.own.receiver
        if receiver is not None:
            receiver.flush(now)

    def leave(self) -> None:
        self.bridge.leave(self.interface)


@final
class OwnPort(LinkPort):
    """The kernel's own port of a bridge."""

    def __init__(self, bridge: "Bridge", mtu: int, features: int) -> None:
        super().__init__(mtu, features)
        self.receiver: Receiver | None = None
        self._bridge: Bridge = bridge

    def attach(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def transmit(self, frame: Frame) -> None:
        self._bridge.output(frame)

    def close(self) -> None:
        self.receiver = None
        self._bridge.close()


@final
class Bridge:
    """One bridge."""

    def __init__(
        self, hyper: Hypercalls, settings: BridgeSettings, ports: list[EthernetInterface], mac: bytes, mtu: int = 0
    ) -> None:
        """Join `ports`; `mac` will be that of the own interface.  Frames are as large as the smallest port takes.
        Raises EBUSY for a port of another bridge, ENOSPC."""
        self.counters: BridgeCounters = BridgeCounters()
        self.members: list[BridgeMember] = []
        self.mac: bytes = mac
        self._hyper: Hypercalls = hyper
        self._settings: BridgeSettings = settings
        self._table: dict[bytes, _Seen] = {}
        self._swept: Instant = -SWEEP
        if len(ports) > settings.max_ports:
            raise error(ENOSPC)
        if any(port.taker is not None for port in ports):
            raise error(EBUSY)
        features = -1
        for port in ports:
            features &= port.features
            self._join(port)
        least = min([port.mtu for port in ports])
        self.own: OwnPort = OwnPort(self, min(mtu, least) if mtu else least, features)

    def _join(self, port: EthernetInterface) -> None:
        member = BridgeMember(self, port)
        self.members.append(member)
        port.taker = member

    def leave(self, interface: EthernetInterface) -> None:
        """Let a port go, with what was learned behind it; nothing happens if it is none."""
        for member in list(self.members):
            if member.interface is interface:
                self.members.remove(member)
                interface.taker = None
                self._table = {mac: seen for mac, seen in self._table.items() if seen.member is not member}

    def close(self) -> None:
        """Let all ports go."""
        for member in list(self.members):
            self.leave(member.interface)

    def addresses(self) -> list[tuple[bytes, str]]:
        """Every address that was learned and the interface it is behind, for listings."""
        oldest = self._oldest(self._hyper.now)
        return [(mac, seen.member.interface.name) for mac, seen in self._table.items() if seen.at >= oldest]

    def input(self, member: BridgeMember, frame: Frame, now: Instant) -> None:
        """Take a frame from a port."""
        head = frame.head
        counters = self.counters
        source = head[6:12]
        if source[0] & 1 or source == self.mac:
            counters.bad_source += 1
            return
        if head[0:5] == RESERVED and 0 < head[5] < 16:
            counters.reserved_in += 1
            return
        self._learn(member, source, now)
        destination = head[0:6]
        if destination == self.mac:
            self._deliver(frame, now)
            return
        target = None if destination[0] & 1 else self._find(destination, now)
        if target is member:
            counters.same_port += 1
        elif target is not None:
            counters.forwarded += 1
            self._send(target, frame, now)
        else:
            self._flood(member, frame, now)
            self._deliver(frame, now)

    def output(self, frame: Frame) -> None:
        """Send a frame of the kernel's own."""
        now = self._hyper.now
        self.counters.own_out += 1
        destination = frame.head[0:6]
        target = None if destination[0] & 1 else self._find(destination, now)
        if target is not None:
            self._send(target, frame, now)
        else:
            self._flood(None, frame, now)

    # Inside ----------------------------------------------------------------------------------------------

    def _deliver(self, frame: Frame, now: Instant) -> None:
        """Hand a frame to the own interface, whose filter decides."""
        receiver = self.own.receiver
        if receiver is not None:
            self.counters.own_in += 1
            receiver.receive(frame, now)

    def _flood(self, source: BridgeMember | None, frame: Frame, now: Instant) -> None:
        self.counters.flooded += 1
        for member in self.members:
            if member is not source:
                self._send(member, frame, now)

    def _send(self, member: BridgeMember, frame: Frame, now: Instant) -> None:
        interface = member.interface
        if frame.gso_type == GSO_NONE:
            header = HEADER_SIZE + (TAG_SIZE if ethertype(frame.head) == ETHERTYPE_VLAN else 0)
            if len(frame) > interface.mtu + header:
                self.counters.too_big += 1
                return
        interface.transmit(frame, now)

    def _find(self, mac: bytes, now: Instant) -> BridgeMember | None:
        seen = self._table.get(mac)
        return seen.member if seen is not None and seen.at >= self._oldest(now) else None

    def _learn(self, member: BridgeMember, mac: bytes, now: Instant) -> None:
        """Remember where a sender is.  A full table learns nothing new until something has grown old, so that a flood of made-up
        addresses pushes out none that is in use."""
        seen = self._table.get(mac)
        if seen is not None:
            if seen.member is not member:
                self.counters.moved += 1
                seen.member = member
            seen.at = now
            return
        if len(self._table) >= self._settings.max_addresses and not self._sweep(now):
            self.counters.not_learned += 1
            return
        self.counters.learned += 1
        self._table[mac] = _Seen(member, now)

    def _sweep(self, now: Instant) -> bool:
        """Forget what has grown old; whether there is room then."""
        if now - self._swept >= SWEEP:
            self._swept = now
            oldest = self._oldest(now)
            self._table = {mac: seen for mac, seen in self._table.items() if seen.at >= oldest}
        return len(self._table) < self._settings.max_addresses

    def _oldest(self, now: Instant) -> Instant:
        return now - self._settings.ageing_seconds * SECOND


@final
class Bridges:
    """The bridges of one kernel."""

    def __init__(self) -> None:
        self.settings: BridgeSettings = BridgeSettings()
        self.by_name: dict[str, Bridge] = {}
