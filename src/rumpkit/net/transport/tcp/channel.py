"""What the layer's tables hold: connections with their place in a kernel, and listeners with their two queues.

Between the sans-I/O `connection` and `layer`, which drives it.
"""

from typing import final

from mypy_extensions import trait

from ....hyper.time import SECOND, Instant
from ....kern.socket import SocketAddress
from ....kern.timer import Timer
from ....kern.wait import WaitQueue
from ...ip.contract import Route
from ...wire.segment import ACK, RST, SYN, Segment
from ..ports import PortBinding
from .connection import TcpConnection
from .options import TcpOptions
from .settings import TcpSettings
from .states import SYN_RECEIVED


@trait
class Driver:
    """Who does what a channel's timer asks for: the layer."""

    def expired(self, channel: "Channel", now: Instant) -> None:
        """A deadline of the channel's connection has passed."""
        raise NotImplementedError


@final
class Channel(Timer):
    """One connection in its kernel: addresses, route, timer, and whom to wake."""

    def __init__(
        self,
        driver: Driver,
        key: bytes,
        local: SocketAddress,
        remote: SocketAddress,
        connection: TcpConnection,
        route: Route,
        addresses: int,
    ) -> None:
        super().__init__()
        self._driver: Driver = driver
        self.key: bytes = key
        """Source, destination and ports of what arrives, as in its headers."""
        self.local: SocketAddress = local
        self.remote: SocketAddress = remote
        self.connection: TcpConnection = connection
        self.route: Route = route
        self.generation: int = 0
        """The network's generation that `route` is of."""
        self.addresses: int = addresses
        """The pseudo-header's part of every checksum."""
        self.queue: WaitQueue | None = None
        """The socket's, while there is one."""
        self.listener: Listener | None = None
        """Who opened it, until the handshake is done."""
        self.early: Listener | None = None
        """Who counts it among the early ones."""
        self.binding: PortBinding | None = None
        self.zone: int = 0
        """The index of the one interface to use (SO_BINDTODEVICE, the zone of a link-local peer); 0 for any."""
        self.least_ttl: int = 0
        """IP_MINTTL: what came with less is from too far away."""
        self.opened_at: Instant = 0
        self.busy: bool = False
        """Something happened that the layer looks at when the batch ends."""
        self.orphan: bool = False
        self.waiting: bool = False
        """Counted among those in TIME-WAIT."""

    def claim(self, queue: WaitQueue) -> None:
        """From now on there is a user, who may have to read what has come already."""
        self.queue = queue
        block = self.connection.block
        block.unclaimed = block.receive_queue.size() > 0

    def expire(self, now: Instant) -> None:
        self._driver.expired(self, now)


@final
class Listener:
    """A listening port: half-open connections (the SYN queue) and established ones that wait for accept."""

    def __init__(self, local: SocketAddress, options: TcpOptions, binding: PortBinding, queue: WaitQueue) -> None:
        self.local: SocketAddress = local
        self.options: TcpOptions = options
        """Copied by each connection."""
        self.binding: PortBinding = binding
        self.queue: WaitQueue = queue
        """Woken when a connection is ready."""
        self.zone: int = 0
        """The index of the one interface to listen on; 0 for any."""
        self.dual: bool = False
        """The wildcard of IPv6 that takes connections over IPv4, too."""
        self.backlog: int = 0
        self.half_open: dict[bytes, Channel] = {}
        self.early: int = 0
        """Connections that were ready before their handshake was done, and still aren't through with it."""
        self.early_resets: list[Instant] = []
        """Until when such count that a reset has ended."""
        self.ready: list[Channel] = []

    def full(self) -> bool:
        """Whether the accept queue is: then neither SYNs nor the last ACKs of handshakes are taken, so that peers try
        again (as on Linux, which also lets one more in than the backlog says)."""
        return len(self.ready) > self.backlog

    def early_load(self, now: Instant) -> int:
        """How many early connections count against the limit.  Those that were reset do for a while: whoever has a cookie and
        forges his source may otherwise have any number, as the hosts that he names reset them (RFC 7413 section 5.1)."""
        resets = self.early_resets
        while resets and resets[0] <= now:
            resets.pop(0)
        return self.early + len(resets)

    def crowded(self, settings: TcpSettings) -> bool:
        """Whether there is no room for one more half-open connection."""
        limit = max(min(self.backlog, settings.max_backlog), 8)
        return len(self.half_open) >= min(limit, settings.max_syn_backlog)

    def defers(self, channel: Channel, segment: Segment, now: Instant) -> bool:
        """TCP_DEFER_ACCEPT: whether a bare ACK does not complete the handshake yet."""
        wait = self.options.defer_accept
        if not wait or segment.size or segment.flags & (SYN | ACK | RST) != ACK:
            return False
        return channel.connection.block.state == SYN_RECEIVED and now - channel.opened_at < wait * SECOND
