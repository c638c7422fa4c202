"""The receiving half: taking data in, offering a window, and deciding when to acknowledge.

Functions over a ControlBlock, below `arrival` and beside `send`.
"""

from typing import Final

from mypy_extensions import i64

from ....hyper.time import FOREVER, MILLISECOND, SECOND, Instant
from ...wire.segment import Segment
from ...wire.sequence import SEQ_MASK
from .block import READABLE, ControlBlock

MAX_SCALE: Final = 14
_SLACK: Final = 6
"""The window may exceed the buffer by this part of it (a power of two), or by one unit of the scale, for being rounded up."""
MAX_FIELD: Final = 65535
"""The largest window that a header can say, before it is scaled."""


_LITTLE: Final = 4
"""Full segments in a window when memory is short."""


def choose_scale(largest: int) -> int:
    """The window scale with which a buffer of `largest` bytes can be offered in full (RFC 7323 section 2.3)."""
    scale = 0
    while scale < MAX_SCALE and MAX_FIELD << scale < largest:
        scale += 1
    return scale


def free_space(block: ControlBlock) -> i64:
    """Bytes that the receive buffer has room for, within the user's window clamp and what a window field can say."""
    queue = block.receive_queue
    space = block.receive_buffer - (queue.end - queue.start)
    largest: i64 = MAX_FIELD << block.rcv_scale
    if space > largest:
        space = largest
    clamp: i64 = block.options.window_clamp
    if clamp and space > clamp:
        space = clamp
    if short_of_memory(block):
        little = _LITTLE * block.rcv_mss - (queue.end - queue.start)
        if space > little:
            space = little
    return space if space > 0 else 0


def short_of_memory(block: ControlBlock) -> bool:
    """Whether all connections together hold so much that each gets only as much window as it needs to go on."""
    return block.environment.held > block.settings.max_receive_memory


def out_of_memory(block: ControlBlock) -> bool:
    """Whether they hold twice that, as windows were offered before, and this one has its share: what comes is dropped."""
    if block.environment.held <= 2 * block.settings.max_receive_memory:
        return False
    queue = block.receive_queue
    return queue.end - queue.start >= _LITTLE * block.rcv_mss


def offer_window(block: ControlBlock) -> i64:
    """The window field of the segment that is being made; moves `rcv_edge`.

    The edge never moves back, and moves on only by a worthwhile step (silly window avoidance, RFC 9293 3.8.6.2.2).
    """
    nxt = block.rcv_nxt
    scale = block.rcv_scale
    edge = block.rcv_edge
    right = nxt + free_space(block)
    step = min(block.receive_buffer >> 1, block.rcv_mss)
    if right - edge >= step:
        field = (right - nxt) >> scale
        if field > MAX_FIELD:
            field = MAX_FIELD
        if nxt + (field << scale) > edge:
            block.rcv_edge = nxt + (field << scale)
            return field
    # The peer should not see the edge move back by what the scale cuts off, so the old one is rounded up; but not again and again
    # beyond what there is room for.  What was offered once is taken in any case (RFC 7323 section 2.4).
    field = (edge - nxt + (1 << scale) - 1) >> scale
    queue = block.receive_queue
    slack: i64 = max(i64(1) << scale, block.receive_buffer >> _SLACK)
    if field << scale > block.receive_buffer - (queue.end - queue.start) + slack and nxt + (field << scale) > edge:
        field -= 1
    if field > MAX_FIELD:
        field = MAX_FIELD
    if nxt + (field << scale) > edge:
        block.rcv_edge = nxt + (field << scale)
    return field


def first_window(block: ControlBlock) -> i64:
    """The window field of a SYN or SYN-ACK, which is never scaled (RFC 7323 section 2.2)."""
    field = free_space(block)
    if field > MAX_FIELD:
        field = MAX_FIELD
    if block.rcv_nxt + field > block.rcv_edge:
        block.rcv_edge = block.rcv_nxt + field
    return field


def take_text(block: ControlBlock, segment: Segment, seq: i64, now: Instant) -> None:
    """Queue the payload of an acceptable segment and see to its acknowledgement (RFC 9293 3.10.7.4, seventh)."""
    start = segment.start
    size = segment.size
    nxt = block.rcv_nxt
    if seq < nxt:
        note_duplicate(block, seq, nxt)
        start += nxt - seq
        size -= nxt - seq
        seq = nxt
    if seq + size > block.rcv_edge:
        size = block.rcv_edge - seq
        block.acknowledge_now()
    if block.rcv_fin >= 0 and seq + size > block.rcv_fin:
        size = block.rcv_fin - seq
    if size <= 0:
        return
    if out_of_memory(block):
        block.counters.memory_drops += 1
        block.acknowledge_now()
        return
    if seq == nxt and block.reassembly.empty():
        accept_in_order(block, segment.body, start, size)
        acknowledge_later(block, segment, now)
        if block.reassembly.duplicate_end:
            block.acknowledge_now()
        return
    _take_out_of_order(block, segment, seq, start, size)


def accept_in_order(block: ControlBlock, body: bytes, start: i64, size: i64) -> None:
    """Append the next bytes of the stream to the receive queue."""
    block.rcv_nxt += size
    if size * 2 < len(body):
        # A small part would keep all of a large body in memory.
        body = body[start : start + size]
        start = 0
    block.receive_queue.append(body, start, size)
    block.environment.held += size
    block.events |= READABLE


def note_duplicate(block: ControlBlock, first: i64, end: i64) -> None:
    """These bytes came once more: the next acknowledgement reports them (RFC 2883)."""
    if block.sack:
        reassembly = block.own_reassembly()
        reassembly.duplicate_first = first
        reassembly.duplicate_end = end


