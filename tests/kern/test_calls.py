"""System calls over descriptors and processes."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import EPOCH
from rumpkit.hyper.time import SECOND, Instant
from rumpkit.kern.abi.errno import EAGAIN, EBADF, EINTR, EINVAL, EMFILE, ENOTTY, EPERM, ESPIPE
from rumpkit.kern.abi.fcntl import (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    EFD_SEMAPHORE,
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_GETFD,
    F_GETFL,
    F_SETFD,
    F_SETFL,
    FD_CLOEXEC,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    SEEK_SET,
)
from rumpkit.kern.abi.ioctl import FIOCLEX, FIONBIO, FIONCLEX, FIONREAD
from rumpkit.kern.calls import KernCalls
from rumpkit.kern.file import OpenFile
from rumpkit.kern.process import Credentials
from rumpkit.kern.wait import Blocked
from tests.kern.helpers import Raises, Switchable, make_kernel


class Caller:
    def __init__(self, uid: int = 0) -> None:
        self.kernel = make_kernel()
        calls = self.kernel.service("KernCalls")
        assert isinstance(calls, KernCalls)
        self.calls = calls
        self.process = self.kernel.process(Credentials(uid, uid, (5, 6)))

    def call(self, name: str, *arguments: object) -> object:
        return getattr(self.calls, name)(self.process, *arguments)


@pytest.fixture
def it():
    return Caller()


class Memory(OpenFile):
    """A file of bytes, written a part at a time."""

    def __init__(self, flags: int = O_RDWR, step: int = 3) -> None:
        super().__init__(flags)
        self.data = bytearray(b"0123456789")
        self.step = step
        self.fail_after = 1 << 60

    def pread(self, size: int, offset: int, now: Instant) -> bytes:
        return bytes(self.data[offset : offset + size])

    def pwrite(self, data: bytes, offset: int, now: Instant) -> int:
        self.data[offset : offset + len(data)] = data
        return len(data)

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        self.data += data[: self.step]
        return len(data) if len(data) <= self.step else Blocked(self.queue, progress=self.step)

    def write_part(self, data: bytes, start: int, now: Instant) -> int | Blocked:
        if len(self.data) >= self.fail_after:
            raise OSError(EPERM, "enough")
        self.data += data[start : start + self.step]
        return min(self.step, len(data) - start)


def test_access_modes_are_kept(it):
    r = it.process.files.install(Memory(O_RDONLY))
    w = it.process.files.install(Memory(O_WRONLY))
    for name, fd, arguments in [
        ("read", w, (1,)),
        ("pread", w, (1, 0)),
        ("write", r, (b"x",)),
        ("pwrite", r, (b"x", 0)),
        ("writev", r, ([b"x"],)),
    ]:
        with Raises(EBADF):
            it.call(name, fd, *arguments)
    assert it.call("pread", r, 3, 2) == b"234"
    assert it.call("pwrite", w, b"xy", 1) == 2


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read", (9, 1)),
        ("write", (9, b"")),
        ("pread", (9, 1, 0)),
        ("pwrite", (9, b"", 0)),
        ("lseek", (9, 0, 0)),
        ("ioctl", (9, FIONBIO, b"\1")),
        ("close", (9,)),
        ("dup", (9,)),
        ("dup2", (9, 1)),
        ("dup3", (9, 1, 0)),
        ("fcntl", (9, F_GETFL)),
        ("read", (-1, 1)),
    ],
)
def test_numbers_that_are_not_open(it, name, arguments):
    with Raises(EBADF):
        it.call(name, *arguments)


def test_negative_sizes_and_offsets(it):
    fd = it.process.files.install(Memory())
    for name, arguments in [("read", (-1,)), ("pread", (-1, 0)), ("pread", (1, -1)), ("pwrite", (b"x", -1))]:
        with Raises(EINVAL):
            it.call(name, fd, *arguments)


def test_what_a_pipe_cannot_do(it):
    r, w = it.call("pipe2")
    for name, arguments in [("lseek", (r, 0, SEEK_SET)), ("pread", (r, 1, 0)), ("pwrite", (w, b"x", 0))]:
        with Raises(ESPIPE):
            it.call(name, *arguments)
    with Raises(ENOTTY):
        it.call("ioctl", r, 0x5401, b"")


def test_writev_joins(it):
    r, w = it.call("pipe2")
    assert it.call("writev", w, [b"ab", b"", b"cde"]) == 5
    assert it.call("writev", w, []) == 0
    assert it.call("read", r, 10) == b"abcde"


def test_a_write_goes_on_until_all_is_through(it):
    file = Memory()
    blocked = it.call("write", it.process.files.install(file), b"abcdefgh")
    assert isinstance(blocked, Blocked) and blocked.so_far() == 3
    assert blocked.retry() == 8
    assert file.data == b"0123456789abcdefgh"


def test_an_error_after_a_part_gives_the_part(it):
    file = Memory()
    file.fail_after = 15
    blocked = it.call("write", it.process.files.install(file), b"abcdefgh")
    assert isinstance(blocked, Blocked)
    assert blocked.retry() == 6


def test_a_file_that_does_not_wait_takes_a_part(it):
    fd = it.process.files.install(Memory(O_RDWR | O_NONBLOCK))
    assert it.call("write", fd, b"abcdefgh") == 3


def test_dup_shares_the_open_file(it):
    r, w = it.call("pipe2")
    other = it.call("dup", w)
    assert other == 2
    it.call("close", w)
    it.call("write", other, b"x")
    assert it.call("read", r, 5) == b"x"
    it.call("close", other)
    assert it.call("read", r, 5) == b""


def test_dup2_closes_what_was_there(it):
    _, w = it.call("pipe2")
    file = Switchable()
    fd = it.process.files.install(file)
    assert it.call("dup2", w, fd) == fd
    assert file.closes == 1
    assert it.call("dup2", w, w) == w
    with Raises(EBADF):
        it.call("dup2", w, 1024)
    with Raises(EBADF):
        it.call("dup2", w, -1)


def test_dup3_is_strict(it):
    r, _ = it.call("pipe2")
    assert it.call("dup3", r, 9, O_CLOEXEC) == 9
    assert it.call("fcntl", 9, F_GETFD) == FD_CLOEXEC
    for arguments in [(r, r, 0), (r, 9, O_NONBLOCK)]:
        with Raises(EINVAL):
            it.call("dup3", *arguments)


def test_fcntl_on_numbers(it):
    r, _ = it.call("pipe2")
    assert it.call("fcntl", r, F_DUPFD, 10) == 10
    assert it.call("fcntl", r, F_DUPFD_CLOEXEC, 10) == 11
    assert it.call("fcntl", 10, F_GETFD) == 0
    assert it.call("fcntl", 11, F_GETFD) == FD_CLOEXEC
    it.call("fcntl", 10, F_SETFD, FD_CLOEXEC)
    assert it.call("fcntl", 10, F_GETFD) == FD_CLOEXEC
    with Raises(EINVAL):
        it.call("fcntl", r, F_DUPFD, 5000)
    with Raises(EINVAL):
        it.call("fcntl", r, 9999)


def test_fcntl_on_files_is_shared_by_duplicates(it):
    fd = it.process.files.install(Memory(O_RDWR))
    other = it.call("dup", fd)
    it.call("fcntl", fd, F_SETFL, O_NONBLOCK | O_APPEND | O_CREAT | O_WRONLY)
    assert it.call("fcntl", other, F_GETFL) == O_RDWR | O_NONBLOCK | O_APPEND
    it.call("fcntl", fd, F_SETFL, 0)
    assert it.call("fcntl", other, F_GETFL) == O_RDWR


def test_ioctls_of_any_file(it):
    r, w = it.call("pipe2")
    it.call("ioctl", r, FIONBIO, b"\1\0\0\0")
    with Raises(EAGAIN):
        it.call("read", r, 1)
    it.call("ioctl", r, FIONBIO, b"\0\0\0\0")
    assert isinstance(it.call("read", r, 1), Blocked)
    it.call("ioctl", w, FIOCLEX, b"")
    assert it.call("fcntl", w, F_GETFD) == FD_CLOEXEC
    it.call("ioctl", w, FIONCLEX, b"")
    assert it.call("fcntl", w, F_GETFD) == 0
    it.call("write", w, b"abc")
    assert it.call("ioctl", r, FIONREAD, b"") == b"\3\0\0\0"


def test_calls_that_need_two_numbers_take_none_if_there_is_one(it):
    it.kernel.sysctl.set("kern.max_open_files", 3)
    process = it.kernel.process()
    it.calls.pipe2(process)
    with Raises(EMFILE):
        it.calls.pipe2(process)
    assert process.files.numbers() == [0, 1]
    assert it.calls.eventfd2(process) == 2
    with Raises(EMFILE):
        it.calls.dup(process, 0)
    with Raises(EMFILE):
        it.calls.eventfd2(process)


def test_eventfd_counts(it):
    fd = it.call("eventfd2", 3)
    one = (1).to_bytes(8, "little")
    assert it.call("write", fd, one) == 8
    assert it.call("read", fd, 8) == (4).to_bytes(8, "little")
    blocked = it.call("read", fd, 8)
    assert isinstance(blocked, Blocked)
    it.call("write", fd, one)
    assert blocked.retry() == one


def test_eventfd_as_a_semaphore(it):
    fd = it.call("eventfd2", 2, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC)
    one = (1).to_bytes(8, "little")
    assert [it.call("read", fd, 8), it.call("read", fd, 100)] == [one, one]
    with Raises(EAGAIN):
        it.call("read", fd, 8)
    assert it.call("fcntl", fd, F_GETFD) == FD_CLOEXEC


def test_eventfd_does_not_overflow(it):
    fd = it.call("eventfd2")
    high = (0xFFFFFFFFFFFFFFFE).to_bytes(8, "little")
    assert it.call("write", fd, high) == 8
    blocked = it.call("write", fd, (1).to_bytes(8, "little"))
    assert isinstance(blocked, Blocked)
    assert it.call("read", fd, 8) == high
    assert blocked.retry() == 8
    for name, argument in [("write", b"\xff" * 8), ("write", b"1234567"), ("read", 7)]:
        with Raises(EINVAL):
            it.call(name, fd, argument)
    with Raises(EINVAL):
        it.call("eventfd2", -1)
    with Raises(EINVAL):
        it.call("eventfd2", 0, 64)


def test_processes_have_parents(it):
    child = it.calls.fork(it.process)
    assert (it.calls.getpid(it.process), it.calls.getpid(child)) == (1, 2)
    assert (it.calls.getppid(it.process), it.calls.getppid(child)) == (0, 1)
    it.calls.exit(it.process)
    assert it.calls.getppid(child) == 0
    assert list(it.kernel.processes) == [2]
    it.calls.exit(it.process)


def test_fork_shares_open_files_and_exit_closes_them(it):
    r, w = it.call("pipe2")
    child = it.calls.fork(it.process)
    it.call("close", w)
    it.calls.write(child, w, b"from the child")
    it.calls.exit(child)
    assert it.call("read", r, 99) == b"from the child"
    assert it.call("read", r, 99) == b""


def test_root_may_change_who_it_is_and_others_may_not():
    root = Caller()
    root.call("setgroups", [7])
    root.call("setgid", 20)
    root.call("setuid", 1000)
    assert (root.call("getuid"), root.call("getgid"), root.call("getgroups")) == (1000, 20, [7])
    root.call("setuid", 1000)
    root.call("setgid", 20)
    for name, argument in [("setuid", 0), ("setgid", 0), ("setgroups", [])]:
        with Raises(EPERM):
            root.call(name, argument)


def test_credentials_are_a_childs_own(it):
    child = it.calls.fork(it.process)
    it.calls.setuid(child, 1000)
    assert it.call("getuid") == 0
    for name, argument in [("setuid", -1), ("setgid", 1 << 32), ("setgroups", [-4])]:
        with Raises(EINVAL):
            it.call(name, argument)


def test_the_host_name(it):
    it.call("sethostname", "cache")
    assert it.call("gethostname") == "cache"
    with Raises(EINVAL):
        it.call("sethostname", "ä" * 33)
    with Raises(EPERM):
        Caller(uid=1).call("sethostname", "mine")


def test_clocks(it):
    it.kernel.hyper.run(7 * SECOND)
    assert it.call("clock_gettime", CLOCK_MONOTONIC) == 7 * SECOND
    assert it.call("clock_gettime", CLOCK_REALTIME) == EPOCH + 7 * SECOND
    with Raises(EINVAL):
        it.call("clock_gettime", 77)


def test_sleeping(it):
    assert it.call("nanosleep", 0) is None
    blocked = it.call("nanosleep", 5)
    assert blocked.deadline == it.kernel.hyper.now + 5
    assert blocked.retry() is blocked
    assert blocked.expired() is None
    with Raises(EINTR):
        blocked.interrupted()
    with Raises(EINVAL):
        it.call("nanosleep", -1)


def test_random_bytes(it):
    assert len(it.call("getrandom", 33)) == 33
    assert it.call("getrandom", 16) != it.call("getrandom", 16)
    with Raises(EINVAL):
        it.call("getrandom", -1)
