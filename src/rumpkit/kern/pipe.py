"""Pipes (POSIX pipe, read, write; Linux pipe(7)): two open files over one bounded queue of byte strings.

Data is held by reference to the writers' bytes objects.  Small writes are joined, so that a pipe full of single bytes does not hold
an object for each.  Readiness is as on Linux: the write end is writable while an atomic write fits.
"""

from collections import deque
from typing import Final, final

from ..hyper.time import Instant
from .abi.errno import EBUSY, EINVAL, ENOTTY, EPIPE, error
from .abi.fcntl import O_RDONLY, O_WRONLY, PIPE_BUF
from .abi.ioctl import FIONREAD
from .abi.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from .file import OpenFile
from .wait import Blocked, WaitQueue

JOIN_BELOW: Final = 256
"""Chunks that stay below this many bytes together are joined as they are written."""


@final
class PipeBuffer:
    """The bytes in a pipe, and which of its ends are open."""

    def __init__(self, capacity: int) -> None:
        self.capacity: int = capacity
        self.size: int = 0
        self.readers: WaitQueue | None = None
        """The read end's queue; None once that end is closed."""
        self.writers: WaitQueue | None = None
        self._chunks: deque[bytes] = deque()
        self._start: int = 0
        """Where in the first chunk the unread part starts."""

    def room(self, wanted: int) -> int:
        """How many of `wanted` bytes may go in now: at most PIPE_BUF of them all or none."""
        free = self.capacity - self.size
        if wanted <= free:
            return wanted
        return 0 if wanted <= PIPE_BUF or free < 0 else free

    def put(self, data: bytes) -> None:
        """Append `data`, for which there is room."""
        chunks = self._chunks
        self.size += len(data)
        if chunks and len(chunks[-1]) + len(data) < JOIN_BELOW:
            chunks[-1] += data
        else:
            chunks.append(data)

    def take(self, limit: int) -> bytes:
        """Remove and return up to `limit` bytes."""
        chunks = self._chunks
        first = chunks[0]
        start = self._start
        have = len(first) - start
        if have > limit:
            self._start = start + limit
            self.size -= limit
            return first[start : start + limit]
        chunks.popleft()
        self._start = 0
        self.size -= have
        data = first if start == 0 else first[start:]
        if have == limit or not chunks:
            return data
        return self._take_more(data, limit)

    def _take_more(self, data: bytes, limit: int) -> bytes:
        chunks = self._chunks
        parts = [data]
        left = limit - len(data)
        while chunks and left:
            first = chunks[0]
            if len(first) > left:
                parts.append(first[:left])
                self._start = left
                self.size -= left
                break
            parts.append(chunks.popleft())
            self.size -= len(first)
            left -= len(first)
        return b"".join(parts)

    def resize(self, capacity: int) -> None:
        """Change the capacity (F_SETPIPE_SZ).  Raises EBUSY if more is in the pipe."""
        if capacity < self.size:
            raise error(EBUSY)
        self.capacity = capacity
        if self.writers is not None:
            self.writers.wake_all()


@final
class PipeReader(OpenFile):
    """The read end."""

    def __init__(self, buffer: PipeBuffer, flags: int = 0) -> None:
        super().__init__(O_RDONLY | flags)
        self.buffer: PipeBuffer = buffer
        buffer.readers = self.queue

    def read(self, size: int, now: Instant) -> bytes | Blocked:
        """What is there, up to `size` bytes; b"" once no writer is left; Blocked while there is one."""
        buffer = self.buffer
        if buffer.size and size:
            data = buffer.take(size)
            if buffer.writers is not None:
                buffer.writers.wake_all()
            return data
        if buffer.writers is None or size == 0:
            return b""
        return Blocked(self.queue)

    def poll(self) -> int:
        """POLLIN while there is data, POLLHUP once no writer is left."""
        buffer = self.buffer
        bits = POLLIN | POLLRDNORM if buffer.size else 0
        return bits | POLLHUP if buffer.writers is None else bits

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """FIONREAD."""
        return _pipe_ioctl(self.buffer, request)

    def close(self, now: Instant) -> None:
        """Writers get EPIPE from now on."""
        self.buffer.readers = None
        if self.buffer.writers is not None:
            self.buffer.writers.wake_all()

    def describe(self) -> str:
        return "pipe (read end)"


@final
class PipeWriter(OpenFile):
    """The write end."""

    def __init__(self, buffer: PipeBuffer, flags: int = 0) -> None:
        super().__init__(O_WRONLY | flags)
        self.buffer: PipeBuffer = buffer
        buffer.writers = self.queue

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        """All of `data`, or Blocked with what went as progress.  Raises EPIPE once no reader is left."""
        buffer = self.buffer
        readers = buffer.readers
        if readers is None:
            raise error(EPIPE)
        size = len(data)
        if size == 0:
            return 0
        taken = buffer.room(size)
        if taken == size:
            buffer.put(data)
            readers.wake_all()
            return size
        if taken:
            buffer.put(data[:taken])
            readers.wake_all()
        return Blocked(self.queue, progress=taken or None)

    def write_part(self, data: bytes, start: int, now: Instant) -> int | Blocked:
        """What there is room for of a write that need not be atomic any more, or all of one that must be."""
        buffer = self.buffer
        readers = buffer.readers
        if readers is None:
            raise error(EPIPE)
        size = len(data)
        left = size - start
        taken = buffer.room(size) if start == 0 else min(left, max(buffer.capacity - buffer.size, 0))
        if taken == 0:
            return Blocked(self.queue)
        buffer.put(data if taken == size else data[start : start + taken])
        readers.wake_all()
        return taken

    def poll(self) -> int:
        """POLLOUT while an atomic write fits, POLLERR once no reader is left."""
        buffer = self.buffer
        bits = POLLOUT | POLLWRNORM if buffer.capacity - buffer.size >= PIPE_BUF else 0
        return bits | POLLERR if buffer.readers is None else bits

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """FIONREAD."""
        return _pipe_ioctl(self.buffer, request)

    def close(self, now: Instant) -> None:
        """Readers get the end of file once the pipe is empty."""
        self.buffer.writers = None
        if self.buffer.readers is not None:
            self.buffer.readers.wake_all()

    def describe(self) -> str:
        return "pipe (write end)"


def make_pipe(capacity: int, flags: int = 0) -> tuple[PipeReader, PipeWriter]:
    """A new pipe of `capacity` bytes; `flags` (O_NONBLOCK) go to both ends."""
    buffer = PipeBuffer(capacity)
    return PipeReader(buffer, flags), PipeWriter(buffer, flags)


def buffer_of(file: OpenFile) -> PipeBuffer:
    """The buffer behind either end.  Raises EBADF's cousin EINVAL for what is no pipe (F_GETPIPE_SZ)."""
    if isinstance(file, PipeReader):
        return file.buffer
    if isinstance(file, PipeWriter):
        return file.buffer
    raise error(EINVAL)


def _pipe_ioctl(buffer: PipeBuffer, request: int) -> bytes:
    if request != FIONREAD:
        raise error(ENOTTY)
    return buffer.size.to_bytes(4, "little")
