"""System calls over sockets (POSIX 2.10 and <sys/socket.h>), for all families that register with the kernel.

Waiting is decided here and nowhere below: O_NONBLOCK and MSG_DONTWAIT turn `Blocked` into EAGAIN (EINPROGRESS for
connect), SO_RCVTIMEO and SO_SNDTIMEO become deadlines, MSG_WAITALL and blocking sends go on until everything is through.
Addresses are (bytes, port).
"""

from collections.abc import Callable, Sequence
from typing import final

from ..hyper.calls import Hypercalls
from ..hyper.time import Duration
from .abi.errno import EAGAIN, EDOM, EINPROGRESS, EINVAL, ENOTSOCK, error
from .abi.fcntl import O_NONBLOCK
from .abi.socket import (
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_PEEK,
    MSG_WAITALL,
    SHUT_RDWR,
    SO_ACCEPTCONN,
    SO_DOMAIN,
    SO_ERROR,
    SO_PROTOCOL,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SO_TYPE,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOCK_TYPE_MASK,
    SOL_SOCKET,
)
from .blocking import FileWait, OperationWait, SendWait, deadline_after
from .kernel import RumpKernel
from .messages import Message, ReceiveBatch, SendBatch
from .process import Process
from .socket import ControlMessage, Received, Socket, SocketAddress
from .wait import Blocked


