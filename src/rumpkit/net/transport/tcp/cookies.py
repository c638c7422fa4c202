"""SYN cookies: connections that cost a flooded listener nothing before their handshake is done (RFC 4987 section 3.6).

Between `layer`, which sends and takes back cookies, and the wire.  When a listener has no room for one more half-open
connection, its SYN-ACK's sequence number says, under a secret, all that must be known when the peer's ACK brings it back:

    cookie = MAC1(addresses, ports) + IRS + period * 2**24 + (MAC2(addresses, ports, IRS, period) + MSS index) mod 2**24

as in Linux.  What MAC2 is made with is drawn anew each period and forgotten after the next, so a stolen or guessed secret is
worth two minutes.  Three bits of index and two periods leave a blind guess one chance in 2**28.

The other options of the SYN ride in the low bits of the SYN-ACK's timestamp, where the peer sends one; else they are lost.
"""

from collections.abc import Callable
from typing import Final, final

from mypy_extensions import i64

from ....hyper.time import FOREVER, SECOND, Instant
from ...wire.segment import ACK, CWR, ECE, NO_SCALE, SYN, Segment
from ...wire.sequence import SEQ_MASK
from .options import TcpOptions
from .receive import MAX_FIELD
from .send import offered_scale
from .settings import TcpSettings

MSS_TABLE: Final = (64, 536, 1220, 1380, 1440, 1460, 8940, 32768)
"""What a peer's MSS is rounded down to."""
PERIOD: Final = 64 * SECOND
"""How long cookies are made with one secret.  They are taken for one period more."""
_PERIODS: Final = 2
_MAC_MASK: Final = 0xFFFFFF
_SECRET: Final = 32

_OPTION_BITS: Final = 0x3F
_SCALE_MASK: Final = 0x0F
_NO_SCALE: Final = 0x0F
_SACK: Final = 0x10
_ECN: Final = 0x20
_ECN_SETUP: Final = ECE | CWR


@final
class SynCookies:
    """The cookies of one kernel.  `random(n)` gives n random bytes."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random: Callable[[int], bytes] = random
        self._secret: bytes = b""
        """Of MAC1; drawn when it's first needed."""
        self._secrets: dict[int, bytes] = {}
        """Of MAC2, by period: the present one's and the last one's, if there were cookies then."""
        self._until: Instant = -FOREVER
        """No cookie is out there that would be taken after this."""

    def make(self, key: bytes, irs: int, mss: int, now: Instant) -> int:
        """The ISN that stands for a SYN numbered `irs` whose addresses and ports are `key`."""
        period = now // PERIOD
        if not self._secret:
            self._secret = self._random(_SECRET)
        secret = self._secrets.get(period)
        if secret is None:
            self._secrets = {old: kept for old, kept in self._secrets.items() if period - old < _PERIODS}
            self._secrets[period] = secret = self._random(_SECRET)
        self._until = now + _PERIODS * PERIOD
        index = len(MSS_TABLE) - 1
        while index > 0 and MSS_TABLE[index] > mss:
            index -= 1
        mac = (_mac(secret, key, irs) + index) & _MAC_MASK
        return (_mac(self._secret, key, 0) + irs + (period << 24) + mac) & SEQ_MASK

    def expected(self, now: Instant) -> bool:
        """Whether a cookie may be out there: outside of floods stray ACKs cost no hashing, and can't be lucky."""
        return now < self._until

    def check(self, key: bytes, irs: int, cookie: int, now: Instant) -> int:
        """The MSS of the SYN that `cookie` stands for, or 0 if it is none of ours or too old."""
        period = now // PERIOD
        number = (cookie - _mac(self._secret, key, 0) - irs) & SEQ_MASK
        age = (period - (number >> 24)) & 0xFF
        secret = self._secrets.get(period - age) if age < _PERIODS else None
        if secret is None:
            return 0
        # The MAC wraps within its 24 bits, never into the period.
        index = ((number & _MAC_MASK) - _mac(secret, key, irs)) & _MAC_MASK
        return MSS_TABLE[index] if index < len(MSS_TABLE) else 0


def _mac(secret: bytes, key: bytes, irs: int) -> int:
    from hashlib import blake2s  # which loads OpenSSL: not before there is a connection

    data = key + irs.to_bytes(4, "big")
    return int.from_bytes(blake2s(data, digest_size=4, key=secret).digest(), "big")


def _pack_options(syn: Segment, clock: i64) -> i64:
    """The timestamp of a cookie's SYN-ACK: not later than `clock`, with the SYN's options in its low bits."""
    options: i64 = _NO_SCALE if syn.window_scale == NO_SCALE else min(syn.window_scale, 14)
    if syn.sack_permitted:
        options |= _SACK
    if syn.flags & _ECN_SETUP == _ECN_SETUP:
        options |= _ECN
    stamp = (clock & ~i64(_OPTION_BITS)) | options
    if stamp > clock:
        stamp -= _OPTION_BITS + 1
    return stamp & SEQ_MASK


def remembered_syn(segment: Segment, mss: i64, settings: TcpSettings) -> Segment:
    """The SYN that `segment`, which brought a cookie back, followed; its window is no longer known."""
    syn = Segment((segment.seq - 1) & SEQ_MASK, 0, SYN, segment.window)
    syn.mss = mss
    if segment.has_timestamp and settings.timestamps:
        options = segment.ts_echo & _OPTION_BITS
        syn.has_timestamp = True
        syn.ts_value = segment.ts_value
        if options & _SCALE_MASK != _NO_SCALE:
            syn.window_scale = options & _SCALE_MASK
        syn.sack_permitted = options & _SACK != 0
        if options & _ECN:
            syn.flags |= _ECN_SETUP
    return syn


def cookie_answer(
    syn: Segment, cookie: i64, mss: i64, clock: i64, options: TcpOptions, settings: TcpSettings
) -> Segment:
    """The SYN-ACK that carries `cookie` in answer to `syn`: `mss` is what the path takes, `clock` the timestamp clock."""
    window = min(options.receive_buffer or settings.receive_buffer, MAX_FIELD)
    if options.window_clamp:
        window = min(window, options.window_clamp)
    answer = Segment(cookie, (syn.seq + 1) & SEQ_MASK, SYN | ACK, window)
    answer.mss = min(mss, options.max_segment) if options.max_segment else mss
    if syn.has_timestamp and settings.timestamps:
        answer.has_timestamp = True
        answer.ts_value = _pack_options(syn, clock)
        answer.ts_echo = syn.ts_value
        if syn.window_scale != NO_SCALE and settings.window_scaling:
            answer.window_scale = offered_scale(options, settings)
        answer.sack_permitted = syn.sack_permitted and settings.sack != 0
        if settings.ecn and syn.flags & _ECN_SETUP == _ECN_SETUP:
            answer.flags |= ECE
    return answer
