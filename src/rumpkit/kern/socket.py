"""The base of sockets, and the registry of who makes them; `net` (and others) subclass and register theirs."""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias, final

from mypy_extensions import mypyc_attr

from ..hyper.time import Duration, Instant
from .abi.errno import (
    EAFNOSUPPORT,
    EINVAL,
    ENOPROTOOPT,
    ENOTCONN,
    EOPNOTSUPP,
    EPERM,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
    error,
)
from .abi.fcntl import O_RDWR
from .abi.socket import SOCK_STREAM, SOL_SOCKET
from .file import OpenFile
from .wait import Blocked

SocketAddress: TypeAlias = tuple[bytes, int]
"""A network address as bytes (4 for IPv4, 16 for IPv6) and a port in host order."""


ControlMessage: TypeAlias = tuple[int, int, bytes]
"""Ancillary data: level, type, and the data in its C layout (cmsg(3))."""


class Received(NamedTuple):
    """What a receive gave: the data, who sent it (datagrams), and MSG_* flags such as MSG_TRUNC."""

    data: bytes
    source: SocketAddress | None
    flags: int
    size: int
    """The datagram's real size, which MSG_TRUNC asks for; len(data) for streams."""
    control: tuple[ControlMessage, ...] = ()


@final
@mypyc_attr(acyclic=True)
class Chunk:
    """A run of bytes held by reference: `body[start : start + size]`."""

    __slots__ = ("body", "size", "start")

    def __init__(self, body: bytes, start: int, size: int) -> None:
        self.body: bytes = body
        self.start: int = start
        self.size: int = size

    def bytes(self) -> bytes:
        """The run as a bytes object; copies only if the run is a part of the body."""
        if self.size == len(self.body):
            return self.body
        return self.body[self.start : self.start + self.size]


