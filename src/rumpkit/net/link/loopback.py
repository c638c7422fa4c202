"""The loopback interface: what a kernel sends to itself comes back in through the host's queue, so that the kernel is
never entered from inside its own transmit.  Frames carry an Ethernet header of zeros, as Linux's do, which lets
captures show them beside others."""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.frame import FEATURES_ALL, Frame
from ...hyper.link import Receiver
from ...hyper.time import Instant
from ..wire.address import ANY_MAC
from ..wire.ethernet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER_SIZE, emit_ethernet, ethertype
from .interface import Interface
from .tap import OUTBOUND

LOOPBACK_MTU: Final = 65536


@final
class LoopbackInterface(Interface):
    """The way out and back."""

    def __init__(self, name: str, index: int, hyper: Hypercalls) -> None:
        super().__init__(name, index, ANY_MAC, LOOPBACK_MTU, FEATURES_ALL)
        self.loopback = True
        self.kind = "loopback"
        self._hyper: Hypercalls = hyper
        self._header: bytes = emit_ethernet(ANY_MAC, ANY_MAC, ETHERTYPE_IPV4)
        self._header6: bytes = emit_ethernet(ANY_MAC, ANY_MAC, ETHERTYPE_IPV6)
        self._ingress: LoopbackIngress = LoopbackIngress(self)

    def output(self, frame: Frame, next_hop: bytes, now: Instant) -> None:
        counters = self.counters
        if not self.up:
            counters.down_out += 1
            return
        frame.head = (self._header if len(next_hop) == 4 else self._header6) + frame.head
        frame.checksum_start += HEADER_SIZE
        counters.frames_out += 1
        counters.bytes_out += len(frame.head) + frame.size
        if self.tapped:  # once is enough: what goes out is what comes in
            self.tell_taps(frame, OUTBOUND, now)
        self._hyper.post(self._ingress, frame)

    def set_up(self, up: bool, now: Instant) -> None:
        self.up = up

    def announce(self, address: bytes, now: Instant) -> None:
        return None

    def ingress(self) -> Receiver:
        return self._ingress

    def close(self) -> None:
        self.up = False


@final
class LoopbackIngress(Receiver):
    """The way in."""

    def __init__(self, interface: LoopbackInterface) -> None:
        self.interface: LoopbackInterface = interface

    def receive(self, frame: Frame, now: Instant) -> None:
        interface = self.interface
        counters = interface.counters
        if not interface.up:
            counters.down_in += 1
            return
        counters.frames_in += 1
        counters.bytes_in += len(frame.head) + frame.size
        kind = ethertype(frame.head)
        network = interface.ipv4 if kind == ETHERTYPE_IPV4 else interface.ipv6 if kind == ETHERTYPE_IPV6 else None
        if network is None:
            counters.unknown_type_in += 1
        else:
            network.input(frame, HEADER_SIZE, interface, now)

    def flush(self, now: Instant) -> None:
        interface = self.interface
        for network in (interface.ipv4, interface.ipv6):
            if network is not None:
                network.flush(now)
