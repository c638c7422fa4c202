"""Connections in TIME-WAIT that no socket holds: a small record each, as there may be very many.

Between `layer`, whose table of connections they have left, and the wire.  All wait equally long, so they stand in one queue
under one timer.  What is answered, and when a SYN may take the place of a record, is what `arrival` does for a whole
connection in that state (RFC 9293 section 3.10.7.4, RFC 1337, RFC 6191).
"""

from collections import deque
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from ....hyper.time import FOREVER, MILLISECOND, Instant
from ....kern.timer import Timer, TimerQueue
from ...wire.segment import ACK, FIN, RST, SYN, Segment
from ...wire.sequence import SEQ_MASK, seq_lt
from ..ports import PortAllocator, PortBinding
from .block import ControlBlock, Environment, timestamp_clock

REUSE_AGE: Final = 1000 * MILLISECOND
"""How old the last timestamp of a connection in TIME-WAIT must be for connect() to reuse its port."""
_MAX_GONE: Final = 64
"""Records that are gone may stand in the queue, as long as they are few or less than half of it."""
ISN_GAP: Final = 65537
"""A reopened connection's ISN lies so far behind the last number of the old one."""


@final
@mypyc_attr(acyclic=True)
class TimeWait:
    """What is left of a connection.  `key` is addresses and ports as the headers of what arrives have them."""

    __slots__ = (
        "ack_room",
        "answered_at",
        "binding",
        "key",
        "prolonged",
        "rcv_nxt",
        "room",
        "snd_nxt",
        "timestamps",
        "ts_offset",
        "ts_recent",
        "ts_recent_at",
        "until",
        "window",
    )

    def __init__(self, key: bytes, block: ControlBlock, binding: PortBinding | None) -> None:
        self.key: bytes = key
        self.binding: PortBinding | None = binding
        """The hold on the local port."""
        self.until: Instant = block.linger_at
        self.prolonged: bool = False
        """`until` has moved since the record came into the queue."""
        self.rcv_nxt: i64 = block.rcv_nxt & SEQ_MASK
        self.snd_nxt: i64 = block.snd_max & SEQ_MASK
        self.room: i64 = block.rcv_edge - block.rcv_nxt
        self.window: i64 = (self.room + (1 << block.rcv_scale) - 1) >> block.rcv_scale
        """`room` as the header has it."""
        self.ack_room: i64 = block.snd_max - block.snd_una + max(block.snd_max_wnd, 1)
        """How far behind `snd_nxt` an acknowledgement may be to be believed (RFC 5961 section 5)."""
        self.timestamps: bool = block.timestamps
        self.ts_offset: i64 = block.ts_offset
        self.ts_recent: i64 = block.ts_recent
        self.ts_recent_at: Instant = block.ts_recent_at
        self.answered_at: Instant = block.answered_at

    def next_isn(self) -> i64:
        """The ISN of a connection in this one's place (RFC 9293 3.4.1: beyond the old numbers)."""
        return (self.snd_nxt + ISN_GAP) & SEQ_MASK

    def reusable(self, now: Instant) -> bool:
        """Whether connect() may take the place: our timestamps will tell old segments from new (RFC 6191)."""
        return self.timestamps and now - self.ts_recent_at > REUSE_AGE

    def answer(self, now: Instant) -> Segment:
        """An ACK that says where the connection ended."""
        segment = Segment(self.snd_nxt, self.rcv_nxt, ACK, self.window)
        if self.timestamps:
            segment.has_timestamp = True
            segment.ts_value = timestamp_clock(self.ts_offset, now)
            segment.ts_echo = self.ts_recent
        return segment


def _distance(first: i64, second: i64) -> i64:
    """How far `second` lies beyond `first`."""
    return ((second - first + (1 << 31)) & SEQ_MASK) - (1 << 31)


