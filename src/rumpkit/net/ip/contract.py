"""What the network layer and the transports promise each other: routes, packets in, packets out, errors.

Transports (`net/transport`) register with a `Network` (IPv4, and IPv6 where a kernel has it) and see packets as offsets
into a frame's head, so that nothing is copied on the way up.
"""

from abc import ABC, abstractmethod
from typing import final

from mypy_extensions import mypyc_attr

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.abi.errno import ENOPROTOOPT, error
from ...kern.wait import WaitQueue


@mypyc_attr(allow_interpreted_subclasses=True)
class Route:
    """Where packets for a destination go.  Valid until the network's `generation` moves on."""

    def __init__(self, interface: "OutputInterface", source: bytes, next_hop: bytes, mtu: int) -> None:
        self.interface: OutputInterface = interface
        self.source: bytes = source
        """The source address to use when the sender has not chosen one."""
        self.next_hop: bytes = next_hop
        """The address to resolve on the interface: the destination itself, or a gateway."""
        self.mtu: int = mtu
        """Largest packet in bytes on the path as far as it is known (interface MTU, or less by RFC 1191)."""
        self.broadcast: bool = False
        """Whether the destination is a broadcast address: senders must have asked for that (SO_BROADCAST)."""
        self.fragmentable: bool = False
        """The path's MTU is smaller than we care to use: routers may fragment what goes this way, whatever the sender
        asked for.  The network sees to it."""
        self.hop_limit: int = 0
        """IPv6: what a router on this way says is the hop limit for senders that have not chosen one; 0 if none does."""
        self.flow: int = 0
        """IPv6: what flow labels on this way are made from; the network's own."""


@mypyc_attr(allow_interpreted_subclasses=True)
class OutputInterface(ABC):
    """What the network layer needs of an interface."""

    def __init__(self, name: str, mtu: int, features: int) -> None:
        self.name: str = name
        self.index: int = 0
        self.mtu: int = mtu
        self.features: int = features
        """FEATURE_* bits of the link behind it; transports may build super-segments even without them, as the
        interface finishes frames in software."""

    @abstractmethod
    def output(self, frame: Frame, next_hop: bytes, now: Instant) -> None:
        """Send an IP packet (the frame's head starts with the IP header) to a neighbour."""

    def doubt(self, next_hop: bytes, now: Instant) -> None:
        """Somebody's packets to a neighbour get no answer: it may be gone (RFC 1122 section 3.3.1.4)."""
        return None


