"""Relays: a stream socket of the host joined with a stream socket of a kernel.  Between the posix host's loop and `kern`.

The Linux guest (whose program holds the other end of a unix socket) and the gateway of the `user` link (whose host end is
TCP) are made of these. What crosses a relay:

* Bytes, both ways, with back-pressure: the host's descriptor is not read while the kernel's send buffer is short, and what
  the host's socket does not take stays in the kernel's receive queue, so that its window closes.
* The end of either direction: end of file -> `finish` (FIN), and FIN -> shutdown(SHUT_WR).
* Resets, either way; how a reset reaches the host's side is a hook, as unix sockets have none.

All of it runs on the schedule; the descriptor is non-blocking. It is watched edge-triggered, so that waiting for the kernel
costs no epoll_ctl: `_input` remembers that there may be something to read. EPOLLOUT is asked for only while a write
is stuck, or every read by the program would wake us. A short read means that the descriptor is empty (epoll(7)),
unless its end has been reported already.

The kernel's side tells us by `notify`, which only puts the relay on the pool's list; the pool serves the list before the
host leaves the kernel. A transfer between two kernels of one host could go on in there for ever, so after MAX_ROUNDS the
pool lets others have their turn.
"""

import errno
import fcntl
import os
import socket
import struct
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, POLLHUP, poll
from typing import Final, final

from mypy_extensions import mypyc_attr

from ..hosts.posix.host import PosixHost
from ..hosts.posix.loop import Source
from ..hosts.task import Task
from ..hyper.time import Instant
from ..kern.abi.ioctl import FIONREAD
from ..kern.abi.poll import POLLOUT
from ..kern.counters import Counters
from ..kern.socket import Chunk, StreamSocket
from ..kern.wait import Observer

MIN_READ: Final = 16 << 10
MAX_READ: Final = 256 << 10
"""Bytes that one read asks for: it doubles while reads come back full, until an eighth of it would have done for all there was."""
WORTH_FITTING: Final = 64 << 10
"""From this size on a read ends where a super-segment does; else its rest is joined with the next one's start and goes alone."""
LOW_SPACE: Final = 4096
"""With less room in the kernel's send buffer the host is read only if the kernel calls the socket writable nonetheless, so
that bulk data does not turn into crumbs."""
MAX_WRITE: Final = 256 << 10
MAX_PARTS: Final = 1024
"""IOV_MAX."""
BY_VIEW: Final = 2048
"""Parts of a body from this size on are written from where they are; smaller ones are cheaper to copy."""
MAX_ROUNDS: Final = 32
"""How often a pool serves its list within one entry."""

WATCH: Final = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET
_SIOCATMARK: Final = 0x8905
_NUMBER: Final = bytes(4)
ENDINGS: Final = EPOLLRDHUP | EPOLLHUP | EPOLLERR


@final
class RelayCounters(Counters):
    """What went through the relays of a pool."""

    def __init__(self) -> None:
        self.started: int = 0
        self.ended: int = 0
        self.bytes_to_kernel: int = 0
        self.bytes_to_host: int = 0
        self.discarded: int = 0
        """Bytes for a host side that reads no more."""
        self.host_resets: int = 0
        self.kernel_resets: int = 0

    def names(self) -> tuple[str, ...]:
        return (
            "started", "ended", "bytes_to_kernel", "bytes_to_host", "discarded", "host_resets", "kernel_resets",
        )  # fmt: skip


@final
class RelayPool(Task):
    """The relays of one host that have something to do."""

    def __init__(self, host: PosixHost) -> None:
        self.host: PosixHost = host
        self.counters: RelayCounters = RelayCounters()
        self._dirty: list[Relay] = []
        self._entry: Instant = 0
        self._rounds: int = 0

    def mark(self, relay: "Relay") -> None:
        """Serve `relay` before the host leaves the kernel."""
        if relay.dirty:
            return
        relay.dirty = True
        if not self._dirty:
            self._queue()
        self._dirty.append(relay)

    def run(self, now: Instant) -> None:
        """Serve the list."""
        dirty = self._dirty
        self._dirty = []
        for relay in dirty:
            relay.dirty = False
            relay.serve(now)

    def _queue(self) -> None:
        host = self.host
        if self._entry != host.now:
            self._entry = host.now
            self._rounds = 0
        self._rounds += 1
        if self._rounds <= MAX_ROUNDS:
            host.defer(self)
        else:
            host.later(self)


