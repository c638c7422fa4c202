"""A segment arrives: the steps of RFC 9293 section 3.10.7, in its order, with RFC 5961 and RFC 7323 in their places.

Functions over a ControlBlock, between `connection` (whose fast paths take most segments) and `send`, `receive` and
`recovery`.  LISTEN has no connection yet; that state, and segments for no connection, are `layer`'s.
"""

from typing import Final

from mypy_extensions import i64

from ....hyper.time import FOREVER, MILLISECOND, SECOND, Instant
from ....kern.abi.errno import ECONNREFUSED, ECONNRESET, EPIPE
from ...wire.segment import ACK, FIN, NO_SCALE, RST, SYN, URG, Segment
from ...wire.sequence import SEQ_MASK, seq_gt, seq_lt
from . import recovery, states
from .acknowledgement import acknowledge, update_window
from .block import DEFAULT_MSS, READABLE, URGENT, WRITABLE, ControlBlock, unwrap
from .chunks import ChunkQueue
from .ecn import MARKS, marked, negotiate
from .plpmtud import ALWAYS, begin_search
from .receive import MAX_FIELD, MAX_SCALE, note_duplicate, take_text
from .send import abort_segment, offered_scale, reset_for
from .states import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from .user_timeout import take as take_timeout

_OLD_TIMESTAMP: Final = 24 * 24 * 3600 * SECOND
"""After this long without a segment TS.Recent means nothing (RFC 7323 section 5.5)."""
_MIN_MSS: Final = 64
"""A peer that asks for smaller segments gets these (as Linux's tcp_min_snd_mss, against amplification)."""


def segment_arrives(block: ControlBlock, segment: Segment, now: Instant) -> None:
    """Process one segment in any state but LISTEN."""
    state = block.state
    if state == CLOSED:
        return
    if state == SYN_SENT:
        _in_syn_sent(block, segment, now)
        return
    seq = unwrap(segment.seq, block.rcv_nxt)
    if state == SYN_RECEIVED and segment.flags & (SYN | ACK) == SYN | ACK and seq == block.irs:
        # Simultaneous open: this is the SYN that we have, and the ACK that we wait for (RFC 9293 figure 8).  The window of
        # a SYN is not scaled; from here on it is taken for one that is.
        segment.flags &= ~SYN
        segment.seq = (segment.seq + 1) & SEQ_MASK
        segment.window >>= block.snd_scale
        seq += 1
    if not _check_timestamp(block, segment, seq, now):
        return
    if not _check_sequence(block, segment, seq, now):
        if segment.flags & (SYN | RST | ACK) == ACK and state != SYN_RECEIVED and _is_recent(block, seq):
            # Old text, but what it acknowledges may be news, and the only way for two ends that have lost track of each
            # other to catch up (BSD does so too).
            _process_ack(block, segment, seq, now)
        return
    if segment.flags & RST:
        _check_reset(block, seq, now)
        return
    if segment.flags & SYN:
        # RFC 5961 section 4: the peer may have restarted, or someone guesses.  A challenge finds out.
        challenge(block, now)
        return
    if not segment.flags & ACK:
        return
    block.probes = 0
    if segment.has_timestamp and block.timestamps:
        _remember_timestamp(block, segment, seq, now)
    if not _process_ack(block, segment, seq, now):
        return
    if segment.user_timeout >= 0:
        take_timeout(block, segment)
    if segment.flags & MARKS and block.ecn:
        marked(block, segment, now)
    if segment.flags & URG:
        _note_urgent(block, segment, seq)
    if segment.size > 0:
        _process_text(block, segment, seq, now)
    if segment.flags & FIN and block.rcv_fin < 0 and block.state != CLOSED:
        fin = seq + segment.size
        if fin <= block.rcv_edge:
            block.rcv_fin = fin
    if block.rcv_fin >= 0:
        _process_fin(block, now)


# The handshake ----------------------------------------------------------------------------------------------------