@mypyc_attr(allow_interpreted_subclasses=True)
class Socket(OpenFile):
    """One socket of any family (POSIX 2.10).  All methods are called on the schedule.

    A method that may have to wait returns `Blocked` and leaves O_NONBLOCK, MSG_DONTWAIT and timeouts to the socket
    calls (kern/socketcalls.py), which every client uses.
    """

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(O_RDWR)
        self.family: int = family
        self.kind: int = kind
        """SOCK_STREAM, SOCK_DGRAM, ..."""
        self.protocol: int = protocol
        self.error: int = 0
        """The pending error (SO_ERROR): reported once."""
        self.receive_timeout: Duration = 0
        """SO_RCVTIMEO in nanoseconds; 0 waits for ever."""
        self.send_timeout: Duration = 0
        self.extras: dict[tuple[int, int], int] | None = None
        """Numbers of options, by level and name, that have no place of their own.  Replaced, never changed: an accepted
        socket shares its listener's."""
        self.device: str = ""
        """SO_BINDTODEVICE: the one interface to use; "" for any."""

    def take_error(self) -> int:
        """The pending error number, which is then forgotten."""
        number = self.error
        self.error = 0
        return number

    def put_off(self, number: int) -> None:
        """Keep an error for the next call, which an earlier part of this one has the result of."""
        self.error = number

    def read(self, size: int, now: Instant) -> bytes | Blocked:
        """As `receive` without flags."""
        result = self.receive(size, 0, now)
        return result if isinstance(result, Blocked) else result.data

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        """As `send` without flags, to the connected peer."""
        taken = self.send(data, 0, 0, None, now)
        if isinstance(taken, Blocked) or taken >= len(data) or self.kind != SOCK_STREAM:
            return taken
        return Blocked(self.queue, progress=taken)

    def write_part(self, data: bytes, start: int, now: Instant) -> int | Blocked:
        """As `send` of the rest."""
        return self.send(data, start, 0, None, now)

    def read_timeout(self) -> Duration:
        """SO_RCVTIMEO."""
        return self.receive_timeout

    def write_timeout(self) -> Duration:
        """SO_SNDTIMEO."""
        return self.send_timeout

    def accepting(self) -> bool:
        """Whether the socket listens (SO_ACCEPTCONN)."""
        return False

    def bind(self, address: SocketAddress) -> None:
        """Name the local end.  Raises EADDRINUSE, EADDRNOTAVAIL, EINVAL (bound already)."""
        raise error(EOPNOTSUPP)

    def listen(self, backlog: int) -> None:
        """Accept connections from now on.  Raises EOPNOTSUPP, EADDRINUSE, EINVAL."""
        raise error(EOPNOTSUPP)

    def accept(self, now: Instant) -> "Socket | Blocked":
        """The first waiting connection.  Raises EINVAL unless listening, ECONNABORTED."""
        raise error(EOPNOTSUPP)

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        """Start to connect (None: it is done).  The Blocked's retry finishes it, returning None, or raising the
        error that ended it.  Raises EISCONN, EALREADY, ENETUNREACH, EADDRNOTAVAIL."""
        raise error(EOPNOTSUPP)

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        """Take `data[start:]` for sending: how many bytes were taken (at least one, for streams), or Blocked where
        there is no room at all.  Streams keep `data` by reference.  Raises EPIPE, ENOTCONN, ECONNRESET, EMSGSIZE."""
        raise error(EOPNOTSUPP)

    def send_with(
        self,
        data: bytes,
        control: tuple[ControlMessage, ...],
        flags: int,
        destination: SocketAddress | None,
        now: Instant,
    ) -> int | Blocked:
        """As `send`, with control messages.  Raises EINVAL for those that mean nothing here."""
        for level, _, _ in control:
            if level == SOL_SOCKET:
                raise error(EINVAL)
        return self.send(data, 0, flags, destination, now)

    def receive(self, size: int, flags: int, now: Instant) -> Received | Blocked:
        """Up to `size` bytes, or one datagram; data b"" of a stream is its end.  Raises ENOTCONN, ECONNRESET."""
        raise error(EOPNOTSUPP)

    def shutdown(self, how: int, now: Instant) -> None:
        """End one or both directions (SHUT_*).  Raises ENOTCONN, EINVAL."""
        raise error(EINVAL)

    def local_address(self) -> SocketAddress:
        """The local name (getsockname)."""
        raise error(EINVAL)

    def peer_address(self) -> SocketAddress:
        """The peer's name (getpeername).  Raises ENOTCONN."""
        raise error(ENOTCONN)

    def bind_to_device(self, name: str) -> bool:
        """Use only the interface `name` ("": any) from now on; False if sockets of this kind can't.  Raises ENODEV."""
        return False

    def bind_to_index(self, index: int) -> None:
        """As `bind_to_device`, by the interface's number (0: any).  Raises ENODEV, EPERM."""
        raise error(EPERM)

    def device_index(self) -> int:
        """The number of `device`; 0 for any."""
        return 0

    def origin(self) -> SocketAddress:
        """Whom an accepted socket comes from, though the connection may be over by now."""
        return self.peer_address()

    def get_option(self, level: int, name: int) -> bytes:
        """An option's value in its C layout, little-endian.  Raises ENOPROTOOPT."""
        raise error(ENOPROTOOPT)

    def set_option(self, level: int, name: int, value: bytes) -> None:
        """Set an option.  Raises ENOPROTOOPT, EINVAL."""
        raise error(ENOPROTOOPT)


