"""Multicast groups (RFC 1112, RFC 3376 sections 2 and 3): which sockets want which sources of which groups, and what an
interface takes in because of that.  A socket's memberships are the same thing for IPv6 (`ip6.groups`).

Between the options of sockets above and interfaces below.  `igmp` hears of every change on an interface, to tell routers.
"""

from collections.abc import Callable
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...kern.abi.errno import EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENOBUFS, error
from ...kern.counters import Counters
from ...kern.sysctl import Sysctl
from ..link.interface import Interface
from ..wire.address import multicast_mac

PROTOCOL_IGMP: Final = 2
ALL_HOSTS: Final = b"\xe0\0\0\1"
"""The group that every host is in (RFC 1112 section 4)."""
EVERYTHING: Final[frozenset[bytes]] = frozenset()


@final
class GroupSettings:
    """Limits of one kernel's memberships."""

    def __init__(self) -> None:
        self.max_memberships: int = 20
        self.max_sources: int = 64
        self.max_groups: int = 1024


GROUP_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("max_memberships", 1, 4096, "multicast groups that one socket may join"),
    Sysctl("max_sources", 1, 4096, "sources in the filter of one membership"),
    Sysctl("max_groups", 1, 1 << 16, "multicast groups that one interface is in"),
)


@final
class IgmpSettings:
    """Variables of one kernel's IGMP (RFC 3376 section 8)."""

    def __init__(self) -> None:
        self.robustness: int = 2
        self.unsolicited_milliseconds: int = 1000
        self.version: int = 3


IGMP_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("robustness", 1, 7, "how often a change is told, as messages may be lost"),
    Sysctl("unsolicited_milliseconds", 1, 60_000, "the longest time between two of these"),
    Sysctl("version", 1, 3, "the version to speak where routers speak it too"),
)


@final
class IgmpCounters(Counters):
    """IGMP messages by what they were."""

    def __init__(self) -> None:
        self.messages_in: int = 0
        self.bad_in: int = 0
        self.queries_in: int = 0
        self.reports_in: int = 0
        self.reports_out: int = 0
        self.leaves_out: int = 0

    def names(self) -> tuple[str, ...]:
        return _COUNTERS


_COUNTERS: Final = ("messages_in", "bad_in", "queries_in", "reports_in", "reports_out", "leaves_out")


@final
class SourceFilter:
    """Which sources are wanted: those listed, or (`exclude`) all but those.  Never changed."""

    __slots__ = ("exclude", "sources")

    def __init__(self, exclude: bool, sources: frozenset[bytes] = EVERYTHING) -> None:
        self.exclude: bool = exclude
        self.sources: frozenset[bytes] = sources

    def allows(self, source: bytes) -> bool:
        """Whether packets from there are wanted."""
        return (source in self.sources) != self.exclude

    def is_nothing(self) -> bool:
        """Whether nobody is wanted: the group has been left."""
        return not self.exclude and not self.sources

    def same(self, other: "SourceFilter") -> bool:
        """Whether the two say the same."""
        return self.exclude == other.exclude and self.sources == other.sources


NOTHING: Final = SourceFilter(False)
ANYBODY: Final = SourceFilter(True)


def merged(filters: list[SourceFilter]) -> SourceFilter:
    """What an interface must take in so that each of these gets what it wants (RFC 3376 section 3.2)."""
    included = EVERYTHING.union(*[one.sources for one in filters if not one.exclude])
    excluding = [one.sources for one in filters if one.exclude]
    if not excluding:
        return SourceFilter(False, included)
    return SourceFilter(True, excluding[0].intersection(*excluding[1:]) - included)


