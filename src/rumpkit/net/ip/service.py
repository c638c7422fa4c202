"""The IP service of a kernel: what configs, labs and tools use to give a kernel interfaces, addresses and routes.

Above `ip.ipv4` and `link.interfaces`; text forms of addresses are allowed here, as this is an edge of the kernel.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from ...hyper.calls import Hypercalls
from ...hyper.link import LinkPort
from ...hyper.named import NamedTuple
from ...hyper.time import Instant
from ...kern.abi.errno import EAFNOSUPPORT, EINVAL, EOPNOTSUPP, ESRCH, error
from ...kern.counters import CounterRegistry
from ...kern.sysctl import SysctlRegistry
from ...kern.timer import TimerQueue
from ..link.arp import ARP_SYSCTLS
from ..link.ethernet import EthernetInterface
from ..link.interface import Interface, InterfaceAddress
from ..link.interfaces import Interfaces
from ..link.loopback import LoopbackInterface
from ..transport.ports import PORT_SYSCTLS, PortSettings
from ..wire.address import format_address, format_mac, format_prefix, network_of, parse_address, parse_prefix
from .fragments import Reassembly
from .groups import GROUP_SYSCTLS, IGMP_SYSCTLS
from .input import GroupLoop, Ipv4Input
from .ipv4 import Ipv4
from .names import NameSettings
from .routing import CONNECTED, ORIGIN_NAMES, RouteEntry
from .settings import IPV4_SYSCTLS
from .watch import InterfaceWatcher

if TYPE_CHECKING:
    from ..ip6.ipv6 import Ipv6
    from ..ip6.link import Address6, Link6
    from ..ip6.service import Ip6
    from ..link.bridge import Bridge, Bridges


class InterfaceRow(NamedTuple):
    """One interface in a listing."""

    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    addresses: tuple[str, ...]


class RouteRow(NamedTuple):
    """One route in a listing."""

    prefix: str
    gateway: str
    interface: str
    metric: int
    origin: str = "static"
    source: str = ""


@final
class Ip:
    """IP of one kernel.  All methods are called on the schedule."""

    def __init__(self, hyper: Hypercalls, timers: TimerQueue, interfaces: Interfaces) -> None:
        self.interfaces: Interfaces = interfaces
        self.v4: Ipv4 = Ipv4(hyper, timers)
        self.v6: Ipv6 | None = None
        self.ip6: Ip6 | None = None
        self._users_of_v6: list[Callable[[Ip6], None]] = []
        """Where the kernel has the component ipv6: its network, and the rest of it."""
        self.watchers: list[InterfaceWatcher] = []
        self.names: NameSettings = NameSettings()
        """Name servers and search domains, for the programs on the kernel."""
        self.ports: PortSettings = PortSettings()
        """The range of ephemeral ports, for every transport."""
        self._input: Ipv4Input = Ipv4Input(self.v4, timers)
        self.reassembly: Reassembly = self._input.reassembly
        self._hyper: Hypercalls = hyper
        self._timers: TimerQueue = timers
        self.v4.groups.start = self._start_igmp
        self._counters: CounterRegistry | None = None

    def register(self, counters: CounterRegistry, sysctl: SysctlRegistry) -> None:
        """List counters and sysctls with the kernel's."""
        self._counters = counters
        counters.register("ip", self.v4.counters)
        counters.register("arp", self.interfaces.arp_counters)
        sysctl.register("net.ip", self.v4.settings, IPV4_SYSCTLS)
        sysctl.register("net.arp", self.interfaces.arp_settings, ARP_SYSCTLS)
        sysctl.register("net.port", self.ports, PORT_SYSCTLS)
        groups = self.v4.groups
        counters.register("igmp", groups.igmp_counters)
        sysctl.register("net.igmp", groups.igmp_settings, IGMP_SYSCTLS)
        sysctl.register("net.group", groups.settings, GROUP_SYSCTLS)

    def enable_ipv6(self, ip6: "Ip6") -> None:
        """Give every interface, those to come too, its part in IPv6."""
        self.ip6 = ip6
        self.v6 = ip6.network
        for user in self._users_of_v6:
            user(ip6)
        self._users_of_v6.clear()
        for interface in self.interfaces.all():
            ip6.attach(interface, self._now())

    def with_ipv6(self, user: "Callable[[Ip6], None]") -> None:
        """Call `user` with IPv6, now or once it is there: transports carry it then, too."""
        if self.ip6 is not None:
            user(self.ip6)
        else:
            self._users_of_v6.append(user)

    # Interfaces ----------------------------------------------------------------------------------------

    def add_interface(self, port: LinkPort, name: str, mac: bytes = b"", mtu: int = 0, up: bool = True) -> Interface:
        """An Ethernet interface over a host's port.  Without `mac` it gets a random one, without `mtu` the link's.
        Raises EINVAL, EEXIST."""
        interface = self.interfaces.add_ethernet(name, port, mac, mtu)
        self._attach(interface, up)
        return interface

    def add_point_to_point(self, port: LinkPort, name: str, mtu: int = 0, up: bool = True) -> Interface:
        """An interface over a port with one other end, such as a TUN.  Raises EINVAL, EEXIST."""
        interface = self.interfaces.add_point_to_point(name, port, mtu)
        self._attach(interface, up)
        return interface

    def add_vlan(self, name: str, carrier: str, number: int, mtu: int = 0, up: bool = True) -> Interface:
        """The interface of one VLAN of an Ethernet interface.  Raises ENODEV, EOPNOTSUPP where that is no Ethernet,
        EINVAL, EEXIST."""
        interface = self.interfaces.add_vlan(name, self._ethernet(carrier), number, mtu)
        self._attach(interface, up)
        return interface

    def add_bridge(
        self, bridges: "Bridges", name: str, ports: list[str], mac: bytes = b"", mtu: int = 0, up: bool = True
    ) -> "Bridge":
        """Join Ethernet interfaces to a bridge, with an interface of the kernel's own called `name`.  The ports carry
        frames of the bridge only, from now on.  Raises ENODEV, EOPNOTSUPP, EBUSY, ENOSPC, EINVAL, EEXIST."""
        from ..link.bridge import Bridge

        joined = [self._ethernet(port) for port in ports]
        if not joined or any(port.addresses for port in joined):
            raise error(EINVAL)
        own = mac or b"\x02" + self._hyper.random(5)
        bridge = Bridge(self._hyper, bridges.settings, joined, own, mtu)
        try:
            interface = self.interfaces.add_ethernet(name, bridge.own, own)
        except OSError:
            bridge.close()
            raise
        interface.kind = "bridge"
        bridges.by_name[name] = bridge
        if self.ip6 is not None:
            for port in joined:
                self.ip6.detach(port, self._now())
        if self._counters is not None:
            self._counters.register(f"bridge.{name}", bridge.counters)
        self._attach(interface, up)
        return bridge

    def _start_igmp(self) -> None:
        from .igmp import Igmp

        Igmp(self._hyper, self._timers, self.v4, self.v4.groups)

    def _ethernet(self, name: str) -> EthernetInterface:
        """The Ethernet interface of that name.  Raises ENODEV, EOPNOTSUPP."""
        interface = self.interfaces.get(name)
        if not isinstance(interface, EthernetInterface):
            raise error(EOPNOTSUPP, name)
        return interface

    def add_loopback(self) -> LoopbackInterface:
        """lo with 127.0.0.1/8 and, with IPv6, ::1/128, up.  Raises EEXIST."""
        interface = self.interfaces.add_loopback()
        self._attach(interface, True)
        self.v4.add_address(interface, b"\x7f\0\0\1", 8)
        return interface

    def set_up(self, name: str, up: bool) -> None:
        """Let frames through an interface, or stop them; its routes count only while it is up.  Raises ENODEV."""
        interface = self.interfaces.get(name)
        changed = interface.up != up
        interface.set_up(up, self._now())
        self.v4.moved()
        if self.ip6 is not None and changed:
            self.ip6.changed(interface, up, self._now())
        for watcher in self.watchers if up and changed else ():
            watcher.came_up(interface, self._now())

    def remove_interface(self, name: str) -> None:
        """Take an interface away with its addresses, its routes and its VLANs, and close its port.  Raises ENODEV."""
        interface = self.interfaces.get(name)
        for watcher in self.watchers:
            watcher.goes_away(interface, self._now())
        if isinstance(interface, EthernetInterface):
            for other in self.interfaces.all():
                if isinstance(other, EthernetInterface) and other.port in interface.vlans.values():
                    self.remove_interface(other.name)
            if interface.taker is not None:
                interface.taker.leave()
        if self.ip6 is not None and interface.ipv6 is not None:
            self.ip6.detach(interface, self._now())
        ports = [one for one in self.interfaces.all() if isinstance(one, EthernetInterface) and one.taker is not None]
        self.interfaces.remove(interface)
        self.v4.remove_interface(interface)
        interface.ipv4 = None
        if self._counters is not None:
            self._counters.unregister(f"interface.{name}")
            if interface.kind == "bridge":
                self._counters.unregister(f"bridge.{name}")
        for port in ports:
            if self.ip6 is not None and port is not interface and port.taker is None:
                self.ip6.attach(port, self._now())  # it was a port of the bridge, and stands for itself again

    def _attach(self, interface: Interface, up: bool) -> None:
        interface.ipv4 = self._input
        if not interface.loopback:
            self.v4.loops[interface.index] = GroupLoop(self._input, interface)
        self.v4.add_interface(interface)
        if self._counters is not None:
            self._counters.register(f"interface.{interface.name}", interface.counters)
        if up:
            interface.set_up(True, self._now())
        if self.ip6 is not None:
            self.ip6.attach(interface, self._now())

    # Addresses and routes ------------------------------------------------------------------------------

    def add_address(self, name: str, prefix: str, detect: bool = True) -> None:
        """Give an interface an address and its network, as in "10.0.2.15/24" or "fd00::2/64".  An IPv6 address on a link
        with neighbours can be used once nobody else turns out to have it, about a second later (RFC 4862 section 5.4);
        at once without `detect`.  Raises ENODEV, EINVAL, EADDRNOTAVAIL (taken), EAFNOSUPPORT, and ValueError for text
        that is no prefix."""
        interface = self.interfaces.get(name)
        address, length = parse_prefix(prefix)
        if len(address) == 16:
            network, link = self._sixth(interface)
            network.add_address(link, address, length, 0, self._now(), detect)
            return
        self.v4.add_address(interface, address, length)
        interface.announce(address, self._now())

    def remove_address(self, name: str, address: str) -> None:
        """Take an address away.  Raises ENODEV, EADDRNOTAVAIL, EAFNOSUPPORT."""
        interface = self.interfaces.get(name)
        own = parse_address(address)
        if len(own) == 16:
            network, link = self._sixth(interface)
            network.remove_address(link, own, self._now())
        else:
            self.v4.remove_address(interface, own)

    def _sixth(self, interface: Interface) -> "tuple[Ipv6, Link6]":
        """IPv6 and an interface's part in it.  Raises EAFNOSUPPORT."""
        if self.v6 is None:
            raise error(EAFNOSUPPORT, "the component ipv6 is not there")
        link = self.v6.links.get(interface.index)
        if link is None:
            raise error(EINVAL, f"{interface.name} takes no packets of 1280 bytes, as IPv6 needs")
        return self.v6, link

    def add_route(
        self,
        prefix: str,
        gateway: str | None = None,
        interface: str | None = None,
        metric: int = 0,
        source: str | None = None,
    ) -> RouteEntry:
        """Send packets to a network ("default", or as in "192.168.1.0/24") through a gateway, or to an interface's
        link, from `source` where the sender has not chosen an address.  Of several routes to one network the one with
        the least metric is taken whose interface is up.  Raises ENETUNREACH where no link leads to the gateway,
        ENODEV, EEXIST, EADDRNOTAVAIL, EINVAL where neither is given."""
        if gateway is None and interface is None:
            raise error(EINVAL)
        address, length = _network(prefix, gateway)
        out = None if interface is None else self.interfaces.get(interface)
        hop = b"" if gateway is None else parse_address(gateway)
        if len(hop) not in (0, len(address)):
            raise error(EINVAL, gateway)
        if len(address) == 4:
            return self.v4.add_route(
                address, length, hop, out, metric, b"" if source is None else parse_address(source)
            )
        if self.v6 is None:
            raise error(EAFNOSUPPORT, "the component ipv6 is not there")
        return self.v6.add_route(address, length, hop, out, metric, b"" if source is None else parse_address(source))

    def remove_route(
        self, prefix: str, gateway: str | None = None, interface: str | None = None, metric: int | None = None
    ) -> None:
        """Take away the best route to a network that fits what is given, other than those that follow from addresses.
        Raises ESRCH where there is none, EINVAL."""
        address, length = _network(prefix, gateway)
        network = self.v4 if len(address) == 4 else self.v6
        if network is None:
            raise error(ESRCH)
        for entry in network.table.at(network_of(address, length), length):
            if entry.origin == CONNECTED or (gateway is not None and entry.gateway != parse_address(gateway)):
                continue
            if (interface is None or entry.interface.name == interface) and metric in (None, entry.metric):
                network.remove_route(entry)
                return
        raise error(ESRCH)

    def order_destinations(self, addresses: list[bytes]) -> list[bytes]:
        """The order in which to try the addresses of a name, of both versions of IP: best first by RFC 6724 section 6, those
        that no route leads to last."""
        from ..ip6.select import Destination, order_destinations

        asked = {}
        for address in addresses:
            source, deprecated = self._source_for(address)
            asked[Destination(_mapped(address), source, deprecated)] = address
        return [asked[destination] for destination in order_destinations(list(asked))]

    def _source_for(self, address: bytes) -> tuple[bytes, bool]:
        """The source that packets to an address would bear, as 16 bytes (b"" for no way), and whether it is deprecated."""
        try:
            if len(address) == 4:
                return _mapped(self.v4.route(address).source), False
            if self.v6 is None:
                return b"", False
            source = self.v6.route(address).source
        except OSError:
            return b"", False
        links = self.v6.links.values()
        return source, any(own.deprecated for link in links for own in link.addresses if own.address == source)

    # Listings ------------------------------------------------------------------------------------------

    def interface_rows(self) -> list[InterfaceRow]:
        """All interfaces."""
        return [
            InterfaceRow(
                some.name,
                some.kind,
                format_mac(some.mac),
                some.mtu,
                some.up,
                tuple(format_prefix(own.address, own.length) for own in self._all_addresses(some)),
            )
            for some in self.interfaces.all()
        ]

    def route_rows(self) -> list[RouteRow]:
        """All routes, those of IPv4 first, longest prefix first."""
        return [
            RouteRow(
                format_prefix(entry.network, entry.length),
                format_address(entry.gateway) if entry.gateway else "",
                entry.interface.name,
                entry.metric,
                ORIGIN_NAMES[entry.origin],
                format_address(entry.source) if entry.source else "",
            )
            for network in (self.v4, self.v6)
            if network is not None
            for entry in network.table.entries()
        ]

    def _all_addresses(self, interface: Interface) -> "list[InterfaceAddress | Address6]":
        link = None if self.v6 is None else self.v6.links.get(interface.index)
        return [*interface.addresses, *(() if link is None else link.addresses)]

    def _now(self) -> Instant:
        return self._hyper.now


def _mapped(address: bytes) -> bytes:
    """An IPv4 address as one of IPv6 (RFC 4291 section 2.5.5.2), for comparisons."""
    return bytes(10) + b"\xff\xff" + address if len(address) == 4 else address


def _network(prefix: str, gateway: str | None) -> tuple[bytes, int]:
    """A destination of a route; "default" is of the gateway's family.  Raises EINVAL, and ValueError for text that is no
    prefix."""
    if prefix != "default":
        return parse_prefix(prefix)
    return (bytes(16) if gateway is not None and ":" in gateway else bytes(4)), 0