@final
class _Bell(Observer):
    """What the kernel's socket tells of its events."""

    def __init__(self, relay: "Relay") -> None:
        self._relay: Relay = relay

    def notify(self) -> None:
        self._relay.pool.mark(self._relay)


@mypyc_attr(allow_interpreted_subclasses=True)
class Relay(Source):
    """One joint.  Subclass it to hear of its end and to say how resets cross.  All methods are called on the schedule."""

    def __init__(self, pool: RelayPool, fd: int, kernel_side: StreamSocket) -> None:
        """The relay owns `fd` (a connected stream socket) from now on, and a reference to `kernel_side`."""
        super().__init__(fd, True)
        self.pool: RelayPool = pool
        self.kernel_side: StreamSocket = kernel_side
        self.bytes_to_kernel: int = 0
        self.bytes_to_host: int = 0
        self.dirty: bool = False
        self.hung_up: bool = False
        """The host side is gone for both directions (EPOLLHUP)."""
        self.ended: bool = False
        self.discards: bool = False
        """The host side reads no more: what the kernel has for it is dropped."""
        self._bell: _Bell = _Bell(self)
        self._input: bool = False
        """There may be something to read from the host.  If there is at the start, watching it says so."""
        self._input_ends: bool = False
        """An end was reported: read on after short reads, as no further edge will come."""
        self._input_done: bool = False
        self._host_error: bool = False
        self._urgent: bool = False
        """There was urgent data: reads end where it begins, short or not."""
        self._output_stuck: bool = False
        self.output_done: bool = False
        """The kernel's direction is over, and the host side was told."""
        self._rest: bytes = b""
        """What was read and the kernel did not take; empty as a rule."""
        self._read_size: int = MIN_READ
        self._burst: int = 0
        """Bytes of the reads since the last short one."""

    def start(self, now: Instant) -> None:
        """Begin to carry bytes.  Raises OSError if the descriptor can't be watched."""
        self.prepare()
        self.pool.host.loop.register(self, WATCH)
        self.kernel_side.hold()
        self.kernel_side.queue.subscribe(self._bell)
        self.pool.counters.started += 1
        self.pool.mark(self)

    def written(self, size: int, now: Instant) -> None:
        """`size` of the bytes that the kernel has for the host were written before the start."""
        self.bytes_to_host += size
        self.pool.counters.bytes_to_host += size
        self.kernel_side.consume(size, now)

    def prepare(self) -> None:
        """Make the descriptor one that does not block, and has its urgent data in line."""
        os.set_blocking(self.fd, False)
        with _borrowed(self.fd) as host_side:
            host_side.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            host_side.detach()

    # What others override --------------------------------------------------------------------------------

    def on_host_end(self, now: Instant) -> None:
        """The host side sends no more (`hung_up`: and reads no more, it is closed): end the kernel's direction."""
        self.kernel_side.finish(now)

    def on_host_reset(self, now: Instant) -> None:
        """The host side was reset: reset the kernel's."""
        self.kernel_side.abort(now)

    def on_kernel_reset(self, number: int, now: Instant) -> None:
        """The kernel's side was reset, or gave up, with this errno: make the close of the host side that follows a reset."""
        self.linger(0)

    def on_refused(self, now: Instant) -> bool:
        """The host side takes no more bytes (EPIPE).  True: drop what comes for it, as after its shutdown(SHUT_RD), while
        the other direction goes on. False: that is a reset."""
        return False

    def on_end(self, now: Instant) -> None:
        """The relay is over and has let go of both sides.  Called once."""
        return None

    # Events ----------------------------------------------------------------------------------------------

    def on_events(self, events: int, now: Instant) -> None:
        """The host's descriptor has something to say."""
        if events & ENDINGS:
            self._input_ends = True
            if events & EPOLLHUP:
                self.hung_up = True
            if events & EPOLLERR:
                self._host_error = True
        if events & EPOLLPRI:
            self._urgent = True
        if events & (EPOLLIN | EPOLLPRI | ENDINGS):
            self._input = True
            self._carry_in(now)
        if events & EPOLLOUT and self._output_stuck and not self.ended:
            self._output_stuck = False
            self.pool.host.loop.modify(self, WATCH)
            self._carry_out(now)

    def serve(self, now: Instant) -> None:
        """The kernel's side has something to say."""
        if self.ended:
            return
        if not self._output_stuck:
            self._carry_out(now)
        elif self.kernel_side.reset_by() != 0:
            self._kernel_failed(now)
        if self._input and not self.ended:
            self._carry_in(now)

    # Host to kernel --------------------------------------------------------------------------------------

    def _carry_in(self, now: Instant) -> None:
        """Read while there is something to read and room for it."""
        side = self.kernel_side
        at_mark = False
        while self._input and not self.ended:
            room = side.space()
            if room < LOW_SPACE and not self._input_done and (side.poll() & POLLOUT == 0 or room <= 0):
                # space() and poll() leave word with the socket that we want to hear of room.
                if self._host_error:
                    self._host_failed(now)
                elif side.reset_by() != 0:
                    self._kernel_failed(now)
                return
            if self._rest:
                data = self._rest
                size = len(data)
            else:
                size = min(self._read_size, room)
                if size >= WORTH_FITTING:
                    size = side.fitting(size)
                if self._urgent:
                    at_mark = self._at_mark()
                    if at_mark:
                        size = 1
                try:
                    data = os.read(self.fd, size)
                except OSError as error:
                    self._input = False
                    if error.errno != errno.EAGAIN:
                        self._host_failed(now)
                    return
                if not data:
                    self._end_of_input(now)
                    return
            if at_mark:
                taken = side.put_urgent(data, now)
            else:
                # Once the end was reported it follows, and goes with what is left before it.
                taken = side.put(data, now, self._input_ends)
            self.bytes_to_kernel += taken
            self.pool.counters.bytes_to_kernel += taken
            if taken < len(data):
                self._rest = data[taken:]
                return
            if self._rest:
                self._rest = b""
            elif len(data) == size:
                self._burst += size
                if room >= self._read_size:
                    self._read_size = min(self._read_size * 2, MAX_READ)
            else:
                if self._burst + len(data) < self._read_size >> 3:
                    self._read_size = MIN_READ
                self._burst = 0
                if not self._input_ends and not self._urgent:
                    self._input = False

    def _at_mark(self) -> bool:
        """Whether the host's next byte is urgent."""
        try:
            return fcntl.ioctl(self.fd, _SIOCATMARK, _NUMBER) != _NUMBER
        except OSError:  # unix sockets before Linux 5.15
            return False

    def _end_of_input(self, now: Instant) -> None:
        self._input = False
        self._input_done = True
        self.on_host_end(now)
        if self.output_done or self.hung_up:
            self._end(now)

    def _host_failed(self, now: Instant) -> None:
        """A read or write says that the host side was reset."""
        self.pool.counters.host_resets += 1
        self.on_host_reset(now)
        self._end(now)

    # Kernel to host --------------------------------------------------------------------------------------

    def _carry_out(self, now: Instant) -> None:
        """Write while the kernel has something and the host takes it."""
        side = self.kernel_side
        while not self.output_done and side.readable() > 0:
            ahead = side.until_urgent()
            if ahead == 0 and not self.discards:
                if not self._put_out_urgent(now):
                    return
                continue
            chunks = side.front(MAX_WRITE)
            if ahead > 0:
                _shorten(chunks, ahead)
            if self.discards:
                wanted = written = _total(chunks)
                self.pool.counters.discarded += wanted
            else:
                try:
                    if len(chunks) == 1:
                        chunk = chunks[0]
                        wanted = chunk.size
                        written = os.write(self.fd, _part(chunk))
                    else:
                        del chunks[MAX_PARTS:]
                        wanted = _total(chunks)
                        written = os.writev(self.fd, [_part(chunk) for chunk in chunks])
                except OSError as error:
                    if error.errno == errno.EAGAIN:
                        self._get_stuck()
                    elif error.errno == errno.EPIPE and self.on_refused(now):
                        self.discards = True
                        continue
                    else:
                        self._host_failed(now)
                    return
                self.bytes_to_host += written
                self.pool.counters.bytes_to_host += written
            side.consume(written, now)
            if written < wanted:
                self._get_stuck()
                return
        if side.reset_by() != 0:
            self._kernel_failed(now)
        elif not self.output_done and side.at_end():
            self._end_output(now)

    def _put_out_urgent(self, now: Instant) -> bool:
        """Write one byte, which is urgent; False where nothing more can be written now."""
        side = self.kernel_side
        byte = side.front(1)[0].bytes()[:1]
        with _borrowed(self.fd) as host_side:
            try:
                host_side.send(byte, socket.MSG_OOB | socket.MSG_NOSIGNAL)
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP:
                    return self._put_out_plainly(byte, now)
                if error.errno == errno.EAGAIN:
                    self._get_stuck()
                elif error.errno == errno.EPIPE and self.on_refused(now):
                    self.discards = True
                    return True
                else:
                    self._host_failed(now)
                return False
            finally:
                host_side.detach()
        side.consume(1, now)
        return True

    def _put_out_plainly(self, byte: bytes, now: Instant) -> bool:
        """The same where the host's sockets know of nothing urgent."""
        try:
            os.write(self.fd, byte)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                self._get_stuck()
            else:
                self._host_failed(now)
            return False
        self.kernel_side.consume(1, now)
        return True

    def _kernel_failed(self, now: Instant) -> None:
        """The kernel's side was reset, or timed out; what it has received before has gone out as far as possible."""
        if self.ended:
            return
        self.pool.counters.kernel_resets += 1
        self.on_kernel_reset(self.kernel_side.reset_by(), now)
        self._end(now)

    def _get_stuck(self) -> None:
        self._output_stuck = True
        self.pool.host.loop.modify(self, WATCH | EPOLLOUT)

    def _end_output(self, now: Instant) -> None:
        self.output_done = True
        if self._input_done:
            self._end(now)
            return
        with _borrowed(self.fd) as host_side:
            try:
                host_side.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it is gone altogether, which its events say
            host_side.detach()

    # The end ---------------------------------------------------------------------------------------------

    def unsent(self) -> int:
        """Bytes from the host that the kernel's peer has not acknowledged, wherever they are."""
        waiting = fcntl.ioctl(self.fd, FIONREAD, _NUMBER)
        assert isinstance(waiting, bytes)
        return int.from_bytes(waiting, "little") + len(self._rest) + self.kernel_side.unacknowledged()

    def host_gone(self) -> bool:
        """Whether the host side is closed for both directions at this moment."""
        poller = poll()
        poller.register(self.fd, 0)
        return any(events & POLLHUP for _, events in poller.poll(0))

    def linger(self, seconds: int) -> None:
        """Set SO_LINGER of the host side; 0 makes its close a reset, for TCP."""
        with _borrowed(self.fd) as host_side:
            try:
                host_side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
            except OSError:
                pass
            host_side.detach()

    def abort(self, now: Instant) -> None:
        """Reset both sides and end."""
        if not self.ended:
            self.linger(0)
            self.kernel_side.abort(now)
            self._end(now)

    def close(self, now: Instant) -> None:
        """End without ceremony: both sides are closed as they are."""
        if not self.ended:
            self._end(now)

    def _end(self, now: Instant) -> None:
        if self.ended:
            return
        self.ended = True
        self._input = False
        self._rest = b""
        self.pool.host.loop.unregister(self)
        os.close(self.fd)
        self.kernel_side.queue.unsubscribe(self._bell)
        self.kernel_side.release(now)
        self.pool.counters.ended += 1
        self.on_end(now)


def _borrowed(fd: int) -> socket.socket:
    """A socket object over `fd`, to be detached again.  With its kind given it asks the host nothing."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)


def _total(chunks: list[Chunk]) -> int:
    size = 0
    for chunk in chunks:
        size += chunk.size
    return size


def _shorten(chunks: list[Chunk], size: int) -> None:
    """Leave `size` bytes of the chunks, in chunks of their own: those are the receive queue's."""
    kept: list[Chunk] = []
    for chunk in chunks:
        part = min(chunk.size, size)
        if part > 0:
            kept.append(Chunk(chunk.body, chunk.start, part))
        size -= part
    chunks[:] = kept


def _part(chunk: Chunk) -> bytes | memoryview:
    """A chunk's bytes for a write, copied only where that is cheaper than not to."""
    if chunk.size < BY_VIEW or chunk.size == len(chunk.body):
        return chunk.bytes()
    return memoryview(chunk.body)[chunk.start : chunk.start + chunk.size]
