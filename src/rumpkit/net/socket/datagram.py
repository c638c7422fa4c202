"""Datagram sockets: SOCK_DGRAM over UDP (POSIX 2.10, Linux udp(7)), and what they share with ping sockets.

Between the socket calls of `kern` above and `transport.udp` below.
"""

from collections.abc import Callable
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.time import Instant
from ...kern.abi.errno import (
    EAFNOSUPPORT,
    EAGAIN,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENOPROTOOPT,
    ENOTCONN,
    ENOTTY,
    EOPNOTSUPP,
    EPIPE,
    error,
)
from ...kern.abi.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM
from ...kern.abi.socket import (
    IP_MTU_DISCOVER,
    IP_RECVERR,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_BROADCAST,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SOL_SOCKET,
)
from ...kern.socket import Received, Socket, SocketAddress
from ...kern.wait import Blocked
from ..transport.mailbox import Mailbox
from ..transport.udp import Udp, UdpEndpoint
from ..wire.address import ANY_V4, LOOPBACK_V4, format_ipv4
from .options import int_option, option_byte, option_int

MSG_ERRQUEUE: Final = 0x2000
IP_MULTICAST_TTL: Final = 33
IP_MULTICAST_LOOP: Final = 34
IP_ADD_MEMBERSHIP: Final = 35
IP_DROP_MEMBERSHIP: Final = 36
IP_PMTUDISC_DO: Final = 2
FIONREAD: Final = 0x541B
TIOCOUTQ: Final = 0x5411
MIN_BUFFER: Final = 2304


def destination_of(address: SocketAddress) -> SocketAddress:
    """A peer's address to send to; the wildcard means this kernel itself, as on Linux.  Raises EAFNOSUPPORT."""
    if len(address[0]) != 4:
        raise error(EAFNOSUPPORT)
    return (LOOPBACK_V4, address[1]) if address[0] == ANY_V4 else address


@mypyc_attr(allow_interpreted_subclasses=True)
class DatagramSocket(Socket):
    """What all datagram sockets do alike: a mailbox read by datagrams, two directions that can be shut."""

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self.mailbox: Mailbox = Mailbox(self.queue)
        self.read_shut: bool = False
        self.write_shut: bool = False
        self.send_buffer: int = 212_992
        self.max_receive_buffer: int = 4 << 20

    def take_error(self) -> int:
        return self.mailbox.take_error()

    def check_error(self) -> None:
        """Raise the pending error, if there is one."""
        if self.mailbox.error:
            raise error(self.mailbox.take_error())

    def receive(self, size: int, flags: int, now: Instant) -> Received | Blocked:
        if flags & (MSG_OOB | MSG_ERRQUEUE):
            raise error(EOPNOTSUPP if flags & MSG_OOB else EAGAIN)
        self.check_error()
        mailbox = self.mailbox
        letter = mailbox.first()
        if letter is None:
            if self.read_shut:
                return Received(b"", None, 0, 0)
            return Blocked(self.queue)
        if flags & MSG_PEEK == 0:
            mailbox.take()
        data = letter.data
        real = len(data)
        if real > size:
            return Received(data[:size], (letter.source, letter.port), MSG_TRUNC, real)
        return Received(data, (letter.source, letter.port), 0, real)

    def read(self, size: int, now: Instant) -> bytes | Blocked:
        received = self.receive(size, 0, now)
        return received if isinstance(received, Blocked) else received.data

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        return self.send(data, 0, 0, None, now)

    def shutdown(self, how: int, now: Instant) -> None:
        self.peer_address()
        if how in (SHUT_RD, SHUT_RDWR):
            self.read_shut = True
        if how in (SHUT_WR, SHUT_RDWR):
            self.write_shut = True
        self.queue.wake_all()

    def poll(self) -> int:
        ready = POLLOUT | POLLWRNORM
        if self.mailbox.first() is not None:
            ready |= POLLIN | POLLRDNORM
        if self.mailbox.error:
            ready |= POLLERR | POLLIN | POLLRDNORM
        if self.read_shut:
            ready |= POLLIN | POLLRDNORM | POLLRDHUP
            if self.write_shut:
                ready |= POLLHUP
        return ready

    def ioctl(self, request: int, argument: bytes) -> bytes:
        if request == FIONREAD:
            letter = self.mailbox.first()
            return int_option(0 if letter is None else len(letter.data))
        if request == TIOCOUTQ:
            return int_option(0)
        raise error(ENOTTY)

    def buffer_option(self, name: int) -> bytes | None:
        """SO_RCVBUF and SO_SNDBUF, None for other options."""
        if name == SO_RCVBUF:
            return int_option(self.mailbox.limit)
        return int_option(self.send_buffer) if name == SO_SNDBUF else None

    def set_buffer_option(self, name: int, value: bytes) -> bool:
        """Set SO_RCVBUF or SO_SNDBUF, which count double as on Linux; False for other options."""
        if name not in (SO_RCVBUF, SO_SNDBUF):
            return False
        size = max(min(option_int(value), self.max_receive_buffer) * 2, MIN_BUFFER)
        if name == SO_RCVBUF:
            self.mailbox.limit = size
        else:
            self.send_buffer = size
        return True


