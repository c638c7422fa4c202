"""Working directory, root directory, umask."""

from rumpkit.kern.abi.errno import EACCES, EBADF, EBUSY, ENOENT, ENOTDIR, EPERM
from rumpkit.kern.abi.fcntl import O_RDONLY
from tests.vfs.helpers import Files, fails


def test_working_directory(files: Files):
    root = files.root
    assert root.getcwd() == "/"
    root.mkdir("/a")
    root.mkdir("/a/b")
    root.chdir("a")
    assert root.getcwd() == "/a"
    root.chdir("b")
    assert root.getcwd() == "/a/b"
    root.rename("/a", "/c")
    assert root.getcwd() == "/c/b"
    root.chdir("..")
    assert root.getcwd() == "/c"
    root.put("f")
    fails(ENOTDIR, root.chdir, "f")
    fails(ENOENT, root.chdir, "missing")
    fd = root.open("/c/b", O_RDONLY)
    root.fchdir(fd)
    assert root.getcwd() == "/c/b"
    fails(ENOTDIR, root.fchdir, root.open("/c/f", O_RDONLY))
    fails(EBADF, root.fchdir, 99)


def test_a_removed_working_directory_stays_empty(files: Files):
    root = files.root
    root.mkdir("/a")
    root.chdir("/a")
    root.rmdir("/a")
    fails(ENOENT, root.getcwd)
    fails(ENOENT, root.mkdir, "b")
    fails(ENOENT, root.stat, "b")
    assert root.stat(".").st_nlink == 0
    root.chdir("..")
    assert root.getcwd() == "/"


def test_chdir_needs_search_permission(files: Files):
    files.root.mkdir("/closed", 0o700)
    user = files.process(1000, 1000)
    fails(EACCES, user.chdir, "/closed")
    fd = files.root.open("/closed", O_RDONLY)
    files.root.chmod("/closed", 0o755)
    user.chdir("/closed")
    files.root.close(fd)


def test_chroot(files: Files):
    root = files.root
    root.mkdir("/jail")
    root.mkdir("/jail/in")
    root.put("/jail/f", b"inside")
    root.put("/f", b"outside")
    root.symlink("/f", "/jail/link")
    user = files.process(1000, 1000)
    fails(EPERM, user.chroot, "/jail")
    root.chdir("/jail/in")
    root.chroot("/jail")
    assert root.getcwd() == "/in"
    for path in ("/f", "/../f", "../../../f", "/link"):
        assert root.get(path) == b"inside"
    child = files.process()
    assert child.get("/f") == b"outside"


def test_a_directory_outside_of_the_root_has_no_path(files: Files):
    root = files.root
    root.mkdir("/jail")
    root.mkdir("/out")
    root.chdir("/out")
    root.chroot("/jail")
    fails(ENOENT, root.getcwd)


def test_children_get_a_copy(files: Files):
    root = files.root
    root.mkdir("/a")
    root.chdir("/a")
    root.umask(0o077)
    child = files.entered(files.kernel.process, None, root.process)
    assert files.entered(files.calls.getcwd, child) == "/a"
    files.entered(files.calls.chdir, child, "/")
    assert root.getcwd() == "/a"
    assert files.entered(files.calls.umask, child, 0) == 0o077
    assert root.umask(0o022) == 0o077


def test_umask(files: Files):
    root = files.root
    assert root.umask(0o027) == 0o022
    root.put("/f", mode=0o666)
    root.mkdir("/d", 0o777)
    root.mkfifo("/p", 0o666)
    modes = [root.stat(path).st_mode & 0o777 for path in ("/f", "/d", "/p")]
    assert modes == [0o640, 0o750, 0o640]


def test_exit_lets_go_of_directories(files: Files):
    files.mount("locked", "/m")
    user = files.process()
    user.chdir("/m")
    fails(EBUSY, files.root.unmount, "/m")
    files.entered(files.kernel.exit, user.process)
    files.root.unmount("/m")


def test_the_parent_of_a_root_that_is_out_of_reach(files: Files):
    root = files.root
    root.mkdir("/jail")
    root.chroot("/jail")
    # The working directory is still the real root, whose parent is itself.
    assert root.stat("..").st_ino == root.stat(".").st_ino != root.stat("/").st_ino
    fails(ENOENT, root.getcwd)


def test_a_process_that_is_older_than_the_root():
    files = Files()
    process = files.root.process
    process.paths = None
    fails(ENOENT, files.root.stat, "/")
    fails(ENOENT, files.root.getcwd)
