"""Point-to-point interfaces: a link with one other end, which needs no addresses and so no ARP, such as a TUN.

Inside the kernel frames carry an Ethernet header of zeros, as on the loopback interface: segmentation and captures are
then the same as everywhere.  The port takes it off and puts it on.
"""

from typing import Final, final

from ...hyper.frame import Frame
from ...hyper.link import LinkPort, Receiver
from ...hyper.time import Instant
from ..wire.address import ANY_MAC
from ..wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_SIZE, emit_ethernet, ethertype
from .interface import LinkInterface
from .tap import INBOUND

_HEADERS: Final = {
    4: emit_ethernet(ANY_MAC, ANY_MAC, ETHERTYPE_IPV4),
    6: emit_ethernet(ANY_MAC, ANY_MAC, ETHERTYPE_IPV6),
}


def header_for(packet: bytes) -> bytes:
    """The link header for an IP packet by its version, b"" for what is no IP packet."""
    return _HEADERS.get(packet[0] >> 4, b"") if packet else b""


@final
class PointToPointInterface(LinkInterface):
    """The way out: whatever the next hop is, there is one place to go."""

    def __init__(self, name: str, index: int, mtu: int, port: LinkPort) -> None:
        super().__init__(name, index, ANY_MAC, mtu, port)
        self.kind = "point-to-point"
        self._ingress: PointToPointIngress = PointToPointIngress(self)

    def output(self, frame: Frame, next_hop: bytes, now: Instant) -> None:
        frame.push(header_for(frame.head))
        self.transmit(frame, now)

    def set_up(self, up: bool, now: Instant) -> None:
        self.up = up

    def announce(self, address: bytes, now: Instant) -> None:
        return None

    def ingress(self) -> Receiver:
        return self._ingress


@final
class PointToPointIngress(Receiver):
    """The way in."""

    def __init__(self, interface: PointToPointInterface) -> None:
        self.interface: PointToPointInterface = interface

    def receive(self, frame: Frame, now: Instant) -> None:
        interface = self.interface
        counters = interface.counters
        if not interface.up:
            counters.down_in += 1
            return
        counters.frames_in += 1
        counters.bytes_in += len(frame.head) + frame.size
        if interface.tapped:
            interface.tell_taps(frame, INBOUND, now)
        kind = ethertype(frame.head)
        network = interface.ipv4 if kind == ETHERTYPE_IPV4 else interface.ipv6 if kind == ETHERTYPE_IPV6 else None
        if kind < 0:
            counters.short_in += 1
        elif network is not None:
            network.input(frame, HEADER_SIZE, interface, now)
        else:
            counters.unknown_type_in += 1

    def flush(self, now: Instant) -> None:
        interface = self.interface
        for network in (interface.ipv4, interface.ipv6):
            if network is not None:
                network.flush(now)
