"""Path MTU discovery (RFC 1191, RFC 8201): what ICMP has said about the way to a destination, for a while.

Below `ip.ipv4` and `ip6.ipv6`, which put the answer into routes.  Estimates only ever shrink (RFC 1191 section 3) and are forgotten
after ten minutes, after which larger packets try again.  An MTU below `min_path_mtu` is not believed, lest
somebody make us send crumbs: packets of that minimum then go out fragmentable, as on Linux.
"""

from typing import Final, final

from ...hyper.time import FOREVER, SECOND, Instant
from ...kern.timer import Timer, TimerQueue
from .contract import Network
from .settings import IpSettings

PLATEAUS: Final = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)
"""What links usually carry (RFC 1191 section 7.1), for routers that don't say what theirs does."""


@final
class PathMtu:
    """What is known of one destination."""

    def __init__(self, mtu: int, fragmentable: bool, until: Instant) -> None:
        self.mtu: int = mtu
        self.fragmentable: bool = fragmentable
        """The real MTU is smaller than we want to use: let routers fragment."""
        self.until: Instant = until


@final
class PathMtus(Timer):
    """Path MTUs that are below the interface's; its timer forgets the oldest."""

    def __init__(self, network: Network, timers: TimerQueue, settings: IpSettings) -> None:
        super().__init__()
        self._network: Network = network
        self._timers: TimerQueue = timers
        self._settings: IpSettings = settings
        self._known: dict[bytes, PathMtu] = {}

    def get(self, destination: bytes) -> PathMtu | None:
        """What is known of the path, if anything is."""
        return self._known.get(destination)

    def learn(self, destination: bytes, reported: int, size: int, now: Instant) -> int:
        """A router could not send on a packet of `size` bytes, as its next hop takes only `reported` (0: it doesn't
        say).  Returns the new path MTU, or 0 if that is no news."""
        lowest = self._settings.min_path_mtu
        real = reported if reported > 0 else plateau_below(size)
        mtu = max(real, lowest)
        known = self._known.pop(destination, None)
        if real >= size or (known is not None and mtu >= known.mtu and (known.fragmentable or real >= lowest)):
            if known is not None:
                self._known[destination] = known
            return 0
        if len(self._known) >= self._settings.path_mtu_entries:
            del self._known[next(iter(self._known))]
        until = now + self._settings.path_mtu_seconds * SECOND
        self._known[destination] = PathMtu(mtu, real < lowest, until)
        self._network.generation += 1
        if self.deadline == FOREVER:
            self._timers.set(self, until)
        return mtu

    def expire(self, now: Instant) -> None:
        for destination, known in list(self._known.items()):
            if known.until > now:
                self._timers.set(self, known.until)  # entries are in the order of their ends
                break
            del self._known[destination]
        self._network.generation += 1

    def rows(self) -> list[tuple[bytes, int]]:
        """Destination and path MTU in bytes, for listings."""
        return [(destination, known.mtu) for destination, known in self._known.items()]


def plateau_below(size: int) -> int:
    """The largest usual MTU below `size`."""
    for plateau in PLATEAUS:
        if plateau < size:
            return plateau
    return PLATEAUS[-1]
