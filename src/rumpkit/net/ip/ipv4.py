"""IPv4 (RFC 791, RFC 1122 section 3): addresses, routes and the way out.  `ip.input` is the way in.

Between interfaces below and transports above, which see it as a `Network`.
"""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.frame import GSO_NONE, Frame
from ...hyper.link import Receiver
from ...hyper.time import Instant
from ...kern.abi.errno import EADDRNOTAVAIL, EEXIST, EINVAL, EMSGSIZE, ENETUNREACH, ENODEV, error
from ...kern.timer import TimerQueue
from ..link.interface import Interface, InterfaceAddress
from ..wire.address import BROADCAST_V4, broadcast_of, in_network, is_loopback, is_multicast, network_of
from ..wire.icmp import DESTINATION_UNREACHABLE
from ..wire.ipv4 import DONT_FRAGMENT, HEADER_SIZE, MAX_PACKET_SIZE, MORE_FRAGMENTS, emit_ipv4_header
from ..wire.offload import complete_checksum
from .contract import Network, RawInput, Route, Transport
from .groups import ALL_HOSTS, ANYBODY, NOTHING, Groups
from .identification import Identifications
from .options import copied_options
from .pmtu import PathMtus
from .report import ErrorReporter
from .routing import CONNECTED, STATIC, RouteEntry, RoutingTable
from .settings import Ipv4Counters, Ipv4Settings

NOT_OURS: Final = 0
LOCAL: Final = 1
BROADCAST: Final = 2
GROUP: Final = 3
"""What an address is to this kernel: a multicast group that was joined, ..."""


