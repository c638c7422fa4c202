"""Memberships of sockets in groups of IPv6 (RFC 3810 section 4): which sources of a group a link takes in because of them.

Between `ip.groups`, whose `Memberships` a socket has, and `ipv6`, which counts who is in a group at all.
"""

from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EADDRNOTAVAIL, ENOBUFS, error
from ...kern.sysctl import Sysctl
from ..ip.groups import GroupTable, SourceFilter
from ..link.interface import Interface

if TYPE_CHECKING:
    from .ipv6 import Ipv6

GROUP6_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("max_memberships", 1, 4096, "multicast groups that one socket may join"),
    Sysctl("max_sources", 1, 4096, "sources in the filter of one membership"),
)
MAX_MEMBERSHIPS: Final = 256


@final
class Groups6(GroupTable):
    """The memberships of one kernel's sockets."""

    def __init__(self, ipv6: "Ipv6") -> None:
        super().__init__()
        self.settings.max_memberships = MAX_MEMBERSHIPS
        self._ipv6: Ipv6 = ipv6

    def has(self, index: int) -> bool:
        return index in self._ipv6.links

    def replace(self, interface: Interface, group: bytes, old: SourceFilter, new: SourceFilter) -> None:
        ipv6 = self._ipv6
        link = ipv6.links.get(interface.index)
        if link is None:
            raise error(EADDRNOTAVAIL)
        if old.is_nothing() and group not in link.groups and len(link.groups) >= ipv6.settings.max_groups:
            raise error(ENOBUFS)
        ipv6.filter_on(link, group, old, new)
