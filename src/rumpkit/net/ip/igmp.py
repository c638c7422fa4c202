"""IGMP for hosts (RFC 3376 section 5, with section 7 for routers of versions 1 and 2): routers are told which groups an
interface wants, when that changes and when they ask.

Below `groups`, which tells of changes.  A change is told `robustness` times, as messages may be lost; a query is answered
after a random part of the time that it gives, so that not all hosts speak at once.
"""

from typing import Final, final

from ...hyper.calls import Hypercalls
from ...hyper.frame import Frame
from ...hyper.time import FOREVER, MILLISECOND, SECOND, Duration, Instant
from ...kern.timer import Timer, TimerQueue
from ..link.interface import Interface
from ..wire import igmp as wire
from ..wire.igmp import GroupRecord, IgmpMessage, parse_igmp
from ..wire.ipv4 import HEADER_SIZE, emit_ipv4_header
from .contract import Network, Transport
from .groups import ALL_HOSTS, NOTHING, PROTOCOL_IGMP, GroupListener, Groups, IgmpCounters, IgmpSettings, SourceFilter

ALL_ROUTERS: Final = b"\xe0\0\0\2"
REPORTS_V3: Final = b"\xe0\0\0\x16"
UNSOLICITED_V2: Final = 10 * SECOND
QUERY_INTERVAL: Final = 125 * SECOND
RESPONSE_INTERVAL: Final = 10 * SECOND
_TENTH: Final = 100 * MILLISECOND
_INTERNETWORK_CONTROL: Final = 0xC0


@final
class _GroupState(Timer):
    """One group on one interface: what routers are still to be told of it.  The timer answers a query about it or, for
    version 2 and 1, reports it."""

    def __init__(self, link: "IgmpLink", group: bytes) -> None:
        super().__init__()
        self.link: IgmpLink = link
        self.group: bytes = group
        self.mode_left: int = 0
        """How often a change of the filter's mode is still to be told."""
        self.sources_left: dict[bytes, int] = {}
        """How often changes about single sources are."""
        self.asked: set[bytes] = set()
        """The sources that queries were about; none: about all of them."""
        self.reports_left: int = 0
        """Unsolicited reports of versions 1 and 2."""

    def pending(self) -> bool:
        """Whether a change is still to be told."""
        return self.mode_left > 0 or len(self.sources_left) > 0

    def expire(self, now: Instant) -> None:
        self.link.answer_about(self, now)


@final
class _Changes(Timer):
    def __init__(self, link: "IgmpLink") -> None:
        super().__init__()
        self._link: IgmpLink = link

    def expire(self, now: Instant) -> None:
        self._link.tell_changes(now)


@final
class _Everything(Timer):
    def __init__(self, link: "IgmpLink") -> None:
        super().__init__()
        self._link: IgmpLink = link

    def expire(self, now: Instant) -> None:
        self._link.tell_everything(now)


