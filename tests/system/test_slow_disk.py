"""A slow disk delays whoever waits for it and nobody else: real threads on a POSIX host."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hyper.block import BlockBackend
from rumpkit.kern.abi.errno import EBADF, EBUSY, ENOENT
from rumpkit.kern.abi.fcntl import O_CREAT, O_RDWR
from tests.vfs.helpers import Files, fails


class GatedDisk(BlockBackend):
    """A disk that flushes only when the test lets it."""

    def __init__(self, host: PosixHost):
        super().__init__(1 << 20)
        self.host = host
        self.data = bytearray(self.size)
        self.started = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.inside = 0
        self.closed = False

    def read(self, offset: int, size: int) -> bytes:
        self.host.assert_unscheduled("a read")
        assert not self.inside and not self.closed
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self.host.assert_unscheduled("a write")
        assert not self.inside and not self.closed
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        self.host.assert_unscheduled("a flush")
        assert not self.inside and not self.closed
        self.inside += 1
        self.started.release()
        assert self.go.acquire(timeout=20)
        self.inside -= 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def host() -> Iterator[PosixHost]:
    host = PosixHost(console=-1)
    yield host
    host.close()


@contextmanager
def running(*calls: object) -> Iterator[list[threading.Thread]]:
    """Run the calls in threads; at the end all have come back without an error."""
    problems: list[BaseException] = []

    def run(call: object) -> None:
        assert callable(call)
        try:
            call()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not problems, problems


@pytest.fixture
def disk(host: PosixHost) -> tuple[Files, GatedDisk]:
    files = Files(host=host)
    files.mount("devfs", "/dev")
    disk = GatedDisk(host)
    files.entered(files.service("Disks").attach, "disk", disk)
    return files, disk


def test_others_go_on_while_it_flushes(disk: tuple[Files, GatedDisk]) -> None:
    files, backend = disk
    root = files.root
    fd = root.open("/dev/disk", O_RDWR)
    root.pwrite(fd, b"data", 0)
    with running(lambda: root.fsync(fd)):
        assert backend.started.acquire(timeout=20)
        other = files.process()
        for number in range(100):
            other.put(f"/{number}")
        assert len(other.names("/")) == 101
        reader, writer = other.pipe2()
        other.write(writer, b"x")
        assert other.read(reader, 1) == b"x"
        backend.go.release()


def test_its_other_users_wait_in_turn(disk: tuple[Files, GatedDisk]) -> None:
    files, backend = disk
    root = files.root
    fd = root.open("/dev/disk", O_RDWR)
    done: list[str] = []

    def flush() -> None:
        root.fsync(fd)
        done.append("flush")

    def read() -> None:
        assert root.pread(fd, 4, 0) == bytes(4)
        done.append("read")

    with running(flush):
        assert backend.started.acquire(timeout=20)
        with running(read, read):
            time.sleep(0.02)
            assert done == [] and root.getcwd() == "/"
            backend.go.release()
    assert sorted(done) == ["flush", "read", "read"]


def test_close_while_it_flushes(disk: tuple[Files, GatedDisk]) -> None:
    files, backend = disk
    root = files.root
    disks = files.service("Disks")
    fd = root.open("/dev/disk", O_RDWR)
    with running(lambda: root.fsync(fd)):
        assert backend.started.acquire(timeout=20)
        root.close(fd)
        fails(EBADF, root.pread, fd, 1, 0)
        fails(EBUSY, files.entered, disks.detach, "disk")
        backend.go.release()
    files.entered(disks.detach, "disk")
    assert backend.closed


def test_a_mount_that_sleeps_is_locked_and_others_are_not(host: PosixHost) -> None:
    """A path call that has to wait for a mount's lock leaves the schedule to others, and finds a changed tree after."""
    files = Files(host=host)
    files.mount("locked", "/m")
    root = files.root
    root.mkdir("/m/d")
    fd = root.open("/m/d/f", O_RDWR | O_CREAT)
    mount = files.vfs.mounts()[-1]
    lock = mount.lock
    assert lock is not None
    found: list[object] = []

    def stat() -> None:
        try:
            host.enter()
            found.append(files.calls.stat(root.process, "/m/d/f"))
        except OSError as problem:
            found.append(problem.errno)
        finally:
            host.leave()

    host.enter()
    lock.acquire()
    host.leave()
    with running(stat):
        while not mount.calls:
            time.sleep(0.001)
        assert found == []
        host.enter()
        directory = mount.root.lookup(b"d")
        assert directory is not None
        file = directory.lookup(b"f")
        assert file is not None
        directory.unlink(b"f", file)
        lock.release()
        host.leave()
    assert found == [ENOENT]
    root.close(fd)
    root.unmount("/m")
