"""A transaction that changes most of an image replaces it: all or nothing too, and with everything that the image had."""

from __future__ import annotations

import errno
import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hosts.posix import copying, redo, replacement
from rumpkit.hosts.posix.allocate import reserve
from rumpkit.hosts.posix.block import FileBackend
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.redo import OPEN_SUFFIX, RedoLog
from tests.hosts.posix.test_redo import Disk, killed_at_each_host_call
from tests.hosts.posix.test_redo import host as host
from tests.hosts.posix.test_redo import kind as kind
from tests.house.descriptors import descriptors_before, open_descriptors

SIZE = 100_000
CHANGES = ((0, b"a" * 700), (5000, b"b" * 9000), (20_000, b"c" * 70_000), (SIZE - 5, b"d" * 5))
EXTENTS = [(start, start + len(data)) for start, data in CHANGES]
BEFORE = bytes(range(250)) * (SIZE // 250)
AFTER = bytearray(BEFORE)
for start, piece in CHANGES:
    AFTER[start : start + len(piece)] = piece
WATCHED = (
    *("open", "pwrite", "fdatasync", "fsync", "link", "rename", "unlink", "copy_file_range", "close"),
    *("ftruncate", "fchmod", "setxattr", "removexattr", "utime", "stat"),
)

pytestmark = pytest.mark.skipif(not hasattr(os, "listxattr"), reason="missing: extended attributes of the host")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes are as good as many."""
    monkeypatch.setattr(replacement, "LEAST", 1)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(BEFORE)
    return path


def prepare() -> None:
    """In a process of its own."""
    replacement.LEAST = 1  # type: ignore[misc]


def transaction(host: PosixHost, image: Path) -> tuple[FileBackend, RedoLog]:
    file = FileBackend(host, str(image))
    log = RedoLog(host, file)
    for start, data in CHANGES:
        log.write(start, data)
    return file, log


def commit(host: PosixHost, image: Path) -> bool:
    """Whether the image was replaced; in both ways it is as it shall be, and nothing else is there."""
    descriptors = len(descriptors_before())
    inode = image.stat().st_ino
    file, log = transaction(host, image)
    log.commit(EXTENTS)
    file.close()
    assert image.read_bytes() == AFTER and os.listdir(image.parent) == [image.name]
    assert len(open_descriptors()) == descriptors
    return image.stat().st_ino != inode


def test_what_was_mostly_changed_is_replaced(host: PosixHost, image: Path, kind: str) -> None:
    assert commit(host, image)
    assert commit(host, image)


def test_it_has_what_it_had(host: PosixHost, image: Path, kind: str) -> None:
    image.chmod(0o754)
    if os.geteuid() == 0:
        os.chown(image, 1234, 2345)
    try:
        os.setxattr(image, "user.note", b"kept")
    except OSError:
        pass
    os.utime(image, (1e9, 1e9))
    before = image.stat()
    attributes = {name: os.getxattr(image, name) for name in os.listxattr(image)}
    assert commit(host, image)
    after = image.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert {name: os.getxattr(image, name) for name in os.listxattr(image)} == attributes
    assert after.st_mtime > 1.5e9


def test_what_a_folder_gives_new_files_is_not_inherited(host: PosixHost, image: Path) -> None:
    named = b"".join(
        tag.to_bytes(2, "little") + (7).to_bytes(2, "little") + who.to_bytes(4, "little", signed=True)
        for tag, who in ((1, -1), (2, 1234), (4, -1), (16, -1), (32, -1))
    )
    try:
        os.setxattr(image.parent, "system.posix_acl_default", (2).to_bytes(4, "little") + named)
    except OSError:
        pytest.skip("missing: access lists where temporary files are")
    image.chmod(0o640)
    assert commit(host, image)
    assert os.listxattr(image) == [] and stat.S_IMODE(image.stat().st_mode) == 0o640


def test_holes_stay_holes_and_reserved_blocks_reserved(host: PosixHost, tmp_path: Path) -> None:
    sparse, full = tmp_path / "a" / "sparse", tmp_path / "b" / "full"
    for path in (sparse, full):
        path.parent.mkdir()
        with open(path, "wb") as file:
            file.truncate(64 << 20)
            file.write(b"head")
            file.seek(32 << 20)
            file.write(b"kept")
    with open(full, "r+b") as file:
        if reserve(file.fileno(), 0, 64 << 20):
            pytest.skip("missing: fallocate")
    for path in (sparse, full):
        inode = path.stat().st_ino
        disk = FileBackend(host, str(path))
        log = RedoLog(host, disk)
        log.write(1 << 20, b"x" * (1 << 20))
        log.commit([(1 << 20, 2 << 20)])
        disk.close()
        assert path.stat().st_ino != inode and path.stat().st_size == 64 << 20
        content = path.read_bytes()
        assert content[:5] == b"head\0" and content[32 << 20 : (32 << 20) + 5] == b"kept\0"
        assert content.count(b"x") == content[1 << 20 : 2 << 20].count(b"x") == 1 << 20
    assert sparse.stat().st_blocks * 512 < 4 << 20
    assert full.stat().st_blocks * 512 >= 64 << 20


@pytest.mark.parametrize("call", ["fchmod", "utime", "ftruncate", "fsync", "lseek", "link"])
def test_where_the_host_refuses_it_is_copied(
    host: PosixHost, image: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)
    times = [0]

    def once(*arguments: Any, **more: Any) -> Any:
        times[0] += 1
        if times[0] == 1:
            raise OSError(errno.EPERM, "no")
        return real(*arguments, **more)

    monkeypatch.setattr(os, call, once)
    assert not commit(host, image) and times[0] >= 1


def test_a_log_that_was_nearly_the_image_is_its_owners_alone_again(
    host: PosixHost, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the next opening would not believe it, and the image stay half-written."""
    sync, copy = os.fsync, copying.copy_extents
    modes: list[int] = []

    def fsync(fd: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
        if len(modes) == 1:
            raise OSError(errno.EIO, "no")
        sync(fd)

    def copy_extents(source: int, target: int, extents: Any) -> None:
        modes.append(stat.S_IMODE(os.fstat(source).st_mode))
        copy(source, target, extents)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(redo, "copy_extents", copy_extents)
    image.chmod(0o664)
    assert not commit(host, image)
    assert modes[0] == 0o664 and 0o600 in modes[1:] and 0o664 not in modes[1:]


def test_a_log_that_was_nearly_the_image_gives_back_what_it_had_reserved(
    host: PosixHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the disk would have to have room for the image twice, of which nothing is needed."""
    full = tmp_path / "full"
    with open(full, "wb") as file:
        file.truncate(64 << 20)
        if reserve(file.fileno(), 0, 64 << 20):
            pytest.skip("missing: fallocate")
        file.write(b"head")
    copy = copying.copy_extents
    occupied: list[int] = []

    def copy_extents(source: int, target: int, extents: Any) -> None:
        occupied.append(os.fstat(source).st_blocks * 512)
        copy(source, target, extents)

    def refuse(*arguments: Any, **more: Any) -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(redo, "copy_extents", copy_extents)
    inode = full.stat().st_ino
    disk = FileBackend(host, str(full))
    log = RedoLog(host, disk)
    log.write(1 << 20, b"x" * (32 << 20))
    log.commit([(1 << 20, 33 << 20)])
    disk.close()
    assert full.stat().st_ino == inode and full.read_bytes()[1 << 20 : 33 << 20] == b"x" * (32 << 20)
    assert len(occupied) == 1 and occupied[0] < 34 << 20


def test_where_it_cannot_be_renamed_it_is_copied(
    host: PosixHost, image: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a directory of others with the sticky bit, or where the image is mounted on by itself."""
    real = os.rename
    refused = []

    def rename(source: str, target: str, **more: Any) -> None:
        if target == image.name:
            refused.append(Path(image.parent, source).stat().st_ino)
            raise OSError(errno.EBUSY, "busy")
        real(source, target, **more)

    monkeypatch.setattr(os, "rename", rename)
    image.chmod(0o666)
    assert not commit(host, image) and len(refused) == 1


def test_what_stays_the_same_file(host: PosixHost, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small changes, changes of less than the half, and an image that has got a second name meanwhile."""
    file, log = transaction(host, image)
    other = image.with_name("other")
    os.link(image, other)
    log.commit(EXTENTS)
    file.close()
    assert other.read_bytes() == image.read_bytes() == AFTER
    other.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(replacement, "LEAST", 16 << 20)
        assert not commit(host, image)
    inode = image.stat().st_ino
    file = FileBackend(host, str(image))
    log = RedoLog(host, file)
    log.write(0, b"y" * 49_000)
    log.commit([(0, 49_000)])
    file.close()
    assert image.read_bytes() == b"y" * 49_000 + AFTER[49_000:] and image.stat().st_ino == inode


def test_an_image_that_another_file_has_replaced(host: PosixHost, image: Path) -> None:
    """Its name is not ours any more."""
    file, log = transaction(host, image)
    image.rename(image.with_name("moved"))
    image.write_bytes(b"another")
    log.commit(EXTENTS)
    file.close()
    assert image.read_bytes() == b"another" and image.with_name("moved").read_bytes() == AFTER
    assert sorted(os.listdir(image.parent)) == ["disk.img", "moved"]


def test_through_a_symbolic_link(host: PosixHost, image: Path, tmp_path: Path) -> None:
    away = tmp_path.parent / (tmp_path.name + "-away")
    away.mkdir()
    link = away / "link.img"
    link.symlink_to(image)
    inode = image.stat().st_ino
    file, log = transaction(host, link)
    log.commit(EXTENTS)
    file.close()
    assert link.is_symlink() and image.read_bytes() == AFTER and image.stat().st_ino != inode
    assert os.listdir(tmp_path) == ["disk.img"] and os.listdir(away) == ["link.img"]


def test_who_opens_it_meanwhile_finds_it_locked(host: PosixHost, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rename
    said = []

    def rename(*arguments: Any, **more: Any) -> None:
        for _ in range(2):
            with pytest.raises(OSError, check=lambda error: error.errno == errno.EBUSY):
                FileBackend(host, str(image), read_only=True)
            said.append(image.read_bytes())
            if len(said) == 1:
                real(*arguments, **more)

    monkeypatch.setattr(os, "rename", rename)
    assert commit(host, image)
    assert said == [BEFORE, AFTER]


def test_a_log_that_was_left_open_is_removed(host: PosixHost, image: Path) -> None:
    left = Path(str(image) + OPEN_SUFFIX)
    left.write_bytes(b"left")
    FileBackend(host, str(image), read_only=True).close()
    assert left.exists()
    FileBackend(host, str(image)).close()
    assert not left.exists()
    left.mkdir()
    transaction(host, image)[1].commit(EXTENTS)
    assert image.read_bytes() == AFTER


numbers = st.lists(st.integers(0, 60), max_size=16).map(lambda found: sorted(set(found)))
extent_lists = numbers.map(lambda found: list(zip(found[::2], found[1::2], strict=False)))


@given(extent_lists, extent_lists)
def test_without(data: list[tuple[int, int]], changed: list[tuple[int, int]]) -> None:
    def members(extents: list[tuple[int, int]]) -> set[int]:
        return {number for start, end in extents for number in range(start, end)}

    kept = replacement.without(data, changed)
    assert members(kept) == members(data) - members(changed)
    assert all(start < end for start, end in kept) and kept == sorted(kept)
    assert sum(end - start for start, end in kept) == len(members(kept))


@pytest.mark.once
def test_killed_at_each_host_call(tmp_path: Path, kind: str) -> None:
    killed_at_each_host_call(tmp_path, kind, __name__, BEFORE, bytes(AFTER))


class Folder(Disk):
    """A disk with the image's folder, where a file takes another's place."""

    def watch(self, patch: pytest.MonkeyPatch, image: int, log: int, folder: int) -> None:
        super().watch(patch, image, log, folder)
        real_rename, real_truncate = os.rename, os.ftruncate

        def rename(*arguments: Any, **more: Any) -> None:
            real_rename(*arguments, **more)
            self.log.append(("rename", folder, 0, b""))

        def ftruncate(fd: int, size: int) -> None:
            real_truncate(fd, size)
            self.log.append(("write", fd, size, b""))

        patch.setattr(os, "rename", rename)
        patch.setattr(os, "ftruncate", ftruncate)


@pytest.mark.once
def test_a_power_cut_at_each_host_call(host: PosixHost, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Folder()
    file = FileBackend(host, str(image))
    log = RedoLog(host, file)
    image_fd, log_fd, folder = file.fileno(), log._fd, log._folder
    with monkeypatch.context() as patch:
        disk.watch(patch, image_fd, log_fd, folder)
        for start, data in CHANGES:
            log.write(start, data)
        log.commit(EXTENTS)
    file.close()
    assert [what for what, fd, _, _ in disk.log if fd == folder] == ["link", "rename", "sync"]
    results = {True: 0, False: 0}
    for count in range(len(disk.log) + 1):
        for seed in range(30):
            kept = disk.after(count, random.Random(seed))
            assert image_fd not in kept
            replaced = any(what == "rename" for what, _, _ in kept.get(folder, []))
            if replaced:
                content = bytearray(SIZE)
                for _, offset, data in kept.get(log_fd, []):
                    content[offset : offset + len(data)] = data
                assert content == AFTER, (count, seed)
            results[replaced] += 1
    assert replaced and min(results.values()) >= 30
