"""UDP, ping and raw ICMP: such sockets of the program are native ones of its private network namespace; this carries their datagrams.

Above `network`, which explains how the namespace is made for that, and `record`; below `context`, beside `stream`.  What the
program sends, however it does, is read from a capture socket with the mark of its socket as source (or its port), and sent on the
kernel's socket.  What the kernel's socket receives, and the errors that ICMP brings, are injected as packets to the mark.  Both
happen on the schedule and never block; what does not fit is dropped, as networks do.
"""

import os
import select
import socket as host_socket
from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, Final, cast, final

from ...hosts.posix.loop import Source
from ...hosts.task import Task
from ...hyper.time import FOREVER, Instant
from ...kern.abi.socket import (
    AF_INET,
    AF_INET6,
    IP_PKTINFO,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_TCLASS,
    MSG_ERRQUEUE,
    SOCK_DGRAM,
    UDP_SEGMENT,
)
from ...kern.socket import ControlMessage, Received, Socket, SocketAddress
from ...kern.wait import Blocked
from ...net.socket.names import shown, split_zone, unmapped
from ...net.transport.mailbox import MAX_COMPLAINTS, ORIGIN_LOCAL
from ...net.wire.address import is_link_local, is_multicast
from . import abi, packets
from .native import address_of, disconnect, offender, peer_of
from .network import CARRIED, HEAD, LARGEST, MARKS, NUMBERED, UNMARKED, UNMARKED6
from .record import Record, guarded
from .sockaddr import NATIVE_ZONE
from .spawn import Program

if TYPE_CHECKING:
    from ...net.ip6.service import Ip6
    from .context import Context

DATAGRAM_LIMIT: Final = 1 << 16
BATCH: Final = 64
MULTICAST6: Final = 0xFF
"""The first byte of a group's address (RFC 4291)."""
DRAINED_BATCHES: Final = 256
"""What is taken of a closed socket's last datagrams, at most: others may go on sending."""
"""Datagrams that are carried in one go before others get their turn."""