@mypyc_attr(allow_interpreted_subclasses=True)
class Transport(ABC):
    """A protocol above IP."""

    @abstractmethod
    def input(self, frame: Frame, network: int, transport: int, end: int, now: Instant) -> None:
        """Take one packet addressed to this kernel.

        The IP header starts at `frame.head[network]`, the transport header at `frame.head[transport]`; the packet
        ends at `frame.head[end]` (link padding may follow), and its payload goes on in the frame's body if there is
        one.  IP checked its own header only.  Never raises for what the packet holds.
        """

    def flush(self, now: Instant) -> None:
        """A batch of packets has ended."""
        return None

    def sent(self, source: bytes, destination: bytes, quoted: bytes) -> bool:
        """Whether `quoted` (as in `error`) can be of a packet that we sent: such as that there is a connection and
        the sequence number lies in what is unacknowledged (RFC 5927 section 4.1).  ICMP about others is ignored, and
        changes no path MTU."""
        return True

    def error(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        """ICMP reports that a packet we sent (from `source` to `destination`) failed.

        `quoted` is what the report quotes of the transport header and payload (at least 8 bytes); `errno` says what
        happened (ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EMSGSIZE, ...); `mtu` is the next hop's for EMSGSIZE.
        """
        return None


@final
class Report:
    """The ICMP message behind a call of `Transport.error`."""

    def __init__(self, kind: int, code: int, reporter: bytes) -> None:
        self.kind: int = kind
        self.code: int = code
        self.reporter: bytes = reporter
        """Who sent it."""
        self.pointer: int = 0
        """Of a parameter problem: where it is."""


@mypyc_attr(allow_interpreted_subclasses=True)
class RawInput(ABC):
    """Who gets copies of whole packets before transports see them: raw sockets."""

    @abstractmethod
    def take(self, frame: Frame, network: int, transport: int, protocol: int, now: Instant) -> bool:
        """Whether anybody wanted the packet at `frame.head[network]`, whose protocol's header is at `transport`, and which
        then is of a known protocol."""

    def error(
        self, protocol: int, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant
    ) -> None:
        """As `Transport.error`, for every protocol: who sent such packets past the transports shall hear of it, too."""
        return None

    def knows(self, protocol: int) -> bool:
        """Whether there are sockets of a protocol."""
        return False


@mypyc_attr(allow_interpreted_subclasses=True)
class Network(ABC):
    """A network-layer protocol, as transports see it."""

    def __init__(self) -> None:
        self.generation: int = 0
        """Moves on when routes, addresses or path MTUs change: cached routes are looked up again then."""
        self.incoming: OutputInterface | None = None
        """During `Transport.input`: the interface by which the packet came."""
        self.reported: Report | None = None
        """During `Transport.error`: the message that says so; None where the error is our own."""
        self.changes: WaitQueue = WaitQueue()
        """Woken when routes, addresses or interfaces have changed: for who shows them."""

    def moved(self) -> None:
        """Routes, addresses or interfaces have changed."""
        self.generation += 1
        self.changes.wake_all()

    @abstractmethod
    def register(self, protocol: int, transport: Transport) -> None:
        """Hand packets with this protocol number to `transport`."""

    @abstractmethod
    def route(self, destination: bytes, source: bytes | None = None, zone: int = 0) -> Route:
        """How to reach `destination` (from `source`, where the sender has chosen; through the interface of the index
        `zone`, if it isn't 0).  Raises ENETUNREACH and, where `source` isn't ours, EADDRNOTAVAIL."""

    @abstractmethod
    def output(
        self,
        frame: Frame,
        route: Route,
        source: bytes,
        destination: bytes,
        protocol: int,
        now: Instant,
        ttl: int = -1,
        tos: int = 0,
        dont_fragment: bool = True,
    ) -> None:
        """Put an IP header in front of `frame` (whose head starts with the transport header) and send it.  `ttl` is -1
        where the sender has not chosen one.

        Super-segments (gso_type set) may exceed the MTU; other packets that do are fragmented, or, with
        `dont_fragment`, raise EMSGSIZE.
        """

    @abstractmethod
    def default_ttl(self) -> int:
        """The time to live, or hop limit, of packets whose sender has not chosen one (nor, with IPv6, a router)."""

    @abstractmethod
    def is_local(self, address: bytes) -> bool:
        """Whether packets to `address` are for this kernel (an address of ours, loopback, or, in a kernel that
        accepts any destination, everything)."""

    @abstractmethod
    def unreachable(self, frame: Frame, network: int, code: int, now: Instant) -> None:
        """Answer the packet at `frame.head[network]` with ICMP destination unreachable (rate-limited; never about
        broadcasts, errors or fragments other than the first, RFC 1122 3.2.2)."""

    def join(self, group: bytes, zone: int = 0) -> None:
        """Take packets to a multicast group too, by the interface of that index (0: whichever suits).  Raises
        ENOPROTOOPT where the network has none."""
        raise error(ENOPROTOOPT)

    def loop_back(self, frame: Frame, route: Route, destination: bytes) -> None:
        """A packet to a group was sent by `output`: let members on this host have it, too, where the network doesn't by
        itself.  Nobody changes the frame any more."""
        return None

    def leave(self, group: bytes, zone: int = 0) -> None:
        """Undo one `join`.  Raises EADDRNOTAVAIL, ENOPROTOOPT."""
        raise error(ENOPROTOOPT)
