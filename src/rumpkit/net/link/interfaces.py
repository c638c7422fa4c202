"""The interfaces of one kernel by name, and what they share: ARP's settings and counters, index numbers."""

from collections.abc import Callable
from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.link import LinkPort
from ...kern.abi.errno import EEXIST, EINVAL, ENODEV, error
from ...kern.timer import TimerQueue
from ..wire.address import is_group_mac
from .arp import ArpCounters, ArpSettings
from .ethernet import EthernetInterface
from .interface import Interface
from .loopback import LoopbackInterface
from .point import PointToPointInterface
from .vlan import MAX_ID, MIN_ID, VlanPort

MIN_MTU: Final = 68
"""Every link must carry as much (RFC 791 section 3.2)."""
MAX_MTU: Final = 65535
NAME_MAX: Final = 15


@final
class Interfaces:
    """All interfaces, in the order they were made."""

    def __init__(self, hyper: Hypercalls, timers: TimerQueue) -> None:
        self.arp_settings: ArpSettings = ArpSettings()
        self.arp_counters: ArpCounters = ArpCounters()
        self._hyper: Hypercalls = hyper
        self._timers: TimerQueue = timers
        self.watchers: list[Callable[[Interface], None]] = []
        """Called with each interface that is made."""
        self._by_name: dict[str, Interface] = {}
        self._last_index: int = 0

    def add_ethernet(self, name: str, port: LinkPort, mac: bytes = b"", mtu: int = 0) -> EthernetInterface:
        """An interface over `port`, down and without addresses.  Without `mac` it gets a random one, without `mtu`
        the link's.  Raises EINVAL, EEXIST."""
        if not mac:
            mac = b"\x02" + self._hyper.random(5)
        if len(mac) != 6 or is_group_mac(mac) or not any(mac):
            raise error(EINVAL, f"MAC address {mac.hex(':')}")
        mtu = _checked_mtu(mtu, port)
        index = self._take(name)
        interface = EthernetInterface(name, index, mac, mtu, port, self._timers, self.arp_settings, self.arp_counters)
        self._added(interface)
        port.attach(interface.ingress())
        return interface

    def add_vlan(self, name: str, carrier: EthernetInterface, number: int, mtu: int = 0) -> EthernetInterface:
        """The interface of a VLAN that `carrier` carries, with its MAC address, down and without addresses.  Raises
        EINVAL for a number outside 1 to 4094, EEXIST."""
        if not MIN_ID <= number <= MAX_ID:
            raise error(EINVAL, f"VLAN {number}")
        if number in carrier.vlans:
            raise error(EEXIST, f"VLAN {number} of {carrier.name}")
        port = VlanPort(carrier, number, self._hyper)
        made = self.add_ethernet(name, port, carrier.mac, mtu)
        made.kind = "vlan"
        carrier.vlans[number] = port
        return made

    def add_point_to_point(self, name: str, port: LinkPort, mtu: int = 0) -> PointToPointInterface:
        """An interface over a `port` with one other end, down and without addresses.  Raises EINVAL, EEXIST."""
        mtu = _checked_mtu(mtu, port)
        interface = PointToPointInterface(name, self._take(name), mtu, port)
        self._added(interface)
        port.attach(interface.ingress())
        return interface

    def add_loopback(self, name: str = "lo") -> LoopbackInterface:
        """The loopback interface, down and without addresses.  Raises EEXIST."""
        interface = LoopbackInterface(name, self._take(name), self._hyper)
        self._added(interface)
        return interface

    def get(self, name: str) -> Interface:
        """The interface called `name`.  Raises ENODEV."""
        interface = self._by_name.get(name)
        if interface is None:
            raise error(ENODEV, name)
        return interface

    def numbered(self, index: int) -> Interface:
        """The interface with that index.  Raises ENODEV."""
        for interface in self._by_name.values():
            if interface.index == index:
                return interface
        raise error(ENODEV)

    def remove(self, interface: Interface) -> None:
        """Close an interface and forget it."""
        del self._by_name[interface.name]
        interface.close()

    def all(self) -> list[Interface]:
        """Every interface, in the order they were made."""
        return list(self._by_name.values())

    def _added(self, interface: Interface) -> None:
        self._by_name[interface.name] = interface
        for watcher in self.watchers:
            watcher(interface)

    def _take(self, name: str) -> int:
        """Check a new name, and number its interface."""
        if not 0 < len(name) <= NAME_MAX or any(letter in name for letter in "/ \t\n"):
            raise error(EINVAL, name)
        if name in self._by_name:
            raise error(EEXIST, name)
        self._last_index += 1
        return self._last_index


def _checked_mtu(mtu: int, port: LinkPort) -> int:
    """The MTU to use, the port's where none is asked for.  Raises EINVAL."""
    mtu = mtu or port.mtu
    if not MIN_MTU <= mtu <= min(port.mtu, MAX_MTU):
        raise error(EINVAL, f"MTU {mtu} on a link that takes {port.mtu}")
    return mtu
