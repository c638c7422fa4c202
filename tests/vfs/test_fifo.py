"""FIFOs: who waits for whom, and what goes through."""

from __future__ import annotations

import pytest

from rumpkit.kern.abi.errno import EAGAIN, EINVAL, EMFILE, ENXIO, EPIPE, ESPIPE
from rumpkit.kern.abi.fcntl import (
    F_GETFL,
    O_CREAT,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    PIPE_BUF,
    S_IFIFO,
    S_IFMT,
)
from rumpkit.kern.abi.ioctl import FIONREAD
from rumpkit.kern.abi.poll import POLLERR, POLLHUP, POLLIN, POLLOUT
from rumpkit.kern.wait import Blocked
from tests.vfs.helpers import Client, Files, fails

READ = O_RDONLY | O_NONBLOCK
WRITE = O_WRONLY | O_NONBLOCK


@pytest.fixture
def files() -> Files:
    files = Files()
    files.root.mkfifo("/p")
    return files


def poll(client: Client, fd: int) -> int:
    return client.process.files.get(fd).poll()


def finish(files: Files, blocked: Blocked) -> object:
    """What a client does when it is woken: retry, and cancel once that is over."""
    result = files.entered(blocked.retry)
    if not isinstance(result, Blocked):
        files.entered(blocked.cancel)
    return result


def test_data_goes_through(files: Files):
    root = files.root
    reader = root.open("/p", READ)
    writer = root.open("/p", O_WRONLY)
    assert root.write(writer, b"hello") == 5
    assert root.ioctl(reader, FIONREAD, b"") == (5).to_bytes(4, "little")
    assert root.read(reader, 3) == b"hel"
    assert root.read(reader, 10) == b"lo"
    fails(EAGAIN, root.read, reader, 10)
    root.close(writer)
    assert root.read(reader, 10) == b""
    assert root.fstat(reader).st_mode & S_IFMT == S_IFIFO
    assert root.process.files.get(reader).describe().startswith("fifo ")


@pytest.mark.parametrize(("first", "second"), [(O_RDONLY, O_WRONLY), (O_WRONLY, O_RDONLY), (O_RDONLY, O_RDWR)])
def test_open_waits_for_the_other_end(files: Files, first: int, second: int):
    root, other = files.root, files.process()
    blocked = root.open("/p", first)
    assert isinstance(blocked, Blocked)
    assert isinstance(finish(files, blocked), Blocked)
    fd = other.open("/p", second)
    assert isinstance(fd, int)
    # The other end may have gone again by the time that the first one gets to run.
    other.close(fd)
    fd = finish(files, blocked)
    assert fd == 0 and root.fcntl(0, F_GETFL) == first
    root.close(0)
    assert files.vfs.root().mount.references == 1 + 2 * 3  # the root directory: mount, kernel and two processes


def test_an_interrupted_open_leaves_nothing(files: Files):
    root = files.root
    blocked = root.open("/p", O_WRONLY)
    assert isinstance(blocked, Blocked)
    files.entered(blocked.cancel)
    reader = root.open("/p", READ)
    assert root.read(reader, 1) == b""
    assert root.process.files.numbers() == [reader]


def test_open_that_does_not_wait(files: Files):
    root = files.root
    fails(ENXIO, root.open, "/p", WRITE)
    reader = root.open("/p", READ)
    root.close(root.open("/p", WRITE))
    root.close(reader)
    fails(ENXIO, root.open, "/p", WRITE)
    both = root.open("/p", O_RDWR)
    assert root.write(both, b"x") == 1 and root.read(both, 5) == b"x"


def test_no_number_left_when_the_other_end_comes(files: Files):
    root = files.root
    root.process.files.limit = 1
    blocked = root.open("/p", O_RDONLY)
    assert isinstance(blocked, Blocked)
    root.open("/f", O_RDWR | O_CREAT)
    other = files.process().open("/p", O_WRONLY)
    assert isinstance(other, int)
    fails(EMFILE, files.entered, blocked.retry)
    files.entered(blocked.cancel)


