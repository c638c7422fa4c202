"""The redo log: a commit is there as a whole or not at all, wherever the process dies and whatever the disk has kept."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpkit.hosts.posix import copying, redo
from rumpkit.hosts.posix.block import BackendError, FileBackend
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.redo import LOG_SUFFIX, OPEN_SUFFIX, RedoLog
from tests.house.descriptors import descriptors_before, open_descriptors

SIZE = 100_000
CHANGES = ((0, b"a" * 700), (5000, b"b" * 9000), (60_000, b"c" * 30_000), (SIZE - 5, b"d" * 5))
EXTENTS = [(start, start + len(data)) for start, data in CHANGES]
BEFORE = bytes(range(250)) * (SIZE // 250)


def changed() -> bytes:
    data = bytearray(BEFORE)
    for start, piece in CHANGES:
        data[start : start + len(piece)] = piece
    return bytes(data)


AFTER = changed()


@pytest.fixture
def host() -> Iterator[PosixHost]:
    host = PosixHost(console=-1)
    yield host
    host.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(BEFORE)
    return path


@pytest.fixture(params=["nameless", "named"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With O_TMPFILE and without."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("missing: O_TMPFILE")
    return str(request.param)


def transaction(host: PosixHost, image: Path) -> tuple[FileBackend, RedoLog]:
    file = FileBackend(host, str(image))
    log = RedoLog(host, file)
    for start, data in CHANGES:
        log.write(start, data)
    return file, log


def failure(number: int):
    return pytest.raises(OSError, check=lambda error: error.errno == number)


def test_commit(host: PosixHost, image: Path, kind: str) -> None:
    file, log = transaction(host, image)
    assert image.read_bytes() == BEFORE
    assert log.read(5000, 9000) == b"b" * 9000
    assert sorted(os.listdir(image.parent)) == ["disk.img"] + ["disk.img" + OPEN_SUFFIX] * (kind == "named")
    log.commit(EXTENTS)
    assert image.read_bytes() == AFTER and os.listdir(image.parent) == ["disk.img"]
    log.close()
    file.close()


def test_discard(host: PosixHost, image: Path, kind: str) -> None:
    descriptors = len(descriptors_before())
    file, log = transaction(host, image)
    log.close()
    file.close()
    assert image.read_bytes() == BEFORE and os.listdir(image.parent) == ["disk.img"]
    assert len(open_descriptors()) == descriptors


def test_a_commit_of_nothing_writes_nothing(host: PosixHost, image: Path) -> None:
    file = FileBackend(host, str(image))
    stamp = image.stat().st_mtime_ns
    RedoLog(host, file).commit([])
    assert image.stat().st_mtime_ns == stamp
    file.close()


def test_without_copy_file_range(host: PosixHost, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(errno.EXDEV, "not here")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    file, log = transaction(host, image)
    log.commit(EXTENTS)
    file.close()
    assert image.read_bytes() == AFTER


def test_through_a_symbolic_link(host: PosixHost, image: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    link = away / "link.img"
    link.symlink_to(image)
    file, log = transaction(host, link)
    log._seal(EXTENTS)
    log._publish()
    file.close()
    assert os.listdir(away) == ["link.img"] and (tmp_path / ("disk.img" + LOG_SUFFIX)).exists()
    FileBackend(host, str(image)).close()
    assert image.read_bytes() == AFTER


def interrupted(host: PosixHost, image: Path) -> Path:
    """An image whose commit was interrupted right after it was decided."""
    file, log = transaction(host, image)
    log._seal(EXTENTS)
    log._publish()
    os.close(log._fd)
    file.close()
    assert image.read_bytes() == BEFORE
    return Path(str(image) + LOG_SUFFIX)


def test_the_log_is_private(host: PosixHost, image: Path, kind: str) -> None:
    assert interrupted(host, image).stat().st_mode & 0o777 == 0o600


def test_an_interrupted_commit_is_finished_by_the_next_writer(host: PosixHost, image: Path) -> None:
    log = interrupted(host, image)
    FileBackend(host, str(image), read_only=True).close()
    assert image.read_bytes() == BEFORE and log.exists()
    FileBackend(host, str(image)).close()
    assert image.read_bytes() == AFTER and not log.exists()


@pytest.mark.parametrize("where", [-4096, -4095, -4060, -4096 - 4096, 0])
def test_a_damaged_log_is_refused(host: PosixHost, image: Path, where: int) -> None:
    log = interrupted(host, image)
    raw = bytearray(log.read_bytes())
    if where == 0:
        raw = raw[:5000]
    else:
        raw[where] ^= 1
    log.write_bytes(raw)
    with failure(errno.EUCLEAN):
        FileBackend(host, str(image))
    assert image.read_bytes() == BEFORE and log.exists()


def test_a_log_of_another_image_is_refused(host: PosixHost, image: Path) -> None:
    interrupted(host, image)
    copy = image.with_name("copy.img")
    copy.write_bytes(image.read_bytes())
    os.replace(copy, image)
    with pytest.raises(BackendError, match="another image"):
        FileBackend(host, str(image))


def test_the_number_of_the_device_may_change(host: PosixHost, image: Path) -> None:
    """As that of a file system in a loop device or on USB does when it is mounted anew."""
    log = interrupted(host, image)
    raw = log.read_bytes()
    fields = list(redo._RECORD.unpack_from(raw, len(raw) - redo.BLOCK))
    assert fields[4] == image.stat().st_dev
    fields[4] += 1
    fields[-1] = zlib.crc32(redo._RECORD.pack(*fields[:-1], 0))
    log.write_bytes(raw[: -redo.BLOCK] + redo._RECORD.pack(*fields).ljust(redo.BLOCK, b"\0"))
    FileBackend(host, str(image)).close()
    assert image.read_bytes() == AFTER and not log.exists()


def test_a_log_that_others_may_write_is_refused(host: PosixHost, image: Path) -> None:
    log = interrupted(host, image)
    log.chmod(0o666)
    with failure(errno.EPERM):
        FileBackend(host, str(image))
    log.rename(image.with_name("elsewhere"))
    log.symlink_to(image.with_name("elsewhere"))
    with failure(errno.ELOOP):
        FileBackend(host, str(image))


def test_no_room_in_the_image_changes_nothing(host: PosixHost, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redo, "reserve", lambda fd, offset, size: errno.ENOSPC)
    file, log = transaction(host, image)
    with failure(errno.ENOSPC):
        log.commit(EXTENTS)
    log.close()
    file.close()
    assert image.read_bytes() == BEFORE and os.listdir(image.parent) == ["disk.img"]


def test_an_image_that_cannot_be_written_after_the_commit(
    host: PosixHost, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, "broken")

    file, log = transaction(host, image)
    with monkeypatch.context() as patch:
        patch.setattr(redo, "copy_extents", fail)
        with failure(errno.EIO):
            log.commit(EXTENTS)
    log.close()
    file.close()
    FileBackend(host, str(image)).close()
    assert image.read_bytes() == AFTER


def test_an_image_with_two_names_is_refused(host: PosixHost, image: Path) -> None:
    """By its other name nobody would find the log of a commit that was interrupted."""
    os.link(image, image.with_name("other.img"))
    file = FileBackend(host, str(image))
    with pytest.raises(BackendError, match=r"2 names \(hard links\).*in place.*disk\.img") as caught:
        RedoLog(host, file)
    assert caught.value.errno == errno.EMLINK
    file.close()
    image.with_name("other.img").unlink()
    file, log = transaction(host, image)
    log.commit(EXTENTS)
    file.close()
    assert image.read_bytes() == AFTER


def test_where_no_file_can_be_made(host: PosixHost, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> int:
        raise OSError(errno.EACCES, "no")

    file = FileBackend(host, str(image))
    monkeypatch.setattr(RedoLog, "_make", refuse)
    with pytest.raises(BackendError, match=r"beside the image.*disk\.img") as caught:
        RedoLog(host, file)
    assert caught.value.errno == errno.EACCES
    file.close()


def prepare() -> None:
    """Nothing, in a process that is to be killed."""


WATCHED = ("open", "pwrite", "fdatasync", "fsync", "link", "rename", "unlink", "copy_file_range", "close")

# Dying at each host call ----------------------------------------------------------------------------------

DRIVER = """
import hashlib, importlib, os, sys
from pathlib import Path
from rumpkit.hosts.posix.block import FileBackend
from rumpkit.hosts.posix.host import PosixHost

