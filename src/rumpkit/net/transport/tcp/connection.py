"""One TCP connection: the sans-I/O face of this package, above everything but `listen` and `layer`.

Segments, the user's calls and the time go in.  Out come segments (`transmit`), what the user should hear (`events`) and the
next deadline.  Nothing is sent from within a call: whoever drives a connection calls `transmit` afterwards, once for a
batch of segments if it likes, but at once where `answer_now` says so.

`receive` opens with the header prediction of Van Jacobson: in an established connection nearly every segment is either the
next data or an acknowledgement, and neither needs the fifty questions of `arrival`.
"""

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from ....hyper.time import FOREVER, Instant
from ....kern.abi.errno import ECONNREFUSED, ECONNRESET, EMSGSIZE
from ....kern.socket import Chunk
from ...wire.segment import ACK, CE, CWR, ECE, FIN, RST, SYN, URG, Segment
from ...wire.sequence import SEQ_MASK, seq_lt
from . import states
from .acknowledgement import acknowledge
from .arrival import (
    close,
    newer_incarnation,
    segment_arrives,
    start_keepalive,
    synchronize,
    wait_for_fin,
)
from .block import ControlBlock, Environment, unwrap
from .congestion.registry import exchange
from .options import TcpOptions
from .receive import accept_in_order, acknowledge_later, consume, first_window, out_of_memory, take_text
from .recovery import start_over
from .send import abort_segment, may_queue, transmit
from .states import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from .timeouts import next_deadline, on_deadline

_EXPECTED_FLAGS: Final = SYN | FIN | RST | URG | ACK | ECE | CWR | CE


