"""Path resolution, POSIX 4.16."""

from rumpkit.kern.abi.errno import EACCES, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from rumpkit.kern.abi.fcntl import AT_SYMLINK_NOFOLLOW, O_RDONLY, PATH_MAX, SYMLOOP_MAX
from tests.vfs.helpers import Files, fails


def inode(client, path):
    return client.stat(path).st_ino


def test_dots_and_slashes(files: Files):
    root = files.root
    root.mkdir("/a")
    root.mkdir("/a/b")
    root.put("/a/b/f")
    number = inode(root, "/a/b/f")
    for path in ("//a///b//f", "/a/./b/./f", "/a/b/../b/f", "/../../a/b/f", "/a/b/../../a/b/f"):
        assert inode(root, path) == number
    root.chdir("/a/b")
    for path in ("f", "./f", "../b/f", "../../a/b/f", "../../../../../a/b/f"):
        assert inode(root, path) == number
    for path in ("/", "//", "/.", "/..", "/a/..", "/a/b/../.."):
        assert inode(root, path) == inode(root, "/")


def test_what_is_missing_or_no_directory(files: Files):
    root = files.root
    root.put("/f")
    root.mkdir("/d")
    for path in ("", "/x", "/x/y", "/d/x", "/d/../x", "x"):
        fails(ENOENT, root.stat, path)
    for path in ("/f/", "/f/x", "/f/.", "/f/..", "/f//"):
        fails(ENOTDIR, root.stat, path)
    fails(EINVAL, root.stat, "/a\0b")
    fails(EINVAL, root.stat, "/\ud800")


def test_long_names(files: Files):
    root = files.root
    root.put("/" + "n" * 255)
    assert root.names("/") == ["n" * 255]
    fails(ENAMETOOLONG, root.stat, "/" + "n" * 256)
    fails(ENAMETOOLONG, root.mkdir, "/" + "é" * 128)
    root.mkdir("/d")
    fit = "/d" + "/." * ((PATH_MAX - 3) // 2)
    assert len(fit) == PATH_MAX - 2 and inode(root, fit + "/") == inode(root, "/d")
    fails(ENAMETOOLONG, root.stat, fit + "//")


def test_names_are_bytes(files: Files):
    root = files.root
    root.put("/\udcff")
    assert inode(root, b"/\xff") == inode(root, "/\udcff")
    assert root.names("/") == ["\udcff"]
    root.put(b"/\xc3\xa9")
    assert inode(root, "/é") == inode(root, b"/\xc3\xa9")


def test_symlinks(files: Files):
    root = files.root
    root.mkdir("/d")
    root.mkdir("/d/e")
    root.put("/d/f", b"found")
    for name, target in (("abs", "/d/f"), ("rel", "f"), ("up", "../d/f"), ("dir", "."), ("far", "dir/dir/rel")):
        root.symlink(target, "/d/" + name)
    for name in ("abs", "rel", "up", "far", "dir/f", "dir/dir/abs"):
        assert root.get("/d/" + name) == b"found"
    assert root.readlink("/d/up") == "../d/f"
    assert root.lstat("/d/up").st_size == len("../d/f")
    assert inode(root, "/d/dir") == inode(root, "/d")
    assert root.lstat("/d/dir").st_ino != inode(root, "/d")
    # A slash behind a link means what it points to (POSIX 4.16).
    assert root.lstat("/d/dir/").st_ino == inode(root, "/d")
    fails(ENOTDIR, root.lstat, "/d/rel/")
    assert root.stat("/d/rel", AT_SYMLINK_NOFOLLOW).st_ino == root.lstat("/d/rel").st_ino
    # ".." is the parent of where a link leads to.
    root.symlink("/d/e", "/link")
    assert inode(root, "/link/..") == inode(root, "/d")


def test_symlink_loops(files: Files):
    root = files.root
    root.symlink("b", "/a")
    root.symlink("a", "/b")
    fails(ELOOP, root.stat, "/a")
    fails(ELOOP, root.stat, "/a/x")
    assert root.readlink("/a") == "b"
    root.put("/0")
    for number in range(SYMLOOP_MAX + 1):
        root.symlink(str(number), f"/{number + 1}")
    root.stat(f"/{SYMLOOP_MAX}")
    fails(ELOOP, root.stat, f"/{SYMLOOP_MAX + 1}")


def test_dangling_symlink(files: Files):
    root = files.root
    root.symlink("nowhere/x", "/l")
    fails(ENOENT, root.stat, "/l")
    fails(ENOENT, root.stat, "/l/y")
    assert root.lstat("/l").st_size == 9


def test_search_permission_on_each_directory(files: Files):
    root = files.root
    root.mkdir("/a", 0o755)
    root.mkdir("/a/closed", 0o766)
    root.mkdir("/a/closed/b", 0o777)
    root.put("/a/closed/b/f")
    user = files.process(1000, 1000)
    fails(EACCES, user.stat, "/a/closed/b/f")
    fails(EACCES, user.stat, "/a/closed/.")
    fails(EACCES, user.stat, "/a/closed/..")
    user.stat("/a/closed")
    assert files.process(0).stat("/a/closed/b/f")
    root.chown("/a/closed", 1000, -1)
    root.chmod("/a/closed", 0o100)
    user.stat("/a/closed/b/f")


def test_start_at_an_open_directory(files: Files):
    root = files.root
    root.mkdir("/d")
    root.put("/d/f")
    fd = root.open("/d", O_RDONLY)
    number = inode(root, "/d/f")
    assert root.stat("f", dirfd=fd).st_ino == number
    assert root.stat("/d/f", dirfd=fd).st_ino == number
    assert root.stat("../d/f", dirfd=fd).st_ino == number
    file = root.open("f", O_RDONLY, dirfd=fd)
    fails(ENOTDIR, root.stat, "x", dirfd=file)
    reader, _ = root.pipe2()
    fails(ENOTDIR, root.stat, "x", dirfd=reader)
    root.rename("/d", "/moved")
    assert root.stat("f", dirfd=fd).st_ino == number
