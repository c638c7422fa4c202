"""A disk is mounted for writing once: two mounts of it would destroy each other's changes."""

from __future__ import annotations

import pytest

from rumpkit.dev.fault import FaultBackend
from rumpkit.dev.partition import PartitionBackend
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.dev.recorder import RecorderBackend
from rumpkit.dev.snapshot import SnapshotBackend
from rumpkit.hyper.block import BlockBackend
from rumpkit.kern.abi.errno import EBUSY, EINVAL, EROFS
from rumpkit.kern.abi.fcntl import MNT_DETACH, O_RDONLY
from rumpkit.vfs.types import check_format_options
from tests.vfs.helpers import COMPONENTS, Files, fails


@pytest.fixture(params=["ext2", "ext4", "vfat"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def files(kind: str) -> Files:
    """With an empty file system on /dev/disk."""
    made = Files(components=(*COMPONENTS, "fat"))
    disk = made.entered(made.service("Disks").attach_ram, "disk", 8 << 20)
    maker = made.vfs.types.find(kind)
    made.entered(maker.format, made.vfs, disk, check_format_options(maker, {}))
    return made


def test_for_writing_once(files: Files, kind: str) -> None:
    files.mount(kind, "/a", "disk")
    files.root.put("/a/file", b"text")
    fails(EBUSY, files.mount, kind, "/b", "disk")
    fails(EBUSY, files.mount, kind, "/b", "/dev/disk", read_only=True)
    assert files.root.get("/a/file") == b"text"
    assert files.root.names("/b") == []
    files.entered(files.vfs.unmount, "/a")
    files.mount(kind, "/b", "disk")
    assert files.root.get("/b/file") == b"text"


def test_for_reading_as_often_as_wanted(files: Files, kind: str) -> None:
    files.mount(kind, "/a", "disk", read_only=True)
    files.mount(kind, "/b", "disk", read_only=True)
    fails(EBUSY, files.mount, kind, "/c", "disk")
    files.entered(files.vfs.unmount, "/a")
    fails(EBUSY, files.mount, kind, "/c", "disk")
    files.entered(files.vfs.unmount, "/b")
    files.mount(kind, "/c", "disk")


def test_a_remount_claims_it_too(files: Files, kind: str) -> None:
    files.mount(kind, "/a", "disk")
    files.entered(files.vfs.remount, "/a", {"read_only": True})
    files.mount(kind, "/b", "disk", read_only=True)
    fails(EBUSY, files.entered, files.vfs.remount, "/a", {"read_only": False})
    fails(EROFS, files.root.mkdir, "/a/d", 0o755)
    files.entered(files.vfs.unmount, "/b")
    files.entered(files.vfs.remount, "/a", {"read_only": False})
    files.root.mkdir("/a/d", 0o755)
    fails(EBUSY, files.mount, kind, "/b", "disk", read_only=True)


def test_a_mount_that_fails_leaves_it_free(files: Files, kind: str) -> None:
    wrong = "vfat" if kind != "vfat" else "ext4"
    for _ in range(2):
        fails(EINVAL, files.mount, wrong, "/a", "disk")
    files.mount(kind, "/a", "disk")
    fails(EBUSY, files.mount, kind, "/a", "disk")
    files.entered(files.vfs.unmount, "/a")
    files.mount(kind, "/a", "disk")


def test_a_mount_that_was_detached_has_it_until_its_last_file_is_closed(files: Files, kind: str) -> None:
    files.mount(kind, "/a", "disk")
    files.root.put("/a/file", b"text")
    fd = files.root.open("/a/file", O_RDONLY)
    files.entered(files.vfs.unmount, "/a", None, MNT_DETACH)
    fails(EBUSY, files.mount, kind, "/a", "disk")
    files.root.close(fd)
    files.mount(kind, "/a", "disk")


def test_a_disk_and_its_partitions_are_in_each_others_way(kind: str) -> None:
    files = Files(components=(*COMPONENTS, "fat"))
    disks = files.service("Disks")
    maker = files.vfs.types.find(kind)
    whole = files.entered(disks.attach_ram, "disk", 24 << 20)
    for name, start in (("first", 8), ("second", 16), ("over", 12)):
        part = PartitionBackend(whole.backend, start << 20, 8 << 20)
        device = files.entered(disks.attach, name, part)
        if name != "over":
            files.entered(maker.format, files.vfs, device, check_format_options(maker, {}))
    small = files.entered(disks.attach, "small", PartitionBackend(whole.backend, 0, 8 << 20))
    files.entered(maker.format, files.vfs, small, check_format_options(maker, {}))  # what the whole disk has, too
    files.mount(kind, "/a", "first")
    files.mount(kind, "/b", "second")
    for name in ("disk", "over"):
        with pytest.raises(OSError, match=f"{name} has bytes in common with first, which is mounted already") as caught:
            files.mount(kind, "/c", name)
        assert caught.value.errno == EBUSY
        fails(EBUSY, files.mount, kind, "/c", name, read_only=True)
    for where in ("/a", "/b"):
        files.entered(files.vfs.unmount, where)
    files.mount(kind, "/a", "first", read_only=True)
    fails(EBUSY, files.mount, kind, "/c", "disk")
    files.entered(files.vfs.unmount, "/a")
    files.mount(kind, "/c", "small")
    files.mount(kind, "/a", "first")
    fails(EBUSY, files.mount, kind, "/b", "disk")


@pytest.fixture
def whole(kind: str) -> tuple[Files, BlockBackend]:
    """With a file system on a disk's first eight megabytes, which is one on the whole disk, too."""
    files = Files(components=(*COMPONENTS, "fat"))
    maker = files.vfs.types.find(kind)
    disk = files.entered(files.service("Disks").attach_ram, "disk", 24 << 20)
    first = files.entered(files.service("Disks").attach, "first", PartitionBackend(disk.backend, 0, 8 << 20))
    files.entered(maker.format, files.vfs, first, check_format_options(maker, {}))
    return files, disk.backend


def snapshot(base: BlockBackend) -> SnapshotBackend:
    return SnapshotBackend(base, RamDisk(base.size))


def test_what_a_snapshot_is_of_is_not_changed_under_it(whole: tuple[Files, BlockBackend], kind: str) -> None:
    files, disk = whole
    attach = files.service("Disks").attach
    part = PartitionBackend(disk, 0, 8 << 20)
    for name, backend in (
        ("one", snapshot(part)),
        ("two", snapshot(part)),
        ("far", PartitionBackend(disk, 12 << 20, 8 << 20)),
    ):
        files.entered(attach, name, backend)
    files.entered(attach, "over", PartitionBackend(snapshot(snapshot(disk)), 0, 8 << 20))
    files.mount(kind, "/a", "disk")
    for name in ("one", "over"):
        with pytest.raises(OSError, match=f"{name} has bytes in common with disk, which is mounted already") as caught:
            files.mount(kind, "/b", name)
        assert caught.value.errno == EBUSY
        fails(EBUSY, files.mount, kind, "/b", name, read_only=True)
    files.entered(files.vfs.unmount, "/a")
    files.mount(kind, "/a", "disk", read_only=True)
    files.mount(kind, "/b", "one")
    files.mount(kind, "/c", "over")
    files.entered(files.vfs.unmount, "/a")
    fails(EBUSY, files.mount, kind, "/a", "disk")
    files.mount(kind, "/a", "two")  # each has its own changes
    files.root.put("/a/file", b"two")
    files.root.put("/b/file", b"one")
    assert (files.root.get("/a/file"), files.root.get("/b/file")) == (b"two", b"one")


def test_parts_of_one_snapshot_are_in_each_others_way(whole: tuple[Files, BlockBackend], kind: str) -> None:
    files, disk = whole
    attach = files.service("Disks").attach
    shown = snapshot(disk)
    files.entered(attach, "all", shown)
    files.entered(attach, "part", PartitionBackend(shown, 0, 8 << 20))
    files.mount(kind, "/a", "all")
    fails(EBUSY, files.mount, kind, "/b", "part")
    fails(EBUSY, files.mount, kind, "/b", "first")


@pytest.mark.parametrize("around", [FaultBackend, RecorderBackend])
def test_what_watches_a_disk_is_that_disk(whole: tuple[Files, BlockBackend], kind: str, around: type) -> None:
    files, disk = whole
    files.entered(files.service("Disks").attach, "watched", around(PartitionBackend(disk, 0, 8 << 20)))
    files.mount(kind, "/a", "watched")
    fails(EBUSY, files.mount, kind, "/b", "first")
    files.entered(files.vfs.unmount, "/a")
    files.mount(kind, "/b", "first")
    fails(EBUSY, files.mount, kind, "/a", "watched")