def test_nobody_reads(files: Files):
    root = files.root
    reader = root.open("/p", READ)
    writer = root.open("/p", WRITE)
    root.close(reader)
    assert poll(root, writer) & POLLERR
    fails(EPIPE, root.write, writer, b"x")


def test_several_readers_and_writers(files: Files):
    root = files.root
    readers = [root.open("/p", READ) for _ in range(2)]
    writers = [root.open("/p", O_WRONLY) for _ in range(2)]
    root.write(writers[0], b"abc")
    root.write(writers[1], b"def")
    assert root.read(readers[0], 4) == b"abcd"
    root.close(readers[0])
    root.close(writers[0])
    assert root.read(readers[1], 4) == b"ef"
    fails(EAGAIN, root.read, readers[1], 4)
    root.close(writers[1])
    assert root.read(readers[1], 4) == b""


def test_a_full_fifo(files: Files):
    root = files.root
    reader = root.open("/p", READ)
    writer = root.open("/p", WRITE)
    size = files.kernel.settings.pipe_size
    assert root.write(writer, bytes(size + 10)) == size
    fails(EAGAIN, root.write, writer, b"x")
    assert not poll(root, writer) & POLLOUT
    root.read(reader, PIPE_BUF - 1)
    fails(EAGAIN, root.write, writer, bytes(PIPE_BUF))  # atomic: all or nothing
    root.read(reader, 1)
    assert poll(root, writer) & POLLOUT
    assert root.write(writer, bytes(PIPE_BUF)) == PIPE_BUF


def test_a_write_that_waits(files: Files):
    root, other = files.root, files.process()
    reader = other.open("/p", READ)
    writer = root.open("/p", O_WRONLY)
    data = bytes(range(256)) * 1024
    blocked = root.write(writer, data)
    assert isinstance(blocked, Blocked)
    found = b""
    while len(found) < len(data):
        found += other.read(reader, 50_000)
        result = finish(files, blocked) if isinstance(blocked, Blocked) else blocked
        blocked = result
    assert blocked == len(data) and found == data


def test_what_is_in_it_goes_with_the_last_end(files: Files):
    root = files.root
    reader = root.open("/p", READ)
    writer = root.open("/p", O_WRONLY)
    root.write(writer, b"lost")
    root.close(reader)
    root.close(writer)
    reader = root.open("/p", READ)
    assert root.read(reader, 9) == b""


def test_poll(files: Files):
    root = files.root
    reader = root.open("/p", READ)
    assert poll(root, reader) == 0
    writer = root.open("/p", O_WRONLY)
    assert poll(root, writer) & POLLOUT and poll(root, reader) == 0
    root.write(writer, b"x")
    assert poll(root, reader) & POLLIN
    root.close(writer)
    assert poll(root, reader) & (POLLIN | POLLHUP) == POLLIN | POLLHUP
    assert root.process.files.get(reader).pollable()


def test_it_has_no_offsets(files: Files):
    root = files.root
    fd = root.open("/p", O_RDWR)
    fails(ESPIPE, root.lseek, fd, 0, 0)
    fails(ESPIPE, root.pread, fd, 1, 0)
    fails(ESPIPE, root.pwrite, fd, b"x", 0)
    fails(EINVAL, root.ftruncate, fd, 0)
    fails(EINVAL, root.fsync, fd)
    assert root.read(fd, 0) == b"" and root.write(fd, b"") == 0


def test_a_removed_fifo_works_on(files: Files):
    root = files.root
    reader = root.open("/p", READ)
    writer = root.open("/p", O_WRONLY)
    root.unlink("/p")
    root.write(writer, b"x")
    assert root.read(reader, 1) == b"x"
    root.close(reader)
    root.close(writer)
    assert root.statvfs("/").f_files - root.statvfs("/").f_ffree == 1
