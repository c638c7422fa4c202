"""What packet sockets are made of: packets that wait for a reader within a limit, and the options about that."""

from collections import deque
from typing import Final

from mypy_extensions import mypyc_attr

from ...hyper.time import Instant
from ...kern.abi.errno import EAGAIN, ENOPROTOOPT, ENOTTY, EOPNOTSUPP, error
from ...kern.abi.poll import POLLERR, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from ...kern.abi.socket import MSG_OOB, MSG_PEEK, MSG_TRUNC, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET
from ...kern.socket import Received, Socket, SocketAddress
from ...kern.wait import Blocked
from .options import int_option, option_int

OVERHEAD: Final = 256
"""Bytes that a waiting packet counts for beside its own."""
DEFAULT_BUFFER: Final = 212_992
MAX_BUFFER: Final = 8 << 20
MIN_BUFFER: Final = 2304
FIONREAD: Final = 0x541B
_MSG_ERRQUEUE: Final = 0x2000


@mypyc_attr(allow_interpreted_subclasses=True)
class InboxSocket(Socket):
    """A socket that is given whole packets."""

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self.receive_buffer: int = DEFAULT_BUFFER
        self.send_buffer: int = DEFAULT_BUFFER
        self.received: int = 0
        """Packets that came, with those that were dropped for want of room."""
        self.dropped: int = 0
        self._waiting: deque[tuple[bytes, SocketAddress]] = deque()
        self._used: int = 0

    def put(self, data: bytes, source: SocketAddress) -> None:
        """Take a packet, or drop it where there is no room."""
        self.received += 1
        cost = len(data) + OVERHEAD
        if self._used and self._used + cost > self.receive_buffer:
            self.dropped += 1
            return
        self._used += cost
        self._waiting.append((data, source))
        self.queue.wake_one()

    def receive(self, size: int, flags: int, now: Instant) -> Received | Blocked:
        if flags & (MSG_OOB | _MSG_ERRQUEUE):
            raise error(EOPNOTSUPP if flags & MSG_OOB else EAGAIN)
        if self.error:
            raise error(self.take_error())
        if not self._waiting:
            return Blocked(self.queue)
        data, source = self._waiting[0]
        if flags & MSG_PEEK == 0:
            self._waiting.popleft()
            self._used -= len(data) + OVERHEAD
        if len(data) > size:
            return Received(data[:size], source, MSG_TRUNC, len(data))
        return Received(data, source, 0, len(data))

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        return self.send(data, 0, 0, None, now)

    def poll(self) -> int:
        ready = POLLOUT | POLLWRNORM
        if self._waiting:
            ready |= POLLIN | POLLRDNORM
        return ready | POLLERR if self.error else ready

    def ioctl(self, request: int, argument: bytes) -> bytes:
        if request != FIONREAD:
            raise error(ENOTTY)
        return int_option(len(self._waiting[0][0]) if self._waiting else 0)

    def get_option(self, level: int, name: int) -> bytes:
        if level == SOL_SOCKET and name in (SO_RCVBUF, SO_SNDBUF):
            return int_option(self.receive_buffer if name == SO_RCVBUF else self.send_buffer)
        raise error(ENOPROTOOPT)

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level != SOL_SOCKET or name not in (SO_RCVBUF, SO_SNDBUF):
            raise error(ENOPROTOOPT)
        size = max(min(option_int(value) & 0x7FFFFFFF, MAX_BUFFER) * 2, MIN_BUFFER)
        if name == SO_RCVBUF:
            self.receive_buffer = size
        else:
            self.send_buffer = size

    def waiting_bytes(self) -> int:
        """What waits to be read, each packet with its overhead."""
        return self._used

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self._used = 0
