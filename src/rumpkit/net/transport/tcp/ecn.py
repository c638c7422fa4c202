"""Explicit congestion notification (RFC 3168 section 6.1): agreed upon in the handshake, then marks both ways.

Functions over a ControlBlock, below `arrival` and `send`.  The marks themselves are in the IP header: `core` puts CE into the flags
of a segment that arrives with it, and `Segment.ecn` into the header of one that goes out.
"""

from typing import Final

from mypy_extensions import i64

from ....hyper.time import Instant
from ...wire.segment import ACK, CE, CWR, ECE, SYN, Segment
from .block import ControlBlock
from .recovery import congested

ECT_0: Final = 2
"""The code point that says that a packet may be marked instead of dropped."""
MARKS: Final = ECE | CWR | CE
"""Flags that mean something to a connection with ECN."""
_CE: Final = 3
_ON: Final = 1
"""The sysctl: ask for it.  Otherwise, unless it's 0, only agree."""


def handshake_flags(block: ControlBlock, synchronized: bool) -> i64:
    """What our SYN asks for, or our SYN-ACK agrees to.  A SYN that is sent again doesn't ask: some networks drop those that do
    (section 6.1.1.1)."""
    if synchronized:
        return ECE if block.ecn else 0
    return ECE | CWR if block.settings.ecn == _ON and block.retries == 0 else 0


def negotiate(block: ControlBlock, segment: Segment) -> None:
    """The peer's SYN or SYN-ACK says whether it wants it."""
    flags = segment.flags
    wanted = ECE | CWR
    if flags & ACK:
        agreed = block.settings.ecn == _ON and flags & wanted == ECE
    else:
        agreed = block.settings.ecn != 0 and flags & wanted == wanted
    if agreed and flags & SYN:
        block.ecn = True
        block.counters.ecn_handshakes += 1


def marked(block: ControlBlock, segment: Segment, now: Instant) -> None:
    """An acceptable segment of a connection with ECN brings one of MARKS."""
    flags = segment.flags
    if flags & CWR:
        block.ecn_echo = False
    if flags & CE and segment.size > 0:
        block.counters.ce_received += 1
        if not block.ecn_echo:
            block.ecn_echo = True
            block.acknowledge_now()
    if flags & ECE:
        congested(block, now)


def congestion_experienced(head: bytes, network: i64) -> bool:
    """Whether the IP header (of either version) at `network` has the mark of a router that was about to drop the packet."""
    second: i64 = head[network + 1]
    if head[network] >> 4 == 4:
        return second & _CE == _CE
    return second & 0x30 == 0x30
