"""What keeps an Ethernet link's IPv6 going: a link-local address from the moment it is up, duplicate address detection
for every address, routers asked for, groups reported.  Above `dad`, `discovery`, `routers` and `mld`."""

from typing import TYPE_CHECKING, Final, final

from ...hyper.time import FOREVER, SECOND, Instant
from ...kern.timer import TimerQueue
from ..ip.groups import SourceFilter
from ..link.ethernet import EthernetInterface
from ..wire.address import is_link_local
from .discovery import Discovery
from .identifiers import IDGEN_RETRIES, LINK_LOCAL_PREFIX, from_mac, solicited_node, stable
from .ipv6 import Ipv6
from .link import DUPLICATED, LINK_LOCAL, MANUAL, TENTATIVE, VALID, Address6, Link6, LinkControl
from .neighbours import Neighbours6

if TYPE_CHECKING:
    from .mld import LinkListener
    from .routers import Routers
    from .slaac import Slaac

FRESH: Final = SECOND
"""How long the far side of a link may take to be quite up."""


@final
class EthernetControl(LinkControl):
    """One Ethernet link's."""

    def __init__(
        self, link: Link6, neighbours: Neighbours6, discovery: Discovery, ipv6: Ipv6, timers: TimerQueue, secret: bytes
    ) -> None:
        self.link: Link6 = link
        self.neighbours: Neighbours6 = neighbours
        self.listener: LinkListener | None = None
        self.routers: Routers | None = None
        self.slaac: Slaac | None = None
        self._discovery: Discovery = discovery
        self._ipv6: Ipv6 = ipv6
        self._timers: TimerQueue = timers
        self._secret: bytes = secret
        self._conflicts: int = 0
        """Of link-local addresses that this kernel made up."""

    def came_up(self, now: Instant) -> None:
        link = self.link
        interface = link.interface
        if isinstance(interface, EthernetInterface) and interface.port.slow_start:
            link.fresh_until = now + FRESH
        if not any(own.origin == LINK_LOCAL or is_link_local(own.address) for own in link.addresses):
            self._make_link_local(now)
        if self.listener is not None:
            self.listener.came_up(now)
        for own in list(link.addresses):
            if own.state == TENTATIVE and own.deadline == FOREVER:
                self._discovery.dad.start(own, True, now)

    def went_down(self, now: Instant) -> None:
        """What was learnt on the link means nothing on the next one it is plugged into."""
        self.neighbours.clear()
        if self.listener is not None:
            self.listener.went_down()
        if self.routers is not None:
            self.routers.forget(self.link, now)
        for own in list(self.link.addresses):
            if own.origin == MANUAL:
                # Whether anybody has it is another question on the next link, or after a while.
                if own.state == DUPLICATED:
                    self._ipv6.join_on(self.link, solicited_node(own.address), now)
                own.state = TENTATIVE
                self._timers.set(own, FOREVER)
            else:
                self._ipv6.remove_address(self.link, own.address, now)
        self._ipv6.rebuild()

    def address_added(self, address: Address6, now: Instant) -> None:
        self._ipv6.join_on(self.link, solicited_node(address.address), now)
        if address.state == VALID:
            self.became_valid(address, now)
        elif self.link.interface.up:
            self._discovery.dad.start(address, address.origin != MANUAL, now)

    def address_removed(self, address: Address6, now: Instant) -> None:
        self._timers.set(address, FOREVER)
        if address.state in (TENTATIVE, VALID):
            self._ipv6.leave_on(self.link, solicited_node(address.address), now)

    def address_timer(self, address: Address6, now: Instant) -> None:
        if address.state == TENTATIVE:
            self._discovery.dad.timer(address, now)
        elif self.slaac is not None:
            self.slaac.lifetime(address, now)

    def group_changed(self, group: bytes, before: SourceFilter, after: SourceFilter, now: Instant) -> None:
        if self.listener is not None:
            self.listener.changed(group, before, after, now)

    def became_valid(self, address: Address6, now: Instant) -> None:
        """An address is ours from now on."""
        if self.slaac is not None:
            self.slaac.lifetime(address, now)
        if is_link_local(address.address):
            if self.listener is not None:
                self.listener.has_address(now)
            if self.routers is not None:
                self.routers.ask(self.link, now)

    def is_duplicate(self, address: Address6, now: Instant) -> None:
        """Somebody else has the address: try another where we made it up (RFC 7217 section 5, RFC 4862 5.4.5)."""
        if address.origin == LINK_LOCAL:
            self._conflicts += 1
            if self._ipv6.settings.stable_privacy and self._conflicts <= IDGEN_RETRIES:
                self._ipv6.remove_address(self.link, address.address, now)
                self._make_link_local(now)
        elif address.origin != MANUAL and self.slaac is not None:
            self.slaac.is_duplicate(address, now)

    def _make_link_local(self, now: Instant) -> None:
        interface = self.link.interface
        if self._ipv6.settings.stable_privacy:
            identifier = stable(LINK_LOCAL_PREFIX, interface.name, interface.mac, self._conflicts, self._secret)
        else:
            identifier = from_mac(interface.mac)
        self._ipv6.add_address(self.link, LINK_LOCAL_PREFIX + identifier, 64, LINK_LOCAL, now)
