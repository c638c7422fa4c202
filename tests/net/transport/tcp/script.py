"""A connection and a scripted peer: tests say what arrives when, and what must come out.

Sequence and acknowledgement numbers are relative: 0 is the SYN, 1 the first byte, on either side.  Both real initial numbers lie
close below 2**32, so that every test crosses the wrap.  Times are milliseconds.
"""

from rumpkit.hyper.time import FOREVER, MILLISECOND
from rumpkit.net.transport.tcp.block import CONNECTED, ENDED, READABLE, WRITABLE, Environment
from rumpkit.net.transport.tcp.connection import TcpConnection
from rumpkit.net.transport.tcp.options import TcpOptions
from rumpkit.net.transport.tcp.states import STATE_NAMES
from rumpkit.net.wire.segment import ACK, FIN, NO_SCALE, PSH, RST, SYN, URG, Segment
from rumpkit.net.wire.sequence import SEQ_MASK

OUR_ISS = 0xFFFFFFF0
PEER_ISS = 0xFFFFFFA0
MSS = 1000
_LETTERS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG}


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
    """Drives one connection."""

    def __init__(self, options=None, environment=None, mss=MSS, **settings):
        self.environment = environment or Environment()
        # Plain numbers, unless a test is about the options that change them.
        self.environment.settings.timestamps = 0
        self.environment.settings.window_scaling = 0
        self.environment.settings.quick_acks = 0
        for name, value in settings.items():
            assert hasattr(self.environment.settings, name), name
            setattr(self.environment.settings, name, value)
        self.options = options or TcpOptions()
        self.connection = TcpConnection(self.environment, self.options, OUR_ISS, mss, 0)
        self.block = self.connection.block
        self.now = 0
        self.out = []

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

    def abort(self):
        self.connection.abort(self.now)
        self._transmit()

    def icmp(self, seq, errno, mss=0):
        self.connection.icmp((OUR_ISS + seq) & SEQ_MASK, errno, mss, self.now)
        self._transmit()

    # What must be

    def expect(self, *expected):
        """Exactly these segments were sent since the last time, in this order."""
        got = [self._relative(segment) for segment in self.out]
        self.out.clear()
        assert len(got) == len(expected), f"sent {got}, expected {list(expected)}"
        for sent, wanted in zip(got, expected, strict=True):
            for name in ("flags", "seq", "ack", "data", "window"):
                value = getattr(wanted, name)
                if name == "flags":
                    assert set(sent.flags) - {"P"} == set(value) - {"P"}, f"sent {got}, expected {list(expected)}"
                    if "P" in value:
                        assert "P" in sent.flags, f"no PSH in {sent}"
                elif value is not None:
                    assert getattr(sent, name) == value, f"{name}: sent {got}, expected {list(expected)}"
            for name, value in wanted.fields.items():
                assert sent.fields[name] == value, f"{name}: {sent.fields[name]} sent, {value} expected"
        return self

    def silent(self):
        self.expect()
        return self

    def state(self, name):
        assert STATE_NAMES[self.block.state] == name
        return self

    def events(self, *names):
        bits = {"readable": READABLE, "writable": WRITABLE, "connected": CONNECTED, "ended": ENDED}
        assert self.block.events == sum(bits[name] for name in names)
        self.block.events = 0

    # Inside

    def _transmit(self):
        self.connection.transmit(self.out, self.now)

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
        if "ts" in fields:
            segment.has_timestamp = True
            segment.ts_value, segment.ts_echo = fields.pop("ts")
        segment.urgent = fields.pop("urgent", 0)
        segment.segments = fields.pop("segments", 1)
        segment.gso_size = fields.pop("gso_size", 0)
        assert not fields, fields
        return segment

    def _relative(self, segment):
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
        )


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
