"""The user timeout as both ends know it (RFC 5482): how long data may stay unacknowledged before a connection is given up.

Functions over a ControlBlock.  The user's own (TCP_USER_TIMEOUT) always counts; the option on the wire, which tells the peer of it
and takes the peer's where our user has none, is off unless net.tcp.user_timeout_option says so.
"""

from typing import Final

from mypy_extensions import i64

from ....hyper.time import MILLISECOND, Instant
from ...wire.segment import Segment
from .block import ControlBlock

_SECOND: Final = 1000
_MINUTE: Final = 60_000
_IN_MINUTES: Final = 0x8000
_LARGEST: Final = 0x7FFF


def user_timeout(block: ControlBlock) -> i64:
    """The timeout in nanoseconds; 0 if the number of retransmissions decides."""
    own: i64 = block.options.user_timeout
    return (own or block.peer_timeout) * MILLISECOND


def within_patience(block: ControlBlock, when: Instant, since: Instant) -> Instant:
    """When to try again: at `when`, or before, where the user's timeout, which began at `since`, ends (as Linux's
    tcp_clamp_rto_to_user_timeout)."""
    limit = user_timeout(block)
    return min(when, since + limit) if limit else when


def attach(block: ControlBlock, segment: Segment) -> None:
    """Tell the peer of our user's timeout, if there is one and we may."""
    timeout: i64 = block.options.user_timeout
    if timeout and block.settings.user_timeout_option:
        segment.user_timeout = encode(timeout)


def take(block: ControlBlock, segment: Segment) -> None:
    """The peer tells of its timeout: ours is no shorter, within our limits (RFC 5482 section 3.1)."""
    settings = block.settings
    if not settings.user_timeout_option or segment.user_timeout < 0:
        return
    least: i64 = settings.user_timeout_least
    most: i64 = settings.user_timeout_most
    block.peer_timeout = min(max(decode(segment.user_timeout), least), most)


def encode(milliseconds: i64) -> i64:
    """The option's field: seconds, or minutes where these don't fit; rounded up, never 0."""
    seconds = max((milliseconds + _SECOND - 1) // _SECOND, 1)
    if seconds <= _LARGEST:
        return seconds
    return _IN_MINUTES | min((milliseconds + _MINUTE - 1) // _MINUTE, _LARGEST)


def decode(field: i64) -> i64:
    """Milliseconds."""
    return (field & _LARGEST) * (_MINUTE if field & _IN_MINUTES else _SECOND)