_PORTS: Final = Struct("!HH")
_IN6_PKTINFO: Final = Struct("@16si")
_NO_SEGMENTS: Final[tuple[ControlMessage, ...]] = ()
_GSO_UDP_L4: Final = 5
"""VIRTIO_NET_HDR_GSO_UDP_L4, the type of a datagram that is to be cut."""
_SO_MARK: Final = 36
_NO_PORT: Final = 9
"""That of discard (RFC 863): nothing is sent there."""
_DIAG: Final = abi.NLMSG_HEADER.size
_COOKIE: Final = _DIAG + 44
"""Where struct inet_diag_msg has a socket's cookie."""
_SO_COOKIE: Final = 57
_ANY: Final = bytes(4)
_EXTENDED: Final = Struct("<IBBBBI")
_EXTENDED_SIZE: Final = 16
"""Of struct sock_extended_err: errno, origin, type and code; and how long it is."""


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
            self.cookie = native.getsockopt(host_socket.SOL_SOCKET, _SO_COOKIE, 8)
            """By which Linux tells sockets apart for good."""
            mark = native.getsockopt(host_socket.SOL_SOCKET, _SO_MARK)
        self.port_number: int = name[1]
        """Its port; a ping socket's identifier."""
        address = address_of(name[0])
        self.by_port = not any(address)
        self.number = mark ^ NUMBERED if mark >> 16 == NUMBERED >> 16 else 0
        """Of a raw socket of IPv6, by which it is known; 0 of all others."""
        self.name = bytes((protocol,)) + _PORTS.pack(0, name[1])[2:]
        if self.number:
            self.name += _PORTS.pack(0, self.number)
        self.mark = self.name if self.by_port else address
        """What its packets are known by: their source; or their port or identifier, where the program may name another source."""
        self.here = UNMARKED if self.by_port else address
        self.here6 = UNMARKED6
        """Where the namespace has it."""
        self.local = b""
        """The address that its packets have on this side while it is connected, where that isn't `here` or `here6`."""
        self.peer: SocketAddress | None = None
        self.zone = 0
        """The interface that its last datagram with a link-local source came by."""
        self.raw = False
        """A raw socket: it gives whole messages of ICMP, and gets whole packets over IPv4."""
        self.included = False
        """Whether the program sends whole packets (IPV6_HDRINCL)."""
        self.filtered = False
        """Whether the program has a filter of its own on it (SO_ATTACH_FILTER)."""
        self.capture: _Capture | None = None
        """Of a raw socket of IPv6: what it sends."""
        self.in_full = False
        """Whether the program wants errors in full, connected or not (IP_RECVERR)."""
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
        if self.in_full:
            self.carrier.inject_complaints(self, now)
        elif problem and self.peer:
            self.carrier.inject_error(self, self.peer, problem)
        for _ in range(BATCH):
            received = socket.receive(DATAGRAM_LIMIT, 0, now)
            if isinstance(received, Blocked):
                received.cancel()
                return
            self.carrier.inject(self, received)
        self.notify()

    # From the program to the kernel -----------------------------------------------------------------------------

    def send(
        self, data: bytes, address: bytes, port: int, control: tuple[ControlMessage, ...], now: Instant, zone: int = 0
    ) -> None:
        """Send what the program has sent, by the interface `zone` where it has named one.  On the schedule."""
        if self.socket.family == AF_INET6:
            zone = (zone or self.zone) if is_link_local(address) else 0
            address = shown(address, AF_INET6, zone)
        destination = (address, port)
        to = None if destination == self.peer else destination
        try:
            if control:
                taken = self.socket.send_with(data, control, 0, to, now)
            else:
                taken = self.socket.send(data, 0, 0, to, now)
        except OSError as problem:
            self.carrier.inject_error(self, destination, problem.errno or 0)
            return
        if isinstance(taken, Blocked):
            taken.cancel()
        else:
            self.carrier.bytes_out += taken

    def connect(self, native: int, address: SocketAddress | None) -> None:
        """Set the peer, or none, in the kernel and for the native socket, of which `native` is a copy that this closes.
        Raises ENETUNREACH and what else the kernel says."""
        with host_socket.socket(self.family, SOCK_DGRAM, self.protocol, native) as copy:
            self.context.run(self.socket.connect, address or (b"", 0), self.context.host.now)
            fresh = self.peer is None
            self.peer = self._peer(address) if address else None
            self.local = b""
            self.here6 = UNMARKED6
            if self.peer is None:
                disconnect(copy)
                return
            plain, zone = split_zone(self.peer[0])
            self.zone = zone or self.zone
            if self.by_port and (fresh or not self.number):
                self._take_address(copy, fresh)
            copy.connect(peer_of(unmapped(plain), self.peer[1], self.family, self.carrier.native(zone)))
            if self.by_port:
                self.local = address_of(copy.getsockname()[0])

    def _take_address(self, copy: host_socket.socket, fresh: bool) -> None:
        """Let the native socket have the kernel's address, of which what is sent to it shall tell (IP_PKTINFO).  It gets that by being
        connected to it: the namespace has the kernel's addresses, for packets without our mark.  Another peer leaves it there."""
        name = self.context.run(self.socket.local_address)[0]
        plain, zone = split_zone(name)
        address = unmapped(plain)
        if not any(address) or is_multicast(address):
            return
        try:
            if not fresh:
                disconnect(copy)  # or it would keep the one that it has
            copy.setsockopt(host_socket.SOL_SOCKET, _SO_MARK, 0)
            try:
                copy.connect(peer_of(address, _NO_PORT, self.family, self.carrier.native(zone)))
            finally:
                copy.setsockopt(host_socket.SOL_SOCKET, _SO_MARK, self._firewall_mark())
        except OSError:
            pass  # there is no such address: nothing can be shown there

    def _firewall_mark(self) -> int:
        return NUMBERED | self.number if self.number else CARRIED

    def _peer(self, address: SocketAddress) -> SocketAddress:
        """The peer as the kernel has it, which knows what the wildcard stands for; a ping socket's has no port."""
        found = self.context.run(self.socket.peer_address)
        return (found[0], address[1]) if self.protocol != IPPROTO_UDP else found

    def port(self) -> int:
        return 0 if self.peer or self.protocol != IPPROTO_UDP else self.socket.local_address()[1]

    def expire(self, now: Instant) -> Instant:
        return FOREVER

    def closed(self) -> None:
        self.carrier.drain()
        self.carrier.remove(self)
        if self.capture is not None:
            self.carrier.end_capture(self.capture)
        self.socket.queue.unsubscribe(self)
        super().closed()


