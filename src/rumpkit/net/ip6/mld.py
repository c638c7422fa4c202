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
from ..wire.address import ANY_V6, is_link_local, is_unspecified
from ..wire.icmpv6 import MLD_DONE_V1, MLD_QUERY, MLD_REPORT_V1, MLD_REPORT_V2, Icmp6Message
from ..wire.ipv6 import HEADER_SIZE, HOP_BY_HOP, PROTOCOL_ICMPV6
from ..wire.ipv6_extensions import ROUTER_ALERT_MLD, emit_options_header, has_router_alert
from ..wire.mld import (
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
class _Pending:
    """A report that is due."""

    def __init__(self, due: Instant, kind: int, sources: tuple[bytes, ...], repeat: int) -> None:
        self.due: Instant = due
        self.kind: int = kind
        self.sources: tuple[bytes, ...] = sources
        self.repeat: int = repeat
        """How often it is to be sent once more after that."""


@final
class LinkListener(Timer):
    """One link's reports; its timer is for the next that is due."""

    def __init__(self, mld: Mld, link: Link6) -> None:
        super().__init__()
        self._mld: Mld = mld
        self._link: Link6 = link
        self._changes: dict[bytes, _Pending] = {}
        self._answers: dict[bytes, _Pending] = {}
        self._general: Instant = FOREVER
        """When all groups are to be reported."""
        self._version1_until: Instant = 0
        self._robustness: int = 0

    # Changes (RFC 3810 section 6.1) --------------------------------------------------------------------

    def came_up(self, now: Instant) -> None:
        """Report everything: nobody on the link knows."""
        for group in self._link.groups:
            self.joined(group, now)

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

    def joined(self, group: bytes, now: Instant) -> None:
        """The first listener to a group has come."""
        self._change(group, CHANGE_TO_EXCLUDE, now)

    def left(self, group: bytes, now: Instant) -> None:
        """The last listener to a group has gone."""
        self._answers.pop(group, None)
        self._change(group, CHANGE_TO_INCLUDE, now)

    def _change(self, group: bytes, kind: int, now: Instant) -> None:
        """Report a change, now and a few times more.  A later change takes the place of an earlier one."""
        if not _is_reported(group) or not self._link.interface.up:
            return
        robustness = self._robustness or self._mld.settings.robustness
        self._changes[group] = _Pending(now, kind, (), robustness - 1)
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
            pending = self._answers.get(query.group)
            sources = query.sources[: self._mld.settings.max_sources]
            if pending is None:
                kind = MODE_IS_INCLUDE if sources else MODE_IS_EXCLUDE
                self._answers[query.group] = _Pending(due, kind, sources, 0)
            else:
                pending.due = min(pending.due, due)
                if not sources or not pending.sources:
                    pending.kind, pending.sources = MODE_IS_EXCLUDE, ()
                else:
                    merged = dict.fromkeys((*pending.sources, *sources))
                    pending.sources = tuple(merged)[: self._mld.settings.max_sources]
        self._arm(now)

    def other_reports(self, group: bytes) -> None:
        """Somebody else listens to a group: in version 1 one report is enough (RFC 2710 section 4)."""
        if self._version1_until:
            self._answers.pop(group, None)

    # Reports -------------------------------------------------------------------------------------------

    def expire(self, now: Instant) -> None:
        version1 = self._version1_until > now
        records = [Record(pending.kind, group) for group, pending in self._changes.items() if pending.due <= now]
        for record in records:
            pending = self._changes[record.group]
            pending.repeat -= 1
            pending.due = now + 1 + self._mld.random(self._mld.settings.report_milliseconds * MILLISECOND)
            if pending.repeat < 0:
                del self._changes[record.group]
        if self._general <= now:
            self._general = FOREVER
            self._answers.clear()
            records += [Record(MODE_IS_EXCLUDE, group) for group in self._link.groups if _is_reported(group)]
        for group, pending in list(self._answers.items()):
            if pending.due <= now:
                del self._answers[group]
                records.append(Record(pending.kind, group, pending.sources))
        if version1:
            self._report_version1(records, now)
        else:
            self._report(records, now)
        self._arm(now)

    def _report(self, records: list[Record], now: Instant) -> None:
        plain = [record for record in records if not record.sources]
        batches = [plain[at : at + _RECORDS] for at in range(0, len(plain), _RECORDS)]
        batches += [[record] for record in records if record.sources]
        for batch in batches:
            self._mld.counters.reports_out += 1
            self._emit(MLD_REPORT_V2, emit_report(batch), ALL_MLDV2_ROUTERS, now)

    def _report_version1(self, records: list[Record], now: Instant) -> None:
        for record in records:
            if record.kind == CHANGE_TO_INCLUDE:
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
        due = min([pending.due for pending in (*self._changes.values(), *self._answers.values())], default=FOREVER)
        self._mld.timers.set(self, min(due, self._general))


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
