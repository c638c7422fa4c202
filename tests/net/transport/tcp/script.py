"""Packet scripts: one connection, a scripted peer, and virtual time.

A test reads as a script: what the peer sends when, what the user does, and what must come out by when.

    def test_an_ack_is_delayed():
        t = established()                          # the handshake is over, nothing is under way, the time is 0
        t.send(10, Data(1, bytes(MSS)))            # at 10 ms a full segment arrives
        t.quiet(49)                                # nothing is sent before, and including, 49 ms
        t.by(50, Ack(1, MSS + 1, at=50))           # by 50 ms this, and nothing else, was sent; and it was sent at 50

**Numbers.** Sequence and acknowledgement numbers are relative: 0 is the SYN, 1 the first byte, on either side. Both real initial
numbers lie close below 2**32, so that every script crosses the wrap. Times are milliseconds and never go back.

**Segments.** `Syn()`, `SynAck()`, `Ack(seq, ack)`, `Data(seq, data, ack)`, `Fin(seq, ack)`, `Rst(seq, ack)`, and `Seg(flags, seq,
ack, data)` for anything else; flags are letters of FSRPAUEC (E is ECE, C is CWR). Keywords, in both directions:

    window=    the 16-bit field as on the wire            mss=       the option; 0 is none
    scale=     window scale option; NO_SCALE is none      ts=        (value, echo) of the timestamp option; None is none
    urgent=    the pointer; means something with U        sack=      [(first, end), ...], relative; [] is none
    sack_ok=   SACK permitted                             gso_size=, segments=   of a super-segment

In an expectation a keyword that isn't given isn't compared, nor is `None` as number or data; flags are, but for P, which counts only where
it is given. `at=` (expectations only) is the millisecond at which the segment must have been sent.

**The peer and time.**

    t.send(time, *segments)    let time pass until `time`; then these arrive, in one batch
    t.at(time)                 let time pass: every deadline on the way is met
    t.icmp(seq, errno, mss)    an ICMP error about our segment at `seq` arrives now

**The user.** `t.open()`, `t.listen(syn)`, `t.write(data)`, `t.read(size)`, `t.close()` (end our direction), `t.leave()` (close the socket),
`t.abort()`. All happen now. `t.flush()` sends what may go after a test has changed an option or a variable.

**What must be.**

    t.expect(*segments)        exactly these were sent since the last look, in this order
    t.silent()                 nothing was sent since the last look
    t.by(time, *segments)      the same as t.at(time).expect(*segments)
    t.quiet(time)              the same as t.at(time).silent()
    t.sent()                   what was sent since the last look, as `Seg`s, for what can't be said with `expect`
    t.state(name)              the state, as RFC 9293 writes it
    t.events(*names)           what the user has not been told yet: readable writable connected ended urgent

`t.block` has all variables, `t.environment.settings` the sysctls (keywords of `Script` set them), `t.environment.counters` what is
counted. Timestamps, window scaling and the like are off, and the congestion
control is reno, unless a script says otherwise, so that the numbers stay plain. What
is sent may be a super-segment; `Script(split=True)` cuts it into the segments that a wire would see.
"""

from rumpkit.hyper.time import FOREVER, MILLISECOND
from rumpkit.net.transport.tcp.block import CONNECTED, ENDED, READABLE, URGENT, WRITABLE, Environment
from rumpkit.net.transport.tcp.connection import TcpConnection
from rumpkit.net.transport.tcp.options import TcpOptions
from rumpkit.net.transport.tcp.states import STATE_NAMES
from rumpkit.net.wire.segment import ACK, CWR, ECE, FIN, NO_SCALE, PSH, RST, SYN, URG, Segment
from rumpkit.net.wire.sequence import SEQ_MASK

OUR_ISS = 0xFFFFFFF0
PEER_ISS = 0xFFFFFFA0
MSS = 1000
_LETTERS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG, "E": ECE, "C": CWR}
PLAIN = {"timestamps": 0, "window_scaling": 0, "quick_acks": 0, "congestion": 1}
"""Settings that keep a script's numbers plain, unless it is about what they change."""


class Seg:
    """A segment in a script: `flags` as letters, numbers relative.  What is None is not compared, or takes a default."""

    def __init__(self, flags, seq=None, ack=None, data=None, window=None, **fields):
        self.flags = flags
        self.seq = seq
        self.ack = ack
        self.data = data
        self.window = window
        self.fields = fields

    def __repr__(self):
        extra = "".join(f" {name}={value}" for name, value in self.fields.items())
        size = None if self.data is None else len(self.data)
        return f"Seg({self.flags} seq={self.seq} ack={self.ack} size={size} window={self.window}{extra})"