class _Capture(Source):
    """What the program sends over one version of IP."""

    def __init__(self, carrier: "Carrier", fd: int) -> None:
        super().__init__(fd, True)
        self.socket = host_socket.socket(host_socket.AF_PACKET, host_socket.SOCK_RAW, 0, fd)
        self._carrier = carrier

    def on_events(self, events: int, now: Instant) -> None:
        self.batch(now)

    def batch(self, now: Instant) -> bool:
        """Take up to BATCH packets; whether there may be more."""
        receive = self.socket.recv
        for _ in range(BATCH):
            try:
                packet = receive(HEAD + LARGEST)
            except BlockingIOError:
                return False
            except OSError:
                continue
            cut = _NO_SEGMENTS
            if packet[1] == _GSO_UDP_L4:
                cut = ((IPPROTO_UDP, UDP_SEGMENT, packet[4:6]),)
            if not self.take(packet[HEAD:], cut, now):
                self._carrier.dropped += 1
        return True

    def take(self, packet: bytes, control: tuple[ControlMessage, ...], now: Instant) -> bool:
        """Send it on its way, with these control messages and what else it asks for; False if it can't be told whose it is."""
        raise NotImplementedError


@final
class _Capture4(_Capture):
    def take(self, packet: bytes, control: tuple[ControlMessage, ...], now: Instant) -> bool:
        sockets = self._carrier.sockets
        body = (packet[0] & 15) * 4
        protocol = packet[9]
        datagram = sockets.get(packet[12:16])
        if datagram is None:
            at = body if protocol == IPPROTO_UDP else body + 4  # of an echo request, the identifier
            datagram = sockets.get(bytes((protocol,)) + packet[at : at + 2])
        if datagram is None or datagram.protocol != protocol or (packet[6] & 0x3F) | packet[7]:
            return False
        source, address = packet[12:16], packet[16:20]
        usual = 1 if is_multicast(address) else packets.DEFAULT_TTL
        if packet[8] != usual:
            control += ((IPPROTO_IP, IP_TTL, packet[8:9] + bytes(3)),)
        if packet[1]:
            control += ((IPPROTO_IP, IP_TOS, packet[1:2]),)
        named = source[:1] != MARKS and source != datagram.local  # by the program
        if named and datagram.family == AF_INET:
            control += ((IPPROTO_IP, IP_PKTINFO, bytes(4) + source + bytes(4)),)
        if address[:1] == MARKS:
            address = _ANY  # 0.0.0.0, for which Linux takes the sender's own address
        if protocol == IPPROTO_UDP:
            port = _PORTS.unpack_from(packet, body)[1]
            datagram.send(packet[body + packets.UDP_SIZE :], address, port, control, now)
        else:
            datagram.send(packet[body:], address, 0, control, now)
        return True


_HEADER6: Final = 40


class _Capture6(_Capture):
    def take(self, packet: bytes, control: tuple[ControlMessage, ...], now: Instant) -> bool:
        protocol = packet[6]
        at = _HEADER6 if protocol == IPPROTO_UDP else _HEADER6 + 4  # of an echo request, the identifier
        datagram = self._carrier.sockets.get(bytes((protocol,)) + packet[at : at + 2])
        if datagram is None:
            return False
        self.carry(datagram, packet, control, now)
        return True

    def carry(self, datagram: Datagram, packet: bytes, control: tuple[ControlMessage, ...], now: Instant) -> None:
        """Send it as a socket's."""
        protocol = packet[6]
        source, address = packet[8:24], packet[24:40]
        if packet[7] != (1 if is_multicast(address) else packets.DEFAULT_TTL):
            control += ((IPPROTO_IPV6, IPV6_HOPLIMIT, packet[7:8] + bytes(3)),)
        tclass = (packet[0] & 15) << 4 | packet[1] >> 4
        if tclass:
            control += ((IPPROTO_IPV6, IPV6_TCLASS, tclass.to_bytes(4, "little")),)
        zone = 0
        # The first has a socket that has chosen neither a source nor an interface.
        if source not in (UNMARKED6, datagram.local):
            zone = self._carrier.zone_of(source) if is_link_local(source) else 0
            control += ((IPPROTO_IPV6, IPV6_PKTINFO, source + zone.to_bytes(4, "little")),)
        if protocol == IPPROTO_UDP:
            port = _PORTS.unpack_from(packet, _HEADER6)[1]
            datagram.send(packet[_HEADER6 + packets.UDP_SIZE :], address, port, control, now, zone)
        else:
            datagram.send(packet[_HEADER6:], address, 0, control, now, zone)


@final
class RawCapture(_Capture6):
    """What one raw socket of the program sends over IPv6."""

    def __init__(self, carrier: "Carrier", fd: int, datagram: Datagram) -> None:
        super().__init__(carrier, fd)
        self._datagram = datagram

    def take(self, packet: bytes, control: tuple[ControlMessage, ...], now: Instant) -> bool:
        datagram = self._datagram
        if datagram.included:
            datagram.send(packet, packet[24:40], 0, control, now, self._carrier.zone_of(packet[8:24]))
        elif packet[6] == datagram.protocol:
            self.carry(datagram, packet, control, now)
        else:
            return False  # extension headers of the program's
        return True


