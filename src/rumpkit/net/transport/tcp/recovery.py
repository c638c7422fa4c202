"""Loss recovery: what an acknowledgement says while something is or may be lost, and what follows from it.

Functions over a ControlBlock, called by `acknowledgement` and `timeouts`.  They mark what is lost on the scoreboard and move
the congestion window; `send` sends again what is marked, as the window allows.

With SACK losses are found by time (`rack`), without it by three duplicate acknowledgements (RFC 5681, RFC 6582).  In fast recovery
either way the window comes down in proportion (RFC 6937).
"""

from typing import Final

from mypy_extensions import i64

from ....hyper.time import FOREVER, MILLISECOND, Instant
from ...wire.segment import Segment
from ...wire.sequence import SEQ_MASK, seq_lt
from . import rack
from .block import ControlBlock
from .episode import FAST, OPEN, REDUCING, TIMEOUT, Episode
from .plpmtud import forgives, interrupted
from .scoreboard import Scoreboard

_BURST: Final = 10
"""Segments that may go at once in recovery beside what was delivered, as when a connection starts (RFC 6928)."""
THRESHOLD: Final = 3
"""Duplicate acknowledgements that mean a loss, without SACK."""


def trouble(block: ControlBlock) -> Episode:
    """The episode of a connection in which something has gone wrong."""
    episode = block.episode
    if episode is None:
        episode = block.episode = Episode()
    block.disorder = True
    return episode


def duplicate(block: ControlBlock, now: Instant) -> None:
    """Without SACK: the peer acknowledged the same again.  A segment has left the network, and one before it hasn't arrived."""
    board = block.scoreboard
    if board is None or block.sack:
        return
    episode = trouble(block)
    if episode.forward and _move_forward(block, board, episode, 0):
        return
    block.duplicate_acks += 1
    mss = block.snd_mss
    pipe = block.flight() - board.missing()
    if pipe > mss:
        board.departed += min(mss, pipe - mss)
    if block.duplicate_acks == THRESHOLD and episode.phase <= REDUCING and block.snd_una > block.recover:
        search = block.search
        probing = search is not None and search.probe_end >= 0 and search.probe_start == block.snd_una
        board.lose_front(search.probe_end - search.probe_start if search is not None and probing else mss)
        if not forgives(block, board):
            _enter(block, episode, now)
    if episode.phase == FAST:
        _reduce(block, board, episode, mss, False)


def acknowledged(block: ControlBlock, segment: Segment, ack: i64, size: i64, now: Instant) -> None:
    """The long way: an acknowledgement of `size` new bytes up to `ack`, which is SND.UNA now; or of none, but with SACK blocks."""
    board = block.scoreboard
    if board is None:
        return
    episode = trouble(block)
    limit = rack.horizon(block, segment, now)
    board.begin()
    before = board.sacked
    flight = block.flight() + size
    if size > 0:
        board.acknowledge(ack, now, limit)
    reported: i64 = 0
    if block.sack and segment.sack_blocks:
        reported = rack.take_blocks(block, board, segment, now, limit)
    delivered = size + board.sacked - before
    _measure(block, board, segment, now)
    if block.sack:
        rack.note_duplicates(block, episode, reported > 0)
        if reported:
            block.counters.duplicate_reports += 1
            if episode.undo_bytes > 0:
                board.reordered = True  # what we sent again was late, not lost
            episode.undo_bytes -= reported
        if episode.probe_end >= 0 and rack.probed(episode, segment, ack, size > 0, reported > 0):
            _probe_repaired(block, episode, now)
    elif size > 0:
        delivered = _without_sack(block, board, episode, size)
    if episode.forward and _move_forward(block, board, episode, size):
        settle(block, board, episode)
        return
    if _spurious(block, episode, segment, size, reported):
        _undo(block, board, episode)
    over = episode.phase != OPEN and block.snd_una >= block.recover
    if over:
        _leave(block, board, episode, now)
        size = 0  # the window is settled: this acknowledgement does not open it further
    lost = False
    if block.sack:
        lost = rack.detect(block, board, episode, now)
    elif size > 0 and episode.phase == FAST:
        # A partial acknowledgement: what follows it is lost too (RFC 6582 section 3.2 step 3).
        lost = block.resend = board.lose_front(block.snd_mss)
    # What was lost in one episode and sent after its beginning is the next one's; what `start_over` marks is nobody's fault.
    if (lost or (over and board.lost)) and episode.phase <= REDUCING and not forgives(block, board):
        _enter(block, episode, now)
    _move_window(block, board, episode, size, delivered, flight, lost, now)
    settle(block, board, episode)


def look_again(block: ControlBlock, now: Instant) -> None:
    """The reordering window of something has passed without a word of it."""
    block.wake_at = FOREVER
    board = block.scoreboard
    episode = block.episode
    if board is None or episode is None or not block.disorder or not block.sack:
        return
    lost = rack.detect(block, board, episode, now)
    if lost and episode.phase <= REDUCING and not forgives(block, board):
        _enter(block, episode, now)
    if episode.phase == FAST:
        _reduce(block, board, episode, 0, False)


