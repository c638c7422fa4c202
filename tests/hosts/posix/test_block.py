"""Block storage in a host file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from rumpkit.hosts.posix.block import BackendError, FileBackend
from rumpkit.hosts.posix.filelock import lock
from rumpkit.hosts.posix.host import PosixHost
from tests.house.descriptors import descriptors_before, open_descriptors


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setenv("RUMPKIT_DEBUG", "lock")
    host = PosixHost()
    yield host
    host.close()


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(range(256)) * 16)
    return path


def failure(number: int):
    return pytest.raises(BackendError, check=lambda error: error.errno == number)


def test_read_write_flush(host, image):
    disk = FileBackend(host, str(image))
    assert disk.size == 4096
    assert disk.read(250, 10) == bytes([250, 251, 252, 253, 254, 255, 0, 1, 2, 3])
    disk.write(4090, b"badend")
    disk.flush()
    disk.close()
    disk.close()
    assert image.read_bytes()[4080:] == bytes(range(240, 250)) + b"badend"


@pytest.mark.parametrize("refused", [None, errno.EOPNOTSUPP])
def test_writes_that_are_durable_on_return(host, image, monkeypatch, refused):
    """By the host's flag for that, else by a flush."""
    calls = []
    pwritev, fdatasync = os.pwritev, os.fdatasync

    def write(fd, pieces, offset, flags=0):
        calls.append(flags)
        if refused:
            raise OSError(refused, "no")
        return pwritev(fd, pieces, offset, flags)

    def flush(fd):
        calls.append("flush")
        fdatasync(fd)

    monkeypatch.setattr(os, "pwritev", write)
    monkeypatch.setattr(os, "fdatasync", flush)
    disk = FileBackend(host, str(image))
    for data in (b"one", b"two"):
        disk.write_durable(4093, data)
        assert image.read_bytes()[4093:] == data
    assert calls == ([os.RWF_DSYNC, "flush", "flush"] if refused else [os.RWF_DSYNC] * 2)
    with failure(errno.EINVAL):
        disk.write_durable(4094, b"xyz")
    disk.close()
    disk = FileBackend(host, str(image), read_only=True)
    with failure(errno.EROFS):
        disk.write_durable(0, b"x")
    disk.close()


@pytest.mark.parametrize(("offset", "size"), [(4096, 1), (4090, 7), (-1, 1), (0, 4097), (0, -1)])
def test_beyond_the_end(host, image, offset, size):
    disk = FileBackend(host, str(image))
    with failure(errno.EINVAL):
        disk.read(offset, size)
    if size > 0:
        with failure(errno.EINVAL):
            disk.write(offset, bytes(size))
    assert disk.read(4096, 0) == b""
    disk.close()
    assert image.stat().st_size == 4096


def test_a_file_that_shrinks_is_an_io_error(host, image):
    disk = FileBackend(host, str(image))
    os.truncate(image, 100)
    with failure(errno.EIO):
        disk.read(90, 20)
    disk.close()


def test_read_only(host, image):
    image.chmod(0o400)
    disk = FileBackend(host, str(image), read_only=True)
    assert disk.read(0, 3) == b"\0\1\2"
    with failure(errno.EROFS):
        disk.write(0, b"x")
    disk.flush()
    disk.close()


def test_one_writer_or_many_readers(host, image):
    writer = FileBackend(host, str(image))
    for read_only in (False, True):
        with failure(errno.EBUSY):
            FileBackend(host, str(image), read_only)
    writer.close()
    readers = [FileBackend(host, str(image), read_only=True) for _ in range(2)]
    with failure(errno.EBUSY):
        FileBackend(host, str(image))
    for reader in readers:
        reader.close()
    FileBackend(host, str(image)).close()