image, named = Path(sys.argv[1]), sys.argv[2] == "named"
t = importlib.import_module(sys.argv[3])
t.prepare()
if named:
    os.__dict__.pop("O_TMPFILE", None)
host = PosixHost(console=-1)

def watch(name, dies, calls):
    call = getattr(os, name)
    def counted(*arguments, **more):
        calls[0] += 1
        if calls[0] == dies:
            if name == "pwrite":
                call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], arguments[2])
            if name == "copy_file_range":
                call(arguments[0], arguments[1], arguments[2] // 2, *arguments[3:])
            os.kill(os.getpid(), 9)
        return call(*arguments, **more)
    setattr(os, name, counted)

def run(dies):
    calls = [0]
    for name in t.WATCHED:
        watch(name, dies, calls)
    file, log = t.transaction(host, image)
    log.commit(t.EXTENTS)
    file.close()

for dies in range(1, 1000):
    image.write_bytes(t.BEFORE)
    child = os.fork()
    if not child:
        run(dies)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status == 0:
        break
    assert status == 9, status
    file = FileBackend(host, str(image))
    file.close()
    print(hashlib.sha256(image.read_bytes()).hexdigest(), *os.listdir(image.parent))
print(hashlib.sha256(image.read_bytes()).hexdigest(), *os.listdir(image.parent))
"""


def killed_at_each_host_call(directory: Path, kind: str, module: str, before: bytes, after: bytes) -> None:
    """A process for each host call in WATCHED that the transaction of a test module makes, which dies in it: the image is as before,
    or the next opening makes it as after, and nothing else is left there."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", DRIVER, str(directory / "disk.img"), kind, module]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    old, new = (f"{hashlib.sha256(data).hexdigest()} disk.img" for data in (before, after))
    rows = ran.stdout.splitlines()
    assert set(rows) == {old, new}
    first = rows.index(new)
    assert first > 5 and len(rows) - first > 1 and set(rows[first:]) == {new}


