"""What a full tmpfs does."""

from rumpkit.fs.tmpfs.pool import UNIT
from rumpkit.kern.abi.errno import EFBIG, ENOENT, ENOSPC
from rumpkit.kern.abi.fcntl import O_CREAT, O_RDWR, O_TRUNC
from tests.vfs.helpers import Files, fails


def test_size():
    files = Files({"size": 10 * UNIT})
    root = files.root
    fd = root.open("/f", O_RDWR | O_CREAT)
    assert root.write(fd, bytes(9 * UNIT)) == 9 * UNIT
    assert root.write(fd, bytes(2 * UNIT)) == UNIT
    fails(ENOSPC, root.write, fd, b"x")
    assert root.fstat(fd).st_size == 10 * UNIT
    stat = root.statvfs("/")
    assert (stat.f_blocks, stat.f_bfree, stat.f_bavail) == (10, 0, 0)
    root.mkdir("/names-need-no-storage")
    root.pwrite(fd, b"overwrite", 0)
    other = root.open("/g", O_RDWR | O_CREAT)
    fails(ENOSPC, root.write, other, b"x")
    assert root.fstat(other).st_size == 0
    root.ftruncate(other, 1 << 40)
    root.ftruncate(fd, UNIT)
    assert root.write(other, b"x") == 1
    root.unlink("/f")
    assert root.statvfs("/").f_bfree == 8
    root.close(fd)
    assert root.statvfs("/").f_bfree == 9


def test_truncating_open_gives_storage_back():
    files = Files({"size": 2 * UNIT})
    files.root.put("/f", bytes(2 * UNIT))
    files.root.put("/f", bytes(2 * UNIT))
    files.root.open("/f", O_RDWR | O_TRUNC)
    assert files.root.statvfs("/").f_bfree == 2


def test_renaming_over_gives_storage_back():
    files = Files({"size": 2 * UNIT})
    root = files.root
    root.put("/a", bytes(UNIT))
    root.put("/b", bytes(UNIT))
    root.rename("/a", "/b")
    stat = root.statvfs("/")
    assert stat.f_bfree == 1 and stat.f_files - stat.f_ffree == 2


def test_inodes():
    files = Files({"inodes": 4})
    root = files.root
    root.put("/f")
    root.mkdir("/d")
    root.symlink("x", "/l")
    for call, arguments in (("put", ("/g",)), ("mkdir", ("/g",)), ("symlink", ("x", "/g")), ("mkfifo", ("/g",))):
        fails(ENOSPC, getattr(root, call), *arguments)
    fails(ENOSPC, root.link, "/f", "/g")
    root.unlink("/l")
    root.link("/f", "/g")
    assert root.names("/") == ["f", "d", "g"] and root.stat("/f").st_nlink == 2
    fails(ENOSPC, root.mkdir, "/e")
    root.unlink("/f")
    root.symlink("x", "/l")
    fails(ENOSPC, root.mkdir, "/e")
    root.unlink("/g")
    root.mkdir("/e")
    root.rmdir("/e")
    root.rmdir("/d")
    root.unlink("/l")
    assert root.statvfs("/").f_ffree == 3
    assert root.stat("/").st_nlink == 2


def test_a_removed_directory_counts_once_whoever_comes_back_to_it():
    root = Files({"inodes": 10}).root
    root.mkdir("/d")
    root.mkdir("/d/e")
    root.chdir("/d/e")
    root.rmdir("/d/e")
    root.rmdir("/d")
    root.chdir("..")
    fails(ENOENT, root.mkdir, "new")
    root.chdir("/")
    assert root.statvfs("/").f_ffree == 9


def test_long_symbolic_links_take_storage():
    root = Files({"size": 2 * UNIT}).root
    for number in range(9):
        root.symlink("s" * 127, f"/short-{number}")
    assert root.statvfs("/").f_bfree == 2
    root.symlink("l" * 128, "/a")
    root.symlink("l" * 4095, "/b")
    before = root.statvfs("/")
    fails(ENOSPC, root.symlink, "l" * 128, "/c")
    assert root.statvfs("/") == before and before.f_bfree == 0 and root.lstat("/b").st_blocks == 8
    root.unlink("/a")
    root.put("/f", bytes(UNIT))
    assert root.readlink("/b") == "l" * 4095


def test_file_size():
    files = Files({"file_size": 100})
    root = files.root
    fd = root.open("/f", O_RDWR | O_CREAT)
    assert root.write(fd, bytes(101)) == 100
    fails(EFBIG, root.write, fd, b"x")
    fails(EFBIG, root.ftruncate, fd, 101)
    assert root.fstat(fd).st_size == 100


def test_mode_and_owner_of_the_root():
    files = Files({"mode": 0o1777, "uid": 5, "gid": 6})
    stat = files.root.stat("/")
    assert (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0o1777, 5, 6)


def test_a_directory_of_100000_names():
    files = Files()
    calls, process = files.calls, files.root.process
    count = 100_000
    files.host.enter()
    calls.mkdir(process, "/d")
    for number in range(count):
        calls.mknod(process, b"/d/%d" % number, 0o100644)
    fd = calls.open(process, "/d", 0)
    assert isinstance(fd, int)
    found = 0
    while entries := calls.readdir(process, fd):
        found += len(entries)
    assert found == count + 2
    for number in range(count):
        calls.unlink(process, b"/d/%d" % number)
    calls.rmdir(process, "/d")
    files.host.leave()
