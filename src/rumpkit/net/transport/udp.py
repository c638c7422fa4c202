"""UDP (RFC 768, RFC 1122 section 4.1): between IP below and datagram sockets, or a relay, above.

A datagram goes to the endpoint that is connected to its sender, else to one bound to its destination, else to one
bound to the wildcard, else to the stray handler, else its sender hears "port unreachable".
"""

from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.calls import Hypercalls
from ...hyper.frame import CHECKSUM_UNVERIFIED, Frame
from ...hyper.time import Instant
from ...kern.abi.errno import (
    EACCES,
    EADDRNOTAVAIL,
    EAGAIN,
    EHOSTUNREACH,
    EINVAL,
    EMSGSIZE,
    ENETUNREACH,
    error,
)
from ...kern.counters import Counters
from ...kern.sysctl import Sysctl
from ...kern.wait import WaitQueue
from ..ip.contract import Network, Route, Transport
from ..wire.address import ANY_V4, is_multicast
from ..wire.checksum import pseudo_sum
from ..wire.icmp import PORT_UNREACHABLE
from ..wire.ipv4 import PROTOCOL_UDP
from ..wire.offload import transport_checksum_valid
from ..wire.udp import HEADER_SIZE, MAX_PAYLOAD_SIZE, Datagram, emit_datagram, parse_udp
from .mailbox import Letter, Mailbox
from .ports import PortAllocator, PortBinding, PortSettings


@final
class UdpSettings:
    """Defaults of one kernel's UDP."""

    def __init__(self) -> None:
        self.receive_buffer: int = 212_992
        self.max_receive_buffer: int = 4 << 20
        self.send_buffer: int = 212_992


UDP_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("receive_buffer", 2304, 1 << 30, "bytes of datagrams that wait for a new socket's reader"),
    Sysctl("max_receive_buffer", 2304, 1 << 30, "the most that SO_RCVBUF gives"),
    Sysctl("send_buffer", 4608, 1 << 30, "SO_SNDBUF of a new socket"),
)


@final
class UdpCounters(Counters):
    """What UDP did with datagrams."""

    def __init__(self) -> None:
        self.datagrams_in: int = 0
        self.bad_in: int = 0
        self.bad_checksum: int = 0
        self.no_port: int = 0
        self.buffer_full: int = 0
        self.datagrams_out: int = 0
        self.errors_in: int = 0

    def names(self) -> tuple[str, ...]:
        return _COUNTERS


_COUNTERS: Final = (
    "datagrams_in", "bad_in", "bad_checksum", "no_port", "buffer_full", "datagrams_out", "errors_in",
)  # fmt: skip


@mypyc_attr(allow_interpreted_subclasses=True)
class StrayHandler:
    """Takes unicast datagrams that no endpoint wants, such as those that a gateway relays."""

    def stray(self, source: bytes, sport: int, destination: bytes, dport: int, payload: bytes, now: Instant) -> bool:
        """Take the datagram; False leaves it to "port unreachable"."""
        raise NotImplementedError

    def sent(self, source: bytes, sport: int, destination: bytes, dport: int) -> bool:
        """Whether the handler may have sent such a datagram (see `Transport.sent`)."""
        return False

    def failed(self, source: bytes, sport: int, destination: bytes, dport: int, errno: int, now: Instant) -> None:
        """ICMP says that such a datagram failed."""
        return None


@final
class UdpEndpoint:
    """One end of UDP: what a socket is to the transport.  `Udp` keeps its addresses; its owner sets the rest."""

    def __init__(self, queue: WaitQueue, limit: int) -> None:
        self.mailbox: Mailbox = Mailbox(queue, limit)
        self.local: bytes = ANY_V4
        self.port: int = 0
        """In host order; 0 while unbound."""
        self.remote: bytes = b""
        """b"" while not connected."""
        self.remote_port: int = 0
        self.binding: PortBinding | None = None
        self.broadcast: bool = False
        """SO_BROADCAST."""
        self.report_all: bool = False
        """IP_RECVERR: hear of every ICMP error, not only of hard ones about the connected peer."""
        self.ttl: int = 64
        self.multicast_ttl: int = 1
        self.tos: int = 0
        self.dont_fragment: bool = False
        self.key: bytes = b""
        """Under which `Udp` lists the endpoint."""
        self.chosen_local: bytes = ANY_V4
        """The address it was bound to, for when it is disconnected again."""

    def heed(self, errno: int, connected: bool) -> None:
        """ICMP says that a datagram of ours failed.  Soft errors (RFC 1122 section 4.1.3.3) may pass."""
        soft = errno == EHOSTUNREACH or errno == ENETUNREACH
        if errno == EMSGSIZE:
            if self.dont_fragment:
                self.mailbox.fail(errno)
        elif self.report_all or (connected and not soft):
            self.mailbox.fail(errno)


