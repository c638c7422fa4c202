"""Datagram sockets: SOCK_DGRAM over UDP (POSIX 2.10, Linux udp(7)), and what they share with ping sockets.

Between the socket calls of `kern` above and `transport.udp` below.  Their options are in `datagram_options`.  A socket of
IPv6 that takes IPv4 too shows addresses of that as v4-mapped ones (RFC 3493 section 3.7); below it they are 4 bytes.
"""

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from ...hyper.calls import Hypercalls
from ...hyper.time import Instant
from ...kern.abi.errno import (
    EAFNOSUPPORT,
    EAGAIN,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENETUNREACH,
    ENOTCONN,
    ENOTTY,
    EOPNOTSUPP,
    EPIPE,
    error,
)
from ...kern.abi.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM
from ...kern.abi.socket import (
    AF_INET6,
    IP_FREEBIND,
    IP_TRANSPARENT,
    IPPROTO_IP,
    MSG_ERRQUEUE,
    MSG_MORE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
)
from ...kern.socket import ControlMessage, Received, Socket, SocketAddress
from ...kern.wait import Blocked
from ..transport.mailbox import Mailbox
from ..transport.udp import Udp
from ..transport.udp_endpoint import UdpEndpoint
from ..wire.address import ANY_V4, ANY_V6, LOOPBACK_V4, LOOPBACK_V6, format_address
from ..wire.udp import MAX_PAYLOAD_SIZE
from .control import Ancillary, control_of, control_of_error, parse_control
from .names import shown, split_zone, unmapped
from .options import int_option

if TYPE_CHECKING:
    from ..link.interfaces import Interfaces

FIONREAD: Final = 0x541B
TIOCOUTQ: Final = 0x5411
_RECEIVING: Final = 1
_SENDING: Final = 2
_NOTHING: Final = Ancillary()


@mypyc_attr(allow_interpreted_subclasses=True)
class DatagramSocket(Socket):
    """What all datagram sockets do alike: a mailbox read by datagrams, two directions that can be shut."""

    def __init__(self, family: int, kind: int, protocol: int, hyper: Hypercalls) -> None:
        super().__init__(family, kind, protocol)
        self.hyper: Hypercalls = hyper
        self.mailbox: Mailbox = Mailbox(self.queue)
        self.shut: int = 0
        """The directions that shutdown() ended."""
        self.wanted: int = 0
        """The control messages that options ask for with each datagram (`control.WANTED`)."""
        self.zone: int = 0
        """The index of the interface that the socket is bound to; 0 for any."""
        self.devices: Interfaces | None = None
        self.send_buffer: int = 212_992
        self.max_receive_buffer: int = 4 << 20

    def take_error(self) -> int:
        return self.mailbox.take_error()

    def put_off(self, number: int) -> None:
        self.mailbox.error = number

    def check_error(self) -> None:
        """Raise the pending error, if there is one."""
        if self.mailbox.error:
            raise error(self.mailbox.take_error())

    def check_sending(self) -> None:
        """Raise what keeps the socket from sending, as Linux does when it has found the way."""
        self.check_error()
        if self.shut & _SENDING:
            raise error(EPIPE)

    def receive(self, size: int, flags: int, now: Instant) -> Received | Blocked:
        if flags & MSG_ERRQUEUE:
            return self._receive_complaint(size)
        if self.mailbox.error:
            self.check_error()
        mailbox = self.mailbox
        letter = mailbox.first()
        if letter is None:
            if self.shut & _RECEIVING and not self.nonblocking():
                return Received(b"", None, 0, 0)
            return Blocked(self.queue)
        if flags & MSG_PEEK == 0:
            mailbox.take()
        data = letter.data
        real = len(data)
        bits = 0
        if real > size:
            data = data[:size]
            bits = MSG_TRUNC
        source = letter.source
        if self.family == AF_INET6:
            source = shown(source, AF_INET6, 0 if letter.interface is None else letter.interface.index)
        if self.wanted:
            control = control_of(letter, self.wanted, mailbox, self.local_address()[1], self.hyper)
            return Received(data, (source, letter.port), bits, real, control)
        return Received(data, (source, letter.port), bits, real)

    def _receive_complaint(self, size: int) -> Received:
        """MSG_ERRQUEUE: the oldest error in full, with what is known of the datagram it is about.  Raises EAGAIN."""
        complaint = self.mailbox.take_complaint()
        if complaint is None:
            raise error(EAGAIN)
        data = complaint.data
        bits = MSG_ERRQUEUE | (MSG_TRUNC if len(data) > size else 0)
        peer = (shown(complaint.destination, self.family), complaint.port)
        return Received(data[:size], peer, bits, len(data), (control_of_error(complaint),))

    def read(self, size: int, now: Instant) -> bytes | Blocked:
        received = self.receive(size, 0, now)
        return received if isinstance(received, Blocked) else received.data

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        return self.send(data, 0, 0, None, now)

    def connected(self) -> bool:
        """Whether the socket has a peer."""
        raise NotImplementedError

    def shutdown(self, how: int, now: Instant) -> None:
        self.shut |= how + 1
        self.queue.wake_all()
        if not self.connected():
            raise error(ENOTCONN)  # and yet it is shut, as on Linux

    def poll(self) -> int:
        mailbox = self.mailbox
        ready = POLLOUT | POLLWRNORM
        if mailbox.first() is not None:
            ready |= POLLIN | POLLRDNORM
        if mailbox.error or mailbox.complaints:
            ready |= POLLERR
        if self.shut & _RECEIVING:
            ready |= POLLIN | POLLRDNORM | POLLRDHUP
            if self.shut & _SENDING:
                ready |= POLLHUP
        return ready

    def ioctl(self, request: int, argument: bytes) -> bytes:
        if request == FIONREAD:
            letter = self.mailbox.first()
            return int_option(0 if letter is None else len(letter.data))
        if request == TIOCOUTQ:
            return int_option(0)
        raise error(ENOTTY)

    def bind_to_device(self, name: str) -> bool:
        if self.devices is None:
            return False
        self.zone = self.devices.get(name).index if name else 0
        self.device = name
        return True

    def bind_to_index(self, index: int) -> None:
        self.bind_to_device("" if index == 0 or self.devices is None else self.devices.numbered(index).name)

    def device_index(self) -> int:
        return self.zone