def _in_syn_sent(block: ControlBlock, segment: Segment, now: Instant) -> None:
    """RFC 9293 section 3.10.7.3."""
    flags = segment.flags
    acknowledged = False
    ack: i64 = 0
    if flags & ACK:
        ack = unwrap(segment.ack, block.snd_nxt)
        if ack <= block.iss or ack > block.snd_max:
            reset = reset_for(segment)
            if reset is not None:
                block.reply(reset)
            return
        acknowledged = True
    if flags & RST:
        if acknowledged:
            close(block, ECONNREFUSED)
        return
    if not flags & SYN:
        return
    synchronize(block, segment, now)
    if not acknowledged:
        # Simultaneous open: both SYNs are on their way, and each side answers with its own once more.
        block.enter(states.SYN)
        block.snd_nxt = block.iss
        block.snd_max = block.iss + 1
        return
    fast = block.fast
    if fast is not None:
        fast.lost = block.retries > 0
        fast.taken = ack - block.iss - 1
        fast.received = segment.fast_open or b""
    _acknowledge_syn(block, ack, now)
    # Data that went with the SYN and was not taken goes again, as if for the first time.
    block.drop_sent(ack - block.iss - 1)
    block.snd_nxt = block.snd_max = ack
    block.snd_wnd = segment.window
    block.snd_max_wnd = max(block.snd_max_wnd, block.snd_wnd)
    block.snd_wl1 = unwrap(segment.seq, block.rcv_nxt)
    block.snd_wl2 = ack
    establish(block, states.SYN_ACK, now)
    block.acks_owed = 1
    if segment.size > 0 or flags & FIN:
        segment.flags &= ~SYN
        segment.seq = (segment.seq + 1) & SEQ_MASK
        segment_arrives(block, segment, now)


def synchronize(block: ControlBlock, segment: Segment, now: Instant) -> None:
    """Take the peer's SYN: its sequence number and its options."""
    block.irs = segment.seq
    block.rcv_nxt = block.irs + 1
    # Until now the numbers began at 0: the edge is what our own SYN offered.
    block.rcv_edge += block.rcv_nxt
    block.receive_queue = ChunkQueue(block.rcv_nxt)
    block.last_ack = block.rcv_nxt
    block.snd_wnd = segment.window
    block.snd_max_wnd = segment.window
    block.snd_wl1 = block.irs
    settings = block.settings
    block.peer_mss = max(segment.mss, _MIN_MSS) if segment.mss else DEFAULT_MSS
    if segment.window_scale != NO_SCALE and settings.window_scaling:
        block.peer_scales = True
        block.snd_scale = min(segment.window_scale, MAX_SCALE)
        block.rcv_scale = offered_scale(block.options, settings)
    if segment.has_timestamp and settings.timestamps:
        block.timestamps = True
        block.ts_recent = segment.ts_value
        block.ts_recent_at = now
    negotiate(block, segment)
    if segment.sack_permitted and settings.sack:
        block.sack = True
        block.rtt.probing = settings.tail_loss_probe != 0
    take_timeout(block, segment)
    block.rcv_mss = min(block.path_mss, block.peer_mss)
    block.set_mss()
    block.last_received = now
    block.measured_at = now


def establish(block: ControlBlock, event: int, now: Instant) -> None:
    """The handshake is done."""
    block.enter(event)
    if block.fin_queued:
        # CLOSE was called in SYN-RECEIVED and waited for this.
        block.enter(states.CLOSE)
    start_keepalive(block, now)
    if block.settings.mtu_probing >= ALWAYS:
        begin_search(block)


def _acknowledge_syn(block: ControlBlock, ack: i64, now: Instant) -> None:
    block.snd_una = ack
    block.retransmit_at = FOREVER if block.snd_max == ack else now + block.rtt.timeout
    if block.timed_end >= 0:
        block.rtt.sample(now - block.timed_at)
        block.sampled_at = now
        block.timed_end = -1
    elif block.retries:
        # A lost SYN says that the path is slow or in trouble (RFC 6298 rule 5.7, RFC 5681 section 3.1).
        block.rtt.distrust()
        block.congestion.window = block.congestion.mss
    block.retries = 0
    block.small_end = ack


