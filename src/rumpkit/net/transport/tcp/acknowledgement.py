"""What an acknowledgement does: the peer's window, data that is done with, the round trip, the congestion window, the timer.

Functions over a ControlBlock, above `recovery`; below `arrival`, which has checked that the number can be right, and the
fast paths of `connection`.
"""

from mypy_extensions import i64

from ....hyper.time import FOREVER, Instant
from ...wire.segment import Segment
from . import recovery
from .block import WRITABLE, ControlBlock
from .plpmtud import arrived


def update_window(block: ControlBlock, segment: Segment, seq: i64, ack: i64, now: Instant) -> None:
    """Take the peer's window from the newest segment, and notice duplicate acknowledgements (RFC 5681 section 2)."""
    window = segment.window << block.snd_scale
    unchanged = window == block.snd_wnd
    if block.snd_wl1 < seq or (block.snd_wl1 == seq and block.snd_wl2 <= ack):
        block.snd_wnd = window
        block.snd_wl1 = seq
        block.snd_wl2 = ack
        if window > block.snd_max_wnd:
            block.snd_max_wnd = window
        if block.persisting and not unchanged:
            # The window may have opened: `send` finds out, and starts the timer anew if it hasn't.
            block.persisting = False
            block.retransmit_at = FOREVER
            block.rtt.restore()
            if block.snd_max > ack and window > 0:
                # It was closed over data in flight, which the peer may have dropped (RFC 9293 3.8.6).
                recovery.start_over(block)
                block.resend = True
    if ack == block.snd_una:
        if block.sack:
            if segment.sack_blocks or (block.disorder and segment.span() == 0):
                recovery.acknowledged(block, segment, ack, 0, now)
        elif unchanged and block.snd_max > ack and segment.span() == 0 and window > 0:
            recovery.duplicate(block, now)


def acknowledge(block: ControlBlock, segment: Segment, ack: i64, now: Instant) -> None:
    """`ack` covers something new: drop it, measure the round trip, grow the window, restart the timer."""
    size = ack - block.snd_una
    block.snd_una = ack
    if block.snd_nxt < ack:
        block.snd_nxt = ack
    queue = block.send_queue
    block.drop_sent(min(ack, queue.end) - queue.start)
    if ack >= block.snd_urgent:
        block.snd_urgent = -1
    block.retries = 0
    block.soft_error = 0
    block.unacked_since = now
    block.shut_since = FOREVER
    if block.disorder or segment.sack_blocks:
        recovery.acknowledged(block, segment, ack, size, now)
        block.probing = not block.disorder
    else:
        _in_order(block, ack, size, now)
    if block.search is not None:
        arrived(block, block.search, ack)
    if ack == block.snd_max:
        block.retransmit_at = FOREVER
    elif block.disorder:
        block.retransmit_at = now + block.rtt.timeout
    else:
        block.retransmit_at = now + block.rtt.patience
    if block.send_short and block.writable():
        block.send_short = False
        block.events |= WRITABLE
    _grow_send_buffer(block)


def _in_order(block: ControlBlock, ack: i64, size: i64, now: Instant) -> None:
    """The usual case: nothing was lost lately, and nothing looks like it."""
    board = block.scoreboard
    if board is None:
        return
    board.acknowledge(ack, now, now)
    rtt = block.rtt
    if board.oldest_at >= 0 and now - block.sampled_at >= rtt.smoothed:
        block.sampled_at = now
        rtt.sample(now - board.oldest_at)
    elif 0 < board.sample < rtt.minimum:
        rtt.minimum = board.sample
    congestion = block.congestion
    flight = block.snd_max - ack + size
    if flight * 2 >= congestion.window:
        congestion.acknowledged(size, flight, board.sample, rtt.smoothed, now)


def _grow_send_buffer(block: ControlBlock) -> None:
    """A user that keeps the buffer full may queue twice what the congestion window lets out."""
    if not block.send_short or block.options.send_buffer:
        return
    wanted = 2 * block.congestion.window
    limit: i64 = block.settings.send_buffer_max
    if wanted > limit:
        wanted = limit
    if wanted > block.send_buffer:
        block.send_buffer = wanted
        if block.writable():
            block.send_short = False
            block.events |= WRITABLE
