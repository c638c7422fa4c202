"""Host directories in a kernel's tree: through a config, with links, mapped owners, and changes on the host meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rumpkit import O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR, Kernel, LocalProcess
from rumpkit.compose.errors import ConfigError
from rumpkit.fs.hostfs import mount as host_mount
from rumpkit.kern.abi.errno import EBUSY, ENOENT, ENOTSUP, EPERM, EROFS, ESTALE
from tests.house.descriptors import descriptors_before, open_descriptors


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A host directory with something in it."""
    folder = tmp_path / "shared"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "f").write_bytes(b"text")
    (tmp_path / "outside").write_bytes(b"secret")
    return folder


def fails(number: int, call: object, *arguments: object) -> None:
    assert callable(call)
    with pytest.raises(OSError) as problem:
        call(*arguments)
    assert problem.value.errno == number, problem.value


def get(p: LocalProcess, path: str) -> bytes:
    fd = p.open(path)
    data = p.read(fd, 1 << 20)
    p.close(fd)
    return data


def put(p: LocalProcess, path: str, data: bytes) -> None:
    fd = p.open(path, O_RDWR | O_CREAT)
    p.write(fd, data)
    p.close(fd)


def names(p: LocalProcess, path: str) -> list[str]:
    fd = p.open(path, O_RDONLY | O_DIRECTORY)
    found = [entry.d_name for entry in p.readdir(fd)][2:]
    p.close(fd)
    return sorted(found)


def test_by_config(shared: Path) -> None:
    config = shared.parent / "k.toml"
    config.write_text(
        '[[mount]]\npath = "/h"\ntype = "hostfs"\nsource = "shared"\n'
        '[[mount]]\npath = "/ro"\ntype = "hostfs"\nsource = "shared"\nread_only = true\n'
    )
    with Kernel(config) as kernel:
        p = kernel.process()
        put(p, "/h/sub/new", b"from the kernel")
        assert (shared / "sub" / "new").read_bytes() == b"from the kernel"
        assert names(p, "/h/sub") == names(p, "/ro/sub") == ["f", "new"]
        fails(EROFS, p.mkdir, "/ro/d")
        fails(EROFS, p.remount, "/ro", {"read_only": False})
        assert p.statvfs("/h").f_blocks == os.statvfs(shared).f_blocks
        fails(ENOENT, p.mount, "hostfs", "/h/sub", None, "/etc")  # only what the config names
        fd = p.open("/h/sub/f")
        fails(EBUSY, p.unmount, "/h")
        p.close(fd)
        p.unmount("/h")
    config.write_text('[[mount]]\npath = "/h"\ntype = "hostfs"\nsource = "absent"\n')
    with pytest.raises(ConfigError, match=r"mount\[0\].source: .*absent' cannot be opened"):
        Kernel(config)


def kernel_on(folder: Path, **options: int) -> Kernel:
    return Kernel(mounts={"/h": {"type": "hostfs", "source": str(folder), "options": options}})


def test_links_stay_in_the_kernel(shared: Path) -> None:
    (shared / "up").symlink_to("../outside")
    (shared / "absolute").symlink_to("/sub/f")
    with kernel_on(shared) as kernel:
        p = kernel.process()
        fails(ENOENT, p.open, "/h/up")
        put(p, "/outside", b"the kernel's own")
        assert get(p, "/h/up") == b"the kernel's own"
        fails(ENOENT, p.open, "/h/absolute")
        assert p.readlink("/h/up") == "../outside"
        p.symlink("/etc/passwd", "/h/made")
        fails(ENOENT, p.open, "/h/made")
        assert get(p, "/h/sub/../../h/../h/sub/f") == b"text"


def test_attributes_and_owners(shared: Path) -> None:
    with kernel_on(shared, uid=7, gid=8) as kernel:
        p = kernel.process()
        user = kernel.process(7)
        stat = p.stat("/h/sub/f")
        assert (stat.st_uid, stat.st_gid, stat.st_size) == (7, 8, 4)
        fd = user.open("/h/sub/mine", O_RDWR | O_CREAT, 0o640)
        user.write(fd, b"12345")
        assert user.fstat(fd).st_size == 5
        user.chmod("/h/sub/mine", 0o4600)
        assert os.stat(shared / "sub" / "mine").st_mode & 0o7777 == 0o600
        fails(EPERM, p.chown, "/h/sub/mine", 9, 9)
        user.utimens("/h/sub/mine", 3, 4)
        assert os.stat(shared / "sub" / "mine").st_mtime_ns == 4
        fails(ENOTSUP, p.setxattr, "/h/sub/f", "trusted.a", b"")
        fails(ENOTSUP, p.setxattr, "/h/sub/f", "security.capability", b"")


