"""UDP and ping: such sockets of the program are native ones of its private network namespace; this carries their datagrams.

Above `network`, which explains how the namespace is made for that, and `record`; below `context`, beside `stream`.  What the
program sends, however it does, is read from the capture socket with the mark of its socket as source, and sent on the kernel's
socket.  What the kernel's socket receives, and the errors that ICMP brings, are injected as packets to the mark.  Both happen on
the schedule and never block; what does not fit is dropped, as networks do.
"""

import os
import select
import socket as host_socket
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, Final, final

from ...hosts.posix.loop import Source
from ...hosts.task import Task
from ...hyper.time import FOREVER, Instant
from ...kern.abi.errno import ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ENETUNREACH
from ...kern.abi.socket import AF_INET, AF_UNSPEC, IPPROTO_ICMP, IPPROTO_UDP, SOCK_DGRAM
from ...kern.socket import Socket, SocketAddress
from ...kern.wait import Blocked
from ...net.wire.checksum import internet_checksum
from . import abi
from .record import Record, guarded
from .spawn import Program

if TYPE_CHECKING:
    from .context import Context

DATAGRAM_LIMIT: Final = 1 << 16
BATCH: Final = 64
"""Datagrams that are carried in one go before others get their turn."""

_IP: Final = Struct("!BBHHHBBH4s4s")
_UDP: Final = Struct("!HHHH")
_PORTS: Final = Struct("!HH")
_ICMP: Final = Struct("!BBHHH")
_IP_SIZE: Final = 20
_UDP_SIZE: Final = 8
_VERSION_AND_SIZE: Final = 0x45
_TTL: Final = 64
_DIAG: Final = abi.NLMSG_HEADER.size
_ECHO: Final = 8
_UNREACHABLE: Final = 3
_CODES: Final = {ENETUNREACH: 0, EHOSTUNREACH: 1, ECONNREFUSED: 3, EMSGSIZE: 4}
"""ICMP "destination unreachable" codes (RFC 792), from which Linux makes these errors again."""


@final
class _Delivery(Task):
    """Runs a socket's `deliver` before the host leaves the kernel (compiled, a class has one base)."""

    def __init__(self, datagram: "Datagram") -> None:
        self._datagram = datagram

    def run(self, now: Instant) -> None:
        self._datagram.deliver(now)


@final
class Datagram(Record):
    """A UDP or ping socket of the program."""

    def __init__(self, carrier: "Carrier", fd: int, family: int, socket: Socket, protocol: int) -> None:
        super().__init__(carrier.context, os.fstat(fd).st_ino, family, socket)
        self.carrier = carrier
        self.protocol = protocol
        with host_socket.socket(family, SOCK_DGRAM, protocol, os.dup(fd)) as native:
            name = native.getsockname()
        self.mark = host_socket.inet_aton(name[0].removeprefix("::ffff:"))
        self.mark_port: int = name[1]
        """Its port; a ping socket's identifier."""
        self.peer: SocketAddress | None = None
        self.deferred = False
        self._delivery = _Delivery(self)
        socket.queue.subscribe(self)
        carrier.add(self)

    # From the kernel to the program -----------------------------------------------------------------------------

    def notify(self) -> None:
        if not self.deferred:
            self.deferred = True
            self.context.host.defer(self._delivery)

    def deliver(self, now: Instant) -> None:
        """Give the program what has come.  On the schedule."""
        self.deferred = False
        socket = self.socket
        problem = socket.take_error()
        if problem and self.peer:
            self.carrier.inject_error(self, self.peer, problem)
        for _ in range(BATCH):
            received = socket.receive(DATAGRAM_LIMIT, 0, now)
            if isinstance(received, Blocked):
                received.cancel()
                return
            if received.source is not None:
                self.carrier.inject(self, received.source, received.data)
        self.notify()

    # From the program to the kernel -----------------------------------------------------------------------------

    def send(self, data: bytes, destination: SocketAddress, now: Instant) -> None:
        """Send what the program has sent.  On the schedule."""
        try:
            taken = self.socket.send(data, 0, 0, None if destination == self.peer else destination, now)
        except OSError as problem:
            self.carrier.inject_error(self, destination, problem.errno or 0)
            return
        if isinstance(taken, Blocked):
            taken.cancel()

    def connect(self, native: int, address: SocketAddress | None) -> None:
        """Set the peer, or none, in the kernel and for the native socket, of which `native` is a copy that this closes.
        Raises ENETUNREACH and what else the kernel says."""
        with host_socket.socket(self.family, SOCK_DGRAM, self.protocol, native) as copy:
            self.context.run(self.socket.connect, address or (b"", 0), self.context.host.now)
            self.peer = self.socket.peer_address() if address else None
            if self.peer is None:
                _disconnect(copy)
            else:
                host = host_socket.inet_ntoa(self.peer[0])
                copy.connect((host if self.family == AF_INET else f"::ffff:{host}", self.peer[1]))

    def port(self) -> int:
        return 0 if self.peer or self.protocol != IPPROTO_UDP else self.socket.local_address()[1]

    def expire(self, now: Instant) -> Instant:
        return FOREVER

    def closed(self) -> None:
        self.carrier.drain()
        self.carrier.remove(self)
        self.socket.queue.unsubscribe(self)
        super().closed()


