"""Answering for hosts that are elsewhere: a gateway decides on each connection request before TCP says anything.

On a kernel whose IP accepts any destination, a SYN that no listener wants becomes a `PendingConnection`.  Its handler
finds out whether the real host can be reached, and then lets it be accepted, refused or reported unreachable.
"""

from collections.abc import Callable
from typing import final

from mypy_extensions import mypyc_attr, trait

from ....hyper.frame import Frame
from ....hyper.time import Instant
from ....kern.abi.errno import EINVAL, error
from ....kern.socket import SocketAddress, StreamSocket
from ....kern.timer import Timer
from ...wire.segment import Segment


@mypyc_attr(allow_interpreted_subclasses=True)
class Interceptor:
    """Who decides about connection requests (`Tcp.intercept`)."""

    def syn(self, pending: "PendingConnection") -> None:
        """Somebody wants to connect.  Decide now or later; nothing is answered until then."""
        raise NotImplementedError

    def withdrawn(self, pending: "PendingConnection") -> None:
        """The request is over without an answer: it took too long, or the peer gave up."""
        return None


@trait
class Answers:
    """What a pending connection's answers do: the layer."""

    def pending_accepted(self, pending: "PendingConnection", now: Instant) -> StreamSocket:
        """Send the SYN-ACK."""
        raise NotImplementedError

    def pending_refused(self, pending: "PendingConnection", now: Instant) -> None:
        """Send a RST."""
        raise NotImplementedError

    def pending_unreachable(self, pending: "PendingConnection", code: int, now: Instant) -> None:
        """Send ICMP destination unreachable."""
        raise NotImplementedError

    def pending_expired(self, pending: "PendingConnection", now: Instant) -> None:
        """Forget it."""
        raise NotImplementedError


@final
class PendingConnection(Timer):
    """A connection request that waits for an answer.  Retransmissions of its SYN are absorbed meanwhile."""

    def __init__(
        self,
        answers: Answers,
        clock: Callable[[], Instant],
        key: bytes,
        local: SocketAddress,
        remote: SocketAddress,
        segment: Segment,
        frame: Frame,
        network: int,
    ) -> None:
        super().__init__()
        self._answers: Answers = answers
        self._clock: Callable[[], Instant] = clock
        self.key: bytes = key
        self.local: SocketAddress = local
        """Whom the peer wants to reach."""
        self.remote: SocketAddress = remote
        """Who asks."""
        self.segment: Segment = segment
        self.frame: Frame = frame
        """The SYN's packet, for ICMP to quote; its IP header starts at `head[network]`."""
        self.network: int = network
        self.open: bool = True
        """Not answered and not given up."""

    def accept(self) -> StreamSocket:
        """Send the SYN-ACK.  The socket can be used at once (what is put into it waits for the handshake) and its queue
        is woken when the connection is established, or failed.  Raises EINVAL once the request is over."""
        self._settle()
        return self._answers.pending_accepted(self, self._clock())

    def refuse(self) -> None:
        """Send a RST: ECONNREFUSED for the peer.  Raises EINVAL once the request is over."""
        self._settle()
        self._answers.pending_refused(self, self._clock())

    def unreachable(self, code: int) -> None:
        """Send ICMP destination unreachable with this code (0 network, 1 host, 13 prohibited).  Raises EINVAL once the
        request is over."""
        self._settle()
        self._answers.pending_unreachable(self, code, self._clock())

    def drop(self) -> None:
        """Answer nothing, now or later.  Raises EINVAL once the request is over."""
        self._settle()
        self._answers.pending_expired(self, self._clock())

    def expire(self, now: Instant) -> None:
        if self.open:
            self.open = False
            self._answers.pending_expired(self, now)

    def _settle(self) -> None:
        if not self.open:
            raise error(EINVAL)
        self.open = False