@final
class Udp(Transport):
    """One kernel's UDP."""

    def __init__(self, hyper: Hypercalls, network: Network, ports: PortSettings | None = None) -> None:
        self.settings: UdpSettings = UdpSettings()
        self.counters: UdpCounters = UdpCounters()
        self.network: Network = network
        self.ports: PortAllocator = PortAllocator(hyper, ports)
        self.stray: StrayHandler | None = None
        self._connected: dict[bytes, UdpEndpoint] = {}
        """By remote and local address and port, as a received header has them."""
        self._bound: dict[bytes, list[UdpEndpoint]] = {}
        """By local address and port; the youngest last."""
        network.register(PROTOCOL_UDP, self)

    # In ------------------------------------------------------------------------------------------------

    def input(self, frame: Frame, network: int, transport: int, end: int, now: Instant) -> None:
        counters = self.counters
        counters.datagrams_in += 1
        datagram = parse_udp(frame, transport, end)
        if datagram is None:
            counters.bad_in += 1
            return
        head = frame.head
        source = head[network + 12 : network + 16]
        destination = head[network + 16 : network + 20]
        if frame.checksum == CHECKSUM_UNVERIFIED and datagram.checksum != 0:
            size = datagram.size + HEADER_SIZE
            pseudo = pseudo_sum(source, destination, PROTOCOL_UDP, size)
            if not transport_checksum_valid(frame, transport, transport + size, pseudo):
                counters.bad_checksum += 1
                return
        if not self.network.is_local(destination):
            self._deliver_to_all(datagram, source, destination, head[network + 8], now)
            return
        sport = _port(datagram.sport)
        dport = _port(datagram.dport)
        endpoint = self._find(source, sport, destination, dport)
        if endpoint is not None:
            self._deliver(endpoint, datagram, source, destination, head[network + 8], now)
            return
        stray = self.stray
        if stray is not None and stray.stray(
            source, int(datagram.sport), destination, int(datagram.dport), datagram.payload(), now
        ):
            return
        counters.no_port += 1
        self.network.unreachable(frame, network, PORT_UNREACHABLE, now)

    def flush(self, now: Instant) -> None:
        return None

    def _find(self, remote: bytes, rport: bytes, local: bytes, lport: bytes) -> UdpEndpoint | None:
        """Whose datagram it is: connected first, then bound to the address, then to the wildcard."""
        endpoint = self._connected.get(remote + local + rport + lport)
        if endpoint is not None:
            return endpoint
        endpoints = self._bound.get(local + lport)
        if endpoints is None:
            endpoints = self._bound.get(ANY_V4 + lport)
            if endpoints is None:
                return None
        last = endpoints[-1]
        if len(endpoints) == 1 or last.binding is None or not last.binding.reuse_port:
            return last
        # SO_REUSEPORT shares the load: a sender always meets the same endpoint.
        return endpoints[_spread(remote + rport) % len(endpoints)]

    def _deliver(
        self, endpoint: UdpEndpoint, datagram: Datagram, source: bytes, destination: bytes, ttl: int, now: Instant
    ) -> None:
        """Put a datagram, or each of a batch, into the endpoint's mailbox."""
        sport = int(datagram.sport)
        payload = datagram.payload()
        step = int(datagram.gso_size)
        if step <= 0 or step >= len(payload):
            if not endpoint.mailbox.put(Letter(payload, source, sport, destination, ttl), now):
                self.counters.buffer_full += 1
            return
        for at in range(0, len(payload), step):
            letter = Letter(payload[at : at + step], source, sport, destination, ttl)
            if not endpoint.mailbox.put(letter, now):
                self.counters.buffer_full += 1

    def _deliver_to_all(self, datagram: Datagram, source: bytes, destination: bytes, ttl: int, now: Instant) -> None:
        """A broadcast or multicast datagram is for every endpoint that it fits (RFC 1122 section 4.1.3.5)."""
        lport = _port(datagram.dport)
        found = [*self._bound.get(ANY_V4 + lport, ()), *self._bound.get(destination + lport, ())]
        if not found:
            self.counters.no_port += 1
        for endpoint in found:
            self._deliver(endpoint, datagram, source, destination, ttl, now)

    # Errors --------------------------------------------------------------------------------------------

    def sent(self, source: bytes, destination: bytes, quoted: bytes) -> bool:
        if self._find(destination, quoted[2:4], source, quoted[0:2]) is not None:
            return True
        stray = self.stray
        return stray is not None and stray.sent(source, _number(quoted, 0), destination, _number(quoted, 2))

    def error(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        self.counters.errors_in += 1
        endpoint = self._find(destination, quoted[2:4], source, quoted[0:2])
        if endpoint is not None:
            endpoint.heed(errno, endpoint.remote == destination and len(endpoint.remote) > 0)
            return
        stray = self.stray
        if stray is not None and len(quoted) >= 4:
            stray.failed(source, _number(quoted, 0), destination, _number(quoted, 2), errno, now)

    # Out -----------------------------------------------------------------------------------------------

    def send(self, endpoint: UdpEndpoint, data: bytes, address: bytes, port: int, now: Instant) -> None:
        """Send one datagram, which is kept by reference, binding the endpoint first if it isn't.

        Raises EMSGSIZE, EINVAL (port 0), EACCES (broadcast without SO_BROADCAST), EAGAIN (no port is free), and as
        `Network.route`.
        """
        if port == 0:
            raise error(EINVAL)
        if endpoint.port == 0:
            self.bind(endpoint, ANY_V4, 0)
        local = endpoint.local
        ttl = endpoint.multicast_ttl if is_multicast(address) else endpoint.ttl
        source = None if local == ANY_V4 or not self.network.is_local(local) else local
        self._emit(
            source,
            endpoint.port,
            address,
            port,
            data,
            now,
            ttl,
            endpoint.tos,
            endpoint.dont_fragment,
            endpoint.broadcast,
        )

    def send_as(
        self, source: bytes, sport: int, destination: bytes, dport: int, data: bytes, now: Instant, ttl: int = 64
    ) -> None:
        """Send a datagram without an endpoint, as a relay does.  Raises as `send`; EADDRNOTAVAIL where `source` is
        not local."""
        self._emit(source, sport, destination, dport, data, now, ttl, 0, False, False)

    def send_over(
        self, route: Route, sport: int, destination: bytes, dport: int, data: bytes, now: Instant, ttl: int = 64
    ) -> None:
        """Send a datagram by a route of the caller's own making, from its source, such as before there are addresses."""
        source = route.source
        frame = emit_datagram(sport, dport, pseudo_sum(source, destination, PROTOCOL_UDP, 0), data, 0, len(data))
        self.network.output(frame, route, source, destination, PROTOCOL_UDP, now, ttl, dont_fragment=False)
        self.counters.datagrams_out += 1

    def _emit(
        self,
        source: bytes | None,
        sport: int,
        destination: bytes,
        dport: int,
        data: bytes,
        now: Instant,
        ttl: int,
        tos: int,
        dont_fragment: bool,
        broadcast: bool,
    ) -> None:
        if len(data) > MAX_PAYLOAD_SIZE:
            raise error(EMSGSIZE)
        network = self.network
        route = network.route(destination, source)
        if route.broadcast and not broadcast:
            raise error(EACCES)
        if source is None:
            source = route.source
        addresses = pseudo_sum(source, destination, PROTOCOL_UDP, 0)
        frame = emit_datagram(sport, dport, addresses, data, 0, len(data))
        network.output(frame, route, source, destination, PROTOCOL_UDP, now, ttl, tos, dont_fragment)
        self.counters.datagrams_out += 1

    # Endpoints -----------------------------------------------------------------------------------------

    def endpoints(self) -> list[UdpEndpoint]:
        """All that have a port."""
        return [*self._connected.values(), *(one for group in self._bound.values() for one in group)]

    def open(self, queue: WaitQueue) -> UdpEndpoint:
        """A new endpoint, unbound; `queue` is woken when something comes."""
        return UdpEndpoint(queue, self.settings.receive_buffer)

    def bind(
        self,
        endpoint: UdpEndpoint,
        address: bytes,
        port: int,
        reuse_address: bool = False,
        reuse_port: bool = False,
        uid: int = 0,
    ) -> None:
        """Name the local end; port 0 chooses one.  The address may be a broadcast or multicast address (it then
        only receives).  Raises EINVAL (bound already), EADDRNOTAVAIL, EADDRINUSE, EAGAIN (no ephemeral port)."""
        if endpoint.port:
            raise error(EINVAL)
        if address != ANY_V4 and not self._bindable(address):
            raise error(EADDRNOTAVAIL)
        try:
            binding = self.ports.bind(address, port, reuse_address, reuse_port, uid)
        except OSError:
            if port == 0:
                raise error(EAGAIN) from None
            raise
        endpoint.binding = binding
        endpoint.local = address
        endpoint.chosen_local = address
        endpoint.port = binding.port
        self._list(endpoint)

    def connect(self, endpoint: UdpEndpoint, address: bytes, port: int) -> None:
        """Send to and receive from one peer only.  Raises as `send`, but for EMSGSIZE."""
        route = self.network.route(address, None if endpoint.chosen_local == ANY_V4 else endpoint.chosen_local)
        if route.broadcast and not endpoint.broadcast:
            raise error(EACCES)
        if endpoint.port == 0:
            self.bind(endpoint, ANY_V4, 0)
        self._unlist(endpoint)
        endpoint.remote = address
        endpoint.remote_port = port
        if endpoint.chosen_local == ANY_V4:
            endpoint.local = route.source
        self._list(endpoint)

    def disconnect(self, endpoint: UdpEndpoint) -> None:
        """Undo `connect`; the port stays bound."""
        self._unlist(endpoint)
        endpoint.remote = b""
        endpoint.remote_port = 0
        endpoint.local = endpoint.chosen_local
        if endpoint.port:
            self._list(endpoint)

    def close(self, endpoint: UdpEndpoint) -> None:
        """Forget the endpoint and what waits for it."""
        self._unlist(endpoint)
        if endpoint.binding is not None:
            self.ports.release(endpoint.binding)
            endpoint.binding = None
        endpoint.port = 0
        endpoint.mailbox.clear()

    def _bindable(self, address: bytes) -> bool:
        if self.network.is_local(address) or is_multicast(address):
            return True
        try:
            return self.network.route(address).broadcast
        except OSError:
            return False

    def _list(self, endpoint: UdpEndpoint) -> None:
        local = endpoint.local + _port(endpoint.port)
        if endpoint.remote:
            endpoint.key = endpoint.remote + endpoint.local + _port(endpoint.remote_port) + local[4:]
            self._connected[endpoint.key] = endpoint
        else:
            endpoint.key = local
            self._bound.setdefault(local, []).append(endpoint)

    def _unlist(self, endpoint: UdpEndpoint) -> None:
        key = endpoint.key
        endpoint.key = b""
        if endpoint.remote:
            if self._connected.get(key) is endpoint:
                del self._connected[key]
        elif key:
            endpoints = self._bound[key]
            endpoints.remove(endpoint)
            if not endpoints:
                del self._bound[key]


def _port(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _number(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _spread(peer: bytes) -> int:
    """A number that depends on every bit of a peer's address and port (and on nothing else: simulations repeat)."""
    number = int.from_bytes(peer, "big") * 0x9E3779B97F4A7C15
    return (number >> 32) & 0xFFFFFFFF
