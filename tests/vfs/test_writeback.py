"""Writing back in simulated time: what nobody syncs is on the disk when it is due, and an idle mount does nothing at all."""

from __future__ import annotations

import errno

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.dev.recorder import RecorderBackend
from rumpkit.hyper.block import BlockBackend
from rumpkit.hyper.time import FOREVER, SECOND
from rumpkit.kern.abi.fcntl import O_CREAT, O_WRONLY
from rumpkit.vfs.types import check_format_options
from tests.vfs.helpers import COMPONENTS, Files

SIZE = 4 << 20
DATA = b"what nobody asks for" * 100
KINDS = ("ext2", "ext4", "vfat")


class Faulty(BlockBackend):
    """A disk that fails when it is told to."""

    def __init__(self, disk: RamDisk) -> None:
        super().__init__(disk.size)
        self.disk = disk
        self.flushes_to_fail = 0
        self.writes_fail = False
        self.failures = 0

    def read(self, offset: int, size: int) -> bytes:
        return self.disk.read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        if self.writes_fail:
            self.failures += 1
            raise OSError(errno.EIO, "a bad sector")
        self.disk.write(offset, data)

    def flush(self) -> None:
        if self.flushes_to_fail:
            self.flushes_to_fail -= 1
            self.failures += 1
            raise OSError(errno.EIO, "a write was lost")
        self.disk.flush()


class Idle:
    """A file system on a recorded disk, mounted on /m."""

    def __init__(self, kind: str, **options: object) -> None:
        self.kind = kind
        self.files = Files(components=(*COMPONENTS, "fat"))
        self.host = self.files.host
        ram = RamDisk(SIZE)
        disks = self.files.service("Disks")
        maker = self.files.vfs.types.find(kind)
        device = self.files.entered(disks.attach, "plain", ram)
        self.files.entered(maker.format, self.files.vfs, device, check_format_options(maker, {}))
        self.ram = ram
        self.faulty = Faulty(ram)
        self.recorder = RecorderBackend(self.faulty)
        self.files.entered(disks.attach, "disk", self.recorder)
        self.files.mount(kind, "/m", "disk", **options)
        self.host.run()
        self.recorder.clear()
        self.root = self.files.root

    def pass_time(self, seconds: float) -> None:
        self.host.run(self.host.now + round(seconds * SECOND))

    def setting(self, name: str, value: int) -> None:
        self.files.entered(self.files.kernel.sysctl.set, f"vfs.write_back.{name}", value)

    def content(self) -> bytes | None:
        """What the file has after a power cut now; None if it is not there."""
        files = Files(components=(*COMPONENTS, "fat"))
        copy = RamDisk(SIZE)
        copy.write(0, self.ram.read(0, SIZE))
        files.entered(files.service("Disks").attach, "disk", copy)
        files.mount(self.kind, "/m", "disk")
        return files.root.get("/m/file") if "file" in files.root.names("/m") else None


@pytest.mark.parametrize("kind", KINDS)
def test_changes_are_written_in_time_and_then_there_is_silence(kind: str) -> None:
    idle = Idle(kind)
    idle.root.put("/m/file", DATA)
    idle.pass_time(4.9)
    assert idle.content() is None
    idle.pass_time(0.2)
    assert idle.content() is not None
    idle.pass_time(30)
    assert idle.content() == DATA
    idle.pass_time(60)
    assert idle.host.next_event() == FOREVER
    idle.recorder.clear()
    idle.pass_time(3600)
    assert not idle.recorder.events


@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_mount_has_no_timer_and_writes_nothing(kind: str) -> None:
    for read_only in (False, True):
        idle = Idle(kind, read_only=read_only)
        assert idle.host.next_event() == FOREVER
        idle.pass_time(3600)
        assert not idle.recorder.events


def test_the_settings_say_when() -> None:
    idle = Idle("ext4", commit=60)
    idle.setting("dirty_expire", 7_000)
    idle.root.put("/m/file", DATA)
    idle.pass_time(6.9)
    assert idle.content() is None
    idle.pass_time(0.2)
    # Data that is given storage is committed with it.
    assert idle.content() == DATA
    idle = Idle("vfat")
    idle.setting("commit_interval", 1_000)
    idle.root.put("/m/file", DATA)
    idle.pass_time(1.1)
    assert idle.content() == DATA


def test_a_change_that_comes_while_another_waits_does_not_wait_for_that() -> None:
    """Data waits for half a minute, a name that was made after it five seconds."""
    idle = Idle("ext4")
    fd = idle.root.open("/m/other", O_CREAT | O_WRONLY, 0o644)
    idle.root.fsync(fd)
    idle.root.write(fd, DATA)
    idle.root.fdatasync(fd)
    idle.root.pwrite(fd, DATA, 0)
    idle.pass_time(10)
    idle.root.put("/m/file")
    idle.pass_time(5.1)
    assert idle.content() == b""
    idle.root.close(fd)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mount_that_is_gone_is_left_alone(kind: str) -> None:
    idle = Idle(kind)
    idle.root.put("/m/file", DATA)
    idle.files.entered(idle.files.vfs.unmount, "/m")
    idle.recorder.clear()
    idle.pass_time(100)
    assert not idle.recorder.events and idle.host.next_event() == FOREVER


def test_alarms_do_not_multiply() -> None:
    """Two mounts that are changed all the time: each is written when it is due, and there are no more alarms than that takes."""
    files = Files()
    for name in ("a", "b"):
        device = files.entered(files.service("Disks").attach, name, RamDisk(SIZE))
        maker = files.vfs.types.find("ext4")
        files.entered(maker.format, files.vfs, device, check_format_options(maker, {}))
        files.mount("ext4", f"/{name}", name)
    host = files.host
    for second in range(1, 601):
        files.root.put(f"/{'ab'[second % 2]}/f{second % 9}", b"x" * 100)
        host.run(host.now + SECOND)
    assert len(host._agenda._events) <= 4


@pytest.mark.parametrize("unmount", [False, True])
@pytest.mark.parametrize("kind", ["ext2", "vfat"])
def test_what_failed_in_the_background_is_told_once(kind: str, unmount: bool) -> None:
    idle = Idle(kind)
    fd = idle.root.open("/m/file", O_CREAT | O_WRONLY, 0o644)
    idle.root.write(fd, DATA)
    idle.faulty.flushes_to_fail = 1
    idle.pass_time(60)
    assert idle.faulty.failures == 1
    if unmount:
        idle.root.close(fd)
        with pytest.raises(OSError, match="a write was lost"):
            idle.files.entered(idle.files.vfs.unmount, "/m")
        return
    with pytest.raises(OSError, match="a write was lost"):
        idle.root.fsync(fd)
    idle.root.fsync(fd)
    idle.root.close(fd)
    idle.files.entered(idle.files.vfs.unmount, "/m")


@pytest.mark.parametrize("kind", ["ext2", "vfat"])
def test_what_could_not_be_written_is_tried_again(kind: str) -> None:
    idle = Idle(kind)
    idle.root.put("/m/file", b"")
    idle.faulty.writes_fail = True
    idle.pass_time(21)
    # Again and again, but not at once.
    assert 2 <= idle.faulty.failures <= 50
    assert idle.content() is None
    idle.faulty.writes_fail = False
    idle.pass_time(6)
    assert idle.content() == b""
    idle.pass_time(60)
    assert idle.host.next_event() == FOREVER
