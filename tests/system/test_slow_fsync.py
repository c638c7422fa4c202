"""Whoever waits for fsync on a slow disk waits alone: others use the same mount meanwhile, and a crash at that moment does no harm."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from rumpkit.clients import fuse
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hyper.block import BlockBackend
from rumpkit.kern.abi.errno import EIO, EROFS, error
from rumpkit.kern.abi.fcntl import O_CREAT, O_DSYNC, O_RDWR, O_WRONLY
from rumpkit.vfs.types import Finding, check_format_options
from tests.system.test_slow_disk import running
from tests.vfs.helpers import COMPONENTS, Client, Files, fails

PIECE = bytes(range(256)) * 16
BIG = PIECE * 160
"""More than a file system gathers: it is written at once, past the journal."""


class SlowDisk(BlockBackend):
    """A disk whose flushes end when the test lets them, once it is `gated`."""

    def __init__(self, host: PosixHost, size: int) -> None:
        super().__init__(size)
        self.shares_flush = True
        self.host = host
        self.data = bytearray(size)
        self.gated = False
        self.failing = False
        self.started = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.flushes = 0

    def read(self, offset: int, size: int) -> bytes:
        self.host.assert_unscheduled("a read")
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self.host.assert_unscheduled("a write")
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        self.host.assert_unscheduled("a flush")
        self.flushes += 1
        if self.gated:
            self.started.release()
            assert self.go.acquire(timeout=20)
        if self.failing:
            raise error(EIO)

    def open(self) -> None:
        """Let the flush that waits and all that come go."""
        self.gated = False
        self.go.release()


class Mounted:
    """A file system on a slow disk, mounted on /m."""

    def __init__(self, host: PosixHost, kind: str, size: int = 8 << 20) -> None:
        self.kind = kind
        self.files = Files(host=host, components=(*COMPONENTS, "fat"))
        self.disk = SlowDisk(host, size)
        device = self.files.entered(self.files.service("Disks").attach, "disk", self.disk)
        self.type = self.files.vfs.types.find(kind)
        options = check_format_options(self.type, {})
        self.files.entered(self.type.format, self.files.vfs, device, options)
        self.files.mount(kind, "/m", "disk")
        self.root = self.files.root

    def stuck(self) -> None:
        """Somebody's flush has begun."""
        assert self.disk.started.acquire(timeout=20)

    def end(self) -> None:
        """Unmount, and check."""
        self.files.entered(self.files.vfs.unmount, "/m")
        self.sound(self.files)

    def sound(self, files: Files) -> None:
        findings: list[Finding] = []
        device = files.vfs.device("disk")
        assert files.entered(self.type.check, files.vfs, device, False, findings.append) and not findings, findings

    def crashed(self) -> Files:
        """Another kernel, with the disk as it would be had the power failed now, and all that was written were there."""
        files = Files(components=(*COMPONENTS, "fat"))
        disk = RamDisk(self.disk.size)
        disk.write(0, bytes(self.disk.data))
        files.entered(files.service("Disks").attach, "disk", disk)
        files.mount(self.kind, "/m", "disk")
        return files


@pytest.fixture
def host() -> Iterator[PosixHost]:
    host = PosixHost(console=-1)
    yield host
    host.close()


def use(client: Client, name: str) -> None:
    """What others do meanwhile, most of it with the disk."""
    assert client.get("/m/there") == PIECE
    assert client.stat("/m/there").st_size == len(PIECE)
    client.put(f"/m/d/{name}", PIECE * 3)
    assert client.get(f"/m/d/{name}") == PIECE * 3
    client.rename(f"/m/d/{name}", f"/m/{name}")
    client.put("/m/d/gone", BIG)
    client.unlink("/m/d/gone")
    assert name in client.names("/m")


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_others_use_the_mount_while_it_flushes(host: PosixHost, kind: str) -> None:
    mounted = Mounted(host, kind)
    root, disk = mounted.root, mounted.disk
    root.put("/m/there", PIECE)
    root.mkdir("/m/d")
    root.sync()
    fd = root.open("/m/new", O_RDWR | O_CREAT)
    root.write(fd, PIECE)
    disk.gated = True
    flushes = 0
    with running(lambda: root.fsync(fd)) as threads:
        mounted.stuck()
        while threads[0].is_alive():
            use(mounted.files.process(), f"other{flushes}")
            flushes += 1
            disk.go.release()
            while threads[0].is_alive() and not disk.started.acquire(timeout=0.01):
                pass
    assert flushes >= (2 if kind == "ext4" else 1)
    disk.gated = False
    assert root.get("/m/new") == PIECE
    root.close(fd)
    mounted.end()


