"""Single files of the host at a path of the kernel: as regular files and as block devices, for writing or not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rumpkit import O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, Kernel
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.load import load_checked
from rumpkit.kern.abi.errno import EBUSY, EROFS
from tests.vfs.helpers import fails


def config(tmp_path: Path, *entries: str, more: str = "") -> Path:
    path = tmp_path / "k.toml"
    path.write_text(more + "".join(f"[[etfs]]\n{entry}\n" for entry in entries))
    return path


def test_a_file(tmp_path: Path) -> None:
    source = tmp_path / "notes.txt"
    source.write_bytes(b"from the host")
    (tmp_path / "other").write_bytes(b"not shown")
    with Kernel(config(tmp_path, 'path = "/etc/deep/notes"\nsource = "notes.txt"')) as kernel:
        p = kernel.process()
        fd = p.open("/etc/deep/notes", O_RDWR)
        assert p.read(fd, 99) == b"from the host"
        assert [entry.d_name for entry in p.readdir(p.open("/etc/deep"))] == [".", "..", "notes"]
        p.pwrite(fd, b"INTO", 0)
        p.fsync(fd)
        assert source.read_bytes() == b"INTO the host"
        p.ftruncate(fd, 4)
        source.write_bytes(b"INTO and longer")
        assert p.stat("/etc/deep/notes").st_size == p.fstat(fd).st_size == 15
        p.close(fd)
        p.chmod("/etc/deep/notes", 0o600)
        assert os.stat(source).st_mode & 0o777 == 0o600
        p.close(p.open("/etc/deep/notes", O_WRONLY | O_CREAT | O_TRUNC))
        assert source.read_bytes() == b""
        fails(EBUSY, p.unlink, "/etc/deep/notes")
        fails(EBUSY, p.rename, "/etc/deep/notes", "/etc/deep/more")
        p.sync()
        p.unmount("/etc/deep/notes")
        assert p.stat("/etc/deep/notes").st_size == 0
        p.unlink("/etc/deep/notes")
    assert source.exists()


def test_a_file_that_the_host_replaces_stays(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"old")
    with Kernel(config(tmp_path, 'path = "/file"\nsource = "file"')) as kernel:
        p = kernel.process()
        (tmp_path / "new").write_bytes(b"new one")
        (tmp_path / "new").rename(source)
        fd = p.open("/file", O_RDONLY)
        assert p.read(fd, 99) == b"old"
        p.close(fd)


def test_read_only(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"text")
    source.chmod(0o444)
    entries = 'path = "/file"\nsource = "file"\nread_only = true'
    with Kernel(config(tmp_path, entries)) as kernel:
        p = kernel.process()
        fails(EROFS, p.open, "/file", O_RDWR)
        fails(EROFS, p.truncate, "/file", 0)
        fails(EROFS, p.chmod, "/file", 0o777)
        fd = p.open("/file", O_RDONLY)
        assert p.read(fd, 99) == b"text"
        p.close(fd)
    assert source.read_bytes() == b"text"


def test_a_block_device(tmp_path: Path) -> None:
    source = tmp_path / "disk.img"
    source.write_bytes(b"sector" + bytes(4090))
    entries = 'path = "/dev2/rd0"\ntype = "block"\nsource = "disk.img"'
    with Kernel(config(tmp_path, entries)) as kernel:
        p = kernel.process()
        found = p.stat("/dev2/rd0")
        assert found.st_mode & 0o170000 == 0o060000 and found.st_rdev
        fd = p.open("/dev2/rd0", O_RDWR)
        assert p.pread(fd, 6, 0) == b"sector"
        p.pwrite(fd, b"kernel", 512)
        p.fsync(fd)
        p.close(fd)
    assert source.read_bytes()[512:518] == b"kernel"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('path = "/a"\nsource = "missing"', "missing"),
        ('path = "/a"\nsource = "."', "regular"),
        ('path = "a"\nsource = "file"', "absolute path"),
        ('path = "/a"\nsource = "file"\ntype = "blck"', "block"),
        ('path = "/a"\nsource = ""', "needs a source"),
        ('path = "/dev"\nsource = "file"', "/dev of the kernel"),
        ('path = "/a"\nsource = "file"\n[[etfs]]\npath = "/a"\nsource = "file"', "/a"),
    ],
)
def test_what_cannot_be(entry: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=said) as caught:
        Kernel(config(tmp_path, entry))
    assert "etfs" in str(caught.value)


def test_described(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    spec = load_checked(config(tmp_path, 'path = "/a"\nsource = "file"'))
    assert [(entry.path, entry.source) for entry in spec.etfs] == [("/a", str(tmp_path / "file"))]
