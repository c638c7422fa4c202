"""shutdown, some ioctls, and connect to nobody (AF_UNSPEC): what ends a stream, or asks how much of it is left.

Beside `calls_socket`.  The filter passes only those on that a unix socket would get wrong: shutdown for writing alone, and all
other ioctls, stay native.
"""

from typing import Final

from ...kern.abi.errno import EINVAL, ENOTCONN, error
from ...kern.abi.fcntl import O_CLOEXEC, O_NONBLOCK
from . import ends
from .context import Context
from .listener import Notification
from .stream import FAILED, FRESH, LISTENING, OVER, Stream

_INT: Final = 0xFFFFFFFF
_RENEWED: Final = O_NONBLOCK | O_CLOEXEC


def call_shutdown(context: Context, call: Notification) -> int | None:
    """shutdown(2), but for SHUT_WR."""
    record = context.find(call)
    if isinstance(record, Stream):
        if call.arguments[1] & _INT > 2:
            raise error(EINVAL)
        if record.state == LISTENING:
            record.shut()
            return 0
        if record.state in (FRESH, FAILED, OVER) or context.run(record.stream.reset_by):
            raise error(ENOTCONN)
        record.shut_down = True
    context.listener.proceed(call.id)
    return None


def call_ioctl(context: Context, call: Notification) -> int | None:
    """ioctl(2) with SIOCOUTQ: bytes that the peer has not acknowledged."""
    record = context.find(call)
    if not isinstance(record, Stream):
        context.listener.proceed(call.id)
        return None
    if record.state == LISTENING:
        raise error(EINVAL)
    context.memory.write_word(call.thread, call.arguments[2], context.run(record.unsent))
    return 0


def disconnect(context: Context, call: Notification, record: Stream) -> int:
    """connect(2) to AF_UNSPEC: the socket is as new, but for its options and the name that it was bound to."""
    if record.state == FRESH:
        context.run(record.socket.connect, (b"", 0), context.host.now)
    else:
        renew(context, call, record)
    return 0


def renew(context: Context, call: Notification, record: Stream) -> None:
    """Give the program a fresh unix socket for one that is used up, at the same number.  Others of its numbers for it, and epoll
    sets, keep the old one.  Raises EMFILE and the like."""
    number = call.arguments[0] & _INT
    flags = _flags_of(call.thread, number)
    record.place = call.thread, number
    record.drop()
    context.exchange(call, number, record, flags & _RENEWED)
    with ends.stream(context.copy(call)) as copy:
        ends.give_options(copy.fileno(), record.inherited)


def _flags_of(thread: int, number: int) -> int:
    """O_* of a descriptor of the program's."""
    with open(f"/proc/{thread}/fdinfo/{number}") as info:
        for line in info:
            if line.startswith("flags:"):
                return int(line[6:], 8)
    return 0