@pytest.mark.once
def test_killed_at_each_host_call(tmp_path: Path, kind: str) -> None:
    killed_at_each_host_call(tmp_path, kind, __name__, BEFORE, AFTER)


# A power cut at each host call ----------------------------------------------------------------------------


class Disk:
    """What the host was asked to do, and what a disk may have of it after a power cut.

    A write is kept for sure once its file was synced after it, a name once its folder was; of the rest, any part.
    """

    def __init__(self) -> None:
        self.log: list[tuple[str, int, int, bytes]] = []

    def watch(self, patch: pytest.MonkeyPatch, image: int, log: int, folder: int) -> None:
        real_write, real_sync, real_fsync = os.pwrite, os.fdatasync, os.fsync
        real_link, real_unlink = os.link, os.unlink

        def pwrite(fd: int, data: bytes, offset: int) -> int:
            self.log.append(("write", fd, offset, bytes(data)))
            return real_write(fd, data, offset)

        def fdatasync(fd: int) -> None:
            real_sync(fd)
            self.log.append(("sync", fd, 0, b""))

        def fsync(fd: int) -> None:
            real_fsync(fd)
            self.log.append(("sync", fd, 0, b""))

        def link(source: str, name: str, **more: Any) -> None:
            real_link(source, name, **more)
            self.log.append(("link", folder, 0, b""))

        def unlink(name: str, **more: int) -> None:
            real_unlink(name, **more)
            self.log.append(("unlink", folder, 0, b""))

        patch.delattr(os, "copy_file_range")
        for name, call in (
            ("pwrite", pwrite),
            ("fdatasync", fdatasync),
            ("fsync", fsync),
            ("link", link),
            ("unlink", unlink),
        ):
            patch.setattr(os, name, call)

    def after(self, count: int, chance: random.Random) -> dict[int, list[tuple[str, int, bytes]]]:
        """For each file what is kept of the first `count` calls, in order."""
        events = self.log[:count]
        kept: dict[int, list[tuple[str, int, bytes]]] = {}
        for index, (what, fd, offset, data) in enumerate(events):
            if what == "sync":
                continue
            safe = any(later[:2] == ("sync", fd) for later in events[index:])
            if safe:
                kept.setdefault(fd, []).append((what, offset, data))
            elif what != "write":
                if chance.random() < 0.5:
                    kept.setdefault(fd, []).append((what, offset, data))
            else:
                for at in range(0, len(data), 512):
                    if chance.random() < 0.5:
                        kept.setdefault(fd, []).append((what, offset + at, data[at : at + 512]))
        return kept


