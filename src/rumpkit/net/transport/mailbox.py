"""Mailboxes: where datagrams wait for a socket's reader, within a limit in bytes.  Between transports and sockets."""

from collections import deque
from typing import Final, final

from ...hyper.time import Instant
from ...kern.wait import WaitQueue

OVERHEAD: Final = 256
"""Bytes that a waiting datagram counts for beside its payload, so that empty ones have a limit too."""
DEFAULT_LIMIT: Final = 212_992
"""As Linux's net.core.rmem_default."""


@final
class Letter:
    """One datagram that was received."""

    __slots__ = ("data", "destination", "port", "source", "ttl")

    def __init__(self, data: bytes, source: bytes, port: int, destination: bytes, ttl: int) -> None:
        self.data: bytes = data
        self.source: bytes = source
        self.port: int = port
        """The sender's, in host order."""
        self.destination: bytes = destination
        self.ttl: int = ttl


@final
class Mailbox:
    """The datagrams that one socket has not read yet, and the error that it has not heard of."""

    def __init__(self, queue: WaitQueue, limit: int = DEFAULT_LIMIT) -> None:
        self.queue: WaitQueue = queue
        """Woken when something comes."""
        self.limit: int = limit
        self.used: int = 0
        self.dropped: int = 0
        self.error: int = 0
        """What ICMP or ARP said of a datagram that was sent; reported once."""
        self.last: Instant = 0
        """When the youngest datagram came (SIOCGSTAMP)."""
        self._letters: deque[Letter] = deque()

    def put(self, letter: Letter, now: Instant) -> bool:
        """Take a datagram; False if it was dropped for want of room.  An empty mailbox takes any."""
        cost = len(letter.data) + OVERHEAD
        if self.used and self.used + cost > self.limit:
            self.dropped += 1
            return False
        self.used += cost
        self.last = now
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

    def clear(self) -> None:
        """Forget everything."""
        self._letters.clear()
        self.used = 0
