"""What is in flight: a record of each transmission, and what has become of it (the scoreboard of RFC 6675, the per-segment data of
RFC 8985 section 5.2).

Below `rack` and `recovery`.  The unit is what was sent at once: a super-segment has one record, which is split only where the peer
acknowledges part of it selectively, or part of it is sent again.  As long as nothing is lost a record is appended for each
(super-)segment and dropped from the front, and nothing is searched.
"""

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from ....hyper.time import FOREVER, Instant

SACKED: Final = 1
"""The peer has it, out of order."""
LOST: Final = 2
"""Deemed lost, and not sent again since."""
RESENT: Final = 4
"""Sent more than once: an acknowledgement may be of any of the copies."""
_NOWHERE: Final = 1 << 61
_SPARE: Final = 64
"""Dropped entries that the list may keep in front before it is moved."""


@final
@mypyc_attr(acyclic=True)
class Transmission:
    """Bytes `start` to `end` (exclusive; a FIN counts), last sent at `sent_at` in segments of `unit` bytes."""

    __slots__ = ("end", "flags", "sent_at", "start", "unit")

    def __init__(self, start: i64, end: i64, unit: i64, sent_at: i64, flags: i64) -> None:
        self.start: i64 = start
        self.end: i64 = end
        self.unit: i64 = unit
        self.sent_at: i64 = sent_at
        self.flags: i64 = flags

    def __repr__(self) -> str:
        letters = "".join(letter for bit, letter in ((SACKED, "S"), (LOST, "L"), (RESENT, "R")) if self.flags & bit)
        return f"[{self.start}:{self.end} {letters} @{self.sent_at}]"


