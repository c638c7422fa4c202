"""Several messages in one system call (Linux sendmmsg, recvmmsg): between the socket calls and the waits of single messages."""

from collections.abc import Callable, Sequence
from typing import TypeAlias, final

from mypy_extensions import mypyc_attr

from ..hyper.time import FOREVER, Instant
from .abi.errno import EAGAIN, error
from .abi.socket import MSG_DONTWAIT, MSG_WAITFORONE
from .socket import ControlMessage, Received, Socket, SocketAddress
from .wait import Blocked

Message: TypeAlias = tuple[Sequence[bytes], Sequence[ControlMessage], SocketAddress | None]
"""What sendmmsg sends: the parts, control messages, and where to, or None for the peer."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Batch(Blocked):
    """Messages one after another.  What was done before an error is the result; the next call hears of the error."""

    def __init__(self, socket: Socket, count: int, deadline: Instant) -> None:
        super().__init__(socket.queue, deadline)
        self.socket: Socket = socket
        self.count: int = count
        self.done: int = 0
        self._inner: Blocked | None = None

    def start(self) -> object:
        """Begin with the next message: its result or Blocked."""
        raise NotImplementedError

    def take(self, result: object) -> None:
        """Keep the result of a message."""
        return None

    def result(self) -> object:
        """What the call returns."""
        return self.done

    def go_on(self) -> object:
        """Do as many as go without waiting: the call's result, or this itself."""
        while self.done < self.count:
            inner = self._inner
            try:
                found = self.start() if inner is None else inner.retry()
            except OSError as problem:
                if self.done == 0:
                    raise
                if problem.errno != EAGAIN:
                    self.socket.put_off(problem.errno or 0)
                break
            if isinstance(found, Blocked):
                if inner is None and self.done == 0:
                    self.deadline = min(self.deadline, found.deadline)
                self._inner = found
                self.queue = found.queue
                return self
            self._inner = None
            self.take(found)
            self.done += 1
        return self.result()

    def retry(self) -> object:
        """Go on after a wake."""
        return self.go_on()

    def so_far(self) -> object | None:
        """What was done, if anything was."""
        return self.result() if self.done else None

    def cancel(self) -> None:
        """Undo what the message that waits has set up."""
        if self._inner is not None:
            self._inner.cancel()


@final
class SendBatch(Batch):
    """sendmmsg."""

    def __init__(self, socket: Socket, messages: Sequence[Message], send: Callable[[Message], object]) -> None:
        super().__init__(socket, len(messages), FOREVER)
        self._messages: Sequence[Message] = messages
        self._send: Callable[[Message], object] = send

    def start(self) -> object:
        return self._send(self._messages[self.done])


@final
class ReceiveBatch(Batch):
    """recvmmsg."""

    def __init__(
        self, socket: Socket, count: int, flags: int, deadline: Instant, receive: Callable[[int], object]
    ) -> None:
        super().__init__(socket, count, deadline)
        self._flags: int = flags & ~MSG_WAITFORONE
        self._later: int = MSG_DONTWAIT if flags & MSG_WAITFORONE else 0
        self._receive: Callable[[int], object] = receive
        self._received: list[Received] = []

    def start(self) -> object:
        return self._receive(self._flags | self._later if self.done else self._flags)

    def take(self, result: object) -> None:
        if not isinstance(result, Received):
            raise error(EAGAIN)
        self._received.append(result)

    def result(self) -> object:
        return self._received
