"""Image files as storage: read, changed as a whole or not at all, changed in place."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpkit.compose.image.storage import IN_PLACE, READ, TRANSACTION, Storage
from rumpkit.hosts.posix.block import BackendError, FileBackend
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.redo import RedoLog
from tests.house.descriptors import descriptors_before, open_descriptors

SIZE = 1 << 16


@pytest.fixture
def host() -> Iterator[PosixHost]:
    host = PosixHost(console=-1)
    yield host
    host.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(SIZE))
    return path


def test_a_transaction_is_committed(host: PosixHost, image: Path) -> None:
    with Storage(host, image, TRANSACTION) as storage:
        storage.backend.write(100, b"hello")
        storage.backend.flush()
        assert storage.backend.read(98, 9) == b"\0\0hello\0\0" and storage.changed() == 5
        assert image.read_bytes() == bytes(SIZE)
    assert image.read_bytes()[100:105] == b"hello"
    assert os.listdir(image.parent) == ["disk.img"]


def test_an_exception_discards(host: PosixHost, image: Path) -> None:
    with pytest.raises(KeyError), Storage(host, image, TRANSACTION) as storage:
        storage.backend.write(100, b"hello")
        raise KeyError
    assert image.read_bytes() == bytes(SIZE) and os.listdir(image.parent) == ["disk.img"]


def test_in_place(host: PosixHost, image: Path) -> None:
    with pytest.raises(KeyError), Storage(host, image, IN_PLACE) as storage:
        storage.backend.write(100, b"hello")
        raise KeyError
    assert image.read_bytes()[100:105] == b"hello" and storage.changed() == 0


def test_reading(host: PosixHost, image: Path) -> None:
    with Storage(host, image) as storage, Storage(host, image, READ) as other:
        assert storage.backend.read(0, 3) == other.backend.read(0, 3) == bytes(3)
        with pytest.raises(OSError, check=lambda error: error.errno == errno.EROFS):
            storage.backend.write(0, b"x")
        with pytest.raises(BackendError, check=lambda error: error.errno == errno.EBUSY):
            Storage(host, image, TRANSACTION)
    with pytest.raises(ValueError, match="in place"):
        Storage(host, image, "sideways")


def test_a_reader_sees_what_was_committed_and_interrupted(host: PosixHost, image: Path) -> None:
    file = FileBackend(host, str(image))
    log = RedoLog(host, file)
    log.write(100, b"hello")
    log._seal([(100, 105)])
    log._publish()
    os.close(log._fd)
    file.close()
    names = os.listdir(image.parent)
    with Storage(host, image) as storage:
        assert storage.backend.read(98, 9) == b"\0\0hello\0\0"
        assert storage.backend.read_only
    assert image.read_bytes() == bytes(SIZE) and sorted(os.listdir(image.parent)) == sorted(names)
    with Storage(host, image, TRANSACTION):
        pass
    assert image.read_bytes()[100:105] == b"hello" and os.listdir(image.parent) == ["disk.img"]


def test_nothing_stays_open_where_it_fails(host: PosixHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(SIZE))
    descriptors = len(descriptors_before())
    with pytest.raises(BackendError):
        Storage(host, tmp_path / "missing")

    def refuse(*arguments: object) -> int:
        raise OSError(errno.EACCES, "no")

    monkeypatch.setattr(RedoLog, "_make", refuse)
    with pytest.raises(BackendError, match="beside"):
        Storage(host, image, TRANSACTION)
    assert len(open_descriptors()) == descriptors
