"""Reassembly of IPv6 packets (RFC 8200 section 4.5), over the store of fragments that both versions of IP share.  Between
`ip.fragments` and `ip6.input`."""

from typing import TYPE_CHECKING, NamedTuple, final

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.timer import TimerQueue
from ..ip.fragments import FragmentStore, LateDatagram
from ..wire.icmpv6 import REASSEMBLY_TIME_EXCEEDED, TIME_EXCEEDED
from ..wire.ipv6 import HEADER_SIZE
from ..wire.ipv6_extensions import FRAGMENT_HEADER_SIZE, FragmentHeader
from .upper import find_field

if TYPE_CHECKING:
    from .ipv6 import Ipv6


class Whole(NamedTuple):
    """A packet that was put together: all of it is in the frame's head."""

    frame: Frame
    at: int
    """Where what was fragmented starts."""
    field: int
    """Where the next-header field is that says what that is."""
    payload_size: int
    """Bytes behind the IPv6 header."""


@final
class Reassembly6(LateDatagram):
    """All packets of one kernel that are not whole yet."""

    def __init__(self, timers: TimerQueue, ipv6: "Ipv6") -> None:
        super().__init__()
        self._ipv6: Ipv6 = ipv6
        self._store: FragmentStore = FragmentStore(timers, ipv6.settings, ipv6.counters, self, 16)

    @property
    def memory(self) -> int:
        """Bytes that wait."""
        return self._store.memory

    def waiting(self) -> int:
        """How many packets are being reassembled or swallowed."""
        return self._store.waiting()

    def add(self, frame: Frame, network: int, at: int, end: int, part: FragmentHeader, now: Instant) -> Whole | None:
        """Take the fragment whose fragment header is at `at` and which ends at `end`; the packet once it is whole."""
        head = frame.linear()
        # Source, destination and identification tell packets apart (RFC 8200 section 4.5).
        key = head[network + 8 : network + 40] + int(part.identification).to_bytes(4, "big")
        data = head[at + FRAGMENT_HEADER_SIZE : end]
        if not data:
            self._ipv6.counters.reassembly_failed += 1
            return None
        done = self._store.add(key, int(part.offset), data, not part.more, frame, network, now)
        if done is None or done.first is None:
            return None
        # What comes before is the first fragment's, whatever the others had (RFC 8200 section 4.5).
        first = done.first.linear()
        field, start = find_field(first, done.first_network)
        size = start - done.first_network - HEADER_SIZE + done.size
        congestion = done.congestion()
        if size > 0xFFFF or congestion < 0:
            self._ipv6.counters.reassembly_failed += 1
            return None
        self._ipv6.counters.reassembled += 1
        before = bytearray(first[:start])
        before[field] = first[start]
        before[done.first_network + 1] |= congestion << 4
        before[done.first_network + 4 : done.first_network + 6] = size.to_bytes(2, "big")
        return Whole(Frame(bytes(before) + b"".join(done.parts)), start, field, size)

    def reassembly_expired(self, first: Frame, network: int, now: Instant) -> None:
        self._ipv6.arrival = None
        self._ipv6.report(TIME_EXCEEDED, REASSEMBLY_TIME_EXCEEDED, 0, first, network, now)
