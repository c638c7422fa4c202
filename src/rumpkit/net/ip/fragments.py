"""Reassembly of datagrams (RFC 791 section 3.2, RFC 815, RFC 1122 section 3.3.2; RFC 8200 section 4.5), below `ip.input`
and `ip6.input`, which share the store of fragments and its limits, though each version has a store of its own.

A datagram that somebody tampers with is given up whole: fragments that overlap (but for exact duplicates), a second
last fragment that ends elsewhere, data behind the end (the advice of RFC 5722 and RFC 8900).  What is left of a
given-up datagram is swallowed until its time is over, so that its other fragments don't start it anew.
"""

from bisect import bisect_left
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.frame import Frame
from ...hyper.time import FOREVER, SECOND, Instant
from ...kern.timer import Timer, TimerQueue
from ..wire.ipv4 import HEADER_SIZE, Ipv4Header, emit_ipv4_header
from .settings import IpCounters, IpSettings

_MAX_PAYLOAD: Final = 0xFFFF - HEADER_SIZE
_CE: Final = 1 << 3
_NOT_ECT: Final = 1 << 0
"""Bits of `Assembly.marks`."""
_OVERHEAD: Final = 128
"""Bytes that a fragment takes beside its payload."""


@mypyc_attr(allow_interpreted_subclasses=True)
class LateDatagram:
    """Told when a datagram's time is over before it is whole."""

    def reassembly_expired(self, first: Frame, network: int, now: Instant) -> None:
        """`first` is the first fragment, with its IP header at `network`: it is there, others are missing."""
        raise NotImplementedError


@final
class Assembly:
    """The fragments of one datagram."""

    def __init__(self, key: bytes, until: Instant) -> None:
        self.key: bytes = key
        self.until: Instant = until
        self.starts: list[int] = []
        """Where the parts begin, ascending."""
        self.parts: list[bytes] = []
        self.size: int = -1
        """The payload's bytes, known from the last fragment on."""
        self.have: int = 0
        self.memory: int = 0
        self.dead: bool = False
        self.marks: int = 0
        """The ECN code points of the fragments, a bit for each."""
        self.first: Frame | None = None
        self.first_network: int = 0

    def add(self, start: int, part: bytes, last: bool) -> bool:
        """Take a part; False where it contradicts the others."""
        end = start + len(part)
        at = bisect_left(self.starts, start)
        if at < len(self.starts) and self.starts[at] == start and self.parts[at] == part:
            return not last or self.size == end
        if last:
            if self.size >= 0 or (self.starts and self.starts[-1] + len(self.parts[-1]) > end):
                return False
            self.size = end
        elif 0 <= self.size < end:
            return False
        if at > 0 and self.starts[at - 1] + len(self.parts[at - 1]) > start:
            return False
        if at < len(self.starts) and self.starts[at] < end:
            return False
        self.starts.insert(at, start)
        self.parts.insert(at, part)
        self.have += len(part)
        return True

    def congestion(self) -> int:
        """What the datagram's ECN field gets from its fragments (RFC 3168 section 5.3): CE (3) if one was marked, else 0; -1 if
        there is one that was not to be marked beside it, which nobody honest sends."""
        if not self.marks & _CE:
            return 0
        return -1 if self.marks & _NOT_ECT else 3

    def kill(self) -> None:
        """Give the datagram up, and swallow what else comes of it."""
        self.dead = True
        self.starts = []
        self.parts = []
        self.first = None


