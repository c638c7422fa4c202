"""What a capture says about a packet of a TCP connection: the connection's state, as the packet's comment.

For a packet that goes out it is the state that sent it; for one that comes in, the state that it meets.  On the loopback
interface, which shows each packet once, it is the sender's.
"""

from typing import Final, final

from ....hyper.frame import Frame
from ....hyper.time import MICROSECOND, Instant
from ...link.pcapng import Annotator
from ...link.tap import INBOUND
from ...wire.ethernet import network_offset
from ...wire.ipv4 import PROTOCOL_TCP
from .block import ControlBlock
from .congestion import UNLIMITED
from .episode import OPEN
from .layer import Tcp
from .states import STATE_NAMES

_V6_HEADER: Final = 40


@final
class ConnectionNotes(Annotator):
    """Looks connections up by the addresses and ports of a packet."""

    def __init__(self, tcp: Tcp) -> None:
        self._tcp = tcp

    def note(self, frame: Frame, direction: int, now: Instant) -> str:
        key = connection_key(frame.head, direction == INBOUND)
        channel = self._tcp.channels.get(key) if key else None
        return "" if channel is None else text(channel.connection.block)


def connection_key(head: bytes, inbound: bool) -> bytes:
    """Under which TCP lists the connection of a frame: the peer's address, ours, the peer's port and ours; b"" where it is no
    packet of TCP.  Extension headers of IPv6 are not looked through."""
    at = network_offset(head)
    if at < 0 or len(head) < at + 20:
        return b""
    if head[at] >> 4 == 4:
        start, size, ports, protocol = at + 12, 4, at + ((head[at] & 0xF) << 2), head[at + 9]
        if (head[at + 6] << 8 | head[at + 7]) & 0x1FFF:
            return b""  # a later fragment has no ports
    else:
        start, size, ports, protocol = at + 8, 16, at + _V6_HEADER, head[at + 6]
    if protocol != PROTOCOL_TCP or len(head) < ports + 4:
        return b""
    middle, end = start + size, start + 2 * size
    if inbound:
        return head[start:end] + head[ports : ports + 4]
    return head[middle:end] + head[start:middle] + head[ports + 2 : ports + 4] + head[ports : ports + 2]


def text(block: ControlBlock) -> str:
    """The state in words that a display filter finds: `frame.comment contains "recovering"`."""
    congestion, rtt = block.congestion, block.rtt
    threshold = "inf" if congestion.threshold >= UNLIMITED else str(congestion.threshold)
    words = [
        f"TCP {STATE_NAMES[block.state]} cwnd={congestion.window} ssthresh={threshold} flight={block.flight()}",
        f"rtt={rtt.smoothed // MICROSECOND}us rttvar={rtt.variation // MICROSECOND}us rto={rtt.timeout // MICROSECOND}us",
        f"send_window={block.snd_wnd} receive_window={block.rcv_edge - block.rcv_nxt}",
    ]
    episode, board = block.episode, block.scoreboard
    if board is not None and (board.sacked or board.lost):
        words.append(f"sacked={board.sacked} lost={board.lost}")
    if episode is not None and episode.phase != OPEN:
        words.append("recovering")
    if block.retries:
        words.append(f"retries={block.retries}")
    if block.persisting:
        words.append("persisting")
    return " ".join(words)