def test_what_fat_has_written_in_order_is_waited_for_alone(host: PosixHost) -> None:
    """FAT's order of writes is kept under the lock; the first flush and the one that only makes it durable are not, nor is one with
    nothing to write."""
    mounted = Mounted(host, "vfat")
    root, disk = mounted.root, mounted.disk
    root.put("/m/there", PIECE)
    root.mkdir("/m/d")
    fd = root.open("/m/new", O_RDWR | O_CREAT)
    root.write(fd, PIECE)
    root.fsync(fd)
    disk.gated = True
    with running(lambda: root.fsync(fd)):
        mounted.stuck()
        client = mounted.files.process()
        assert client.get("/m/there") == PIECE
        assert "new" in client.names("/m")
        disk.open()
    root.write(fd, PIECE)
    before = disk.flushes
    root.fsync(fd)
    flushes = disk.flushes - before
    assert flushes > 1
    root.write(fd, PIECE)
    disk.gated = True
    with running(lambda: root.fsync(fd)):
        for number in range(flushes - 1):
            mounted.stuck()
            if number == 0:  # of the data and the FAT, which others may look at
                client = mounted.files.process()
                assert client.get("/m/there") == PIECE and client.stat("/m/new").st_size == len(PIECE) * 3
            disk.go.release()
        mounted.stuck()
        client = mounted.files.process()
        client.put("/m/d/other", PIECE * 3)
        assert client.get("/m/there") == PIECE and client.get("/m/d/other") == PIECE * 3
        disk.open()
    root.close(fd)
    assert mounted.crashed().root.get("/m/new") == PIECE * 3
    mounted.end()


@pytest.mark.parametrize("kind", ["ext2", "ext4", "vfat"])
def test_all_that_wait_at_once_get_what_they_want(host: PosixHost, kind: str) -> None:
    mounted = Mounted(host, kind)
    root, disk = mounted.root, mounted.disk
    clients = [mounted.files.process() for _ in range(4)]
    fds = [client.open(f"/m/{number}", O_WRONLY | O_CREAT) for number, client in enumerate(clients)]

    def work(number: int) -> None:
        for _ in range(8):
            clients[number].write(fds[number], PIECE)
            clients[number].fsync(fds[number])

    disk.gated = True
    stop = threading.Event()

    def let_go() -> None:
        while not stop.is_set():
            if disk.started.acquire(timeout=0.01):
                time.sleep(0.001)
                disk.go.release()

    gate = threading.Thread(target=let_go)
    gate.start()
    try:
        with running(*[lambda number=number: work(number) for number in range(4)]):
            pass
    finally:
        disk.gated = False
        stop.set()
        disk.go.release()
        gate.join()
    crashed = mounted.crashed()
    for number in range(4):
        assert crashed.root.get(f"/m/{number}") == PIECE * 8
        clients[number].close(fds[number])
    assert root.names("/m")
    mounted.end()


def test_what_a_commit_frees_is_nobody_elses_before_it_is_durable(host: PosixHost) -> None:
    """The blocks of a file that was removed: whoever writes into them before the removal is durable destroys the file that a crash brings
    back."""
    mounted = Mounted(host, "ext4", 32 << 20)
    root, disk = mounted.root, mounted.disk
    root.put("/m/old", BIG * 9)
    fd = root.open("/m/new", O_RDWR | O_CREAT)
    root.put("/m/filler", BIG * 12)
    root.sync()
    root.unlink("/m/old")
    disk.gated = True
    with running(lambda: root.fsync(fd)):
        mounted.stuck()
        client = mounted.files.process()
        for number in range(3):
            client.put(f"/m/other{number}", b"\xff" * len(BIG) * 4)
        assert client.stat("/m/other1").st_blocks
        assert mounted.crashed().root.get("/m/old") == BIG * 9
        disk.open()
    root.sync()
    # Now they are free.
    client.put("/m/last", BIG * 9)
    root.close(fd)
    mounted.end()


@pytest.mark.needs("fuse", "root")
def test_who_syncs_through_fuse_at_the_same_time_waits_for_the_same_flushes(host: PosixHost, tmp_path: Path) -> None:
    mounted = Mounted(host, "ext4")
    disk = mounted.disk
    mounted.root.sync()
    with fuse.mount(mounted.files.kernel, "/m", str(tmp_path), fuse.SOLE):
        fds = [os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT) for number in range(4)]
        for fd in fds:
            os.write(fd, PIECE)
        disk.gated = True
        with running(lambda: os.fsync(fds[0])):
            mounted.stuck()
            with running(*[lambda fd=fd: os.fsync(fd) for fd in fds[1:]]):
                deadline = time.monotonic() + 30
                while mounted.files.vfs.mounts()[-1].calls < 4:  # all of them are in the mount
                    assert time.monotonic() < deadline
                    time.sleep(0.001)
                disk.open()
        for fd in fds:
            os.close(fd)
    for number in range(4):
        assert mounted.crashed().root.get(f"/m/{number}") == PIECE
    mounted.end()


@pytest.mark.needs("fuse", "root")
def test_others_in_a_fuse_mount_go_on(host: PosixHost, tmp_path: Path) -> None:
    mounted = Mounted(host, "ext4")
    root, disk = mounted.root, mounted.disk
    root.put("/m/there", PIECE)
    root.sync()
    with fuse.mount(mounted.files.kernel, "/m", str(tmp_path), fuse.SOLE), open(tmp_path / "new", "wb") as file:
        file.write(PIECE)
        file.flush()
        disk.gated = True
        with running(lambda: os.fsync(file.fileno())):
            mounted.stuck()
            assert (tmp_path / "there").read_bytes() == PIECE
            assert not (tmp_path / "missing").exists()
            (tmp_path / "other").write_bytes(PIECE)
            assert sorted(os.listdir(tmp_path)) == ["lost+found", "new", "other", "there"]
            disk.open()
    assert mounted.crashed().root.get("/m/new") == PIECE
    mounted.end()