def test_errors_name_the_file(host, tmp_path):
    descriptors = len(descriptors_before())
    with pytest.raises(BackendError, match=r"No such file.*missing\.img"):
        FileBackend(host, str(tmp_path / "missing.img"))
    with pytest.raises(BackendError, match="/dev/null") as caught:
        FileBackend(host, "/dev/null")
    assert caught.value.errno == errno.ENOTBLK
    with pytest.raises(BackendError):
        FileBackend(host, str(tmp_path))
    assert len(open_descriptors()) == descriptors


def test_every_call_is_refused_on_the_schedule(host, image):
    disk = FileBackend(host, str(image))
    host.enter()
    for call in (
        lambda: disk.read(0, 1),
        lambda: disk.write(0, b"x"),
        disk.flush,
        lambda: FileBackend(host, str(image)),
    ):
        with pytest.raises(RuntimeError, match="may block"):
            call()
    host.unschedule()
    disk.write(0, b"x")
    host.schedule()
    host.leave()
    disk.close()


@pytest.mark.needs("root", "losetup")
def test_a_block_device(host, image):
    made = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip("missing: loop devices")
    device = made.stdout.strip()
    try:
        disk = FileBackend(host, device)
        assert disk.size == 4096
        disk.write(512, b"hello")
        disk.flush()
        assert disk.read(510, 9) == b"\xfe\xffhello\x05\x06"
        disk.close()
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_the_error_says_who_has_it(host, image):
    code = "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_SH); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(image)], stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline()
        try:
            who = f"process {other.pid}" if os.path.exists("/proc/locks") else "another"
            with pytest.raises(BackendError, match=rf"{who}.*disk\.img"):
                FileBackend(host, str(image))
        finally:
            other.kill()
    mine = FileBackend(host, str(image))
    with pytest.raises(BackendError, match="uses it"):
        FileBackend(host, str(image), read_only=True)
    mine.close()


def test_discard_makes_a_hole(host, tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(b"x" * (1 << 20))
    disk = FileBackend(host, str(path))
    took = disk.discard(4096, 1 << 19)
    assert disk.read(4096, 1 << 19) == (bytes(1 << 19) if took else b"x" * (1 << 19))
    assert disk.read(4095, 1) == b"x" == disk.read(4096 + (1 << 19), 1)
    if took:
        assert path.stat().st_blocks * 512 < 1 << 20
    assert disk.discard(0, 0)
    with failure(errno.EINVAL):
        disk.discard(1 << 20, 1)
    disk.close()
    reader = FileBackend(host, str(path), read_only=True)
    with failure(errno.EROFS):
        reader.discard(0, 1)
    reader.close()


def test_short_reads_and_writes_go_on(host, image, monkeypatch):
    """A host may do less than it is asked for; nobody sees it."""
    read, write = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: read(fd, min(size, 7), offset))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, bytes(data)[:5], offset))
    disk = FileBackend(host, str(image))
    disk.write(10, bytes(range(100)))
    assert disk.read(8, 104) == b"\x08\x09" + bytes(range(100)) + b"\x6e\x6f"
    disk.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_replaced_before_it_is_locked(host, image, monkeypatch, read_only):
    """As a transaction does that ends between two steps of ours: the new file is opened."""
    times = [0]

    def late(fd, exclusive):
        times[0] += 1
        if times[0] <= replaced:
            other = image.with_name("other")
            other.write_bytes(bytes([times[0]]) * 1000)
            os.replace(other, image)
        return lock(fd, exclusive)

    descriptors = len(descriptors_before())
    replaced = 3
    monkeypatch.setattr("rumpkit.hosts.posix.block.lock", late)
    disk = FileBackend(host, str(image), read_only)
    assert times == [4] and disk.size == 1000 and disk.read(0, 2) == b"\3\3"
    disk.close()
    replaced = 1 << 20
    with pytest.raises(BackendError, match="replaced") as caught:
        FileBackend(host, str(image), read_only)
    assert caught.value.errno == errno.EBUSY
    assert len(open_descriptors()) == descriptors
