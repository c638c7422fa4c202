"""The variables of one connection: the transmission control block of RFC 9293 section 3.3.1.

Data only, with the few helpers that everything above needs.  Sequence numbers are unwrapped: plain integers whose
low 32 bits are the wire's (see `unwrap`).
"""

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from ....hyper.time import FOREVER, MILLISECOND, Instant
from ...wire.segment import Segment
from ...wire.sequence import SEQ_MASK
from .chunks import ChunkQueue
from .congestion.control import CongestionControl
from .congestion.registry import make
from .episode import Episode
from .fastopen import Attempt
from .options import TcpOptions
from .reassembly import NOTHING, Reassembly
from .rtt import RttEstimator
from .scoreboard import Scoreboard
from .settings import RateLimit, TcpCounters, TcpSettings
from .states import CLOSED, ESTABLISHED, next_state

READABLE: Final = 1
"""Data or the peer's FIN arrived."""
WRITABLE: Final = 2
"""There is room to send again, after there was too little."""
CONNECTED: Final = 4
"""The handshake is done."""
ENDED: Final = 8
"""The connection is closed; `error` says why if it did not end well."""
URGENT: Final = 16
"""The peer sent an urgent pointer."""

DEFAULT_MSS: Final = 536
"""What a peer takes that sends no MSS option (RFC 9293 3.7.1)."""
TIMESTAMPS_SIZE: Final = 12
_HALF: Final = 1 << 31
_LITTLE: Final = 4
"""Segments that each connection may have queued where all together have too much."""
_NONE: Final = -1


def unwrap(number: i64, near: i64) -> i64:
    """The integer with the low 32 bits `number` that is nearest to `near`."""
    return near + ((number - near + _HALF) & SEQ_MASK) - _HALF


def timestamp_clock(offset: i64, now: Instant) -> i64:
    """The timestamp clock that starts at `offset`: milliseconds, so that 32 bits last for 24 days (RFC 7323 5.4)."""
    value: i64 = now // MILLISECOND
    return (value + offset) & SEQ_MASK


@final
class Environment:
    """What the connections of one kernel share."""

    def __init__(self) -> None:
        self.settings: TcpSettings = TcpSettings()
        self.counters: TcpCounters = TcpCounters()
        self.challenges: RateLimit = RateLimit()
        self.held: i64 = 0
        """Bytes received and not read yet, of all connections."""
        self.queued: i64 = 0
        """Bytes to send, or sent and not acknowledged yet, of all connections."""
        self.options: TcpOptions = TcpOptions()
        """Those of sockets that have set none."""
        self.options.shared = True


@final
@mypyc_attr(acyclic=True)
class PathSearch:
    """What `plpmtud` knows of a path: sizes up to `low` pass, those beyond `high` don't."""

    def __init__(self, low: i64, high: i64) -> None:
        self.low: i64 = low
        self.high: i64 = high
        self.again_at: Instant = 0
        """When a search that is over may begin again."""
        self.whole: bool = True
        """Nothing between the two has been tried yet."""
        self.failed: bool = False
        """The probe that is out is lost, and its data has not been sent again yet."""
        self.probe_start: i64 = 0
        """The probe that is out: its numbers, ..."""
        self.probe_end: i64 = _NONE
        """... -1 if none is, ..."""
        self.size: i64 = 0
        """... and what it would prove."""


