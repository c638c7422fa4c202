"""Settings, sysctls and counters of IPv4, and what those of IPv6 (`ip6.settings`) have in common with them."""

from typing import Final, final

from mypy_extensions import mypyc_attr

from ...kern.counters import Counters
from ...kern.sysctl import Sysctl


@mypyc_attr(allow_interpreted_subclasses=True)
class IpSettings:
    """Limits and switches that both versions of IP have."""

    def __init__(self) -> None:
        self.forwarding: int = 0
        self.route_cache_entries: int = 4096
        self.fragment_memory: int = 4 << 20
        self.fragment_datagrams: int = 256
        self.fragment_datagrams_per_peer: int = 64
        self.fragment_timeout_seconds: int = 30
        self.min_path_mtu: int = 552
        self.path_mtu_seconds: int = 600
        self.path_mtu_entries: int = 1024


@final
class Ipv4Settings(IpSettings):
    """Limits and switches of one kernel's IPv4."""

    def __init__(self) -> None:
        super().__init__()
        self.ttl: int = 64
        self.accept_any_destination: int = 0
        self.reverse_path_filter: int = 0


IPV4_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("ttl", 1, 255, "time to live of packets whose sender doesn't choose one"),
    Sysctl("forwarding", 0, 1, "send on packets that are for others"),
    Sysctl("accept_any_destination", 0, 1, "take every unicast packet as ours, and answer from its destination"),
    Sysctl("reverse_path_filter", 0, 1, "forward only what came by the interface that leads back (RFC 1812 5.3.8)"),
    Sysctl("route_cache_entries", 16, 1 << 20, "destinations whose route is remembered"),
    Sysctl("fragment_memory", 0, 1 << 30, "bytes of fragments that wait for the rest of their datagrams"),
    Sysctl("fragment_datagrams", 0, 1 << 16, "datagrams that are being reassembled"),
    Sysctl("fragment_datagrams_per_peer", 0, 1 << 16, "of which from one source address"),
    Sysctl("fragment_timeout_seconds", 1, 255, "how long a datagram may take to be reassembled"),
    Sysctl("min_path_mtu", 68, 65535, "smaller path MTUs are not believed"),
    Sysctl("path_mtu_seconds", 1, 86_400, "how long a reduced path MTU is believed (RFC 1191 section 6.3)"),
    Sysctl("path_mtu_entries", 1, 1 << 20, "destinations whose path MTU is remembered; the oldest is forgotten"),
)


@mypyc_attr(allow_interpreted_subclasses=True)
class IpCounters(Counters):
    """What either version of IP did with packets."""

    def __init__(self) -> None:
        self.packets_in: int = 0
        self.delivered: int = 0
        self.bad_header: int = 0
        self.bad_options: int = 0
        self.martian_source: int = 0
        self.martian_destination: int = 0
        self.not_ours: int = 0
        self.unknown_protocol: int = 0
        self.forwarded: int = 0
        self.ttl_exceeded: int = 0
        self.fragments_in: int = 0
        self.reassembled: int = 0
        self.reassembly_failed: int = 0
        self.packets_out: int = 0
        self.bytes_in: int = 0
        self.bytes_out: int = 0
        self.fragmented: int = 0
        self.fragments_out: int = 0
        self.too_big: int = 0
        self.no_route: int = 0
        self.unresolved: int = 0


@final
class Ipv4Counters(IpCounters):
    """What IPv4 did with packets."""

    def names(self) -> tuple[str, ...]:
        return _COUNTERS


_COUNTERS: Final = (
    "packets_in", "bytes_in", "delivered", "bad_header", "bad_options", "martian_source", "martian_destination", "not_ours",
    "unknown_protocol", "forwarded", "ttl_exceeded", "fragments_in", "reassembled", "reassembly_failed", "packets_out",
    "bytes_out", "fragmented", "fragments_out", "too_big", "no_route", "unresolved",
)  # fmt: skip