@final
class FragmentStore(Timer):
    """All datagrams of one version of IP in one kernel that are not whole yet.  One timer is for the oldest: a timer for each
    would keep those that were given up until it is over."""

    def __init__(
        self, timers: TimerQueue, settings: IpSettings, counters: IpCounters, late: LateDatagram, address_size: int
    ) -> None:
        super().__init__()
        self.memory: int = 0
        self._timers: TimerQueue = timers
        self._settings: IpSettings = settings
        self._counters: IpCounters = counters
        self._late: LateDatagram = late
        self._address_size: int = address_size
        """Keys start with the sender's address, this long."""
        self._assemblies: dict[bytes, Assembly] = {}
        self._per_peer: dict[bytes, int] = {}

    def add(
        self, key: bytes, start: int, part: bytes, last: bool, frame: Frame, network: int, now: Instant
    ) -> Assembly | None:
        """Take the part of a datagram that starts at `start` of its payload; `key` tells datagrams apart, `frame` and
        `network` are kept of the first part.  The assembly once it is complete, forgotten here by then."""
        assembly = self._find(key, now)
        if assembly is None or assembly.dead:
            return None
        assembly.marks |= 1 << congestion_code(frame.head, network)
        if not assembly.add(start, part, last):
            self._account(assembly, -assembly.memory)
            assembly.kill()
            self._counters.reassembly_failed += 1
            return None
        if start == 0:
            assembly.first = frame
            assembly.first_network = network
        if assembly.have == assembly.size:
            self._forget(assembly)
            return assembly
        memory = assembly.have + _OVERHEAD * len(assembly.parts)
        if assembly.first is not None:
            memory += len(assembly.first)
        self._account(assembly, memory - assembly.memory)
        while self.memory > self._settings.fragment_memory and self._assemblies:
            self._drop_oldest(b"")
        return None

    def expire(self, now: Instant) -> None:
        """The oldest datagram's time is over."""
        for assembly in list(self._assemblies.values()):
            if assembly.until > now:
                self._timers.set(self, assembly.until)  # they are in the order of their ends
                return
            self._forget(assembly)
            if not assembly.dead:
                self._counters.reassembly_failed += 1
                if assembly.first is not None:
                    self._late.reassembly_expired(assembly.first, assembly.first_network, now)

    def waiting(self) -> int:
        """How many datagrams are being reassembled or swallowed."""
        return len(self._assemblies)

    def _find(self, key: bytes, now: Instant) -> Assembly | None:
        """The assembly that a fragment belongs to, a new one if need be."""
        assembly = self._assemblies.get(key)
        if assembly is not None:
            return assembly
        settings = self._settings
        peer = key[: self._address_size]
        if min(settings.fragment_datagrams, settings.fragment_datagrams_per_peer) == 0:
            return None
        if self._per_peer.get(peer, 0) >= settings.fragment_datagrams_per_peer:
            self._drop_oldest(peer)
        elif len(self._assemblies) >= settings.fragment_datagrams:
            self._drop_oldest(b"")
        until = now + settings.fragment_timeout_seconds * SECOND
        assembly = Assembly(key, until)
        self._assemblies[key] = assembly
        self._per_peer[peer] = self._per_peer.get(peer, 0) + 1
        if self.deadline == FOREVER:
            self._timers.set(self, until)
        return assembly

    def _drop_oldest(self, peer: bytes) -> None:
        """Make room: give up the oldest datagram (of one peer, unless `peer` is b"")."""
        for assembly in self._assemblies.values():
            if not peer or assembly.key.startswith(peer):
                self._forget(assembly)
                self._counters.reassembly_failed += 1
                return

    def _forget(self, assembly: Assembly) -> None:
        self._account(assembly, -assembly.memory)
        del self._assemblies[assembly.key]
        peer = assembly.key[: self._address_size]
        count = self._per_peer.get(peer, 0) - 1
        if count > 0:
            self._per_peer[peer] = count
        else:
            self._per_peer.pop(peer, 0)

    def _account(self, assembly: Assembly, change: int) -> None:
        assembly.memory += change
        self.memory += change


@final
class Reassembly:
    """Reassembly of IPv4 datagrams."""

    def __init__(self, timers: TimerQueue, settings: IpSettings, counters: IpCounters, late: LateDatagram) -> None:
        self._counters: IpCounters = counters
        self._store: FragmentStore = FragmentStore(timers, settings, counters, late, 4)

    def add(self, frame: Frame, header: Ipv4Header, now: Instant) -> Frame | None:
        """Take a fragment.  The frame of the whole datagram once it is complete: link header, IP header without
        options, payload, all in its head."""
        self._counters.fragments_in += 1
        start = int(header.fragment_offset())
        part = frame.linear()[header.transport : header.end]
        last = not header.more_fragments()
        if not part or start + len(part) > _MAX_PAYLOAD or (not last and len(part) & 7):
            self._counters.reassembly_failed += 1
            return None
        # RFC 791: source, destination, protocol and identification tell datagrams apart.
        tail = header.identification << 8 | header.protocol
        key = header.source + header.destination + int(tail).to_bytes(3, "big")
        assembly = self._store.add(key, start, part, last, frame, int(header.offset), now)
        return None if assembly is None else self._finish(assembly, header)

    def waiting(self) -> int:
        """How many datagrams are being reassembled or swallowed."""
        return self._store.waiting()

    @property
    def memory(self) -> int:
        """Bytes that wait."""
        return self._store.memory

    def _finish(self, assembly: Assembly, header: Ipv4Header) -> Frame | None:
        """Lay the parts end to end behind the headers of the first."""
        first = assembly.first
        congestion = assembly.congestion()
        if first is None or assembly.size > _MAX_PAYLOAD or congestion < 0:
            self._counters.reassembly_failed += 1
            return None
        self._counters.reassembled += 1
        network = assembly.first_network
        tos = first.head[network + 1] | congestion
        new_header = emit_ipv4_header(
            header.source,
            header.destination,
            header.protocol,
            assembly.size,
            header.identification,
            0,
            first.head[network + 8],
            tos,
        )
        return Frame(first.head[:network] + new_header + b"".join(assembly.parts))


def congestion_code(head: bytes, network: int) -> int:
    """The ECN field of the IP header (of either version) at `network`: 0 to 3."""
    second = head[network + 1]
    return second & 3 if head[network] >> 4 == 4 else second >> 4 & 3
