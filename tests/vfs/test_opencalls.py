"""open and its flags, and directory reads."""

import pytest

from rumpkit.kern.abi.errno import (
    EACCES,
    EBADF,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    EMFILE,
    ENOENT,
    ENOTDIR,
    ENXIO,
)
from rumpkit.kern.abi.fcntl import (
    AT_EMPTY_PATH,
    F_GETFD,
    F_GETFL,
    FD_CLOEXEC,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFREG,
    S_IFSOCK,
    S_ISGID,
    SEEK_CUR,
    SEEK_SET,
)
from tests.vfs.helpers import Files, fails


def test_create(files: Files):
    root = files.root
    fails(ENOENT, root.open, "/f", O_RDWR)
    fd = root.open("/f", O_RDWR | O_CREAT, 0o4751)
    stat = root.fstat(fd)
    assert (stat.st_mode, stat.st_size, stat.st_nlink) == (S_IFREG | 0o4751, 0, 1)
    assert root.write(fd, b"data") == 4
    again = root.open("/f", O_RDWR | O_CREAT, 0o777)
    assert root.read(again, 10) == b"data"
    assert root.fstat(again).st_mode == S_IFREG | 0o4751
    fails(EEXIST, root.open, "/f", O_RDWR | O_CREAT | O_EXCL)
    assert root.get("/f") == b"data"
    root.close(root.creat("/f"))
    assert root.get("/f") == b""


def test_the_creator_may_write_what_it_made_read_only(files: Files):
    user = files.process(1000, 1000)
    files.root.mkdir("/d", 0o777)
    files.root.chmod("/d", 0o777)
    fd = user.open("/d/f", O_RDWR | O_CREAT, 0o400)
    assert user.write(fd, b"x") == 1
    fails(EACCES, user.open, "/d/f", O_WRONLY)


def test_exclusive_does_not_follow_links(files: Files):
    root = files.root
    root.symlink("/target", "/l")
    fails(EEXIST, root.open, "/l", O_CREAT | O_EXCL | O_WRONLY)
    root.close(root.open("/l", O_CREAT | O_WRONLY))
    assert sorted(root.names("/")) == ["l", "target"]
    fails(ELOOP, root.open, "/l", O_RDONLY | O_NOFOLLOW)
    fails(ENOTDIR, root.open, "/l", O_RDONLY | O_NOFOLLOW | O_DIRECTORY)


def test_create_with_slashes(files: Files):
    root = files.root
    fails(EISDIR, root.open, "/f/", O_CREAT | O_WRONLY)
    root.put("/f")
    fails(EISDIR, root.open, "/f/", O_CREAT | O_WRONLY)
    root.symlink("/new/", "/l")
    fails(EISDIR, root.open, "/l", O_CREAT | O_WRONLY)
    assert sorted(root.names("/")) == ["f", "l"]


def test_directories(files: Files):
    root = files.root
    root.mkdir("/d")
    for flags in (O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_RDONLY | O_CREAT):
        fails(EISDIR, root.open, "/d", flags)
    fails(EINVAL, root.open, "/d", O_RDONLY | O_DIRECTORY | O_CREAT)
    root.put("/f")
    fails(ENOTDIR, root.open, "/f", O_RDONLY | O_DIRECTORY)
    fd = root.open("/d", O_RDONLY | O_DIRECTORY)
    fails(EISDIR, root.read, fd, 10)
    fails(EISDIR, root.pread, fd, 10, 0)
    fails(EBADF, root.write, fd, b"x")
    fails(EINVAL, root.ftruncate, fd, 0)
    root.fsync(fd)


def test_truncate_needs_write_permission(files: Files):
    root = files.root
    root.put("/f", b"data", 0o644)
    user = files.process(1000)
    fails(EACCES, user.open, "/f", O_RDONLY | O_TRUNC)
    assert root.get("/f") == b"data"
    fd = root.open("/f", O_RDONLY | O_TRUNC)
    assert root.read(fd, 1) == b""