def timed_out(block: ControlBlock, now: Instant) -> None:
    """The retransmission timer went off: (nearly) all that was sent counts as lost, and slow start begins."""
    board = block.scoreboard
    episode = trouble(block)
    congestion = block.congestion
    interrupted(block)
    # Timestamps tell at once whether a timeout was spurious (`_spurious`); without them two acknowledgements do.
    episode.forward = 2 if episode.phase <= REDUCING and not block.timestamps else 0
    episode.forward_at = now
    if episode.phase != TIMEOUT or block.snd_una >= block.recover:
        if episode.phase != FAST:
            _remember(block, episode)
        congestion.timed_out(block.flight(), True, now)
    else:
        congestion.timed_out(block.flight(), False, now)
    episode.phase = TIMEOUT
    episode.probe_end = -1
    block.recover = block.snd_max
    block.duplicate_acks = 0
    block.wake_at = FOREVER
    if board is None:
        return
    board.departed = 0
    if not block.sack:
        board.lose_all(FOREVER)
    elif board.reneged(block.snd_una):
        block.counters.reneges += 1
        board.forget_sacks()
        board.lose_all(FOREVER)
    else:
        # What was sent a moment ago may still arrive (RFC 8985 section 6.3).
        newest = board.rtt or block.rtt.smoothed
        board.lose_all(now - newest - rack.reordering_window(block, board, episode))


def congested(block: ControlBlock, now: Instant) -> None:
    """The network marked what we sent instead of dropping it: the window comes down as for a loss, once a window (RFC 3168
    section 6.1.2)."""
    board = block.scoreboard
    if board is None or block.snd_una == block.snd_max:
        return
    episode = trouble(block)
    if episode.phase == OPEN:
        block.counters.ecn_reductions += 1
        _begin_reduction(block, episode, now)
        episode.prior_window = 0
        episode.phase = REDUCING
        block.recover = block.snd_max
        block.cwr_due = True


def start_over(block: ControlBlock) -> None:
    """All that is in flight goes again, for no fault of the network's (a smaller MTU, a window that was taken back)."""
    board = block.scoreboard
    if board is None or block.snd_una == block.snd_max:
        return
    trouble(block)
    board.departed = 0
    board.lose_all(FOREVER)


def settle(block: ControlBlock, board: Scoreboard, episode: Episode) -> None:
    """Find out whether the short way will do from now on."""
    block.disorder = episode.phase != OPEN or board.missing() > 0 or episode.probe_end >= 0 or block.duplicate_acks > 0
    if not block.disorder:
        block.wake_at = FOREVER


# Inside -----------------------------------------------------------------------------------------------------------------


def _measure(block: ControlBlock, board: Scoreboard, segment: Segment, now: Instant) -> None:
    """Take the round trip, where it can be told."""
    rtt = block.rtt
    if 0 < board.sample < rtt.minimum:
        rtt.minimum = board.sample
    if board.oldest_at >= 0:
        if now - block.sampled_at >= rtt.smoothed:
            block.sampled_at = now
            rtt.sample(now - board.oldest_at)
        elif rtt.backoffs:
            rtt.restore()
    elif rtt.backoffs and block.timestamps and segment.has_timestamp and board.repaired:
        sample_echo(block, segment, now)


def sample_echo(block: ControlBlock, segment: Segment, now: Instant) -> None:
    """Measure by the echoed timestamp, whose unit is a millisecond (RFC 7323 section 4): Karn's rule leaves nothing else
    while segments are sent again and again.

    An echo from before the last retransmission belongs to another copy: a receiver that had the segment already repeats what
    it echoed long ago.
    """
    if seq_lt(segment.ts_echo, block.resent_at):
        return
    age: int = (block.clock(now) - segment.ts_echo) & SEQ_MASK
    block.rtt.sample(age * MILLISECOND)


def _without_sack(block: ControlBlock, board: Scoreboard, episode: Episode, size: i64) -> i64:
    """News without SACK: how much of it is, beside what duplicates have announced (as Linux's tcp_remove_reno_sacks)."""
    known = board.departed
    if episode.phase != FAST:
        board.departed = 0
        block.duplicate_acks = 0
    else:
        gone = min(known, max(size - block.snd_mss, 0))
        board.departed = min(known - gone, max(block.flight() - board.lost - block.snd_mss, 0))
        known = gone
    return max(size - known, block.snd_mss)


def _enter(block: ControlBlock, episode: Episode, now: Instant) -> None:
    """A loss: fast recovery begins, and what is lost goes again."""
    block.counters.fast_retransmits += 1
    if episode.phase == OPEN:
        _remember(block, episode)
        _begin_reduction(block, episode, now)
    episode.phase = FAST
    block.recover = block.snd_max
    block.resend = True


def _begin_reduction(block: ControlBlock, episode: Episode, now: Instant) -> None:
    flight = block.flight()
    block.congestion.lost(flight, now)
    episode.flight = max(flight, block.snd_mss)
    episode.delivered = 0
    episode.out = 0


