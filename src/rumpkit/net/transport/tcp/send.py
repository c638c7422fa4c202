"""The sending half: making segments of what is queued, within the windows and the rules that keep them large.

Functions over a ControlBlock, below `arrival`.  `transmit` is the only place where segments are made, but for resets in
answer to segments (`reset_for`).
"""

from typing import Final

from mypy_extensions import i64

from ....hyper.time import FOREVER, Instant
from ...wire.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment
from ...wire.sequence import SEQ_MASK
from ...wire.tcp_options import options_size
from .block import DEFAULT_MSS, ControlBlock
from .ecn import ECT_0, handshake_flags
from .episode import OPEN, Episode
from .fastopen import Attempt
from .options import TcpOptions
from .pacing import burst, pace, paced, pacing_rate
from .plpmtud import probe_size, sent_again
from .receive import MAX_SCALE, choose_scale, first_window, offer_window
from .sack import attach_blocks
from .scoreboard import Scoreboard, Transmission
from .settings import TcpSettings
from .states import CLOSE_WAIT, CLOSED, ESTABLISHED, SYN_RECEIVED, SYN_SENT
from .user_timeout import attach, within_patience

_HEADERS: Final = 120
"""Room that a super-segment leaves for IP and TCP headers below 64 KiB."""


def transmit(block: ControlBlock, out: list[Segment], now: Instant) -> None:
    """Add to `out` all that may be sent now."""
    before = len(out)
    if block.replies:
        out.extend(block.replies)
        block.replies = None
        before = len(out)
    state = block.state
    if state == CLOSED:
        return
    if state == SYN_SENT or state == SYN_RECEIVED:
        if block.snd_nxt == block.iss or block.syn_due:
            _send_syn(block, out, now)
            if not block.early:
                return
        if block.early and not block.fin_queued and block.snd_nxt < block.send_queue.end:
            send_queued(block, out, now)
    else:
        if block.disorder:
            _send_lost(block, out, now)
        if block.snd_nxt < block.send_queue.end or (block.fin_queued and block.snd_nxt == block.send_queue.end):
            send_queued(block, out, now)
    if block.probe:
        _send_probe(block, out, now)
    if block.acks_owed > 0:
        count = block.acks_owed
        if block.sack and (not block.reassembly.empty() or block.reassembly.duplicate_end):
            # What is missing and what came twice is said by one acknowledgement of its own: there is no room beside data.
            segment = make_segment(block, block.snd_max, ACK, now)
            attach_blocks(block, segment)
            out.append(segment)
            count = 0
        elif len(out) > before:
            # A segment that goes out anyway carries one of them.
            count -= 1
        while count > 0:
            out.append(make_segment(block, block.snd_max, ACK, now))
            count -= 1
        block.acks_owed = 0


def make_segment(
    block: ControlBlock, seq: i64, flags: i64, now: Instant, body: bytes = b"", start: i64 = 0, size: i64 = 0
) -> Segment:
    """A segment with everything that each one carries; it acknowledges all that was received."""
    nxt = block.rcv_nxt
    segment = Segment(seq & SEQ_MASK, nxt & SEQ_MASK, flags, offer_window(block), body, start, size)
    if block.timestamps:
        segment.has_timestamp = True
        segment.ts_value = block.clock(now)
        segment.ts_echo = block.ts_recent
    if block.ecn_echo:
        segment.flags |= ECE
    if block.snd_urgent > seq:
        segment.flags |= URG
        segment.urgent = min(block.snd_urgent - seq, 65535)
    if block.timeout_due and size == 0:
        block.timeout_due = False
        attach(block, segment)
    block.last_ack = nxt
    block.ack_at = FOREVER
    return segment


