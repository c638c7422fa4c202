"""What relays and guests use of a TCP socket: plain methods, none of which waits or raises for want of data or room.

Between them and a connection; `stream` puts the system calls on top.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from ...hyper.time import Instant
from ...kern.socket import Chunk, StreamSocket
from ..transport.tcp.channel import Channel
from ..transport.tcp.layer import Tcp
from ..transport.tcp.send import super_segment_size
from ..transport.tcp.states import SYN_RECEIVED, SYN_SENT

RECEIVING: Final = 1
SENDING: Final = 2


@mypyc_attr(allow_interpreted_subclasses=True)
class TcpStream(StreamSocket):
    """A stream over TCP, while there is a connection."""

    def __init__(self, tcp: Tcp, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self.tcp: Tcp = tcp
        self.channel: Channel | None = None
        self.shut: int = 0
        """The directions that shutdown() ended: RECEIVING, SENDING."""

    def space(self) -> int:
        channel = self.channel
        return 0 if channel is None else int(channel.connection.space())

    def fitting(self, limit: int) -> int:
        channel = self.channel
        if channel is None:
            return limit
        block = channel.connection.block
        whole: int = super_segment_size(block)
        size = limit - (limit + block.send_queue.end - block.snd_nxt) % whole
        return size if size > 0 else limit

    def put(self, data: bytes, now: Instant, more: bool = False) -> int:
        channel = self.channel
        if channel is None:
            return 0
        taken = int(channel.connection.write(data, 0, more))
        if taken and channel.connection.block.state not in (SYN_SENT, SYN_RECEIVED):
            self.tcp.settle(channel, now)
        return taken

    def put_urgent(self, data: bytes, now: Instant) -> int:
        channel = self.channel
        if channel is None:
            return 0
        taken = int(channel.connection.write(data, 0))
        if taken == len(data):
            channel.connection.mark_urgent()
        if taken and channel.connection.block.state not in (SYN_SENT, SYN_RECEIVED):
            self.tcp.settle(channel, now)
        return taken

    def until_urgent(self) -> int:
        channel = self.channel
        return -1 if channel is None else int(channel.connection.until_urgent())

    def readable(self) -> int:
        channel = self.channel
        return 0 if channel is None else int(channel.connection.readable())

    def front(self, limit: int) -> list[Chunk]:
        channel = self.channel
        return [] if channel is None else channel.connection.front(limit)

    def consume(self, size: int, now: Instant) -> None:
        channel = self.channel
        if channel is not None:
            connection = channel.connection
            connection.consume(size, now)
            if connection.block.acks_owed:
                self.tcp.settle(channel, now)
            elif connection.block.ack_at < channel.deadline:
                self.tcp.hasten(channel)

    def at_end(self) -> bool:
        channel = self.channel
        if channel is None:
            return False
        connection = channel.connection
        return connection.readable() == 0 and connection.finished_receiving() and not connection.block.error

    def finish(self, now: Instant) -> None:
        channel = self.channel
        if channel is not None and not self.shut & SENDING:
            self.shut |= SENDING
            channel.connection.finish(now)
            self.tcp.settle(channel, now)

    def abort(self, now: Instant) -> None:
        channel = self.channel
        if channel is not None:
            channel.connection.abort(now)
            self.tcp.settle(channel, now)

    def reset_by(self) -> int:
        channel = self.channel
        return 0 if channel is None else channel.connection.block.error

    def unacknowledged(self) -> int:
        channel = self.channel
        return 0 if channel is None else int(channel.connection.block.send_queue.size())