@final
@mypyc_attr(acyclic=True)
class ControlBlock:
    """One connection's state.

    `mss` is what the path's MTU leaves for payload and TCP options (MTU less 40), `clock` where its timestamp clock starts.
    """

    # The connection as a whole
    environment: Environment
    settings: TcpSettings
    counters: TcpCounters
    options: TcpOptions
    state: i64 = CLOSED
    events: i64 = 0
    """READABLE, WRITABLE, ...: what the user has not been told yet."""
    error: int = 0
    """The errno that ended the connection."""
    soft_error: int = 0
    """The last ICMP error: what a time-out is put down to (RFC 9293 3.9.2.2)."""
    passive: bool = False
    """Opened by a listener."""
    orphan: bool = False
    """No user is left: nobody will read."""
    deaf: bool = False
    """The user has ended receiving (SHUT_RD): data after both ends is refused, as on Linux."""

    fast: Attempt | None = None
    """TCP Fast Open, until the handshake is done."""
    early: bool = False
    """Data may be sent and taken though the handshake isn't done: the peer had a Fast Open cookie."""
    syn_due: bool = False
    """Send the SYN-ACK again, though data has followed it."""

    # Send sequence space
    iss: i64
    snd_una: i64
    snd_nxt: i64
    snd_max: i64
    """The highest number sent; a retransmission timeout takes `snd_nxt` back, never this."""
    snd_wnd: i64 = 0
    snd_wl1: i64 = 0
    snd_wl2: i64 = 0
    snd_max_wnd: i64 = 0
    """The largest window that the peer ever offered."""
    peer_scales: bool = False
    """The peer's SYN had the window scale option, and ours has it too."""
    snd_scale: i64 = 0
    path_mss: i64
    peer_mss: i64 = DEFAULT_MSS
    search: PathSearch | None = None
    """The search for the path's MTU, once there is cause for one."""
    snd_mss: i64
    """Payload of a full-sized segment: what peer, path, user and options leave (RFC 6691)."""
    send_queue: ChunkQueue
    fin_queued: bool = False
    """The FIN comes behind the last byte of the queue."""
    send_buffer: i64
    send_short: bool = False
    """The user found too little room, and wants to hear of more."""
    more: bool = False
    """The last send said MSG_MORE."""
    snd_urgent: i64 = _NONE
    """Where urgent data ends that is not acknowledged yet (SND.UP); -1 if there is none."""
    small_end: i64
    """End of the last segment sent that was less than full-sized (Minshall's variant of Nagle's rule)."""
    last_sent: Instant = 0
    resend: bool = False
    """Send the first lost segment again, whatever the congestion window says."""
    probe: bool = False
    """Send a segment that the peer has to answer."""
    replies: list[Segment] | None = None
    """Segments to send as they are, such as resets."""

    # Congestion control and recovery
    congestion: CongestionControl
    rtt: RttEstimator
    timed_end: i64 = _NONE
    """The SYN being timed ends here; -1 if it was sent again (Karn's rule)."""
    timed_at: Instant = 0
    sampled_at: Instant = 0
    """When the round trip was last measured: once in a round trip is enough for RFC 6298."""
    sack: bool = False
    """Both sides do selective acknowledgement (RFC 2018)."""
    scoreboard: Scoreboard | None = None
    """What is in flight, from the first data on."""
    episode: Episode | None = None
    """What loss recovery has to remember, from the first trouble on."""
    disorder: bool = False
    """Something is or may be lost, or was sent again: acknowledgements take the long way through `recovery`."""
    ecn: bool = False
    """Both sides do explicit congestion notification (RFC 3168)."""
    ecn_echo: bool = False
    """The peer's data met congestion, and the peer hasn't said that it has slowed down."""
    cwr_due: bool = False
    """The window was reduced: the next new data says so."""
    pace_at: Instant = 0
    """Before this nothing more is sent, if what is sent is paced."""
    resent_at: i64 = 0
    """The timestamp clock at the last retransmission."""
    duplicate_acks: i64 = 0
    recover: i64
    """snd_max when the last loss was noticed (RFC 6582)."""
    retries: i64 = 0
    """Retransmissions of the first unacknowledged segment by the timer."""
    doubtful: bool = False
    """So many retransmissions that the way to the peer is in doubt, which IP has not been told yet."""
    probes: i64 = 0
    """Window or keepalive probes that the peer has not answered."""
    unacked_since: Instant = 0
    shut_since: Instant = FOREVER
    """When the peer's window was probed first since something was sent or acknowledged."""
    peer_timeout: i64 = 0
    """The user timeout that the peer told of (RFC 5482), within our limits, in ms; 0 if it has told of none."""
    told_timeout: int = 0
    """The timeout that our user had when the peer was told last."""
    timeout_due: bool = False
    """The peer has not heard of our user's new timeout."""

    # Receive sequence space
    irs: i64 = 0
    rcv_nxt: i64 = 0
    rcv_edge: i64 = 0
    """Where the window that the peer knows of ends; never moves back."""
    rcv_scale: i64 = 0
    rcv_mss: i64 = DEFAULT_MSS
    """The peer's full-sized segment, judged by what it sends."""
    rcv_fin: i64 = _NONE
    """The number of the peer's FIN, once seen."""
    rcv_urgent: i64 = _NONE
    """The byte that the urgent pointer names, until the user has read it or read past it; -1 if there is none."""
    receive_queue: ChunkQueue
    reassembly: Reassembly
    receive_buffer: i64
    consumed: i64 = 0
    """Bytes that the user read since `measured_at`, for the growth of the buffer."""
    consumed_before: i64 = 0
    """The same for the round trip before that."""
    rcv_rtt: i64 = 0
    """The round trip as the receiver sees it, by echoed timestamps; 0 until there is one."""
    measured_at: Instant = 0
    last_ack: i64 = 0
    """What was acknowledged last (Last.ACK.sent of RFC 7323)."""
    acks_owed: i64 = 0
    """Acknowledgements to send without delay."""
    unclaimed: bool = False
    """It waits to be accepted, or what came before that waits to be read: nobody can answer yet."""
    quick_acks: i64
    """How many more acknowledgements are delayed by a moment only."""
    text_at: Instant = 0
    """When data came last."""
    last_received: Instant = 0
    answered_at: Instant = -FOREVER
    """When something unacceptable was answered last."""

    # Timestamps (RFC 7323)
    timestamps: bool = False
    ts_offset: i64
    ts_recent: i64 = 0
    ts_recent_at: Instant = 0

    # Deadlines
    retransmit_at: Instant = FOREVER
    persisting: bool = False
    """`retransmit_at` is the persist timer's: something can't be sent, and nothing is in flight that could be acknowledged."""
    probing: bool = False
    """`retransmit_at` is the probe timeout of RFC 8985, which comes before the retransmission timeout."""
    wake_at: Instant = FOREVER
    """When to look for losses again, or to send the next of what is paced."""
    ack_at: Instant = FOREVER
    keepalive_at: Instant = FOREVER
    linger_at: Instant = FOREVER
    """End of TIME-WAIT, or of an orphan's FIN-WAIT-2."""

    def __init__(self, environment: Environment, options: TcpOptions, iss: i64, mss: i64, clock: i64) -> None:
        settings = environment.settings
        self.environment = environment
        self.settings = settings
        self.counters = environment.counters
        self.options = options
        self.iss = iss
        self.snd_una = iss
        self.snd_nxt = iss
        self.snd_max = iss
        self.path_mss = mss
        self.snd_mss = min(mss, DEFAULT_MSS)
        self.send_queue = ChunkQueue(iss + 1)
        self.send_buffer = options.send_buffer or settings.send_buffer
        self.small_end = iss
        self.congestion = make(options.congestion_name(settings), self.snd_mss, settings.initial_window)
        self.rtt = RttEstimator(settings)
        self.recover = iss
        self.receive_queue = ChunkQueue(0)
        self.reassembly = NOTHING
        self.receive_buffer = options.receive_buffer or settings.receive_buffer
        self.quick_acks = settings.quick_acks
        self.ts_offset = clock
        self.told_timeout = options.user_timeout

    def enter(self, event: int) -> None:
        """Follow the arrow that `event` has out of the present state."""
        self.state = next_state(self.state, event)
        if self.state == ESTABLISHED:
            self.events |= CONNECTED | WRITABLE
        elif self.state == CLOSED:
            self.events |= ENDED

    def reply(self, segment: Segment) -> None:
        """Let the next `transmit` send a segment as it is."""
        if self.replies is None:
            self.replies = [segment]
        else:
            self.replies.append(segment)

    def own_reassembly(self) -> Reassembly:
        """`reassembly`, to put something in."""
        if self.reassembly is NOTHING:
            self.reassembly = Reassembly()
        return self.reassembly

    def repeat_syn(self) -> None:
        """The next `transmit` sends the SYN or SYN-ACK again."""
        if self.early and self.snd_max > self.iss + 1:
            self.syn_due = True
        else:
            self.snd_nxt = self.iss

    def acknowledge_now(self) -> None:
        """The next `transmit` sends an acknowledgement, if only by what it sends anyway."""
        if self.acks_owed == 0:
            self.acks_owed = 1

    def let_go(self) -> None:
        """Forget what was received: nobody will read it."""
        self.environment.held -= self.receive_queue.size() + self.reassembly.bytes
        self.receive_queue.clear()
        self.reassembly.clear()

    def clock(self, now: Instant) -> i64:
        """The timestamp clock: milliseconds, from a start of this connection's own."""
        return timestamp_clock(self.ts_offset, now)

    def flight(self) -> i64:
        """FlightSize: what was sent and not acknowledged."""
        return self.snd_max - self.snd_una

    def send_space(self) -> i64:
        """Bytes that the send buffer has room for; where all connections together hold too much, those that keep this one going."""
        queued = self.send_queue.end - self.send_queue.start
        space = self.send_buffer - queued
        if self.environment.queued >= self.settings.max_send_memory:
            return min(space, _LITTLE * self.snd_mss - queued)
        return space

    def drop_sent(self, size: i64) -> None:
        """Forget the first bytes of what is to be sent."""
        queue = self.send_queue
        before = queue.start
        queue.drop(size)
        self.environment.queued -= queue.start - before

    def writable(self) -> bool:
        """Whether a third of the send buffer is free, as Linux asks before it says POLLOUT."""
        queued = self.send_queue.end - self.send_queue.start
        low: i64 = self.options.notsent_low_water
        if low and self.send_queue.end - self.snd_nxt >= low:
            return False
        if self.environment.queued >= self.settings.max_send_memory and queued > self.snd_mss:
            return False
        return self.send_buffer - queued >= queued >> 1 and queued < self.send_buffer

    def set_mss(self) -> None:
        """Settle the size of a full segment anew: the handshake is done, or the path has changed."""
        mss = min(self.peer_mss, self.path_mss)
        limit: i64 = self.options.max_segment
        if limit:
            mss = min(mss, limit)
        if self.search is not None:
            mss = min(mss, self.search.low)
        if self.timestamps:
            mss -= TIMESTAMPS_SIZE
        self.snd_mss = max(mss, 1)
        self.congestion.resize(self.snd_mss)
