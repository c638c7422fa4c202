"""Unions: a directory with a layer in memory over it, on file systems with and without a lock."""

import pytest

from rumpkit.fs.union.mount import DEEPEST
from rumpkit.kern.abi.errno import (
    EBUSY,
    EINVAL,
    ENODATA,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    EROFS,
)
from rumpkit.kern.abi.fcntl import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MNT_DETACH,
    O_APPEND,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    O_TMPFILE,
    O_WRONLY,
    RENAME_EXCHANGE,
    SEEK_DATA,
    SEEK_SET,
)
from tests.vfs.helpers import Files, fails


def below(kind: str) -> Files:
    files = Files()
    files.mount(kind, "/low")
    root = files.root
    for name in ("/low/d", "/low/d/inner", "/low/e"):
        root.mkdir(name)
    for name in ("/low/f", "/low/d/g", "/low/d/inner/h"):
        root.put(name, name.encode())
    root.link("/low/f", "/low/d/f2")
    root.symlink("d/g", "/low/l")
    root.setxattr("/low/f", "user.a", b"below")
    return files


def tree(files: Files, path: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in files.root.names(path):
        where = f"{path}/{name}"
        mode = files.root.lstat(where).st_mode & 0o170000
        found[where] = files.root.get(where) if mode == 0o100000 else b""
        if mode == 0o040000:
            found |= tree(files, where)
    return found


@pytest.fixture(params=["tmpfs", "locked"])
def files(request: pytest.FixtureRequest) -> Files:
    """/low is read-only and has a layer at /u."""
    files = below(request.param)
    files.entered(files.vfs.remount, "/low", {"read_only": True})
    files.mount("union", "/u", "/low")
    return files


def test_what_is_below_shows_and_stays(files: Files):
    root = files.root
    before = tree(files, "/low")
    assert tree(files, "/u") == {path.replace("/low", "/u"): data for path, data in before.items()}
    root.put("/u/new", b"new")
    root.put("/u/f", b"other")
    root.mkdir("/u/d/more", 0o700)
    root.unlink("/u/d/g")
    root.symlink("new", "/u/s")
    root.chmod("/u/d/inner/h", 0o600)
    root.unlink("/u/l")
    root.rmdir("/u/e")
    assert tree(files, "/low") == before
    assert sorted(tree(files, "/u")) == [
        "/u/d",
        "/u/d/f2",
        "/u/d/inner",
        "/u/d/inner/h",
        "/u/d/more",
        "/u/f",
        "/u/new",
        "/u/s",
    ]
    assert root.get("/u/d/f2") == b"other", "it has the same file under another name"
    assert root.get("/u/s") == b"new"
    fails(ENOENT, root.stat, "/u/d/g")
    fails(EROFS, root.mkdir, "/low/x")


def test_a_file_stays_the_same_when_it_is_changed(files: Files):
    root = files.root
    number = root.stat("/u/f").st_ino
    assert number == root.stat("/low/f").st_ino
    reader, other = root.open("/u/f", O_RDONLY), root.open("/u/d/f2", O_RDONLY)
    fd = root.open("/u/f", O_WRONLY | O_APPEND)
    root.write(fd, b" and more")
    assert root.read(reader, 100) == root.read(other, 100) == b"/low/f and more"
    assert [root.fstat(one).st_ino for one in (reader, other, fd)] == [number] * 3
    assert root.stat("/u/d/f2").st_nlink == 2 and root.stat("/u/d/f2").st_size == 15
    root.rename("/u/f", "/u/e/moved")
    root.unlink("/u/d/f2")
    assert (root.stat("/u/e/moved").st_ino, root.stat("/u/e/moved").st_nlink) == (number, 1)
    root.unlink("/u/e/moved")
    assert root.pread(reader, 4, 0) == b"/low" and root.fstat(reader).st_nlink == 0


def test_directories_move_with_what_is_below(files: Files):
    root = files.root
    numbers = [root.stat(f"/u/d{path}").st_ino for path in ("", "/inner", "/inner/h")]
    root.rename("/u/d", "/u/e/dd")
    assert [root.stat(f"/u/e/dd{path}").st_ino for path in ("", "/inner", "/inner/h")] == numbers
    assert root.get("/u/e/dd/inner/h") == b"/low/d/inner/h"
    root.chdir("/u/e/dd/inner")
    assert root.getcwd() == "/u/e/dd/inner" and root.stat("../..").st_ino == root.stat("/u/e").st_ino
    fails(EINVAL, root.rename, "/u/e", "/u/e/dd/inner/x")
    root.mkdir("/u/d")
    assert root.names("/u/d") == [], "nothing of what was there shows"
    root.rename("/u/e/dd/inner", "/u/d", 0)
    assert root.getcwd() == "/u/d" and root.names("/u/d") == ["h"]
    root.rename("/u/d", "/u/e", RENAME_EXCHANGE)
    assert root.names("/u/e") == ["h"] and root.names("/u/d/dd") == ["g", "f2"] and root.getcwd() == "/u/e"
    assert [root.stat(path).st_nlink for path in ("/u", "/u/d", "/u/e", "/u/d/dd")] == [4, 3, 2, 2]


def test_an_empty_directory_is_one_whose_names_have_gone(files: Files):
    root = files.root
    fails(ENOTEMPTY, root.rmdir, "/u/d")
    fails(ENOTEMPTY, root.rename, "/u/e", "/u/d")
    for name in ("inner/h", "g", "f2"):
        root.unlink(f"/u/d/{name}")
    root.rmdir("/u/d/inner")
    root.put("/u/d/g", b"again")
    fails(ENOTEMPTY, root.rmdir, "/u/d")
    root.unlink("/u/d/g")
    root.rmdir("/u/d")
    fails(ENOENT, root.stat, "/u/d")
    root.mkdir("/u/d")
    assert root.names("/u/d") == []


def test_who_reads_a_directory_sees_each_name_once(files: Files):
    files.entered(files.vfs.remount, "/low", {"read_only": False})
    for number in range(100):
        files.root.put(f"/low/e/below-{number}")
    root = files.root
    for number in range(50):
        root.unlink(f"/u/e/below-{number}")
        root.put(f"/u/e/own-{number}")
        root.put(f"/u/e/below-{number + 50}", b"changed")
    fd = root.open("/u/e", O_RDONLY)
    names: list[str] = []
    while found := root.readdir(fd, 7):
        names += [entry.d_name for entry in found]
        if len(names) == 14:
            root.unlink("/u/e/own-49")
            root.rename("/u/e/below-99", "/u/e/renamed")
    wanted = {f"below-{number}" for number in range(50, 99)} | {f"own-{number}" for number in range(49)}
    assert len(names) == len(set(names)) and wanted | {".", ".."} <= set(names) and "own-49" not in names
    numbers = {entry.d_name: entry.d_ino for entry in root.readdir(root.open("/u/e", O_RDONLY), 1000)}
    assert all(root.stat(f"/u/e/{name}").st_ino == number for name, number in numbers.items() if name[0] != ".")


def test_limits(files: Files):
    root = files.root
    files.mount("union", "/small", "/low", size=8192, inodes=6)
    root.chmod("/small/f", 0o600)  # with the root: two
    root.unlink("/small/l")  # three
    root.put("/small/new", bytes(8192))
    fd = root.open("/small/f", O_WRONLY)
    fails(ENOSPC, root.write, fd, b"x")
    root.close(fd)
    assert root.get("/small/f") == b"/low/f" and root.stat("/small/f").st_mode & 0o777 == 0o600
    root.put("/small/new2")
    root.put("/small/new3")
    for call, *arguments in (
        (root.mkdir, "/small/more"),
        (root.unlink, "/small/d/g"),
        (root.rename, "/small/e", "/small/e2"),
        (root.chmod, "/small/d/g", 0o600),
        (root.setxattr, "/small/d/g", "user.a", b"1"),
    ):
        fails(ENOSPC, call, *arguments)
    assert root.names("/small/d") == ["inner", "g", "f2"] and "e" in root.names("/small")
    status = root.statvfs("/small")
    assert (status.f_files, status.f_ffree, status.f_bfree) == (6, 0, 0)
    for name in ("new", "new2", "new3"):
        root.unlink(f"/small/{name}")
    root.put("/small/f", b"again")
    assert root.get("/small/f") == b"again"
    root.unlink("/small/f")
    assert root.get("/small/d/f2") == b"again" and root.statvfs("/small").f_bfree == 1


def test_attributes_are_below_until_one_is_changed(files: Files):
    root = files.root
    assert root.getxattr("/u/f", "user.a") == b"below" and root.listxattr("/u/f") == ["user.a"]
    root.setxattr("/u/f", "user.b", b"own")
    assert sorted(root.listxattr("/u/d/f2")) == ["user.a", "user.b"]
    root.removexattr("/u/f", "user.a")
    fails(ENODATA, root.getxattr, "/u/f", "user.a")
    fails(ENODATA, root.removexattr, "/u/d/g", "user.a")
    assert root.getxattr("/low/f", "user.a") == b"below" and root.listxattr("/low/f") == ["user.a"]
    root.utimens("/u/d/g", 5, 6)
    root.chown("/u/d", 7, 8)
    status = root.stat("/u/d/g")
    assert (status.st_atime_ns, status.st_mtime_ns) == (5, 6) and root.stat("/u/d").st_uid == 7
    assert root.stat("/low/d").st_uid == 0 and root.stat("/low/d/g").st_mtime_ns != 6


@pytest.mark.parametrize("kind", ["tmpfs", "locked"])
def test_only_what_is_kept_is_copied(kind: str):
    files = below(kind)
    root = files.root
    fd = root.open("/low/big", O_RDWR | O_CREAT)
    for offset in (0, 5 << 20):
        root.pwrite(fd, b"x" * (2 << 20), offset)
    root.ftruncate(fd, 9 << 20)
    files.mount("union", "/u", "/low", size=4 << 20)
    writer = root.open("/u/big", O_RDWR)
    root.pwrite(writer, b"y", 10)
    assert root.statvfs("/u").f_bfree == 0 and root.fstat(writer).st_size == 9 << 20, "holes stay"
    assert root.lseek(writer, 3 << 20, SEEK_DATA) == 5 << 20
    assert root.pread(writer, 20, (5 << 20) - 10) == bytes(10) + b"x" * 10
    assert root.pread(writer, 3, 9) == b"xyx" and root.pread(fd, 3, 9) == b"xxx"
    root.fallocate(writer, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 6 << 20)
    assert root.statvfs("/u").f_bfree == 3 << 8
    files.mount("union", "/v", "/low", size=4096)
    root.truncate("/v/big", 100)
    assert root.get("/v/big") == b"x" * 100
    root.lseek(fd, 0, SEEK_SET)
    assert root.stat("/low/big").st_size == 9 << 20


def test_unchanged_files_are_not_all_kept():
    files = below("locked")
    root = files.root
    for number in range(9000):
        root.put(f"/low/e/{number}")
    files.mount("union", "/u", "/low", vnodes=64)
    held = root.open("/u/e/17", O_RDONLY)
    root.put("/u/e/18", b"changed")
    numbers = [root.stat(f"/u/e/{number}").st_ino for number in range(9000)]
    for number in range(0, 9000, 100):
        assert root.stat(f"/u/e/{number}").st_ino == numbers[number]
    mount = next(one for one in files.vfs.mounts() if one.kind == "union")
    busy = next(one for one in files.vfs.mounts() if one.kind == "locked").references
    assert 64 < busy < 9000, "what is below is let go of"
    assert root.get("/u/e/18") == b"changed" and root.get("/low/e/18") == b""
    assert root.fstat(held).st_ino == numbers[17] and mount.references == 2


def test_what_is_mounted(files: Files):
    root = files.root
    fails(EBUSY, files.entered, files.vfs.unmount, "/low")
    fails(EINVAL, files.mount, "union", "/v", "low")
    fails(ENOENT, files.mount, "union", "/v", "/nowhere")
    fails(ENOTDIR, files.mount, "union", "/v", "/u/f")
    root.put("/u/new", b"1")
    files.entered(files.vfs.unmount, "/low", None, MNT_DETACH)
    assert root.get("/u/d/g") == b"/low/d/g", "a union has what it is from, wherever that is"
    fd = root.open("/u", O_TMPFILE | O_RDWR)
    root.write(fd, b"nameless")
    fails(EBUSY, files.entered, files.vfs.unmount, "/u")
    root.close(fd)
    files.entered(files.vfs.unmount, "/u")
    assert root.names("/u") == [] and [one.kind for one in files.vfs.mounts()] == ["tmpfs"]


def test_unions_over_unions(files: Files):
    root = files.root
    path, numbers = "/u", set()
    for depth in range(1, DEEPEST):
        root.put(f"{path}/own-{depth}")
        numbers.add(root.stat(f"{path}/own-{depth}").st_ino)
        files.mount("union", f"/u{depth}", path)
        path = f"/u{depth}"
    names = root.names(path)
    assert sorted(names) == sorted([*root.names("/low"), *(f"own-{depth}" for depth in range(1, DEEPEST))])
    assert (
        len(numbers) == DEEPEST - 1
        and {root.stat(f"{path}/own-{depth}").st_ino for depth in range(1, DEEPEST)} == numbers
    )
    fails(EINVAL, files.mount, "union", "/more", path)
