"""TCP sockets: from system calls, relays and guests to connections of `net.transport.tcp`.

A socket is fresh, bound, listening (it has a `Listener`) or has a connection (a `Channel`), live or over.  What poll
says, and which error a call raises when, is as Linux has it (tcp(7), tcp_poll).
"""

from typing import Final, final

from ...hyper.time import Instant
from ...kern.abi.errno import (
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EALREADY,
    ECONNABORTED,
    EINVAL,
    EISCONN,
    ENOTCONN,
    EPIPE,
    error,
)
from ...kern.abi.ioctl import FIONREAD, SIOCOUTQ
from ...kern.abi.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLRDNORM, POLLWRNORM
from ...kern.abi.socket import (
    MSG_DONTWAIT,
    MSG_FASTOPEN,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
)
from ...kern.socket import Chunk, Received, SocketAddress, StreamSocket
from ...kern.wait import Blocked
from ..transport.ports import PortBinding
from ..transport.tcp.channel import Channel, Listener
from ..transport.tcp.fastopen import CLIENT, Attempt
from ..transport.tcp.layer import Tcp
from ..transport.tcp.options import TcpOptions
from ..transport.tcp.states import CLOSED, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from .stream_fast import send_fast
from .stream_options import get_stream_option, set_stream_option

_ANY: Final = bytes(4)
SIOCATMARK: Final = 0x8905
_LOOPBACK: Final = b"\x7f\0\0\1"