class _Wishes:
    """What a datagram's control messages say of the packet that brought it: all of it goes into the one that is injected."""

    def __init__(self, control: tuple[ControlMessage, ...]) -> None:
        self.ttl = packets.DEFAULT_TTL
        self.tos = 0
        self.destination = b""
        for level, kind, data in control:
            if (level, kind) in ((IPPROTO_IP, IP_TTL), (IPPROTO_IPV6, IPV6_HOPLIMIT)):
                self.ttl = data[0]
            elif (level, kind) in ((IPPROTO_IP, IP_TOS), (IPPROTO_IPV6, IPV6_TCLASS)):
                self.tos = data[0]
            elif (level, kind) == (IPPROTO_IP, IP_PKTINFO):
                self.destination = data[8:12]
            elif (level, kind) == (IPPROTO_IPV6, IPV6_PKTINFO) and any(data[:16]):
                self.destination = unmapped(data[:16])


_USUAL: Final = _Wishes(())


@final
class Carrier:
    """What carries for one guest: a capture and an inject socket for each version of IP, and the program's sockets by mark."""

    def __init__(self, context: "Context", program: Program) -> None:
        self.context = context
        self.sockets: dict[bytes, Datagram] = {}
        """By mark: the address of IPv4 that is theirs alone, or their protocol and port."""
        self.cookies: dict[bytes, Datagram] = {}
        self.native: Callable[[int], int] = lambda index: NATIVE_ZONE
        """By which number the namespace has an interface."""
        self.dropped = 0
        """Datagrams that fitted nowhere, or whose socket is gone."""
        self._told: tuple[Instant, bytes] = 0, b""
        """The last error, and when that was."""
        self.bytes_in = 0
        """What datagrams brought the program, without the headers that it doesn't see."""
        self.bytes_out = 0
        """What it has sent by them."""
        raw, protocol = host_socket.SOCK_RAW, host_socket.IPPROTO_RAW
        self._inject = host_socket.socket(AF_INET, raw, protocol, program.take("inject"))
        self._captures: list[_Capture] = [_Capture4(self, program.take("capture"))]
        self._inject6: host_socket.socket | None = None
        if program.inject6 >= 0:
            self._inject6 = host_socket.socket(AF_INET6, raw, protocol, program.take("inject6"))
            self._captures.append(_Capture6(self, program.take("capture6")))
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
        if datagram.name != datagram.mark:
            self.sockets[datagram.name] = datagram
        self.cookies[datagram.cookie] = datagram

    def remove(self, datagram: Datagram) -> None:
        """Carry for it no more; its mark may be another's by now."""
        for key in (datagram.mark, datagram.name):
            if self.sockets.get(key) is datagram:
                del self.sockets[key]
        self.cookies.pop(datagram.cookie, None)

    def begin_capture(self, datagram: Datagram, fd: int) -> None:
        """Carry what a raw socket of IPv6 sends, which this capture socket gets.  Takes `fd` over, unless it raises OSError."""
        capture = RawCapture(self, fd, datagram)
        try:
            self.context.host.loop.register(capture, select.EPOLLIN)
        except OSError:
            capture.socket.detach()
            self.remove(datagram)
            raise
        datagram.capture = capture
        self._captures.append(capture)

    def end_capture(self, capture: _Capture) -> None:
        """Undo it."""
        if capture in self._captures:
            self._captures.remove(capture)
            self.context.host.loop.unregister(capture)
            self.context.program.discard([capture.socket.detach()])

    def drain(self) -> None:
        """Send all that the program has sent up to now, as far as its buffer can hold.  Off the schedule."""
        for capture in self._captures:
            for _ in range(DRAINED_BATCHES):
                if not self.context.run(capture.batch, self.context.host.now):
                    break

    def inject(self, datagram: Datagram, received: Received) -> None:
        """Let the program's socket receive a datagram."""
        if received.source is None:
            return
        plain, zone = split_zone(received.source[0])
        source = unmapped(plain)
        if zone:
            datagram.zone = zone
        mark = datagram.here if len(source) == 4 else datagram.here6
        wishes = _Wishes(received.control) if received.control else _USUAL
        destination = mark
        if datagram.by_port and datagram.peer is None and len(wishes.destination) == len(source):
            # lo is in no group of IPv6's: sent to one, the packet would not arrive.
            destination = mark if wishes.destination[0] == MULTICAST6 else wishes.destination
        elif len(datagram.local) == len(source):
            destination = datagram.local
        if datagram.protocol == IPPROTO_UDP:
            body = packets.datagram(received.source[1], datagram.port_number, received.data)
        elif datagram.number:
            body = packets.message_for(received.data, source, destination)
        elif datagram.raw:
            head = received.data
            wishes = _Wishes(((IPPROTO_IP, IP_TTL, head[8:9]), (IPPROTO_IP, IP_TOS, head[1:2])))
            body = head[(head[0] & 15) * 4 :]
        else:
            body = packets.echo_for(datagram.port_number, received.data, source, destination)
        packet = packets.packet(datagram.protocol, source, destination, body, wishes.ttl, wishes.tos, datagram.number)
        self.bytes_in += len(received.data)
        self._put(mark, packet, zone)

    def inject_error(self, datagram: Datagram, peer: SocketAddress, error: int) -> None:
        """Let the program's socket hear that its datagram to `peer` came to nothing."""
        plain, zone = split_zone(peer[0])
        address = unmapped(plain)
        mark = datagram.here if len(address) == 4 else datagram.here6
        local = datagram.local if len(datagram.local) == len(mark) else mark
        packet = packets.failure(error, datagram.protocol, mark, local, datagram.port_number, address, peer[1])
        if packet:
            self._put(mark, packet, zone)

    def inject_complaints(self, datagram: Datagram, now: Instant) -> None:
        """Let the program's socket hear of all errors, as they came."""
        for _ in range(MAX_COMPLAINTS):
            try:
                received = datagram.socket.receive(DATAGRAM_LIMIT, MSG_ERRQUEUE, 0)
            except OSError:
                return
            if isinstance(received, Blocked) or received.source is None:
                return
            error, origin, kind, code, _, info = _EXTENDED.unpack_from(received.control[0][2])
            plain, zone = split_zone(received.source[0])
            peer, port = unmapped(plain), received.source[1]
            mark = datagram.here if len(peer) == 4 else datagram.here6
            if origin != ORIGIN_LOCAL:
                reporter = offender(received.control[0][2][_EXTENDED_SIZE:], peer)
                local = datagram.local if len(datagram.local) == len(mark) else mark
                number = 0 if datagram.raw else datagram.port_number
                sent = (datagram.protocol, mark, local, number, peer, port, received.data)
                what = (kind, code, info if len(mark) == 16 else 0)  # or Linux would begin to cut
                packet = packets.report(what, reporter, *sent)
                # The kernel tells all raw sockets, and so does Linux when it is told once.
                if not datagram.number or self._told != (now, packet):
                    self._told = now, packet
                    self._put(mark, packet, zone)
            else:
                self.inject_error(datagram, received.source, error)

    def zone_of(self, source: bytes) -> int:
        """The index of the interface that has an address of IPv6; 0 where none has.  On the schedule."""
        service = self.context.kernel.service("Ip6")
        links = cast("Ip6", service).network.links if service is not None else {}
        return next((index for index, link in links.items() if link.owns(source)), 0)

    def _put(self, mark: bytes, packet: bytes, zone: int = 0) -> None:
        try:
            if len(mark) == 4:
                self._inject.sendto(packet, (host_socket.inet_ntoa(mark), 0))
            elif self._inject6 is not None:
                by = [(IPPROTO_IPV6, IPV6_PKTINFO, _IN6_PKTINFO.pack(bytes(16), self.native(zone)))] if zone else []
                self._inject6.sendmsg([packet], by, 0, (_WAY6, 0))
        except OSError:
            self.dropped += 1

    def bury(self, cookie: bytes) -> None:
        """A UDP socket was closed for good.  Off the schedule."""
        datagram = self.cookies.get(cookie)
        if datagram is not None and self.context.let_go(datagram):
            datagram.closed()

    def close(self) -> None:
        """Carry nothing any more."""
        if self._obituaries is not None:
            self.context.host.loop.unregister(self._obituaries)
            self._obituaries.channel.close()
        for capture in self._captures:
            self.context.host.loop.unregister(capture)
        # Linux waits for all processors before a packet socket goes.
        self.context.program.discard([capture.socket.detach() for capture in self._captures])
        self._inject.close()
        if self._inject6 is not None:
            self._inject6.close()


_WAY6: Final = host_socket.inet_ntop(AF_INET6, UNMARKED6)


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
            guarded(partial(self._carrier.bury, message[_COOKIE : _COOKIE + 8]))