@final
class UdpSocket(DatagramSocket):
    """A socket over UDP."""

    def __init__(self, udp: Udp, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self.udp: Udp = udp
        self.endpoint: UdpEndpoint = udp.open(self.queue)
        self.mailbox = self.endpoint.mailbox
        self.send_buffer = udp.settings.send_buffer
        self.max_receive_buffer = udp.settings.max_receive_buffer
        self.reuse_address: bool = False
        self.reuse_port: bool = False
        self.mtu_discover: int = 0
        self.multicast_loop: int = 1
        self.groups: list[bytes] = []

    def close(self, now: Instant) -> None:
        for group in self.groups:
            self.udp.network.leave(group)
        self.udp.close(self.endpoint)

    def bind(self, address: SocketAddress) -> None:
        if len(address[0]) != 4:
            raise error(EAFNOSUPPORT)
        self.udp.bind(self.endpoint, address[0], address[1], self.reuse_address, self.reuse_port)

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        """As POSIX connect; the address (b"", 0) disconnects (AF_UNSPEC)."""
        if not address[0]:
            self.udp.disconnect(self.endpoint)
        else:
            peer, port = destination_of(address)
            self.udp.connect(self.endpoint, peer, port)
        return None

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        if flags & MSG_OOB:
            raise error(EOPNOTSUPP)
        self.check_error()
        if self.write_shut:
            raise error(EPIPE)
        endpoint = self.endpoint
        if destination is not None:
            peer, port = destination_of(destination)
        elif endpoint.remote:
            peer = endpoint.remote
            port = endpoint.remote_port
        else:
            raise error(EDESTADDRREQ)
        payload = data[start:] if start else data
        if len(payload) > self.send_buffer:
            raise error(EMSGSIZE)
        self.udp.send(endpoint, payload, peer, port, now)
        return len(payload)

    def local_address(self) -> SocketAddress:
        return self.endpoint.local, self.endpoint.port

    def peer_address(self) -> SocketAddress:
        if not self.endpoint.remote:
            raise error(ENOTCONN)
        return self.endpoint.remote, self.endpoint.remote_port

    def get_option(self, level: int, name: int) -> bytes:
        if level == SOL_SOCKET:
            buffer = self.buffer_option(name)
            if buffer is not None:
                return buffer
        getter = _GETTERS.get((level, name))
        if getter is None:
            raise error(ENOPROTOOPT)
        return int_option(getter(self))

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level == SOL_SOCKET and self.set_buffer_option(name, value):
            return
        setter = _SETTERS.get((level, name))
        if setter is None:
            raise error(ENOPROTOOPT)
        setter(self, value)

    def describe(self) -> str:
        local = f"udp {format_ipv4(self.endpoint.local)}:{self.endpoint.port}"
        if not self.endpoint.remote:
            return local
        return f"{local} -> {format_ipv4(self.endpoint.remote)}:{self.endpoint.remote_port}"


# Options -------------------------------------------------------------------------------------------------------------


def _set_broadcast(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.broadcast = option_int(value) != 0


def _set_reuse_address(socket: UdpSocket, value: bytes) -> None:
    socket.reuse_address = option_int(value) != 0


def _set_reuse_port(socket: UdpSocket, value: bytes) -> None:
    socket.reuse_port = option_int(value) != 0


def _set_ttl(socket: UdpSocket, value: bytes) -> None:
    ttl = option_int(value)
    if not (1 <= ttl <= 255 or ttl == -1):
        raise error(EINVAL)
    socket.endpoint.ttl = 64 if ttl == -1 else ttl


def _set_multicast_ttl(socket: UdpSocket, value: bytes) -> None:
    ttl = option_byte(value)
    if not 0 <= ttl <= 255:
        raise error(EINVAL)
    socket.endpoint.multicast_ttl = ttl


def _set_multicast_loop(socket: UdpSocket, value: bytes) -> None:
    socket.multicast_loop = 1 if option_byte(value) else 0


def _set_tos(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.tos = option_byte(value) & 0xFC  # the ECN bits are not the user's


def _set_report_all(socket: UdpSocket, value: bytes) -> None:
    socket.endpoint.report_all = option_int(value) != 0


def _set_mtu_discover(socket: UdpSocket, value: bytes) -> None:
    how = option_byte(value)
    if not 0 <= how <= 5:
        raise error(EINVAL)
    socket.mtu_discover = how
    socket.endpoint.dont_fragment = how >= IP_PMTUDISC_DO


def _join(socket: UdpSocket, value: bytes) -> None:
    """struct ip_mreq or ip_mreqn: the group comes first.  Membership holds on all interfaces, and no IGMP tells it."""
    group = value[:4]
    if len(value) < 8 or not 224 <= group[0] <= 239:
        raise error(EINVAL)
    socket.udp.network.join(group)
    socket.groups.append(group)


def _leave(socket: UdpSocket, value: bytes) -> None:
    group = value[:4]
    if group not in socket.groups:
        raise error(EINVAL)
    socket.groups.remove(group)
    socket.udp.network.leave(group)


_GETTERS: Final[dict[tuple[int, int], Callable[[UdpSocket], int]]] = {
    (SOL_SOCKET, SO_BROADCAST): lambda socket: int(socket.endpoint.broadcast),
    (SOL_SOCKET, SO_REUSEADDR): lambda socket: int(socket.reuse_address),
    (SOL_SOCKET, SO_REUSEPORT): lambda socket: int(socket.reuse_port),
    (IPPROTO_IP, IP_TTL): lambda socket: socket.endpoint.ttl,
    (IPPROTO_IP, IP_TOS): lambda socket: socket.endpoint.tos,
    (IPPROTO_IP, IP_RECVERR): lambda socket: int(socket.endpoint.report_all),
    (IPPROTO_IP, IP_MTU_DISCOVER): lambda socket: socket.mtu_discover,
    (IPPROTO_IP, IP_MULTICAST_TTL): lambda socket: socket.endpoint.multicast_ttl,
    (IPPROTO_IP, IP_MULTICAST_LOOP): lambda socket: socket.multicast_loop,
}

_SETTERS: Final[dict[tuple[int, int], Callable[[UdpSocket, bytes], None]]] = {
    (SOL_SOCKET, SO_BROADCAST): _set_broadcast,
    (SOL_SOCKET, SO_REUSEADDR): _set_reuse_address,
    (SOL_SOCKET, SO_REUSEPORT): _set_reuse_port,
    (IPPROTO_IP, IP_TTL): _set_ttl,
    (IPPROTO_IP, IP_TOS): _set_tos,
    (IPPROTO_IP, IP_RECVERR): _set_report_all,
    (IPPROTO_IP, IP_MTU_DISCOVER): _set_mtu_discover,
    (IPPROTO_IP, IP_MULTICAST_TTL): _set_multicast_ttl,
    (IPPROTO_IP, IP_MULTICAST_LOOP): _set_multicast_loop,
    (IPPROTO_IP, IP_ADD_MEMBERSHIP): _join,
    (IPPROTO_IP, IP_DROP_MEMBERSHIP): _leave,
}