@final
class TcpSocket(StreamSocket):
    """A stream socket over TCP."""

    def __init__(self, tcp: Tcp, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self.tcp: Tcp = tcp
        self.options: TcpOptions = tcp.environment.options
        self.reuse_address: bool = False
        self.reuse_port: bool = False
        self.channel: Channel | None = None
        self.listener: Listener | None = None
        self._binding: PortBinding | None = None
        self._local: SocketAddress = (_ANY, 0)
        self._connecting: bool = False
        """connect was called, and nobody has heard of its end."""
        self.deferred: SocketAddress | None = None
        """Where the first write will connect to (TCP_FASTOPEN_CONNECT)."""
        self._error_taken: bool = False
        self._receive_shut: bool = False
        self._finished: bool = False
        self._urgent: bytes = b""
        """The urgent byte, taken out of the stream and not received yet."""

    # Opening -----------------------------------------------------------------------------------------------------------

    def bind(self, address: SocketAddress) -> None:
        if len(address[0]) != 4:
            raise error(EAFNOSUPPORT)
        if self._binding is not None or self.channel is not None:
            raise error(EINVAL)
        if any(address[0]) and not self.tcp.is_local(address[0]):
            raise error(EADDRNOTAVAIL)
        self._bind(address)

    def _bind(self, address: SocketAddress) -> None:
        binding = self.tcp.ports.bind(address[0], address[1], self.reuse_address, self.reuse_port)
        self._binding = binding
        self._local = (address[0], binding.port)

    def listen(self, backlog: int) -> None:
        channel = self.channel
        if channel is not None and channel.connection.block.state != CLOSED:
            raise error(EINVAL)
        backlog = min(max(backlog, 0), self.tcp.environment.settings.max_backlog)
        listener = self.listener
        if listener is None:
            if self._binding is None:
                self._bind(self._local)
            binding = self._binding
            assert binding is not None
            self.tcp.ports.listen(binding)
            listener = Listener(self._local, self.options, binding, self.queue)
            self.tcp.listen(listener)
            self.listener = listener
        listener.backlog = backlog

    def accept(self, now: Instant) -> "TcpSocket | Blocked":
        listener = self.listener
        if listener is None:
            raise error(EINVAL)
        if not listener.ready:
            return Blocked(self.queue)
        return adopt(self.tcp, listener.ready.pop(0), self.family)

    def accepting(self) -> bool:
        return self.listener is not None

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        if self.listener is not None:
            raise error(EISCONN)
        if self.deferred is not None:
            raise error(EALREADY)
        channel = self.channel
        if channel is not None:
            state = channel.connection.block.state
            if self._connecting:
                if state in (SYN_SENT, SYN_RECEIVED):
                    raise error(EALREADY)
                self._connected()
                return None
            if state != CLOSED or not self._error_taken:
                raise error(EISCONN)
        address = self.checked(address)
        fast: Attempt | None = None
        if self.options.fast_open_connect and self.tcp.environment.settings.fastopen & CLIENT:
            fast = self.tcp.fast_open.attempt(address[0], now)
            if fast.with_data:
                # The first write sends the SYN.
                self.deferred = address
                return None
        self.open(address, fast, b"", now)
        return Blocked(self.queue, retry=self._connected)

    def checked(self, address: SocketAddress) -> SocketAddress:
        """Whom to connect to for `address`: any address means ourselves.  Raises EAFNOSUPPORT, EADDRNOTAVAIL."""
        if len(address[0]) != 4:
            raise error(EAFNOSUPPORT)
        if address[1] == 0:
            raise error(EADDRNOTAVAIL)
        return address if any(address[0]) else (_LOOPBACK, address[1])

    def open(self, address: SocketAddress, fast: Attempt | None, first: bytes, now: Instant) -> Channel:
        """Send the SYN, and with it as much of `first` as `fast` lets go."""
        local = self._local if self._binding is not None else None
        self._error_taken = False
        self._receive_shut = self._finished = False
        channel = self.tcp.connect(local, address, self.options, self.queue, self._binding, now, fast, first)
        self.channel = channel
        self.deferred = None
        self._connecting = True
        return channel

    def _connected(self) -> Blocked | None:
        """How a connect ends: None, or the error that ended it."""
        channel = self.channel
        if channel is None:
            raise error(ECONNABORTED)
        block = channel.connection.block
        if block.state in (SYN_SENT, SYN_RECEIVED):
            return Blocked(self.queue, retry=self._connected)
        self._connecting = False
        if block.state == CLOSED:
            number = self.take_error()
            self._error_taken = True
            raise error(number or ECONNABORTED)
        return None

    # Data --------------------------------------------------------------------------------------------------------------

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        channel = self.channel
        if channel is None and (self.deferred is not None or flags & MSG_FASTOPEN):
            return send_fast(self, data, start, flags, destination, now)
        number = self.take_error()
        if number:
            raise error(number)
        if channel is None or self._finished:
            raise error(EPIPE)
        connection = channel.connection
        if connection.block.state == CLOSED:
            raise error(EPIPE)
        if start >= len(data):
            return 0
        if self._connecting and connection.block.state in (SYN_SENT, SYN_RECEIVED):
            return Blocked(self.queue)
        taken = int(connection.write(data, start, flags & MSG_MORE != 0))
        if taken == 0:
            return Blocked(self.queue)
        if flags & MSG_OOB and start + taken == len(data):
            connection.mark_urgent()
        self.tcp.settle(channel, now)
        return taken

    def receive(self, size: int, flags: int, now: Instant) -> Received | Blocked:
        channel = self.channel
        if channel is None or (self._connecting and channel.connection.block.state == CLOSED):
            number = self.take_error()
            raise error(number or ENOTCONN)
        if flags & MSG_OOB:
            return self._receive_urgent(channel, flags, now)
        connection = channel.connection
        if connection.until_urgent() >= 0 and not self.options.oob_inline:
            self._pass_urgent(channel, now)
        there = int(connection.readable())
        if there == 0:
            number = self.take_error()
            if number:
                raise error(number)
            if self._receive_shut or connection.finished_receiving():
                return Received(b"", None, 0, 0)
            return Blocked(self.queue)
        if size <= 0:
            return Received(b"", None, 0, 0)
        target = min(self.options.receive_low_water, size)
        if there < target and not self.nonblocking() and not flags & MSG_DONTWAIT:
            if not connection.finished_receiving() and not self._receive_shut:
                return Blocked(self.queue)
        size = min(size, there)
        before_urgent = int(connection.until_urgent())
        if 0 < before_urgent < size:
            # A read ends at the urgent mark (tcp(7)).
            size = before_urgent
        data = b"" if flags & MSG_TRUNC else connection.peek(size)
        if not flags & MSG_PEEK:
            self.consume(size, now)
        return Received(data, None, 0, size)

    def _receive_urgent(self, channel: Channel, flags: int, now: Instant) -> Received:
        """The byte that the urgent pointer names (MSG_OOB).  Raises EINVAL where there is none, or it comes in line, and
        EAGAIN while only its announcement is here."""
        connection = channel.connection
        if self.options.oob_inline:
            raise error(EINVAL)
        if connection.until_urgent() == 0:
            self._pass_urgent(channel, now)
        if not self._urgent:
            ahead = int(connection.until_urgent())
            if ahead < 0:
                raise error(EINVAL)
            if ahead >= connection.readable():
                raise error(EAGAIN)
            return Received(connection.peek(ahead + 1)[ahead:], None, MSG_OOB, 1)
        data = self._urgent
        if not flags & MSG_PEEK:
            self._urgent = b""
        return Received(data, None, MSG_OOB, 1)

    def _pass_urgent(self, channel: Channel, now: Instant) -> None:
        """Take the urgent byte out of the stream once it is at its front."""
        connection = channel.connection
        if connection.until_urgent() == 0 and connection.readable() > 0:
            self._urgent = connection.peek(1)
            self.consume(1, now)

    def shutdown(self, how: int, now: Instant) -> None:
        if self.listener is not None:
            if how != SHUT_WR:
                self._stop_listening(now)
            return
        channel = self.channel
        if channel is None or channel.connection.block.state == CLOSED:
            raise error(ENOTCONN)
        if how in (SHUT_RD, SHUT_RDWR):
            self._receive_shut = True
        if how in (SHUT_WR, SHUT_RDWR):
            self.finish(now)
        self.queue.wake_all()

    # Plain methods, for relays and guests ------------------------------------------------------------------------------

    def space(self) -> int:
        channel = self.channel
        return 0 if channel is None else int(channel.connection.space())

    def put(self, data: bytes, now: Instant) -> int:
        channel = self.channel
        if channel is None:
            return 0
        taken = int(channel.connection.write(data, 0))
        if taken and channel.connection.block.state not in (SYN_SENT, SYN_RECEIVED):
            self.tcp.settle(channel, now)
        return taken

    def readable(self) -> int:
        channel = self.channel
        return 0 if channel is None else int(channel.connection.readable())

    def front(self, limit: int) -> list[Chunk]:
        channel = self.channel
        return [] if channel is None else channel.connection.front(limit)

    def consume(self, size: int, now: Instant) -> None:
        channel = self.channel
        if channel is not None:
            connection = channel.connection
            connection.consume(size, now)
            if connection.block.acks_owed:
                self.tcp.settle(channel, now)

    def at_end(self) -> bool:
        channel = self.channel
        if channel is None:
            return False
        connection = channel.connection
        return connection.readable() == 0 and connection.finished_receiving() and not connection.block.error

    def finish(self, now: Instant) -> None:
        channel = self.channel
        if channel is not None and not self._finished:
            self._finished = True
            channel.connection.finish(now)
            self.tcp.settle(channel, now)

    def abort(self, now: Instant) -> None:
        channel = self.channel
        if channel is not None:
            channel.connection.abort(now)
            self.tcp.settle(channel, now)

    def reset_by(self) -> int:
        channel = self.channel
        return 0 if channel is None else channel.connection.block.error

    def unacknowledged(self) -> int:
        channel = self.channel
        return 0 if channel is None else int(channel.connection.block.send_queue.size())

    # State -------------------------------------------------------------------------------------------------------------

    def take_error(self) -> int:
        channel = self.channel
        if self.error:
            return super().take_error()
        if channel is None or self._error_taken:
            return 0
        number = channel.connection.block.error
        if number:
            self._error_taken = True
        return number

    def poll(self) -> int:
        listener = self.listener
        if listener is not None:
            return POLLIN | POLLRDNORM if listener.ready else 0
        channel = self.channel
        if channel is None:
            return (0 if self.deferred is not None else POLLHUP) | POLLOUT | POLLWRNORM
        connection = channel.connection
        block = connection.block
        state = block.state
        ended = state == CLOSED
        receive_shut = self._receive_shut or connection.finished_receiving()
        send_shut = self._finished or ended
        mask = 0
        if (receive_shut and send_shut) or ended or state == TIME_WAIT:
            mask |= POLLHUP
        if receive_shut:
            mask |= POLLIN | POLLRDNORM | POLLRDHUP
        if state not in (SYN_SENT, SYN_RECEIVED) or block.early:
            if connection.readable() >= max(self.options.receive_low_water, 1):
                mask |= POLLIN | POLLRDNORM
            if send_shut or connection.writable():
                mask |= POLLOUT | POLLWRNORM
            if block.rcv_urgent >= 0 or self._urgent:
                mask |= POLLPRI
        if (block.error and not self._error_taken) or self.error:
            mask |= POLLERR
        return mask

    def local_address(self) -> SocketAddress:
        channel = self.channel
        return self._local if channel is None else channel.local

    def peer_address(self) -> SocketAddress:
        channel = self.channel
        if channel is None:
            raise error(ENOTCONN)
        block = channel.connection.block
        if block.state == SYN_SENT or (block.state == CLOSED and (self._error_taken or not block.error)):
            # A connection that was reset keeps its peer's name until that is known: accept has to give it.
            raise error(ENOTCONN)
        return channel.remote

    def get_option(self, level: int, name: int) -> bytes:
        return get_stream_option(self, level, name)

    def set_option(self, level: int, name: int, value: bytes) -> None:
        set_stream_option(self, level, name, value)

    def own_options(self) -> TcpOptions:
        """The options of this socket alone, to be changed."""
        options = self.options
        if options.shared:
            self.options = options = options.copy()
            if self.channel is not None:
                self.channel.connection.block.options = options
            if self.listener is not None:
                self.listener.options = options
        return options

    def options_changed(self) -> None:
        """An option that a live connection has to hear of was set."""
        channel = self.channel
        if channel is not None:
            now = self.tcp.now()
            channel.connection.options_changed(now)
            self.tcp.settle(channel, now)

    def close(self, now: Instant) -> None:
        self._stop_listening(now)
        channel = self.channel
        if channel is not None:
            self.tcp.release(channel, now)
        binding = self._binding
        if binding is not None:
            self._binding = None
            self.tcp.ports.release(binding)

    def _stop_listening(self, now: Instant) -> None:
        listener = self.listener
        if listener is not None:
            self.listener = None
            self.tcp.unlisten(listener, now)
            self.tcp.ports.unlisten(listener.binding)
            self.queue.wake_all()

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """FIONREAD: bytes to read; SIOCOUTQ: bytes not acknowledged; SIOCATMARK: whether the urgent byte is next."""
        if self.listener is not None:
            raise error(EINVAL)
        channel = self.channel
        if request == FIONREAD:
            return self.readable().to_bytes(4, "little")
        if request == SIOCOUTQ:
            return self.unacknowledged().to_bytes(4, "little")
        if request == SIOCATMARK:
            at_mark = channel is not None and channel.connection.until_urgent() == 0
            return (1 if at_mark else 0).to_bytes(4, "little")
        return super().ioctl(request, argument)

    def describe(self) -> str:
        address, port = self.local_address()
        return "tcp " + ".".join(str(byte) for byte in address) + f":{port}"


def adopt(tcp: Tcp, channel: Channel, family: int) -> TcpSocket:
    """The socket of a connection that somebody else opened."""
    block = channel.connection.block
    socket = TcpSocket(tcp, family, 1, 6)
    socket.options = block.options
    socket.channel = channel
    socket._local = channel.local
    channel.queue = socket.queue
    return socket
