"""IPv6 (RFC 8200): addresses, routes and the way out.  `ip6.input` is the way in.

Between interfaces below and transports above, which see it as a `Network`.
"""

from typing import Final, final
from zlib import crc32

from ...hyper.calls import Hypercalls
from ...hyper.frame import GSO_NONE, Frame
from ...hyper.link import Receiver
from ...hyper.time import Instant
from ...kern.abi.errno import EADDRNOTAVAIL, EEXIST, EINVAL, EMSGSIZE, ENETUNREACH, ENOBUFS, error
from ...kern.timer import TimerQueue
from ..ip.contract import Network, RawInput, Route, Transport
from ..ip.groups import ANYBODY, SourceFilter
from ..ip.ipv4 import GROUP, LOCAL, NOT_OURS
from ..ip.pmtu import PathMtus
from ..ip.routing import CONNECTED, STATIC, RouteEntry, RoutingTable
from ..link.interface import Interface
from ..wire.address import in_network, is_link_local, is_loopback, is_multicast, is_unspecified, network_of
from ..wire.field import read_u32
from ..wire.icmpv6 import ADDRESS_UNREACHABLE, DESTINATION_UNREACHABLE, PARAMETER_PROBLEM, Icmp6Message
from ..wire.ipv4 import PROTOCOL_TCP, PROTOCOL_UDP
from ..wire.ipv6 import HEADER_SIZE, HOP_BY_HOP, MAX_PAYLOAD_SIZE, PROTOCOL_ICMPV6, emit_ipv6_header
from .fragmentation import FragmentSender
from .groups import Groups6
from .link import MANUAL, TENTATIVE, VALID, Address6, Link6
from .report import ErrorReporter6
from .select import choose_source
from .settings import Ipv6Counters, Ipv6Settings
from .upper import find_upper

TENTATIVE_KIND: Final = 4
"""What an address is to this kernel, beside those of `ip.ipv4`: to be ours once nobody else turns out to have it."""
ALL_NODES: Final = b"\xff\x02" + bytes(13) + b"\1"
ALL_NODES_HERE: Final = b"\xff\x01" + bytes(13) + b"\1"
MAX_PACKET_SIZE: Final = HEADER_SIZE + MAX_PAYLOAD_SIZE

_CODES: Final = {0: 0, 1: ADDRESS_UNREACHABLE, 3: 4, 9: 1, 10: 1, 13: 1}
"""ICMPv6's codes of "destination unreachable" for ICMP's, which is what transports speak."""
_PROTOCOL_UNREACHABLE: Final = 2


