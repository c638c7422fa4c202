"""A file system that is taken away by force from those who use it through FUSE."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rumpkit.clients import fuse
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.kern.abi.errno import EIO
from rumpkit.kern.abi.fcntl import MNT_FORCE
from tests.system.test_slow_fsync import PIECE, Mounted

pytestmark = [pytest.mark.needs("fuse", "root"), pytest.mark.timeout(60)]


@pytest.fixture
def host() -> Iterator[PosixHost]:
    host = PosixHost(console=-1)
    yield host
    host.close()


def fails(call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as caught:
        call()
    assert caught.value.errno == EIO


def is_forgotten(call: Callable[[], object]) -> None:
    """What Linux remembers the answer to fails once it has been told, which happens for one name and one file after the other."""
    while True:
        try:
            call()
        except OSError as problem:
            assert problem.errno == EIO
            return
        time.sleep(0.01)


def there(path: Path) -> bool:
    """Whether there is such a file, dead or alive."""
    try:
        return path.exists()
    except OSError as problem:
        assert problem.errno == EIO
        return True


@pytest.mark.parametrize("path", ["/", "/m"])
@pytest.mark.parametrize("kind", ["ext4", "vfat"])
def test_files_are_dead_and_the_server_goes_cleanly(host: PosixHost, tmp_path: Path, kind: str, path: str) -> None:
    mounted = Mounted(host, kind)
    place = tmp_path / "place"
    place.mkdir()
    within = place if path == "/m" else place / "m"
    with fuse.mount(mounted.files.kernel, path, str(place), fuse.SOLE) as mount:
        (within / "d").mkdir()
        (within / "d" / "file").write_bytes(PIECE)
        with open(within / "d" / "file", "r+b", buffering=0) as file:
            assert file.read(10) == PIECE[:10]
            inside = os.open(within / "d", os.O_RDONLY)
            mounted.root.unmount("/m", MNT_FORCE)
            while there(within / "d") if path == "/" else readable(file.fileno()):
                time.sleep(0.01)  # until Linux has been told
            fails(lambda: os.pwrite(file.fileno(), b"x", 0))
            is_forgotten(lambda: os.stat("file", dir_fd=inside))
            fails(lambda: os.mkdir("new", dir_fd=inside))
            is_forgotten(lambda: os.listdir(inside))
            os.close(inside)
        if path == "/":
            assert list(within.iterdir()) == [], "what the mount had covered"
            (within / "works").mkdir()
        else:
            is_forgotten(lambda: os.listdir(place))
        mount.close()
    mounted.sound(mounted.files)
    mounted.files.mount(kind, "/m", "disk")
    assert mounted.root.get("/m/d/file") == PIECE


def readable(fd: int) -> bool:
    try:
        os.pread(fd, 1, 0)
    except OSError:
        return False
    return True


def test_who_waits_for_the_disk_finds_the_mount_gone(host: PosixHost, tmp_path: Path) -> None:
    """A write that comes to the mount's lock only after it was taken away must not reach the disk."""
    mounted = Mounted(host, "ext4")
    root, disk = mounted.root, mounted.disk
    root.put("/m/file", PIECE)
    root.sync()
    done: list[object] = []
    with fuse.mount(mounted.files.kernel, "/m", str(tmp_path), fuse.SOLE):
        fd = os.open(tmp_path / "file", os.O_RDWR)
        os.write(fd, b"new")
        disk.gated = True

        def sync() -> None:
            try:
                os.fsync(fd)
                done.append("synced")
            except OSError as problem:
                done.append(problem.errno)

        waiting = threading.Thread(target=sync)
        waiting.start()
        mounted.stuck()
        taking = threading.Thread(target=lambda: root.unmount("/m", MNT_FORCE))
        taking.start()
        disk.open()
        taking.join(30)
        waiting.join(30)
        assert not taking.is_alive() and not waiting.is_alive()
        assert done == ["synced"]
        fails(lambda: os.pwrite(fd, b"late", 0))
        os.close(fd)
    mounted.sound(mounted.files)
    assert mounted.crashed().root.get("/m/file") == b"new" + PIECE[3:]