def _send_syn(block: ControlBlock, out: list[Segment], now: Instant) -> None:
    """SYN or, where the peer's SYN has arrived, SYN-ACK, with the options of RFC 9293 and RFC 7323."""
    synchronized = block.state == SYN_RECEIVED
    segment = Segment(block.iss & SEQ_MASK, 0, SYN, first_window(block))
    if synchronized:
        segment.flags = SYN | ACK
        segment.ack = block.rcv_nxt & SEQ_MASK
        block.last_ack = block.rcv_nxt
        block.ack_at = FOREVER
        block.acks_owed = 0
    segment.mss = block.path_mss
    if block.options.max_segment:
        segment.mss = min(segment.mss, i64(block.options.max_segment))
    settings = block.settings
    if block.timestamps or (not synchronized and settings.timestamps):
        segment.has_timestamp = True
        segment.ts_value = block.clock(now)
        segment.ts_echo = block.ts_recent
    if not synchronized and settings.window_scaling:
        segment.window_scale = offered_scale(block.options, settings)
    elif block.peer_scales:
        segment.window_scale = block.rcv_scale
    segment.flags |= handshake_flags(block, synchronized)
    segment.sack_permitted = block.sack or (not synchronized and settings.sack != 0)
    attach(block, segment)
    fast = block.fast
    if fast is not None:
        if synchronized:
            segment.fast_open = fast.cookie
        elif block.snd_max == block.iss:
            # A SYN that has to be sent again goes plain: it may be the option, or the data, that somebody minds.
            segment.fast_open = fast.cookie
            _attach_data(block, fast, segment)
    out.append(segment)
    if block.snd_nxt == block.iss:
        block.snd_nxt = block.iss + 1
    block.syn_due = False
    if block.snd_max < block.snd_nxt:
        block.snd_max = block.snd_nxt + segment.size
        block.timed_end = block.snd_nxt
        block.timed_at = now
        block.unacked_since = now
    block.retransmit_at = within_patience(block, now + block.rtt.timeout, block.unacked_since)


def _attach_data(block: ControlBlock, fast: Attempt, segment: Segment) -> None:
    """Let the first of the queue go with the SYN, as much as one segment takes (RFC 7413 section 4.2.1)."""
    queue = block.send_queue
    if not fast.with_data or queue.end == queue.start:
        return
    size = min(block.path_mss, fast.mss or DEFAULT_MSS) - options_size(segment)
    chunk = queue.cut(queue.start, min(size, queue.end - queue.start), size)
    segment.body = chunk.body
    segment.start = chunk.start
    segment.size = fast.size = chunk.size


def offered_scale(options: TcpOptions, settings: TcpSettings) -> int:
    """The window scale to offer: enough for the buffer that the connection may grow to."""
    largest: int = options.receive_buffer or max(settings.receive_buffer_max, settings.receive_buffer)
    return min(choose_scale(largest), MAX_SCALE)


def send_queued(block: ControlBlock, out: list[Segment], now: Instant) -> None:
    """Send queued data, and the FIN behind it, as far as the windows and Nagle's rule let it (RFC 9293 3.8.6.2.1)."""
    queue = block.send_queue
    end = queue.end
    mss = block.snd_mss
    nxt = block.snd_nxt
    una = block.snd_una
    congestion = block.congestion
    if nxt == una and now - block.last_sent > block.rtt.timeout:
        congestion.restart()
    edge = una + block.snd_wnd
    congestion_edge = una + congestion.window
    if block.disorder and block.scoreboard is not None:
        congestion_edge += block.scoreboard.missing()
    limited = congestion_edge < edge
    if limited:
        edge = congestion_edge
    # The pieces of a super-segment would all have the same urgent pointer, which counts from where a segment begins; and CWR is
    # for one segment.
    largest = mss if block.snd_urgent > nxt or block.cwr_due else super_segment_size(block)
    rate = pacing_rate(block)
    if rate:
        largest = min(largest, burst(block, rate))
    search = block.search
    if search is not None and nxt < end:
        size = probe_size(block, search, edge - nxt, now)
        if size > 0:
            chunk = queue.cut(nxt, size, size)
            _send(block, out, nxt, ACK, chunk.body, chunk.start, size, now, size)
            nxt = block.snd_nxt
    while nxt < end:
        if rate and paced(block, now):
            return
        room = edge - nxt
        size = end - nxt
        if size > room:
            size = room
        if size > largest:
            size = largest
        tail = size % mss
        if tail and size > 0:
            if nxt + size == end:
                if not _may_send_tail(block):
                    size -= tail
            elif size > mss:
                size -= tail
            elif limited or size < block.snd_max_wnd >> 1:
                break
        if size <= 0:
            break
        chunk = queue.cut(nxt, size, mss)
        size = chunk.size
        flags: i64 = ACK
        if nxt + size == end:
            flags = ACK | PSH
            if block.fin_queued and nxt + size < una + block.snd_wnd:
                flags = ACK | PSH | FIN
        if size % mss:
            block.small_end = nxt + size
        if rate:
            pace(block, size, rate, now)
        _send(block, out, nxt, flags, chunk.body, chunk.start, size, now)
        nxt = block.snd_nxt
    if nxt == end and block.fin_queued and end < una + block.snd_wnd:
        _send(block, out, nxt, ACK | FIN, b"", 0, 0, now)
    if block.retransmit_at == FOREVER:
        # Nothing is in flight whose acknowledgement could move things on.
        block.persisting = True
        block.retransmit_at = now + block.rtt.timeout


