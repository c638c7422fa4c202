"""Leases: what a DHCP server's ACK gives an interface (RFC 2131 section 4.4.5, RFC 2132, RFC 3442)."""

from typing import Final, final

from ...hyper.time import FOREVER, SECOND, Instant
from ..wire.address import is_loopback, is_multicast
from ..wire.dhcp import (
    CLASSLESS_ROUTES,
    DOMAIN_NAME,
    DOMAIN_SEARCH,
    INTERFACE_MTU,
    LEASE_TIME,
    NAME_SERVER,
    REBINDING_TIME,
    RENEWAL_TIME,
    ROUTER,
    SERVER_IDENTIFIER,
    SUBNET_MASK,
    DhcpMessage,
    parse_addresses,
    parse_classless_routes,
    parse_search,
)
from ..wire.dns import split_name

INFINITE: Final = 0xFFFFFFFF
MIN_SECONDS: Final = 10
"""Shorter leases count as this long, so that no server makes us busy."""
MIN_MTU: Final = 576
MAX_ROUTES: Final = 64
_ALL_ONES: Final = 0xFFFFFFFF


@final
class Lease:
    """An address for a while, and what came with it.  Instants count from when the lease was asked for."""

    def __init__(self, address: bytes, length: int, server: bytes) -> None:
        self.address: bytes = address
        self.length: int = length
        """Of the network's prefix, in bits."""
        self.server: bytes = server
        self.renew_at: Instant = FOREVER
        """T1: ask the server for more time."""
        self.rebind_at: Instant = FOREVER
        """T2: ask any server."""
        self.end: Instant = FOREVER
        self.routes: list[tuple[bytes, int, bytes]] = []
        """Network, prefix length and router, which is 0.0.0.0 for networks on the link."""
        self.mtu: int = 0
        """0: the server says nothing about it."""
        self.name_servers: list[bytes] = []
        self.search: list[str] = []


def offered(message: DhcpMessage) -> bool:
    """Whether an OFFER or ACK gives an address that a host can have, and says who gives it."""
    address = message.yours
    usable = 0 < address[0] < 224 and not is_loopback(address)
    server = message.address(SERVER_IDENTIFIER)
    return usable and server != b"" and any(server) and not is_multicast(server)


def lease_of(message: DhcpMessage, asked: Instant) -> Lease | None:
    """The lease in an ACK to what was asked at `asked`; None if it says not how long it lasts."""
    seconds = message.number(LEASE_TIME)
    if seconds < 0 or not offered(message):
        return None
    lease = Lease(message.yours, _prefix_length(message), message.address(SERVER_IDENTIFIER))
    if seconds != INFINITE:
        _set_times(lease, message, max(seconds, MIN_SECONDS), asked)
    lease.routes = _routes(message)
    mtu = message.number(INTERFACE_MTU, 2)
    lease.mtu = mtu if mtu >= MIN_MTU else 0
    lease.name_servers = [one for one in parse_addresses(message.options.get(NAME_SERVER, b"")) if any(one)]
    lease.search = parse_search(message.options.get(DOMAIN_SEARCH, b"")) or _domain(message)
    return lease


def _set_times(lease: Lease, message: DhcpMessage, seconds: int, asked: Instant) -> None:
    """T1 and T2 as the server says, if they make sense, else a half and seven eighths of the time."""
    renew = message.number(RENEWAL_TIME)
    rebind = message.number(REBINDING_TIME)
    if not MIN_SECONDS // 2 <= rebind < seconds:
        rebind = seconds * 7 // 8
    if not MIN_SECONDS // 2 <= renew < rebind:
        renew = min(seconds // 2, rebind)
    lease.renew_at = asked + renew * SECOND
    lease.rebind_at = asked + rebind * SECOND
    lease.end = asked + seconds * SECOND


def _prefix_length(message: DhcpMessage) -> int:
    """The subnet mask as a length; without one, or with holes in it, that of the address's old class."""
    mask = message.number(SUBNET_MASK)
    ones = mask.bit_count() if mask > 0 else 0
    if ones and mask == _ALL_ONES >> (32 - ones) << (32 - ones):
        return ones
    first = message.yours[0]
    return 8 if first < 128 else 16 if first < 192 else 24


def _routes(message: DhcpMessage) -> list[tuple[bytes, int, bytes]]:
    """Classless routes, which make a client ignore routers (RFC 3442), else one through the first router."""
    routes = parse_classless_routes(message.options.get(CLASSLESS_ROUTES, b""))
    if routes:
        return routes[:MAX_ROUTES]
    router = message.address(ROUTER)
    return [(bytes(4), 0, router)] if router and any(router) else []


def _domain(message: DhcpMessage) -> list[str]:
    """The domain name, which serves as a search list where there is none."""
    try:
        name = message.options.get(DOMAIN_NAME, b"").rstrip(b"\0").decode("ascii")
        split_name(name)
    except ValueError:
        return []
    return [name.rstrip(".").lower()] if name.strip(".") else []
