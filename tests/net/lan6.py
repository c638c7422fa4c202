"""Kernels with IPv6 on one simulated cable, for the tests of `net.ip6`: as `tests.net.lan`, with what IPv6 adds."""

from __future__ import annotations

from typing import Any

import rumpkit.kern.components
import rumpkit.net.components
from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.kern.kernel import RumpKernel
from rumpkit.net.ip.icmp import Pinger
from rumpkit.net.ip.service import Ip
from rumpkit.net.ip6.icmp import Icmp6
from rumpkit.net.ip6.ipv6 import Ipv6
from rumpkit.net.ip6.link import STATE_NAMES, Link6
from rumpkit.net.ip6.neighbours import Neighbours6
from rumpkit.net.ip6.service import Ip6
from rumpkit.net.link.ethernet import EthernetInterface
from rumpkit.net.wire.address import format_ipv6, multicast_mac, parse_ipv6
from rumpkit.net.wire.ethernet import ETHERTYPE_IPV6, emit_ethernet, ethertype
from rumpkit.net.wire.icmpv6 import ECHO_REQUEST, Icmp6Message, parse_icmpv6
from rumpkit.net.wire.ipv6 import PROTOCOL_ICMPV6, Ipv6Header, emit_ipv6_header, parse_ipv6_header
from tests.net.lan import Hub, Node

MAC_A = b"\x02\0\0\0\0\1"
MAC_B = b"\x02\0\0\0\0\2"
STRANGER = b"\x02\0\0\0\0\x99"
ALL_NODES = "ff02::1"


class Node6(Node):
    """A kernel with IPv6 and one or more Ethernet interfaces; sysctls are set before they come up."""

    def __init__(self, host: SimHost, name: str, *links: tuple[Hub, str], **sysctl: int) -> None:
        self.host = host
        self.ports = []
        self.interfaces: list[EthernetInterface] = []
        with self.entered():
            components = ["ethernet", "ipv4", "ipv6", "loopback", "icmp", "udp", "tcp", "raw"]
            self.kernel = RumpKernel(host, (*rumpkit.kern.components.BASE, *components), name)
            self.ip: Ip = self._service("Ip", Ip)
            self.ip6: Ip6 = self._service("Ip6", Ip6)
            for key, value in sysctl.items():
                self.kernel.sysctl.set("net." + key.replace("__", "."), value)
        for hub, prefix in links:
            self.plug(hub, prefix)

    def plug(self, hub: Hub, prefix: str = "") -> EthernetInterface:
        """One more interface."""
        with self.entered():
            port = hub.port()
            self.ports.append(port)
            index = len(self.interfaces)
            interface = self.ip.add_interface(port, f"vif{index}", bytes([2, 0, 0, 0, index, len(hub.ports)]))
            assert isinstance(interface, EthernetInterface)
            self.interfaces.append(interface)
            if prefix:
                self.ip.add_address(interface.name, prefix)
        return interface

    @property
    def v6(self) -> Ipv6:
        return self.ip6.network

    @property
    def icmp6(self) -> Icmp6:
        return self.ip6.icmp

    @property
    def link(self) -> Link6:
        return self.v6.links[self.interface.index]

    @property
    def table(self) -> Neighbours6:
        table = self.ip6.neighbours(self.interface)
        assert table is not None
        return table

    @property
    def link_local(self) -> str:
        return format_ipv6(self.link.link_local())

    def states(self) -> dict[str, str]:
        """The neighbours and their states."""
        return {format_ipv6(address): state for address, _, state, _ in self.table.rows()}

    def addresses(self) -> dict[str, str]:
        """The addresses of the first interface and their states; deprecated ones say so."""
        return {
            format_ipv6(own.address): "deprecated" if own.deprecated else STATE_NAMES[own.state]
            for own in self.link.addresses
        }

    def ping6(self, address: str, data: bytes = b"ping", source: str | None = None, zone: int = 0) -> Ping:
        """Send an echo request, and keep what comes of it."""
        ping = Ping()
        with self.entered():
            identifier = len(self.icmp6.pingers) + 1
            self.icmp6.pingers[identifier] = ping
            message = Icmp6Message(ECHO_REQUEST, 0, identifier << 16 | 1, data)
            own = None if source is None else parse_ipv6(source)
            self.icmp6.send(message, own, parse_ipv6(address), 0, 0, self.host.now, zone)
        return ping

    def packets(self, interface: int = 0) -> list[tuple[bytes, Ipv6Header, Frame]]:
        """The IPv6 packets sent so far: destination MAC, header, frame."""
        found = []
        for frame in self.ports[interface].sent:
            if ethertype(frame.head) == ETHERTYPE_IPV6:
                header = parse_ipv6_header(frame.head, 14, len(frame) - 14)
                assert header is not None
                found.append((frame.head[:6], header, frame))
        return found

    def messages(self, *kinds: int, interface: int = 0) -> list[tuple[Ipv6Header, Icmp6Message]]:
        """The ICMPv6 messages of some types sent so far (without extension headers)."""
        found = []
        for _, header, frame in self.packets(interface):
            if header.next_header == PROTOCOL_ICMPV6:
                message = parse_icmpv6(frame, 54, int(header.end))
                assert message is not None
                if not kinds or message.kind in kinds:
                    found.append((header, message))
        return found

    def forget_sent(self) -> None:
        for port in self.ports:
            port.sent.clear()


class Ping(Pinger):
    """Keeps what an echo request came to."""

    def __init__(self) -> None:
        self.replies: list[tuple[str, bytes, int]] = []
        self.errors: list[int] = []

    def reply(self, source: bytes, message: bytes, ttl: int, now: int) -> None:
        self.replies.append((format_ipv6(source), message[8:], ttl))

    def failed(self, destination: bytes, errno: int, now: int) -> None:
        self.errors.append(errno)


def pair6(host: SimHost | None = None, settle: bool = True, **hub: Any) -> tuple[SimHost, Node6, Node6]:
    """Two kernels on one cable, fd00::1 and fd00::2; their addresses are valid by then, unless not `settle`."""
    host = host or SimHost(seed=1)
    cable = Hub(host, **hub)
    a = Node6(host, "a", (cable, "fd00::1/64"))
    b = Node6(host, "b", (cable, "fd00::2/64"))
    if settle:
        host.run(host.now + 3 * SECOND)
    return host, a, b


def icmp6_frame(
    kind: int,
    body: bytes,
    source: str,
    destination: str,
    *,
    mac: bytes = STRANGER,
    to: bytes = b"",
    hops: int = 255,
    code: int = 0,
) -> bytes:
    """A whole frame with an ICMPv6 message from a stranger; `body` is what follows the checksum."""
    own, target = parse_ipv6(source), parse_ipv6(destination)
    message = Icmp6Message(kind, code, int.from_bytes(body[:4], "big"), body[4:]).emit(own, target)
    return frame6(58, message, source, destination, mac=mac, to=to, hops=hops)


def frame6(
    protocol: int,
    payload: bytes,
    source: str,
    destination: str,
    *,
    mac: bytes = STRANGER,
    to: bytes = b"",
    hops: int = 64,
) -> bytes:
    """A whole frame with an IPv6 packet from a stranger, by default to MAC_A."""
    own, target = parse_ipv6(source), parse_ipv6(destination)
    to = to or (multicast_mac(target) if target[0] == 0xFF else MAC_A)
    return (
        emit_ethernet(to, mac, ETHERTYPE_IPV6) + emit_ipv6_header(own, target, protocol, len(payload), hops) + payload
    )
