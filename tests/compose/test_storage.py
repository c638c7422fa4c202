"""Disks and mounts of a config: host files as block devices, and mounted in passing."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpkit import O_RDONLY, O_RDWR, Kernel
from rumpkit.compose.check import check
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.load import parse
from rumpkit.compose.spec import DiskSpec, MountSpec, Spec
from rumpkit.compose.storage import is_host_path
from rumpkit.kern.abi.errno import EROFS

CONFIG = """
[[disk]]
name = "data"
source = "images/data.img"

[[disk]]
name = "shared"
source = "images/shared.img"
read_only = true

[[disk]]
name = "scratch"
size = "64K"
"""


def test_a_union_over_a_mount(tmp_path: Path) -> None:
    text = """
[[mount]]
path = "/low"
type = "hostfs"
source = "low"
read_only = true

[[mount]]
path = "/data"
type = "union"
source = "/low"
size = "8K"
options = { inodes = 2 }
"""
    (tmp_path / "low").mkdir()
    (tmp_path / "low" / "file").write_text("below")
    config = tmp_path / "union.toml"
    config.write_text(text)
    with Kernel(config) as kernel:
        p = kernel.process()
        p.write(fd := p.open("/data/file", O_RDWR), b"above")
        assert p.pread(fd, 10, 0) == b"above"
        assert p.statvfs("/data").f_blocks == 2
        with pytest.raises(OSError, match="space"):
            p.unlink("/data/file")
    assert (tmp_path / "low" / "file").read_text() == "below"
    config.write_text(text.replace('"/low"\nsize', '"low"\nsize'))
    with pytest.raises(ConfigError, match="absolute path in the tree"):
        Kernel(config)


def test_host_files_are_block_devices(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/data.img").write_bytes(b"first" + bytes(4091))
    (tmp_path / "images/shared.img").write_bytes(b"other" + bytes(507))
    config = tmp_path / "disks.toml"
    config.write_text(CONFIG)
    with Kernel(config) as kernel:
        p = kernel.process()
        fd = p.open("/dev/data", O_RDWR)
        assert p.read(fd, 5) == b"first"
        p.pwrite(fd, b"second", 0)
        p.fsync(fd)
        assert p.lseek(fd, 0, 2) == 4096
        p.close(fd)
        with pytest.raises(OSError) as refused:
            p.open("/dev/shared", O_RDWR)
        assert refused.value.errno == EROFS
        fd = p.open("/dev/shared", O_RDONLY)
        assert p.read(fd, 5) == b"other"
        fd = p.open("/dev/scratch", O_RDWR)
        assert p.lseek(fd, 0, 2) == 65536
        with pytest.raises(ConfigError, match=r"disk\[0\].*uses it"):
            Kernel(config)
    assert (tmp_path / "images/data.img").read_bytes()[:6] == b"second"
    with Kernel(disks={"a": tmp_path / "images/data.img", "b": {"size": "4K"}}) as kernel:
        p = kernel.process()
        assert p.read(p.open("/dev/a"), 6) == b"second"
        assert p.read(p.open("/dev/b"), 9) == bytes(9)


def test_a_mounted_file_must_hold_something(tmp_path: Path) -> None:
    (tmp_path / "empty.img").write_bytes(bytes(1 << 16))
    config = tmp_path / "mounts.toml"
    config.write_text('[[mount]]\npath = "/data"\nsource = "empty.img"\nread_only = true\n')
    with pytest.raises(
        ConfigError,
        match=r"mounts.toml:3: mount\[0\].source: '.*/empty.img' as auto cannot be mounted on /data: holds no file system",
    ):
        Kernel(config)
    config.write_text('[[mount]]\npath = "/data"\nsource = "absent.img"\n')
    with pytest.raises(ConfigError, match=r"mounts.toml:3: mount\[0\].source: .*absent.img' cannot be opened: No such"):
        Kernel(config)


def test_a_snapshot_is_forgotten(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"before".ljust(1 << 16, b"\0"))
    with Kernel(disks={"a": {"source": image, "snapshot": True}}, mounts={"/": "tmpfs"}) as kernel:
        process = kernel.process()
        fd = process.open("/dev/a", O_RDWR)
        process.pwrite(fd, b"after", 0)
        process.fsync(fd)
        assert process.pread(fd, 7, 0) == b"aftere\0"
        process.close(fd)
        with Kernel(disks={"b": {"source": image, "read_only": True}}, mounts={"/": "tmpfs"}) as other:
            reader = other.process()
            assert reader.pread(reader.open("/dev/b", O_RDONLY), 7, 0) == b"before\0"
    assert image.read_bytes().startswith(b"before\0")


def test_options_of_a_mount() -> None:
    with Kernel(mounts={"/": {"type": "tmpfs", "size": "1M", "options": {"inodes": 5}}}) as kernel:
        assert kernel.process().statvfs("/").f_files == 5
    with pytest.raises(ConfigError, match="unknown key"):
        Kernel(mounts={"/": {"typ": "tmpfs"}})
    with pytest.raises(ConfigError, match="has no mount option 'inode'"):
        Kernel(mounts={"/": {"type": "tmpfs", "options": {"inode": 5}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[disk]]\nname = "a/b"\nsource = "x"', "is not a name of a device"),
        ('[[disk]]\nname = "a"\nsource = "x"\n[[disk]]\nname = "a"\nsource = "y"', "taken already"),
        ('[[disk]]\nname = "a"', "needs a source or a size"),
        ('[[disk]]\nname = "a"\nsource = "x"\nsize = "1M"', "needs a source or a size"),
        ('[[disk]]\nname = "a"\nsize = "1M"\nread_only = true', "nothing to read"),
        ('[[disk]]\nname = "a"\nsize = "1M"\nsnapshot = true', "forgotten anyway"),
        ('[[disk]]\nname = "a"\nsource = "x"\nread_only = true\nsnapshot = true', "no changes to forget"),
        ('[[disk]]\nname = "a"\nsize = "much"', "is not a size"),
    ],
)
def test_what_is_no_disk(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(parse(text))


def test_which_sources_are_the_hosts() -> None:
    spec = Spec(disk=[DiskSpec("disk0", size="1M")])
    for kind, source, expected in (
        ("hostfs", "/dev/shm", True),
        ("hostfs", "disk0", True),
        ("ext4", "/dev/disk0", False),
        ("auto", "disk0", False),
        ("auto", "disk1.img", True),
        ("null", "/a", False),
        ("tmpfs", "", False),
    ):
        assert is_host_path(MountSpec("/m", kind, source), spec) is expected