@mypyc_attr(allow_interpreted_subclasses=True)
class StreamSocket(Socket):
    """A connected byte stream, with the plain methods that relays and guests use instead of the calls: none of
    them raises for want of data or room."""

    def space(self) -> int:
        """How many bytes `put` would take now; 0 when the send buffer is full or sending is over."""
        raise NotImplementedError

    def fitting(self, limit: int) -> int:
        """How many of `limit` bytes to put so that they, behind what is queued, leave in the largest pieces and no crumbs; 1 at least."""
        return limit

    def put(self, data: bytes, now: Instant, more: bool = False) -> int:
        """Queue as much of `data` as there is room for, by reference; returns how much.  `more` says that the rest, or the end,
        follows at once, so that it need not go alone."""
        raise NotImplementedError

    def put_urgent(self, data: bytes, now: Instant) -> int:
        """As `put` of data whose last byte is urgent, where there is such a thing."""
        return self.put(data, now)

    def until_urgent(self) -> int:
        """How many unread bytes there are before an urgent one; -1 if none is announced."""
        return -1

    def arrivals(self) -> int:
        """How many connections wait to be accepted."""
        return 0

    def readable(self) -> int:
        """Bytes received and not yet consumed."""
        raise NotImplementedError

    def front(self, limit: int) -> list[Chunk]:
        """The oldest unread chunks, about `limit` bytes of them (at least one chunk if there is any); they stay."""
        raise NotImplementedError

    def consume(self, size: int, now: Instant) -> None:
        """Forget the first `size` unread bytes, opening the receive window."""
        raise NotImplementedError

    def at_end(self) -> bool:
        """Whether the peer has ended its direction (FIN) and everything before it was consumed."""
        raise NotImplementedError

    def finish(self, now: Instant) -> None:
        """End our direction once everything queued is sent (FIN); no error if it has ended."""
        raise NotImplementedError

    def abort(self, now: Instant) -> None:
        """Drop the connection at once and tell the peer (RST)."""
        raise NotImplementedError

    def reset_by(self) -> int:
        """The error number that killed the connection (ECONNRESET, ETIMEDOUT, ...), or 0."""
        raise NotImplementedError

    def unacknowledged(self) -> int:
        """Bytes put and not yet acknowledged by the peer (SIOCOUTQ)."""
        raise NotImplementedError


ANY_PROTOCOL: Final = -1
SocketMaker: TypeAlias = Callable[[int, int, int], Socket]
"""Makes a socket from (family, kind, protocol)."""
PairMaker: TypeAlias = Callable[[int, int, int], tuple[Socket, Socket]]
"""Makes two connected sockets from (family, kind, protocol)."""


@final
class SocketFactories:
    """Who makes sockets of which family, kind and protocol in one kernel."""

    def __init__(self) -> None:
        self._makers: dict[tuple[int, int, int], SocketMaker] = {}
        self._pairs: dict[tuple[int, int], PairMaker] = {}
        self._privileged: set[tuple[int, int]] = set()

    def register(
        self, family: int, kind: int, protocol: int, maker: SocketMaker, default: bool = True, privileged: bool = False
    ) -> None:
        """Let `maker` make these (ANY_PROTOCOL: those of every protocol that nobody else makes); `default` also serves
        protocol 0; `privileged` ones are for root."""
        self._makers[(family, kind, protocol)] = maker
        if privileged:
            self._privileged.add((family, kind))
        if default:
            self._makers.setdefault((family, kind, 0), maker)

    def register_pairs(self, family: int, kind: int, maker: PairMaker) -> None:
        """Let `maker` make connected pairs (socketpair) of this family and kind."""
        self._pairs[(family, kind)] = maker

    def make_pair(self, family: int, kind: int, protocol: int) -> tuple[Socket, Socket]:
        """Two connected sockets.  Raises EOPNOTSUPP where the family has no pairs, and as `make`."""
        maker = self._pairs.get((family, kind))
        if maker is not None:
            return maker(family, kind, protocol)
        self.make(family, kind, protocol)
        raise error(EOPNOTSUPP)

    def knows(self, family: int) -> bool:
        """Whether there are sockets of this family at all."""
        return any(known == family for known, _, _ in self._makers)

    def make(self, family: int, kind: int, protocol: int, uid: int = 0) -> Socket:
        """A new socket, for a process of that user.  Raises EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM."""
        maker = self._makers.get((family, kind, protocol)) or self._makers.get((family, kind, ANY_PROTOCOL))
        if maker is not None:
            if uid and (family, kind) in self._privileged:
                raise error(EPERM)
            return maker(family, kind, protocol)
        if not self.knows(family):
            raise error(EAFNOSUPPORT)
        if not any(known == family and some == kind for known, some, _ in self._makers):
            raise error(ESOCKTNOSUPPORT)
        raise error(EPROTONOSUPPORT)
