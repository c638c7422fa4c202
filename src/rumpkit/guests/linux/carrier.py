"""UDP: the program's sockets are UDP sockets of its private network namespace, and this carries their datagrams.

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
    """A UDP socket of the program."""

    def __init__(self, carrier: "Carrier", fd: int, family: int, socket: Socket) -> None:
        super().__init__(carrier.context, os.fstat(fd).st_ino, family, socket)
        self.carrier = carrier
        with host_socket.socket(family, SOCK_DGRAM, IPPROTO_UDP, os.dup(fd)) as native:
            name = native.getsockname()
        self.mark = host_socket.inet_aton(name[0].removeprefix("::ffff:"))
        self.mark_port: int = name[1]
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
        with host_socket.socket(self.family, SOCK_DGRAM, IPPROTO_UDP, native) as copy:
            self.context.run(self.socket.connect, address or (b"", 0), self.context.host.now)
            self.peer = self.socket.peer_address() if address else None
            if self.peer is None:
                _disconnect(copy)
            else:
                host = host_socket.inet_ntoa(self.peer[0])
                copy.connect((host if self.family == AF_INET else f"::ffff:{host}", self.peer[1]))

    def port(self) -> int:
        return 0 if self.peer else self.socket.local_address()[1]

    def expire(self, now: Instant) -> Instant:
        return FOREVER

    def closed(self) -> None:
        self.carrier.drain()
        self.carrier.remove(self)
        self.socket.queue.unsubscribe(self)
        super().closed()


def _disconnect(copy: host_socket.socket) -> None:
    import ctypes

    from . import libc

    nobody = AF_UNSPEC.to_bytes(2, "little") + bytes(14)
    if libc.library().connect(copy.fileno(), ctypes.c_char_p(nobody), len(nobody)):
        raise libc.failed("disconnect")


@final
class Carrier(Source):
    """The capture and the inject socket of one guest, and its UDP sockets by mark."""

    def __init__(self, context: "Context", capture: int, inject: int, obituaries: int) -> None:
        super().__init__(capture, True)
        self.context = context
        self.dropped = 0
        """Datagrams that fitted nowhere, or whose socket is gone."""
        self._capture = host_socket.socket(AF_INET, host_socket.SOCK_RAW, IPPROTO_UDP, capture)
        self._inject = host_socket.socket(AF_INET, host_socket.SOCK_RAW, host_socket.IPPROTO_RAW, inject)
        self._sockets: dict[bytes, Datagram] = {}
        context.host.loop.register(self, select.EPOLLIN)
        self._obituaries: _Obituaries | None = None
        if obituaries >= 0:
            self._obituaries = _Obituaries(self, obituaries)
            context.host.loop.register(self._obituaries, select.EPOLLIN)

    def add(self, datagram: Datagram) -> None:
        """Carry for one more socket."""
        self._sockets[datagram.mark] = datagram

    def remove(self, datagram: Datagram) -> None:
        """Carry for it no more."""
        self._sockets.pop(datagram.mark, None)

    def on_events(self, events: int, now: Instant) -> None:
        receive = self._capture.recv
        sockets = self._sockets
        for _ in range(BATCH):
            try:
                packet = receive(DATAGRAM_LIMIT)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error that Linux attributes to the raw socket
            datagram = sockets.get(packet[12:16])
            if datagram is None:
                self.dropped += 1
                continue
            udp = (packet[0] & 15) * 4
            _, port = _PORTS.unpack_from(packet, udp)
            datagram.send(packet[udp + _UDP_SIZE :], (packet[16:20], port), now)

    def drain(self) -> None:
        """Send all that the program has sent up to now.  Off the schedule."""
        self.context.run(self.on_events, 0, self.context.host.now)

    def inject(self, datagram: Datagram, source: SocketAddress, data: bytes) -> None:
        """Let the program's socket receive a datagram."""
        size = _UDP_SIZE + len(data)
        head = _UDP.pack(source[1], datagram.mark_port, size, 0)
        self._put(datagram, IPPROTO_UDP, source[0], head + data)

    def inject_error(self, datagram: Datagram, peer: SocketAddress, error: int) -> None:
        """Let the program's socket hear that its datagram to `peer` came to nothing."""
        code = _CODES.get(error)
        if code is None:
            return
        udp = _UDP.pack(datagram.mark_port, peer[1], _UDP_SIZE, 0)
        ip = _IP.pack(_VERSION_AND_SIZE, 0, _IP_SIZE + _UDP_SIZE, 0, 0, _TTL, IPPROTO_UDP, 0, datagram.mark, peer[0])
        message = _ICMP.pack(_UNREACHABLE, code, 0, 0, 0) + ip + udp
        message = message[:2] + int(internet_checksum(message, 0, len(message))).to_bytes(2, "big") + message[4:]
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
        datagram = self._sockets.get(mark)
        if datagram is not None and datagram.inode in self.context.records:
            self.context.let_go(datagram)

    def close(self) -> None:
        """Carry nothing any more."""
        if self._obituaries is not None:
            self.context.host.loop.unregister(self._obituaries)
            self._obituaries.channel.close()
        self.context.host.loop.unregister(self)
        self._capture.close()
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
