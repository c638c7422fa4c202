"""Network interfaces: what stands between a kernel's network layer and a link.

An interface is two objects, as frames flow two ways: the `Interface` itself is the way out, and its `ingress` is the
receiver that the link's port delivers to.  Kinds of interfaces (Ethernet, loopback) subclass it.
"""

from abc import ABC, abstractmethod
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.frame import CHECKSUM_PARTIAL, FEATURES_ALL, GSO_NONE, Frame
from ...hyper.link import LinkPort, Receiver
from ...hyper.time import Instant
from ...kern.counters import Counters
from ..ip.contract import OutputInterface
from ..wire.offload import finish
from .tap import OUTBOUND, FrameTap


@final
class InterfaceCounters(Counters):
    """What went through one interface."""

    def __init__(self) -> None:
        self.frames_in: int = 0
        self.bytes_in: int = 0
        self.group_in: int = 0
        self.frames_out: int = 0
        self.bytes_out: int = 0
        self.group_out: int = 0
        self.short_in: int = 0
        self.other_host_in: int = 0
        self.other_group_in: int = 0
        self.tagged_in: int = 0
        self.unknown_type_in: int = 0
        self.down_in: int = 0
        self.down_out: int = 0

    def names(self) -> tuple[str, ...]:
        return _COUNTERS


_COUNTERS: Final = (
    "frames_in", "bytes_in", "group_in", "frames_out", "bytes_out", "group_out", "short_in", "other_host_in",
    "other_group_in", "tagged_in", "unknown_type_in",
    "down_in", "down_out",
)  # fmt: skip


@final
class InterfaceAddress:
    """One address of an interface and the length of its network's prefix in bits."""

    def __init__(self, address: bytes, length: int) -> None:
        self.address: bytes = address
        self.length: int = length


@mypyc_attr(allow_interpreted_subclasses=True)
class PacketInput(ABC):
    """A network-layer protocol, as interfaces see it."""

    @abstractmethod
    def input(self, frame: Frame, network: int, interface: "Interface", now: Instant) -> None:
        """Take the packet whose header starts at `frame.head[network]`.  Never raises for what it holds."""

    @abstractmethod
    def flush(self, now: Instant) -> None:
        """A batch of frames has ended."""

    @abstractmethod
    def undeliverable(self, frame: Frame, now: Instant) -> None:
        """A packet given to `Interface.output` can't be delivered: the neighbour does not answer.  The frame's head
        starts with the network header, as it did then."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Resolver(ABC):
    """A protocol that finds the link addresses of IPv6 neighbours, as interfaces with neighbours see it.  (IPv4's, ARP, is
    the interface's own.)"""

    @abstractmethod
    def miss(self, frame: Frame, next_hop: bytes, now: Instant) -> None:
        """Send, queue or drop a packet for a neighbour whose link header isn't known."""

    @abstractmethod
    def doubt(self, next_hop: bytes, now: Instant) -> None:
        """As `OutputInterface.doubt`."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Interface(OutputInterface):
    """The way out, and the state that the two ways share."""

    def __init__(self, name: str, index: int, mac: bytes, mtu: int, features: int) -> None:
        super().__init__(name, mtu, features)
        self.index = index
        """Numbered from 1 (the first is usually loopback), never used again."""
        self.mac: bytes = mac
        self.addresses: list[InterfaceAddress] = []
        self.up: bool = False
        self.group_macs: dict[bytes, int] = {}
        """The Ethernet addresses of the IPv4 groups that the interface is in, and of how many groups each is."""
        self.promiscuous: bool = False
        """Take unicast frames to other MAC addresses too."""
        self.loopback: bool = False
        self.kind: str = "ethernet"
        """What listings call this kind of interface."""
        self.counters: InterfaceCounters = InterfaceCounters()
        self.ipv4: PacketInput | None = None
        self.ipv6: PacketInput | None = None
        self.resolver: Resolver | None = None
        self.tapped: bool = False
        self._taps: list[FrameTap] = []

    @abstractmethod
    def set_up(self, up: bool, now: Instant) -> None:
        """Let frames through, or stop them both ways."""

    @abstractmethod
    def announce(self, address: bytes, now: Instant) -> None:
        """An address was added to this interface: tell the neighbours, where the link has any."""

    @abstractmethod
    def ingress(self) -> Receiver:
        """What the link delivers to."""

    @abstractmethod
    def close(self) -> None:
        """Give the link up; frames are dropped from now on."""

    def owns(self, address: bytes) -> bool:
        """Whether `address` is one of this interface's."""
        for own in self.addresses:
            if own.address == address:
                return True
        return False

    def add_tap(self, tap: FrameTap) -> None:
        """Let `tap` see every frame from now on."""
        self._taps.append(tap)
        self.tapped = True

    def remove_tap(self, tap: FrameTap) -> None:
        """Stop telling `tap`; nothing happens if it was never added.  The others hear of the present frame, too."""
        self._taps = [other for other in self._taps if other is not tap]
        self.tapped = len(self._taps) > 0

    def tell_taps(self, frame: Frame, direction: int, now: Instant) -> None:
        """Show a frame to all taps."""
        for tap in self._taps:
            tap.frame(self.name, frame, direction, now)


@mypyc_attr(allow_interpreted_subclasses=True)
class LinkInterface(Interface):
    """An interface over a host's port."""

    def __init__(self, name: str, index: int, mac: bytes, mtu: int, port: LinkPort) -> None:
        super().__init__(name, index, mac, mtu, port.features)
        self.port: LinkPort = port
        self._takes_all: bool = port.features & FEATURES_ALL == FEATURES_ALL

    def transmit(self, frame: Frame, now: Instant) -> None:
        """Hand a frame with its link header to the port, finished as far as the link needs it."""
        if not self.up:
            self.counters.down_out += 1
        elif self._takes_all or (frame.checksum != CHECKSUM_PARTIAL and frame.gso_type == GSO_NONE):
            self._emit(frame, now)
        else:
            for finished in finish(frame, self.features):
                self._emit(finished, now)

    def _emit(self, frame: Frame, now: Instant) -> None:
        counters = self.counters
        counters.frames_out += 1
        counters.bytes_out += len(frame.head) + frame.size
        if frame.head[0] & 1:
            counters.group_out += 1
        if self.tapped:
            self.tell_taps(frame, OUTBOUND, now)
        self.port.transmit(frame)

    def close(self) -> None:
        self.up = False
        self.port.close()
