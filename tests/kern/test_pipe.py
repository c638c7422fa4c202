"""Pipes against a bytearray, and the rules of POSIX and Linux about atomic writes, ends and readiness."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rumpkit.kern.abi.errno import EAGAIN, EBADF, EBUSY, EINVAL, EPERM, EPIPE
from rumpkit.kern.abi.fcntl import F_GETPIPE_SZ, F_SETPIPE_SZ, O_CLOEXEC, O_NONBLOCK, PIPE_BUF
from rumpkit.kern.abi.ioctl import FIONREAD
from rumpkit.kern.abi.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from rumpkit.kern.calls import KernCalls
from rumpkit.kern.pipe import make_pipe
from rumpkit.kern.process import Credentials
from rumpkit.kern.wait import Blocked
from tests.kern.helpers import Bell, Raises, make_kernel

CAPACITY = 3 * PIPE_BUF
READABLE, WRITABLE = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM
SIZES = st.one_of(st.integers(0, 300), st.integers(PIPE_BUF - 2, PIPE_BUF + 2), st.integers(0, 2 * CAPACITY))


class PipeMachine(RuleBasedStateMachine):
    """Bytes come out as they went in; at most CAPACITY of them are inside; small writes go as a whole or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.writer = make_pipe(CAPACITY)
        self.reader.hold()
        self.writer.hold()
        self.inside = bytearray()
        self.serial = 0
        self.reading = self.writing = True

    @rule(size=SIZES)
    def write(self, size):
        if not self.writing:
            return
        data = bytes((self.serial + at) % 251 for at in range(size))
        self.serial += size
        if not self.reading:
            with Raises(EPIPE):
                self.writer.write(data, 0)
            return
        bell = Bell()
        self.reader.queue.add(bell)
        result = self.writer.write(data, 0)
        free = CAPACITY - len(self.inside)
        taken = size if size <= free else 0 if size <= PIPE_BUF else free
        if isinstance(result, Blocked):
            assert size > free and result.queue is self.writer.queue
            assert result.progress == (taken or None)
        else:
            assert result == taken == size
        self.inside += data[:taken]
        assert bell.rings == (1 if taken else 0)
        self.reader.queue.remove(bell)

    @rule(size=SIZES, start=st.integers(0, 10))
    def write_part(self, size, start):
        if not (self.writing and self.reading) or size <= start:
            return
        data = bytes((self.serial + at) % 251 for at in range(size))
        result = self.writer.write_part(data, start, 0)
        free = CAPACITY - len(self.inside)
        taken = min(free, size - start)
        if start == 0 and size <= PIPE_BUF and free < size:
            taken = 0
        assert isinstance(result, Blocked) if taken == 0 else result == taken
        self.inside += data[start : start + taken]

    @rule(size=SIZES)
    def read(self, size):
        if not self.reading:
            return
        bell = Bell()
        self.writer.queue.add(bell)
        result = self.reader.read(size, 0)
        if isinstance(result, Blocked):
            assert size and not self.inside and self.writing and result.queue is self.reader.queue
        else:
            assert result == bytes(self.inside[:size])
            assert bell.rings == (1 if result and self.writing else 0)
            del self.inside[:size]
        self.writer.queue.remove(bell)

    @rule()
    def close_reader(self):
        if self.reading and len(self.inside) > CAPACITY // 2:
            self.reading = False
            self.reader.release(0)

    @rule()
    def close_writer(self):
        if self.writing and len(self.inside) > CAPACITY // 3:
            self.writing = False
            self.writer.release(0)

    @invariant()
    def readiness(self):
        if self.reading:
            bits = READABLE if self.inside else 0
            assert self.reader.poll() == (bits if self.writing else bits | POLLHUP)
            assert self.reader.ioctl(FIONREAD, b"") == len(self.inside).to_bytes(4, "little")
        if self.writing:
            bits = WRITABLE if CAPACITY - len(self.inside) >= PIPE_BUF else 0
            assert self.writer.poll() == (bits if self.reading else bits | POLLERR)


TestPipe = PipeMachine.TestCase


def test_what_is_read_whole_is_the_writers_own_object():
    reader, writer = make_pipe(1 << 20)
    data = bytes(100_000)
    writer.write(data, 0)
    assert reader.read(len(data), 0) is data


def test_single_bytes_do_not_hold_an_object_each():
    reader, writer = make_pipe(65536)
    for _ in range(65536):
        writer.write(b"x", 0)
    assert len(reader.buffer._chunks) < 600
    assert reader.read(1 << 20, 0) == b"x" * 65536


