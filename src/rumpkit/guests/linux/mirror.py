"""The kernel's interfaces, addresses and routes, copied into a program's network namespace, so that whoever asks Linux there hears what
is true of the kernel: ioctls, rtnetlink, getifaddrs, /sys/class/net, /proc/net.

Above `netlink`, beside `carrier`; `guest` makes one for each program.  Nothing passes the copies (`network` says why): an interface is a
TAP or a TUN whose other end nobody reads, or, where there is no /dev/net/tun, what else Linux lets us make.  Where it lets us make
nothing, addresses are shown on lo.

What is copied is first read off the kernel as a `Picture`, on the schedule.  A change is the difference of two of them.
"""

import fcntl
import os
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast, final

from ...hosts.posix import netdev
from ...hosts.posix.host import PosixHost
from ...hyper.named import NamedTuple
from ...kern.abi.socket import AF_INET, AF_INET6, AF_UNSPEC
from ...kern.kernel import RumpKernel
from ...net.ip.routing import CONNECTED, DYNAMIC
from ...net.link.interface import Interface
from ...net.wire.address import broadcast_of, is_link_local, is_loopback, network_of
from . import abi
from .netlink import Channel, attribute, word
from .network import way_out
from .record import Attended, Work

if TYPE_CHECKING:
    from ...net.ip.contract import Network
    from ...net.ip.service import Ip
    from .netlink import Request

TUNSETIFINDEX: Final = 0x400454DA
_SIOCGIFINDEX: Final = 0x8933
_KINDS: Final = (b"dummy", b"ifb", b"bridge")
"""What to make where TAPs can't be, the most faithful first."""
_FOR_EVER: Final = 0xFFFFFFFF
_LINK_LOCAL_V4: Final = b"\xa9\xfe"
_LEAST_MTU6: Final = 1280
_METRIC6: Final = 1024
"""What Linux shows for a route of IPv6 that has none."""


class Link(NamedTuple):
    """One interface of the kernel's."""

    number: int
    """Its index; likewise below."""
    name: str
    mac: bytes
    mtu: int
    up: bool
    loopback: bool
    ethernet: bool
    six: bool
    """Whether it carries IPv6."""


class Address(NamedTuple):
    """One address that can be used."""

    number: int
    address: bytes
    length: int
    broadcast: bytes
    deprecated: bool


class Way(NamedTuple):
    """One route."""

    network: bytes
    length: int
    gateway: bytes
    number: int
    metric: int
    source: bytes
    protocol: int
    """As rtnetlink has it: who made the route."""
    off_link: bool
    """The gateway is in no network of the interface's."""


class Picture(NamedTuple):
    """What there is to show of a kernel."""

    links: tuple[Link, ...]
    addresses: tuple[Address, ...]
    ways: tuple[Way, ...]


NOTHING: Final = Picture((), (), ())


def picture(kernel: RumpKernel) -> Picture:
    """What a kernel has now.  On the schedule."""
    service = kernel.service("Ip")
    if service is None:
        return NOTHING
    ip = cast("Ip", service)
    sixth = {} if ip.v6 is None else ip.v6.links
    links, addresses, ways = [], [], []
    for one in ip.interfaces.all():
        ethernet = one.kind != "point-to-point" and not one.loopback
        six = one.index in sixth and one.mtu >= _LEAST_MTU6
        links.append(Link(one.index, one.name, one.mac, one.mtu, one.up, one.loopback, ethernet, six))
        for own in one.addresses:
            broadcast = broadcast_of(own.address, own.length) if ethernet and own.length < 31 else b""
            addresses.append(Address(one.index, own.address, own.length, broadcast, False))
        for other in sixth[one.index].addresses if six and one.up else ():
            if sixth[one.index].owns(other.address):
                addresses.append(Address(one.index, other.address, other.length, b"", other.deprecated))
    up = {link.number for link in links if link.up and not link.loopback}
    for network in (ip.v4, ip.v6):
        for entry in network.table.entries() if network is not None else ():
            if entry.interface.index in up:
                origin = entry.origin
                dynamic = abi.RTPROT_DHCP if len(entry.network) == 4 else abi.RTPROT_RA
                protocol = {CONNECTED: abi.RTPROT_KERNEL, DYNAMIC: dynamic}.get(origin, abi.RTPROT_STATIC)
                ways.append(
                    Way(
                        entry.network,
                        entry.length,
                        entry.gateway,
                        entry.interface.index,
                        entry.metric,
                        entry.source,
                        protocol,
                        len(entry.gateway) == 4 and not _near(entry.gateway, entry.interface),
                    )
                )
    ways.sort(key=lambda way: len(way.gateway))  # gateways must be on a link
    return Picture(tuple(links), tuple(addresses), tuple(ways))