@pytest.mark.once
def test_a_power_cut_at_each_host_call(host: PosixHost, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "O_TMPFILE"):
        pytest.skip("missing: O_TMPFILE")
    disk = Disk()
    file = FileBackend(host, str(image))
    log = RedoLog(host, file)
    image_fd, log_fd, folder = file.fileno(), log._fd, log._folder
    with monkeypatch.context() as patch:
        disk.watch(patch, image_fd, log_fd, folder)
        for start, data in CHANGES:
            log.write(start, data)
        log.commit(EXTENTS)
    file.close()
    results = {True: 0, False: 0}
    for count in range(len(disk.log) + 1):
        for seed in range(30):
            kept = disk.after(count, random.Random(seed))
            restore(image, kept, image_fd, log_fd, folder)
            FileBackend(host, str(image)).close()
            found = image.read_bytes()
            assert found in (BEFORE, AFTER), (count, seed)
            results[found == AFTER] += 1
    assert found == AFTER and min(results.values()) > 100


def restore(
    image: Path, kept: dict[int, list[tuple[str, int, bytes]]], image_fd: int, log_fd: int, folder: int
) -> None:
    """Make the image, and the log if it has its name, as the disk has them."""
    name = Path(str(image) + LOG_SUFFIX)
    name.unlink(missing_ok=True)
    with open(image, "r+b") as file:
        file.write(BEFORE)
        for _, offset, data in kept.get(image_fd, []):
            file.seek(offset)
            file.write(data)
    if [what for what, _, _ in kept.get(folder, [])][-1:] == ["link"]:
        with open(name, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            for _, offset, data in kept.get(log_fd, []):
                file.seek(offset)
                file.write(data)


def test_large_changes(host: PosixHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than is copied in one go, with changes that end and begin anywhere."""
    monkeypatch.setattr(redo, "WRITE_BEHIND", 1 << 16)
    monkeypatch.setattr(copying, "WRITE_BEHIND", 1 << 16)
    image = tmp_path / "disk.img"
    size = 3_000_001
    image.write_bytes(b"x" * size)
    expected = bytearray(b"x" * size)
    file = FileBackend(host, str(image))
    log = RedoLog(host, file)
    extents = [(0, 1 << 16), (70_000, 1_070_001), (2_000_000, size)]
    for start, end in extents:
        for at in range(start, end, 100_000):
            piece = random.Random(at).randbytes(min(100_000, end - at))
            log.write(at, piece)
            expected[at : at + len(piece)] = piece
    log.commit(extents)
    file.close()
    assert image.read_bytes() == expected