@pytest.mark.parametrize(
    ("mode", "flags", "allowed"),
    [
        (0o400, O_RDONLY, True),
        (0o400, O_WRONLY, False),
        (0o200, O_WRONLY, True),
        (0o200, O_RDWR, False),
        (0o600, O_RDWR, True),
        (0o077, O_RDONLY, False),
    ],
)
def test_owner_permissions(files: Files, mode: int, flags: int, allowed: bool):
    files.root.put("/f")
    files.root.chown("/f", 1000, 1000)
    files.root.chmod("/f", mode)
    user = files.process(1000, 1000)
    if allowed:
        user.close(user.open("/f", flags))
    else:
        fails(EACCES, user.open, "/f", flags)
    files.root.close(files.root.open("/f", flags))


def test_group_and_other_permissions(files: Files):
    root = files.root
    root.put("/f")
    root.chown("/f", 1, 50)
    root.chmod("/f", 0o046)
    fails(EACCES, files.process(1, 50).open, "/f", O_RDONLY)
    for client in (files.process(2, 50), files.process(2, 1, (7, 50))):
        client.open("/f", O_RDONLY)
        fails(EACCES, client.open, "/f", O_RDWR)
    files.process(2, 2).open("/f", O_RDWR)


def test_numbers_and_flags(files: Files):
    root = files.root
    fd = root.open("/f", O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC)
    assert fd == 0 and root.fcntl(fd, F_GETFD) == FD_CLOEXEC
    assert root.fcntl(fd, F_GETFL) == O_RDWR | O_APPEND
    assert root.open("/f", O_RDONLY) == 1
    assert root.fcntl(1, F_GETFD) == 0


def test_too_many_files(files: Files):
    root = files.root
    root.process.files.limit = 2
    root.put("/f")
    root.open("/f", O_RDONLY)
    root.open("/f", O_RDONLY)
    fails(EMFILE, root.open, "/new", O_WRONLY | O_CREAT)
    root.close(0)
    assert root.names("/") == ["f"]


def test_special_files_without_a_device(files: Files):
    root = files.root
    root.mknod("/c", S_IFCHR | 0o666, 0x7777)
    root.mknod("/b", S_IFBLK | 0o666, 0x7777)
    root.mknod("/s", S_IFSOCK | 0o666)
    for path in ("/c", "/b", "/s"):
        fails(ENXIO, root.open, path, O_RDONLY)


def test_path_descriptors(files: Files):
    root = files.root
    root.mkdir("/d")
    root.put("/d/f", b"data", 0o000)
    user = files.process(1000)
    fd = user.open("/d/f", O_PATH | O_RDWR)
    for call, arguments in (("read", (1,)), ("write", (b"x",)), ("lseek", (0, 0)), ("fsync", ()), ("ftruncate", (0,))):
        fails(EBADF, getattr(user, call), fd, *arguments)
    fails(EBADF, user.fchmod, fd, 0o777)
    assert user.fstat(fd).st_size == 4
    assert user.stat("", AT_EMPTY_PATH, fd).st_size == 4
    directory = user.open("/d", O_PATH | O_DIRECTORY)
    assert user.stat("f", dirfd=directory).st_size == 4
    fails(EBADF, user.readdir, directory)
    root.symlink("f", "/d/l")
    link = user.open("/d/l", O_PATH | O_NOFOLLOW)
    assert user.fstat(link).st_size == 1
    fails(ENOTDIR, user.open, "/d/f", O_PATH | O_DIRECTORY)


def test_set_group_id_directories(files: Files):
    root = files.root
    root.mkdir("/d")
    root.chown("/d", 0, 50)
    root.chmod("/d", 0o2777)
    user = files.process(1000, 1000)
    user.put("/d/f", mode=0o2755)
    user.mkdir("/d/e")
    file, directory = user.stat("/d/f"), user.stat("/d/e")
    assert (file.st_gid, directory.st_gid) == (50, 50)
    assert directory.st_mode & S_ISGID and not file.st_mode & S_ISGID