@final
class TimeWaits(Timer):
    """All records of a kernel, by key."""

    def __init__(self, ports: PortAllocator, timers: TimerQueue, environment: Environment) -> None:
        super().__init__()
        self._ports: PortAllocator = ports
        self._timers: TimerQueue = timers
        self._environment: Environment = environment
        self._records: dict[bytes, TimeWait] = {}
        self._queue: deque[TimeWait] = deque()
        """In the order of their ends, but for those that were prolonged."""
        self._gone: int = 0
        """How many of the queue are in the table no more."""

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: TimeWait) -> None:
        """Let a connection wait."""
        self._records[record.key] = record
        self._queue.append(record)
        if self.deadline == FOREVER:
            self._timers.set(self, record.until)

    def get(self, key: bytes) -> TimeWait | None:
        """The record for packets with `key`."""
        return self._records.get(key)

    def remove(self, record: TimeWait) -> None:
        """Forget a record; its place in the queue goes when it comes up."""
        if self._records.get(record.key) is not record:
            return
        del self._records[record.key]
        record.until = -FOREVER
        self._gone += 1
        if self._gone > _MAX_GONE and self._gone * 2 > len(self._queue):
            self._queue = deque([one for one in self._queue if one.until >= 0])
            self._gone = 0
        self._let_go(record)

    def _let_go(self, record: TimeWait) -> None:
        binding = record.binding
        if binding is not None:
            record.binding = None
            self._ports.release(binding)

    def records(self) -> list[TimeWait]:
        """All of them, for listings."""
        return list(self._records.values())

    def receive(self, record: TimeWait, segment: Segment, now: Instant) -> Segment | None:
        """Take a segment that opens nothing new; returns the answer to it, if it gets one."""
        settings = self._environment.settings
        counters = self._environment.counters
        flags = segment.flags
        ahead = _distance(record.rcv_nxt, segment.seq)
        span = segment.span()
        if span == 0:
            acceptable = 0 <= ahead <= record.room
        else:
            acceptable = ahead + span > 0 and (ahead < record.room or ahead == 0)
        if flags & RST:
            if not acceptable:
                return None
            if ahead != 0:
                return self._challenge(record, now)
            counters.resets_received += 1
            if not settings.rfc1337:
                self.remove(record)
            return None
        if record.timestamps and segment.has_timestamp and seq_lt(segment.ts_value, record.ts_recent):
            counters.paws_drops += 1
            return self._answer(record, segment, now)
        if flags & SYN:
            return self._challenge(record, now)
        if not acceptable:
            counters.duplicates += 1
            if flags & FIN and ahead < 0:
                # The peer has not seen our last ACK.
                record.until = now + settings.time_wait * MILLISECOND
                record.prolonged = True
            return self._answer(record, segment, now)
        if not flags & ACK:
            return None
        if record.timestamps and segment.has_timestamp and ahead <= 0:
            record.ts_recent = segment.ts_value
            record.ts_recent_at = now
        if not 0 <= _distance(segment.ack, record.snd_nxt) <= record.ack_room:
            return self._challenge(record, now)
        return None

    def _answer(self, record: TimeWait, segment: Segment, now: Instant) -> Segment | None:
        """Answer what can't be accepted; what has no text not too often."""
        if segment.size == 0 and not self._may_answer(record, now):
            return None
        return record.answer(now)

    def _challenge(self, record: TimeWait, now: Instant) -> Segment | None:
        environment = self._environment
        if not self._may_answer(record, now):
            return None
        if not environment.challenges.allow(environment.settings.challenge_acks, now):
            return None
        environment.counters.challenge_acks += 1
        return record.answer(now)

    def _may_answer(self, record: TimeWait, now: Instant) -> bool:
        if now - record.answered_at < self._environment.settings.answer_interval * MILLISECOND:
            return False
        record.answered_at = now
        return True

    def expire(self, now: Instant) -> None:
        queue = self._queue
        while queue:
            record = queue[0]
            if record.until > now and not record.prolonged:
                break
            queue.popleft()
            if record.until > now:
                # Not in the order of its end any more: it waits for those behind it, at most as long again.
                record.prolonged = False
                queue.append(record)
            elif self._records.get(record.key) is record:
                del self._records[record.key]
                self._let_go(record)
            else:
                self._gone -= 1
        if queue:
            self._timers.set(self, max(queue[0].until, now))
