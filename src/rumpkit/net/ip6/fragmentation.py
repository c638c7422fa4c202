"""Cutting packets apart where they start (RFC 8200 section 4.5): routers on the way never do.  Below `ip6.ipv6`."""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.frame import Frame
from ...hyper.time import Instant
from ..ip.contract import Route
from ..wire.ipv6 import FRAGMENT, HEADER_SIZE, HOP_BY_HOP
from ..wire.ipv6_extensions import FRAGMENT_HEADER_SIZE, FragmentHeader, extension_size
from ..wire.offload import complete_checksum
from .settings import Ipv6Counters

_MAX_DESTINATIONS: Final = 1024


@final
class FragmentSender:
    """Sends one kernel's fragments.  Identifications count up for each destination from a random start (RFC 7739
    section 5.1), so that nobody learns from them how much goes to others."""

    def __init__(self, hyper: Hypercalls, counters: Ipv6Counters) -> None:
        self._hyper: Hypercalls = hyper
        self._counters: Ipv6Counters = counters
        self._identifications: dict[bytes, int] = {}

    def send(self, frame: Frame, route: Route, now: Instant) -> None:
        """Send the packet that is all of `frame` in parts that fit."""
        packet = complete_checksum(frame).linear()
        kind: int = packet[6]
        start = HEADER_SIZE
        previous = 6
        if kind == HOP_BY_HOP:  # stays in front of every part
            previous = start
            start += int(extension_size(packet, kind, start, len(packet)))
            kind = packet[previous]
        before = packet[:previous] + bytes((FRAGMENT,)) + packet[previous + 1 : start]
        identification = self._next(packet[24:40])
        room = (route.mtu - len(before) - FRAGMENT_HEADER_SIZE) & ~7
        self._counters.fragmented += 1
        for at in range(start, len(packet), room):
            part = packet[at : at + room]
            more = at + room < len(packet)
            size = (len(before) - HEADER_SIZE + FRAGMENT_HEADER_SIZE + len(part)).to_bytes(2, "big")
            header = FragmentHeader(kind, at - start, more, identification).emit()
            self._counters.fragments_out += 1
            self._counters.packets_out += 1
            self._counters.bytes_out += len(before) + len(header) + len(part)
            route.interface.output(Frame(before[:4] + size + before[6:] + header + part), route.next_hop, now)

    def _next(self, destination: bytes) -> int:
        known = self._identifications
        last = known.pop(destination, -1)
        if last < 0:
            last = int.from_bytes(self._hyper.random(4), "big")
            if len(known) >= _MAX_DESTINATIONS:
                del known[next(iter(known))]
        known[destination] = (last + 1) & 0xFFFFFFFF
        return known[destination]
