"""Loss recovery before the timer: fast retransmit and fast recovery, NewReno (RFC 5681 section 3.2, RFC 6582).

Functions over a ControlBlock, called by `arrival` and `timeouts`.  They set `resend` where a segment has to go again,
and move the congestion window by the rules; `send` does the rest.
"""

from typing import Final

from mypy_extensions import i64

from ....hyper.time import Instant
from .block import ControlBlock

THRESHOLD: Final = 3
"""Duplicate acknowledgements that mean a loss."""


def duplicate(block: ControlBlock, now: Instant) -> None:
    """The peer acknowledged the same again: a segment has left the network, and one before it hasn't arrived."""
    block.duplicate_acks += 1
    congestion = block.congestion
    if block.recovering:
        congestion.window += congestion.mss
    elif block.duplicate_acks == THRESHOLD and block.snd_una > block.recover:
        block.counters.fast_retransmits += 1
        congestion.lost(block.flight(), now)
        congestion.window = congestion.threshold + THRESHOLD * congestion.mss
        block.recovering = True
        block.recover = block.snd_max
        block.resend = True


def allowance(block: ControlBlock) -> i64:
    """What limited transmit adds to the window: a new segment for each of the first duplicates (RFC 3042)."""
    if 0 < block.duplicate_acks < THRESHOLD and not block.recovering:
        return block.duplicate_acks * block.snd_mss
    return 0


def advanced(block: ControlBlock, size: i64, flight: i64, now: Instant) -> None:
    """`size` bytes were newly acknowledged, of which there were `flight` before."""
    congestion = block.congestion
    if not block.recovering:
        block.duplicate_acks = 0
        if flight * 2 >= congestion.window:
            congestion.acknowledged(size, block.rtt.smoothed, now)
        return
    if block.snd_una >= block.recover:
        block.recovering = False
        block.duplicate_acks = 0
        congestion.recovered(block.flight(), now)
        return
    # A partial acknowledgement: what follows it is lost too (RFC 6582 section 3.2 step 3, "slow but steady").
    block.resend = True
    congestion.window = max(congestion.window - size, congestion.mss)
    if size >= congestion.mss:
        congestion.window += congestion.mss


def timed_out(block: ControlBlock, now: Instant) -> None:
    """The retransmission timer went off: all that was sent counts as lost, and slow start begins."""
    block.congestion.timed_out(block.flight(), block.retries == 1, now)
    block.recover = block.snd_max
    block.recovering = False
    block.duplicate_acks = 0