@final
class IgmpLink:
    """One interface's part in IGMP."""

    def __init__(self, igmp: "Igmp", interface: Interface) -> None:
        self.interface: Interface = interface
        self._igmp: Igmp = igmp
        self._states: dict[bytes, _GroupState] = {}
        self._changes: _Changes = _Changes(self)
        self._everything: _Everything = _Everything(self)
        self._v1_until: Instant = 0
        self._v2_until: Instant = 0

    def version(self, now: Instant) -> int:
        """The version to speak: an older one while a router that has it is heard (RFC 3376 section 7.2.1)."""
        heard = 1 if now < self._v1_until else 2 if now < self._v2_until else 3
        return min(heard, self._igmp.settings.version)

    def close(self) -> None:
        """The interface goes away."""
        self._stop()

    # Changes ---------------------------------------------------------------------------------------------

    def changed(self, group: bytes, before: SourceFilter, after: SourceFilter, now: Instant) -> None:
        """The interface wants something else of a group: say so now, and again."""
        state = self._states.get(group)
        if state is None:
            state = self._states[group] = _GroupState(self, group)
        settings = self._igmp.settings
        if self.version(now) < 3:
            self._changed_as_of_old(state, before, after, now)
            return
        if before.exclude != after.exclude or before.is_nothing() != after.is_nothing():
            state.mode_left = settings.robustness
            state.sources_left.clear()
        else:
            for source in before.sources ^ after.sources:
                state.sources_left[source] = settings.robustness
        self.tell_changes(now)

    def _changed_as_of_old(self, state: _GroupState, before: SourceFilter, after: SourceFilter, now: Instant) -> None:
        if before.is_nothing():
            state.reports_left = self._igmp.settings.robustness
            self.answer_about(state, now)
        elif after.is_nothing():
            self._forget(state)
            if self.version(now) == 2:
                self._igmp.counters.leaves_out += 1
                self._send(IgmpMessage(wire.LEAVE_V2, state.group), ALL_ROUTERS, now)

    def tell_changes(self, now: Instant) -> None:
        """Send what has changed, and set the timer if it is to be sent again."""
        records: list[GroupRecord] = []
        for state in list(self._states.values()):
            if state.pending():
                records += self._change_records(state)
                if not state.pending() and self._wanted(state.group).is_nothing():
                    self._forget(state)
        self._report(records, now)
        again = any(state.pending() for state in self._states.values())
        interval = self._igmp.settings.unsolicited_milliseconds * MILLISECOND
        self._igmp.timers.set(self._changes, now + max(1, self._igmp.some(interval)) if again else FOREVER)

    def _change_records(self, state: _GroupState) -> list[GroupRecord]:
        wanted = self._wanted(state.group)
        if state.mode_left > 0:
            state.mode_left -= 1
            kind = wire.CHANGE_TO_EXCLUDE if wanted.exclude else wire.CHANGE_TO_INCLUDE
            return [GroupRecord(kind, state.group, tuple(sorted(wanted.sources)))]
        records = []
        allowed = tuple(sorted([source for source in state.sources_left if wanted.allows(source)]))
        blocked = tuple(sorted([source for source in state.sources_left if not wanted.allows(source)]))
        for kind, sources in ((wire.ALLOW_NEW_SOURCES, allowed), (wire.BLOCK_OLD_SOURCES, blocked)):
            if sources:
                records.append(GroupRecord(kind, state.group, sources))
        state.sources_left = {source: left - 1 for source, left in state.sources_left.items() if left > 1}
        return records

    # Queries ---------------------------------------------------------------------------------------------

    def query(self, message: IgmpMessage, now: Instant) -> None:
        """A router asks."""
        if message.version < 3:
            until = now + self._igmp.settings.robustness * QUERY_INTERVAL + RESPONSE_INTERVAL
            before = self.version(now)
            if message.version == 1:
                self._v1_until = until
            else:
                self._v2_until = until
            if self.version(now) != before:
                self._stop()
        if self.version(now) < 3:
            self._query_as_of_old(message, now)
            return
        due = now + self._igmp.some(message.response_time() * _TENTH)
        if self._everything.deadline <= due:
            return
        if not any(message.group):
            self._igmp.timers.set(self._everything, due)
        elif not self._wanted(message.group).is_nothing():
            self._query_about(message, due)

    def _query_about(self, message: IgmpMessage, due: Instant) -> None:
        """About one group, or some of its sources (RFC 3376 section 5.2, rules 3 to 5)."""
        state = self._states.get(message.group)
        if state is None:
            state = self._states[message.group] = _GroupState(self, message.group)
        if state.deadline == FOREVER:
            state.asked = set(message.sources)
        elif not message.sources or not state.asked:
            state.asked.clear()
        else:
            state.asked.update(message.sources)
        if len(state.asked) > self._igmp.groups.settings.max_sources:
            state.asked.clear()  # the answer is about all of them then, which says no less
        self._igmp.timers.set(state, min(due, state.deadline))

    def _query_as_of_old(self, message: IgmpMessage, now: Instant) -> None:
        """Each group has a timer of its own, which a report of another host stops (RFC 2236 section 3)."""
        groups = (
            [message.group]
            if any(message.group)
            else list(self._igmp.groups.by_interface.get(self.interface.index, ()))
        )
        for group in groups:
            if group == ALL_HOSTS or self._wanted(group).is_nothing():
                continue
            state = self._states.get(group)
            if state is None:
                state = self._states[group] = _GroupState(self, group)
            due = now + self._igmp.some(message.response_time() * _TENTH)
            if state.deadline > now + message.response_time() * _TENTH:
                self._igmp.timers.set(state, due)

    def heard(self, group: bytes, now: Instant) -> None:
        """Another host has reported a group to a router of version 1 or 2: we need not."""
        state = self._states.get(group)
        if state is not None and self.version(now) < 3:
            state.reports_left = 0
            self._igmp.timers.set(state, FOREVER)

    def answer_about(self, state: _GroupState, now: Instant) -> None:
        """A group's timer has run out."""
        wanted = self._wanted(state.group)
        version = self.version(now)
        if version < 3:
            if wanted.is_nothing():
                self._forget(state)
                return
            kind = wire.REPORT_V1 if version == 1 else wire.REPORT_V2
            self._igmp.counters.reports_out += 1
            self._send(IgmpMessage(kind, state.group), state.group, now)
            state.reports_left = max(0, state.reports_left - 1)
            if state.reports_left:
                self._igmp.timers.set(state, now + max(1, self._igmp.some(UNSOLICITED_V2)))
            return
        asked = state.asked
        state.asked = set()
        if not asked:
            self._report([_current(state.group, wanted)], now)
            return
        answer = tuple(sorted([source for source in asked if wanted.allows(source)]))
        if answer:
            self._report([GroupRecord(wire.MODE_IS_INCLUDE, state.group, answer)], now)

    def tell_everything(self, now: Instant) -> None:
        """The answer to a general query."""
        groups = self._igmp.groups.by_interface.get(self.interface.index, {})
        self._report([_current(group, wanted) for group, wanted in groups.items() if group != ALL_HOSTS], now)

    # Inside ----------------------------------------------------------------------------------------------

    def _wanted(self, group: bytes) -> SourceFilter:
        return self._igmp.groups.by_interface.get(self.interface.index, {}).get(group, NOTHING)

    def _forget(self, state: _GroupState) -> None:
        self._igmp.timers.set(state, FOREVER)
        self._states.pop(state.group, None)

    def _stop(self) -> None:
        """Forget what is still to be told and answered (RFC 3376 section 7.2.1)."""
        for state in list(self._states.values()):
            self._forget(state)
        self._igmp.timers.set(self._changes, FOREVER)
        self._igmp.timers.set(self._everything, FOREVER)

    def _report(self, records: list[GroupRecord], now: Instant) -> None:
        """Send records, in as many reports as the MTU makes necessary; the sources of one that is too long are spread over
        several, but for those that an interface excludes, of which one record tells as many as fit (section 4.2.16)."""
        room = self.interface.mtu - HEADER_SIZE - len(wire.ROUTER_ALERT) - wire.SHORT_SIZE
        most = (room - wire.RECORD_SIZE) // 4
        batch: list[GroupRecord] = []
        used = 0
        for record in [piece for whole in records for piece in _pieces(whole, most)]:
            size = wire.RECORD_SIZE + 4 * len(record.sources)
            if batch and used + size > room:
                self._send_report(batch, now)
                batch, used = [], 0
            batch.append(record)
            used += size
        if batch:
            self._send_report(batch, now)

    def _send_report(self, records: list[GroupRecord], now: Instant) -> None:
        message = IgmpMessage(wire.REPORT_V3)
        message.records = tuple(records)
        self._igmp.counters.reports_out += 1
        self._send(message, REPORTS_V3, now)

    def _send(self, message: IgmpMessage, destination: bytes, now: Instant) -> None:
        interface = self.interface
        if not interface.up:
            return
        payload = message.emit()
        source = interface.addresses[0].address if interface.addresses else bytes(4)
        header = emit_ipv4_header(
            source, destination, PROTOCOL_IGMP, len(payload), 0, 0x4000, 1, _INTERNETWORK_CONTROL, wire.ROUTER_ALERT
        )
        interface.output(Frame(header + payload), destination, now)


