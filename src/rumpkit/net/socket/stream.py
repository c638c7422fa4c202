"""TCP sockets: from system calls, relays and guests to connections of `net.transport.tcp`.

A socket is fresh, bound, listening (it has a `Listener`) or has a connection (a `Channel`), live or over.  What poll
says, and which error a call raises when, is as Linux has it (tcp(7), tcp_poll).
"""

from typing import Final, final

from ...hyper.time import SECOND, Duration, Instant
from ...kern.abi.errno import (
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EALREADY,
    ECONNABORTED,
    ECONNRESET,
    EINVAL,
    EISCONN,
    ENETUNREACH,
    ENOTCONN,
    EPIPE,
    error,
)
from ...kern.abi.ioctl import FIONREAD, SIOCOUTQ
from ...kern.abi.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLRDNORM, POLLWRNORM
from ...kern.abi.socket import (
    AF_INET6,
    IP_FREEBIND,
    IP_MINTTL,
    IP_TRANSPARENT,
    IPPROTO_IP,
    IPPROTO_TCP,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_FASTOPEN,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    TCP_INQ,
)
from ...kern.socket import Received, SocketAddress
from ...kern.wait import Blocked
from ..transport.ports import PortBinding
from ..transport.tcp.channel import Channel, Listener
from ..transport.tcp.fastopen import CLIENT, Attempt
from ..transport.tcp.layer import Tcp
from ..transport.tcp.options import TcpOptions
from ..transport.tcp.states import CLOSED, CLOSING, FIN_WAIT_1, LAST_ACK, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from ..wire.address import ANY_V4, ANY_V6, LOOPBACK_V4, LOOPBACK_V6, format_address
from .common_options import recall
from .names import shown, split_zone, unmapped
from .stream_fast import send_fast
from .stream_options import get_stream_option, set_stream_option
from .stream_plain import RECEIVING, SENDING, TcpStream

_UNCONNECTED: Final = 0
_CONNECTING: Final = 1
_CONNECTED: Final = 2
_DISCONNECTING: Final = 3
"""Where a socket is between calls, as Linux has it (enum socket_state): CONNECTING until a call has told of the end."""
SIOCATMARK: Final = 0x8905


