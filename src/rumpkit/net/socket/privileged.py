"""Raw and packet sockets for root, whose code is loaded when somebody asks for the first: most kernels never do."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, final

from ...kern.abi.socket import AF_INET, AF_INET6, AF_PACKET, SOCK_DGRAM, SOCK_RAW
from ...kern.socket import ANY_PROTOCOL, Socket

if TYPE_CHECKING:
    from ...kern.kernel import RumpKernel
    from ..ip.service import Ip
    from ..ip6.service import Ip6
    from .packet import PacketSockets
    from .raw import RawSockets
    from .raw6 import Raw6Table
    from .rawtable import DirectSocket


@final
class PrivilegedSockets:
    """Makes all kinds for one kernel."""

    def __init__(self, kernel: "RumpKernel", ip: "Ip") -> None:
        self._kernel: RumpKernel = kernel
        self._ip: Ip = ip
        self._raw: RawSockets | None = None
        self._raw6: Raw6Table | None = None
        self._packet: PacketSockets | None = None
        sockets = kernel.sockets
        sockets.register(AF_INET, SOCK_RAW, ANY_PROTOCOL, self.raw, default=False, privileged=True)
        for kind in (SOCK_RAW, SOCK_DGRAM):
            sockets.register(AF_PACKET, kind, ANY_PROTOCOL, self.packet, default=False, privileged=True)
        ip.with_ipv6(self._enable_ipv6)

    def _enable_ipv6(self, ip6: "Ip6") -> None:
        def make(family: int, kind: int, protocol: int) -> Socket:
            if self._raw6 is None:
                from .raw6 import Raw6Table

                self._raw6 = Raw6Table(ip6.network, self._kernel.hyper, self._ip.interfaces)
            return self._raw6.make(family, kind, protocol)

        self._kernel.sockets.register(AF_INET6, SOCK_RAW, ANY_PROTOCOL, make, default=False, privileged=True)

    def raws(self, family: int) -> "Sequence[DirectSocket]":
        """The raw sockets of a version of IP."""
        table = self._raw6 if family == AF_INET6 else self._raw
        return () if table is None else table.all()

    def snapshot(self) -> Iterator[list[dict[str, Any]]]:
        """What there is to see of them, page by page (`snapshot`)."""
        from . import snapshot

        for name, family in (("raw", AF_INET), ("raw6", AF_INET6)):
            yield from snapshot.raws(name, self.raws(family))
        if self._packet is not None:
            yield from snapshot.packets(self._packet.all(), self._ip.interfaces)

    def raw(self, family: int, kind: int, protocol: int) -> Socket:
        """A raw socket.  Raises as `RawSockets.make`."""
        if self._raw is None:
            from .raw import RawSockets

            self._raw = RawSockets(self._ip.v4, self._kernel.hyper, self._ip.interfaces)
        return self._raw.make(family, kind, protocol)

    def packet(self, family: int, kind: int, protocol: int) -> Socket:
        """A packet socket."""
        if self._packet is None:
            from .packet import PacketSockets

            self._packet = PacketSockets(self._ip.interfaces, self._kernel.hyper)
        return self._packet.make(family, kind, protocol)