def _with_checksum(message: bytes) -> bytes:
    """An ICMP message whose checksum is zero, with its checksum."""
    return message[:2] + int(internet_checksum(message, 0, len(message))).to_bytes(2, "big") + message[4:]


def _disconnect(copy: host_socket.socket) -> None:
    import ctypes

    from . import libc

    nobody = AF_UNSPEC.to_bytes(2, "little") + bytes(14)
    if libc.library().connect(copy.fileno(), ctypes.c_char_p(nobody), len(nobody)):
        raise libc.failed("disconnect")


@final
class _Capture(Source):
    """What the program sends over one protocol."""

    def __init__(self, carrier: "Carrier", fd: int, protocol: int) -> None:
        super().__init__(fd, True)
        self.socket = host_socket.socket(AF_INET, host_socket.SOCK_RAW, protocol, fd)
        self._carrier = carrier
        self._skip = _UDP_SIZE if protocol == IPPROTO_UDP else 0
        """Of the transport's header, which a ping socket's user gives himself."""

    def on_events(self, events: int, now: Instant) -> None:
        receive = self.socket.recv
        sockets = self._carrier.sockets
        skip = self._skip
        for _ in range(BATCH):
            try:
                packet = receive(DATAGRAM_LIMIT)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error that Linux attributes to the raw socket
            datagram = sockets.get(packet[12:16])
            if datagram is None:
                self._carrier.dropped += 1
                continue
            body = (packet[0] & 15) * 4
            port = _PORTS.unpack_from(packet, body)[1] if skip else 0
            datagram.send(packet[body + skip :], (packet[16:20], port), now)


