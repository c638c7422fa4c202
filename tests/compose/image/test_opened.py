"""open_image: what becomes of an image, by a clean end, an exception, and none at all."""

from __future__ import annotations

import errno
import gc
import os
import threading
from pathlib import Path

import pytest

import rumpkit
from rumpkit.compose.image.address import Address
from rumpkit.compose.image.session import Session
from rumpkit.dev.partition_table import PartitionSpec, plan, write_table
from rumpkit.fs.ext.mount import ExtMount
from rumpkit.hosts.posix.block import FileBackend
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hyper.calls import AlarmTarget
from rumpkit.hyper.mutex import Mutex
from tests.compose.image.blank_image import blank, format_part
from tests.house.descriptors import descriptors_before, open_descriptors


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = blank(tmp_path / "disk.img", "vfat")
    with rumpkit.open_image(path, writable=True) as root:
        (root / "hello.txt").write_text("hello\n")
    return path


def failure(number: int):
    return pytest.raises(OSError, check=lambda error: error.errno == number)


def test_a_clean_end_commits(image: Path) -> None:
    with rumpkit.open_image(image, writable=True) as root:
        before = image.read_bytes()
        (root / "new").mkdir()
        (root / "new" / "file").write_bytes(bytes(range(256)) * 1000)
        assert image.read_bytes() == before
    assert os.listdir(image.parent) == ["disk.img"]
    with rumpkit.open_image(str(image)) as root:
        assert (root / "new" / "file").read_bytes() == bytes(range(256)) * 1000
        assert (root / "hello.txt").read_text() == "hello\n"


def test_an_exception_discards(image: Path) -> None:
    before = image.read_bytes()
    with pytest.raises(KeyError), rumpkit.open_image(image, writable=True) as root:
        (root / "hello.txt").unlink()
        raise KeyError
    assert image.read_bytes() == before and os.listdir(image.parent) == ["disk.img"]


def test_discarded_while_the_background_waits_for_it(image: Path) -> None:
    host = PosixHost(console=-1)
    session = Session(host=host)
    mount = session.mount(Address(str(image), str(image), "", "/"), write=True)
    assert mount.lock is not None
    lock: Mutex = mount.lock
    began = threading.Event()
    written: list[bool] = []

    class Waiter(AlarmTarget):
        def on_alarm(self, now: int) -> None:
            began.set()
            lock.acquire()
            written.append(not mount.finished)
            lock.release()

    host.background(Waiter(), 0)
    host.unschedule()
    assert began.wait(60)
    host.schedule()  # the background has given it up to wait for the lock
    session.close(orderly=False)
    closing = threading.Thread(target=host.close, daemon=True)
    closing.start()
    closing.join(60)
    assert not closing.is_alive() and written == [False]


def test_forgotten_it_is_closed_and_discarded(image: Path) -> None:
    before = image.read_bytes()
    descriptors = len(descriptors_before())
    root = rumpkit.open_image(image, writable=True)
    (root / "hello.txt").unlink()
    with pytest.warns(RuntimeWarning, match="forgotten"):
        del root
    assert image.read_bytes() == before and len(open_descriptors()) == descriptors
    with rumpkit.open_image(image, writable=True):
        pass


def test_committed_without_a_with(image: Path) -> None:
    root = rumpkit.open_image(image, writable=True)
    (root / "new").touch()
    opened = root.image
    assert not opened.closed and opened.writable
    opened.commit()
    opened.commit()
    root.close()
    assert opened.closed
    with pytest.raises(ValueError, match="closed"):
        (root / "new").exists()
    with rumpkit.OpenedImage(image) as again:
        assert (again.root / "new").is_file()


def test_in_place(image: Path) -> None:
    with pytest.raises(KeyError), rumpkit.open_image(image, in_place=True) as root:
        (root / "hello.txt").unlink()
        raise KeyError
    with rumpkit.open_image(image) as root:
        assert not (root / "hello.txt").exists()


def test_read_only_by_default(image: Path) -> None:
    before, stamp = image.read_bytes(), image.stat().st_mtime_ns
    with rumpkit.open_image(image) as root:
        for call in (
            lambda: (root / "new").write_bytes(b"x"),
            lambda: (root / "new").mkdir(),
            (root / "hello.txt").unlink,
            lambda: (root / "hello.txt").open("a"),
        ):
            with failure(errno.EROFS):
                call()
    assert image.read_bytes() == before and image.stat().st_mtime_ns == stamp


def test_one_writer(image: Path) -> None:
    with rumpkit.open_image(image), rumpkit.open_image(image), failure(errno.EBUSY):
        rumpkit.open_image(image, writable=True)
    with rumpkit.open_image(image, writable=True), failure(errno.EBUSY):
        rumpkit.open_image(image)


def test_what_is_no_image(tmp_path: Path) -> None:
    descriptors = len(descriptors_before())
    with pytest.raises(FileNotFoundError, match=r"missing\.img"):
        rumpkit.open_image(tmp_path / "missing.img")
    noise = tmp_path / "noise.img"
    noise.write_bytes(os.urandom(1 << 16))
    with pytest.raises(OSError, match=r"known: .*noise\.img") as caught:
        rumpkit.open_image(noise)
    assert caught.value.errno == errno.EINVAL
    gc.collect()
    assert len(open_descriptors()) == descriptors


def test_partitions(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with open(path, "wb") as file:
        file.truncate(24 << 20)
    disk = FileBackend(PosixHost(console=-1), str(path))
    wanted = [PartitionSpec(8 << 20, "data", name) for name in ("one", "two")]
    write_table(disk, plan("gpt", disk.size, wanted, os.urandom))
    disk.close()
    format_part(path, "vfat", "1")
    format_part(path, "vfat", "two")
    for number in (1, 2):
        with rumpkit.open_image(path, partition=number, writable=True) as root:
            (root / f"file{number}").touch()
    with rumpkit.open_image(path, partition="two") as root:
        assert [one.name.lower() for one in root.iterdir()] == ["file2"]
    with failure(errno.EINVAL):
        rumpkit.open_image(path)
    with failure(errno.ENOENT):
        rumpkit.open_image(path, partition=3)


def test_a_type_by_name(image: Path) -> None:
    with rumpkit.open_image(image, type="vfat") as root:
        assert (root / "hello.txt").is_file()
    with failure(errno.ENODEV):
        rumpkit.open_image(image, type="nofs")


def test_threads_share_it(image: Path) -> None:
    problems: list[BaseException] = []
    with rumpkit.open_image(image, writable=True) as root:

        def work(number: int) -> None:
            try:
                for index in range(20):
                    path = root / f"{number}-{index}"
                    path.write_bytes(bytes([number]) * 5000)
                    assert path.read_bytes() == bytes([number]) * 5000
            except BaseException as problem:
                problems.append(problem)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not problems, problems
    with rumpkit.open_image(image) as root:
        assert len(list(root.iterdir())) == 81


def test_what_a_file_system_gave_up_is_not_committed(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk.img", "ext4", 2 << 20)
    before = image.read_bytes()
    with failure(errno.EIO) as caught, Session() as session:
        address = Address(str(image), str(image), "", "/")
        mount = session.mount(address, True)
        mount.root.mkdir(b"new", 0o755, 0, 0)
        assert isinstance(mount, ExtMount)
        mount.failed(OSError(errno.EUCLEAN, "a bitmap is damaged"))
        session.commit()
    assert caught.value.filename == str(image) and "a bitmap is damaged" in str(caught.value)
    assert image.read_bytes() == before and os.listdir(tmp_path) == ["disk.img"]