@final
class TcpSocket(TcpStream):
    """A stream socket over TCP."""

    def __init__(self, tcp: Tcp, family: int, kind: int, protocol: int) -> None:
        super().__init__(tcp, family, kind, protocol)
        self.options: TcpOptions = tcp.environment.options
        self.listener: Listener | None = None
        self._binding: PortBinding | None = None
        self._local: SocketAddress = (ANY_V6 if family == AF_INET6 else ANY_V4, 0)
        self.only: bool = family != AF_INET6
        """Whether the wildcard stands for its own family only (IPV6_V6ONLY)."""
        self._address_chosen: bool = False
        """The address was bound, and not chosen by a connection."""
        self._port_chosen: bool = False
        self._spent: bool = False
        """The port was not chosen, and goes with the connection that has it."""
        self._phase: int = _UNCONNECTED
        self.deferred: SocketAddress | None = None
        """Where the first write will connect to (TCP_FASTOPEN_CONNECT)."""
        self._error_taken: bool = False
        """Somebody has heard of what ended the connection."""
        self.zone: int = 0
        """The index of the one interface to use; 0 for any."""
        self._urgent_read: int = -1
        """The number of the urgent byte that was received by itself, and is still in the stream; -1 if there is none."""

    # Opening -----------------------------------------------------------------------------------------------------------

    def bind(self, address: SocketAddress) -> None:
        taken = self.listener is not None or self._live() or (self._binding is not None and not self._spent)
        if self.family == AF_INET6 and (taken or (self.only and len(unmapped(address[0])) == 4)):
            raise error(EINVAL)
        host, zone = self._plain(address[0])
        address = (host, address[1])
        extras = self.extras
        freely = extras is not None and (
            extras.get((IPPROTO_IP, IP_FREEBIND), 0) | extras.get((IPPROTO_IP, IP_TRANSPARENT), 0)
        )
        if any(address[0]) and not freely and not self.tcp.is_local(address[0]):
            raise error(EADDRNOTAVAIL)
        if taken:
            raise error(EINVAL)
        if zone and not self.zone:
            self.zone = zone
        if self._binding is not None:
            self._unbind()
        self._spent = False
        self._bind(address)
        self._address_chosen = any(address[0])
        if self._address_chosen and len(address[0]) == 16:
            self.only = True
        self._port_chosen = address[1] != 0

    def _bind(self, address: SocketAddress) -> None:
        options = self.options
        try:
            dual = address[0] == ANY_V6 and not self.only
            binding = self.tcp.ports.bind(address[0], address[1], options.reuse_address, options.reuse_port, 0, dual)
        except OSError:
            self._local = (self._wildcard(), self._local[1])  # as Linux shows it
            raise
        self._binding = binding
        self._local = (address[0], binding.port)

    def bound(self) -> bool:
        """Whether the socket has a local port."""
        return self._binding is not None or self._live()

    def _wildcard(self) -> bytes:
        return ANY_V6 if self.family == AF_INET6 else ANY_V4

    def _plain(self, address: bytes) -> tuple[bytes, int]:
        """An address of the socket's family without mapping, and its zone.  Raises EAFNOSUPPORT, ENETUNREACH (mapped, and
        the socket is for IPv6 only)."""
        host, zone = split_zone(address)
        if len(host) != (16 if self.family == AF_INET6 else 4):
            raise error(EAFNOSUPPORT)
        host = unmapped(host)
        if len(host) == 4 and self.family == AF_INET6 and self.only:
            raise error(ENETUNREACH)
        return host, zone

    def _live(self) -> bool:
        """Whether there is a connection that has not ended."""
        channel = self.channel
        return channel is not None and channel.connection.block.state not in (CLOSED, TIME_WAIT)

    def listen(self, backlog: int) -> None:
        if self._phase != _UNCONNECTED or self._live():
            raise error(EINVAL)
        limit = self.tcp.environment.settings.max_backlog
        backlog = limit if backlog < 0 else min(backlog, limit)
        listener = self.listener
        if listener is None:
            if self._binding is None:
                self._bind((self._local[0], 0))
            binding = self._binding
            assert binding is not None
            self.tcp.ports.listen(binding)
            listener = Listener(self._local, self.options, binding, self.queue)
            listener.dual = self._local[0] == ANY_V6 and not self.only
            listener.zone = self.zone
            self.tcp.listen(listener)
            self.listener = listener
            self.channel = None
        listener.backlog = backlog

    def accept(self, now: Instant) -> "TcpSocket | Blocked":
        listener = self.listener
        if listener is None:
            raise error(EINVAL)
        if not listener.ready:
            return Blocked(self.queue)
        channel = listener.ready.pop(0)
        socket = adopt(self.tcp, channel, self.family)
        socket._address_chosen = self._address_chosen
        socket.only = self.only
        socket.receive_timeout = self.receive_timeout
        socket.send_timeout = self.send_timeout
        return socket

    def arrivals(self) -> int:
        listener = self.listener
        return 0 if listener is None else len(listener.ready)

    def accepting(self) -> bool:
        return self.listener is not None

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        """As POSIX connect; the address (b"", 0) disconnects (AF_UNSPEC), as on Linux with a reset."""
        if not address[0]:
            self._phase = _UNCONNECTED
            self._disconnect(now)
            return None
        phase = self._phase
        if phase == _CONNECTED:
            raise error(EISCONN)
        if phase == _DISCONNECTING:
            raise error(EINVAL)
        if phase == _CONNECTING:
            channel = self.channel
            if channel is None or channel.connection.block.state not in (SYN_SENT, SYN_RECEIVED):
                return self._connected()
            if self.nonblocking():
                raise error(EALREADY)
            return Blocked(self.queue, retry=self._connected)
        if self.listener is not None or self._live():
            raise error(EISCONN)
        if self.deferred is not None:
            raise error(EALREADY)
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
        """Whom to connect to for `address`: any address means ourselves.  Raises EAFNOSUPPORT."""
        host, zone = self._plain(address[0])
        if zone:
            if self.zone and self.zone != zone:
                raise error(EINVAL)
            self.zone = zone
        if any(host):
            return host, address[1]
        if self._address_chosen:
            return self._local[0], address[1]
        return LOOPBACK_V4 if len(host) == 4 else LOOPBACK_V6, address[1]

    def open(self, address: SocketAddress, fast: Attempt | None, first: bytes, now: Instant) -> Channel:
        """Send the SYN, and with it as much of `first` as `fast` lets go."""
        local = self._local if self._binding is not None else (self._local[0], 0) if self._address_chosen else None
        channel = self.tcp.connect(local, address, self.options, self.queue, self._binding, now, fast, first, self.zone)
        self._error_taken = False
        self.error = 0
        self.channel = channel
        self.deferred = None
        channel.least_ttl = recall(self, IPPROTO_IP, IP_MINTTL)
        self._local = channel.local
        self._spent = not self._port_chosen
        self._phase = _CONNECTING
        return channel

    def _connected(self) -> Blocked | None:
        """How a connect ends: None, or the error that ended it."""
        channel = self.channel
        state = CLOSED if channel is None else channel.connection.block.state
        if state in (SYN_SENT, SYN_RECEIVED):
            return Blocked(self.queue, retry=self._connected)
        if state in (CLOSED, TIME_WAIT):
            number = self.take_error()
            self._phase = _UNCONNECTED
            self._disconnect(self.tcp.now())
            raise error(number or ECONNABORTED)
        self._phase = _CONNECTED
        return None

    def _disconnect(self, now: Instant) -> None:
        """Forget the connection, or stop listening, and start anew (tcp_disconnect): what is bound stays bound."""
        spent = self._spent or (self.listener is not None and not self._port_chosen)
        self._stop_listening(now)
        channel = self.channel
        if channel is not None:
            block = channel.connection.block
            if block.error and not self._error_taken:
                self.error = block.error
            if block.state not in (CLOSED, TIME_WAIT):
                self.error = ECONNRESET
                if block.state not in (LAST_ACK, CLOSING):
                    channel.connection.abort(now)
            self.channel = None
            self.tcp.release(channel, now)
        if not self._address_chosen:
            self._local = (self._wildcard(), self._local[1])
        if spent:
            self._spent = False
            self._unbind()
        self.shut = 0
        self._error_taken = False
        self._urgent_read = -1
        self.queue.wake_all()

    def _unbind(self) -> None:
        binding = self._binding
        if binding is not None:
            self._binding = None
            self.tcp.ports.release(binding)

    def _shut_down(self) -> int:
        """The directions that are over, whoever ended them."""
        channel = self.channel
        if channel is None:
            return self.shut
        connection = channel.connection
        if connection.block.state in (CLOSED, TIME_WAIT):
            return RECEIVING | SENDING
        return self.shut | RECEIVING if connection.finished_receiving() else self.shut

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
        if channel is None:
            raise error(EPIPE)
        connection = channel.connection
        state = connection.block.state
        if state in (SYN_SENT, SYN_RECEIVED) and self._phase == _CONNECTING:
            return Blocked(self.queue)
        if self.shut & SENDING or state in (CLOSED, TIME_WAIT):
            raise error(EPIPE)
        if start >= len(data):
            return 0
        taken = int(connection.write(data, start, flags & MSG_MORE != 0))
        if taken == 0:
            return Blocked(self.queue)
        if flags & MSG_OOB and start + taken == len(data):
            connection.mark_urgent()
        self.tcp.settle(channel, now)
        return taken

    def receive(self, size: int, flags: int, now: Instant) -> Received | Blocked:
        channel = self.channel
        if flags & MSG_ERRQUEUE:
            raise error(EAGAIN)
        if self.listener is not None:
            raise error(ENOTCONN)
        if flags & MSG_OOB:
            return self._receive_urgent(channel, flags, now)
        if channel is None:
            return self._receive_end(None)
        connection = channel.connection
        if connection.until_urgent() == 0 and not self.options.oob_inline and connection.readable() > 0:
            self.consume(1, now)  # who reads past the urgent byte has lost it
            self._urgent_read = -1
        there = int(connection.readable())
        if there == 0:
            return self._receive_end(channel)
        if size <= 0:
            return Received(b"", None, 0, 0)
        target = min(self.options.receive_low_water, size)
        if there < target and not self.nonblocking() and not flags & MSG_DONTWAIT:
            if not connection.finished_receiving() and not self.shut & RECEIVING:
                return Blocked(self.queue)
        if self.extras is not None and self.extras.get((IPPROTO_TCP, TCP_INQ)):
            return self._receive_counting(channel, min(size, there), flags, now)
        size = min(size, there)
        before_urgent = int(connection.until_urgent())
        if 0 < before_urgent < size:
            # A read ends at the urgent mark (tcp(7)).
            size = before_urgent
        data = b"" if flags & MSG_TRUNC else connection.peek(size)
        if not flags & MSG_PEEK:
            self.consume(size, now)
        return Received(data, None, 0, size)

    def _receive_counting(self, channel: Channel, size: int, flags: int, now: Instant) -> Received:
        """Data, and beside it how much is left (TCP_INQ)."""
        data = b"" if flags & MSG_TRUNC else channel.connection.peek(size)
        if not flags & MSG_PEEK:
            self.consume(size, now)
        left = int(channel.connection.readable()).to_bytes(4, "little")
        return Received(data, None, 0, size, ((IPPROTO_TCP, TCP_INQ, left),))

    def _receive_end(self, channel: Channel | None) -> Received | Blocked:
        """What a receive says where there is nothing to read."""
        if channel is not None and channel.connection.ended_by_peer():
            return Received(b"", None, 0, 0)
        number = self.take_error()
        if number:
            raise error(number)
        if self._shut_down() & RECEIVING:
            return Received(b"", None, 0, 0)
        if channel is None:
            raise error(ENOTCONN)
        return Blocked(self.queue)

    def _receive_urgent(self, channel: Channel | None, flags: int, now: Instant) -> Received:
        """The byte that the urgent pointer names (MSG_OOB).  Raises EINVAL where there is none, or it comes in line, and
        EAGAIN while only its announcement is here."""
        if self.options.oob_inline or channel is None:
            raise error(EINVAL)
        connection = channel.connection
        ahead = int(connection.until_urgent())
        if ahead < 0 or connection.block.rcv_urgent == self._urgent_read:
            raise error(EINVAL)
        if ahead >= connection.readable():
            raise error(EAGAIN)
        data = connection.peek(ahead + 1)[ahead:]
        if not flags & MSG_PEEK:
            self._urgent_read = int(connection.block.rcv_urgent)
        return Received(data, None, MSG_OOB, 1)

    def shutdown(self, how: int, now: Instant) -> None:
        bits = how + 1
        channel = self.channel
        state = CLOSED if channel is None else channel.connection.block.state
        if self._phase == _CONNECTING:
            self._phase = _DISCONNECTING if state in (SYN_SENT, SYN_RECEIVED, CLOSED) else _CONNECTED
        if self.listener is not None or state == SYN_SENT:
            if bits & RECEIVING or self.listener is None:
                self._phase = _UNCONNECTED
                self._disconnect(now)
            else:
                self.queue.tell(0)
            return
        self.shut |= bits
        if bits & RECEIVING and channel is not None:
            channel.connection.block.deaf = True
        if bits & SENDING and channel is not None:
            channel.connection.finish(now)
            self.tcp.settle(channel, now)
        self.queue.wake_all()
        if state in (CLOSED, TIME_WAIT):
            raise error(ENOTCONN)

    # State -------------------------------------------------------------------------------------------------------------

    def take_error(self) -> int:
        channel = self.channel
        number = self.error
        self.error = 0
        if channel is not None and not self._error_taken:
            # A connection's end goes over what was there before.
            latest = channel.connection.block.error
            if latest:
                self._error_taken = True
                return latest
        return number

    def poll(self) -> int:
        listener = self.listener
        if listener is not None:
            return POLLIN | POLLRDNORM if listener.ready else 0
        channel = self.channel
        shut = self._shut_down()
        mask = 0
        if shut & RECEIVING:
            mask = POLLIN | POLLRDNORM | POLLRDHUP
        if channel is None:
            mask |= POLLHUP if self.deferred is None else 0
            return mask | POLLOUT | POLLWRNORM | (POLLERR if self.error else 0)
        connection = channel.connection
        block = connection.block
        state = block.state
        if shut == RECEIVING | SENDING:
            mask |= POLLHUP
        if state not in (SYN_SENT, SYN_RECEIVED) or block.early:
            target = max(self.options.receive_low_water, 1)
            if block.rcv_urgent >= 0:
                if connection.until_urgent() < block.receive_queue.size() and block.rcv_urgent != self._urgent_read:
                    mask |= POLLPRI
                if connection.until_urgent() == 0 and not self.options.oob_inline:
                    target += 1
            if connection.readable() >= target:
                mask |= POLLIN | POLLRDNORM
            if shut & SENDING or connection.writable():
                mask |= POLLOUT | POLLWRNORM
        if self.error or (block.error and not self._error_taken):
            mask |= POLLERR
        return mask

    def local_address(self) -> SocketAddress:
        return shown(self._local[0], self.family, self.zone), self._local[1]

    def peer_address(self) -> SocketAddress:
        channel = self.channel
        if channel is None or channel.connection.block.state in (SYN_SENT, CLOSED, TIME_WAIT):
            raise error(ENOTCONN)
        return shown(channel.remote[0], self.family, channel.zone), channel.remote[1]

    def origin(self) -> SocketAddress:
        channel = self.channel
        if channel is None:
            raise error(ECONNABORTED)
        return shown(channel.remote[0], self.family, channel.zone), channel.remote[1]

    def get_option(self, level: int, name: int) -> bytes:
        return get_stream_option(self, level, name)

    def set_option(self, level: int, name: int, value: bytes) -> None:
        before = self.extras
        set_stream_option(self, level, name, value)
        if self.extras is not before:
            self.own_options().extras = self.extras
        if level == IPPROTO_IP and name == IP_MINTTL and self.channel is not None:
            self.channel.least_ttl = recall(self, IPPROTO_IP, IP_MINTTL)

    def own_options(self) -> TcpOptions:
        """The options of this socket alone, to be changed."""
        options = self.options
        if options.shared:
            self.options = options = options.copy()
            if self.channel is not None:
                options.defer_accept = 0  # that was the listener's
                self.channel.connection.block.options = options
            if self.listener is not None:
                self.listener.options = options
        return options

    def options_changed(self) -> None:
        """An option that a live connection has to hear of was set, or a binding."""
        if self._binding is not None:
            self._binding.reuse_address = self.options.reuse_address
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
            if self.options.linger > 0:
                channel.queue = self.queue
        self._unbind()

    def bind_to_device(self, name: str) -> bool:
        if self.tcp.devices is None:
            return False
        self.zone = self.tcp.devices.get(name).index if name else 0
        self.device = name
        return True

    def bind_to_index(self, index: int) -> None:
        self.bind_to_device("" if index == 0 or self.tcp.devices is None else self.tcp.devices.numbered(index).name)

    def device_index(self) -> int:
        return self.zone

    def lingering(self) -> Duration:
        channel = self.channel
        linger = self.options.linger
        if channel is None or linger <= 0 or channel.connection.block.state not in (FIN_WAIT_1, CLOSING, LAST_ACK):
            return 0
        return linger * SECOND

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
            there = self.readable()
            if channel is not None and not self.options.oob_inline:
                before_urgent = int(channel.connection.until_urgent())
                if 0 <= before_urgent < there:
                    there = before_urgent
            return there.to_bytes(4, "little")
        if request == SIOCOUTQ:
            return self.unacknowledged().to_bytes(4, "little")
        if request == SIOCATMARK:
            at_mark = channel is not None and channel.connection.until_urgent() == 0
            return (1 if at_mark else 0).to_bytes(4, "little")
        return super().ioctl(request, argument)

    def describe(self) -> str:
        address, port = self.local_address()
        return f"tcp {format_address(address[:16])}:{port}"


def adopt(tcp: Tcp, channel: Channel, family: int) -> TcpSocket:
    """The socket of a connection that somebody else opened."""
    block = channel.connection.block
    socket = TcpSocket(tcp, family, 1, 6)
    socket.options = block.options
    socket.extras = block.options.extras
    socket.channel = channel
    channel.least_ttl = recall(socket, IPPROTO_IP, IP_MINTTL)
    socket._phase = _CONNECTED
    socket._local = channel.local
    socket.zone = channel.zone
    channel.claim(socket.queue)
    return socket
