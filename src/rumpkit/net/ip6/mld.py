"""Multicast listener discovery, the host's side (RFC 3810; version 1, RFC 2710, where a router speaks only that).

Routers and snooping switches learn from reports which groups are wanted on a link.  Between `ip6.control`, which tells of
groups, and `ip6.icmp`, which brings queries.
"""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.time import FOREVER, MILLISECOND, SECOND, Duration, Instant
from ...kern.counters import Counters
from ...kern.sysctl import Sysctl
from ...kern.timer import Timer, TimerQueue
from ..ip.groups import NOTHING, SourceFilter
from ..wire.address import ANY_V6, is_link_local, is_unspecified
from ..wire.icmpv6 import MLD_DONE_V1, MLD_QUERY, MLD_REPORT_V1, MLD_REPORT_V2, Icmp6Message
from ..wire.ipv6 import HEADER_SIZE, HOP_BY_HOP, PROTOCOL_ICMPV6
from ..wire.ipv6_extensions import ROUTER_ALERT_MLD, emit_options_header, has_router_alert
from ..wire.mld import (
    ALLOW_NEW_SOURCES,
    BLOCK_OLD_SOURCES,
    CHANGE_TO_EXCLUDE,
    CHANGE_TO_INCLUDE,
    MODE_IS_EXCLUDE,
    MODE_IS_INCLUDE,
    Query,
    Record,
    emit_report,
    parse_query,
)
from .icmp import Icmp6, Icmp6Handler, Received6
from .ipv6 import ALL_NODES, Ipv6
from .link import Link6

ALL_MLDV2_ROUTERS: Final = b"\xff\x02" + bytes(13) + b"\x16"
ALL_ROUTERS: Final = b"\xff\x02" + bytes(13) + b"\2"
_ROUTER_ALERT: Final = emit_options_header(PROTOCOL_ICMPV6, ROUTER_ALERT_MLD)
_RECORDS: Final = 60
"""Records without sources that fit the smallest MTU."""
_SOURCES: Final = 64
"""Sources of one record that do."""


@final
class MldSettings:
    """Times of one kernel's multicast listening."""

    def __init__(self) -> None:
        self.robustness: int = 2
        self.report_milliseconds: int = 1000
        self.version1_seconds: int = 260
        self.max_sources: int = 64


MLD_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("robustness", 1, 7, "how often a change is reported (RFC 3810 9.1), where no router says otherwise"),
    Sysctl("report_milliseconds", 1, 60_000, "random wait up to this between reports of a change (RFC 3810 9.11)"),
    Sysctl("version1_seconds", 1, 86_400, "how long a router of version 1 is spoken to in its way (RFC 3810 9.12)"),
    Sysctl("max_sources", 0, 64, "sources of a query that are answered for, in one packet; others are not looked at"),
)


@final
class MldCounters(Counters):
    """Multicast listening on all interfaces of a kernel."""

    def __init__(self) -> None:
        self.queries_in: int = 0
        self.reports_in: int = 0
        self.bad_in: int = 0
        self.reports_out: int = 0
        self.leaves_out: int = 0

    def names(self) -> tuple[str, ...]:
        return ("queries_in", "reports_in", "bad_in", "reports_out", "leaves_out")


@final
class Mld(Icmp6Handler):
    """One kernel's listening; takes queries."""

    def __init__(self, hyper: Hypercalls, timers: TimerQueue, ipv6: Ipv6, icmp: Icmp6) -> None:
        self.settings: MldSettings = MldSettings()
        self.counters: MldCounters = MldCounters()
        self.listeners: dict[int, LinkListener] = {}
        """By the interface's index."""
        self.hyper: Hypercalls = hyper
        self.timers: TimerQueue = timers
        self.ipv6: Ipv6 = ipv6
        for kind in (MLD_QUERY, MLD_REPORT_V1):
            icmp.handlers[kind] = self

    def handle(self, received: Received6, now: Instant) -> None:
        """Messages must come from a link-local address with hop limit 1 and, queries, a router alert (RFC 3810 section
        6.2)."""
        listener = self.listeners.get(received.link.interface.index)
        if listener is None:
            return
        if received.hop_limit != 1 or not is_link_local(received.source) or not _alerts(received):
            self.counters.bad_in += 1
        elif received.message.kind == MLD_REPORT_V1:
            self.counters.reports_in += 1
            listener.other_reports(received.message.data[:16])
        else:
            self.counters.queries_in += 1
            query = parse_query(received.message.body())
            if query is None:
                self.counters.bad_in += 1
            else:
                listener.asked(query, now)

    def random(self, limit: Duration) -> Duration:
        """A random time below a limit."""
        return int.from_bytes(self.hyper.random(8), "big") % limit if limit > 0 else 0