def super_segment_size(block: ControlBlock) -> i64:
    """The payload of the largest super-segment: whole segments below 64 KiB with headers."""
    mss = block.snd_mss
    largest: i64 = block.settings.max_super_segment - _HEADERS
    return max(largest - largest % mss, mss)


def _send(
    block: ControlBlock,
    out: list[Segment],
    seq: i64,
    flags: i64,
    body: bytes,
    start: i64,
    size: i64,
    now: Instant,
    mss: i64 = 0,
) -> None:
    """Send one (super-)segment at `snd_nxt`, of segments of `mss` bytes (0: full ones), and note what follows from it."""
    segment = make_segment(block, seq, flags, now, body, start, size)
    if mss == 0:
        mss = block.snd_mss
    segment.gso_size = mss
    if block.ecn and size > 0:
        segment.ecn = ECT_0
        if block.cwr_due:
            block.cwr_due = False
            segment.flags |= CWR
    out.append(segment)
    nxt = seq + size + (flags & FIN)
    if block.snd_max == block.snd_una:
        block.unacked_since = now
    block.snd_max = nxt
    block.snd_nxt = nxt
    board = block.scoreboard
    if board is None:
        board = block.scoreboard = Scoreboard(seq)
    board.sent(seq, nxt, mss, now)
    if block.disorder and block.episode is not None:
        block.episode.out += size
    block.last_sent = now
    if block.retransmit_at == FOREVER or block.persisting:
        block.persisting = False
        block.shut_since = FOREVER
        block.probing = not block.disorder
        block.retransmit_at = now + (block.rtt.patience if block.probing else block.rtt.timeout)


def _may_send_tail(block: ControlBlock) -> bool:
    """Whether the last bytes of the queue may go though they don't fill a segment."""
    if block.fin_queued:
        return True
    options = block.options
    if options.cork or block.more:
        return False
    # Nagle's rule as Minshall has it: only one small segment may be on its way at a time.
    return options.nodelay or block.snd_una >= block.small_end


def _send_lost(block: ControlBlock, out: list[Segment], now: Instant) -> None:
    """Send again what is lost, as far as the windows let it; the first segment of an episode goes whatever the congestion window is.

    What lies beyond a window that the peer has taken back waits until it opens again (RFC 9293 3.8.6).
    """
    board = block.scoreboard
    episode = block.episode
    if board is None or episode is None or block.state == CLOSED:
        return
    mss = block.snd_mss
    largest = super_segment_size(block)
    window = block.congestion.window
    edge = block.snd_una + block.snd_wnd
    rate = pacing_rate(block)
    if rate:
        largest = min(largest, burst(block, rate))
    while board.lost:
        if rate and not block.resend and paced(block, now):
            return
        room = window - (block.snd_max - block.snd_una - board.missing())
        if room < mss and not block.resend:
            break
        limit = min(max(room - room % mss, mss), largest)
        record = board.resend(limit, edge, mss, now)
        if record is None:
            break
        block.resend = False
        if rate:
            pace(block, record.end - record.start, rate, now)
        _resend(block, episode, record, out, now)
    block.resend = False