def test_readdir(files: Files):
    root = files.root
    root.mkdir("/d")
    expected = {".": S_IFDIR, "..": S_IFDIR}
    for number in range(10):
        root.put(f"/d/f{number}")
        expected[f"f{number}"] = S_IFREG
    root.mkdir("/d/sub")
    expected["sub"] = S_IFDIR
    fd = root.open("/d", O_RDONLY)
    found = []
    while entries := root.readdir(fd, 3):
        assert len(entries) <= 3
        found += entries
    assert {entry.d_name: entry.d_type for entry in found} == expected
    assert len(found) == len(expected)
    assert root.readdir(fd) == []
    assert found[0].d_ino == root.stat("/d").st_ino and found[1].d_ino == root.stat("/").st_ino
    for entry in found[2:]:
        assert entry.d_ino == root.stat("/d/" + entry.d_name).st_ino
    # Cookies lead back to behind their entry.
    for place, entry in enumerate(found):
        root.lseek(fd, entry.d_off, SEEK_SET)
        assert root.readdir(fd) == found[place + 1 :]
    root.lseek(fd, 0, SEEK_SET)
    assert root.readdir(fd, 100) == found
    assert root.lseek(fd, 0, SEEK_CUR) == found[-1].d_off


def test_readdir_one_by_one(files: Files):
    root = files.root
    root.put("/f")
    fd = root.open("/", O_RDONLY)
    assert [root.readdir(fd, 1)[0].d_name for _ in range(3)] == [".", "..", "f"]
    assert root.readdir(fd, 1) == []
    fails(EINVAL, root.readdir, fd, 0)


def test_readdir_of_what_is_no_directory(files: Files):
    root = files.root
    fd = root.open("/f", O_RDWR | O_CREAT)
    fails(ENOTDIR, root.readdir, fd)
    fails(EBADF, root.readdir, 99)
    reader, _ = root.pipe2()
    fails(EBADF, root.readdir, reader)


def test_readdir_of_a_removed_directory(files: Files):
    root = files.root
    root.mkdir("/d")
    fd = root.open("/d", O_RDONLY)
    root.rmdir("/d")
    fails(ENOENT, root.readdir, fd)


def test_readdir_while_names_come_and_go(files: Files):
    root = files.root
    names = [f"f{number}" for number in range(100)]
    for name in names:
        root.put("/" + name)
    fd = root.open("/", O_RDONLY)
    seen = [entry.d_name for entry in root.readdir(fd, 12)[2:]]
    for number in range(0, 100, 2):
        root.unlink(f"/f{number}")
        root.put(f"/g{number}")
    while entries := root.readdir(fd, 7):
        seen += [entry.d_name for entry in entries]
    stayed = [f"f{number}" for number in range(1, 100, 2)]
    assert [name for name in seen if name in stayed] == stayed
    assert len(seen) == len(set(seen))


def test_a_reader_that_renames_comes_to_an_end(files: Files):
    root = files.root
    for number in range(20):
        root.put(f"/{number}")
    fd = root.open("/", O_RDONLY)
    renamed = 0
    while entries := root.readdir(fd, 2):
        for entry in entries:
            if entry.d_name[0] != ".":
                root.rename("/" + entry.d_name, "/x" + entry.d_name)
                renamed += 1
    assert renamed == 20


def test_a_file_without_a_name(files: Files):
    root = files.root
    root.mkdir("/d", 0o755)
    fd = root.open("/d", O_TMPFILE | O_RDWR, 0o640)
    assert root.write(fd, b"text") == 4
    assert root.fstat(fd).st_nlink == 0 and root.names("/d") == []
    root.link("", "/d/named", AT_EMPTY_PATH, fd)
    assert root.get("/d/named") == b"text" and root.fstat(fd).st_nlink == 1
    root.unlink("/d/named")
    fails(ENOENT, root.link, "", "/d/again", AT_EMPTY_PATH, fd)
    root.close(fd)
    fd = root.open("/d", O_TMPFILE | O_WRONLY | O_EXCL)
    fails(ENOENT, root.link, "", "/d/named", AT_EMPTY_PATH, fd)
    root.close(fd)
    root.put("/f")
    fails(ENOTDIR, root.open, "/f", O_TMPFILE | O_RDWR)
    fails(EINVAL, root.open, "/d", O_TMPFILE | O_RDONLY)
    fails(EINVAL, root.open, "/d", O_TMPFILE & ~O_DIRECTORY | O_RDWR)
    fails(EACCES, files.process(5).open, "/d", O_TMPFILE | O_RDWR)
    assert root.names("/d") == []
    root.rmdir("/d")
