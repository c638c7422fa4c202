"""Disks that fail under a journal, and read-only mounts of what a crash left: nothing is half there, and somebody says so."""

from __future__ import annotations

from typing import Any

import pytest

from rumpkit.dev.fault import FLUSH, WRITE, Fault, FaultBackend
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi.errno import EIO, EROFS, EUCLEAN
from rumpkit.kern.abi.fcntl import O_CREAT, O_WRONLY
from tests.fs.crashlab import Recorded, tree, workloads
from tests.fs.ext.fsck.ckhelp import check_disk
from tests.fs.ext.mkfs.mkhelp import new_disk
from tests.vfs.helpers import Files

SIZE = 3 << 20


def write(client: Any, path: str, data: bytes, sync: bool) -> None:
    fd = client.open(path, O_CREAT | O_WRONLY, 0o644)
    try:
        client.write(fd, data)
        if sync:
            client.fsync(fd)
    finally:
        client.close(fd)


@pytest.mark.parametrize("call", [WRITE, FLUSH])
@pytest.mark.parametrize("after", range(3, 14, 2))
@pytest.mark.parametrize("kind", ["ext3", "ext4"])
def test_a_failing_disk_makes_the_mount_read_only_and_leaves_it_sound(kind: str, call: str, after: int) -> None:
    disk = new_disk(kind, SIZE, features="^resize_inode")
    files = Files()
    backend = FaultBackend(disk, 1, [Fault(call, after=after)], cache=0)
    files.entered(files.service("Disks").attach, "disk", backend)
    files.mount(kind, "/m", "disk")
    done = 0
    with pytest.raises(OSError, match="") as caught:
        for done in range(40):
            write(files.root, f"/m/file{done}", b"x" * 3000, True)
    assert caught.value.errno in (EIO, EROFS)
    said = bytes(files.host.console)
    if call == WRITE and not said:
        assert caught.value.errno == EIO, "file data could not be written"
    else:
        assert b"disk: the journal is aborted" in said and b"read-only now" in said
        assert files.kernel.counters.get("ext.journal.aborts") == 1
    with pytest.raises(OSError, match="") as caught:
        write(files.root, "/m/other", b"y", True)
    assert caught.value.errno in (EIO, EROFS)
    if done:
        assert files.root.stat("/m/file0").st_size == 3000, "it can be read still"
    try:
        files.entered(files.vfs.unmount, "/m")
    except OSError as problem:
        assert problem.errno == EIO, "what is still to be written cannot be"
    else:
        assert not said, "it says that writing was given up"
    _, found = check_disk(disk)
    texts = [finding.text for finding in found if "gave it up" not in finding.text]
    assert not texts, texts
    again = Files()
    again.entered(again.service("Disks").attach, "disk", disk)
    again.mount(kind, "/m", "disk")
    for number in range(done):
        assert again.root.stat(f"/m/file{number}").st_size == 3000, "what was synced before the failure is there"
    again.entered(again.vfs.unmount, "/m")


@pytest.mark.parametrize("kind", ["ext3", "ext4"])
def test_a_read_only_mount_sees_what_the_log_has_and_writes_nothing(kind: str) -> None:
    run = Recorded(kind, SIZE, workloads()[1000], True, features="^resize_inode")
    counts = [count for count, seed in run.points(0)][-4:]
    for count in counts:
        disk = run.image(count, None)
        before = disk.read(0, SIZE)
        files = Files()
        locked = RamDisk(SIZE)
        locked.write(0, before)
        locked.read_only = True
        files.entered(files.service("Disks").attach, "disk", locked)
        files.mount(kind, "/m", "disk", read_only=True)
        seen = tree(files.root, "/m")
        assert not run.promised(count).check(seen)
        files.entered(files.vfs.unmount, "/m")
        assert locked.read(0, SIZE) == before
        assert run.after(disk)[0] == seen


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_unmounting_says_that_writing_was_given_up(kind: str) -> None:
    disk = new_disk(kind, SIZE, features="^resize_inode")
    files = Files()
    files.entered(files.service("Disks").attach, "disk", disk)
    files.mount(kind, "/m", "disk")
    mount: Any = files.vfs.mounts()[-1]
    write(files.root, "/m/file", b"x" * 3000, False)
    files.entered(mount.failed, OSError(EUCLEAN, "a bitmap is damaged"))
    with pytest.raises(OSError, match="a bitmap is damaged") as caught:
        files.entered(files.vfs.unmount, "/m")
    assert caught.value.errno == EIO
    assert mount.finished and mount not in files.vfs.mounts()
