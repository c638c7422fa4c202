"""The routing table of either version of IP: longest prefix first, then the lowest metric, then whoever came first (RFC 1812 5.2.4.3).

Below `ip.ipv4` and `ip6.ipv6`, which keep the answers in caches of their own, so that a lookup here need not be the fastest.
"""

from typing import Final, final

from ..link.interface import Interface

CONNECTED: Final = 0
STATIC: Final = 1
DYNAMIC: Final = 2
ORIGIN_NAMES: Final = ("connected", "static", "dynamic")


@final
class RouteEntry:
    """One route: packets to a network go out of an interface, perhaps through a gateway."""

    def __init__(
        self, network: bytes, length: int, interface: Interface, gateway: bytes, metric: int, source: bytes, origin: int
    ) -> None:
        self.network: bytes = network
        """Host bits are zero."""
        self.length: int = length
        """Of the prefix, in bits: 0 is the default route, 32 (or 128) a host route."""
        self.interface: Interface = interface
        self.gateway: bytes = gateway
        """b"" where the network is on the link."""
        self.metric: int = metric
        """Of several routes to a network the one with the least is taken."""
        self.source: bytes = source
        """The source address to prefer, or b""."""
        self.origin: int = origin
        """CONNECTED follows from an interface's address, STATIC was configured, DYNAMIC came from the network (DHCP)."""

    def same_way(self, other: "RouteEntry") -> bool:
        """Whether the two lead to the same network in the same way."""
        return (
            self.network == other.network
            and self.length == other.length
            and self.interface is other.interface
            and self.gateway == other.gateway
            and self.metric == other.metric
        )


@final
class RoutingTable:
    """All routes of a family; those through interfaces that are down don't count."""

    def __init__(self, bits: int = 32) -> None:
        self._bits: int = bits
        """Of an address: 32 or 128."""
        self._by_length: dict[int, dict[int, list[RouteEntry]]] = {}
        self._lengths: list[int] = []
        """Prefix lengths in use, longest first."""

    def add(self, entry: RouteEntry) -> None:
        """Take a route in."""
        length = entry.length
        prefixes = self._by_length.get(length)
        if prefixes is None:
            prefixes = self._by_length[length] = {}
            self._lengths.append(length)
            self._lengths.sort(reverse=True)
        entries = prefixes.setdefault(self._prefix(entry.network, length), [])
        at = len(entries)
        while at > 0 and entries[at - 1].metric > entry.metric:
            at -= 1
        entries.insert(at, entry)

    def remove(self, entry: RouteEntry) -> None:
        """Take a route out; nothing happens if it isn't in."""
        length = entry.length
        prefixes = self._by_length.get(length, {})
        key = self._prefix(entry.network, length)
        entries = prefixes.get(key)
        if entries is None or entry not in entries:
            return
        entries.remove(entry)
        if not entries:
            del prefixes[key]
            if not prefixes:
                del self._by_length[length]
                self._lengths.remove(length)

    def lookup(self, destination: bytes) -> RouteEntry | None:
        """The best route to an address."""
        number = int.from_bytes(destination, "big")
        bits = self._bits
        for length in self._lengths:
            entries = self._by_length[length].get(number >> (bits - length))
            if entries is not None:
                for entry in entries:
                    if entry.interface.up:
                        return entry
        return None

    def at(self, network: bytes, length: int) -> list[RouteEntry]:
        """The routes to exactly this network, the best first."""
        return list(self._by_length.get(length, {}).get(self._prefix(network, length), ()))

    def entries(self) -> list[RouteEntry]:
        """All routes, longest prefix first."""
        return [entry for length in self._lengths for some in self._by_length[length].values() for entry in some]

    def _prefix(self, network: bytes, length: int) -> int:
        return int.from_bytes(network, "big") >> (self._bits - length)
