"""Fast commits made by hand: what they say is there at the next mount, and what can't be is refused without a write."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.dev.recorder import RecorderBackend, apply, crash, prefix
from rumpkit.fs.ext import fastreplay
from rumpkit.fs.ext.crc import crc32c
from rumpkit.fs.ext.features import RECOVER
from rumpkit.fs.ext.journal import fastcommit as fc
from rumpkit.fs.ext.journal import format as fmt
from rumpkit.fs.ext.journal.replay import load, scan, write_superblock
from rumpkit.fs.ext.journal.space import LogSpace
from rumpkit.fs.ext.open import journal_runs, open_volume
from rumpkit.kern.abi.errno import EINVAL, EIO, ENOENT, ENOSPC, EUCLEAN
from rumpkit.vfs.types import Finding, check_format_options
from tests.vfs.helpers import Files, fails

SIZE = 6 << 20
AREA = 32
SEQUENCE = 7
EMPTY = 3000
"""A block that nobody has."""
NEW = 40
"""An inode that nobody has."""


class Disk:
    """A disk with the files old and gone, in directory d, and a log that is empty but for fast commits."""

    def __init__(self, *tags: bytes) -> None:
        self.files = Files()
        self.disk = RamDisk(SIZE)
        self.device = self.files.entered(self.files.service("Disks").attach, "disk", self.disk)
        self.type = self.files.vfs.types.find("ext4")
        options = check_format_options(self.type, {"block_size": 1024, "features": "^resize_inode"})
        self.files.entered(self.type.format, self.files.vfs, self.device, options)
        self.files.mount("ext4", "/m", "disk")
        client = self.files.root
        client.mkdir("/m/d", 0o755)
        client.put("/m/d/old", b"old" * 2000)
        client.put("/m/d/gone", b"gone" * 1000)
        self.numbers = {name: client.stat(f"/m/{name}").st_ino for name in ("d", "d/old", "d/gone")}
        self.files.entered(self.files.vfs.unmount, "/m")
        self.data_of_new = b"data of the new file".ljust(1024, b"\0")
        self.disk.write(EMPTY * 1024, self.data_of_new)

    def commit(self, tags: Iterable[bytes], right: bool = True) -> None:
        """Put fast commits behind the log."""
        text = struct.pack("<HHII", fc.HEAD, 8, 0, SEQUENCE) + b"".join(tags)
        room = AREA * 1024 - 16
        text = text[:room]
        tail = struct.pack("<HHI", fc.TAIL, 8, SEQUENCE)
        text += tail + struct.pack("<I", crc32c(0, text + tail) ^ (not right))
        self.files.host.enter()
        volume = open_volume(self.files.vfs, self.device)
        space = LogSpace(volume.cache, journal_runs(volume))
        journal = load(space)
        journal.incompat |= fmt.INCOMPAT_FAST_COMMIT
        journal.fast_commit_blocks = AREA
        journal.start = 1
        journal.sequence = SEQUENCE
        write_superblock(space, journal)
        space.write(1, bytes(1024))
        space.write(journal.end + 1, text.ljust(-(-len(text) // 1024) * 1024, b"\0"))
        volume.fields.feature_incompat |= RECOVER
        volume.write_super(0)
        self.files.host.leave()

    def check(self, repair: bool = False) -> list[Finding]:
        found: list[Finding] = []
        self.files.entered(self.type.check, self.files.vfs, self.device, repair, found.append)
        return found


def tag(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def inode(number: int, mode: int, links: int, size: int) -> bytes:
    raw = bytearray(160)
    struct.pack_into("<HHIIIII", raw, 0, mode, 0, size, 100, 100, 100, 0)
    struct.pack_into("<HHII", raw, 24, 0, links, 2, 0x80000)
    struct.pack_into("<H", raw, 128, 32)
    return tag(fc.INODE, number.to_bytes(4, "little") + bytes(raw))


def named(kind: int, parent: int, number: int, name: bytes) -> bytes:
    return tag(kind, struct.pack("<II", parent, number) + name)


def added(number: int, start: int, length: int, block: int) -> bytes:
    return tag(fc.ADD_RANGE, struct.pack("<IIHHI", number, start, length, 0, block))


def removed(number: int, start: int, length: int) -> bytes:
    return tag(fc.DEL_RANGE, struct.pack("<III", number, start, length))


def changes(disk: Disk) -> list[bytes]:
    """A new file and a new directory, a file that is cut and has a further name, one that is removed."""
    d, old, gone = (disk.numbers[name] for name in ("d", "d/old", "d/gone"))
    return [
        inode(NEW, 0o100640, 1, 20),
        added(NEW, 0, 1, EMPTY),
        named(fc.CREAT, d, NEW, b"new"),
        inode(NEW + 1, 0o40755, 2, 1024),
        named(fc.CREAT, 2, NEW + 1, b"directory"),
        named(fc.LINK, NEW + 1, old, b"second"),
        removed(old, 2, 100),
        inode(old, 0o100644, 2, 2048),
        named(fc.UNLINK, d, gone, b"gone"),
    ]


def look(disk: Disk) -> None:
    client = disk.files.root
    assert client.get("/m/d/new") == disk.data_of_new[:20]
    assert client.stat("/m/d/new").st_mode == 0o100640
    assert sorted(client.names("/m/d")) == ["new", "old"]
    assert client.names("/m/directory") == ["second"]
    assert client.get("/m/directory/second") == client.get("/m/d/old") == (b"old" * 2000)[:2048]
    assert client.stat("/m/d/old").st_nlink == 2
    fails(ENOENT, client.stat, "/m/d/gone")


def test_what_they_say_is_there() -> None:
    disk = Disk()
    disk.commit(changes(disk))
    before = disk.disk.read(0, SIZE)
    disk.files.mount("ext4", "/m", "disk", read_only=True)
    look(disk)
    disk.files.entered(disk.files.vfs.unmount, "/m")
    assert disk.check() == []
    assert disk.disk.read(0, SIZE) == before
    for _ in range(2):
        disk.files.mount("ext4", "/m", "disk")
        look(disk)
        disk.files.entered(disk.files.vfs.unmount, "/m")
        assert disk.check() == []


def test_one_that_is_not_whole_does_not_count() -> None:
    disk = Disk()
    disk.commit(changes(disk), right=False)
    disk.files.mount("ext4", "/m", "disk")
    assert sorted(disk.files.root.names("/m/d")) == ["gone", "old"]


def test_a_crash_meanwhile_leaves_them_or_what_they_became() -> None:
    disk = Disk()
    disk.commit(changes(disk))
    before = disk.disk.read(0, SIZE)
    recorder = RecorderBackend(RamDisk(SIZE))
    recorder.write(0, before)
    recorder.clear()
    disk.files.entered(disk.files.service("Disks").attach, "again", recorder)
    disk.files.mount("ext4", "/m", "again")
    disk.files.entered(disk.files.vfs.unmount, "/m")
    events = list(recorder.events)
    assert len(events) > 8
    for count in range(1, len(events) + 1):
        for writes in (prefix(events, count), crash(events, count, count)):
            disk.disk.write(0, before)
            apply(writes, disk.disk)
            try:
                disk.files.mount("ext4", "/m", "disk")
            except OSError as problem:
                assert "the superblock's checksum" in str(problem)  # torn: a repair has to bring it back
                assert disk.check(repair=True)
                disk.files.mount("ext4", "/m", "disk")
            look(disk)
            disk.files.entered(disk.files.vfs.unmount, "/m")
            assert disk.check() == []


@pytest.mark.parametrize(
    "tags",
    [
        [inode(1, 0o100644, 1, 0)],
        [inode(99_999_999, 0o100644, 1, 0)],
        [added(NEW, 0, 1, 99_999_999)],
        [added(12, 0, 1, 1)],
        [inode(NEW, 0o100644, 1, 1024), added(NEW, 0, 1, 20)],
        [inode(NEW, 0o100644, 1, 0), named(fc.CREAT, NEW, NEW, b"loop")],
        [inode(NEW, 0o100644, 1, 0), named(fc.CREAT, 2, NEW, b"a/b")],
        [inode(NEW, 0o100644, 1, 0), named(fc.CREAT, 2, NEW, b"")],
        [named(fc.LINK, 8, 8, b"journal")],
        [tag(fc.ADD_RANGE, b"short")],
        [tag(fc.INODE, b"short")],
    ],
)
def test_what_cannot_be_is_refused(tags: list[bytes]) -> None:
    disk = Disk()
    disk.commit(tags)
    before = disk.disk.read(0, SIZE)
    for read_only in (True, False):
        fails(EUCLEAN, disk.files.mount, "ext4", "/m", "disk", read_only=read_only)
        assert disk.disk.read(0, SIZE) == before
    assert disk.check()


@pytest.mark.parametrize("seed", range(12))
def test_any_tags_are_replayed_or_refused(seed: int) -> None:
    noise = random.Random(seed)
    disk = Disk()
    tags = changes(disk)
    for _ in range(noise.randrange(1, 6)):
        at = noise.randrange(len(tags))
        changed = bytearray(tags[at])
        changed[noise.randrange(4, len(changed))] = noise.randrange(256)
        tags[at : at + noise.randrange(2)] = [bytes(changed)]
    if seed & 1:
        noise.shuffle(tags)
    disk.commit(tags)
    try:
        disk.files.mount("ext4", "/m", "disk")
    except OSError as problem:
        assert problem.errno in (EUCLEAN, EIO, EINVAL, ENOSPC) and problem.strerror
    else:
        disk.files.entered(disk.files.vfs.unmount, "/m")


def test_padding_is_not_kept_and_tags_are_limited() -> None:
    disk = Disk()
    disk.commit([tag(fc.PAD, b"")] * 5000)
    disk.files.host.enter()
    volume = open_volume(disk.files.vfs, disk.device)
    space = LogSpace(volume.cache, journal_runs(volume))
    journal = load(space)
    assert [one.kind for one in scan(space, journal).fast] == [fc.HEAD]
    assert len(fc.read(space, journal, SEQUENCE, 5002)) == 1
    with pytest.raises(OSError, match="more than 5001 tags") as caught:
        fc.read(space, journal, SEQUENCE, 5001)
    assert caught.value.errno == EUCLEAN
    disk.files.host.leave()


def test_blocks_that_are_promised_are_limited() -> None:
    """And it costs nothing that one range is added again and again, or beside others of its file."""
    disk = Disk()
    tags = [inode(NEW, 0o100640, 1, 600 << 10)]
    tags += [added(NEW, at, 1, EMPTY + at) for at in range(0, 600, 2)] * 2
    tags.append(named(fc.CREAT, 2, NEW, b"new"))
    text = bytearray(12)
    for one in tags:
        room = 1024 - len(text) % 1024
        if len(one) > room - 4:
            text += tag(fc.PAD, bytes(room - 4))
        text += one
    disk.commit([bytes(text[12:])])
    disk.files.mount("ext4", "/m", "disk")
    assert disk.files.root.stat("/m/new").st_blocks >= 300 * 2
    disk.files.entered(disk.files.vfs.unmount, "/m")
    assert disk.check() == []
    disk.files.host.enter()
    replay = fastreplay._Replay(open_volume(disk.files.vfs, disk.device))
    replay._total = fastreplay.MAX_PROMISED - 1
    replay._promise(added(NEW, 0, 1, EMPTY)[4:])
    with pytest.raises(OSError, match="files get more than") as caught:
        replay._promise(added(NEW, 0, 1, EMPTY)[4:])
    assert caught.value.errno == EUCLEAN
    disk.files.host.leave()


@pytest.mark.parametrize("seed", range(4))
def test_bits_are_counted(seed: int) -> None:
    noise = random.Random(seed)
    data = bytearray(noise.randbytes(40))
    for _ in range(50):
        start = noise.randrange(320)
        count = noise.randrange(321 - start)
        assert fastreplay._ones(data, start, count) == sum(
            data[at >> 3] >> (at & 7) & 1 for at in range(start, start + count)
        )