@final
class Carrier:
    """What carries for one guest: two capture sockets, the inject socket, and the program's sockets by mark."""

    def __init__(self, context: "Context", program: Program) -> None:
        self.context = context
        self.sockets: dict[bytes, Datagram] = {}
        self.dropped = 0
        """Datagrams that fitted nowhere, or whose socket is gone."""
        self._inject = host_socket.socket(
            AF_INET, host_socket.SOCK_RAW, host_socket.IPPROTO_RAW, program.take("inject")
        )
        self._captures = (
            _Capture(self, program.take("capture"), IPPROTO_UDP),
            _Capture(self, program.take("capture_icmp"), IPPROTO_ICMP),
        )
        for capture in self._captures:
            context.host.loop.register(capture, select.EPOLLIN)
        self._obituaries: _Obituaries | None = None
        obituaries = program.take("obituaries")
        if obituaries >= 0:
            self._obituaries = _Obituaries(self, obituaries)
            context.host.loop.register(self._obituaries, select.EPOLLIN)

    def add(self, datagram: Datagram) -> None:
        """Carry for one more socket."""
        self.sockets[datagram.mark] = datagram

    def remove(self, datagram: Datagram) -> None:
        """Carry for it no more."""
        self.sockets.pop(datagram.mark, None)

    def drain(self) -> None:
        """Send all that the program has sent up to now.  Off the schedule."""
        for capture in self._captures:
            self.context.run(capture.on_events, 0, self.context.host.now)

    def inject(self, datagram: Datagram, source: SocketAddress, data: bytes) -> None:
        """Let the program's socket receive a datagram."""
        if datagram.protocol == IPPROTO_UDP:
            body = _UDP.pack(source[1], datagram.mark_port, _UDP_SIZE + len(data), 0) + data
        else:
            body = _with_checksum(data[:2] + bytes(2) + datagram.mark_port.to_bytes(2, "big") + data[6:])
        self._put(datagram, datagram.protocol, source[0], body)

    def inject_error(self, datagram: Datagram, peer: SocketAddress, error: int) -> None:
        """Let the program's socket hear that its datagram to `peer` came to nothing."""
        code = _CODES.get(error)
        if code is None:
            return
        if datagram.protocol == IPPROTO_UDP:
            sent = _UDP.pack(datagram.mark_port, peer[1], _UDP_SIZE, 0)
        else:
            sent = _ICMP.pack(_ECHO, 0, 0, datagram.mark_port, 0)
        ip = _IP.pack(
            _VERSION_AND_SIZE, 0, _IP_SIZE + len(sent), 0, 0, _TTL, datagram.protocol, 0, datagram.mark, peer[0]
        )
        message = _with_checksum(_ICMP.pack(_UNREACHABLE, code, 0, 0, 0) + ip + sent)
        self._put(datagram, IPPROTO_ICMP, peer[0], message)

    def _put(self, datagram: Datagram, protocol: int, source: bytes, body: bytes) -> None:
        mark = datagram.mark
        head = _IP.pack(_VERSION_AND_SIZE, 0, _IP_SIZE + len(body), 0, 0, _TTL, protocol, 0, source, mark)
        try:
            self._inject.sendto(head + body, (host_socket.inet_ntoa(mark), 0))
        except OSError:
            self.dropped += 1

    def bury(self, mark: bytes) -> None:
        """A UDP socket was closed for good.  Off the schedule."""
        datagram = self.sockets.get(mark)
        if datagram is not None and self.context.let_go(datagram):
            datagram.closed()

    def close(self) -> None:
        """Carry nothing any more."""
        if self._obituaries is not None:
            self.context.host.loop.unregister(self._obituaries)
            self._obituaries.channel.close()
        for capture in self._captures:
            self.context.host.loop.unregister(capture)
            capture.socket.close()
        self._inject.close()


@final
class _Obituaries(Source):
    """Linux tells of UDP sockets that were closed (`network.obituary_socket`), a moment later: so their ports become free
    without anybody looking."""

    def __init__(self, carrier: Carrier, fd: int) -> None:
        super().__init__(fd, False)
        self.channel = host_socket.socket(host_socket.AF_NETLINK, host_socket.SOCK_RAW, abi.NETLINK_SOCK_DIAG, fd)
        self._carrier = carrier

    def on_events(self, events: int, now: Instant) -> None:
        for _ in range(BATCH):
            try:
                message = self.channel.recv(DATAGRAM_LIMIT)
            except OSError:  # nothing more; or more than the buffer held, and then a sweep will tell
                return
            # struct inet_diag_msg: family, state, timer, retransmissions; ports; source address in 16 bytes
            family = message[_DIAG]
            address = message[_DIAG + 8 : _DIAG + 24]
            guarded(partial(self._carrier.bury, address[:4] if family == AF_INET else address[12:]))
