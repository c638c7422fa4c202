"""What an interface is to IPv6: its addresses and their states, its groups, what routers have said about it.

Below everything else of `net.ip6`; who acts on changes is a `LinkControl`.
"""

from abc import ABC, abstractmethod
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.time import FOREVER, Instant
from ...kern.timer import Timer
from ..ip.groups import ANYBODY, NOTHING, SourceFilter, merged
from ..link.interface import Interface
from ..wire.address import is_link_local

# Where an address comes from
MANUAL: Final = 0
LINK_LOCAL: Final = 1
STABLE: Final = 2
"""From a router's prefix and a stable interface identifier (RFC 4862, RFC 7217)."""
TEMPORARY: Final = 3
"""From a router's prefix and a random interface identifier (RFC 8981)."""
ORIGIN_NAMES: Final = ("manual", "link-local", "stable", "temporary")

# States of an address (RFC 4862 section 2)
TENTATIVE: Final = 0
"""Not ours yet: nobody must have it (duplicate address detection)."""
VALID: Final = 1
DUPLICATED: Final = 2
"""Somebody else has it; it is not used."""
STATE_NAMES: Final = ("tentative", "valid", "duplicated")


@mypyc_attr(allow_interpreted_subclasses=True)
class Address6(Timer):
    """One address of an interface.  Its timer is duplicate address detection's, then that of its lifetimes."""

    def __init__(self, link: "Link6", address: bytes, length: int, origin: int) -> None:
        super().__init__()
        self.link: Link6 = link
        self.address: bytes = address
        self.length: int = length
        """Of the network's prefix, in bits."""
        self.origin: int = origin
        self.state: int = TENTATIVE
        self.deprecated: bool = False
        """Its preferred lifetime is over: new connections use others (RFC 4862 section 5.5.4)."""
        self.preferred_until: Instant = FOREVER
        self.valid_until: Instant = FOREVER
        self.created: Instant = 0
        self.attempts: int = 0
        """Solicitations sent to detect duplicates."""
        self.halfway: bool = False
        """The last of them is to be sent once more before its time is over."""
        self.nonce: bytes = b""
        """What our own solicitations carry, to know them where the link echoes them (RFC 7527)."""
        self.regenerated: bool = False
        """Of a temporary address: a successor has been made."""

    def expire(self, now: Instant) -> None:
        control = self.link.control
        if control is not None:
            control.address_timer(self, now)


@mypyc_attr(allow_interpreted_subclasses=True)
class LinkControl(ABC):
    """Who keeps a link's neighbours, addresses and groups: told of every change."""

    @abstractmethod
    def came_up(self, now: Instant) -> None:
        """The link carries frames from now on."""

    @abstractmethod
    def went_down(self, now: Instant) -> None:
        """The link does not any more, or the interface goes away."""

    @abstractmethod
    def address_added(self, address: Address6, now: Instant) -> None:
        """A tentative address: see that it becomes valid."""

    @abstractmethod
    def address_removed(self, address: Address6, now: Instant) -> None:
        """An address is not ours any more."""

    @abstractmethod
    def address_timer(self, address: Address6, now: Instant) -> None:
        """An address's timer has run out."""

    @abstractmethod
    def group_changed(self, group: bytes, before: SourceFilter, after: SourceFilter, now: Instant) -> None:
        """What the link takes in of a group is something else now; NOTHING stands for a group that it isn't in."""


@final
class Link6:
    """IPv6's view of one interface."""

    def __init__(self, interface: Interface) -> None:
        self.interface: Interface = interface
        self.addresses: list[Address6] = []
        self.groups: dict[bytes, int] = {}
        """Multicast groups and how often each was joined."""
        self.filters: dict[bytes, list[SourceFilter]] = {}
        """By group, what those want who have joined it for some sources only, or for all but some."""
        self.hop_limit: int = 0
        """As a router says, or 0."""
        self.mtu: int = 0
        """As a router says, or 0."""
        self.retrans_milliseconds: int = 0
        self.reachable_milliseconds: int = 0
        """As a router says, or 0: neighbour discovery's settings hold."""
        self.fresh_until: Instant = 0
        """Until when answers may be lost as the far side is not quite up (`LinkPort.slow_start`)."""
        self.accept_ra: bool = True
        """Whether to listen to routers, where the sysctl lets it."""
        self.control: LinkControl | None = None

    def wanted(self, group: bytes) -> SourceFilter:
        """What the link takes in of a group."""
        count = self.groups.get(group, 0)
        filters = self.filters.get(group)
        if filters is None:
            return ANYBODY if count else NOTHING
        return ANYBODY if count > len(filters) else merged(filters)

    def owns(self, address: bytes) -> bool:
        """Whether `address` is a valid one of this link's."""
        for own in self.addresses:
            if own.address == address:
                return own.state == VALID
        return False

    def find(self, address: bytes) -> Address6 | None:
        """The address in any state, or None."""
        for own in self.addresses:
            if own.address == address:
                return own
        return None

    def link_local(self) -> bytes:
        """A valid link-local address of this link's, or b""."""
        for own in self.addresses:
            if own.state == VALID and is_link_local(own.address):
                return own.address
        return b""

    def path_mtu(self) -> int:
        """The largest packet the link takes, in bytes."""
        mtu = self.interface.mtu
        return min(self.mtu, mtu) if self.mtu else mtu
