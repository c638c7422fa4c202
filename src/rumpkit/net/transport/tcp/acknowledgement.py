"""What an acknowledgement does: the peer's window, data that is done with, the round trip, the congestion window, the timer.

Functions over a ControlBlock, above `recovery`; below `arrival`, which has checked that the number can be right, and the
fast paths of `connection`.
"""

from mypy_extensions import i64

from ....hyper.time import FOREVER, MILLISECOND, Instant
from ...wire.segment import Segment
from ...wire.sequence import SEQ_MASK, seq_lt
from .block import WRITABLE, ControlBlock
from .recovery import advanced, duplicate


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
    if unchanged and ack == block.snd_una and block.snd_max > ack and segment.span() == 0:
        duplicate(block, now)


def acknowledge(block: ControlBlock, segment: Segment, ack: i64, now: Instant) -> None:
    """`ack` covers something new: drop it, measure the round trip, grow the window, restart the timer."""
    size = ack - block.snd_una
    flight = block.snd_max - block.snd_una
    block.snd_una = ack
    if block.snd_nxt < ack:
        block.snd_nxt = ack
    queue = block.send_queue
    queue.drop(min(ack, queue.end) - queue.start)
    if 0 <= block.timed_end <= ack:
        block.rtt.sample(now - block.timed_at)
        block.timed_end = -1
    elif block.rtt.backoffs and block.timestamps and segment.has_timestamp:
        _sample_echo(block, segment, now)
    if ack >= block.snd_urgent:
        block.snd_urgent = -1
    block.retries = 0
    block.soft_error = 0
    block.unacked_since = now
    advanced(block, size, flight, now)
    block.retransmit_at = FOREVER if ack == block.snd_max else now + block.rtt.timeout
    if block.send_short and block.writable():
        block.send_short = False
        block.events |= WRITABLE
    _grow_send_buffer(block)


def _sample_echo(block: ControlBlock, segment: Segment, now: Instant) -> None:
    """Measure by the echoed timestamp, whose unit is a millisecond (RFC 7323 section 4): Karn's rule leaves nothing else
    while segments are sent again and again.

    An echo from before the last retransmission belongs to another copy: a receiver that had the segment already repeats what
    it echoed long ago.
    """
    if seq_lt(segment.ts_echo, block.resent_at):
        return
    age: int = (block.clock(now) - segment.ts_echo) & SEQ_MASK
    block.rtt.sample(age * MILLISECOND)


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