# Checks -----------------------------------------------------------------------------------------------------------


def _check_timestamp(block: ControlBlock, segment: Segment, seq: i64, now: Instant) -> bool:
    """PAWS (RFC 7323 section 5.3): an old timestamp means an old duplicate.  False if the segment was dropped."""
    if not block.timestamps or not segment.has_timestamp or segment.flags & RST:
        return True
    if not _is_old(block, segment, now) or _was_overtaken(block, segment, seq):
        return True
    block.counters.paws_drops += 1
    _answer_unacceptable(block, segment, now)
    return False


def _is_old(block: ControlBlock, segment: Segment, now: Instant) -> bool:
    """Whether a timestamp is from before the one that we echo."""
    return seq_lt(segment.ts_value, block.ts_recent) and now - block.ts_recent_at <= _OLD_TIMESTAMP


def _was_overtaken(block: ControlBlock, segment: Segment, seq: i64) -> bool:
    """Whether this is but an ACK that data has overtaken on its way: it repeats what we know, from within a retransmission timeout
    (for a peer whose clock has our unit), and its SACK blocks may be news.  Linux excepts it from PAWS, too (tcp_disordered_ack)."""
    if segment.span() > 0 or not segment.flags & ACK or seq != block.rcv_nxt:
        return False
    if unwrap(segment.ack, block.snd_una) != block.snd_una or segment.window << block.snd_scale != block.snd_wnd:
        return False
    age = (block.ts_recent - segment.ts_value) & SEQ_MASK
    return age * MILLISECOND * 5 <= block.rtt.timeout * 6


def _check_sequence(block: ControlBlock, segment: Segment, seq: i64, now: Instant) -> bool:
    """First: is any of the segment in the window?  (RFC 9293 section 3.4, table 6.)  False if it was dropped.

    Like Linux we also take an empty segment at the window's right edge, where the ACKs of a peer are that has filled the
    window; and with the window closed, one at its left edge whatever it carries, for its ACK (3.10.7.4).
    """
    size = segment.span()
    nxt = block.rcv_nxt
    edge = block.rcv_edge
    if size == 0:
        if nxt <= seq <= edge:
            return True
    elif seq + size > nxt and (seq < edge or seq == nxt):
        return True
    if block.state == SYN_RECEIVED and segment.flags & (SYN | RST | ACK) == SYN and seq == block.irs:
        # The peer hasn't seen our SYN-ACK.
        block.repeat_syn()
        block.timed_end = -1
        return False
    if segment.flags & RST:
        return False
    if segment.flags & SYN:
        # Wherever it points (RFC 5961 section 4.2).
        challenge(block, now)
        return False
    if block.state == TIME_WAIT and segment.flags & FIN and seq < block.rcv_nxt:
        _wait_again(block, now)
    if segment.size > 0 and seq + segment.size <= nxt and _is_recent(block, seq):
        note_duplicate(block, seq, seq + segment.size)
    _answer_unacceptable(block, segment, now)
    return False


def _is_recent(block: ControlBlock, seq: i64) -> bool:
    """Whether a number lies behind the window, and not farther than a window can be wide."""
    return block.rcv_nxt - (MAX_FIELD << block.rcv_scale) <= seq < block.rcv_nxt


def _answer_unacceptable(block: ControlBlock, segment: Segment, now: Instant) -> None:
    """Say where we are: the peer may have lost our acknowledgement, or probes (keepalive, a closed window)."""
    block.counters.duplicates += 1
    if segment.size > 0 or _may_answer(block, now):
        block.acknowledge_now()


def _may_answer(block: ControlBlock, now: Instant) -> bool:
    """So often a connection answers what it doesn't accept, data aside, lest two confused ends keep each other busy."""
    if now - block.answered_at < block.settings.answer_interval * MILLISECOND:
        return False
    block.answered_at = now
    return True


