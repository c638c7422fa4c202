"""Two connections and a bad network between them, in simulated time: loss, duplication, reordering, and users who do as they like."""

from heapq import heappop, heappush
from itertools import pairwise
from random import Random

from rumpkit.hyper.time import FOREVER, MILLISECOND, SECOND
from rumpkit.net.transport.tcp.block import Environment
from rumpkit.net.transport.tcp.connection import TcpConnection
from rumpkit.net.transport.tcp.options import TcpOptions
from rumpkit.net.transport.tcp.scoreboard import LOST, SACKED
from rumpkit.net.transport.tcp.send import reset_for
from rumpkit.net.transport.tcp.states import CLOSED, STATE_NAMES, SYN_SENT, TIME_WAIT
from rumpkit.net.wire.segment import CE, CWR, FIN, PSH, SYN, Segment
from rumpkit.net.wire.sequence import SEQ_MASK


class End:
    """One side: a connection, what its user wants to send, and what it has read."""

    def __init__(self, name, iss, mss, data, settings):
        settings = dict(settings)
        pacing = settings.pop("max_pacing_rate", 0)
        self.name = name
        self.environment = Environment()
        for key, value in settings.items():
            assert hasattr(self.environment.settings, key), key
            setattr(self.environment.settings, key, value)
        self.options = TcpOptions()
        self.options.max_pacing_rate = pacing
        self.connection = TcpConnection(self.environment, self.options, iss, mss, iss)
        self.data = data
        self.written = 0
        self.got = bytearray()
        self.closes = True
        self.closed = False
        self.reads = True
        self.edge = None
        self.sent = 0
        self.received = 0
        self.deadlines = 0

    @property
    def block(self):
        return self.connection.block

    def check(self):
        """What must always hold."""
        block = self.block
        assert block.snd_una <= block.snd_nxt <= block.snd_max, self
        assert block.snd_max <= block.send_queue.end + 1 or block.state == CLOSED
        assert block.congestion.window >= 1
        self.check_scoreboard()
        assert block.reassembly.count() <= block.settings.max_reassembly
        assert block.receive_queue.size() <= block.receive_buffer + block.rcv_mss + (1 << block.rcv_scale)
        if block.irs and block.state != CLOSED:
            edge = block.rcv_edge
            assert self.edge is None or edge >= self.edge, "the window was taken back"
            self.edge = edge
        ranges = block.reassembly.ranges()
        assert all(first < end for first, end in ranges)
        assert all(ranges[i][1] < ranges[i + 1][0] for i in range(len(ranges) - 1))
        if block.state not in (CLOSED, TIME_WAIT) and block.snd_max > block.snd_una:
            assert block.retransmit_at < FOREVER or block.resend, f"{self.name}: data in flight and no timer"

    def check_scoreboard(self):
        """The records lie side by side from the first unacknowledged byte to the last sent, and the sums are right."""
        block = self.block
        board = block.scoreboard
        if board is None or block.state == CLOSED:
            return
        records = board.records[board.first :]
        assert all(record.start < record.end for record in records), records
        assert all(a.end == b.start for a, b in pairwise(records)), records
        if records:
            assert records[0].start == max(block.snd_una, block.iss + 1), self
            assert records[-1].end == block.snd_max, self
        for flag, total in ((SACKED, board.sacked), (LOST, board.lost)):
            assert total == sum(record.end - record.start for record in records if record.flags & flag), (flag, records)
        assert not any(record.flags & (SACKED | LOST) == SACKED | LOST for record in records)
        assert len(records) <= block.flight() + 1
        assert block.flight() >= board.missing()
        if not block.disorder:
            assert all(record.flags & (SACKED | LOST) == 0 for record in records), (self, records)

    def __repr__(self):
        block = self.block
        return (
            f"{self.name} {STATE_NAMES[block.state]} una={block.snd_una - block.iss} nxt={block.snd_nxt - block.iss} "
            f"max={block.snd_max - block.iss} wnd={block.snd_wnd} cwnd={block.congestion.window} "
            f"rcv={block.rcv_nxt - block.irs} written={self.written} got={len(self.got)} error={block.error}"
        )