def test_the_host_changes_things(shared: Path) -> None:
    with kernel_on(shared) as kernel:
        p = kernel.process()
        fd = p.open("/h/sub/f", O_RDWR)
        assert p.read(fd, 2) == b"te"
        with open(shared / "sub" / "f", "ab") as file:
            file.write(b" and more")
        assert p.lseek(fd, 0, 2) == 13 and p.pread(fd, 20, 0) == b"text and more"
        os.unlink(shared / "sub" / "f")
        assert p.pread(fd, 4, 0) == b"text" and p.fstat(fd).st_nlink == 0
        fails(ENOENT, p.stat, "/h/sub/f")
        (shared / "sub" / "f").write_bytes(b"another")
        assert p.stat("/h/sub/f").st_size == 7 and p.pread(fd, 4, 0) == b"text"
        unread = p.open("/h/sub/f")
        os.rename(shared / "sub" / "f", shared / "moved")
        (shared / "sub" / "f").write_bytes(b"a third")
        with pytest.raises(OSError) as problem:
            p.read(unread, 9)
        assert problem.value.errno in (ENOENT, ESTALE)
        p.chdir("/h/sub")
        os.rename(shared / "sub", shared / "gone")
        fails(ENOENT, p.stat, "f")
        fails(ENOENT, p.mkdir, "d")
        p.chdir("/h/gone")
        assert p.getcwd() == "/h/gone"


def test_directories_moved_below_what_was_in_them(shared: Path) -> None:
    (shared / "a" / "b").mkdir(parents=True)
    with kernel_on(shared) as kernel:
        p = kernel.process()
        p.chdir("/h/a/b")
        for first, second in (("a", "x"), ("x/b", "a"), ("x", "a/b")):
            os.rename(shared / first, shared / second)
        fails(ENOENT, p.stat, "b")
        assert p.stat("/h/a/b").st_ino == os.stat(shared / "a/b").st_ino
        p.chdir("/h/a/b")
        assert p.getcwd() == "/h/a/b"


def test_unlinked_while_open_and_what_is_remembered(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_mount, "KEPT", 4)
    with kernel_on(shared) as kernel:
        p = kernel.process()
        fd = p.open("/h/sub/f", O_RDWR)
        p.unlink("/h/sub/f")
        assert p.read(fd, 9) == b"text"
        p.pwrite(fd, b"TE", 0)
        p.fchmod(fd, 0o600)
        assert p.pread(fd, 9, 0) == b"TExt"
        before = len(descriptors_before())
        for number in range(40):
            p.mkdir(f"/h/{number}")
            put(p, f"/h/{number}/f", b"%d" % number)
            assert get(p, f"/h/{number}/f") == b"%d" % number
        assert len(open_descriptors()) == before
        p.close(fd)
        assert len(open_descriptors()) == before - 1


def test_listing(shared: Path) -> None:
    for number in range(300):
        (shared / "sub" / f"{number:03}").touch()
    with kernel_on(shared) as kernel:
        p = kernel.process()
        fd = p.open("/h/sub", O_RDONLY | O_DIRECTORY)
        seen = [entry.d_name for entry in p.readdir(fd, 100)]
        for number in range(0, 300, 2):
            os.unlink(shared / "sub" / f"{number:03}")
        put(p, "/h/sub/new", b"")
        p.chdir("/h/sub")
        assert "new" in names(p, ".")  # another reader starts meanwhile
        while entries := p.readdir(fd, 7):
            seen += [entry.d_name for entry in entries]
        assert len(seen) == len(set(seen))
        assert {f"{number:03}" for number in range(1, 300, 2)} <= set(seen)


def test_too_many_names(shared: Path) -> None:
    for number in range(20):
        (shared / str(number)).touch()
    with kernel_on(shared, max_names=10) as kernel:
        p = kernel.process()
        fd = p.open("/h", O_RDONLY | O_DIRECTORY)
        with pytest.raises(OSError, match="too large"):
            p.readdir(fd)
        assert p.stat("/h/5").st_size == 0


def test_files_that_are_held_do_not_slow_down_others(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is looked through once it has doubled, not for each file that comes."""
    monkeypatch.setattr(host_mount, "KEPT", 4)
    sweeps = []
    forget = host_mount.HostMount._forget

    def counted(mount: host_mount.HostMount) -> None:
        sweeps.append(len(mount._known))
        forget(mount)

    monkeypatch.setattr(host_mount.HostMount, "_forget", counted)
    for number in range(150):
        (shared / f"f{number}").touch()
    with kernel_on(shared) as kernel:
        p = kernel.process()
        held = [p.open(f"/h/f{number}") for number in range(50)]
        for number in range(50, 150):
            p.stat(f"/h/f{number}")
        assert 4 <= len(sweeps) < 12 and max(sweeps) < 120
        for fd in held:
            p.close(fd)