def _remember(block: ControlBlock, episode: Episode) -> None:
    """Keep what `_undo` needs."""
    episode.prior_window = block.congestion.window
    episode.prior_threshold = block.congestion.threshold
    board = block.scoreboard
    if board is None or not board.resent():
        # Else an answer to an earlier retransmission would look too old to be one to the next.
        episode.undo_clock = -1
    episode.undo_bytes = 0


def _leave(block: ControlBlock, board: Scoreboard, episode: Episode, now: Instant) -> None:
    """All that was in flight when the episode began is acknowledged."""
    congestion = block.congestion
    if episode.phase == REDUCING:
        congestion.window = congestion.threshold
    elif episode.phase == FAST:
        # What was held back by the hole must not go as one burst now: slow start takes the window to ssthresh.
        flight = block.flight() - board.missing()
        congestion.recovered(max(flight, _BURST * block.snd_mss) if block.sack else flight, now)
    if episode.phase != REDUCING:
        rack.recovered(episode)
    episode.phase = OPEN
    board.departed = 0
    block.duplicate_acks = 0


def _move_window(
    block: ControlBlock,
    board: Scoreboard,
    episode: Episode,
    size: i64,
    delivered: i64,
    flight: i64,
    lost: bool,
    now: Instant,
) -> None:
    if episode.phase == FAST or episode.phase == REDUCING:
        _reduce(block, board, episode, delivered, size > 0 and not lost)
    elif size > 0 and flight * 2 >= block.congestion.window:
        block.congestion.acknowledged(size, flight, board.sample, block.rtt.smoothed, now)


def _reduce(block: ControlBlock, board: Scoreboard, episode: Episode, delivered: i64, safe: bool) -> None:
    """Proportional rate reduction (RFC 6937 section 3, as its successor RFC 9937 and Linux have it): so much may be sent for
    what was delivered that the window is at ssthresh when recovery ends, without a pause or a burst."""
    congestion = block.congestion
    mss = block.snd_mss
    threshold = congestion.threshold
    pipe = block.flight() - board.missing()
    episode.delivered += delivered
    if pipe > threshold:
        allowed = (episode.delivered * threshold + episode.flight - 1) // episode.flight - episode.out
    else:
        # Credit that could not be used, for want of data or of the peer's window, must not go as one burst when it can.
        allowed = max(min(episode.delivered - episode.out, delivered + _BURST * mss), delivered)
        if safe:
            allowed += mss
        allowed = min(allowed, threshold - pipe)
    # The retransmission that begins it all goes in any case.
    allowed = max(allowed, 0 if episode.out else mss)
    congestion.window = max(pipe + allowed, mss)


def _probe_repaired(block: ControlBlock, episode: Episode, now: Instant) -> None:
    """The tail loss probe has repaired a single loss: the network was congested all the same (RFC 8985 section 7.4.2)."""
    block.counters.probes_repaired += 1
    if episode.phase == OPEN:
        block.congestion.lost(block.flight(), now)
        block.congestion.window = min(block.congestion.window, block.congestion.threshold)


def _spurious(block: ControlBlock, episode: Episode, segment: Segment, size: i64, reported: i64) -> bool:
    """Whether what was sent again had arrived all along: the acknowledgement is older than the retransmission (the Eifel
    algorithm, RFC 3522), or every retransmission was reported as a duplicate (RFC 3708)."""
    if episode.prior_window == 0 or episode.undo_clock < 0:
        return False
    if size > 0 and episode.phase >= FAST and block.timestamps and segment.has_timestamp:
        if seq_lt(segment.ts_echo, episode.undo_clock):
            return True
    return reported > 0 and episode.undo_bytes <= 0


def _move_forward(block: ControlBlock, board: Scoreboard, episode: Episode, size: i64) -> bool:
    """F-RTO (RFC 5682 section 2.1): after a timeout and one retransmission, new data tells whether the rest had arrived all along.
    True if nothing else is to be made of this acknowledgement of `size` new bytes."""
    step = episode.forward
    episode.forward = 0
    if block.snd_una >= block.recover:
        return False
    congestion = block.congestion
    if step == 2:
        room = min(block.send_queue.end, block.snd_una + block.snd_wnd) - block.snd_max
        if size == 0 or room <= 0:
            return False
        # Two new segments instead of what comes next: what they bring back decides.
        episode.forward = 3
        board.find_all()
        congestion.window = block.flight() - board.missing() + 2 * block.snd_mss
        return True
    if size > 0:
        # What was never sent again is acknowledged: it was under way, and the timer was too short.
        _undo(block, board, episode)
        return False
    board.lose_all(episode.forward_at)
    congestion.window = 3 * block.snd_mss
    return False


def _undo(block: ControlBlock, board: Scoreboard, episode: Episode) -> None:
    """As if nothing had happened (RFC 4015)."""
    congestion = block.congestion
    block.counters.spurious_recoveries += 1
    congestion.undo(episode.prior_window, episode.prior_threshold)
    episode.prior_window = 0
    episode.phase = OPEN
    board.find_all()
    board.departed = 0
    block.resend = False
    block.duplicate_acks = 0
    block.retries = 0
    block.rtt.restore()