@final
class Ipv4(Network):
    """One kernel's IPv4: what it is called, whom it can reach, and the packets it sends."""

    def __init__(self, hyper: Hypercalls, timers: TimerQueue) -> None:
        super().__init__()
        self.settings: Ipv4Settings = Ipv4Settings()
        self.counters: Ipv4Counters = Ipv4Counters()
        self.transports: list[Transport | None] = [None] * 256
        self.flushed: list[Transport] = []
        """Each transport once: they hear of the end of every batch."""
        self.kinds: dict[bytes, int] = {}
        """LOCAL, BROADCAST or GROUP for each address that packets to us may bear."""
        self.loopback: Interface | None = None
        self.path_mtus: PathMtus = PathMtus(self, timers, self.settings)
        self.table: RoutingTable = RoutingTable()
        self.reporter: ErrorReporter | None = None
        """Who tells senders what went wrong; set by the ICMP component."""
        self.raw: RawInput | None = None
        """Set while there are raw sockets."""
        self.interfaces: list[Interface] = []
        self._identifications: Identifications = Identifications(hyper)
        self.groups: Groups = Groups()
        self.loops: dict[int, Receiver] = {}
        """By an interface's index: what takes packets that were sent to groups there, as if they had come in."""
        self._hyper: Hypercalls = hyper
        self._joined: dict[tuple[bytes, int], list[Interface]] = {}
        """By group and the zone that was asked for: on which interfaces that was."""
        self._cache: dict[bytes, Route] = {}
        self._cached: int = 0
        """The generation that the cache is of."""
        self.rebuild()

    # For transports ------------------------------------------------------------------------------------

    def register(self, protocol: int, transport: Transport) -> None:
        self.transports[protocol] = transport
        if transport not in self.flushed:
            self.flushed.append(transport)

    def is_local(self, address: bytes) -> bool:
        kind = self.kinds.get(address, NOT_OURS)
        if kind != NOT_OURS:
            return kind == LOCAL
        if is_loopback(address):
            return True
        return self.settings.accept_any_destination != 0 and not is_multicast(address) and address[0] not in (0, 255)

    def route(self, destination: bytes, source: bytes | None = None, zone: int = 0) -> Route:
        if self._cached != self.generation:
            self._cache.clear()
            self._cached = self.generation
        key = destination if source is None else destination + source
        if zone:
            key += b"%d" % zone
        route = self._cache.get(key)
        if route is None:
            route = self._find_route(destination, source, zone)
            if len(self._cache) >= self.settings.route_cache_entries:
                self._cache.clear()
            self._cache[key] = route
        return route

    def output(
        self,
        frame: Frame,
        route: Route,
        source: bytes,
        destination: bytes,
        protocol: int,
        now: Instant,
        ttl: int = -1,
        tos: int = 0,
        dont_fragment: bool = True,
    ) -> None:
        if ttl < 0:
            ttl = self.settings.ttl
        size = len(frame.head) + frame.size
        fragment = DONT_FRAGMENT
        identification = 0
        if not dont_fragment or route.fragmentable:
            # What nobody may cut apart needs no identification of its own (RFC 6864 section 4.1).
            fragment = 0
            identification = self._identifications.next()
        if size + HEADER_SIZE > route.mtu and (frame.gso_type == GSO_NONE or size + HEADER_SIZE > MAX_PACKET_SIZE):
            if fragment or size + HEADER_SIZE > MAX_PACKET_SIZE:
                self.counters.too_big += 1
                raise error(EMSGSIZE)
            header = emit_ipv4_header(source, destination, protocol, size, identification, 0, ttl, tos)
            frame.push(header)
            self.send_fragments(frame, route, now)
            return
        header = emit_ipv4_header(source, destination, protocol, size, identification, fragment, ttl, tos)
        frame.head = header + frame.head
        frame.checksum_start += HEADER_SIZE
        counters = self.counters
        counters.packets_out += 1
        counters.bytes_out += HEADER_SIZE + size
        route.interface.output(frame, route.next_hop, now)

    def default_ttl(self) -> int:
        return self.settings.ttl

    def unreachable(self, frame: Frame, network: int, code: int, now: Instant) -> None:
        self.report(DESTINATION_UNREACHABLE, code, 0, frame, network, now)

    def join(self, group: bytes, zone: int = 0) -> None:
        """Take packets to a multicast group, from anybody (`groups` has finer ways).  Raises ENODEV."""
        interface = self.group_interface(group, zone)
        self.groups.replace(interface, group, NOTHING, ANYBODY)
        self._joined.setdefault((group, zone), []).append(interface)

    def leave(self, group: bytes, zone: int = 0) -> None:
        """Undo one `join`.  Raises EADDRNOTAVAIL."""
        joined = self._joined.get((group, zone))
        if not joined:
            raise error(EADDRNOTAVAIL)
        interface = joined.pop()
        if not joined:
            del self._joined[group, zone]
        if interface in self.interfaces:
            self.groups.replace(interface, group, ANYBODY, NOTHING)

    def loop_back(self, frame: Frame, route: Route, destination: bytes) -> None:
        index = route.interface.index
        loop = self.loops.get(index)
        if loop is not None and self.groups.is_joined(index, destination):
            self._hyper.post(loop, frame)

    def group_interface(self, group: bytes, zone: int = 0) -> Interface:
        """The interface of the index `zone`, or, for 0, the one by which packets to a group would leave.  Raises ENODEV."""
        for interface in self.interfaces:
            if zone and interface.index == zone:
                return interface
        entry = None if zone else self._entry(group, None)
        if entry is None:
            raise error(ENODEV)
        return entry.interface

    def next_identification(self) -> int:
        """The identification of a packet that may be fragmented."""
        return self._identifications.next()

    # For the other parts of IP -------------------------------------------------------------------------

    def report(self, kind: int, code: int, rest: int, frame: Frame, network: int, now: Instant) -> None:
        """Tell the sender of the packet at `frame.head[network]`, by ICMP, what became of it."""
        reporter = self.reporter
        if reporter is None:
            return
        destination = frame.head[network + 16 : network + 20]
        kind_of_destination = self.kinds.get(destination, NOT_OURS)
        if kind_of_destination == BROADCAST or kind_of_destination == GROUP:
            return
        ours = self.is_local(destination)
        reporter.report(kind, code, rest, frame, network, destination if ours else None, now)

    def failed(self, frame: Frame, network: int, errno: int, now: Instant) -> None:
        """A packet of ours, with its IP header at `frame.head[network]`, could not be sent: tell its transport."""
        head = frame.linear()
        protocol = head[network + 9]
        transport, raw = self.transports[protocol], self.raw
        start = network + ((head[network] & 0xF) << 2)
        quoted = head[start : start + 64]
        source, destination = head[network + 12 : network + 16], head[network + 16 : network + 20]
        if raw is not None:
            raw.error(protocol, source, destination, quoted, errno, 0, now)
        if transport is not None:
            transport.error(source, destination, quoted, errno, 0, now)

    def send_fragments(self, frame: Frame, route: Route, now: Instant) -> None:
        """Send the packet at the start of `frame`'s head, which may be a fragment itself, in parts that fit."""
        done = complete_checksum(frame)
        packet = done.linear()
        data = (packet[0] & 0xF) << 2
        options = packet[HEADER_SIZE:data]
        field = packet[6] << 8 | packet[7]
        offset = field & 0x1FFF
        more = field & MORE_FRAGMENTS
        self.counters.fragmented += 1
        end = packet[2] << 8 | packet[3]
        while data < end:
            size = min((route.mtu - HEADER_SIZE - len(options)) & ~7, end - data)
            flags = more if data + size >= end else MORE_FRAGMENTS
            header = emit_ipv4_header(
                packet[12:16],
                packet[16:20],
                packet[9],
                size,
                packet[4] << 8 | packet[5],
                flags | offset,
                packet[8],
                packet[1],
                options,
            )
            self.counters.fragments_out += 1
            self.counters.packets_out += 1
            self.counters.bytes_out += len(header) + size
            route.interface.output(Frame(header + packet[data : data + size]), route.next_hop, now)
            data += size
            offset += size >> 3
            if options:
                options = copied_options(options)

    # Configuration -------------------------------------------------------------------------------------

    def add_interface(self, interface: Interface) -> None:
        """Take an interface in, usually before it has addresses."""
        self.interfaces.append(interface)
        if interface.loopback:
            self.loopback = interface
        self.rebuild()

    def remove_interface(self, interface: Interface) -> None:
        """Forget an interface and every route through it."""
        self.interfaces.remove(interface)
        self.groups.forget(interface)
        self.loops.pop(interface.index, None)
        if self.loopback is interface:
            self.loopback = None
        for entry in self.table.entries():
            if entry.interface is interface:
                self.table.remove(entry)
        self.rebuild()

    def add_address(self, interface: Interface, address: bytes, length: int) -> None:
        """Give an interface an address in a network.  Raises EINVAL for what can't be a host's address, EADDRNOTAVAIL
        where it is ours already."""
        if not 0 <= length <= 32 or len(address) != 4 or is_multicast(address) or address[0] in (0, 255):
            raise error(EINVAL)
        if self.kinds.get(address, NOT_OURS) == LOCAL:
            raise error(EADDRNOTAVAIL)
        interface.addresses.append(InterfaceAddress(address, length))
        self.rebuild()

    def remove_address(self, interface: Interface, address: bytes) -> None:
        """Take an address away.  Raises EADDRNOTAVAIL."""
        for own in interface.addresses:
            if own.address == address:
                interface.addresses.remove(own)
                self.rebuild()
                return
        raise error(EADDRNOTAVAIL)

    def add_route(
        self,
        network: bytes,
        length: int,
        gateway: bytes = b"",
        interface: Interface | None = None,
        metric: int = 0,
        source: bytes = b"",
        origin: int = STATIC,
    ) -> RouteEntry:
        """Send packets to a network through a gateway, or to an interface's link.  Raises ENETUNREACH where the
        gateway is on no link of ours, EEXIST for what is there already, EADDRNOTAVAIL for a `source` that isn't ours."""
        if source and not self.is_local(source):
            raise error(EADDRNOTAVAIL)
        if interface is None:
            way = self.table.lookup(gateway) if len(gateway) == 4 else None
            if way is None or way.gateway:
                raise error(ENETUNREACH)
            interface = way.interface
        entry = RouteEntry(network_of(network, length), length, interface, gateway, metric, source, origin)
        for other in self.table.at(entry.network, length):
            if other.same_way(entry):
                raise error(EEXIST)
        self.table.add(entry)
        self.moved()
        return entry

    def remove_route(self, entry: RouteEntry) -> None:
        """Take back what `add_route` gave."""
        self.table.remove(entry)
        self.moved()

    def rebuild(self) -> None:
        """Addresses or the state of interfaces have changed: derive again what follows from them."""
        for entry in self.table.entries():
            if entry.origin == CONNECTED:
                self.table.remove(entry)
        kinds = self.kinds
        kinds.clear()
        kinds[BROADCAST_V4] = BROADCAST
        kinds[ALL_HOSTS] = GROUP
        for interface in self.interfaces:
            for own in interface.addresses:
                network = network_of(own.address, own.length)
                if own.length < 31 and not interface.loopback:
                    # All zeros was broadcast once, and is nobody's address still (RFC 1122 section 3.3.6).
                    kinds.setdefault(network, BROADCAST)
                    kinds.setdefault(broadcast_of(own.address, own.length), BROADCAST)
                self.table.add(RouteEntry(network, own.length, interface, b"", 0, own.address, CONNECTED))
        for interface in self.interfaces:
            for own in interface.addresses:
                if not is_loopback(own.address):  # those are ours on the loopback interface only
                    kinds[own.address] = LOCAL
        self.moved()

    # Inside --------------------------------------------------------------------------------------------

    def _find_route(self, destination: bytes, source: bytes | None, zone: int) -> Route:
        """Make the route that `route` then remembers."""
        if source is not None and not self.is_local(source):
            raise error(EADDRNOTAVAIL)
        kind = self.kinds.get(destination, NOT_OURS)
        if kind == LOCAL or is_loopback(destination):
            loopback = self.loopback
            if loopback is None or not loopback.up:
                raise error(ENETUNREACH)
            own = destination if kind == LOCAL else b"\x7f\0\0\1"
            return Route(loopback, source or own, destination, min(loopback.mtu, MAX_PACKET_SIZE))
        if zone:
            entry = self._entry_through(destination, zone)
        else:
            entry = self._entry(destination, source) if destination[0] else None
        if entry is None:
            self.counters.no_route += 1
            raise error(ENETUNREACH)
        next_hop = entry.gateway or destination
        interface = entry.interface
        route = Route(interface, source or self._source(entry, next_hop), next_hop, min(interface.mtu, MAX_PACKET_SIZE))
        if kind == BROADCAST or is_multicast(destination):
            route.broadcast = kind == BROADCAST
            route.next_hop = destination
        path = self.path_mtus.get(destination)
        if path is not None and path.mtu < route.mtu:
            route.mtu = path.mtu
            route.fragmentable = path.fragmentable
        return route

    def _entry_through(self, destination: bytes, zone: int) -> RouteEntry | None:
        """The best route through one interface; without any, whoever asks for it by name finds the destination on its link."""
        for entry in self.table.entries():
            if entry.interface.index == zone and entry.interface.up:
                if in_network(destination, entry.network, entry.length):
                    return entry
        for interface in self.interfaces:
            if interface.index == zone and interface.up:
                own = interface.addresses[0].address if interface.addresses else b""
                return RouteEntry(destination, 32, interface, b"", 0, own, CONNECTED)
        return None

    def _entry(self, destination: bytes, source: bytes | None) -> RouteEntry | None:
        """The table's answer; broadcasts and groups without a route of their own leave by the sender's interface, or
        the first that has neighbours."""
        entry = self.table.lookup(destination)
        if destination != BROADCAST_V4 and not (entry is None and is_multicast(destination)):
            return entry
        for interface in self.interfaces:
            if interface.up and not interface.loopback and interface.addresses:
                if source is None or interface.owns(source):
                    return RouteEntry(destination, 32, interface, b"", 0, interface.addresses[0].address, CONNECTED)
        return entry

    def _source(self, entry: RouteEntry, next_hop: bytes) -> bytes:
        """The address to send from: in the next hop's network if there is one (RFC 1122 section 3.3.4.3)."""
        if entry.source:
            return entry.source
        addresses = entry.interface.addresses
        for own in addresses:
            if in_network(next_hop, own.address, own.length):
                return own.address
        if addresses:
            return addresses[0].address
        for interface in self.interfaces:
            if interface.addresses and not interface.loopback:
                return interface.addresses[0].address
        raise error(EADDRNOTAVAIL)