@mypyc_attr(allow_interpreted_subclasses=True)
class GroupListener:
    """Who is told when what an interface takes in changes: IGMP."""

    def changed(self, interface: Interface, group: bytes, before: SourceFilter, after: SourceFilter) -> None:
        """The interface's filter for a group is another now; NOTHING stands for a group that it isn't in."""
        raise NotImplementedError

    def forget(self, interface: Interface) -> None:
        """The interface goes away."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class GroupTable:
    """What memberships of either version of IP are made in."""

    def __init__(self) -> None:
        self.settings: GroupSettings = GroupSettings()

    def replace(self, interface: Interface, group: bytes, old: SourceFilter, new: SourceFilter) -> None:
        """One member wants `new` of a group from now on instead of `old` (NOTHING: it joins, or leaves).  Raises ENOBUFS."""
        raise NotImplementedError

    def has(self, index: int) -> bool:
        """Whether the interface of that index is there still."""
        raise NotImplementedError


@final
class Groups(GroupTable):
    """The groups that each interface of a kernel is in.  What is not a member's is not delivered."""

    def __init__(self) -> None:
        super().__init__()
        self.igmp_settings: IgmpSettings = IgmpSettings()
        self.igmp_counters: IgmpCounters = IgmpCounters()
        self.listener: GroupListener | None = None
        self.start: Callable[[], None] | None = None
        """Makes the listener when the first group is joined: most kernels join none."""
        self.by_interface: dict[int, dict[bytes, SourceFilter]] = {}
        """By index, then group: what the interface takes in."""
        self._wanted: dict[tuple[int, bytes], list[SourceFilter]] = {}

    def has(self, index: int) -> bool:
        return index in self.by_interface

    def replace(self, interface: Interface, group: bytes, old: SourceFilter, new: SourceFilter) -> None:
        key = (interface.index, group)
        filters = list(self._wanted.get(key, ()))
        groups = self.by_interface.setdefault(interface.index, {})
        if not filters and len(groups) >= self.settings.max_groups:
            raise error(ENOBUFS)
        if not old.is_nothing():
            filters.remove(old)
        if not new.is_nothing():
            filters.append(new)
        before = groups.get(group, NOTHING)
        after = merged(filters)
        if filters:
            self._wanted[key] = filters
            groups[group] = after
        else:
            self._wanted.pop(key, None)
            groups.pop(group, None)
        if before.is_nothing() != after.is_nothing():
            _filter_macs(interface, group, before.is_nothing())
        if self.listener is None and self.start is not None:
            self.start()
        if self.listener is not None and not before.same(after) and group != ALL_HOSTS:
            self.listener.changed(interface, group, before, after)

    def allows(self, interface: Interface, group: bytes, source: bytes, protocol: int = 0) -> bool:
        """Whether a packet is to be taken in at all.  A router's question about a group is, whoever's packets are wanted."""
        if group == ALL_HOSTS:
            return True
        groups = self.by_interface.get(interface.index)
        wanted = None if groups is None else groups.get(group)
        return wanted is not None and (protocol == PROTOCOL_IGMP or wanted.allows(source))

    def is_joined(self, index: int, group: bytes) -> bool:
        """Whether an interface is in a group."""
        return group == ALL_HOSTS or group in self.by_interface.get(index, {})

    def forget(self, interface: Interface) -> None:
        """An interface goes away, and with it the groups that it is in."""
        self.by_interface.pop(interface.index, None)
        for key in [key for key in self._wanted if key[0] == interface.index]:
            del self._wanted[key]
        if self.listener is not None:
            self.listener.forget(interface)


def _filter_macs(interface: Interface, group: bytes, take: bool) -> None:
    """Let the group's Ethernet address through, or no longer; groups share addresses, so they are counted."""
    mac = multicast_mac(group)
    count = interface.group_macs.get(mac, 0) + (1 if take else -1)
    if count > 0:
        interface.group_macs[mac] = count
    else:
        interface.group_macs.pop(mac, 0)


