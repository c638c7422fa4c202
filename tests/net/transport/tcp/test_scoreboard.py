"""The scoreboard against a plain picture of it: what has become of each segment."""

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hyper.time import FOREVER
from rumpkit.net.transport.tcp.scoreboard import LOST, RESENT, SACKED, Scoreboard

UNIT = 100
FIRST = 1000

step = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 12), st.just(0)),
    st.tuples(st.just("sack"), st.integers(0, 30), st.integers(1, 6)),
    st.tuples(st.just("sack"), st.integers(0, 10), st.integers(1, 3)),
    st.tuples(st.just("ragged"), st.integers(0, 3000), st.integers(1, 900)),
    st.tuples(st.just("ack"), st.integers(0, 6), st.just(0)),
    st.tuples(st.just("resend"), st.integers(1, 6), st.integers(0, 60)),
    st.tuples(st.just("resend"), st.integers(1, 2), st.just(60)),
    st.tuples(st.just("detect"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("tail"), st.just(0), st.just(0)),
    st.tuples(st.just("front"), st.just(0), st.just(0)),
    st.tuples(st.just("all"), st.just(0), st.just(0)),
    st.tuples(st.just("detect"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("undo"), st.just(0), st.just(0)),
)


class Picture:
    """One entry a segment: its flags, and when it was sent."""

    def __init__(self):
        self.board = Scoreboard(FIRST)
        self.segments: list[list[int]] = []
        self.una = FIRST
        self.now = 1
        self.newest = (0, -1)
        self.rtt = 0

    @property
    def end(self):
        return self.una + UNIT * len(self.segments)

    def arrived(self, index, horizon):
        flags, sent = self.segments[index]
        if flags & RESENT and sent > horizon:
            return
        end = self.una + UNIT * (index + 1)
        if (sent, end) > self.newest:
            self.newest = (sent, end)
            self.rtt = self.now - sent

    def send(self, count, _):
        start = self.end
        self.board.sent(start, start + count * UNIT, UNIT, self.now)
        self.segments += [[0, self.now] for _ in range(count)]

    def sack(self, first, count):
        self.ragged(first * UNIT, count * UNIT)

    def ragged(self, offset, size):
        left, right = self.una + offset, min(self.una + offset + size, self.end)
        if left >= right:
            return
        self.board.begin()
        news = self.board.sack(left, right, self.now, self.now)
        expected = 0
        for index, entry in enumerate(self.segments):
            start = self.una + index * UNIT
            if left <= start and start + UNIT <= right and not entry[0] & SACKED:
                self.arrived(index, self.now)
                entry[0] = SACKED
                expected += UNIT
        assert news == expected

    def ack(self, count, _):
        count = min(count, len(self.segments))
        if not count:
            return
        self.board.begin()
        for index in range(count):
            if not self.segments[index][0] & SACKED:
                self.arrived(index, self.now)
        self.una += count * UNIT
        del self.segments[:count]
        self.board.acknowledge(self.una, self.now, self.now)

    def resend(self, count, window):
        edge = self.una + window * UNIT
        record = self.board.resend(count * UNIT, edge, UNIT, self.now)
        lost = [index for index, entry in enumerate(self.segments) if entry[0] & LOST]
        if not lost or self.una + lost[0] * UNIT >= edge:
            assert record is None
            return
        assert record.start == self.una + lost[0] * UNIT  # type: ignore[union-attr]
        assert record.end <= min(record.start + count * UNIT, edge)  # type: ignore[union-attr]
        for index in range(lost[0], (record.end - self.una) // UNIT):  # type: ignore[union-attr]
            assert self.segments[index][0] & LOST
            self.segments[index] = [RESENT, self.now]

    def tail(self, *_):
        record = self.board.resend_last(UNIT, self.now)
        if not self.segments or self.segments[-1][0] & SACKED:
            assert record is None
        else:
            assert (record.start, record.end) == (self.end - UNIT, self.end)  # type: ignore[union-attr]
            self.segments[-1] = [RESENT, self.now]

    def front(self, *_):
        found = self.board.lose_front(UNIT)
        assert found == bool(self.segments and self.segments[0][0] == 0)
        if found:
            self.segments[0][0] = LOST

    def all(self, *_):
        self.board.lose_all(FOREVER)
        for entry in self.segments:
            if not entry[0] & SACKED:
                entry[0] |= LOST

    def detect(self, window, _):
        due = self.board.detect(self.now, window)
        expected = 0
        for index, entry in enumerate(self.segments):
            end = self.una + UNIT * (index + 1)
            if entry[0] & (SACKED | LOST) or (entry[1], end) > self.newest:
                continue
            if entry[1] + self.rtt + window <= self.now:
                entry[0] |= LOST
            else:
                expected = max(expected, entry[1] + self.rtt + window)
        assert due == (expected or FOREVER)

    def undo(self, *_):
        self.board.find_all()
        for entry in self.segments:
            entry[0] &= ~LOST

    def check(self):
        board = self.board
        records = board.records[board.first :]
        position = self.una
        for record in records:
            assert record.start == position
            position = record.end
            for index in range((record.start - self.una) // UNIT, (record.end - self.una) // UNIT):
                flags, sent = self.segments[index]
                assert flags & (SACKED | LOST) == record.flags & (SACKED | LOST)
                if not flags & SACKED:
                    assert (flags & RESENT, sent) == (record.flags & RESENT, record.sent_at)
        assert position == self.end
        assert board.sacked == sum(UNIT for entry in self.segments if entry[0] & SACKED)
        assert board.lost == sum(UNIT for entry in self.segments if entry[0] & LOST)
        assert len(records) <= len(self.segments)
        for before, after in zip(records, records[1:]):  # noqa: B905, RUF007
            assert not before.flags & after.flags & SACKED, "selectively acknowledged neighbours are one record"


@given(st.integers(1, 40), st.lists(st.tuples(step, st.integers(0, 3)), min_size=10, max_size=60))
def test_every_segment_is_what_it_should_be(count, steps):
    picture = Picture()
    picture.send(count, 0)
    for (name, first, second), passed in steps:
        picture.now += passed
        getattr(picture, name)(first, second)
        picture.check()


def test_nothing_is_searched_while_nothing_is_lost():
    """A thousand super-segments, each acknowledged in two parts: the list stays short."""
    board = Scoreboard(FIRST)
    una = nxt = FIRST
    for now in range(1, 1001):
        board.sent(nxt, nxt + 40 * UNIT, UNIT, now)
        nxt += 40 * UNIT
        for part in (10, 30):
            una += part * UNIT
            board.acknowledge(una, now + 5, now + 5)
            assert board.sample == 5
            assert board.oldest_at == now
    assert len(board.records) <= 1
    assert board.missing() == 0


def test_what_the_peer_reneges_on_is_lost():
    board = Scoreboard(FIRST)
    board.sent(FIRST, FIRST + 5 * UNIT, UNIT, 1)
    board.sack(FIRST + UNIT, FIRST + 4 * UNIT, 2, 2)
    assert not board.reneged(FIRST)
    board.acknowledge(FIRST + UNIT, 3, 3)
    assert board.reneged(FIRST + UNIT)
    board.forget_sacks()
    board.lose_all(FOREVER)
    assert (board.sacked, board.lost) == (0, 4 * UNIT)
    record = board.resend(10 * UNIT, FIRST + 5 * UNIT, UNIT, 4)
    assert (record.start, record.end) == (FIRST + UNIT, FIRST + 5 * UNIT)  # type: ignore[union-attr]
    assert board.missing() == 0
