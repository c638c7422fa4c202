"""Mailboxes: where datagrams wait for a socket's reader, within a limit in bytes.  Between transports and sockets."""

from collections import deque
from typing import Final, final

from ...hyper.time import Instant
from ...kern.wait import WaitQueue
from ..ip.contract import OutputInterface

OVERHEAD: Final = 256
"""Bytes that a waiting datagram counts for beside its payload, so that empty ones have a limit too."""
DEFAULT_LIMIT: Final = 212_992
"""As Linux's net.core.rmem_default."""


ORIGIN_LOCAL: Final = 1
ORIGIN_ICMP: Final = 2
ORIGIN_ICMP6: Final = 3
"""Who an error comes from (SO_EE_ORIGIN_* of Linux): ourselves, or a host that sent ICMP."""
MAX_COMPLAINTS: Final = 64


@final
class Letter:
    """One datagram that was received."""

    __slots__ = ("arrived", "data", "destination", "interface", "port", "source", "tos", "ttl")

    def __init__(
        self,
        data: bytes,
        source: bytes,
        port: int,
        destination: bytes,
        ttl: int,
        tos: int = 0,
        interface: OutputInterface | None = None,
        arrived: Instant = 0,
    ) -> None:
        self.data: bytes = data
        self.source: bytes = source
        self.port: int = port
        """The sender's, in host order."""
        self.destination: bytes = destination
        self.ttl: int = ttl
        self.tos: int = tos
        self.interface: OutputInterface | None = interface
        """Where it came in."""
        self.arrived: Instant = arrived


@final
class Complaint:
    """One error about a datagram that was sent, as IP_RECVERR has it."""

    def __init__(
        self, errno: int, origin: int, kind: int, code: int, info: int, offender: bytes, destination: bytes, port: int
    ) -> None:
        self.errno: int = errno
        self.origin: int = origin
        """ORIGIN_*."""
        self.kind: int = kind
        """ICMP's type and code, 0 for our own errors."""
        self.code: int = code
        self.info: int = info
        """The path's MTU for EMSGSIZE."""
        self.offender: bytes = offender
        """Who says so."""
        self.destination: bytes = destination
        """Where the datagram was sent."""
        self.port: int = port
        self.data: bytes = b""
        """What is known of its payload."""


@final
class Mailbox:
    """The datagrams that one socket has not read yet, and the errors that it has not heard of."""

    def __init__(self, queue: WaitQueue, limit: int = DEFAULT_LIMIT) -> None:
        self.queue: WaitQueue = queue
        """Woken when something comes."""
        self.limit: int = limit
        self.used: int = 0
        self.dropped: int = 0
        self.error: int = 0
        """What ICMP or ARP said of a datagram that was sent; reported once."""
        self.complaints: list[Complaint] | None = None
        """The same in full, for sockets that ask (IP_RECVERR)."""
        self._letters: deque[Letter] = deque()

    def put(self, letter: Letter) -> bool:
        """Take a datagram; False if it was dropped for want of room.  An empty mailbox takes any."""
        cost = len(letter.data) + OVERHEAD
        if self.used and self.used + cost > self.limit:
            self.dropped += 1
            return False
        self.used += cost
        self._letters.append(letter)
        self.queue.wake_one()
        return True

    def first(self) -> Letter | None:
        """The oldest datagram, which stays."""
        return self._letters[0] if self._letters else None

    def take(self) -> None:
        """Forget the oldest datagram."""
        self.used -= len(self._letters.popleft().data) + OVERHEAD

    def fail(self, errno: int) -> None:
        """Keep an error for the next call, and wake everybody to hear of it."""
        self.error = errno
        self.queue.wake_all()

    def take_error(self) -> int:
        """The pending error, which is then forgotten."""
        errno = self.error
        self.error = 0
        return errno

    def complain(self, complaint: Complaint) -> None:
        """Keep an error in full, unless too many wait already."""
        if self.complaints is None:
            self.complaints = []
        if len(self.complaints) < MAX_COMPLAINTS:
            self.complaints.append(complaint)

    def take_complaint(self) -> Complaint | None:
        """The oldest error in full, which is then forgotten; the pending error becomes the next one's (as on Linux)."""
        complaints = self.complaints
        if not complaints:
            return None
        complaint = complaints.pop(0)
        if complaint.origin != ORIGIN_LOCAL or complaints:
            self.error = complaints[0].errno if complaints else 0
        return complaint

    def clear(self) -> None:
        """Forget everything."""
        self.complaints = None
        self._letters.clear()
        self.used = 0