@final
class SocketCalls:
    """System calls over sockets of one kernel."""

    def __init__(self, kernel: RumpKernel) -> None:
        self.kernel: RumpKernel = kernel
        self.hyper: Hypercalls = kernel.hyper

    def get(self, process: Process, fd: int) -> Socket:
        """The socket behind `fd`.  Raises EBADF, ENOTSOCK."""
        file = process.files.get(fd)
        if isinstance(file, Socket):
            return file
        raise error(ENOTSOCK)

    # Making and naming -----------------------------------------------------------------------------------

    def socket(self, process: Process, family: int, kind: int, protocol: int = 0) -> int:
        """A new socket; `kind` is SOCK_* with SOCK_NONBLOCK and SOCK_CLOEXEC (POSIX socket).
        Raises EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM (raw and packet sockets are for root), EINVAL, EMFILE."""
        _check_flags(kind)
        process.files.check_room()
        return self._install(
            process, self.kernel.sockets.make(family, kind & SOCK_TYPE_MASK, protocol, process.credentials.uid), kind
        )

    def socketpair(self, process: Process, family: int, kind: int, protocol: int = 0) -> tuple[int, int]:
        """Two connected sockets (POSIX socketpair).  Raises EOPNOTSUPP and what `socket` raises."""
        _check_flags(kind)
        process.files.check_room(2)
        one, other = self.kernel.sockets.make_pair(family, kind & SOCK_TYPE_MASK, protocol)
        return self._install(process, one, kind), self._install(process, other, kind)

    def bind(self, process: Process, fd: int, address: SocketAddress) -> None:
        """Name the local end (POSIX bind).  Raises EADDRINUSE, EADDRNOTAVAIL, EINVAL, EACCES."""
        self.get(process, fd).bind(address)

    def listen(self, process: Process, fd: int, backlog: int) -> None:
        """Accept connections from now on, at most `backlog` waiting (POSIX listen; negative: as many as can be, as on
        Linux).  Raises EOPNOTSUPP, EINVAL."""
        self.get(process, fd).listen(backlog)

    def accept4(self, process: Process, fd: int, flags: int = 0) -> tuple[int, SocketAddress] | Blocked:
        """The first waiting connection's descriptor and peer (POSIX accept4); flags SOCK_NONBLOCK, SOCK_CLOEXEC.
        Raises EAGAIN, EINVAL unless listening, ECONNABORTED, EMFILE, EOPNOTSUPP."""
        if flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC):
            raise error(EINVAL)
        socket = self.get(process, fd)
        result = self._accept(process, socket, flags)
        if not isinstance(result, Blocked):
            return result
        if socket.nonblocking():
            result.cancel()
            raise error(EAGAIN)
        return OperationWait(
            self.hyper, socket, result, socket.receive_timeout, lambda: self._accept(process, socket, flags)
        )

    def connect(self, process: Process, fd: int, address: SocketAddress) -> Blocked | None:
        """Connect, or for datagrams set the peer (POSIX connect).  A connection attempt goes on when the call is
        interrupted or does not wait (EINPROGRESS); writability and SO_ERROR tell its end.
        Raises ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EISCONN, EALREADY, EADDRNOTAVAIL."""
        socket = self.get(process, fd)
        result = socket.connect(address, self.hyper.now)
        if result is None:
            return None
        if socket.nonblocking():
            result.cancel()
            raise error(EINPROGRESS)
        result.timeout_errno = EINPROGRESS
        return OperationWait(
            self.hyper, socket, result, socket.send_timeout, lambda: socket.connect(address, self.hyper.now)
        )

    def getsockname(self, process: Process, fd: int) -> SocketAddress:
        """The local name (POSIX getsockname)."""
        return self.get(process, fd).local_address()

    def getpeername(self, process: Process, fd: int) -> SocketAddress:
        """The peer's name (POSIX getpeername).  Raises ENOTCONN."""
        return self.get(process, fd).peer_address()

    def shutdown(self, process: Process, fd: int, how: int) -> None:
        """End one or both directions, SHUT_* (POSIX shutdown).  Raises ENOTCONN, EINVAL."""
        if not 0 <= how <= SHUT_RDWR:
            raise error(EINVAL)
        self.get(process, fd).shutdown(how, self.hyper.now)

    # Sending and receiving -------------------------------------------------------------------------------

    def sendto(
        self, process: Process, fd: int, data: bytes, flags: int = 0, destination: SocketAddress | None = None
    ) -> int | Blocked:
        """Send `data`; how many bytes went: all, unless the call doesn't wait or is interrupted (POSIX sendto).
        Keeps `data` by reference.  Raises EPIPE, ENOTCONN, EDESTADDRREQ, ECONNRESET, EMSGSIZE, EAGAIN."""
        socket = self.get(process, fd)
        taken = socket.send(data, 0, flags, destination, self.hyper.now)
        if isinstance(taken, Blocked):
            done = 0
            blocked = taken
        elif taken >= len(data) or socket.kind != SOCK_STREAM or flags & MSG_DONTWAIT or socket.nonblocking():
            return taken
        else:
            done = taken
            blocked = Blocked(socket.queue)
        if flags & MSG_DONTWAIT or socket.nonblocking():
            blocked.refused()
        wait = SendWait(self.hyper, socket, blocked, data, done, flags, destination)
        # What is left may fit by now: a stream may take less than it has room for.
        return wait if done == 0 else _int(wait.retry())

    def recvfrom(self, process: Process, fd: int, size: int, flags: int = 0) -> Received | Blocked:
        """Up to `size` bytes, or one datagram, with its source (POSIX recvfrom).  With MSG_WAITALL a stream gives less
        than `size` only at its end, on an error or when interrupted.  Raises ENOTCONN, ECONNRESET, EAGAIN, EINVAL."""
        socket = self.get(process, fd)
        if size < 0:
            raise error(EINVAL)
        result = socket.receive(size, flags, self.hyper.now)
        if isinstance(result, Blocked):
            if flags & MSG_DONTWAIT or socket.nonblocking():
                result.cancel()
                raise error(EAGAIN)
            return _ReceiveWait(self.hyper, socket, result, size, flags)
        if flags & MSG_WAITALL and 0 < len(result.data) < size:
            if socket.kind == SOCK_STREAM and not flags & (MSG_PEEK | MSG_DONTWAIT) and not socket.nonblocking():
                wait = _ReceiveWait(self.hyper, socket, Blocked(socket.queue), size, flags)
                wait.add(result)
                return _received(wait.retry())
        return result

    # Messages --------------------------------------------------------------------------------------------

    def sendmsg(
        self,
        process: Process,
        fd: int,
        parts: Sequence[bytes],
        control: Sequence[ControlMessage] = (),
        flags: int = 0,
        destination: SocketAddress | None = None,
    ) -> int | Blocked:
        """Send the parts as one, with control messages (POSIX sendmsg).  Raises as `sendto`, and EINVAL."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if not control:
            return self.sendto(process, fd, data, flags, destination)
        socket = self.get(process, fd)
        taken = socket.send_with(data, tuple(control), flags, destination, self.hyper.now)
        if isinstance(taken, Blocked):
            if flags & MSG_DONTWAIT or socket.nonblocking():
                taken.refused()
            return SendWait(self.hyper, socket, taken, data, 0, flags, destination)
        if taken < len(data) and socket.kind == SOCK_STREAM and not flags & MSG_DONTWAIT and not socket.nonblocking():
            return _int(SendWait(self.hyper, socket, Blocked(socket.queue), data, taken, flags, destination).retry())
        return taken

    def recvmsg(self, process: Process, fd: int, size: int, flags: int = 0) -> Received | Blocked:
        """As `recvfrom`; the result's control messages and flags count (POSIX recvmsg).  MSG_ERRQUEUE, which never
        waits, gives errors in full (Linux ip(7))."""
        if flags & MSG_ERRQUEUE:
            flags |= MSG_DONTWAIT
        return self.recvfrom(process, fd, size, flags)

    def sendmmsg(self, process: Process, fd: int, messages: Sequence[Message], flags: int = 0) -> int | Blocked:
        """Send several messages, (parts, control messages, destination or None) each; how many went (Linux sendmmsg).
        An error after the first is put off: the next call hears of it."""
        socket = self.get(process, fd)
        batch = SendBatch(
            socket, messages, lambda message: self.sendmsg(process, fd, message[0], message[1], flags, message[2])
        )
        return _int(batch.go_on())

    def recvmmsg(
        self, process: Process, fd: int, count: int, size: int, flags: int = 0, timeout: Duration = -1
    ) -> list[Received] | Blocked:
        """Up to `count` messages of up to `size` bytes (Linux recvmmsg).  It waits for all of them; with
        MSG_WAITFORONE for the first only; `timeout` (ns, negative: none) ends it between two messages.  Raises as `recvmsg`
        where there is not even one."""
        socket = self.get(process, fd)
        deadline = deadline_after(self.hyper, timeout)
        batch = ReceiveBatch(socket, count, flags, deadline, lambda bits: self.recvmsg(process, fd, size, bits))
        found = batch.go_on()
        if isinstance(found, (list, Blocked)):
            return found
        raise TypeError(f"a receive gave {found!r}")

    # Options ---------------------------------------------------------------------------------------------

    def getsockopt(self, process: Process, fd: int, level: int, name: int) -> bytes:
        """An option's value in its C layout, little-endian (POSIX getsockopt, Linux socket(7)).  Raises ENOPROTOOPT."""
        socket = self.get(process, fd)
        if level == SOL_SOCKET:
            getter = _GETTERS.get(name)
            if getter is not None:
                return getter(socket)
        return socket.get_option(level, name)

    def setsockopt(self, process: Process, fd: int, level: int, name: int, value: bytes) -> None:
        """Set an option from its C layout (POSIX setsockopt).  Raises ENOPROTOOPT, EINVAL, EDOM."""
        socket = self.get(process, fd)
        if level == SOL_SOCKET and name == SO_RCVTIMEO:
            socket.receive_timeout = _duration(value)
        elif level == SOL_SOCKET and name == SO_SNDTIMEO:
            socket.send_timeout = _duration(value)
        else:
            socket.set_option(level, name, value)

    # -----------------------------------------------------------------------------------------------------

    def _install(self, process: Process, socket: Socket, flags: int) -> int:
        if flags & SOCK_NONBLOCK:
            socket.flags |= O_NONBLOCK
        return process.files.install(socket, flags & SOCK_CLOEXEC != 0)

    def _accept(self, process: Process, socket: Socket, flags: int) -> tuple[int, SocketAddress] | Blocked:
        process.files.check_room()
        accepted = socket.accept(self.hyper.now)
        if isinstance(accepted, Blocked):
            return accepted
        peer = accepted.origin()
        return self._install(process, accepted, flags), peer


