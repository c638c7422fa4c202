"""A TCP connection fed with segments: any order of flags, numbers and options, user's calls and time.

The input's first byte sets options, the rest are steps.  Numbers are relative to what the connection expects, so that small
inputs get far.  The connection must never raise, its invariants hold after each step, and what was read in order is what was sent.
"""

from __future__ import annotations

from rumpkit.hyper.time import FOREVER, MILLISECOND, SECOND
from rumpkit.kern.abi.errno import ECONNREFUSED, EHOSTUNREACH, EMSGSIZE
from rumpkit.net.transport.tcp.states import CLOSED
from rumpkit.net.wire.segment import ACK, FIN, PSH, RST, SYN, URG, Segment
from tests.fuzz.reader import Reader
from tests.net.transport.tcp.network import End

OUR_ISS, PEER_ISS = 0xFFFFFFF0, 0xFFFFFFA0
MASK = 0xFFFFFFFF
SWITCHES = ("timestamps", "window_scaling", "sack", "ecn")
"""Settings that the first byte's bits switch, as far as they exist."""
STREAM = bytes(index * 7 % 251 for index in range(70_000))
"""What the peer's stream holds at each place, so that whatever is read can be compared."""


class Play:
    """One connection and its input."""

    def __init__(self, data: bytes) -> None:
        self.reader = Reader(data)
        first = self.reader.u8()
        settings = {"receive_buffer": 20_000, "receive_buffer_max": 40_000, "max_reassembly": 16, "retries": 4}
        end = End("fuzz", OUR_ISS, 1000, b"", settings)
        for bit, name in enumerate(SWITCHES):
            if hasattr(end.environment.settings, name):
                setattr(end.environment.settings, name, first >> bit & 1)
        self.end = end
        self.connection = end.connection
        self.now = 1000 * SECOND
        self.out: list[Segment] = []
        self.read = 0
        self.steps = (
            self.segment,
            self.segment,
            self.segment,
            self.wait,
            self.write,
            self.consume,
            self.finish,
            self.trouble,
        )
        if first & 16:
            self.connection.open()
        else:
            syn = Segment(PEER_ISS, 0, SYN, 60_000)
            self.options(syn)
            self.connection.answer(syn, self.now)
        self.settle()

    def settle(self) -> None:
        """Send what is to be sent, and look whether all is well."""
        self.connection.transmit(self.out, self.now)
        for segment in self.out:
            assert 0 <= segment.window <= 0xFFFF and 0 <= segment.seq <= MASK and 0 <= segment.ack <= MASK
            assert segment.start + segment.size <= len(segment.body)
            assert len(segment.sack_blocks) <= 4
        self.out.clear()
        self.end.check()
        assert self.connection.next_deadline() > 0

    def options(self, segment: Segment) -> None:
        """Options as the input says."""
        reader = self.reader
        what = reader.u8()
        if what & 1:
            segment.has_timestamp = True
            segment.ts_value = (self.now // MILLISECOND + reader.near()) & MASK
            segment.ts_echo = (self.now // MILLISECOND + reader.near()) & MASK
        if what & 2:
            segment.mss = reader.u16()
        if what & 4:
            segment.window_scale = reader.u8()
        segment.sack_permitted = bool(what & 8)
        if what & 16:
            block = self.end.block
            una = block.snd_una
            pairs = []
            for _ in range(reader.u8() & 3):
                left = una + reader.near()
                pairs.append((left & MASK, (left + reader.near()) & MASK))
            segment.sack_blocks = tuple((int(left), int(right)) for left, right in pairs)

    def segment(self) -> None:
        """A segment of the peer's."""
        reader = self.reader
        block = self.end.block
        kind = reader.u8()
        flags = (ACK, ACK | PSH, ACK, SYN, SYN | ACK, RST, ACK | FIN, reader.u8() if kind & 7 == 7 else ACK | URG)[
            kind & 7
        ]
        seq = (block.rcv_nxt if block.irs else PEER_ISS) + (reader.near() if kind & 8 else 0)
        ack = block.snd_max if not kind & 16 else block.snd_una + reader.near()
        size = reader.u16() % 3000 if kind & 32 else 0
        begin = block.irs or seq
        place = int(seq - begin - (0 if flags & SYN else 1)) % len(STREAM)
        body = (STREAM + STREAM)[place : place + size]
        made = Segment(seq & MASK, ack & MASK, flags, reader.u16() if kind & 64 else 30_000, body, 0, size)
        if kind & 128:
            self.options(made)
        elif block.timestamps:
            made.has_timestamp = True
            made.ts_value, made.ts_echo = (
                self.now // MILLISECOND & MASK,
                block.clock(self.now) if hasattr(block, "clock") else 0,
            )
        if flags & URG:
            made.urgent = reader.u16()
        self.connection.receive(made, self.now)

    def wait(self) -> None:
        """Time passes: to the next deadline, or by so much."""
        due = self.connection.next_deadline()
        amount = self.reader.u8()
        self.now = (
            due
            if amount & 1 and due != FOREVER and due > self.now
            else self.now + (amount << (amount & 15)) * MILLISECOND
        )
        for _ in range(20):
            if self.connection.next_deadline() > self.now:
                return
            self.connection.on_deadline(self.now)
            self.settle()
        raise AssertionError("a deadline that never goes away")

    def write(self) -> None:
        """The user writes."""
        size = self.reader.u16() % 5000
        self.connection.write(bytes(size), 0, bool(size & 1))
        if size % 7 == 0 and self.connection.block.send_queue.end > self.connection.block.snd_una:
            self.connection.mark_urgent()

    def consume(self) -> None:
        """The user reads, and gets what the peer's stream holds there."""
        data = self.connection.peek(self.reader.u16())
        place = self.read % len(STREAM)
        assert data == (STREAM + STREAM)[place : place + len(data)], "not what was sent"
        self.read += len(data)
        self.connection.consume(len(data), self.now)

    def finish(self) -> None:
        """The user closes, one way or another."""
        how = self.reader.u8() & 7
        if how == 0:
            self.connection.leave(self.now)
        elif how == 1:
            self.connection.abort(self.now)
        else:
            self.connection.finish(self.now)

    def trouble(self) -> None:
        """ICMP, another path, other options."""
        reader = self.reader
        kind = reader.u8()
        block = self.end.block
        if kind & 1:
            errno = (EHOSTUNREACH, ECONNREFUSED, EMSGSIZE, EMSGSIZE)[kind >> 1 & 3]
            self.connection.icmp((block.snd_una + reader.near()) & MASK, errno, reader.u16(), self.now)
        elif kind & 2:
            self.connection.path_changed(reader.u16())
        else:
            options = self.end.options
            options.nodelay, options.cork, options.quickack = bool(kind & 4), bool(kind & 8), bool(kind & 16)
            options.keepalive = bool(kind & 32)
            options.user_timeout = 5000 if kind & 64 else 0
            self.connection.options_changed(self.now)

    def all(self) -> None:
        """To the end of the input, and then an hour of silence."""
        for _ in range(200):
            if not self.reader.more():
                break
            self.steps[self.reader.u8() % len(self.steps)]()
            self.settle()
        self.now += 3600 * SECOND
        if self.connection.next_deadline() <= self.now:
            self.connection.on_deadline(self.now)
            self.settle()
        if self.end.block.state == CLOSED:
            assert self.connection.next_deadline() == FOREVER


def run(data: bytes) -> None:
    """The target."""
    Play(data).all()


SEEDS = [
    bytes([16, 0, 4, 0, 0, 33, 3, 0xE8, 0, 32, 3, 0xE8, 4, 0, 100, 3, 1]),
    bytes([15, 0x1F, 64, 64, 5, 0xB4, 7, 0, 0, 0, 33, 0, 10, 3, 8, 0, 40, 70, 0, 10, 5, 255, 255]),
    bytes([1, 0, 0, 0, 4, 19, 0x88, 0, 16, 70, 0, 16, 70, 0, 16, 70, 3, 1, 3, 1, 3, 1]),
    bytes([3, 0, 0, 0, 6, 2, 0, 6, 3, 255, 3, 255]),
    bytes([16, 0, 3, 0, 4, 7, 1, 5, 0, 0, 2, 88, 4, 3, 232]),
]
"""An opening with data; options and data out of order; losses; closings; simultaneous open and trouble on the path."""
