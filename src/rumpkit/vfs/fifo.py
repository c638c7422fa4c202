"""FIFOs (POSIX mkfifo, open, Linux fifo(7)): a pipe that is found by a name.

All open files of one FIFO share one buffer and one wait queue, which hang on the vnode while any of them is open.
"""

from typing import Final, final

from ..hyper.calls import Hypercalls
from ..hyper.time import Instant
from ..kern.abi.errno import EINVAL, ENOTTY, ENXIO, EPIPE, ESPIPE, error
from ..kern.abi.fcntl import O_ACCMODE, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, PIPE_BUF
from ..kern.abi.ioctl import FIONREAD
from ..kern.abi.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from ..kern.pipe import PipeBuffer
from ..kern.process import Credentials, Process
from ..kern.wait import Blocked, WaitQueue
from .file import VnodeFile
from .vnode import Vnode

READABLE: Final = POLLIN | POLLRDNORM
WRITABLE: Final = POLLOUT | POLLWRNORM


@final
class Fifo:
    """What the open files of one FIFO share."""

    def __init__(self, capacity: int) -> None:
        self.buffer: PipeBuffer = PipeBuffer(capacity)
        self.queue: WaitQueue = WaitQueue()
        self.readers: int = 0
        self.writers: int = 0
        self.reader_opens: int = 0
        """How often it was opened for reading, so that a writer that waits for one notices one that has gone again."""
        self.writer_opens: int = 0


@final
class FifoFile(VnodeFile):
    """One open end, or with O_RDWR both ends, of a FIFO."""

    def __init__(self, vnode: Vnode, flags: int, credentials: Credentials, capacity: int) -> None:
        """Raises ENXIO for a writer that doesn't wait, where nobody reads."""
        access = flags & O_ACCMODE
        self._reads: bool = access in (O_RDONLY, O_RDWR)
        self._writes: bool = access in (O_WRONLY, O_RDWR)
        fifo = vnode.pipe
        if not isinstance(fifo, Fifo):
            fifo = Fifo(capacity)
        if access == O_WRONLY and flags & O_NONBLOCK and not fifo.readers:
            raise error(ENXIO)
        super().__init__(vnode, flags, credentials)
        vnode.pipe = fifo
        self.fifo: Fifo = fifo
        self.queue = fifo.queue
        self._seen: int = fifo.writer_opens if access == O_RDONLY else fifo.reader_opens
        if self._reads:
            fifo.readers += 1
            fifo.reader_opens += 1
        if self._writes:
            fifo.writers += 1
            fifo.writer_opens += 1
        self.queue.wake_all()

    def waits(self) -> bool:
        """Whether `open` still waits for somebody at the other end."""
        fifo = self.fifo
        if self.flags & O_NONBLOCK or (self._reads and self._writes):
            return False
        if self._reads:
            return fifo.writers == 0 and fifo.writer_opens == self._seen
        return fifo.readers == 0 and fifo.reader_opens == self._seen

    def close(self, now: Instant) -> None:
        """Tell the others; with the last of them what was in the pipe goes."""
        fifo = self.fifo
        fifo.readers -= self._reads
        fifo.writers -= self._writes
        if not fifo.readers and not fifo.writers:
            self.vnode.pipe = None
        fifo.queue.wake_all()
        super().close(now)

    def read(self, size: int, now: Instant) -> bytes | Blocked:
        """What is there, up to `size` bytes; b"" where nobody writes."""
        fifo = self.fifo
        if size and fifo.buffer.size:
            data = fifo.buffer.take(size)
            fifo.queue.wake_all()
            return data
        if size == 0 or fifo.writers == 0:
            return b""
        return Blocked(self.queue)

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        """All of `data`, or Blocked with what went as progress.  Raises EPIPE where nobody reads."""
        size = len(data)
        if size == 0:
            return 0
        taken = self._put(data, 0, self.fifo.buffer.room(size))
        return taken if taken == size else Blocked(self.queue, progress=taken or None)

    def write_part(self, data: bytes, start: int, now: Instant) -> int | Blocked:
        """What there is room for of a write that need not be atomic any more, or all of one that must be."""
        buffer = self.fifo.buffer
        size = len(data)
        room = buffer.room(size) if start == 0 else min(size - start, max(buffer.capacity - buffer.size, 0))
        return self._put(data, start, room) or Blocked(self.queue)

    def _put(self, data: bytes, start: int, count: int) -> int:
        fifo = self.fifo
        if fifo.readers == 0:
            raise error(EPIPE)
        if count:
            fifo.buffer.put(data if count == len(data) else data[start : start + count])
            fifo.queue.wake_all()
        return count

    def pread(self, size: int, offset: int, now: Instant) -> bytes:
        """Pipes have no offsets."""
        raise error(ESPIPE)

    def pwrite(self, data: bytes, offset: int, now: Instant) -> int:
        """Pipes have no offsets."""
        raise error(ESPIPE)

    def seek(self, offset: int, whence: int) -> int:
        """Pipes have no offsets."""
        raise error(ESPIPE)

    def truncate(self, size: int, now: Instant) -> None:
        """Pipes have no length."""
        raise error(EINVAL)

    def sync(self, data_only: bool, now: Instant) -> None:
        """Pipes have no storage."""
        raise error(EINVAL)

    def poll(self) -> int:
        """As the ends of a pipe.  A reader whose writer is yet to come sees no POLLHUP."""
        fifo = self.fifo
        bits = 0
        if self._reads:
            if fifo.buffer.size:
                bits |= READABLE
            if fifo.writers == 0 and fifo.writer_opens != self._seen:
                bits |= POLLHUP
        if self._writes:
            if fifo.buffer.capacity - fifo.buffer.size >= PIPE_BUF:
                bits |= WRITABLE
            if fifo.readers == 0:
                bits |= POLLERR
        return bits

    def pollable(self) -> bool:
        """It can be waited for."""
        return True

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """FIONREAD."""
        if request != FIONREAD:
            raise error(ENOTTY)
        return self.fifo.buffer.size.to_bytes(4, "little")

    def describe(self) -> str:
        """What it is, for traces."""
        return f"fifo {self.vnode.number} of {self.vnode.mount.kind}"


@final
class FifoWait(Blocked):
    """An `open` that waits for somebody to open the other end."""

    def __init__(self, hyper: Hypercalls, process: Process, file: FifoFile, close_on_exec: bool) -> None:
        super().__init__(file.queue)
        self._hyper: Hypercalls = hyper
        self._process: Process = process
        self._file: FifoFile = file
        self._close_on_exec: bool = close_on_exec
        file.hold()

    def retry(self) -> object:
        """The descriptor, once somebody is there.  Raises EMFILE."""
        if self._file.waits():
            return self
        return self._process.files.install(self._file, self._close_on_exec)

    def cancel(self) -> None:
        """Give the wait's hold on the file back."""
        self._file.release(self._hyper.now)