@final
class Memberships:
    """The groups that one socket has joined, each on an interface, and the sources that it wants of them."""

    def __init__(self, groups: GroupTable) -> None:
        self.every: bool = True
        """IP_MULTICAST_ALL: groups that others have joined are delivered, too."""
        self._groups: GroupTable = groups
        self._joined: dict[tuple[int, bytes], SourceFilter] = {}
        self._interfaces: dict[int, Interface] = {}

    def allows(self, index: int, group: bytes, source: bytes) -> bool:
        """Whether a packet that came by the interface of that index is for this socket."""
        wanted = self._joined.get((index, group))
        return self.every if wanted is None else wanted.allows(source)

    def rows(self) -> list[tuple[int, bytes]]:
        """The index of the interface and the group of each membership."""
        return list(self._joined)

    def join(self, interface: Interface, group: bytes) -> None:
        """Want everybody's.  Raises EADDRINUSE (joined already), ENOBUFS."""
        self._new(interface, group, ANYBODY)

    def leave(self, index: int, group: bytes) -> None:
        """Leave; `index` 0 is whichever interface it was joined on.  Raises EADDRNOTAVAIL."""
        key = self._key(index, group)
        self._set(key, NOTHING)

    def filter(self, index: int, group: bytes) -> SourceFilter:
        """What is wanted of a group.  Raises EADDRNOTAVAIL."""
        return self._joined[self._key(index, group)]

    def set_filter(self, index: int, group: bytes, wanted: SourceFilter) -> None:
        """Replace what is wanted of a group that was joined.  Raises EADDRNOTAVAIL, ENOBUFS."""
        self._check(wanted)
        self._set(self._key(index, group), wanted)

    def join_source(self, interface: Interface, group: bytes, source: bytes) -> None:
        """Want one more source's.  Raises EINVAL where everybody's but some are wanted, EADDRNOTAVAIL (it is wanted already),
        ENOBUFS."""
        before = self._joined.get((interface.index, group))
        if before is None:
            self._new(interface, group, SourceFilter(False, frozenset((source,))))
            return
        if before.exclude:
            raise error(EINVAL)
        self._with(interface.index, group, before, source, True)

    def leave_source(self, index: int, group: bytes, source: bytes) -> None:
        """Want one source's no longer; without any the group is left.  Raises EINVAL where the group was not joined or
        everybody's are wanted, EADDRNOTAVAIL."""
        key = self._key(index, group, EINVAL)
        before = self._joined[key]
        if before.exclude:
            raise error(EINVAL)
        self._with(key[0], group, before, source, False)

    def block(self, index: int, group: bytes, source: bytes, blocked: bool) -> None:
        """Refuse one source's of a group that was joined for everybody's, or take it again.  Raises EINVAL where it was not,
        or only some are wanted, EADDRNOTAVAIL (blocked already, or not), ENOBUFS."""
        key = self._key(index, group, EINVAL)
        before = self._joined[key]
        if not before.exclude:
            raise error(EINVAL)
        self._with(key[0], group, before, source, blocked)

    def close(self) -> None:
        """Leave everything."""
        for key in list(self._joined):
            self._set(key, NOTHING)

    # Inside ----------------------------------------------------------------------------------------------

    def _new(self, interface: Interface, group: bytes, wanted: SourceFilter) -> None:
        key = (interface.index, group)
        if key in self._joined:
            raise error(EADDRINUSE)
        if len(self._joined) >= self._groups.settings.max_memberships:
            raise error(ENOBUFS)
        self._groups.replace(interface, group, NOTHING, wanted)
        self._joined[key] = wanted
        self._interfaces[interface.index] = interface

    def _with(self, index: int, group: bytes, before: SourceFilter, source: bytes, listed: bool) -> None:
        """List one more source, or one less."""
        if (source in before.sources) == listed:
            raise error(EADDRNOTAVAIL)
        sources = before.sources | {source} if listed else before.sources - {source}
        after = SourceFilter(before.exclude, frozenset(sources))
        self._check(after)
        self._set((index, group), after)

    def _check(self, wanted: SourceFilter) -> None:
        if len(wanted.sources) > self._groups.settings.max_sources:
            raise error(ENOBUFS)

    def _key(self, index: int, group: bytes, otherwise: int = EADDRNOTAVAIL) -> tuple[int, bytes]:
        for key in self._joined:
            if key[1] == group and index in (0, key[0]):
                return key
        raise error(otherwise)

    def _set(self, key: tuple[int, bytes], after: SourceFilter) -> None:
        before = self._joined[key]
        interface = self._interfaces[key[0]]
        if self._groups.has(key[0]):  # else the interface has gone
            self._groups.replace(interface, key[1], before, after)
        if after.is_nothing():
            del self._joined[key]
        else:
            self._joined[key] = after
