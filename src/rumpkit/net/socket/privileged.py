"""Raw and packet sockets for root, whose code is loaded when somebody asks for the first: most kernels never do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, final

from ...kern.abi.socket import AF_INET, AF_PACKET, SOCK_DGRAM, SOCK_RAW
from ...kern.socket import ANY_PROTOCOL, Socket

if TYPE_CHECKING:
    from ...kern.kernel import RumpKernel
    from ..ip.service import Ip
    from .packet import PacketSockets
    from .raw import RawSockets


@final
class PrivilegedSockets:
    """Makes both kinds for one kernel."""

    def __init__(self, kernel: "RumpKernel", ip: "Ip") -> None:
        self._kernel: RumpKernel = kernel
        self._ip: Ip = ip
        self._raw: RawSockets | None = None
        self._packet: PacketSockets | None = None
        sockets = kernel.sockets
        sockets.register(AF_INET, SOCK_RAW, ANY_PROTOCOL, self.raw, default=False, privileged=True)
        for kind in (SOCK_RAW, SOCK_DGRAM):
            sockets.register(AF_PACKET, kind, ANY_PROTOCOL, self.packet, default=False, privileged=True)

    def snapshot(self) -> Iterator[list[dict[str, Any]]]:
        """What there is to see of them, page by page (`snapshot`)."""
        from . import snapshot

        if self._raw is not None:
            yield from snapshot.raws(self._raw.all())
        if self._packet is not None:
            yield from snapshot.packets(self._packet.all(), self._ip.interfaces)

    def raw(self, family: int, kind: int, protocol: int) -> Socket:
        """A raw socket.  Raises as `RawSockets.make`."""
        if self._raw is None:
            from .raw import RawSockets

            self._raw = RawSockets(self._ip.v4)
        return self._raw.make(family, kind, protocol)

    def packet(self, family: int, kind: int, protocol: int) -> Socket:
        """A packet socket."""
        if self._packet is None:
            from .packet import PacketSockets

            self._packet = PacketSockets(self._ip.interfaces, self._kernel.hyper)
        return self._packet.make(family, kind, protocol)