def _check_reset(block: ControlBlock, seq: i64, now: Instant) -> None:
    """Second: a RST counts only at exactly the next number; elsewhere in the window it is challenged (RFC 5961 section 3)."""
    if seq != block.rcv_nxt:
        challenge(block, now)
        return
    block.counters.resets_received += 1
    if block.state == TIME_WAIT and block.settings.rfc1337:
        # A stray RST must not end TIME-WAIT early.
        return
    refused = block.state == SYN_RECEIVED
    ended = block.state in (CLOSING, LAST_ACK, TIME_WAIT)
    if block.state == CLOSE_WAIT:
        close(block, EPIPE)  # as on Linux: the peer had said that it sends no more
    else:
        close(block, ECONNREFUSED if refused else 0 if ended else ECONNRESET)


def challenge(block: ControlBlock, now: Instant) -> None:
    """Answer with an ACK that tells a real peer where we are, and an attacker nothing (RFC 5961); so many a second."""
    if _may_answer(block, now) and block.environment.challenges.allow(block.settings.challenge_acks, now):
        block.counters.challenge_acks += 1
        block.acknowledge_now()


def _remember_timestamp(block: ControlBlock, segment: Segment, seq: i64, now: Instant) -> None:
    """TS.Recent follows the segments that cover Last.ACK.sent (RFC 7323 section 4.3), and never goes back."""
    if seq <= block.last_ack and not _is_old(block, segment, now):
        block.ts_recent = segment.ts_value
        block.ts_recent_at = now


# Acknowledgements ---------------------------------------------------------------------------------------------------


def _process_ack(block: ControlBlock, segment: Segment, seq: i64, now: Instant) -> bool:
    """Fifth: the ACK field.  False if the segment must not be looked at further."""
    ack = unwrap(segment.ack, block.snd_una)
    block.last_received = now
    if block.state == SYN_RECEIVED:
        if not block.snd_una < ack <= block.snd_max:
            reset = reset_for(segment)
            if reset is not None:
                block.reply(reset)
            return False
        _acknowledge_syn(block, block.iss + 1, now)
        block.snd_wnd = segment.window << block.snd_scale
        block.snd_max_wnd = max(block.snd_max_wnd, block.snd_wnd)
        block.snd_wl1 = seq
        block.snd_wl2 = ack
        establish(block, states.ACK_OF_SYN, now)
    if ack > block.snd_max or ack < block.snd_una - max(block.snd_max_wnd, 1):
        # RFC 5961 section 5: for what was never sent, or too old to be real.
        challenge(block, now)
        return False
    if ack < block.snd_una:
        if block.sack and segment.sack_blocks:
            recovery.acknowledged(block, segment, ack, 0, now)
        return True
    update_window(block, segment, seq, ack, now)
    if ack > block.snd_una:
        acknowledge(block, segment, ack, now)
        if block.fin_queued and ack == block.send_queue.end + 1:
            _fin_acknowledged(block, now)
    return True


def _fin_acknowledged(block: ControlBlock, now: Instant) -> None:
    state = block.state
    if state == FIN_WAIT_1:
        block.enter(states.ACK_OF_FIN)
        if block.orphan:
            wait_for_fin(block, now)
    elif state == CLOSING:
        block.enter(states.ACK_OF_FIN)
        _start_time_wait(block, now)
    elif state == LAST_ACK:
        close(block, 0)


def wait_for_fin(block: ControlBlock, now: Instant) -> None:
    """FIN-WAIT-2 without a user: the peer gets so long to end its direction."""
    block.events |= WRITABLE  # a close that lingers waits for this
    timeout = block.options.fin_timeout
    if timeout < 0:
        close(block, 0)
        return
    block.linger_at = now + (timeout or block.settings.fin_timeout) * MILLISECOND


# Text and FIN -------------------------------------------------------------------------------------------------------


def _note_urgent(block: ControlBlock, segment: Segment, seq: i64) -> None:
    """Sixth: the urgent pointer names the byte before it (RFC 6093 has it point behind, as everybody does)."""
    urgent = seq + segment.urgent - 1
    if urgent >= block.rcv_nxt and urgent > block.rcv_urgent:
        block.rcv_urgent = urgent
        block.events |= URGENT


