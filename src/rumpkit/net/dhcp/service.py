"""DHCP clients at work: between `client`, which decides, and the UDP, ARP, addresses, routes and names of a kernel."""

from typing import TYPE_CHECKING, Final, final

from ...hyper.time import SECOND, Instant
from ...kern.abi.errno import EINVAL, EOPNOTSUPP, error
from ...kern.timer import Timer
from ...kern.wait import Observer, WaitQueue
from ..ip.contract import Route
from ..ip.names import DHCP
from ..ip.routing import DYNAMIC, RouteEntry
from ..ip.service import Ip
from ..ip.watch import InterfaceWatcher
from ..link.arp import AddressWatcher
from ..link.ethernet import EthernetInterface
from ..link.interface import Interface
from ..link.interfaces import MAX_MTU
from ..transport.udp import Udp
from ..wire.address import ANY_V4, BROADCAST_V4
from ..wire.dhcp import CLIENT_PORT, SERVER_PORT, parse_dhcp
from .client import DhcpClient, DhcpCounters, DhcpOwner, DhcpSettings
from .lease import Lease

if TYPE_CHECKING:
    from ...kern.kernel import RumpKernel


ANNOUNCE_INTERVAL: Final = 2 * SECOND


@final
class Dhcp:
    """The DHCP clients of one kernel, which share a port.  All methods are called on the schedule."""

    def __init__(self, kernel: "RumpKernel", ip: Ip, udp: Udp) -> None:
        self.settings: DhcpSettings = DhcpSettings()
        self.counters: DhcpCounters = DhcpCounters()
        self.changes: WaitQueue = WaitQueue()
        """Woken when a lease has come or gone."""
        self.kernel: RumpKernel = kernel
        self.ip: Ip = ip
        self.udp: Udp = udp
        self.clients: dict[str, _Client] = {}
        """By interface."""
        self._queue: WaitQueue = WaitQueue()
        self._endpoint = udp.open(self._queue)
        self._arrival: _Arrival = _Arrival(self)
        self._queue.subscribe(_Bell(self))
        ip.watchers.append(_Watch(self))

    def start(self, interface: str, metric: int = 0) -> None:
        """Give an Ethernet interface an address by DHCP from now on; its routes get the metric.  Raises ENODEV, EINVAL
        where it has a client already, EOPNOTSUPP where it has no Ethernet, EADDRINUSE (port 68)."""
        found = self.ip.interfaces.get(interface)
        if interface in self.clients:
            raise error(EINVAL)
        if not isinstance(found, EthernetInterface):
            raise error(EOPNOTSUPP)
        if self._endpoint.port == 0:
            self.udp.bind(self._endpoint, ANY_V4, CLIENT_PORT)
        client = self.clients[interface] = _Client(self, found, metric)
        client.machine.start(self.kernel.hyper.now)
        client.follow()

    def stop(self, interface: str) -> None:
        """Give the lease back, and the address up.  Raises EINVAL where there is no client."""
        client = self.clients.pop(interface, None)
        if client is None:
            raise error(EINVAL)
        client.machine.stop(self.kernel.hyper.now)
        client.follow()

    def bound(self) -> bool:
        """Whether every client has a lease."""
        return all(client.machine.bound() for client in self.clients.values())

    def ring(self) -> None:
        """Something has arrived: look at it once whoever brought it is done."""
        self.kernel.timers.set(self._arrival, self.kernel.hyper.now)

    def read(self, now: Instant) -> None:
        """Take what has arrived."""
        mailbox = self._endpoint.mailbox
        while (letter := mailbox.first()) is not None:
            mailbox.take()
            message = parse_dhcp(letter.data) if letter.port == SERVER_PORT else None
            if message is None:
                self.counters.bad_in += 1
                continue
            self.counters.messages_in += 1
            for client in list(self.clients.values()):
                if client.machine.receive(message, now):
                    client.follow()
                    break
            else:
                self.counters.ignored_in += 1


@final
class _Watch(InterfaceWatcher):
    def __init__(self, service: Dhcp) -> None:
        self._clients: dict[str, _Client] = service.clients
        self._service: Dhcp = service

    def came_up(self, interface: Interface, now: Instant) -> None:
        client = self._clients.get(interface.name)
        if client is not None:
            client.machine.link_up(now)
            client.follow()

    def goes_away(self, interface: Interface, now: Instant) -> None:
        if interface.name in self._clients:
            self._service.stop(interface.name)


@final
class _Bell(Observer):
    def __init__(self, service: Dhcp) -> None:
        self._service: Dhcp = service

    def notify(self) -> None:
        self._service.ring()


@final
class _Arrival(Timer):
    def __init__(self, service: Dhcp) -> None:
        super().__init__()
        self._service: Dhcp = service

    def expire(self, now: Instant) -> None:
        self._service.read(now)