@final
class _ReceiveWait(FileWait):
    """A receive that waits for data; with MSG_WAITALL, for all of it."""

    def __init__(self, hyper: Hypercalls, socket: Socket, inner: Blocked, size: int, flags: int) -> None:
        super().__init__(hyper, socket, inner, socket.receive_timeout)
        self.socket: Socket = socket
        self.size: int = size
        self.flags: int = flags
        self.parts: list[bytes] = []
        self.left: int = size

    def add(self, part: Received) -> None:
        """Keep a part of what MSG_WAITALL gathers."""
        self.parts.append(part.data)
        self.left -= len(part.data)

    def so_far(self) -> object | None:
        """What was gathered."""
        if not self.parts:
            return None
        data = b"".join(self.parts)
        return Received(data, None, 0, len(data))

    def repeat(self) -> object:
        socket = self.socket
        gather = self.flags & MSG_WAITALL != 0 and self.flags & MSG_PEEK == 0 and socket.kind == SOCK_STREAM
        while True:
            try:
                result = socket.receive(self.left, self.flags, self.hyper.now)
            except OSError:
                if self.parts:
                    return self.so_far()
                raise
            if isinstance(result, Blocked) or not gather:
                return result
            if not result.data:
                return self.so_far() or result
            self.add(result)
            if self.left == 0:
                return self.so_far()