def _process_text(block: ControlBlock, segment: Segment, seq: i64, now: Instant) -> None:
    """Seventh: the text."""
    state = block.state
    if state not in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
        return
    unwanted = block.orphan or (block.deaf and state != ESTABLISHED)
    if unwanted and seq + segment.size > block.rcv_nxt:
        # Nobody will ever read it: tell the peer (RFC 1122 4.2.2.13, RFC 2525 section 2.17).
        block.counters.aborts_on_data += 1
        block.reply(abort_segment(block, now))
        close(block, ECONNRESET)
        return
    take_text(block, segment, seq, now)


def _process_fin(block: ControlBlock, now: Instant) -> None:
    """Eighth: the FIN, once everything before it is here."""
    state = block.state
    if state not in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
        return
    if block.rcv_nxt != block.rcv_fin:
        block.acknowledge_now()
        return
    block.rcv_nxt += 1
    block.rcv_edge = max(block.rcv_edge, block.rcv_nxt)
    block.acknowledge_now()
    block.events |= READABLE
    block.enter(states.FIN)
    if state == FIN_WAIT_2:
        _start_time_wait(block, now)


def _start_time_wait(block: ControlBlock, now: Instant) -> None:
    block.retransmit_at = block.keepalive_at = FOREVER
    _wait_again(block, now)


def _wait_again(block: ControlBlock, now: Instant) -> None:
    block.linger_at = now + block.settings.time_wait * MILLISECOND


def start_keepalive(block: ControlBlock, now: Instant) -> None:
    """Arm or disarm the keepalive timer as the options say."""
    options = block.options
    if options.keepalive:
        block.keepalive_at = now + (options.keepalive_time or block.settings.keepalive_time) * MILLISECOND
    else:
        block.keepalive_at = FOREVER


def close(block: ControlBlock, error: int) -> None:
    """The connection is over: enter CLOSED by the arrow that fits, and let go of all but what can still be read."""
    block.error = error
    if block.state in (SYN_SENT, SYN_RECEIVED):
        block.counters.failed_attempts += 1
    elif block.state in (ESTABLISHED, CLOSE_WAIT):
        block.counters.established_resets += 1
    if block.state == LAST_ACK and error == 0 and block.snd_una == block.send_queue.end + 1:
        block.enter(states.ACK_OF_FIN)
    elif block.state in (TIME_WAIT, FIN_WAIT_2) and error == 0:
        block.enter(states.TIMEOUT)
    else:
        block.enter(states.RESET)
    block.drop_sent(block.send_queue.size())
    block.scoreboard = None
    block.episode = None
    block.disorder = block.resend = False
    block.environment.held -= block.reassembly.bytes
    block.reassembly.clear()
    block.fin_queued = False
    block.retransmit_at = block.wake_at = block.ack_at = block.keepalive_at = block.linger_at = FOREVER


def newer_incarnation(block: ControlBlock, segment: Segment) -> bool:
    """Whether a SYN may open a new connection over this one in TIME-WAIT (RFC 9293 3.10.7.4, RFC 6191 section 2)."""
    offered = block.settings.timestamps != 0
    return may_reopen(segment, block.timestamps, block.ts_recent, block.rcv_nxt, offered)


def may_reopen(segment: Segment, timestamps: bool, ts_recent: i64, rcv_nxt: i64, offered: bool) -> bool:
    """The same for any remains of a connection: it had `timestamps`, the last being `ts_recent`; `offered` says that a new
    connection would have them."""
    if segment.flags & (SYN | ACK | RST) != SYN:
        return False
    newer = seq_gt(segment.seq, rcv_nxt & SEQ_MASK)
    if not segment.has_timestamp or not offered:
        return newer
    if not timestamps:
        return True
    return newer if segment.ts_value == ts_recent else seq_gt(segment.ts_value, ts_recent)