@final
class Igmp(Transport):
    """One kernel's IGMP."""

    def __init__(self, hyper: Hypercalls, timers: TimerQueue, network: Network, groups: Groups) -> None:
        self.settings: IgmpSettings = groups.igmp_settings
        self.counters: IgmpCounters = groups.igmp_counters
        self.groups: Groups = groups
        self.timers: TimerQueue = timers
        self.links: dict[int, IgmpLink] = {}
        """By the interface's index."""
        self._hyper: Hypercalls = hyper
        self._network: Network = network
        groups.listener = _Listener(self)
        network.register(PROTOCOL_IGMP, self)

    def changed(self, interface: Interface, group: bytes, before: SourceFilter, after: SourceFilter) -> None:
        """As `GroupListener.changed`."""
        if not interface.loopback:
            self.link(interface).changed(group, before, after, self._hyper.now)

    def input(self, frame: Frame, network: int, transport: int, end: int, now: Instant) -> None:
        counters = self.counters
        counters.messages_in += 1
        data = frame.linear()
        message = parse_igmp(data[transport:end])
        interface = self._network.incoming
        if message is None or not isinstance(interface, Interface) or data[network + 8] != 1:
            counters.bad_in += 1  # whoever is on this link sends with a TTL of 1
            return
        if message.kind == wire.QUERY:
            counters.queries_in += 1
            self.link(interface).query(message, now)
        elif message.kind in (wire.REPORT_V1, wire.REPORT_V2):
            counters.reports_in += 1
            self.link(interface).heard(message.group, now)
        else:
            counters.reports_in += 1

    def forget(self, interface: Interface) -> None:
        """An interface goes away."""
        link = self.links.pop(interface.index, None)
        if link is not None:
            link.close()

    def some(self, limit: Duration) -> Duration:
        """A random time up to `limit`."""
        return int.from_bytes(self._hyper.random(4), "big") * limit >> 32

    def link(self, interface: Interface) -> IgmpLink:
        """An interface's part in it."""
        link = self.links.get(interface.index)
        if link is None:
            link = self.links[interface.index] = IgmpLink(self, interface)
        return link


@final
class _Listener(GroupListener):
    def __init__(self, igmp: Igmp) -> None:
        self._igmp: Igmp = igmp

    def changed(self, interface: Interface, group: bytes, before: SourceFilter, after: SourceFilter) -> None:
        self._igmp.changed(interface, group, before, after)

    def forget(self, interface: Interface) -> None:
        self._igmp.forget(interface)


def _current(group: bytes, wanted: SourceFilter) -> GroupRecord:
    kind = wire.MODE_IS_EXCLUDE if wanted.exclude else wire.MODE_IS_INCLUDE
    return GroupRecord(kind, group, tuple(sorted(wanted.sources)))


def _pieces(record: GroupRecord, most: int) -> list[GroupRecord]:
    """The record in parts of at most so many sources; of one that excludes, the first part only."""
    if len(record.sources) <= most:
        return [record]
    if record.kind in (wire.MODE_IS_EXCLUDE, wire.CHANGE_TO_EXCLUDE):
        return [GroupRecord(record.kind, record.group, record.sources[:most])]
    return [
        GroupRecord(record.kind, record.group, record.sources[at : at + most])
        for at in range(0, len(record.sources), most)
    ]