@final
@mypyc_attr(acyclic=True)
class Scoreboard:
    """The records between SND.UNA and SND.MAX: in order, without gaps or overlap.

    Selectively acknowledged neighbours are one record, and edges count only where a segment ends, so that there are never more
    records than segments in flight, whatever the peer reports.
    """

    def __init__(self, una: i64) -> None:
        self.records: list[Transmission] = []
        self.first: i64 = 0
        """Records before this one are done with."""
        self.sacked: i64 = 0
        """Bytes that the peer acknowledged selectively."""
        self.lost: i64 = 0
        """Bytes deemed lost and not sent again since."""
        self.departed: i64 = 0
        """Bytes that duplicate acknowledgements say have left the network, without SACK (they don't say which)."""
        self.fack: i64 = una
        """The highest number that is known to have arrived, as of the acknowledgement before (RACK.fack)."""
        self.highest: i64 = una
        """The same, as of now."""
        self.newest_at: i64 = 0
        """When the newest transmission that arrived was sent (RACK.xmit_ts), and where it ended (RACK.end_seq; -1 if none did)."""
        self.newest_end: i64 = -1
        self.rtt: i64 = 0
        """The round trip of that transmission (RACK.rtt)."""
        self.oldest_at: i64 = -1
        """When the oldest of what the last acknowledgement newly covers was sent, of what was sent once; else -1."""
        self.sample: i64 = 0
        """The round trip of the newest of what the last acknowledgement newly covers, of what was sent once; else 0."""
        self.reordered: bool = False
        """Something sent once has arrived after something that was sent later."""
        self._lost_from: i64 = _NOWHERE
        """Nothing before this is lost."""
        self.repaired: i64 = 0
        """Bytes covered by the last acknowledgement that had been sent more than once."""

    # Sending -------------------------------------------------------------------------------------------------------------

    def sent(self, start: i64, end: i64, unit: i64, now: i64) -> None:
        """New data went out."""
        self.records.append(Transmission(start, end, unit, now, 0))

    def missing(self) -> i64:
        """What was sent and isn't in the network any more, as far as one knows: FlightSize less this is the pipe of RFC 6675."""
        return self.sacked + self.lost + self.departed

    def resend(self, limit: i64, edge: i64, unit: i64, now: i64) -> Transmission | None:
        """The first lost run, `limit` bytes at most and none beyond `edge`, which goes out again now in segments of `unit`; None if
        there is none."""
        records = self.records
        at = self._find(self._lost_from)
        count: i64 = len(records)
        while at < count and not records[at].flags & LOST:
            at += 1
        if at == count:
            return None
        record = records[at]
        if limit > edge - record.start:
            limit = edge - record.start
            if limit <= 0:
                return None
        while record.end - record.start < limit and at + 1 < count and records[at + 1].flags & LOST:
            following = records[at + 1]
            end = record.start + limit
            if following.end > end:
                record.end = following.start = end
                break
            record.end = following.end
            del records[at + 1]
            count -= 1
        if record.end - record.start > limit:
            self._split(at, record.start + limit)
        self.lost -= record.end - record.start
        self._lost_from = record.end if self.lost else _NOWHERE
        record.flags = RESENT
        record.unit = unit
        record.sent_at = now
        return record

    def resend_last(self, size: i64, now: i64) -> Transmission | None:
        """The last `size` bytes of what was sent, which go out again as a probe; None if they have arrived."""
        records = self.records
        at: i64 = len(records) - 1
        if at < self.first or records[at].flags & SACKED:
            return None
        record = records[at]
        if record.end - record.start > size:
            self._split(at, record.end - size)
            record = records[at + 1]
        if record.flags & LOST:
            self.lost -= record.end - record.start
        record.flags = RESENT
        record.sent_at = now
        return record

    # Acknowledgements ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The next acknowledgement is about to be noted, with `acknowledge` and `sack`."""
        self.fack = self.highest
        self.oldest_at = -1
        self.sample = 0
        self.repaired = 0

    def acknowledge(self, ack: i64, now: i64, horizon: i64) -> None:
        """All before `ack` has arrived: forget it.  A retransmission made after `horizon` is not what this
        acknowledgement is of."""
        self.oldest_at = -1
        self.sample = 0
        records = self.records
        at = self.first
        count: i64 = len(records)
        while at < count:
            record = records[at]
            if record.start >= ack:
                break
            end = record.end
            if end > ack:
                end = ack
            if record.flags == 0 and record.end > self.fack:
                if self.oldest_at < 0:
                    self.oldest_at = record.sent_at
                self.sample = now - record.sent_at
                if record.sent_at >= self.newest_at:
                    self.newest_at = record.sent_at
                    self.newest_end = end
                    self.rtt = self.sample
            elif record.flags & SACKED:
                self.sacked -= end - record.start
            else:
                if record.flags & LOST:
                    self.lost -= end - record.start
                self._arrived(record, end, now, horizon)
            if end < record.end:
                record.start = ack
                break
            at += 1
        if at == count:
            if at:
                records.clear()
                at = 0
        elif at > _SPARE and at * 2 > count:
            del records[:at]
            at = 0
        self.first = at
        if ack > self.highest:
            self.highest = ack

    def sack(self, left: i64, right: i64, now: i64, horizon: i64) -> i64:
        """Bytes `left` to `right` have arrived; returns how many of them are news.  Parts of segments don't count."""
        records = self.records
        at = self._find(left)
        news: i64 = 0
        while at < len(records):
            record = records[at]
            if record.start >= right:
                break
            if record.flags & SACKED:
                at += 1
                continue
            begin = record.start
            unit = record.unit
            if left > begin:
                begin += (left - begin + unit - 1) // unit * unit
            end = record.end
            if right < end:
                end = record.start + (right - record.start) // unit * unit
            if begin >= end:
                at += 1
                continue
            if begin > record.start:
                self._split(at, begin)
                at += 1
                record = records[at]
            if end < record.end:
                self._split(at, end)
            news += end - begin
            self._arrived(record, end, now, horizon)
            self.sacked += end - begin
            if record.flags & LOST:
                self.lost -= end - begin
            record.flags = SACKED
            at = self._join(at) + 1
            if end > self.highest:
                self.highest = end
        return news

    def _arrived(self, record: Transmission, end: i64, now: i64, horizon: i64) -> None:
        """What a record (or its part before `end`) says by having arrived, where it isn't just the next one."""
        if record.flags & RESENT:
            self.repaired += end - record.start
            if record.sent_at > horizon:
                return  # it can't have got there and back: an earlier copy is meant (RFC 8985 section 6.2 step 2)
        else:
            if end <= self.fack:
                self.reordered = True
            if self.oldest_at < 0 or record.sent_at < self.oldest_at:
                self.oldest_at = record.sent_at
            age = now - record.sent_at
            if self.sample == 0 or age < self.sample:
                self.sample = age
        if record.sent_at > self.newest_at or (record.sent_at == self.newest_at and end > self.newest_end):
            self.newest_at = record.sent_at
            self.newest_end = end
            self.rtt = now - record.sent_at

    # Losses ---------------------------------------------------------------------------------------------------------------

    def detect(self, now: i64, window: i64) -> Instant:
        """RACK_detect_loss (RFC 8985 section 6.2 step 5): what was sent before something that has arrived, and has had time enough
        and `window`, is lost.  Returns when the rest of it will be, or FOREVER."""
        latest: i64 = 0
        newest = self.newest_at
        patience = self.rtt + window
        records = self.records
        at = self.first
        count: i64 = len(records)
        while at < count:
            record = records[at]
            at += 1
            if record.flags & (SACKED | LOST):
                continue
            if record.sent_at > newest or (record.sent_at == newest and record.end > self.newest_end):
                if not record.flags & RESENT:
                    break  # what lies beyond and was sent once was sent later still; what was sent twice, after that
                continue
            due = record.sent_at + patience
            if due <= now:
                self._lose(record)
            elif due > latest:
                latest = due
        return latest if latest else FOREVER

    def lose_front(self, size: i64) -> bool:
        """The first `size` bytes are lost.  False if they are known to be, or were sent again and may yet arrive."""
        if self.first >= len(self.records):
            return False
        record = self.records[self.first]
        if record.flags:
            return False
        if record.end - record.start > size:
            self._split(self.first, record.start + size)
        self._lose(record)
        return True

    def lose_all(self, sent_before: i64) -> None:
        """All that is in flight and was sent before `sent_before` is lost, and the first of it whenever that was."""
        records = self.records
        at = self.first
        count: i64 = len(records)
        front = True
        while at < count:
            record = records[at]
            at += 1
            if record.flags & SACKED:
                continue
            if not record.flags & LOST and (front or record.sent_at <= sent_before):
                self._lose(record)
            front = False

    def resent(self) -> bool:
        """Whether something that was sent again has not arrived yet."""
        at = self.first
        while at < len(self.records):
            if self.records[at].flags & (RESENT | SACKED) == RESENT:
                return True
            at += 1
        return False

    def lost_only(self, start: i64, end: i64) -> bool:
        """Whether what was sent as `start` to `end`, and nothing else, is lost."""
        if self.lost != end - start:
            return False
        for record in self.records[self.first :]:
            if record.flags & LOST:
                return record.start == start and record.end == end
        return False

    def first_size(self) -> i64:
        """The payload of the first segment that is not acknowledged; 0 if there is none."""
        if self.first >= len(self.records):
            return 0
        record = self.records[self.first]
        return min(record.end - record.start, record.unit)

    def reneged(self, una: i64) -> bool:
        """Whether the peer has dropped what it acknowledged selectively: it has the next byte, and doesn't acknowledge it."""
        return self.first < len(self.records) and self.records[self.first].flags & SACKED != 0

    def forget_sacks(self) -> None:
        """What the peer said it has may be gone (RFC 2018 section 8)."""
        for record in self.records:
            record.flags &= ~SACKED
        self.sacked = 0
        self.departed = 0

    def find_all(self) -> None:
        """Nothing was lost: what was deemed so is in flight after all."""
        for record in self.records:
            record.flags &= ~LOST
        self.lost = 0

    # Inside ---------------------------------------------------------------------------------------------------------------

    def _find(self, position: i64) -> i64:
        """The index of the first record that ends behind `position`."""
        records = self.records
        low = self.first
        high: i64 = len(records)
        while low < high:
            middle = (low + high) >> 1
            if records[middle].end <= position:
                low = middle + 1
            else:
                high = middle
        return low

    def _lose(self, record: Transmission) -> None:
        record.flags |= LOST
        self.lost += record.end - record.start
        if record.start < self._lost_from:
            self._lost_from = record.start

    def _split(self, at: i64, position: i64) -> None:
        record = self.records[at]
        self.records.insert(at + 1, Transmission(position, record.end, record.unit, record.sent_at, record.flags))
        record.end = position

    def _join(self, at: i64) -> i64:
        """Make one of a selectively acknowledged record and such neighbours; returns where it is now."""
        records = self.records
        record = records[at]
        if at + 1 < len(records) and records[at + 1].flags & SACKED:
            record.end = records[at + 1].end
            del records[at + 1]
        if at > self.first and records[at - 1].flags & SACKED:
            records[at - 1].end = record.end
            del records[at]
            at -= 1
        return at
