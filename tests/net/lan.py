"""A small world for the tests of the net faction: kernels with interfaces on one simulated cable or hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import rumpkit.kern.components
import rumpkit.net.components
from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import FEATURES_ALL, Frame
from rumpkit.hyper.link import LinkPort, Receiver
from rumpkit.hyper.time import MILLISECOND
from rumpkit.kern.abi.socket import AF_INET, IPPROTO_ICMP, SOCK_DGRAM
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.socket import Received, Socket
from rumpkit.kern.wait import Blocked
from rumpkit.net.ip.icmp import Icmp
from rumpkit.net.ip.ipv4 import Ipv4
from rumpkit.net.ip.service import Ip
from rumpkit.net.link.ethernet import EthernetInterface
from rumpkit.net.transport.udp import Udp
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.ethernet import ETHERTYPE_IPV4, emit_ethernet
from rumpkit.net.wire.icmp import ECHO, IcmpMessage
from rumpkit.net.wire.ipv4 import DONT_FRAGMENT, emit_ipv4_header

T = TypeVar("T")


class HubPort(LinkPort):
    """One socket of a hub."""

    def __init__(self, hub: Hub, mtu: int, features: int) -> None:
        super().__init__(mtu, features)
        self.hub = hub
        self.receiver: Receiver | None = None
        self.sent: list[Frame] = []
        self.closed = False

    def attach(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def transmit(self, frame: Frame) -> None:
        self.sent.append(frame)
        for port in self.hub.ports:
            if port is not self and port.receiver is not None and not self.closed and not self.hub.cut:
                self.hub.host.post(port.receiver, frame, self.hub.delay)

    def close(self) -> None:
        self.closed = True


class Hub:
    """Every frame reaches every other port, after a delay."""

    def __init__(self, host: SimHost, delay: int = MILLISECOND, mtu: int = 1500, features: int = FEATURES_ALL) -> None:
        self.host = host
        self.delay = delay
        self.mtu = mtu
        self.features = features
        self.ports: list[HubPort] = []
        self.cut = False

    def port(self) -> HubPort:
        port = HubPort(self, self.mtu, self.features)
        self.ports.append(port)
        return port


class Node:
    """A kernel with one or more interfaces."""

    def __init__(
        self, host: SimHost, name: str, *links: tuple[Hub, str], loopback: bool = True, tcp: bool = False
    ) -> None:
        self.host = host
        with self.entered():
            components = ["ethernet", "ipv4", "icmp", "udp", "raw"] + ["loopback"] * loopback + ["tcp"] * tcp
            self.kernel = RumpKernel(host, (*rumpkit.kern.components.BASE, *components), name)
            self.ip: Ip = self._service("Ip", Ip)
            self.icmp: Icmp = self._service("Icmp", Icmp)
            self.udp: Udp = self._service("Udp", Udp)
            self.ports = []
            self.interfaces: list[EthernetInterface] = []
            for index, (hub, prefix) in enumerate(links):
                port = hub.port()
                self.ports.append(port)
                mac = bytes([2, 0, 0, 0, index, len(hub.ports)])
                interface = self.ip.add_interface(port, f"vif{index}", mac)
                assert isinstance(interface, EthernetInterface)
                self.interfaces.append(interface)
                if prefix:
                    self.ip.add_address(interface.name, prefix)

    def _service(self, name: str, kind: type[T]) -> T:
        service = self.kernel.service(name)
        assert isinstance(service, kind)
        return service

    @property
    def v4(self) -> Ipv4:
        return self.ip.v4

    @property
    def interface(self) -> EthernetInterface:
        return self.interfaces[0]

    @contextmanager
    def entered(self) -> Iterator[None]:
        self.host.enter()
        try:
            yield
        finally:
            self.host.leave()

    def do(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call into the kernel, as a client does."""
        with self.entered():
            return call(*arguments)

    def counter(self, name: str) -> int:
        return self.kernel.counters.get(name)

    def inject(self, head: bytes, interface: int = 0) -> None:
        """Let a frame arrive, as if the link had brought it."""
        with self.entered():
            self.host.post(self.interfaces[interface].ingress(), Frame(head))

    # Sockets -------------------------------------------------------------------------------------------

    def socket(self, kind: int = SOCK_DGRAM, protocol: int = 0) -> Socket:
        socket = self.do(self.kernel.sockets.make, AF_INET, kind, protocol)
        socket.hold()
        return socket

    def udp_socket(self, address: str = "0.0.0.0", port: int = 0) -> Socket:
        socket = self.socket()
        self.do(socket.bind, (parse_ipv4(address), port))
        return socket

    def send(self, socket: Socket, data: bytes, address: str | None = None, port: int = 0, flags: int = 0) -> int:
        destination = None if address is None else (parse_ipv4(address), port)
        sent = self.do(lambda: socket.send(data, 0, flags, destination, self.host.now))
        assert isinstance(sent, int)
        return sent

    def receive(self, socket: Socket, size: int = 65536, flags: int = 0) -> Received | None:
        """One datagram, or None where a caller would wait."""
        result = self.do(lambda: socket.receive(size, flags, self.host.now))
        return None if isinstance(result, Blocked) else result

    def drain(self, socket: Socket) -> list[bytes]:
        out = []
        while (received := self.receive(socket)) is not None:
            out.append(received.data)
        return out

    def ping(self, address: str, data: bytes = b"ping", sequence: int = 1, ttl: int | None = None) -> Socket:
        """A ping socket that has sent one echo request."""
        socket = self.socket(SOCK_DGRAM, IPPROTO_ICMP)
        if ttl is not None:
            self.do(socket.set_option, 0, 2, ttl.to_bytes(4, "little"))
        self.do(socket.set_option, 0, 11, b"\1\0\0\0")
        self.send(socket, IcmpMessage(ECHO, 0, sequence, data).emit(), address)
        return socket

    def close(self) -> None:
        with self.entered():
            self.kernel.close()


def pair(host: SimHost | None = None, **hub: Any) -> tuple[SimHost, Node, Node]:
    """Two kernels on one cable: 10.0.0.1 and 10.0.0.2."""
    host = host or SimHost(seed=1)
    cable = Hub(host, **hub)
    a = Node(host, "a", (cable, "10.0.0.1/24"))
    b = Node(host, "b", (cable, "10.0.0.2/24"))
    host.run(host.now + 10 * MILLISECOND)
    return host, a, b


def packet(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    mac: bytes = b"\x02\0\0\0\0\2",
    peer: bytes = b"\x02\0\0\0\0\1",
    identification: int = 7,
    fragment: int = DONT_FRAGMENT,
    ttl: int = 64,
    options: bytes = b"",
    tos: int = 0,
) -> bytes:
    """A whole frame with an IPv4 packet, by default from 10.0.0.2's kernel of `pair` to 10.0.0.1's."""
    header = emit_ipv4_header(
        parse_ipv4(source), parse_ipv4(destination), protocol, len(payload), identification, fragment, ttl, tos, options
    )
    return emit_ethernet(peer, mac, ETHERTYPE_IPV4) + header + payload