@final
class _Change:
    """What routers are still to be told of a group (RFC 3810 section 6.1)."""

    def __init__(self, due: Instant) -> None:
        self.due: Instant = due
        self.mode_left: int = 0
        """How often that the mode has changed: the whole filter is told."""
        self.sources_left: dict[bytes, int] = {}
        """How often of single sources."""

    def over(self) -> bool:
        """Whether everything has been told."""
        return not self.mode_left and not self.sources_left

    def records(self, group: bytes, wanted: SourceFilter) -> list[Record]:
        """What is to be said this time."""
        if self.mode_left:
            self.mode_left -= 1
            kind = CHANGE_TO_EXCLUDE if wanted.exclude else CHANGE_TO_INCLUDE
            return [Record(kind, group, tuple(sorted(wanted.sources)))]
        allowed = tuple(sorted(source for source in self.sources_left if wanted.allows(source)))
        blocked = tuple(sorted(source for source in self.sources_left if not wanted.allows(source)))
        self.sources_left = {source: left - 1 for source, left in self.sources_left.items() if left > 1}
        both = ((ALLOW_NEW_SOURCES, allowed), (BLOCK_OLD_SOURCES, blocked))
        return [Record(kind, group, sources) for kind, sources in both if sources]


@final
class _Answer:
    """An answer about one group that is due; `sources` are those that were asked about, none for all."""

    def __init__(self, due: Instant, sources: tuple[bytes, ...]) -> None:
        self.due: Instant = due
        self.sources: tuple[bytes, ...] = sources