def _resend(block: ControlBlock, episode: Episode, record: Transmission, out: list[Segment], now: Instant) -> None:
    """Send one record again."""
    if block.search is not None:
        sent_again(block.search, record.start, record.end)
    queue = block.send_queue
    seq = record.start
    end = record.end
    flags: i64 = ACK
    if end > queue.end:
        flags = ACK | FIN
    while seq < end:
        size = min(end, queue.end) - seq
        body = b""
        start: i64 = 0
        if size > 0:
            chunk = queue.cut(seq, size, record.unit)
            body = chunk.body
            start = chunk.start
            size = chunk.size
        last = seq + size >= min(end, queue.end)
        segment = make_segment(block, seq, flags if last else ACK, now, body, start, size)
        segment.gso_size = record.unit
        out.append(segment)
        count = max((size + record.unit - 1) // record.unit, 1)
        block.counters.retransmits += count
        episode.retransmits += count
        seq += size
        if last:
            break
    block.resent_at = block.clock(now)
    episode.out += end - record.start
    if episode.phase != OPEN:
        if episode.undo_clock < 0:
            episode.undo_clock = block.resent_at
        episode.undo_bytes += end - record.start
    block.last_sent = now
    if block.retransmit_at == FOREVER or block.persisting:
        block.persisting = False
        block.shut_since = FOREVER
        block.retransmit_at = now + block.rtt.timeout


def send_probe(block: ControlBlock, episode: Episode, out: list[Segment], now: Instant) -> None:
    """A tail loss probe: a segment of new data if there is some and the peer has room for it, else the last one again (RFC 8985
    section 7.3)."""
    block.counters.tail_probes += 1
    board = block.scoreboard
    queue = block.send_queue
    nxt = block.snd_nxt
    size = min(queue.end - nxt, block.snd_una + block.snd_wnd - nxt, block.snd_mss)
    if size > 0 and size == min(queue.end - nxt, block.snd_mss):
        chunk = queue.cut(nxt, size, size)
        _send(block, out, nxt, ACK | PSH, chunk.body, chunk.start, chunk.size, now)
        episode.probe_resent = False
    elif board is not None:
        record = board.resend_last(block.snd_mss, now)
        if record is None:
            return
        _resend(block, episode, record, out, now)
        episode.probe_resent = True
    episode.probe_end = block.snd_max


def _send_probe(block: ControlBlock, out: list[Segment], now: Instant) -> None:
    """Send what the peer has to answer: its window may have opened, or it may be gone (RFC 9293 3.8.4, 3.8.6.1).

    Old sequence numbers do that, and unlike a byte beyond the window they leave nothing behind to account for.
    """
    block.probe = False
    out.append(make_segment(block, block.snd_una - 1, ACK, now))


def force_tail(block: ControlBlock, out: list[Segment], now: Instant) -> bool:
    """The persist timer went off: send what the window takes, though it is little (RFC 9293 3.8.6.2.1).

    False if it takes nothing.
    """
    queue = block.send_queue
    nxt = block.snd_nxt
    size = min(queue.end - nxt, block.snd_una + block.snd_wnd - nxt, block.snd_mss)
    if size <= 0:
        return False
    chunk = queue.cut(nxt, size, size)
    flags: i64 = ACK | PSH
    block.small_end = nxt + chunk.size
    _send(block, out, nxt, flags, chunk.body, chunk.start, chunk.size, now)
    return True


def reset_for(segment: Segment) -> Segment | None:
    """The RST that answers a segment of no connection (RFC 9293 3.10.7.1); None if it is one itself."""
    if segment.flags & RST:
        return None
    if segment.flags & ACK:
        return Segment(segment.ack, 0, RST, 0)
    return Segment(0, (segment.seq + segment.span()) & SEQ_MASK, RST | ACK, 0)


def abort_segment(block: ControlBlock, now: Instant) -> Segment:
    """The RST that ends a synchronized connection from our side."""
    segment = Segment(block.snd_max & SEQ_MASK, block.rcv_nxt & SEQ_MASK, RST | ACK, 0)
    if block.timestamps:
        segment.has_timestamp = True
        segment.ts_value = block.clock(now)
        segment.ts_echo = block.ts_recent
    return segment


def may_queue(block: ControlBlock) -> bool:
    """Whether the user may (still) send."""
    return not block.fin_queued and (
        block.state == ESTABLISHED
        or block.state == CLOSE_WAIT
        or block.state == SYN_SENT
        or block.state == SYN_RECEIVED
    )