@final
class Ipv6(Network):
    """One kernel's IPv6: what it is called, whom it can reach, and the packets it sends."""

    def __init__(self, hyper: Hypercalls, timers: TimerQueue) -> None:
        super().__init__()
        self.settings: Ipv6Settings = Ipv6Settings()
        self.counters: Ipv6Counters = Ipv6Counters()
        self.transports: list[Transport | None] = [None] * 256
        self.flushed: list[Transport] = []
        """Each transport once: they hear of the end of every batch."""
        self.kinds: dict[bytes, int] = {}
        """LOCAL, GROUP or TENTATIVE_KIND for each address that packets to us may bear."""
        self.links: dict[int, Link6] = {}
        """By the interface's index, in the order they were made."""
        self.loops: dict[int, Receiver] = {}
        """By the interface's index: who takes what was sent to groups through it, so that members on this host get it."""
        self.loopback: Link6 | None = None
        self.arrival: Link6 | None = None
        """Where the packet that a transport is being given has come in."""
        self.raw: RawInput | None = None
        """Set while there are raw sockets."""
        self.path_mtus: PathMtus = PathMtus(self, timers, self.settings)
        self.table: RoutingTable = RoutingTable(128)
        self.reporter: ErrorReporter6 | None = None
        """Who tells senders what went wrong; set by ICMPv6."""
        self._hyper: Hypercalls = hyper
        self._timers: TimerQueue = timers
        self._fragments: FragmentSender = FragmentSender(hyper, self.counters)
        self._flow_key: bytes = b""
        self.memberships: Groups6 = Groups6(self)
        """Of sockets, with the sources that they want."""
        self._joined: dict[tuple[bytes, int], list[Link6]] = {}
        """By group and the zone that was asked for: on which links that was."""
        self._cache: dict[bytes, Route] = {}
        self._cached: int = 0
        """The generation that the cache is of."""

    # For transports ------------------------------------------------------------------------------------

    def register(self, protocol: int, transport: Transport) -> None:
        self.transports[protocol] = transport
        if transport not in self.flushed:
            self.flushed.append(transport)

    def is_local(self, address: bytes) -> bool:
        return self.kinds.get(address, NOT_OURS) == LOCAL

    def route(self, destination: bytes, source: bytes | None = None, zone: int = 0) -> Route:
        """As `Network.route`; `zone` is the index of the interface to use (sin6_scope_id, SO_BINDTODEVICE), or 0.  Without
        one, a link-local destination is looked for on the link that `source` belongs to, else on the first."""
        if self._cached != self.generation:
            self._cache.clear()
            self._cached = self.generation
        key = destination if source is None else destination + source
        if zone:
            key += zone.to_bytes(4, "big")
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
        flow: int = -1,
    ) -> None:
        """As `Network.output`; `flow` is the flow label, -1 for one of the network's making (RFC 6437)."""
        if ttl < 0:
            ttl = route.hop_limit or self.settings.hop_limit
        head = frame.head
        size = len(head) + frame.size
        if flow < 0:
            flow = 0
            ports = protocol == PROTOCOL_TCP or protocol == PROTOCOL_UDP
            if ports and len(head) >= 4 and self.settings.auto_flow_labels:
                flow = flow_label(int(read_u32(head, 0)), route.flow)
        if size + HEADER_SIZE > route.mtu and (frame.gso_type == GSO_NONE or size > MAX_PAYLOAD_SIZE):
            if dont_fragment or size > MAX_PAYLOAD_SIZE:
                self.counters.too_big += 1
                raise error(EMSGSIZE)
            frame.push(emit_ipv6_header(source, destination, protocol, size, ttl, tos, flow))
            self._fragments.send(frame, route, now)
            return
        frame.head = emit_ipv6_header(source, destination, protocol, size, ttl, tos, flow) + head
        frame.checksum_start += HEADER_SIZE
        counters = self.counters
        counters.packets_out += 1
        counters.bytes_out += HEADER_SIZE + size
        route.interface.output(frame, route.next_hop, now)

    def default_ttl(self) -> int:
        return self.settings.hop_limit

    def unreachable(self, frame: Frame, network: int, code: int, now: Instant) -> None:
        if code == _PROTOCOL_UNREACHABLE:
            self.report(PARAMETER_PROBLEM, 1, 6, frame, network, now)
        else:
            self.report(DESTINATION_UNREACHABLE, _CODES.get(code, 0), 0, frame, network, now)

    def join(self, group: bytes, zone: int = 0) -> None:
        """Take packets to a multicast group that come in on the interface of that index (0: the first with neighbours).
        Raises EINVAL, ENODEV as EADDRNOTAVAIL, ENOBUFS where there are too many groups."""
        link = self.links.get(zone) if zone else self._default_link()
        if not is_multicast(group):
            raise error(EINVAL)
        if link is None:
            raise error(EADDRNOTAVAIL)
        if group not in link.groups and len(link.groups) >= self.settings.max_groups:
            raise error(ENOBUFS)
        self.join_on(link, group, self._hyper.now)
        self._joined.setdefault((group, zone), []).append(link)

    def loop_back(self, frame: Frame, route: Route, destination: bytes) -> None:
        index = route.interface.index
        loop = self.loops.get(index)
        if loop is not None and destination in self.links[index].groups:
            self._hyper.post(loop, frame)

    def leave(self, group: bytes, zone: int = 0) -> None:
        """Undo one `join`, on the link that it was on, which may have gone since.  Raises EADDRNOTAVAIL."""
        joined = self._joined.get((group, zone))
        if not joined:
            raise error(EADDRNOTAVAIL)
        link = joined.pop()
        if not joined:
            del self._joined[group, zone]
        if self.links.get(link.interface.index) is link:
            self.leave_on(link, group, self._hyper.now)

    def is_detecting(self) -> bool:
        """Whether a configured address on a link that is up can't be used yet."""
        return any(
            own.origin == MANUAL and own.state == TENTATIVE
            for link in self.links.values()
            if link.interface.up
            for own in link.addresses
        )

    # For the other parts of IPv6 -----------------------------------------------------------------------

    def join_on(self, link: Link6, group: bytes, now: Instant) -> None:
        """Take packets to a group on a link, whatever the limit: what IPv6 itself needs, too."""
        before = link.wanted(group)
        link.groups[group] = link.groups.get(group, 0) + 1
        self._regroup(link, group, before, now)

    def leave_on(self, link: Link6, group: bytes, now: Instant) -> None:
        """Undo one `join_on`."""
        count = link.groups.get(group, 0)
        if count:
            before = link.wanted(group)
            link.groups[group] = count - 1
            self._regroup(link, group, before, now)

    def filter_on(self, link: Link6, group: bytes, old: SourceFilter, new: SourceFilter) -> None:
        """One listener on a link wants `new` of a group instead of `old`; NOTHING is none."""
        before = link.wanted(group)
        filters = list(link.filters.get(group, ()))
        for one, change in ((old, -1), (new, 1)):
            if one.is_nothing():
                continue
            link.groups[group] = link.groups.get(group, 0) + change
            if one.same(ANYBODY):
                continue
            if change > 0:
                filters.append(one)
            else:
                filters.remove(one)
        if filters:
            link.filters[group] = filters
        else:
            link.filters.pop(group, None)
        self._regroup(link, group, before, self._hyper.now)

    def _regroup(self, link: Link6, group: bytes, before: SourceFilter, now: Instant) -> None:
        """What a link takes in of a group may be something else now than it was."""
        if link.groups[group]:
            self.kinds[group] = GROUP
        else:
            del link.groups[group]
            if not any(group in other.groups for other in self.links.values()):
                self.kinds.pop(group, 0)
        after = link.wanted(group)
        if link.control is not None and not before.same(after):
            link.control.group_changed(group, before, after, now)

    def report(self, kind: int, code: int, rest: int, frame: Frame, network: int, now: Instant) -> None:
        """Tell the sender of the packet at `frame.head[network]`, by ICMPv6, what became of it."""
        if self.reporter is not None:
            self.reporter.report(kind, code, rest, frame, network, self.arrival, now)

    def failed(self, frame: Frame, network: int, errno: int, now: Instant) -> None:
        """A packet of ours, with its IP header at `frame.head[network]`, could not be sent: tell its transport."""
        head = frame.linear()
        upper = find_upper(head, network)
        if upper is None:
            return
        transport, raw = self.transports[upper.protocol], self.raw
        quoted = head[upper.offset : upper.offset + 64]
        source, destination = head[network + 8 : network + 24], head[network + 24 : network + 40]
        if raw is not None:
            raw.error(upper.protocol, source, destination, quoted, errno, 0, now)
        if transport is not None:
            transport.error(source, destination, quoted, errno, 0, now)

    def send_on(
        self,
        link: Link6,
        message: Icmp6Message,
        source: bytes,
        destination: bytes,
        now: Instant,
        hop_limit: int = 255,
        options: bytes = b"",
    ) -> None:
        """Send an ICMPv6 message to a neighbour or group of a link, whatever the routes say; `options` is a whole
        hop-by-hop options header or b""."""
        data = options + message.emit(source, destination)
        protocol = HOP_BY_HOP if options else PROTOCOL_ICMPV6
        counters = self.counters
        counters.packets_out += 1
        counters.bytes_out += HEADER_SIZE + len(data)
        reporter = self.reporter
        if reporter is not None:
            reporter.count(message.kind)
        head = emit_ipv6_header(source, destination, protocol, len(data), hop_limit) + data
        link.interface.output(Frame(head), destination, now)

    # Configuration -------------------------------------------------------------------------------------

    def add_interface(self, interface: Interface) -> Link6:
        """Take an interface in.  Its `control`, if it needs one, is set by the caller."""
        link = Link6(interface)
        self.links[interface.index] = link
        if interface.loopback:
            self.loopback = link
        link.groups[ALL_NODES] = 1
        link.groups[ALL_NODES_HERE] = 1
        self.rebuild()
        return link

    def stop_listening(self, interface: Interface) -> None:
        """Let nobody on an interface's link configure anything."""
        link = self.links.get(interface.index)
        if link is not None:
            link.accept_ra = False

    def remove_interface(self, interface: Interface, now: Instant) -> None:
        """Forget an interface and every route through it."""
        link = self.links.pop(interface.index, None)
        self.loops.pop(interface.index, None)
        if link is None:
            return
        if link.control is not None:
            link.control.went_down(now)
            link.control = None
        if self.loopback is link:
            self.loopback = None
        for entry in self.table.entries():
            if entry.interface is interface:
                self.table.remove(entry)
        self.rebuild()

    def add_address(
        self, link: Link6, address: bytes, length: int, origin: int, now: Instant, detect: bool = True
    ) -> Address6:
        """Give a link an address in a network.  It is tentative until its control has seen that nobody has it, where
        there is a control and `detect`.  Raises EINVAL for what can't be a host's address, EADDRNOTAVAIL where it is
        there already."""
        if not 0 <= length <= 128 or len(address) != 16 or is_multicast(address) or is_unspecified(address):
            raise error(EINVAL)
        if is_loopback(address) and not link.interface.loopback:
            raise error(EINVAL)
        if self.kinds.get(address, NOT_OURS) != NOT_OURS or link.find(address) is not None:
            raise error(EADDRNOTAVAIL)
        made = Address6(link, address, length, origin)
        made.created = now
        link.addresses.append(made)
        if link.control is None or not detect:
            made.state = VALID
        self.rebuild()
        if link.control is not None:
            link.control.address_added(made, now)
        return made

    def remove_address(self, link: Link6, address: bytes, now: Instant) -> None:
        """Take an address away.  Raises EADDRNOTAVAIL."""
        own = link.find(address)
        if own is None:
            raise error(EADDRNOTAVAIL)
        link.addresses.remove(own)
        if link.control is not None:
            link.control.address_removed(own, now)
        self.rebuild()

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
        """Send packets to a network through a gateway, or to an interface's link, from `source` if it isn't b"" and the
        sender has not chosen.  Raises ENETUNREACH where the gateway is on no link of ours, EADDRNOTAVAIL where `source`
        isn't ours, EEXIST."""
        if source and self.kinds.get(source, NOT_OURS) not in (LOCAL, TENTATIVE_KIND):
            raise error(EADDRNOTAVAIL)
        if interface is None:
            if is_link_local(gateway):
                first = self._default_link()
                interface = None if first is None else first.interface
            else:
                way = self.table.lookup(gateway) if len(gateway) == 16 else None
                interface = None if way is None or way.gateway else way.interface
            if interface is None:
                raise error(ENETUNREACH)
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
        for link in self.links.values():
            interface = link.interface
            for group in link.groups:
                kinds[group] = GROUP
            for own in link.addresses:
                if own.state == VALID:
                    kinds[own.address] = LOCAL
                elif own.state == TENTATIVE:
                    kinds[own.address] = TENTATIVE_KIND
                # An address that a router's prefix gave makes no network (RFC 5942 section 4).
                if own.origin == MANUAL and own.length < 128 and not is_link_local(own.address):
                    network = network_of(own.address, own.length)
                    self.table.add(RouteEntry(network, own.length, interface, b"", 256, b"", CONNECTED))
        self.moved()

    # Inside --------------------------------------------------------------------------------------------

    def _find_route(self, destination: bytes, source: bytes | None, zone: int) -> Route:
        """Make the route that `route` then remembers."""
        if source is not None and not self.is_local(source):
            raise error(EADDRNOTAVAIL)
        if self.kinds.get(destination, NOT_OURS) == LOCAL or is_loopback(destination):
            loopback = self.loopback
            if loopback is None or not loopback.interface.up:
                raise error(ENETUNREACH)
            mtu = min(loopback.interface.mtu, MAX_PACKET_SIZE)
            route = Route(loopback.interface, source or destination, destination, mtu)
            return self._made(route, destination)
        entry, link = self._way(destination, source, zone)
        if link is None:
            self.counters.no_route += 1
            raise error(ENETUNREACH)
        gateway = b"" if entry is None else entry.gateway
        own = source or b""
        if not own and entry is not None and self.is_local(entry.source):
            own = entry.source
        route = Route(link.interface, own or self._source(link, destination), gateway or destination, link.path_mtu())
        route.mtu = min(route.mtu, MAX_PACKET_SIZE)
        path = self.path_mtus.get(destination)
        if path is not None and path.mtu < route.mtu:
            route.mtu = path.mtu
        route.hop_limit = link.hop_limit
        return self._made(route, destination)

    def _made(self, route: Route, destination: bytes) -> Route:
        if not self._flow_key:
            self._flow_key = self._hyper.random(8)
        route.flow = crc32(self._flow_key + route.source + destination)
        return route

    def _way(self, destination: bytes, source: bytes | None, zone: int) -> tuple[RouteEntry | None, Link6 | None]:
        """The table's entry, where that decided, and the link to leave by."""
        multicast = is_multicast(destination)
        if is_link_local(destination) or multicast:
            link = self.links.get(zone) if zone else None
            if link is None and source is not None and not zone:
                link = self._owner(source)
            if link is None and multicast and not zone:
                entry = self.table.lookup(destination)
                link = None if entry is None else self.links.get(entry.interface.index)
                if destination[1] & 0xF == 1:
                    link = self.loopback
            if link is None and not zone:
                link = self._default_link()
            return None, link if link is not None and link.interface.up else None
        if is_unspecified(destination):
            return None, None
        entry = self._entry(destination, zone)
        return entry, None if entry is None else self.links.get(entry.interface.index)

    def _entry(self, destination: bytes, zone: int) -> RouteEntry | None:
        """The table's answer, through the interface of that index where it is not 0."""
        if not zone:
            return self.table.lookup(destination)
        for entry in self.table.entries():
            if entry.interface.index == zone and entry.interface.up:
                if in_network(destination, entry.network, entry.length):
                    return entry
        return None

    def _source(self, link: Link6, destination: bytes) -> bytes:
        """The address to send from (RFC 6724 section 5).  Raises EADDRNOTAVAIL where there is none."""
        candidates = list(link.addresses)
        if not is_link_local(destination) and not is_multicast(destination):
            for other in self.links.values():
                if other is not link and other is not self.loopback:
                    candidates += [own for own in other.addresses if not is_link_local(own.address)]
        source = choose_source(candidates, destination, link, self.settings.use_temporary == 2)
        if not source:
            raise error(EADDRNOTAVAIL)
        return source

    def _owner(self, source: bytes) -> Link6 | None:
        """The link that an address of ours belongs to."""
        for link in self.links.values():
            if link.owns(source):
                return None if link is self.loopback else link
        return None

    def group_link(self) -> Link6 | None:
        """Where a group is joined by who names no interface."""
        return self._default_link()

    def _default_link(self) -> Link6 | None:
        """The first link with neighbours that is up, which stands for those that are not told apart."""
        for link in self.links.values():
            if not link.interface.loopback and link.interface.up:
                return link
        return self.loopback


def flow_label(ports: int, seed: int) -> int:
    """A flow's label: the same for all its packets, different for others, not to be told beforehand (RFC 6437 section
    3); never 0."""
    mixed = ports ^ seed
    mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 12)) * 0x297A2D39) & 0xFFFFFFFF
    return (mixed >> 12) or 1
