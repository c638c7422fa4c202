"""Captures over the control socket: what an interface sees, as the bytes of a pcapng file, through a filter."""

from errno import EINVAL, ENODEV
from typing import TYPE_CHECKING, Any, Final, cast, final

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...net.link.interface import Interface
from ...net.link.interfaces import Interfaces
from ...net.link.pcapng import DEFAULT_SNAPLEN, Capture, CaptureSink
from ...net.link.tap import FrameTap
from ...net.transport.tcp.layer import Tcp
from ...net.transport.tcp.notes import ConnectionNotes
from ...net.wire.address import parse_address
from ...net.wire.ethernet import ETHERTYPE_ARP, ethertype, network_offset
from .live import Live, Outlet
from .protocol import ControlError

if TYPE_CHECKING:
    from .server import ControlServer

PROTOCOLS: Final = {"tcp": 6, "udp": 17, "icmp": 1, "icmp6": 58}
KINDS: Final = ("", "arp", "ip", "ip6", *PROTOCOLS)
_MIN_SNAPLEN: Final = 14
_SHORTEST: Final = 20
"""Bytes of the shorter of the two IP headers."""
_LATER: Final = 0x1FFF
"""Fragment offset: where it is not 0 there are no ports."""


def capture(server: "ControlServer", parameters: dict[str, Any]) -> Live:
    """A capture that begins when it is started."""
    if parameters["protocol"] not in KINDS:
        raise ControlError(EINVAL, f"cannot filter by {parameters['protocol']!r}; known: {', '.join(KINDS[1:])}")
    for name, low, high in (("count", 0, 1 << 62), ("snaplen", _MIN_SNAPLEN, DEFAULT_SNAPLEN), ("port", 0, 65535)):
        if not low <= parameters[name] <= high:
            raise ControlError(EINVAL, f"{name} must be from {low} to {high}, not {parameters[name]}")
    try:
        host = parse_address(parameters["host"]) if parameters["host"] else b""
    except ValueError as problem:
        raise ControlError(EINVAL, str(problem)) from None
    service = server.kernel.service("Interfaces")
    there = cast(Interfaces, service).all() if service is not None else []
    chosen = [one for one in there if parameters["interface"] in ("", one.name)]
    if not chosen:
        names = ", ".join(one.name for one in there) or "none"
        raise ControlError(ENODEV, f"there is no interface {parameters['interface']!r}; there are: {names}")
    wanted = Filter(parameters["protocol"], host, parameters["port"])
    return LiveCapture(server, chosen, wanted, parameters["count"], parameters["snaplen"], parameters["comments"])


@final
class Filter:
    """Which frames are wanted."""

    def __init__(self, protocol: str, host: bytes, port: int) -> None:
        self._protocol = protocol
        self._host = host
        self._port = port.to_bytes(2, "big") if port else b""
        self._everything = not (protocol or host or port)

    def wants(self, head: bytes) -> bool:
        """Whether the frame with this head is one of them."""
        if self._everything:
            return True
        at = network_offset(head)
        if at < 0 or len(head) < at + _SHORTEST:
            return self._wants_arp(head)
        if head[at] >> 4 == 6:
            protocol, start, size, transport, later = head[at + 6], at + 8, 16, at + 40, False
        else:
            protocol, start, size, transport = head[at + 9], at + 12, 4, at + ((head[at] & 0xF) << 2)
            later = bool((head[at + 6] << 8 | head[at + 7]) & _LATER)
        kind = self._protocol
        if kind and kind != ("ip" if size == 4 else "ip6") and PROTOCOLS.get(kind, -1) != protocol:
            return False
        if self._host and self._host not in (head[start : start + size], head[start + size : start + 2 * size]):
            return False
        if not self._port:
            return True
        ports = (head[transport : transport + 2], head[transport + 2 : transport + 4])
        return protocol in (6, 17) and not later and self._port in ports

    def _wants_arp(self, head: bytes) -> bool:
        if ethertype(head) != ETHERTYPE_ARP or self._port or self._protocol not in ("", "arp"):
            return False
        return not self._host or self._host in (head[28:32], head[38:42])


@final
class _Sink(CaptureSink):
    """Blocks on their way to the client."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def room(self) -> int:
        return self._outlet.room()

    def write(self, data: bytes) -> None:
        self._outlet.data(data)


@final
class LiveCapture(Live, FrameTap):
    """A running capture."""

    def __init__(
        self,
        server: "ControlServer",
        interfaces: list[Interface],
        wanted: Filter,
        count: int,
        snaplen: int,
        comments: bool,
    ) -> None:
        self._server = server
        self._interfaces = interfaces
        self._filter = wanted
        self._count = count
        self._snaplen = snaplen
        tcp = server.kernel.service("Tcp") if comments else None
        self._notes = None if tcp is None else ConnectionNotes(cast(Tcp, tcp))
        self._outlet: Outlet | None = None
        self._capture: Capture | None = None

    def start(self, outlet: Outlet, now: Instant) -> None:
        self._outlet = outlet
        wall = self._server.host.wall()
        self._capture = Capture(_Sink(outlet), wall, now, self._snaplen, 1 << 62, self._notes)
        for one in self._interfaces:
            one.add_tap(self)

    def frame(self, interface: str, frame: Frame, direction: int, now: Instant) -> None:
        capture = self._capture
        if capture is None or not self._filter.wants(frame.head):
            return
        capture.frame(interface, frame, direction, now)
        if self._count and capture.frames >= self._count:
            self.stop(now)

    def stop(self, now: Instant) -> None:
        capture, outlet = self._capture, self._outlet
        if capture is None or outlet is None:
            return
        self._capture = None
        for one in self._interfaces:
            one.remove_tap(self)
        capture.close(now)
        outlet.finish({"frames": capture.frames, "skipped": capture.skipped})