def Syn(seq=0, **fields):
    return Seg("S", seq, **fields)


def SynAck(seq=0, ack=1, **fields):
    return Seg("SA", seq, ack, **fields)


def Ack(seq=1, ack=1, **fields):
    return Seg("A", seq, ack, fields.pop("data", b""), **fields)


def Data(seq, data, ack=1, **fields):
    return Seg(fields.pop("flags", "A"), seq, ack, data, **fields)


def Fin(seq, ack=1, **fields):
    return Seg("FA", seq, ack, fields.pop("data", b""), **fields)


def Rst(seq=None, ack=None, **fields):
    return Seg("R" if ack is None else "RA", seq, ack, **fields)


class Script:
    """Drives one connection.  `settings` are those of `TcpSettings`."""

    def __init__(self, options=None, environment=None, mss=MSS, split=False, **settings):
        self.environment = environment or Environment()
        self.split = split
        for name, value in {**PLAIN, **settings}.items():
            assert hasattr(self.environment.settings, name), name
            setattr(self.environment.settings, name, value)
        self.options = options or TcpOptions()
        self.connection = TcpConnection(self.environment, self.options, OUR_ISS, mss, 0)
        self.block = self.connection.block
        self.now = 0
        self.out = []
        self.times = []
        """When each segment of `out` was sent: ms, rounded up, as deadlines may lie between two."""

    # What happens

    def at(self, time):
        """Let time pass up to `time`: deadlines on the way are met."""
        until = time * MILLISECOND
        assert until >= self.now
        while True:
            due = self.connection.next_deadline()
            if due > until or due == FOREVER:
                break
            self.now = max(due, self.now)
            self.connection.on_deadline(self.now)
            self._transmit()
            assert self.connection.next_deadline() > self.now, "a deadline that never goes away"
        self.now = until
        return self

    def send(self, time, *segments):
        """The peer's segments arrive at `time`, in one batch."""
        self.at(time)
        for segment in segments:
            self.connection.receive(self._real(segment), self.now)
            if self.connection.answer_now():
                self._transmit()
        self._transmit()

    def open(self):
        self.connection.open()
        self._transmit()

    def listen(self, segment):
        """A listener gets the peer's SYN."""
        self.connection.answer(self._real(segment), self.now)
        self._transmit()

    def write(self, data, more=False):
        taken = self.connection.write(data, 0, more)
        self._transmit()
        return taken

    def read(self, size=1 << 30):
        data = self.connection.peek(size)
        self.connection.consume(len(data), self.now)
        self._transmit()
        return data

    def close(self):
        self.connection.finish(self.now)
        self._transmit()

    def leave(self):
        self.connection.leave(self.now)
        self._transmit()

    def flush(self):
        """Send what may go now: an option has changed, or a test has set a variable."""
        self._transmit()

    def abort(self):
        self.connection.abort(self.now)
        self._transmit()

    def icmp(self, seq, errno, mss=0):
        self.connection.icmp((OUR_ISS + seq) & SEQ_MASK, errno, mss, self.now)
        self._transmit()

    # What must be

    def sent(self):
        """What was sent since the last look."""
        if len(self.times) != len(self.out):
            self.times = [None] * len(self.out)
        got = [self._relative(segment, time) for segment, time in zip(self.out, self.times, strict=True)]
        self.out.clear()
        self.times.clear()
        return got

    def by(self, time, *expected):
        """Exactly these segments are sent by `time`."""
        return self.at(time).expect(*expected)

    def quiet(self, time):
        """Nothing is sent until and at `time`."""
        return self.at(time).silent()

    def expect(self, *expected):
        """Exactly these segments were sent since the last look, in this order."""
        got = self.sent()
        assert len(got) == len(expected), f"sent {got}, expected {list(expected)}"
        for sent, wanted in zip(got, expected, strict=True):
            for name in ("flags", "seq", "ack", "data", "window"):
                value = getattr(wanted, name)
                if name == "flags":
                    assert set(sent.flags) - {"P"} == set(value) - {"P"}, f"sent {got}, expected {list(expected)}"
                    if "P" in value:
                        assert "P" in sent.flags, f"no PSH in {sent}"
                elif value is not None:
                    if name in ("seq", "ack"):
                        value &= SEQ_MASK
                    assert getattr(sent, name) == value, f"{name}: sent {got}, expected {list(expected)}"
            for name, value in wanted.fields.items():
                assert sent.fields[name] == value, f"{name}: sent {got}, expected {list(expected)}"
        return self

    def silent(self):
        self.expect()
        return self

    def state(self, name):
        assert STATE_NAMES[self.block.state] == name
        return self

    def events(self, *names):
        bits = {"readable": READABLE, "writable": WRITABLE, "connected": CONNECTED, "ended": ENDED, "urgent": URGENT}
        assert self.block.events == sum(bits[name] for name in names)
        self.block.events = 0

    # Inside

    def _transmit(self):
        if len(self.times) != len(self.out):
            # A test took segments out by itself.
            self.times = [None] * len(self.out)
        made = []
        self.connection.transmit(made, self.now)
        for segment in made:
            self.out.extend(wire_segments(segment) if self.split else [segment])
        self.times.extend([-(-self.now // MILLISECOND)] * (len(self.out) - len(self.times)))

    def _real(self, wanted):
        fields = dict(wanted.fields)
        data = wanted.data or b""
        padded = b"#" + data
        flags = sum(_LETTERS[letter] for letter in wanted.flags)
        seq = (PEER_ISS + (wanted.seq or 0)) & SEQ_MASK
        ack = (OUR_ISS + wanted.ack) & SEQ_MASK if wanted.ack is not None else 0
        window = 60000 if wanted.window is None else wanted.window
        segment = Segment(seq, ack, flags, window, padded, 1, len(data))
        segment.mss = fields.pop("mss", MSS if flags & SYN else 0)
        segment.window_scale = fields.pop("scale", NO_SCALE)
        if fields.get("ts") is not None:
            segment.has_timestamp = True
            segment.ts_value, segment.ts_echo = fields.pop("ts")
        fields.pop("ts", None)
        segment.urgent = fields.pop("urgent", 0)
        segment.sack_permitted = fields.pop("sack_ok", False)
        segment.sack_blocks = tuple(
            ((OUR_ISS + first) & SEQ_MASK, (OUR_ISS + end) & SEQ_MASK) for first, end in fields.pop("sack", ())
        )
        segment.segments = fields.pop("segments", 1)
        segment.gso_size = fields.pop("gso_size", 0)
        assert not fields, fields
        return segment

    def _relative(self, segment, time=None):
        flags = "".join(letter for letter, bit in _LETTERS.items() if segment.flags & bit)
        return Seg(
            flags,
            (segment.seq - OUR_ISS) & SEQ_MASK,
            (segment.ack - PEER_ISS) & SEQ_MASK if segment.flags & ACK else None,
            segment.payload(),
            segment.window,
            mss=segment.mss,
            scale=segment.window_scale,
            ts=(segment.ts_value, segment.ts_echo) if segment.has_timestamp else None,
            gso_size=segment.gso_size,
            segments=segment.segments,
            urgent=segment.urgent,
            sack_ok=segment.sack_permitted,
            sack=[((a - PEER_ISS) & SEQ_MASK, (b - PEER_ISS) & SEQ_MASK) for a, b in segment.sack_blocks],
            at=time,
        )


def wire_segments(segment):
    """The segments that an egress makes of a super-segment."""
    unit = segment.gso_size
    if not unit or segment.size <= unit:
        return [segment]
    parts = []
    for offset in range(0, segment.size, unit):
        size = min(unit, segment.size - offset)
        flags = segment.flags if offset + size == segment.size else segment.flags & ~(PSH | FIN)
        if offset:
            flags &= ~CWR
        part = Segment((segment.seq + offset) & SEQ_MASK, segment.ack, flags, segment.window, segment.body,
                       segment.start + offset, size)  # fmt: skip
        for name in ("has_timestamp", "ts_value", "ts_echo", "sack_blocks"):
            setattr(part, name, getattr(segment, name))
        part.urgent = max(segment.urgent - offset, 0)
        part.gso_size = unit
        parts.append(part)
    return parts


def established(**arguments):
    """A connection that we opened, quiet."""
    script = Script(**arguments)
    script.open()
    script.expect(Syn())
    script.send(0, SynAck())
    script.expect(Ack(1, 1))
    script.state("ESTABLISHED")
    script.block.events = 0
    return script


def accepted(**arguments):
    """A connection that the peer opened, quiet."""
    script = Script(**arguments)
    script.listen(Syn())
    script.expect(SynAck(0, 1))
    script.send(0, Ack(1, 1))
    script.silent()
    script.state("ESTABLISHED")
    script.block.events = 0
    return script
