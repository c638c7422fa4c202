"""Every file system is hammered with reads, writes, truncations and holes; what it keeps is right behind a remount, and sound."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rumpkit.clients.local import LocalProcess, new_process
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.hostfs.type import Hostfs
from rumpkit.hosts.posix.hostdir import PosixDirectory
from rumpkit.vfs.types import check_format_options
from tests.system.fs_tools import clean
from tests.system.helpers.fsx import Fsx
from tests.vfs.helpers import COMPONENTS, Files

pytestmark = pytest.mark.once
MEBIBYTE = 1 << 20
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "ext2": ("ext2", {"block_size": 1024}),
    "ext3": ("ext3", {"block_size": 1024}),
    "ext4": ("ext4", {}),
    "ext4 of small blocks": ("ext4", {"block_size": 1024, "features": "^metadata_csum,^64bit"}),
    "ext4 inline": ("ext4", {"features": "inline_data", "inode_size": 512}),
    "fat12": ("vfat", {"bits": 12}),
    "fat32": ("vfat", {"bits": 32}),
}
ROUNDS = int(os.environ.get("RUMPKIT_TEST_ROUNDS", "40"))
"""How many seeds of each kind the long test tries."""


def hammer(name: str, seed: int, steps: int, image: Path, full: bool) -> int:
    """Hammer a disk of a kind; how often it was full."""
    kind, options = KINDS[name]
    files = Files(components=(*COMPONENTS, "fat"))
    size = (36 if name == "fat32" else 8) * MEBIBYTE
    disk = RamDisk(size)
    device = files.entered(files.service("Disks").attach, "disk", disk)
    maker = files.vfs.types.find(kind)
    files.entered(maker.format, files.vfs, device, check_format_options(maker, options))
    files.mount(kind, "/m", "disk")
    process = new_process(files.kernel)
    if full:
        leave(process, "/m", 100_000)
    fsx = Fsx(process, "/m", seed, 300_000, full=full)
    fsx.run(steps)
    fsx.close()
    process.unmount("/m")
    process.mount(kind, "/m", {}, "disk")
    fsx.reopen(process)
    fsx.run(steps // 4)
    fsx.close()
    process.exit()
    files.entered(files.vfs.close)
    image.write_bytes(disk.read(0, size))
    clean(image, kind=kind)
    return fsx.refused


def leave(process: LocalProcess, folder: str, size: int) -> None:
    """Fill a file system, but for about so many bytes."""
    fd = process.creat(f"{folder}/ballast")
    while (room := (found := process.statvfs(folder)).f_bfree * found.f_frsize - size) > 0:
        process.write(fd, b"ballast " * min(room // 8 + 1, 10_000))
    process.close(fd)


@pytest.mark.needs("e2fsck", "fsck.fat")
@pytest.mark.parametrize("name", KINDS)
def test_a_disk(name: str, tmp_path: Path) -> None:
    for seed in range(2):
        hammer(name, seed, 120, tmp_path / "image", False)


@pytest.mark.needs("e2fsck", "fsck.fat")
@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("ext3", "fat32")])
def test_a_disk_that_is_full(name: str, tmp_path: Path) -> None:
    assert sum([hammer(name, seed, 120, tmp_path / "image", True) for seed in range(2)]) > 3


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.needs("e2fsck", "fsck.fat")
@pytest.mark.parametrize("name", KINDS)
def test_a_disk_for_long(name: str, tmp_path: Path) -> None:
    for seed in range(1000, 1000 + ROUNDS):
        hammer(name, seed, 400, tmp_path / "image", seed & 1 == 1 and name not in ("ext3", "fat32"))


def test_memory() -> None:
    files = Files()
    process = new_process(files.kernel)
    fsx = Fsx(process, "", 1, 300_000)
    fsx.run(400)
    fsx.close()


def test_a_host_directory(tmp_path: Path) -> None:
    hostfs = Hostfs()
    files = Files()
    files.vfs.types.register(hostfs)
    hostfs.attach("here", PosixDirectory(files.host, str(tmp_path)))
    files.mount("hostfs", "/h", "here")
    process = new_process(files.kernel)
    fsx = Fsx(process, "/h", 2, 300_000)
    fsx.run(400)
    fsx.close()
    process.exit()
    files.entered(files.vfs.close)
    hostfs.close()
    assert [(tmp_path / f"fsx{number}").read_bytes() for number in range(3)] == [file.data for file in fsx.files]
