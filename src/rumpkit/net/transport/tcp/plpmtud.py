"""Packetization layer path MTU discovery (RFC 4821, and RFC 8899's states in small): the path's MTU found by what arrives.

Functions over a ControlBlock, beside `recovery`.  Routers that drop what is too large without an ICMP message make a black hole:
full segments vanish, small ones pass.  When the timer has gone off several times for one full segment, segments become smaller; after
that, or from the start where the sysctl says so, a larger one is tried now and then, carrying data that would go anyway.  A probe
that is lost says nothing about congestion.

Sizes are like `ControlBlock.path_mss`: payload and TCP options.
"""

from typing import Final

from mypy_extensions import i64

from ....hyper.time import MILLISECOND, Instant
from .block import TIMESTAMPS_SIZE, ControlBlock, PathSearch
from .scoreboard import Scoreboard
from .states import CLOSE_WAIT, ESTABLISHED

OFF: Final = 0
BLACK_HOLES: Final = 1
ALWAYS: Final = 2
"""net.tcp.mtu_probing."""
SUSPICION: Final = 3
"""Time-outs of one segment that make a black hole likely."""
_THRESHOLD: Final = 8
"""The search is over when it could gain no more than this."""
_FOLLOWERS: Final = 3
"""Full segments that have to follow a probe, so that its loss is noticed soon."""


def begin_search(block: ControlBlock) -> None:
    """Start small and look how much more the path takes (mtu_probing 2)."""
    ceiling = _ceiling(block)
    low: i64 = block.settings.base_mss
    if low < ceiling:
        block.search = PathSearch(low, ceiling)
        block.set_mss()


def black_hole(block: ControlBlock, now: Instant) -> None:
    """The timer has gone off again for the first unacknowledged segment: if that is a large one, try smaller ones."""
    settings = block.settings
    board = block.scoreboard
    if block.retries < SUSPICION or settings.mtu_probing == OFF or board is None:
        return
    search = block.search
    size = board.first_size() + _options(block)
    base: i64 = settings.base_mss
    if search is None:
        smaller = base
    else:
        smaller = min(search.low // 2, base)
    smaller = max(smaller, i64(settings.mtu_probe_floor))
    if smaller >= size:
        return
    block.counters.black_holes += 1
    if search is None:
        search = block.search = PathSearch(smaller, size - 1)
    search.low = smaller
    search.high = size - 1
    search.again_at = now + settings.mtu_probe_interval * MILLISECOND
    search.probe_end = -1
    search.failed = search.whole = False
    block.set_mss()


def probe_size(block: ControlBlock, search: PathSearch, room: i64, now: Instant) -> i64:
    """The payload of a probe to send now, as the next of what is queued; 0 for none.  `room` is what the windows let out."""
    if search.probe_end >= 0 or block.disorder or (block.state != ESTABLISHED and block.state != CLOSE_WAIT):
        return 0
    # A router may have spoken meanwhile (RFC 1191).
    search.high = min(search.high, _ceiling(block))
    if search.high - search.low <= _THRESHOLD:
        if now < search.again_at:
            return 0
        # Paths change: what was too large once may pass by now.
        search.high = _ceiling(block)
        search.whole = True
        search.again_at = now + block.settings.mtu_probe_interval * MILLISECOND
        if search.high - search.low <= _THRESHOLD:
            return 0
    # The whole way first: most often there is nothing between the two.
    size = search.high if search.whole else (search.low + search.high + 1) // 2
    payload = size - _options(block)
    if min(room, block.send_queue.end - block.snd_nxt) < payload + _FOLLOWERS * block.snd_mss:
        return 0
    search.probe_start = block.snd_nxt
    search.probe_end = block.snd_nxt + payload
    search.size = size
    block.counters.mtu_probes += 1
    return payload


def arrived(block: ControlBlock, search: PathSearch, ack: i64) -> None:
    """Everything up to `ack` has arrived: perhaps the probe with it."""
    if ack < search.probe_end or search.probe_end < 0 or search.failed:
        return
    search.probe_end = -1
    search.low = search.size
    block.counters.mtu_probes_succeeded += 1
    block.set_mss()


def forgives(block: ControlBlock, board: Scoreboard) -> bool:
    """Whether a loss is the probe's alone: it was too large, and the network need not be congested (RFC 4821 section 7.6.2)."""
    search = block.search
    if search is None or search.probe_end < 0:
        return False
    if not board.lost_only(search.probe_start, search.probe_end):
        return False
    if not search.failed:
        search.failed = True
        _failed(block, search)
    block.resend = True
    return True


def interrupted(block: ControlBlock) -> None:
    """The retransmission timer went off: a probe that stands first was too large; one behind others says nothing."""
    search = block.search
    if search is None or search.probe_end < 0:
        return
    if search.probe_start == block.snd_una and not search.failed:
        _failed(block, search)
    search.probe_end = -1
    search.failed = False


def sent_again(search: PathSearch, start: i64, end: i64) -> None:
    """Bytes `start` to `end` go again in segments of the usual size: their arrival proves nothing any more."""
    if start < search.probe_end and end > search.probe_start:
        search.probe_end = -1
        search.failed = False


def _failed(block: ControlBlock, search: PathSearch) -> None:
    search.high = search.size - 1
    search.whole = False
    block.counters.mtu_probes_failed += 1


def _ceiling(block: ControlBlock) -> i64:
    """What path and peer would take, as far as anybody has said."""
    ceiling = min(block.path_mss, block.peer_mss)
    limit: i64 = block.options.max_segment
    return min(ceiling, limit) if limit else ceiling


def _options(block: ControlBlock) -> i64:
    return TIMESTAMPS_SIZE if block.timestamps else 0