@final
class _Alarm(Timer):
    """The client's deadline."""

    def __init__(self, client: "_Client") -> None:
        super().__init__()
        self._client: _Client = client

    def expire(self, now: Instant) -> None:
        self._client.machine.on_deadline(now)
        self._client.follow()


@final
class _SecondAnnouncement(Timer):
    """Neighbours are told of a new address twice (RFC 5227 section 2.3)."""

    def __init__(self, client: "_Client") -> None:
        super().__init__()
        self._client: _Client = client

    def expire(self, now: Instant) -> None:
        self._client.announce_again(now)


@final
class _Watcher(AddressWatcher):
    def __init__(self, client: "_Client") -> None:
        self._client: _Client = client

    def conflict(self, address: bytes, now: Instant) -> None:
        self._client.machine.conflict(address, now)
        self._client.follow()


@final
class _Client(DhcpOwner):
    """The client of one interface, and what it has done there."""

    def __init__(self, service: Dhcp, interface: EthernetInterface, metric: int) -> None:
        self.interface: EthernetInterface = interface
        self._service: Dhcp = service
        self._metric: int = metric
        self._address: bytes = b""
        self._length: int = 0
        self._routes: list[RouteEntry] = []
        self._mtu: int = interface.mtu
        """Without what the server says."""
        self._alarm: _Alarm = _Alarm(self)
        self._second: _SecondAnnouncement = _SecondAnnouncement(self)
        kernel = service.kernel
        self.machine: DhcpClient = DhcpClient(
            self, interface.mac, kernel.hostname, kernel.hyper.random, service.settings, service.counters
        )

    def follow(self) -> None:
        """The machine has moved: set its alarm."""
        self._service.kernel.timers.set(self._alarm, self.machine.deadline)

    # What the machine asks for -----------------------------------------------------------------------------

    def send(self, message: bytes, source: bytes, server: bytes, now: Instant) -> None:
        udp = self._service.udp
        try:
            if server:
                udp.send_as(source, CLIENT_PORT, server, SERVER_PORT, message, now)
            else:
                route = Route(self.interface, source, BROADCAST_V4, self.interface.mtu)
                udp.send_over(route, CLIENT_PORT, BROADCAST_V4, SERVER_PORT, message, now)
        except OSError:
            return  # no route to the server at the moment; the machine tries again

    def probe(self, address: bytes, now: Instant) -> None:
        neighbours = self.interface.neighbours
        neighbours.watch(address, _Watcher(self))
        neighbours.probe(address, now)

    def configure(self, lease: Lease, now: Instant) -> None:
        if (self._address, self._length) != (lease.address, lease.length):
            self._unconfigure()
            try:
                self._service.ip.v4.add_address(self.interface, lease.address, lease.length)
            except OSError:
                return  # another interface of ours has it
            self._address = lease.address
            self._length = lease.length
            self.interface.announce(lease.address, now)
            self._service.kernel.timers.set(self._second, now + ANNOUNCE_INTERVAL)
            self.interface.neighbours.watch(lease.address, _Watcher(self))
        mtu = min(lease.mtu or self._mtu, self.interface.port.mtu, MAX_MTU)
        self._set_mtu(mtu)
        self._route(lease)
        self._service.ip.names.tell(f"{self.interface.name} dhcp", DHCP, lease.name_servers, lease.search)
        self._service.changes.wake_all()

    def announce_again(self, now: Instant) -> None:
        """The second announcement is due."""
        if self._address and self.interface.owns(self._address):
            self.interface.announce(self._address, now)

    def release(self, address: bytes, now: Instant) -> None:
        self.interface.neighbours.watch(address, None)
        self._unconfigure()
        self._service.changes.wake_all()

    def _route(self, lease: Lease) -> None:
        """Replace the routes that came with an earlier lease, where they differ."""
        v4 = self._service.ip.v4
        wanted = [(network, length, hop if any(hop) else b"") for network, length, hop in lease.routes]
        if [(entry.network, entry.length, entry.gateway) for entry in self._routes] == wanted:
            return
        self._forget_routes()
        for network, length, hop in wanted:
            try:
                entry = v4.add_route(network, length, hop, self.interface, self._metric, lease.address, DYNAMIC)
            except OSError:
                continue  # the config has that route already
            self._routes.append(entry)

    def _forget_routes(self) -> None:
        for entry in self._routes:
            self._service.ip.v4.remove_route(entry)
        self._routes = []

    def _unconfigure(self) -> None:
        if not self._address:
            return
        ip = self._service.ip
        self._forget_routes()
        if self.interface.owns(self._address):
            ip.v4.remove_address(self.interface, self._address)
        self._address = b""
        self._set_mtu(self._mtu)
        ip.names.tell(f"{self.interface.name} dhcp", DHCP, [], [])

    def _set_mtu(self, mtu: int) -> None:
        """Routes of both versions of IP have the old one."""
        if mtu != self.interface.mtu:
            self.interface.mtu = mtu
            for network in (self._service.ip.v4, self._service.ip.v6):
                if network is not None:
                    network.moved()
