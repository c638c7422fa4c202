"""UDP over IPv6 (RFC 8200 section 8.1): between that and `udp`, which keeps the endpoints of both versions."""

from typing import final

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ..ip.contract import Network, Transport
from ..wire.ipv4 import PROTOCOL_UDP
from .udp import Udp


@final
class UdpOver6(Transport):
    """UDP as IPv6 sees it."""

    def __init__(self, udp: Udp, network: Network) -> None:
        self._udp: Udp = udp
        self._network: Network = network
        udp.network6 = network
        network.register(PROTOCOL_UDP, self)

    def input(self, frame: Frame, network: int, transport: int, end: int, now: Instant) -> None:
        head = frame.head
        source = head[network + 8 : network + 24]
        destination = head[network + 24 : network + 40]
        self._udp.take(self._network, frame, network, transport, end, source, destination, head[network + 7], now)

    def flush(self, now: Instant) -> None:
        return None

    def sent(self, source: bytes, destination: bytes, quoted: bytes) -> bool:
        return self._udp.sent(source, destination, quoted)

    def error(self, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant) -> None:
        self._udp.fail(self._network, source, destination, quoted, errno, mtu)