def test_closing_an_end_wakes_the_other():
    for end in (0, 1):
        ends = make_pipe(4096)
        for file in ends:
            file.hold()
        bell = Bell()
        ends[1 - end].queue.add(bell)
        ends[end].release(0)
        assert bell.rings == 1


class Calls:
    """A kernel with one process and its calls."""

    def __init__(self, uid: int = 0) -> None:
        self.kernel = make_kernel()
        calls = self.kernel.service("KernCalls")
        assert isinstance(calls, KernCalls)
        self.calls = calls
        self.process = self.kernel.process(Credentials(uid))


def test_pipe2_gives_two_numbers_with_their_flags():
    it = Calls()
    r, w = it.calls.pipe2(it.process, O_CLOEXEC | O_NONBLOCK)
    assert (r, w) == (0, 1)
    assert it.process.files.close_on_exec(r) and it.process.files.close_on_exec(w)
    with Raises(EAGAIN):
        it.calls.read(it.process, r, 1)
    with Raises(EBADF):
        it.calls.write(it.process, r, b"x")
    with Raises(EBADF):
        it.calls.read(it.process, w, 1)
    with Raises(EINVAL):
        it.calls.pipe2(it.process, 1)


def test_a_nonblocking_write_takes_what_fits_and_then_none():
    it = Calls()
    _, w = it.calls.pipe2(it.process, O_NONBLOCK)
    assert it.calls.write(it.process, w, bytes(100_000)) == 65536
    with Raises(EAGAIN):
        it.calls.write(it.process, w, bytes(100_000))
    with Raises(EAGAIN):
        it.calls.write(it.process, w, b"x")


def test_a_blocking_write_goes_on_where_it_was():
    it = Calls()
    r, w = it.calls.pipe2(it.process)
    data = bytes(range(256)) * 600
    blocked = it.calls.write(it.process, w, data)
    assert isinstance(blocked, Blocked) and blocked.so_far() == 65536
    got = b""
    result: object = blocked
    while isinstance(result, Blocked):
        part = it.calls.read(it.process, r, 10_000)
        assert isinstance(part, bytes)
        got += part
        result = blocked.retry()
    assert result == len(data)
    rest = it.calls.read(it.process, r, 1 << 20)
    assert isinstance(rest, bytes) and got + rest == data


def test_a_write_that_loses_its_reader_gives_what_went():
    it = Calls()
    r, w = it.calls.pipe2(it.process)
    some = it.calls.write(it.process, w, bytes(70_000))
    none = it.calls.write(it.process, w, b"later")
    assert isinstance(some, Blocked) and isinstance(none, Blocked)
    it.calls.close(it.process, r)
    assert some.retry() == 65536
    with Raises(EPIPE):
        none.retry()


def test_a_blocked_read_ends_with_ebadf_when_its_file_closes_even_if_the_number_is_taken_again():
    it = Calls()
    r, _ = it.calls.pipe2(it.process)
    blocked = it.calls.read(it.process, r, 1)
    assert isinstance(blocked, Blocked)
    bell = Bell()
    blocked.queue.add(bell)
    it.calls.close(it.process, r)
    assert bell.rings == 1
    assert it.calls.pipe2(it.process)[0] == r
    with Raises(EBADF):
        blocked.retry()


def test_the_size_of_a_pipe():
    it = Calls(uid=1000)
    it.kernel.sysctl.set("kern.pipe_size", 8192)
    r, w = it.calls.pipe2(it.process, O_NONBLOCK)
    assert it.calls.fcntl(it.process, r, F_GETPIPE_SZ) == 8192
    assert it.calls.fcntl(it.process, w, F_SETPIPE_SZ, 1) == PIPE_BUF
    assert it.calls.write(it.process, w, bytes(9000)) == PIPE_BUF
    assert it.calls.fcntl(it.process, r, F_SETPIPE_SZ, 65536) == 65536
    assert it.calls.write(it.process, w, bytes(9000)) == 9000
    with Raises(EBUSY):
        it.calls.fcntl(it.process, r, F_SETPIPE_SZ, 8192)
    with Raises(EPERM):
        it.calls.fcntl(it.process, r, F_SETPIPE_SZ, 2 << 20)
    with Raises(EINVAL):
        it.calls.fcntl(it.process, it.calls.eventfd2(it.process), F_GETPIPE_SZ)
