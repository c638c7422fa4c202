"""TUN links: IP packets to and from the host's own network stack, without Ethernet.  Around `tap`, whose reading, writing
and offload they share: what stands in front of the packet inside the kernel is put on here, and taken off.
"""

from typing import Final, final

from ...hyper.frame import Frame
from ...hyper.link import LinkPort, Receiver
from ...hyper.time import Instant
from . import netdev
from .host import PosixHost
from .tap import TapPort, open_tap

HEADER_SIZE: Final = 14
_IPV4: Final = bytes(12) + b"\x08\x00"
_IPV6: Final = bytes(12) + b"\x86\xdd"


@final
class TunPort(LinkPort):
    """One TUN.  Made by `open_tun`.  The kernel's side sees frames with an Ethernet header of zeros."""

    def __init__(self, packets: TapPort) -> None:
        super().__init__(packets.mtu, packets.features)
        self.packets: TapPort = packets
        """The device, which knows no Ethernet."""
        self.name: str = packets.name

    def attach(self, receiver: Receiver) -> None:
        self.packets.attach(_Ingress(receiver))

    def transmit(self, frame: Frame) -> None:
        if len(frame.head) > HEADER_SIZE:
            self.packets.transmit(frame.like(frame.head[HEADER_SIZE:]))

    def close(self) -> None:
        self.packets.close()


@final
class _Ingress(Receiver):
    """Puts the header on; the frame is ours until then."""

    def __init__(self, inner: Receiver) -> None:
        self._inner: Receiver = inner

    def receive(self, frame: Frame, now: Instant) -> None:
        head = frame.head
        if head:
            frame.push(_IPV6 if head[0] >> 4 == 6 else _IPV4)
            self._inner.receive(frame, now)

    def flush(self, now: Instant) -> None:
        self._inner.flush(now)


def open_tun(host: PosixHost, name: str = "", mtu: int = 0, offload: bool = True) -> TunPort:
    """A port on the TUN called `name`, as `tap.open_tap` opens a TAP.  Raises `netdev.DeviceError`."""
    return TunPort(open_tap(host, name, mtu, offload, netdev.IFF_TUN))
