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
    EAFNOSUPPORT,
    EAGAIN,
    EINVAL,
    EMSGSIZE,
    ENETUNREACH,
    error,
)
from ...kern.abi.socket import IP_PMTUDISC_DO, IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE, IP_PMTUDISC_WANT
from ...kern.wait import WaitQueue
from ..ip.contract import Network, Route, Transport
from ..link.interfaces import Interfaces
from ..wire.address import ANY_V4, ANY_V6, is_link_local, is_loopback, is_multicast
from ..wire.checksum import pseudo_sum
from ..wire.icmp import PORT_UNREACHABLE
from ..wire.ipv4 import PROTOCOL_UDP
from ..wire.offload import transport_checksum_valid
from ..wire.udp import HEADER_SIZE, MAX_PAYLOAD_SIZE, Datagram, emit_datagram, parse_udp
from .mailbox import ORIGIN_LOCAL, Complaint, Letter
from .ports import PortAllocator, PortSettings
from .udp_endpoint import UdpEndpoint, complaint_of
from .udp_settings import UdpCounters, UdpSettings

IP4_AND_UDP: Final = 28
IP6_AND_UDP: Final = 48


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
class Udp(Transport):
    """One kernel's UDP."""

    def __init__(self, hyper: Hypercalls, network: Network, ports: PortSettings | None = None) -> None:
        self.hyper: Hypercalls = hyper
        self.settings: UdpSettings = UdpSettings()
        self.counters: UdpCounters = UdpCounters()
        self.network: Network = network
        """IPv4."""
        self.network6: Network | None = None
        self.devices: Interfaces | None = None
        """For SO_BINDTODEVICE."""
        self.ports: PortAllocator = PortAllocator(hyper, ports)
        self.stray: StrayHandler | None = None
        self._connected: dict[bytes, UdpEndpoint] = {}
        """By remote and local address and port, as a received header has them."""
        self._bound: dict[bytes, list[UdpEndpoint]] = {}
        """By local address and port; the youngest last."""
        network.register(PROTOCOL_UDP, self)

    def layer(self, address: bytes) -> Network:
        """The network of an address.  Raises EAFNOSUPPORT."""
        if len(address) == 4:
            return self.network
        if self.network6 is None:
            raise error(EAFNOSUPPORT)
        return self.network6

    # In ------------------------------------------------------------------------------------------------

    def input(self, frame: Frame, network: int, transport: int, end: int, now: Instant) -> None:
        head = frame.head
        source = head[network + 12 : network + 16]
        destination = head[network + 16 : network + 20]
        self.take(self.network, frame, network, transport, end, source, destination, head[network + 8], now)

    def take(
        self,
        layer: Network,
        frame: Frame,
        network: int,
        transport: int,
        end: int,
        source: bytes,
        destination: bytes,
        ttl: int,
        now: Instant,
    ) -> None:
        """Take a datagram that came over `layer`; see `Transport.input`."""
        counters = self.counters
        counters.datagrams_in += 1
        datagram = parse_udp(frame, transport, end)
        if datagram is None:
            counters.bad_in += 1
            return
        if frame.checksum == CHECKSUM_UNVERIFIED and (datagram.checksum != 0 or len(source) != 4):
            size = datagram.size + HEADER_SIZE
            pseudo = pseudo_sum(source, destination, PROTOCOL_UDP, size)
            if datagram.checksum == 0 or not transport_checksum_valid(frame, transport, transport + size, pseudo):
                # Over IPv6 there is always one (RFC 8200 section 8.1).
                counters.bad_checksum += 1
                return
        tos = frame.head[network + 1]
        if len(source) != 4:
            tos = (frame.head[network] & 0xF) << 4 | tos >> 4
        if not layer.is_local(destination):
            self._deliver_to_all(layer, datagram, source, destination, ttl, tos, now)
            return
        sport = _port(datagram.sport)
        dport = _port(datagram.dport)
        endpoint = self._find(source, sport, destination, dport)
        if endpoint is not None and (endpoint.zone == 0 or _came_by(layer, endpoint.zone)):
            self._deliver(layer, endpoint, datagram, source, destination, ttl, tos, now)
            return
        stray = self.stray
        if (
            stray is not None
            and layer is self.network
            and stray.stray(source, int(datagram.sport), destination, int(datagram.dport), datagram.payload(), now)
        ):
            return
        counters.no_port += 1
        layer.unreachable(frame, network, PORT_UNREACHABLE, now)

    def flush(self, now: Instant) -> None:
        return None

    def _find(self, remote: bytes, rport: bytes, local: bytes, lport: bytes) -> UdpEndpoint | None:
        """Whose datagram it is: connected first, then bound to the address, then to the wildcard."""
        endpoint = self._connected.get(remote + local + rport + lport)
        if endpoint is not None:
            return endpoint
        endpoints = self._bound.get(local + lport)
        if endpoints is None:
            endpoints = self._bound.get((ANY_V4 if len(local) == 4 else ANY_V6) + lport)
            if endpoints is None:
                return None
        last = endpoints[-1]
        if len(endpoints) == 1 or last.binding is None or not last.binding.reuse_port:
            return last
        # SO_REUSEPORT shares the load: a sender always meets the same endpoint.
        return endpoints[_spread(remote + rport) % len(endpoints)]

    def _deliver(
        self,
        layer: Network,
        endpoint: UdpEndpoint,
        datagram: Datagram,
        source: bytes,
        destination: bytes,
        ttl: int,
        tos: int,
        now: Instant,
    ) -> None:
        """Put a datagram, or each of a batch, into the endpoint's mailbox."""
        sport = int(datagram.sport)
        payload = datagram.payload()
        step = int(datagram.gso_size)
        incoming = layer.incoming
        if step <= 0 or step >= len(payload):
            if not endpoint.mailbox.put(Letter(payload, source, sport, destination, ttl, tos, incoming, now)):
                self.counters.buffer_full += 1
            return
        for at in range(0, len(payload), step):
            letter = Letter(payload[at : at + step], source, sport, destination, ttl, tos, incoming, now)
            if not endpoint.mailbox.put(letter):
                self.counters.buffer_full += 1

    def _deliver_to_all(
        self, layer: Network, datagram: Datagram, source: bytes, destination: bytes, ttl: int, tos: int, now: Instant
    ) -> None:
        """A broadcast or multicast datagram is for every endpoint that it fits (RFC 1122 section 4.1.3.5)."""
        lport = _port(datagram.dport)
        wildcard = ANY_V4 if len(destination) == 4 else ANY_V6
        found = [*self._bound.get(wildcard + lport, ()), *self._bound.get(destination + lport, ())]
        if not found:
            self.counters.no_port += 1
        group = is_multicast(destination)
        incoming = layer.incoming
        index = 0 if incoming is None else incoming.index
        for endpoint in found:
            memberships = endpoint.memberships if len(destination) == 4 else endpoint.memberships6
            if group and memberships is not None and not memberships.allows(index, destination, source):
                continue
            if endpoint.zone == 0 or _came_by(layer, endpoint.zone):
                self._deliver(layer, endpoint, datagram, source, destination, ttl, tos, now)

    # Errors --------------------------------------------------------------------------------------------

    def sent(self, source: bytes, destination: bytes, quoted: bytes) -> bool:
        if self._find(destination, quoted[2:4], source, quoted[0:2]) is not None:
            return True
        stray = self.stray
        return stray is not None and stray.sent(source, _number(quoted, 0), destination, _number(quoted, 2))

    def error(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        if self.fail(self.network, source, destination, quoted, errno, mtu):
            return
        stray = self.stray
        if stray is not None and len(quoted) >= 4:
            stray.failed(source, _number(quoted, 0), destination, _number(quoted, 2), errno, now)

    def fail(self, layer: Network, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int) -> bool:
        """Tell the endpoint that sent the quoted datagram; False if there is none."""
        self.counters.errors_in += 1
        endpoint = self._find(destination, quoted[2:4], source, quoted[0:2])
        if endpoint is None:
            return False
        port, data = _number(quoted, 2), quoted[HEADER_SIZE:]
        complaint = complaint_of(layer.reported, source, destination, errno, mtu, port, data)
        endpoint.heed(errno, endpoint.remote == destination and len(endpoint.remote) > 0, complaint)
        return True

    # Out -----------------------------------------------------------------------------------------------

    def send(
        self,
        endpoint: UdpEndpoint,
        data: bytes,
        address: bytes,
        port: int,
        now: Instant,
        ttl: int = -1,
        tos: int = -1,
        source: bytes | None = None,
        zone: int = 0,
        segment: int = 0,
    ) -> None:
        """Send one datagram (with `segment`, a batch of such a size each), which is kept by reference, binding the endpoint
        first if it isn't.  What is given goes before what the endpoint has.

        Raises EMSGSIZE, EINVAL (port 0), EACCES (broadcast without SO_BROADCAST), EAGAIN (no port is free), and as
        `Network.route`.
        """
        if endpoint.port == 0:
            self.bind(endpoint, endpoint.chosen_local, 0)
        layer = self.layer(address)
        if source is None:
            local = endpoint.local
            if len(local) == len(address) and local != ANY_V4 and local != ANY_V6:
                source = self._source(layer, local)
            elif len(local) != len(address):
                self.check(endpoint, address)
        group = is_multicast(address)
        if len(address) == 4:
            if ttl < 0:
                ttl = endpoint.multicast_ttl if group else endpoint.ttl
            if tos < 0:
                tos = endpoint.tos
            if group:
                zone = zone or endpoint.group_zone
                source = source or endpoint.group_source or None
        else:
            if ttl < 0:
                ttl = endpoint.multicast_hops if group else endpoint.hops
            if tos < 0:
                tos = endpoint.traffic_class
            if group:
                zone = zone or endpoint.group_zone6
        discover = endpoint.discover
        try:
            self._emit(
                source,
                endpoint.port,
                address,
                port,
                data,
                now,
                ttl,
                tos,
                discover,
                endpoint.broadcast,
                zone or endpoint.zone,
                segment,
                group and (endpoint.loops if len(address) == 4 else endpoint.loops6),
            )
        except OSError as failure:
            if failure.errno == EMSGSIZE and endpoint.report_all and len(data) <= MAX_PAYLOAD_SIZE:
                mtu = layer.route(address, source).mtu
                endpoint.mailbox.complain(Complaint(EMSGSIZE, ORIGIN_LOCAL, 0, 0, mtu, b"", address, port))
            raise

    def check(self, endpoint: UdpEndpoint, address: bytes) -> None:
        """Raise what keeps the endpoint from sending to an address at all: EAFNOSUPPORT, ENETUNREACH."""
        if len(endpoint.local) == 4 and endpoint.local != ANY_V4 and len(address) != 4:
            raise error(EAFNOSUPPORT)
        self.layer(address).route(address)

    def send_as(
        self, source: bytes, sport: int, destination: bytes, dport: int, data: bytes, now: Instant, ttl: int = -1
    ) -> None:
        """Send a datagram without an endpoint, as a relay does.  Raises as `send`; EADDRNOTAVAIL where `source` is
        not local."""
        self._emit(source, sport, destination, dport, data, now, ttl, 0, IP_PMTUDISC_DONT, False, 0, 0)

    def send_over(
        self, route: Route, sport: int, destination: bytes, dport: int, data: bytes, now: Instant, ttl: int = -1
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
        discover: int,
        broadcast: bool,
        zone: int,
        segment: int,
        loop: bool = False,
    ) -> None:
        size = len(data)
        if size > MAX_PAYLOAD_SIZE:
            raise error(EMSGSIZE)
        network = self.layer(destination)
        route = network.route(destination, source, zone)
        if route.broadcast and not broadcast:
            raise error(EACCES)
        if source is None:
            source = route.source
        addresses = pseudo_sum(source, destination, PROTOCOL_UDP, 0)
        frame = emit_datagram(sport, dport, addresses, data, 0, size, segment)
        dont_fragment = discover == IP_PMTUDISC_DO or discover == IP_PMTUDISC_PROBE
        if discover == IP_PMTUDISC_WANT:
            # Routers are told not to cut what fits the path as far as we know; what does not, we cut.
            dont_fragment = size + (IP4_AND_UDP if len(destination) == 4 else IP6_AND_UDP) <= route.mtu
        network.output(frame, route, source, destination, PROTOCOL_UDP, now, ttl, tos, dont_fragment)
        if loop:
            network.loop_back(frame, route, destination)
        self.counters.datagrams_out += 1

    # Endpoints -----------------------------------------------------------------------------------------

    def endpoints(self) -> list[UdpEndpoint]:
        """All that have a port."""
        found: list[UdpEndpoint] = []
        for one in self._connected.values():
            endpoint: UdpEndpoint | None = one
            while endpoint is not None:
                found.append(endpoint)
                endpoint = endpoint.elder
        return [*found, *(one for group in self._bound.values() for one in group)]

    def open(self, queue: WaitQueue, wildcard: bytes = ANY_V4) -> UdpEndpoint:
        """A new endpoint of the wildcard's family, unbound; `queue` is woken when something comes."""
        return UdpEndpoint(queue, self.settings.receive_buffer, wildcard)

    def bind(
        self,
        endpoint: UdpEndpoint,
        address: bytes,
        port: int,
        reuse_address: bool = False,
        reuse_port: bool = False,
        uid: int = 0,
        anywhere: bool = False,
    ) -> None:
        """Name the local end; port 0 chooses one.  The address may be a broadcast or multicast address (it then only
        receives), or, with `anywhere`, one that is not ours (IP_FREEBIND).  Raises EINVAL (bound already), EADDRNOTAVAIL,
        EADDRINUSE, EAGAIN (no ephemeral port)."""
        if address != ANY_V4 and address != ANY_V6 and not anywhere and not self._bindable(address):
            raise error(EADDRNOTAVAIL)
        if endpoint.port:
            raise error(EINVAL)
        dual = address == ANY_V6 and not endpoint.only
        try:
            binding = self.ports.bind(address, port, reuse_address, reuse_port, uid, dual)
        except OSError:
            if port == 0:
                raise error(EAGAIN) from None
            raise
        endpoint.binding = binding
        if len(address) == 16 and address != ANY_V6:
            endpoint.only = True
        endpoint.local = address
        endpoint.chosen_local = address
        endpoint.port = binding.port
        endpoint.port_chosen = port != 0
        self._list(endpoint)

    def connect(self, endpoint: UdpEndpoint, address: bytes, port: int, zone: int = 0) -> None:
        """Send to and receive from one peer only.  Another peer than before leaves the address on this side as it is (as on Linux),
        where that can reach it.  Raises as `send`, but for EMSGSIZE."""
        chosen = endpoint.chosen_local
        any_source = chosen == ANY_V4 or chosen == ANY_V6
        if not any_source and len(chosen) != len(address):
            raise error(EAFNOSUPPORT)
        if endpoint.port == 0:
            self.bind(endpoint, endpoint.chosen_local, 0)
        source = self._kept(endpoint, address) if any_source else self._source(self.layer(address), chosen)
        route = self.layer(address).route(address, source, zone or endpoint.zone)
        if route.broadcast and not endpoint.broadcast:
            raise error(EACCES)
        self._unlist(endpoint)
        endpoint.remote = address
        endpoint.remote_port = port
        if any_source:
            endpoint.local = source or route.source
        self._list(endpoint)

    def _kept(self, endpoint: UdpEndpoint, address: bytes) -> bytes | None:
        """The address that a connected endpoint has and keeps when it is connected to another; None for the route's choice."""
        local = endpoint.local
        if not endpoint.remote or len(local) != len(address) or not self.layer(local).is_local(local):
            return None
        here = is_loopback(local) or is_link_local(local)
        return None if here and not is_loopback(address) else local

    def _source(self, layer: Network, local: bytes) -> bytes | None:
        """Where to send from who is bound to `local`; None: the route's choice, as that is a broadcast or multicast address.
        Raises ENETUNREACH for one that isn't ours (IP_FREEBIND)."""
        if layer.is_local(local):
            return local
        if not self._bindable(local):
            raise error(ENETUNREACH)
        return None

    def disconnect(self, endpoint: UdpEndpoint) -> None:
        """Undo `connect`; a port stays bound only if it was asked for by its number (as on Linux)."""
        self._unlist(endpoint)
        endpoint.remote = b""
        endpoint.remote_port = 0
        endpoint.local = endpoint.chosen_local
        if not endpoint.port_chosen:
            self._unbind(endpoint)
        elif endpoint.port:
            self._list(endpoint)

    def _unbind(self, endpoint: UdpEndpoint) -> None:
        if endpoint.binding is not None:
            self.ports.release(endpoint.binding)
            endpoint.binding = None
        endpoint.port = 0

    def close(self, endpoint: UdpEndpoint) -> None:
        """Forget the endpoint and what waits for it."""
        self._unlist(endpoint)
        self._unbind(endpoint)
        endpoint.mailbox.clear()

    def _bindable(self, address: bytes) -> bool:
        layer = self.layer(address)
        if layer.is_local(address) or is_multicast(address):
            return True
        try:
            return layer.route(address).broadcast
        except OSError:
            return False

    def _list(self, endpoint: UdpEndpoint) -> None:
        port = _port(endpoint.port)
        local = endpoint.local
        if endpoint.remote:
            key = endpoint.remote + local + _port(endpoint.remote_port) + port
            endpoint.keys = (key,)
            # Two that share a port may have one peer (SO_REUSEPORT): the younger hears it, as on Linux, until it goes.
            endpoint.elder = self._connected.get(key)
            self._connected[key] = endpoint
            return
        endpoint.keys = (ANY_V6 + port, ANY_V4 + port) if local == ANY_V6 and not endpoint.only else (local + port,)
        for key in endpoint.keys:
            self._bound.setdefault(key, []).append(endpoint)

    def _unlist(self, endpoint: UdpEndpoint) -> None:
        keys = endpoint.keys
        endpoint.keys = ()
        for key in keys:
            if endpoint.remote:
                self._disconnect(endpoint, key)
                continue
            endpoints = self._bound[key]
            endpoints.remove(endpoint)
            if not endpoints:
                del self._bound[key]

    def _disconnect(self, endpoint: UdpEndpoint, key: bytes) -> None:
        """Take one out of those that are connected with the same addresses and ports."""
        elder = endpoint.elder
        endpoint.elder = None
        younger = self._connected[key]
        if younger is not endpoint:
            while younger.elder is not None and younger.elder is not endpoint:
                younger = younger.elder
            younger.elder = elder
        elif elder is not None:
            self._connected[key] = elder
        else:
            del self._connected[key]


def _came_by(layer: Network, zone: int) -> bool:
    """Whether the packet that is being delivered came by the interface of that index."""
    incoming = layer.incoming
    return incoming is not None and incoming.index == zone


def _port(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _number(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _spread(peer: bytes) -> int:
    """A number that depends on every bit of a peer's address and port (and on nothing else: simulations repeat)."""
    number = int.from_bytes(peer, "big") * 0x9E3779B97F4A7C15
    return (number >> 32) & 0xFFFFFFFF