def _near(gateway: bytes, interface: Interface) -> bool:
    """Whether a gateway of IPv4 is a neighbour."""
    return any(network_of(gateway, own.length) == network_of(own.address, own.length) for own in interface.addresses)


@final
class _Changes(Attended):
    """The kernel's news that there is something else to show."""

    def __init__(self, mirror: "Mirror", work: Work) -> None:
        super().__init__(work)
        self._mirror = mirror

    def attend(self) -> None:
        self._mirror.update()


@final
class Mirror:
    """The copies in one program's namespace, and their upkeep."""

    def __init__(self, kernel: RumpKernel, host: PosixHost) -> None:
        """Makes nothing yet.  Off the schedule."""
        self._kernel = kernel
        self._host = host
        self._shown = NOTHING
        self._native: dict[int, int] = {}
        """The copies' indexes by the kernel's: the same ones, but where Linux has given that away."""
        self._devices: dict[int, int] = {}
        """Descriptors of copies by the kernel's index."""
        self.discard: Callable[[Sequence[int]], None] = _close_all
        """Closes devices, which takes Linux long."""
        self._spare: list[int] = []
        self._channel: Channel | None = None
        self._six = False
        self._watched: list[Network] = []
        self._changes: _Changes | None = None

    def six(self) -> bool:
        """Whether the kernel has IPv6."""
        return self._kernel.service("Ip6") is not None

    def native(self, index: int) -> int:
        """By which number the namespace has the kernel's interface `index`: lo's where it has not."""
        return self._native.get(index, abi.LOOPBACK_INDEX)

    def devices(self) -> int:
        """How many devices the copies take."""
        return sum(not link.loopback for link in self._look().links)

    def wire(self, channel: int, devices: Sequence[int], six: bool) -> None:
        """Show what the kernel has now.  Takes the descriptors over (`spawn.spawn`).  Off the schedule; raises OSError."""
        self._channel = Channel(channel)
        self._spare = list(devices)
        self._six = six
        self.update()

    def follow(self, work: Work) -> None:
        """Show what changes, too, from now on, in the thread that does `work`."""
        changes = self._changes = _Changes(self, work)
        self._host.enter()
        try:
            service = self._kernel.service("Ip")
            if service is not None:
                ip = cast("Ip", service)
                self._watched = [ip.v4] if ip.v6 is None else [ip.v4, ip.v6]
            for network in self._watched:
                network.changes.subscribe(changes)
            changes.notify()  # of what has changed meanwhile
        finally:
            self._host.leave()

    def close(self) -> None:
        """Let go of everything; the copies go with their namespace.  Off the schedule; a second call does nothing."""
        if self._changes is not None:
            self._host.enter()
            for network in self._watched:
                network.changes.unsubscribe(self._changes)
            self._host.leave()
            self._watched = []
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self.discard([*self._devices.values(), *self._spare])
        self._devices.clear()
        self._spare = []

    def _look(self) -> Picture:
        self._host.enter()
        try:
            return picture(self._kernel)
        finally:
            self._host.leave()

    # The difference ---------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Show what the kernel has now.  Off the schedule, one thread at a time."""
        if self._channel is None:
            return
        before, now = self._shown, self._look()
        if now == before:
            return
        self._shown = now
        links_before = {link.number: link for link in before.links}
        kept = {link.number for link in now.links}
        # What hangs on a link goes and comes with its state; Linux has dropped some of it then, and is told again of all.
        changed = {link.number for link in now.links if links_before.get(link.number) != link}
        old_addresses, old_ways = set(before.addresses), set(before.ways)
        requests = [self._way(way, False) for way in old_ways - set(now.ways) if way.number in kept]
        requests += [self._address(one, False) for one in old_addresses - set(now.addresses) if one.number in kept]
        for index in links_before.keys() - kept:
            requests += self._unmake(index)
        for link in now.links:
            if link.number in changed:
                requests += self._make(link, links_before.get(link.number))
        for one in now.addresses:
            if one.number in changed or one not in old_addresses:
                requests.append(self._address(one, True))
        for way in now.ways:
            if changed or way not in old_ways:
                requests.append(self._way(way, True))
        # Linux may have come to know of some of it by itself, or forgotten it: that is no error.
        self._channel.send([request for request in requests if request is not None])

    def _make(self, link: Link, before: Link | None) -> "list[Request | None]":
        """Make a link, or change it."""
        index = self._native.get(link.number, 0)
        if link.loopback:
            self._native[link.number] = abi.LOOPBACK_INDEX
            return []  # up in any case, with the MTU that the carrier needs
        made: list[Request | None] = []
        if not index:
            index = self._native[link.number] = self._device(link) or self._other(link)
        if index == abi.LOOPBACK_INDEX:
            return []
        flags = abi.IFF_UP if link.up else 0
        mask = abi.IFF_UP if link.number in self._devices else abi.IFF_UP | abi.IFF_NOARP | abi.IFF_MULTICAST
        body = abi.INTERFACE_MESSAGE.pack(AF_UNSPEC, 0, index, flags | (mask & abi.IFF_MULTICAST), mask)
        body += word(abi.IFLA_MTU, link.mtu)
        if link.up:
            body += attribute(abi.IFLA_OPERSTATE, bytes((abi.IF_OPER_UP,)))  # which else is unknown of a TAP
        made.append((abi.RTM_NEWLINK, 0, body))
        if link.ethernet and (before is None or before.mac != link.mac):
            # By itself, as not all that `_other` makes can change it.
            mac = abi.INTERFACE_MESSAGE.pack(AF_UNSPEC, 0, index, 0, 0) + attribute(abi.IFLA_ADDRESS, link.mac)
            made.insert(0, (abi.RTM_NEWLINK, 0, mac))
        if link.up:
            made.append(way_out(AF_INET, index))
            if self._six and link.six:
                made.append(way_out(AF_INET6, index))
        return made

    def _device(self, link: Link) -> int:
        """A TAP or TUN for a link; its index, 0 where that fails."""
        if not self._spare:
            return 0
        fd = self._spare.pop()
        mode = netdev.IFF_TAP if link.ethernet else netdev.IFF_TUN
        request = struct.pack("16sH22x", link.name.encode(), mode | netdev.IFF_NO_PI)
        for wanted in (link.number, 0):
            try:
                fcntl.ioctl(fd, TUNSETIFINDEX, struct.pack("I", wanted))
                fcntl.ioctl(fd, netdev.TUNSETIFF, request)
            except OSError:
                continue  # the number is taken
            self._devices[link.number] = fd
            return wanted or self._index_of(link.name)
        os.close(fd)
        return 0

    def _other(self, link: Link) -> int:
        """The same for what else Linux may let us make; lo where that is nothing."""
        assert self._channel is not None
        name = attribute(abi.IFLA_IFNAME, link.name.encode() + b"\0")
        if link.ethernet:
            name += attribute(abi.IFLA_ADDRESS, link.mac)
        for kind in _KINDS:
            info = attribute(abi.IFLA_LINKINFO, attribute(abi.IFLA_INFO_KIND, kind))
            for wanted in (link.number, 0):
                body = abi.INTERFACE_MESSAGE.pack(AF_UNSPEC, 0, wanted, 0, 0) + name + info
                if not self._channel.send([(abi.RTM_NEWLINK, abi.NLM_F_CREATE | abi.NLM_F_EXCL, body)])[0]:
                    return wanted or self._index_of(link.name)
        return abi.LOOPBACK_INDEX

    def _index_of(self, name: str) -> int:
        """The index of a copy that Linux has numbered."""
        assert self._channel is not None
        answer = fcntl.ioctl(self._channel.socket, _SIOCGIFINDEX, struct.pack("16s24x", name.encode()))
        return int(struct.unpack_from("i", answer, 16)[0])

    def _unmake(self, index: int) -> "list[Request | None]":
        native = self._native.pop(index, abi.LOOPBACK_INDEX)
        fd = self._devices.pop(index, -1)
        if fd >= 0:
            os.close(fd)  # which ends the device
            return []
        if native == abi.LOOPBACK_INDEX:
            return []
        return [(abi.RTM_DELLINK, 0, abi.INTERFACE_MESSAGE.pack(AF_UNSPEC, 0, native, 0, 0))]

    def _address(self, one: Address, there: bool) -> "Request | None":
        six = len(one.address) != 4
        index = self._native.get(one.number, 0)
        if not index or (six and not self._six) or is_loopback(one.address):
            return None  # which lo has by itself
        host = index == abi.LOOPBACK_INDEX
        local = is_link_local(one.address) if six else one.address[:2] == _LINK_LOCAL_V4
        scope = abi.RT_SCOPE_LINK if local and not host else abi.RT_SCOPE_UNIVERSE
        flags = abi.IFA_F_NOPREFIXROUTE | abi.IFA_F_NODAD
        body = abi.ADDRESS_MESSAGE.pack(AF_INET6 if six else AF_INET, one.length, flags & 0xFF, scope, index)
        body += attribute(abi.IFA_LOCAL, one.address) + attribute(abi.IFA_ADDRESS, one.address)
        if not there:
            return abi.RTM_DELADDR, 0, body
        if one.broadcast and not host:
            body += attribute(abi.IFA_BROADCAST, one.broadcast)
        if one.deprecated:
            body += attribute(abi.IFA_CACHEINFO, struct.pack("<4I", 0, _FOR_EVER, 0, 0))
        body += word(abi.IFA_FLAGS, flags)
        return abi.RTM_NEWADDR, abi.NLM_F_CREATE | abi.NLM_F_REPLACE, body

    def _way(self, way: Way, there: bool) -> "Request | None":
        six = len(way.network) != 4
        index = self._native.get(way.number, abi.LOOPBACK_INDEX)
        if index == abi.LOOPBACK_INDEX or (six and not self._six):
            return None
        scope = abi.RT_SCOPE_UNIVERSE if way.gateway or six else abi.RT_SCOPE_LINK
        family = AF_INET6 if six else AF_INET
        flags = abi.RTNH_F_ONLINK if way.off_link and not six else 0
        body = abi.ROUTE_MESSAGE.pack(
            family, way.length, 0, 0, abi.RT_TABLE_MAIN, way.protocol, scope, abi.RTN_UNICAST, flags
        )
        if way.length:
            body += attribute(abi.RTA_DST, way.network)
        body += word(abi.RTA_OIF, index)
        metric = way.metric or (_METRIC6 if six else 0)
        if metric:
            body += word(abi.RTA_PRIORITY, metric)
        if way.gateway:
            body += attribute(abi.RTA_GATEWAY, way.gateway)
        if way.source:
            body += attribute(abi.RTA_PREFSRC, way.source)
        if not there:
            return abi.RTM_DELROUTE, 0, body
        return abi.RTM_NEWROUTE, abi.NLM_F_CREATE | (0 if six else abi.NLM_F_APPEND), body


def _close_all(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)