class Network:
    """The world: ends `a` and `b`, and the segments under way."""

    def __init__(self, seed, *, size_a=0, size_b=0, mss=1000, loss=0.0, duplicate=0.0, jitter=0, delay=10 * MILLISECOND,
                 both_open=False, whole=0.0, mark=0.0, **settings):  # fmt: skip
        self.random = Random(seed)
        self.loss = loss
        self.duplicate = duplicate
        self.jitter = jitter
        self.delay = delay
        self.whole = whole
        self.mark = mark
        self.now = 1000 * SECOND
        self.queue = []
        self.count = 0
        self.a = End("a", self.random.getrandbits(32), mss, self.random.randbytes(size_a), settings)
        self.b = End("b", self.random.getrandbits(32), mss, self.random.randbytes(size_b), settings)
        self.a.connection.open()
        self.listening = not both_open
        if both_open:
            self.b.connection.open()
            self.transmit(self.b)
        self.transmit(self.a)

    def peer(self, end):
        return self.b if end is self.a else self.a

    def transmit(self, end):
        out: list[Segment] = []
        end.connection.transmit(out, self.now)
        for segment in out:
            for part in self.split(segment):
                end.sent += 1
                self.carry(end, part)
        end.check()

    def split(self, segment):
        """What an egress without segmentation offload sends."""
        unit = segment.gso_size
        if not unit or segment.size <= unit:
            return [segment]
        if self.random.random() < self.whole:
            segment.segments = (segment.size + unit - 1) // unit
            return [segment]
        parts = []
        for offset in range(0, segment.size, unit):
            size = min(unit, segment.size - offset)
            last = offset + size == segment.size
            flags = segment.flags if last else segment.flags & ~(PSH | FIN)
            if offset:
                flags &= ~CWR
            part = Segment(
                (segment.seq + offset) & SEQ_MASK, segment.ack, flags, segment.window,
                segment.body, segment.start + offset, size,
            )  # fmt: skip
            part.has_timestamp = segment.has_timestamp
            part.ts_value = segment.ts_value
            part.ts_echo = segment.ts_echo
            part.ecn = segment.ecn
            parts.append(part)
        return parts

    def carry(self, end, segment):
        copies = 2 if self.random.random() < self.duplicate else 1
        for _ in range(copies):
            if self.random.random() < self.loss:
                continue
            self.count += 1
            if segment.ecn and self.random.random() < self.mark:
                segment.flags |= CE
            when = self.now + self.delay + (self.random.randrange(self.jitter) if self.jitter else 0)
            heappush(self.queue, (when, self.count, self.peer(end), segment))

    def users(self):
        """Each side's user reads and writes what it can, in random pieces."""
        for end in (self.a, self.b):
            connection = end.connection
            if end is self.b and self.listening:
                continue
            if end.reads and connection.readable():
                part = connection.peek(self.random.choice((1, 100, 5000, 1 << 20)))
                end.got += part
                connection.consume(len(part), self.now)
            if end.written < len(end.data) and connection.space() > 0:
                size = self.random.choice((1, 10, 700, 3000, 20_000, 100_000))
                piece = end.data[end.written : end.written + size]
                end.written += connection.write(piece, 0, self.random.random() < 0.1)
            over = end.written == len(end.data) and end.closes and not end.closed and end.block.state != SYN_SENT
            if over and self.random.random() < 0.5:
                end.closed = True
                connection.finish(self.now)
            self.transmit(end)

    def step(self):
        """Let the next thing happen; False if nothing will."""
        when = self.queue[0][0] if self.queue else FOREVER
        due = min(self.a.connection.next_deadline(), self.b.connection.next_deadline())
        if min(when, due) == FOREVER:
            return False
        self.now = max(self.now, min(when, due))
        if when <= due:
            self.deliver()
        else:
            for end in (self.a, self.b):
                if end.connection.next_deadline() <= self.now:
                    end.deadlines += 1
                    end.connection.on_deadline(self.now)
                    self.transmit(end)
                    assert end.connection.next_deadline() > self.now, f"a deadline that never goes away: {end}"
        return True

    def deliver(self):
        """One batch for one end."""
        _, _, end, segment = heappop(self.queue)
        batch = [segment]
        while self.queue and self.queue[0][0] <= self.now and self.queue[0][2] is end and len(batch) < 16:
            batch.append(heappop(self.queue)[3])
        for one in batch:
            end.received += 1
            self.receive(end, copy(one))
        self.transmit(end)

    def receive(self, end, segment):
        connection = end.connection
        if end is self.b and self.listening:
            if segment.flags & SYN:
                self.listening = False
                connection.answer(segment, self.now)
            return
        if end.block.state == CLOSED:
            # What a kernel does for a connection that is gone.
            reset = reset_for(segment)
            if reset is not None:
                self.carry(end, reset)
            return
        connection.receive(segment, self.now)
        if connection.answer_now():
            self.transmit(end)

    def run(self, limit=48 * 3600 * SECOND):
        """Until nothing is left to happen, or `limit` has passed."""
        end = self.now + limit
        idle = 0
        while self.now < end:
            self.users()
            if not self.step():
                idle += 1
                if idle > 50:
                    return
            else:
                idle = 0
        raise AssertionError(f"still going on: {self.a} {self.b}")


def copy(segment):
    """What the other side parses: an object of its own."""
    other = Segment(segment.seq, segment.ack, segment.flags, segment.window, segment.body, segment.start, segment.size)
    for name in (
        "has_timestamp",
        "ts_value",
        "ts_echo",
        "mss",
        "window_scale",
        "segments",
        "gso_size",
        "sack_permitted",
        "sack_blocks",
    ):
        setattr(other, name, getattr(segment, name))
    if other.segments == 1:
        other.gso_size = 0
    return other