def test_a_flush_that_fails_is_heard_by_all_who_wait(host: PosixHost) -> None:
    mounted = Mounted(host, "ext4")
    root, disk = mounted.root, mounted.disk
    clients = [mounted.files.process() for _ in range(2)]
    fds = [client.open(f"/m/{number}", O_WRONLY | O_CREAT) for number, client in enumerate(clients)]
    found: list[int] = []

    def sync(number: int) -> None:
        clients[number].write(fds[number], PIECE)
        try:
            clients[number].fsync(fds[number])
        except OSError as problem:
            found.append(problem.errno or 0)

    disk.gated = True
    with running(lambda: sync(0)):
        mounted.stuck()
        with running(lambda: sync(1)):
            while clients[1].fstat(fds[1]).st_size == 0:
                time.sleep(0.001)
            disk.failing = True
            disk.open()
    assert sorted(found) == [EIO, EROFS]
    disk.failing = False
    fails(EROFS, root.mkdir, "/m/d")
    for number in range(2):
        clients[number].close(fds[number])
    fails(EIO, mounted.files.entered, mounted.files.vfs.unmount, "/m")
    assert mounted.crashed().root.names("/m") == ["lost+found"]


@pytest.mark.parametrize("kind", ["ext2", "ext4", "vfat"])
def test_an_idle_mount_is_written_back_by_a_thread_of_its_own(host: PosixHost, kind: str) -> None:
    """Nobody calls the kernel or drives its host."""
    mounted = Mounted(host, kind)
    root = mounted.root
    root.put("/m/there", PIECE)
    root.sync()
    for name in ("commit_interval", "dirty_expire"):
        mounted.files.entered(mounted.files.kernel.sysctl.set, f"vfs.write_back.{name}", 20)
    root.put("/m/new", PIECE)
    deadline = time.monotonic() + 60
    while "new" not in (crashed := mounted.crashed().root).names("/m") or crashed.get("/m/new") != PIECE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    mounted.end()


def test_writes_that_are_synced_at_once(host: PosixHost) -> None:
    mounted = Mounted(host, "ext4")
    root, disk = mounted.root, mounted.disk
    fd = root.open("/m/log", O_RDWR | O_CREAT | O_DSYNC)
    root.sync()
    disk.gated = True
    with running(lambda: root.write(fd, b"first")):
        mounted.stuck()
        # The same open file: the offset has moved already.
        with running(lambda: root.write(fd, b"second")):
            disk.open()
    assert root.get("/m/log") == b"firstsecond"
    assert mounted.crashed().root.get("/m/log") == b"firstsecond"
    root.close(fd)
    mounted.end()


def test_fat_frees_nothing_while_another_waits_for_the_removal_of_its_name(host: PosixHost) -> None:
    mounted = Mounted(host, "vfat")
    root, disk, other = mounted.root, mounted.disk, mounted.files.process()
    root.put("/m/victim", BIG)
    root.put("/m/file", PIECE)
    fd = root.open("/m/file", O_WRONLY)
    victim = other.open("/m/victim", O_RDWR)
    root.fsync(fd)
    root.unlink("/m/victim")  # its clusters stay: it is open
    disk.gated = True
    with running(lambda: root.fsync(fd)):
        mounted.stuck()
        other.close(victim)  # now they are to be freed
        before = bytes(disk.data)
        own = other.open("/m/file", O_WRONLY)
        with running(lambda: other.fsync(own)) as threads:
            threads[0].join(0.3)
            assert threads[0].is_alive() and disk.data == before
            disk.open()
    other.close(own)
    root.close(fd)
    mounted.end()


def test_who_waits_for_a_commit_that_has_its_changes_commits_no_more(host: PosixHost) -> None:
    mounted = Mounted(host, "ext4")
    root, disk = mounted.root, mounted.disk
    clients = [mounted.files.process() for _ in range(8)]
    files = [client.open(f"/m/{number}", O_RDWR | O_CREAT) for number, client in enumerate(clients)]
    root.sync()

    def write(client: Client, fd: int) -> None:
        client.write(fd, PIECE)
        client.fsync(fd)

    disk.gated = True
    before = disk.flushes
    with running(*(partial(write, client, fd) for client, fd in zip(clients, files, strict=True))) as threads:
        mounted.stuck()
        while any(root.stat(f"/m/{number}").st_size == 0 for number in range(len(files))):
            time.sleep(0.01)
        time.sleep(0.2)  # until they wait for the first one's commit
        assert all(thread.is_alive() for thread in threads)
        disk.gated = False
        disk.go.release(64)
    assert disk.flushes - before <= 6  # two or so a commit
    for client, fd in zip(clients, files, strict=True):
        client.close(fd)
    mounted.end()
