"""RACK-TLP (RFC 8985): what is lost, judged by time, and the probe that finds out about the last of it.

Functions over a ControlBlock with a scoreboard and an episode, below `recovery`.  Only connections with SACK get here.
"""

from typing import Final

from mypy_extensions import i64

from ....hyper.time import MILLISECOND, Instant
from ...wire.segment import Segment
from ...wire.sequence import SEQ_MASK
from .block import ControlBlock, unwrap
from .episode import FAST, OPEN, TIMEOUT, Episode
from .scoreboard import Scoreboard

_DUPLICATES: Final = 3
"""DupThresh: so many segments acknowledged selectively make waiting for reordered ones unlikely to be worthwhile."""
_PERSIST: Final = 16
"""Recoveries for which a widened reordering window lasts."""
_MAX_MULTIPLIER: Final = 255


def horizon(block: ControlBlock, segment: Segment, now: Instant) -> i64:
    """What was sent again after this can't be what an acknowledgement is of (RFC 8985 section 6.2 step 2): less than the least round
    trip has passed, or the echoed timestamp is older."""
    last: i64 = now - block.rtt.minimum
    if block.timestamps and segment.has_timestamp:
        age = (block.clock(now) - segment.ts_echo) & SEQ_MASK
        echoed = (now // MILLISECOND - age + 1) * MILLISECOND - 1
        if age < 1 << 31 and echoed < last:
            last = echoed
    return last


def take_blocks(block: ControlBlock, board: Scoreboard, segment: Segment, now: Instant, limit: i64) -> i64:
    """Note the SACK blocks of a segment; returns how many bytes the first one reports as duplicates (RFC 2883), or 0."""
    duplicate: i64 = 0
    una = block.snd_una
    first = True
    containing: i64 = 0
    for left32, right32 in segment.sack_blocks:
        left = unwrap(left32, una)
        right = unwrap(right32, una)
        if left >= right or right > block.snd_max:
            first = False
            continue  # nonsense, or about what was never sent
        if first:
            first = False
            if right <= una:
                if left >= una - max(block.snd_max_wnd, 1):
                    duplicate = right - left
                continue
            if len(segment.sack_blocks) > 1:
                left32, right32 = segment.sack_blocks[1]
                containing = unwrap(left32, una)
                if containing <= left and right <= unwrap(right32, una) and containing < right:
                    duplicate = right - left
                    continue
        if right <= una:
            continue
        board.sack(left if left > una else una, right, now, limit)
    return duplicate


def reordering_window(block: ControlBlock, board: Scoreboard, episode: Episode) -> i64:
    """RACK_update_reo_wnd (RFC 8985 section 6.2 step 4), but for what `note_duplicates` and `recovered` do."""
    if not board.reordered and (
        episode.phase == FAST or episode.phase == TIMEOUT or board.sacked >= _DUPLICATES * block.snd_mss
    ):
        return 0
    window: i64 = episode.reorder_multiplier * block.rtt.minimum // 4
    smoothed: i64 = block.rtt.smoothed
    return min(window, smoothed)


def note_duplicates(block: ControlBlock, episode: Episode, duplicate: bool) -> None:
    """D-SACK says that what we took for lost was only late: give it more time, for each round that sees one."""
    if 0 <= episode.duplicate_round <= block.snd_una:
        episode.duplicate_round = -1
    if duplicate and episode.duplicate_round < 0:
        episode.duplicate_round = block.snd_max
        if episode.reorder_multiplier < _MAX_MULTIPLIER:
            episode.reorder_multiplier += 1
        episode.reorder_persist = _PERSIST


def recovered(episode: Episode) -> None:
    """A recovery has ended: after sixteen without D-SACK the window is back to its least."""
    episode.reorder_persist -= 1
    if episode.reorder_persist <= 0:
        episode.reorder_multiplier = 1


def detect(block: ControlBlock, board: Scoreboard, episode: Episode, now: Instant) -> bool:
    """Mark what is lost; True if something is that wasn't.  Sets `wake_at` for what may be lost soon."""
    if board.newest_end < 0:
        return False
    before = board.lost
    window = reordering_window(block, board, episode)
    due = board.detect(now, window)
    if due < block.wake_at or block.wake_at <= now:
        block.wake_at = due
    return board.lost > before


# The tail loss probe ----------------------------------------------------------------------------------------------------


def may_probe(block: ControlBlock, episode: Episode | None) -> bool:
    """Whether the timer that went off may send a probe instead of taking everything for lost (RFC 8985 section 7.2)."""
    if not block.rtt.probing or block.snd_una == block.snd_max or block.snd_wnd == 0:
        return False
    board = block.scoreboard
    if board is None or board.missing() or block.retries:
        return False
    return episode is None or (episode.phase == OPEN and episode.probe_end < 0)


def probed(episode: Episode, segment: Segment, ack: i64, news: bool, duplicate: bool) -> bool:
    """An acknowledgement has come while a probe is out (RFC 8985 section 7.4).  True if the probe has repaired a loss, which then
    counts as one."""
    if ack < episode.probe_end:
        return False
    if not episode.probe_resent or duplicate:
        # New data needs no proof; a duplicate says that nothing had been lost.
        episode.probe_end = -1
    elif ack > episode.probe_end:
        episode.probe_end = -1
        return True
    elif segment.span() == 0 and len(segment.sack_blocks) == 0 and not news:
        # A plain duplicate acknowledgement: both copies arrived.
        episode.probe_end = -1
    return False
