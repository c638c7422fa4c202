"""The TCP segment, received or to be sent: what `wire.tcp` parses and emits and `net.transport.tcp` works with.

One class stands for both directions.  The payload is a reference into an immutable bytes object, and the segment may
be a super-segment: `gso_size` bytes of payload for each of the segments that a wire would see.
"""

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80
CE: Final = 0x100
"""No flag of the header: IP says that the packet met congestion (RFC 3168)."""

NO_SCALE: Final = -1
"""`Segment.window_scale` where the option is absent."""
NO_BLOCKS: Final[tuple[tuple[int, int], ...]] = ()
"""`Segment.sack_blocks` where the option is absent."""


@final
@mypyc_attr(acyclic=True)
class Segment:
    """A TCP segment (RFC 9293 section 3.1).

    `seq`, `ack`, `ts_value`, `ts_echo` and the edges of SACK blocks are modulo 2**32.  `window` is the 16-bit field as
    on the wire, unscaled.  The payload is body[start : start + size].
    """

    __slots__ = (
        "ack",
        "body",
        "ecn",
        "fast_open",
        "flags",
        "gso_size",
        "has_timestamp",
        "mss",
        "sack_blocks",
        "sack_permitted",
        "segments",
        "seq",
        "size",
        "start",
        "ts_echo",
        "ts_value",
        "urgent",
        "user_timeout",
        "window",
        "window_scale",
    )

    def __init__(
        self, seq: i64, ack: i64, flags: i64, window: i64, body: bytes = b"", start: i64 = 0, size: i64 = 0
    ) -> None:
        self.seq: i64 = seq
        self.ack: i64 = ack
        self.flags: i64 = flags
        """FIN, SYN, RST, PSH, ACK, URG, ECE, CWR; and CE."""
        self.ecn: i64 = 0
        """What IP says of a segment to be sent: 0, or 2 for ECT(0) (RFC 3168 section 5)."""
        self.window: i64 = window
        self.urgent: i64 = 0
        """The urgent pointer; means something with URG only."""
        self.mss: i64 = 0
        """Maximum segment size option, 0 where absent."""
        self.window_scale: i64 = NO_SCALE
        """Shift count as received, not yet limited to 14 (RFC 7323 section 2.3), or NO_SCALE."""
        self.has_timestamp: bool = False
        self.ts_value: i64 = 0
        self.ts_echo: i64 = 0
        self.user_timeout: i64 = -1
        """The user timeout option's field (RFC 5482), -1 where absent."""
        self.fast_open: bytes | None = None
        """The Fast Open option's cookie, b"" where one is asked for (RFC 7413); None where absent."""
        self.sack_permitted: bool = False
        self.sack_blocks: tuple[tuple[int, int], ...] = NO_BLOCKS
        """(left, right) edges, right exclusive, in the option's order; at most 4, 3 beside timestamps."""
        self.body: bytes = body
        self.start: i64 = start
        self.size: i64 = size
        """Bytes of payload."""
        self.gso_size: i64 = 0
        """Payload bytes of each wire segment of a super-segment, 0 for a plain segment.  A sender may set it on any
        segment: it counts only where `size` is larger."""
        self.segments: i64 = 1
        """How many wire segments this one stands for, for delayed ACK and pacing.  Parse and emit set it."""

    def payload(self) -> bytes:
        """The payload's bytes.  Copies, unless it is the whole of `body`."""
        if self.size == len(self.body):
            return self.body
        return self.body[self.start : self.start + self.size]

    def span(self) -> i64:
        """Sequence numbers that the segment takes: payload, SYN and FIN (SEG.LEN of RFC 9293 section 3.4)."""
        return self.size + ((self.flags >> 1) & 1) + (self.flags & 1)

    def __repr__(self) -> str:
        flags: int = self.flags
        letters = "".join(letter for bit, letter in enumerate("FSRPAUEC") if flags >> bit & 1)
        return f"Segment({letters} seq={self.seq} ack={self.ack} window={self.window} size={self.size})"
