"""Settings, sysctls and counters of IPv6 and of neighbour discovery."""

from typing import Final, final

from ...kern.counters import Counters
from ...kern.sysctl import Sysctl
from ..ip.settings import IpCounters, IpSettings
from ..wire.ipv6 import MIN_MTU


@final
class Ipv6Settings(IpSettings):
    """Limits and switches of one kernel's IPv6."""

    def __init__(self) -> None:
        super().__init__()
        self.fragment_timeout_seconds = 60
        self.min_path_mtu = MIN_MTU
        self.hop_limit: int = 64
        self.auto_flow_labels: int = 1
        self.max_extension_headers: int = 8
        self.dad_transmits: int = 1
        self.dad_delay_milliseconds: int = 1000
        self.stable_privacy: int = 1
        self.autoconf: int = 1
        self.accept_ra: int = 1
        self.accept_redirects: int = 0
        self.router_solicitations: int = 3
        self.max_routers: int = 16
        self.max_prefixes: int = 32
        self.max_addresses: int = 16
        self.use_temporary: int = 0
        self.temporary_valid_seconds: int = 172_800
        self.temporary_preferred_seconds: int = 86_400
        self.max_groups: int = 1024


IPV6_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("forwarding", 0, 1, "send on packets that are for others; then routers are not listened to"),
    Sysctl("hop_limit", 1, 255, "hop limit of packets whose sender doesn't choose one and no router has"),
    Sysctl("auto_flow_labels", 0, 1, "label the packets of a TCP or UDP flow (RFC 6437)"),
    Sysctl("max_extension_headers", 0, 64, "extension headers of a packet; one with more is dropped"),
    Sysctl("route_cache_entries", 16, 1 << 20, "destinations whose route is remembered"),
    Sysctl("fragment_memory", 0, 1 << 30, "bytes of fragments that wait for the rest of their packets"),
    Sysctl("fragment_datagrams", 0, 1 << 16, "packets that are being reassembled"),
    Sysctl("fragment_datagrams_per_peer", 0, 1 << 16, "of which from one source address"),
    Sysctl("fragment_timeout_seconds", 1, 255, "how long a packet may take to be reassembled (RFC 8200 4.5)"),
    Sysctl("path_mtu_seconds", 1, 86_400, "how long a reduced path MTU is believed (RFC 8201 4)"),
    Sysctl("path_mtu_entries", 1, 1 << 20, "destinations whose path MTU is remembered; the oldest is forgotten"),
    Sysctl("dad_transmits", 0, 16, "solicitations before a new address is used (RFC 4862 5.1); 0: use it at once"),
    Sysctl(
        "dad_delay_milliseconds", 0, 10_000, "random wait up to this before the first solicitation (RFC 4862 5.4.2)"
    ),
    Sysctl("stable_privacy", 0, 1, "interface identifiers of RFC 7217; 0: made from the MAC address (RFC 4291)"),
    Sysctl("autoconf", 0, 1, "make addresses from the prefixes that routers announce (RFC 4862 5.5)"),
    Sysctl("accept_ra", 0, 2, "listen to routers; 1: unless forwarding"),
    Sysctl("accept_redirects", 0, 1, "believe redirects (RFC 4861 8.3)"),
    Sysctl("router_solicitations", 0, 16, "how often routers are asked for when a link comes up (RFC 4861 6.3.7)"),
    Sysctl("max_routers", 1, 1024, "default routers that an interface remembers"),
    Sysctl("max_prefixes", 1, 4096, "announced prefixes, and routes, that an interface remembers"),
    Sysctl("max_addresses", 0, 4096, "addresses that an interface makes from announced prefixes"),
    Sysctl("use_temporary", 0, 2, "make temporary addresses (RFC 8981) for SLAAC prefixes; 2: and prefer them"),
    Sysctl("temporary_valid_seconds", 60, 31_536_000, "how long a temporary address lives"),
    Sysctl("temporary_preferred_seconds", 30, 31_536_000, "how long of that it is used for new connections"),
    Sysctl("max_groups", 1, 1 << 20, "multicast groups of an interface"),
)


@final
class Ipv6Counters(IpCounters):
    """What IPv6 did with packets."""

    def __init__(self) -> None:
        super().__init__()
        self.beyond_scope: int = 0
        self.atomic_fragments: int = 0

    def names(self) -> tuple[str, ...]:
        return _IPV6_COUNTERS


_IPV6_COUNTERS: Final = (
    "packets_in", "bytes_in", "delivered", "bad_header", "bad_options", "martian_source", "martian_destination", "beyond_scope",
    "not_ours", "unknown_protocol", "forwarded", "ttl_exceeded", "fragments_in", "atomic_fragments", "reassembled",
    "reassembly_failed", "packets_out", "bytes_out", "fragmented", "fragments_out", "too_big", "no_route", "unresolved",
)  # fmt: skip


@final
class NdSettings:
    """Limits and times of neighbour discovery (RFC 4861 section 10)."""

    def __init__(self) -> None:
        self.multicast_solicits: int = 3
        self.unicast_solicits: int = 3
        self.retrans_milliseconds: int = 1000
        self.reachable_milliseconds: int = 30_000
        self.delay_milliseconds: int = 5000
        self.stale_seconds: int = 60
        self.queue_packets: int = 64
        self.max_neighbours: int = 1024
        self.max_incomplete: int = 256


ND_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("multicast_solicits", 1, 100, "questions to everybody before a neighbour is given up"),
    Sysctl("unicast_solicits", 1, 100, "questions to a neighbour that was known before it is given up"),
    Sysctl("retrans_milliseconds", 10, 60_000, "wait for an answer, where no router says otherwise"),
    Sysctl("reachable_milliseconds", 10, 3_600_000, "how long an answer holds, where no router says otherwise"),
    Sysctl("delay_milliseconds", 0, 60_000, "wait for a transport to confirm a stale neighbour before it is asked"),
    Sysctl("stale_seconds", 1, 86_400, "how long an unused neighbour is remembered"),
    Sysctl("queue_packets", 1, 65_536, "packets that wait for one neighbour; the oldest is dropped"),
    Sysctl("max_neighbours", 1, 1 << 20, "neighbours that an interface remembers; the oldest unused is forgotten"),
    Sysctl("max_incomplete", 1, 1 << 20, "of which asked for and not known yet; the oldest is given up"),
)


@final
class NdCounters(Counters):
    """Neighbour and router discovery of all interfaces of a kernel."""

    def __init__(self) -> None:
        self.solicitations_in: int = 0
        self.advertisements_in: int = 0
        self.router_advertisements_in: int = 0
        self.redirects_in: int = 0
        self.bad_in: int = 0
        self.ignored_in: int = 0
        self.solicitations_out: int = 0
        self.advertisements_out: int = 0
        self.router_solicitations_out: int = 0
        self.duplicates: int = 0
        self.queue_dropped: int = 0
        self.unresolved: int = 0
        self.evicted: int = 0

    def names(self) -> tuple[str, ...]:
        return _ND_COUNTERS


_ND_COUNTERS: Final = (
    "solicitations_in", "advertisements_in", "router_advertisements_in", "redirects_in", "bad_in", "ignored_in",
    "solicitations_out", "advertisements_out", "router_solicitations_out", "duplicates", "queue_dropped", "unresolved",
    "evicted",
)  # fmt: skip