@final
@mypyc_attr(acyclic=True)
class TcpConnection:
    """A connection from `open` or `answer` to CLOSED.

    `iss` is the initial sequence number, `mss` the largest payload that the path takes (MTU less 40 for IPv4), `clock` the
    start of the timestamp clock.
    """

    def __init__(self, environment: Environment, options: TcpOptions, iss: i64, mss: i64, clock: i64) -> None:
        self.block: ControlBlock = ControlBlock(environment, options, iss, mss, clock)
        self._due: list[Segment] | None = None
        """What a deadline had sent already."""

    # Opening -----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Active OPEN: the next `transmit` sends the SYN."""
        block = self.block
        block.counters.active_opens += 1
        block.enter(states.ACTIVE_OPEN)

    def answer(self, syn: Segment, now: Instant) -> None:
        """Passive OPEN by a peer's SYN: the next `transmit` sends the SYN-ACK."""
        block = self.block
        block.counters.passive_opens += 1
        block.passive = True
        block.enter(states.PASSIVE_OPEN)
        block.enter(states.SYN)
        synchronize(block, syn, now)

    def take_early(self, syn: Segment, now: Instant) -> None:
        """What came with the SYN counts: its sender's cookie was right (RFC 7413 section 4.2.2)."""
        block = self.block
        block.early = True
        first_window(block)
        if syn.size > 0:
            take_text(block, syn, block.rcv_nxt, now)

    def resume(self, syn: Segment, now: Instant) -> None:
        """As `answer`, by a SYN whose SYN-ACK went out long ago as a cookie (`cookies`)."""
        self.answer(syn, now)
        block = self.block
        first_window(block)
        block.snd_nxt = block.snd_max = block.iss + 1

    # Segments and time ---------------------------------------------------------------------------------------------

    def receive(self, segment: Segment, now: Instant) -> None:
        """Take a segment of this connection.  Never raises for what it holds."""
        block = self.block
        if (
            block.state == ESTABLISHED
            and segment.flags & _EXPECTED_FLAGS == ACK
            and segment.seq == block.rcv_nxt & SEQ_MASK
            and segment.user_timeout < 0
            and segment.has_timestamp == block.timestamps
            and block.rcv_fin < 0
            and not block.persisting
            and not segment.sack_blocks
        ):
            ack = unwrap(segment.ack, block.snd_una)
            size = segment.size
            if (
                block.snd_una <= ack <= block.snd_max
                and not (block.timestamps and seq_lt(segment.ts_value, block.ts_recent))
                and size <= block.rcv_edge - block.rcv_nxt
                and (ack > block.snd_una or size > 0 or block.snd_una == block.snd_max)
                and (size == 0 or block.reassembly.empty())
            ):
                self._receive_expected(segment, ack, now)
                return
        block.more = False
        segment_arrives(block, segment, now)

    def _receive_expected(self, segment: Segment, ack: i64, now: Instant) -> None:
        """The segment is in order, in the window and acknowledges nothing strange."""
        block = self.block
        block.last_received = now
        block.probes = 0
        if block.timestamps:
            if block.rcv_nxt <= block.last_ack:
                block.ts_recent = segment.ts_value
                block.ts_recent_at = now
        window = segment.window << block.snd_scale
        if block.snd_wl2 <= ack:
            block.snd_wnd = window
            block.snd_wl1 = block.rcv_nxt
            block.snd_wl2 = ack
            if window > block.snd_max_wnd:
                block.snd_max_wnd = window
        if ack > block.snd_una:
            block.more = False  # the rest that MSG_MORE promised did not follow at once
            acknowledge(block, segment, ack, now)
        if segment.size > 0 and out_of_memory(block):
            take_text(block, segment, block.rcv_nxt, now)
        elif segment.size > 0:
            accept_in_order(block, segment.body, segment.start, segment.size)
            acknowledge_later(block, segment, now)

    def transmit(self, out: list[Segment], now: Instant) -> None:
        """Add to `out` every segment that should go out now."""
        if self._due is not None:
            out.extend(self._due)
            self._due = None
        transmit(self.block, out, now)

    def answer_now(self) -> bool:
        """Whether `transmit` must not wait for the end of a batch: each out-of-order segment is answered by an
        acknowledgement of its own."""
        block = self.block
        if block.acks_owed == 0 or block.reassembly.empty():
            return False
        # With SACK one acknowledgement says what several would have, if there is room for all of it.
        return not block.sack or block.reassembly.fresh >= 3

    def next_deadline(self) -> Instant:
        """When `on_deadline` is wanted, or FOREVER."""
        return next_deadline(self.block)

    def on_deadline(self, now: Instant) -> None:
        """Do what is due; `transmit` afterwards."""
        due: list[Segment] = []
        on_deadline(self.block, due, now)
        if due:
            self._due = due

    def reopens(self, segment: Segment) -> bool:
        """Whether this SYN may start a new connection in place of this one, which is in TIME-WAIT."""
        return self.block.state == TIME_WAIT and newer_incarnation(self.block, segment)

    # The user's calls ------------------------------------------------------------------------------------------------

    def write(self, data: bytes, start: i64, more: bool = False) -> i64:
        """Queue as much of data[start:] as there is room for, by reference; returns how much.  `more` says that the
        rest follows soon (MSG_MORE)."""
        block = self.block
        if not may_queue(block):
            return 0
        size: i64 = len(data) - start
        space = block.send_space()
        if size > space:
            size = space if space > 0 else 0
            block.send_short = True
        block.more = more
        block.send_queue.append(data, start, size, block.snd_max)
        block.environment.queued += size
        return size

    def mark_urgent(self) -> None:
        """What was written last ends in urgent data (MSG_OOB; RFC 6093 says what that is worth)."""
        self.block.snd_urgent = self.block.send_queue.end

    def until_urgent(self) -> i64:
        """How many unread bytes there are before the urgent one, which may not be here yet; -1 if there is none."""
        block = self.block
        return block.rcv_urgent - block.receive_queue.start if block.rcv_urgent >= 0 else -1

    def space(self) -> i64:
        """Bytes that `write` would take; notes that the user wants to hear of more if there are none."""
        block = self.block
        if not may_queue(block):
            return 0
        space = block.send_space()
        if space > 0:
            return space
        block.send_short = True
        return 0

    def writable(self) -> bool:
        """Whether enough is free to call the connection writable; notes that the user wants to hear of it if not."""
        block = self.block
        if block.writable():
            return True
        block.send_short = True
        return False

    def readable(self) -> i64:
        """Bytes that are there to be read."""
        return self.block.receive_queue.size()

    def front(self, limit: int) -> list[Chunk]:
        """The oldest unread chunks, about `limit` bytes; they stay."""
        return self.block.receive_queue.front(limit)

    def peek(self, limit: int) -> bytes:
        """Up to `limit` unread bytes; they stay."""
        return self.block.receive_queue.peek(limit)

    def consume(self, size: i64, now: Instant) -> None:
        """Forget the oldest `size` bytes.  `transmit` afterwards may open the window."""
        consume(self.block, size, now)

    def finished_receiving(self) -> bool:
        """Whether the peer's FIN was taken, or none can come any more."""
        block = self.block
        return block.state == CLOSED or (block.rcv_fin >= 0 and block.rcv_nxt > block.rcv_fin)

    def ended_by_peer(self) -> bool:
        """Whether the peer's FIN was taken."""
        block = self.block
        return block.rcv_fin >= 0 and block.rcv_nxt > block.rcv_fin

    def finish(self, now: Instant) -> None:
        """CLOSE of our direction: the FIN follows what is queued.  Nothing happens if it was called before."""
        block = self.block
        if block.fin_queued or block.state == CLOSED:
            return
        state = block.state
        block.more = False
        if state == SYN_SENT:
            block.enter(states.CLOSE)
            block.retransmit_at = FOREVER
        elif state == SYN_RECEIVED:
            block.fin_queued = True
        elif state in (ESTABLISHED, CLOSE_WAIT):
            block.fin_queued = True
            block.enter(states.CLOSE)

    def leave(self, now: Instant) -> None:
        """The user goes away: close both directions (close(2)).

        Unread data makes that a reset, so that the peer learns that it was lost (RFC 2525 section 2.17).
        """
        block = self.block
        block.orphan = True
        if block.options.linger == 0 or block.receive_queue.size() > 0:
            if block.state != CLOSED and block.receive_queue.size() > 0:
                block.counters.aborts_on_close += 1
            self.abort(now)
            block.let_go()
            return
        if block.options.cork:
            block.options = block.options.copy()
            block.options.cork = False
        self.finish(now)
        if block.state == FIN_WAIT_2:
            wait_for_fin(block, now)

    def abort(self, now: Instant, error: int = ECONNRESET) -> None:
        """ABORT: forget everything and tell the peer by a RST, which the next `transmit` sends."""
        block = self.block
        state = block.state
        if state == CLOSED:
            return
        if state not in (SYN_SENT, TIME_WAIT):
            block.reply(abort_segment(block, now))
        close(block, error)

    # What the network says ----------------------------------------------------------------------------------------------

    def icmp(self, seq: i64, errno: int, mtu: i64, now: Instant) -> None:
        """ICMP reports that the segment at `seq` (32 bits) failed; `mtu` is the path's, less 40, for EMSGSIZE.

        Reports about what is not in flight are not believed (RFC 5927 section 4.1).  In a synchronized state an error is
        soft: it names a time-out if one follows.
        """
        block = self.block
        if not self.in_flight(seq):
            return
        if errno == EMSGSIZE:
            if mtu < block.path_mss:
                self.path_changed(mtu)
        elif block.state == SYN_SENT or (block.state == SYN_RECEIVED and not block.passive):
            close(block, errno)
        elif errno != ECONNREFUSED:
            block.soft_error = errno

    def in_flight(self, seq: i64) -> bool:
        """Whether a segment at `seq` (32 bits) has been sent and not acknowledged."""
        block = self.block
        number = unwrap(seq, block.snd_una)
        return block.state != CLOSED and block.snd_una <= number < max(block.snd_max, block.snd_una + 1)

    def path_changed(self, mss: i64) -> None:
        """The path takes segments of `mss` from now on.  What was sent larger is sent again at once (RFC 1191
        section 6.4); that is no sign of congestion."""
        block = self.block
        before = block.path_mss
        if mss == before or mss < 8:
            return
        block.path_mss = mss
        block.set_mss()
        if mss < before and block.state not in (SYN_SENT, SYN_RECEIVED) and block.snd_max > block.snd_una:
            start_over(block)
            block.resend = True

    def options_changed(self, now: Instant) -> None:
        """The user changed an option that has effect on what goes on."""
        block = self.block
        if block.options.send_buffer:
            block.send_buffer = block.options.send_buffer
        if block.options.receive_buffer:
            block.receive_buffer = block.options.receive_buffer
        if block.options.congestion and block.options.congestion != block.congestion.name:
            block.congestion = exchange(block.congestion, block.options.congestion)
        if block.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT):
            start_keepalive(block, now)
        if block.options.user_timeout != block.told_timeout and block.state == ESTABLISHED:
            block.told_timeout = block.options.user_timeout
            if block.settings.user_timeout_option:
                block.timeout_due = True
                block.acknowledge_now()
        if block.options.quickack and block.rcv_nxt != block.last_ack:
            block.acknowledge_now()