def _fill_gaps(block: ControlBlock, body: bytes, start: i64, size: i64) -> None:
    """The next bytes of the stream, where some that follow are here already: of these the old copy stays."""
    queue = block.receive_queue
    reassembly = block.reassembly
    end = block.rcv_nxt + size
    while block.rcv_nxt < end:
        part = min(end, reassembly.first(end)) - block.rcv_nxt
        if part > 0:
            accept_in_order(block, body, start, part)
        before = block.rcv_nxt - part
        # What it held is counted already, but for what came twice.
        held = reassembly.bytes
        delivered = queue.end
        reassembly.deliver(queue)
        block.environment.held += (queue.end - delivered) - (held - reassembly.bytes)
        block.rcv_nxt = queue.end
        start += block.rcv_nxt - before


def _take_out_of_order(block: ControlBlock, segment: Segment, seq: i64, start: i64, size: i64) -> None:
    reassembly = block.reassembly
    nxt = block.rcv_nxt
    ahead = seq > nxt
    if ahead and reassembly.count() >= block.settings.max_reassembly:
        block.counters.reassembly_drops += 1
    elif ahead and short_of_memory(block):
        block.counters.memory_drops += 1
    elif ahead:
        block.counters.out_of_order += 1
        reassembly = block.own_reassembly()
        before = reassembly.bytes
        new = reassembly.insert(seq, segment.body, start, size)
        block.environment.held += reassembly.bytes - before
        if not new:
            block.counters.duplicates += 1
            note_duplicate(block, seq, seq + size)
    else:
        _fill_gaps(block, segment.body, start, size)
    # One acknowledgement for each segment, at once (RFC 5681 section 4.2): the sender counts three.  A super-segment
    # stands for several.  With SACK it need not count.
    if block.sack:
        block.acks_owed = 1
    else:
        block.acks_owed += min(segment.segments, 3) if ahead else 1


def acknowledge_later(block: ControlBlock, segment: Segment, now: Instant) -> None:
    """In-order data was taken: acknowledge what makes more than a full-sized segment at once, and less after a delay (RFC
    9293 3.8.6.3 wants every second segment acknowledged).

    The first few segments, at the start and after a pause, wait only a moment: the peer may hold more back until it hears of
    them (Nagle's rule, or a small window), and an answer of our user's comes within that moment or not soon.  As long as there is
    no user who could answer, the moment has not begun.
    """
    unit = segment.size
    if segment.segments > 1:
        unit = segment.gso_size
    if unit > block.rcv_mss:
        # More than we asked for is several segments that somebody below has joined.
        block.rcv_mss = min(unit, block.path_mss)
    if block.consumed == 0 and segment.has_timestamp:
        _measure(block, segment, now)
    if block.rcv_nxt - block.last_ack > block.rcv_mss or block.options.quickack:
        block.acknowledge_now()
    elif block.ack_at == FOREVER:
        settings = block.settings
        delay = settings.delayed_ack
        if now - block.text_at > block.rtt.timeout:
            block.quick_acks = settings.quick_acks
        if block.quick_acks > 0:
            block.quick_acks -= 1
            if not block.unclaimed:
                delay = settings.quick_ack
        block.ack_at = now + delay * MILLISECOND
    block.text_at = now


def consume(block: ControlBlock, size: i64, now: Instant) -> None:
    """The user has read `size` bytes: grow the buffer if that was fast, and offer the room that became free."""
    queue = block.receive_queue
    if size > queue.end - queue.start:
        size = queue.end - queue.start
    queue.drop(size)
    block.environment.held -= size
    if queue.start > block.rcv_urgent:
        block.rcv_urgent = -1
    block.consumed += size
    if block.unclaimed:
        block.unclaimed = False
        if block.ack_at < FOREVER:
            block.ack_at = min(block.ack_at, now + block.settings.quick_ack * MILLISECOND)
    if now - block.measured_at >= (block.rcv_rtt or block.rtt.smoothed):
        _grow_buffer(block, now)
    known = block.rcv_edge - block.rcv_nxt
    if block.last_ack == block.irs + 1 and known > MAX_FIELD >> 1:
        return  # a SYN-ACK could offer no more, of which the peer has not used half: the next acknowledgement will do
    space = free_space(block)
    if space >= 2 * known and space - known >= min(block.receive_buffer >> 1, block.rcv_mss):
        block.acknowledge_now()


def _measure(block: ControlBlock, segment: Segment, now: Instant) -> None:
    """How long the peer takes to answer: a side that only receives learns the round trip from the timestamps that come back
    (as Linux's tcp_rcv_rtt_measure_ts).  Peers may also have had nothing to send, so that more counts for little."""
    age = ((block.clock(now) - segment.ts_echo) & SEQ_MASK) * MILLISECOND
    known = block.rcv_rtt or block.rtt.smoothed
    if age <= 0 or age > 10 * SECOND:
        return
    block.rcv_rtt = age if age < known or known == 0 else known + (age - known) // 8


def _grow_buffer(block: ControlBlock, now: Instant) -> None:
    """Dynamic right-sizing: room for twice what the user reads in a round trip, so that the peer can speed up, and for more while
    it does."""
    wanted = 2 * block.consumed
    before = block.consumed_before
    if 0 < before < block.consumed:
        wanted += 2 * wanted * min(block.consumed - before, before) // before
    block.consumed_before = block.consumed
    if wanted > block.receive_buffer and block.options.receive_buffer == 0:
        block.receive_buffer = min(wanted, max(block.settings.receive_buffer_max, block.receive_buffer))
    block.consumed = 0
    block.measured_at = now