def _check_flags(kind: int) -> None:
    if kind & ~(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC):
        raise error(EINVAL)


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _timeval(duration: Duration) -> bytes:
    """struct timeval: seconds and microseconds, 8 bytes each."""
    microseconds = duration // 1000
    return (microseconds // 1_000_000).to_bytes(8, "little") + (microseconds % 1_000_000).to_bytes(8, "little")


def _duration(value: bytes) -> Duration:
    """Nanoseconds of a struct timeval.  Negative times mean zero, as on Linux.  Raises EINVAL, EDOM."""
    if len(value) < 16:
        raise error(EINVAL)
    seconds = int.from_bytes(value[:8], "little", signed=True)
    microseconds = int.from_bytes(value[8:16], "little", signed=True)
    if not 0 <= microseconds < 1_000_000:
        raise error(EDOM)
    return 0 if seconds < 0 else (min(seconds, 1 << 30) * 1_000_000 + microseconds) * 1000


def _int(value: object) -> int | Blocked:
    if isinstance(value, (int, Blocked)):
        return value
    raise TypeError(f"a send gave {value!r}")


def _received(value: object) -> Received | Blocked:
    if isinstance(value, (Received, Blocked)):
        return value
    raise TypeError(f"a receive gave {value!r}")


def _take_error(socket: Socket) -> bytes:
    return _number(socket.take_error())


_GETTERS: dict[int, Callable[[Socket], bytes]] = {
    SO_TYPE: lambda socket: _number(socket.kind),
    SO_DOMAIN: lambda socket: _number(socket.family),
    SO_PROTOCOL: lambda socket: _number(socket.protocol),
    SO_ACCEPTCONN: lambda socket: _number(1 if socket.accepting() else 0),
    SO_ERROR: _take_error,
    SO_RCVTIMEO: lambda socket: _timeval(socket.receive_timeout),
    SO_SNDTIMEO: lambda socket: _timeval(socket.send_timeout),
}
