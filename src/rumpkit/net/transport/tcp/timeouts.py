"""What is due: retransmission, window probes, delayed acknowledgements, keepalive and the end of waiting.

Functions over a ControlBlock, beside `arrival`.  The deadlines are plain attributes of the block; moving one costs a store.
"""

from typing import Final

from ....hyper.time import FOREVER, MILLISECOND, Instant
from ....kern.abi.errno import ETIMEDOUT
from ...wire.segment import Segment
from . import rack
from .arrival import close
from .block import ControlBlock
from .plpmtud import black_hole
from .recovery import look_again, timed_out, trouble
from .send import abort_segment, force_tail, send_probe
from .states import FIN_WAIT_2, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from .user_timeout import user_timeout, within_patience

_R1: Final = 3
"""After so many retransmissions of a segment IP is told to doubt the way (R1 of RFC 9293 section 3.8.3)."""


def next_deadline(block: ControlBlock) -> Instant:
    """When `on_deadline` is wanted next."""
    return min(min(block.retransmit_at, block.ack_at), min(min(block.keepalive_at, block.linger_at), block.wake_at))


def on_deadline(block: ControlBlock, out: list[Segment], now: Instant) -> None:
    """Do what is due at `now`.  `send.transmit` sends what comes of it, but for a forced tail, which goes to `out`."""
    if block.ack_at <= now:
        block.ack_at = FOREVER
        block.acknowledge_now()
        block.counters.delayed_acks += 1
    if block.wake_at <= now:
        look_again(block, now)
    if block.retransmit_at <= now:
        if block.persisting:
            _persist(block, out, now)
        elif not _probe_tail(block, out, now):
            _retransmit(block, out, now)
    if block.keepalive_at <= now:
        _keep_alive(block, now)
    if block.linger_at <= now and block.state in (TIME_WAIT, FIN_WAIT_2):
        close(block, 0)


def _probe_tail(block: ControlBlock, out: list[Segment], now: Instant) -> bool:
    """Nothing was heard for two round trips: send a tail loss probe (RFC 8985 section 7).  False if the time for that is over."""
    if not block.probing:
        return False
    block.probing = False
    rtt = block.rtt
    if not rack.may_probe(block, block.episode):
        # Something else has happened meanwhile: the retransmission timeout it is.
        block.retransmit_at += rtt.timeout - rtt.patience
        return block.retransmit_at > now
    if block.flight() <= block.snd_mss and rtt.patience < rtt.timeout:
        # The peer may be delaying its acknowledgement of a single segment.
        block.probing = True
        block.retransmit_at += rtt.timeout - rtt.patience
        rtt.patience = rtt.timeout
        return True
    send_probe(block, trouble(block), out, now)
    block.retransmit_at = now + rtt.timeout
    return True


def _retransmit(block: ControlBlock, out: list[Segment], now: Instant) -> None:
    """The first unacknowledged segment got no answer in time (RFC 6298 section 5)."""
    block.counters.timeouts += 1
    block.retries += 1
    if _out_of_patience(block, block.retries > _retry_limit(block), block.unacked_since, now):
        return
    if block.retries == _R1:
        block.doubtful = True
    if block.state in (SYN_SENT, SYN_RECEIVED):
        block.timed_end = -1
        block.rtt.backoff()
        block.counters.retransmits += 1
        block.repeat_syn()
        return
    if block.snd_wnd == 0:
        # A window that was closed over data in flight is probed like any other (RFC 9293 3.8.6).
        block.retries = 0
        block.persisting = True
        _persist(block, out, now)
        return
    timed_out(block, now)
    black_hole(block, now)
    block.rtt.backoff()
    block.retransmit_at = within_patience(block, now + block.rtt.timeout, block.unacked_since)
    block.resend = True


def _retry_limit(block: ControlBlock) -> int:
    """R2 of RFC 9293 section 3.8.3, as a count."""
    settings = block.settings
    if block.state == SYN_SENT:
        return block.options.syn_retries or settings.syn_retries
    if block.state == SYN_RECEIVED:
        return settings.synack_retries
    return settings.orphan_retries if block.orphan else settings.retries


def _out_of_patience(block: ControlBlock, exhausted: bool, since: Instant, now: Instant) -> bool:
    """Give the connection up if its time is over: the user's, from `since`, if it set one (RFC 5482), else after so many tries.
    One that is being set up has both limits, as on Linux."""
    limit = user_timeout(block)
    if limit:
        late = now - since >= limit
        exhausted = late or (exhausted and block.state in (SYN_SENT, SYN_RECEIVED))
    if exhausted:
        block.counters.aborts_on_timeout += 1
        close(block, block.soft_error or ETIMEDOUT)
    return exhausted


def _persist(block: ControlBlock, out: list[Segment], now: Instant) -> None:
    """The peer's window is closed, or so small that we held back: try again (RFC 9293 3.8.6.1).

    A peer that goes on answering may keep its window closed for ever, as long as somebody is there who wants to send and has set
    no user timeout; one that doesn't is given up like any other.
    """
    if force_tail(block, out, now):
        return
    block.probes += 1
    if block.shut_since == FOREVER:
        block.shut_since = now
    given_up = block.probes > _retry_limit(block) or _abandoned(block)
    if _out_of_patience(block, given_up, block.shut_since, now):
        return
    block.counters.window_probes += 1
    block.probe = True
    block.rtt.backoff()
    block.retransmit_at = within_patience(block, now + block.rtt.timeout, block.shut_since)


def _abandoned(block: ControlBlock) -> bool:
    """Whether a connection without a user has probed for long enough, whatever its peer answers: else peers could pile up what
    nobody waits for (RFC 6429; as Linux's tcp_probe_timer)."""
    rtt = block.rtt
    slow = rtt.timeout >= block.settings.max_rto * MILLISECOND
    return block.orphan and slow and rtt.backoffs >= block.settings.orphan_retries


def _keep_alive(block: ControlBlock, now: Instant) -> None:
    """Probe a peer that has been silent for long (RFC 9293 3.8.4)."""
    options = block.options
    settings = block.settings
    idle = now - block.last_received
    wait = (options.keepalive_time or settings.keepalive_time) * MILLISECOND
    interval = (options.keepalive_interval or settings.keepalive_interval) * MILLISECOND
    if idle < wait:
        block.keepalive_at = block.last_received + wait
        return
    if block.snd_una != block.snd_max:
        # The retransmission timer watches over the peer.
        block.keepalive_at = now + wait
        return
    if options.user_timeout:
        exhausted = idle >= options.user_timeout * MILLISECOND and block.probes > 0
    else:
        exhausted = block.probes >= (options.keepalive_probes or settings.keepalive_probes)
    if exhausted:
        block.counters.aborts_on_timeout += 1
        block.reply(abort_segment(block, now))
        close(block, block.soft_error or ETIMEDOUT)
        return
    block.probes += 1
    block.counters.keepalive_probes += 1
    block.probe = True
    block.keepalive_at = now + interval
