"""The IPv6 service of a kernel: its network, ICMPv6, neighbours, routers and groups, and what gives interfaces their part in them.

Below `ip.service`, which speaks for both versions of IP; above everything else of `net.ip6`.
"""

from typing import final

from ...hyper.calls import Hypercalls
from ...hyper.time import Instant
from ...kern.counters import CounterRegistry
from ...kern.sysctl import SysctlRegistry
from ...kern.timer import TimerQueue
from ..ip.names import NameSettings
from ..link.ethernet import EthernetInterface
from ..link.interface import Interface
from ..wire.address import LOOPBACK_V6
from ..wire.ipv6 import MIN_MTU
from .control import EthernetControl
from .discovery import Discovery
from .groups import GROUP6_SYSCTLS
from .icmp import Icmp6
from .input import GroupLoop6, Ipv6Input
from .ipv6 import Ipv6
from .link import MANUAL, Address6, Link6
from .mld import MLD_SYSCTLS, LinkListener, Mld
from .neighbours import Neighbours6
from .reassembly import Reassembly6
from .report import ICMP6_SYSCTLS
from .routers import Routers
from .settings import IPV6_SYSCTLS, ND_SYSCTLS
from .slaac import Slaac

_SECRET_SIZE = 16


@final
class Ip6:
    """IPv6 of one kernel.  All methods are called on the schedule."""

    def __init__(self, hyper: Hypercalls, timers: TimerQueue, names: NameSettings) -> None:
        self.network: Ipv6 = Ipv6(hyper, timers)
        self.icmp: Icmp6 = Icmp6(self.network)
        self.reassembly: Reassembly6 = Reassembly6(timers, self.network)
        self.discovery: Discovery = Discovery(hyper, timers, self.network, self.icmp)
        self.secret: bytes = hyper.random(_SECRET_SIZE)
        """What interface identifiers are made with (RFC 7217); another kernel's are others."""
        self.slaac: Slaac = Slaac(hyper, timers, self.network, self.discovery.settings, self.secret)
        self.routers: Routers = Routers(timers, self.network, self.discovery, self.slaac, names)
        self.mld: Mld = Mld(hyper, timers, self.network, self.icmp)
        self._controls: dict[int, EthernetControl] = {}
        self._timers: TimerQueue = timers
        self.discovery.dad.became_valid = self._became_valid
        self.discovery.dad.is_duplicate = self._is_duplicate

    def register(self, counters: CounterRegistry, sysctl: SysctlRegistry) -> None:
        """List counters and sysctls with the kernel's."""
        counters.register("ip6", self.network.counters)
        counters.register("icmp6", self.icmp.counters)
        counters.register("nd", self.discovery.counters)
        counters.register("mld", self.mld.counters)
        sysctl.register("net.ip6", self.network.settings, IPV6_SYSCTLS)
        sysctl.register("net.ip6.groups", self.network.memberships.settings, GROUP6_SYSCTLS)
        sysctl.register("net.icmp6", self.icmp.settings, ICMP6_SYSCTLS)
        sysctl.register("net.nd", self.discovery.settings, ND_SYSCTLS)
        sysctl.register("net.mld", self.mld.settings, MLD_SYSCTLS)

    def attach(self, interface: Interface, now: Instant) -> Link6 | None:
        """Give an interface its part in IPv6: packets in, and on Ethernet neighbours and a link-local address.  None where
        the link takes less than IPv6 needs (RFC 8200 section 5): it has no part then."""
        if interface.mtu < MIN_MTU:
            return None
        network = self.network
        link = network.add_interface(interface)
        packets = interface.ipv6 = Ipv6Input(network, link, self.reassembly)
        if not interface.loopback:
            network.loops[interface.index] = GroupLoop6(packets, interface)
        if interface.loopback:
            network.add_address(link, LOOPBACK_V6, 128, MANUAL, now)
        elif isinstance(interface, EthernetInterface):
            self._control(link, interface)
        if interface.up:
            self.changed(interface, True, now)
        return link

    def detach(self, interface: Interface, now: Instant) -> None:
        """Take an interface's part away."""
        self.network.remove_interface(interface, now)
        self._controls.pop(interface.index, None)
        self.discovery.tables.pop(interface.index, None)
        self.mld.listeners.pop(interface.index, None)
        interface.ipv6 = None
        interface.resolver = None

    def changed(self, interface: Interface, up: bool, now: Instant) -> None:
        """An interface has come up, or gone down."""
        link = self.network.links.get(interface.index)
        self.network.moved()
        if link is None or link.control is None:
            return
        if up:
            link.control.came_up(now)
        else:
            link.control.went_down(now)

    def neighbours(self, interface: Interface) -> Neighbours6 | None:
        """The neighbours on an interface; None where it has none."""
        return self.discovery.tables.get(interface.index)

    def _control(self, link: Link6, interface: EthernetInterface) -> None:
        discovery = self.discovery
        table = Neighbours6(link, interface, discovery, self._timers, discovery.settings, discovery.counters)
        discovery.tables[interface.index] = table
        interface.resolver = table
        control = EthernetControl(link, table, discovery, self.network, self._timers, self.secret)
        control.slaac = self.slaac
        control.routers = self.routers
        control.listener = self.mld.listeners[interface.index] = LinkListener(self.mld, link)
        self._controls[interface.index] = control
        link.control = control

    def _became_valid(self, address: Address6, now: Instant) -> None:
        control = self._controls.get(address.link.interface.index)
        if control is not None:
            control.became_valid(address, now)

    def _is_duplicate(self, address: Address6, now: Instant) -> None:
        control = self._controls.get(address.link.interface.index)
        if control is not None:
            control.is_duplicate(address, now)