@final
class UdpSocket(DatagramSocket):
    """A socket over UDP."""

    def __init__(self, udp: Udp, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol, udp.hyper)
        self.udp: Udp = udp
        self.endpoint: UdpEndpoint = udp.open(self.queue, ANY_V6 if family == AF_INET6 else ANY_V4)
        self.mailbox = self.endpoint.mailbox
        self.devices = udp.devices
        self.send_buffer = udp.settings.send_buffer
        self.max_receive_buffer = udp.settings.max_receive_buffer
        self.reuse_address: bool = False
        self.reuse_port: bool = False
        self.corked: bool = False
        """UDP_CORK."""
        self.segment: int = 0
        """UDP_SEGMENT: the size of the datagrams that a longer one is cut into."""
        self._gathered: list[bytes] = []
        """What MSG_MORE and UDP_CORK have held back of a datagram."""
        self._gathered_size: int = 0
        self._gathered_for: SocketAddress | None = None

    def close(self, now: Instant) -> None:
        for memberships in (self.endpoint.memberships, self.endpoint.memberships6):
            if memberships is not None:
                memberships.close()
        self.udp.close(self.endpoint)

    def bind(self, address: SocketAddress) -> None:
        host, zone = split_zone(address[0])
        if len(host) != len(self.endpoint.wildcard):
            raise error(EAFNOSUPPORT)
        if self.family == AF_INET6:
            if self.endpoint.port or (self.endpoint.only and len(unmapped(host)) == 4):
                raise error(EINVAL)
        if zone and self.endpoint.zone == 0:
            self.endpoint.zone = zone
        extras = self.extras
        freely = extras is not None and (
            extras.get((IPPROTO_IP, IP_FREEBIND), 0) | extras.get((IPPROTO_IP, IP_TRANSPARENT), 0)
        )
        self.udp.bind(
            self.endpoint, self._plain(host), address[1], self.reuse_address, self.reuse_port, 0, bool(freely)
        )

    def _plain(self, address: bytes) -> bytes:
        """An address without mapping.  Raises ENETUNREACH where the socket is for IPv6 only."""
        plain = unmapped(address)
        if len(plain) == 4 and self.family == AF_INET6 and self.endpoint.only:
            raise error(ENETUNREACH)
        return plain

    def _peer(self, address: SocketAddress) -> tuple[bytes, int, int]:
        """A peer to send to: address, port and zone; the wildcard means this kernel itself.  Raises EAFNOSUPPORT."""
        host, zone = split_zone(address[0])
        if self.family == AF_INET6:
            if len(host) == 4:
                raise error(EAFNOSUPPORT)
            host = self._plain(host)
            local = self.endpoint.local
            if host == ANY_V6:
                host = LOOPBACK_V4 if len(local) == 4 else LOOPBACK_V6
        elif len(host) != 4:
            raise error(EAFNOSUPPORT)
        if host == ANY_V4:
            local = self.endpoint.local
            host = LOOPBACK_V4 if local == ANY_V4 or len(local) != 4 else local
        return host, address[1], zone

    def connected(self) -> bool:
        return len(self.endpoint.remote) > 0

    def connect(self, address: SocketAddress, now: Instant) -> Blocked | None:
        """As POSIX connect; the address (b"", 0) disconnects (AF_UNSPEC)."""
        if not address[0]:
            self.endpoint.zone = self.zone
            self.udp.disconnect(self.endpoint)
        else:
            peer, port, zone = self._peer(address)
            if zone:
                self.endpoint.zone = zone
            self.udp.connect(self.endpoint, peer, port, zone)
        return None

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        return self._send(data[start:] if start else data, flags, destination, now, _NOTHING)

    def send_with(
        self,
        data: bytes,
        control: tuple[ControlMessage, ...],
        flags: int,
        destination: SocketAddress | None,
        now: Instant,
    ) -> int | Blocked:
        return self._send(data, flags, destination, now, parse_control(control))

    def _send(
        self, data: bytes, flags: int, destination: SocketAddress | None, now: Instant, with_it: Ancillary
    ) -> int | Blocked:
        endpoint = self.endpoint
        if endpoint.port == 0:
            self.udp.bind(endpoint, endpoint.chosen_local, 0)
        if len(data) > 0xFFFF:
            raise error(EMSGSIZE)
        if flags & MSG_OOB and self.family != AF_INET6:
            raise error(EOPNOTSUPP)
        if self._gathered:
            begun = self._gathered_for
            if destination is not None and begun is not None:
                if len(unmapped(destination[0][:16])) != len(unmapped(begun[0][:16])):
                    raise error(EINVAL)
            destination = begun
        zone = with_it.interface
        if destination is not None:
            peer, port, scope = self._peer(destination)
            zone = zone or scope
        elif endpoint.remote:
            peer = endpoint.remote
            port = endpoint.remote_port
        else:
            raise error(EDESTADDRREQ)
        if flags & MSG_OOB and len(peer) == 4:
            raise error(EOPNOTSUPP)
        if port == 0 and destination is not None:
            raise error(EINVAL)
        if (self.mailbox.error or self.shut) and not self._gathered:
            self.udp.check(endpoint, peer)  # an address that leads nowhere goes before the pending error
            self.check_sending()
        taken = len(data)
        if self._gathered or self.corked or flags & MSG_MORE:
            self.udp.check(endpoint, peer)
            if not self._gather(data, destination, flags):
                return taken
            data = self.gathered()
        source = None if with_it.source is None else unmapped(with_it.source)
        self._emit(data, peer, port, now, with_it, source, zone)
        return taken

    def _emit(
        self, data: bytes, peer: bytes, port: int, now: Instant, with_it: Ancillary, source: bytes | None, zone: int
    ) -> None:
        if source is not None and not self.udp.layer(source).is_local(source):
            raise error(EINVAL)
        try:
            segment = with_it.segment or self.segment
            self.udp.send(self.endpoint, data, peer, port, now, with_it.ttl, with_it.tos, source, zone, segment)
        except OSError as failure:
            if failure.errno == EMSGSIZE and self.endpoint.report_all:
                self.queue.wake_all()
            raise
        # Linux's socket has room again as soon as the datagram has left, which is now.
        self.queue.tell(POLLOUT | POLLWRNORM)

    def _gather(self, data: bytes, destination: SocketAddress | None, flags: int) -> bool:
        """Put data to a datagram that is being gathered; whether it is complete.  Raises EMSGSIZE."""
        if self._gathered_size + len(data) > MAX_PAYLOAD_SIZE:
            raise error(EMSGSIZE)
        if data or not self._gathered:
            self._gathered.append(data)
        self._gathered_size += len(data)
        self._gathered_for = destination
        return not self.corked and not flags & MSG_MORE

    def gathered(self) -> bytes:
        """The datagram that was being gathered, which is then forgotten."""
        data = b"".join(self._gathered)
        self._gathered.clear()
        self._gathered_size = 0
        return data

    def uncork(self, now: Instant) -> None:
        """UDP_CORK is off: send what was held back."""
        self.corked = False
        if self._gathered:
            destination = self._gathered_for
            self._gathered_for = None
            data = self.gathered()
            self.send(data, 0, 0, destination, now)

    def local_address(self) -> SocketAddress:
        endpoint = self.endpoint
        return shown(endpoint.local, self.family, endpoint.zone), endpoint.port

    def peer_address(self) -> SocketAddress:
        endpoint = self.endpoint
        if not endpoint.remote or endpoint.remote_port == 0:
            raise error(ENOTCONN)
        return shown(endpoint.remote, self.family, endpoint.zone), endpoint.remote_port

    def bind_to_device(self, name: str) -> bool:
        super().bind_to_device(name)
        self.endpoint.zone = self.zone
        return True

    def get_option(self, level: int, name: int) -> bytes:
        from .datagram_options import get_udp_option

        return get_udp_option(self, level, name)

    def set_option(self, level: int, name: int, value: bytes) -> None:
        from .datagram_options import set_udp_option

        set_udp_option(self, level, name, value)

    def describe(self) -> str:
        local = f"udp {format_address(self.endpoint.local)}:{self.endpoint.port}"
        if not self.endpoint.remote:
            return local
        return f"{local} -> {format_address(self.endpoint.remote)}:{self.endpoint.remote_port}"