@final
class LinkListener(Timer):
    """One link's reports; its timer is for the next that is due."""

    def __init__(self, mld: Mld, link: Link6) -> None:
        super().__init__()
        self._mld: Mld = mld
        self._link: Link6 = link
        self._changes: dict[bytes, _Change] = {}
        self._answers: dict[bytes, _Answer] = {}
        self._general: Instant = FOREVER
        """When all groups are to be reported."""
        self._version1_until: Instant = 0
        self._robustness: int = 0

    # Changes (RFC 3810 section 6.1) --------------------------------------------------------------------

    def came_up(self, now: Instant) -> None:
        """Report everything: nobody on the link knows."""
        for group in self._link.groups:
            self.changed(group, NOTHING, self._link.wanted(group), now)

    def went_down(self) -> None:
        """There is nobody to tell."""
        self._changes.clear()
        self._answers.clear()
        self._general = FOREVER
        self._version1_until = 0
        self._mld.timers.set(self, FOREVER)

    def has_address(self, now: Instant) -> None:
        """There is a link-local address: what was reported from :: was for switches only (RFC 3590 section 4)."""
        self.came_up(now)

    def changed(self, group: bytes, before: SourceFilter, after: SourceFilter, now: Instant) -> None:
        """The link wants something else of a group: report it, now and a few times more."""
        if after.is_nothing():
            self._answers.pop(group, None)
        if not _is_reported(group) or not self._link.interface.up:
            return
        robustness = self._robustness or self._mld.settings.robustness
        change = self._changes.get(group)
        if change is None:
            change = self._changes[group] = _Change(now)
        change.due = now
        if before.exclude != after.exclude or before.is_nothing() != after.is_nothing():
            change.mode_left = robustness
            change.sources_left.clear()
        elif not change.mode_left:
            for source in before.sources ^ after.sources:
                change.sources_left[source] = robustness
        self._arm(now)

    # Queries (RFC 3810 section 6.2) --------------------------------------------------------------------

    def asked(self, query: Query, now: Instant) -> None:
        """A router asks."""
        if query.version == 1:
            self._version1_until = now + self._mld.settings.version1_seconds * SECOND
            self._changes.clear()
        else:
            self._robustness = query.robustness
        due = now + self._mld.random(query.max_delay * MILLISECOND)
        if is_unspecified(query.group):
            self._general = min(self._general, due)
        elif query.group in self._link.groups and _is_reported(query.group) and self._general > due:
            answer = self._answers.get(query.group)
            sources = query.sources[: self._mld.settings.max_sources]
            if answer is None:
                self._answers[query.group] = _Answer(due, sources)
            else:
                answer.due = min(answer.due, due)
                merged = dict.fromkeys((*answer.sources, *sources)) if sources and answer.sources else ()
                answer.sources = tuple(merged)[: self._mld.settings.max_sources]
        self._arm(now)

    def other_reports(self, group: bytes) -> None:
        """Somebody else listens to a group: in version 1 one report is enough (RFC 2710 section 4)."""
        if self._version1_until:
            self._answers.pop(group, None)

    # Reports -------------------------------------------------------------------------------------------

    def expire(self, now: Instant) -> None:
        version1 = self._version1_until > now
        link = self._link
        records: list[Record] = []
        for group, change in list(self._changes.items()):
            if change.due <= now:
                records += change.records(group, link.wanted(group))
                change.due = now + 1 + self._mld.random(self._mld.settings.report_milliseconds * MILLISECOND)
                if change.over():
                    del self._changes[group]
        if self._general <= now:
            self._general = FOREVER
            self._answers.clear()
            records += [_current(group, link.wanted(group)) for group in link.groups if _is_reported(group)]
        for group, answer in list(self._answers.items()):
            if answer.due <= now:
                del self._answers[group]
                wanted = link.wanted(group)
                asked = tuple(source for source in answer.sources if wanted.allows(source))
                if not answer.sources:
                    records.append(_current(group, wanted))
                elif asked:
                    records.append(Record(MODE_IS_INCLUDE, group, asked))
        if version1:
            self._report_version1(records, now)
        else:
            self._report(records, now)
        self._arm(now)

    def _report(self, records: list[Record], now: Instant) -> None:
        plain = [record for record in records if not record.sources]
        batches = [plain[at : at + _RECORDS] for at in range(0, len(plain), _RECORDS)]
        batches += [[piece] for record in records if record.sources for piece in _pieces(record)]
        for batch in batches:
            self._mld.counters.reports_out += 1
            self._emit(MLD_REPORT_V2, emit_report(batch), ALL_MLDV2_ROUTERS, now)

    def _report_version1(self, records: list[Record], now: Instant) -> None:
        for record in records:
            if record.kind in (ALLOW_NEW_SOURCES, BLOCK_OLD_SOURCES):
                continue  # of which that version knows nothing
            if record.kind == CHANGE_TO_INCLUDE and not record.sources:
                self._mld.counters.leaves_out += 1
                self._emit(MLD_DONE_V1, bytes(4) + record.group, ALL_ROUTERS, now)
            else:
                self._mld.counters.reports_out += 1
                self._emit(MLD_REPORT_V1, bytes(4) + record.group, record.group, now)

    def _emit(self, kind: int, body: bytes, destination: bytes, now: Instant) -> None:
        source = self._link.link_local() or ANY_V6  # RFC 3810 section 5.2.13
        message = Icmp6Message(kind, 0, int.from_bytes(body[:4], "big"), body[4:])
        self._mld.ipv6.send_on(self._link, message, source, destination, now, 1, _ROUTER_ALERT)

    def _arm(self, now: Instant) -> None:
        due = min([change.due for change in self._changes.values()], default=FOREVER)
        due = min([due, *(answer.due for answer in self._answers.values())])
        self._mld.timers.set(self, min(due, self._general))


def _current(group: bytes, wanted: SourceFilter) -> Record:
    kind = MODE_IS_EXCLUDE if wanted.exclude else MODE_IS_INCLUDE
    return Record(kind, group, tuple(sorted(wanted.sources)))


def _pieces(record: Record) -> list[Record]:
    """A record in parts that fit the smallest MTU; of one that excludes, which can't be told in parts, the first (RFC 3810
    section 5.2.15)."""
    starts = range(0, len(record.sources), _SOURCES)
    pieces = [Record(record.kind, record.group, record.sources[at : at + _SOURCES]) for at in starts]
    return pieces[:1] if record.kind in (MODE_IS_EXCLUDE, CHANGE_TO_EXCLUDE) else pieces


def _is_reported(group: bytes) -> bool:
    """Whether anybody is told of a group: not of all nodes', nor of groups that don't leave the host (RFC 3810 section
    6)."""
    return group != ALL_NODES and group[1] & 0xF > 1


def _alerts(received: Received6) -> bool:
    """Whether the packet has a router alert in a hop-by-hop header (RFC 2711)."""
    head, network = received.frame.head, received.network
    if head[network + 6] != HOP_BY_HOP:
        return False
    start = network + HEADER_SIZE
    return has_router_alert(head, start + 2, start + 8 * (head[start + 1] + 1))
