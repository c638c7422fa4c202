"""Unions where it gets narrow: what is removed or replaced while it is in use, limits, and file systems below that are odd or unsound."""

from collections.abc import Callable, Mapping

import pytest

from rumpkit.fs.union.mount import UnionMount
from rumpkit.kern.abi.errno import EACCES, EFBIG, EIO, EMLINK, ENODATA, ENOENT, ENOSPC, ESTALE, EUCLEAN, error
from rumpkit.kern.abi.fcntl import (
    FS_NODUMP_FL,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    R_OK,
    RENAME_EXCHANGE,
    S_IFDIR,
    S_IFREG,
    W_OK,
)
from rumpkit.kern.abi.ioctl import FS_IOC_GETFLAGS, FS_IOC_SETFLAGS
from rumpkit.vfs import acl as acls
from rumpkit.vfs.types import FileSystemType, OptionValue
from rumpkit.vfs.vfs import Vfs
from rumpkit.vfs.vnode import FIRST_COOKIE, Entry, Mount, Vnode
from tests.vfs.helpers import Client, Files, fails


class OddNode(Vnode):
    """A file of `Odd`: a directory where it has names, else one whose bytes can't be read from `broken` on."""

    names: "dict[bytes, OddNode] | None" = None
    above: "OddNode | None" = None
    broken: int = 1 << 60
    hole: int = 0
    """Bytes at its beginning."""

    def lookup(self, name: bytes) -> Vnode | None:
        return (self.names or {}).get(name)

    def parent(self) -> Vnode:
        return self.above or self

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        entries = list((self.names or {}).items())[cookie - FIRST_COOKIE :][:count]
        return [Entry(name, node.number, node.kind, cookie + place + 1) for place, (name, node) in enumerate(entries)]

    def next_data(self, offset: int) -> int:
        return max(offset, self.hole)

    def read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self.size)
        if end > self.broken:
            raise error(EIO)
        return b"x" * max(end - offset, 0)


class Odd(FileSystemType):
    """The type "odd", whose files have any number, count of names and size."""

    def __init__(self) -> None:
        super().__init__("odd", ())
        self.mount: Mount | None = None

    def make(self, vfs: Vfs, source: str, options: Mapping[str, OptionValue]) -> Mount:
        self.mount = Mount(vfs.hyper, "odd", "", vfs.hyper.mutex())
        self.root = self.mount.root = OddNode(self.mount, 2, S_IFDIR | 0o755, 0, 0, 0)
        self.root.names = {}
        self.root.links = 2
        return self.mount

    def put(self, name: bytes, number: int, size: int = 0, above: OddNode | None = None) -> OddNode:
        """A file, without `size` a directory."""
        assert self.mount is not None
        above = above or self.root
        node = OddNode(self.mount, number, S_IFREG | 0o644 if size else S_IFDIR | 0o755, 0, 0, 0)
        node.size = size
        node.names = None if size else {}
        node.above = above
        assert above.names is not None
        above.names[name] = node
        return node


@pytest.fixture
def files() -> Files:
    """/low has a layer at /u."""
    files = Files()
    files.mount("locked", "/low")
    root = files.root
    for name in ("d", "d/inner", "e"):
        root.mkdir(f"/low/{name}")
    for name in ("f", "g", "d/h"):
        root.put(f"/low/{name}", name.encode())
    files.mount("union", "/u", "/low", inodes=20)
    return files


@pytest.fixture
def odd() -> Odd:
    return Odd()


@pytest.fixture
def over(odd: Odd) -> Files:
    """An odd file system at /low, with nothing over it yet."""
    files = Files()
    files.vfs.types.register(odd)
    files.mount("odd", "/low")
    return files


def used(files: Files, path: str = "/u") -> int:
    status = files.root.statvfs(path)
    return int(status.f_files - status.f_ffree)


def test_who_reads_a_directory_misses_no_name_whose_file_is_replaced(files: Files):
    root = files.root
    fd = root.open("/u", O_RDONLY)
    names = [entry.d_name for entry in root.readdir(fd, 3)]
    root.put("/u/new")
    root.put("/u/new2")
    root.rename("/u/new", f"/u/{names[2]}" if names[2] in "fg" else "/u/f")
    root.rename("/u/new2", "/u/g")
    while found := root.readdir(fd, 1):
        names += [entry.d_name for entry in found]
    assert sorted(names) == [".", "..", "d", "e", "f", "g"]
    assert sorted(root.names("/u")) == ["d", "e", "f", "g"]
    numbers = {entry.d_name: entry.d_ino for entry in root.readdir(root.open("/u", O_RDONLY), 9)}
    assert numbers["g"] == root.stat("/u/g").st_ino != root.stat("/low/g").st_ino
    root.unlink("/u/g")
    assert sorted(root.names("/u")) == ["d", "e", "f"]


def test_what_is_above_a_removed_directory_is_removed_too(files: Files):
    root = files.root
    root.chdir("/u/d/inner")
    root.unlink("/u/d/h")
    root.rmdir("/u/d/inner")
    root.rmdir("/u/d")
    root.chdir("..")
    fails(ENOENT, root.stat, "h")
    fails(ENOENT, root.mkdir, "new")
    fails(ENOENT, root.getcwd)
    root.chdir("..")
    assert sorted(root.names()) == ["e", "f", "g"]
    assert used(files) == 2, "the root, and a name that has gone"


def test_a_file_counts_once_with_its_data_and_once_more_for_each_name_it_gets(files: Files):
    root = files.root
    assert used(files) == 1
    root.put("/u/f", b"changed")
    assert used(files) == 2
    for number in range(17):
        root.link("/u/f", f"/u/f{number}")
    assert used(files) == 19
    root.chmod("/u/g", 0o600)
    fails(ENOSPC, root.link, "/u/f", "/u/more")
    assert root.stat("/u/f").st_nlink == 18
    for number in range(17):
        root.unlink(f"/u/f{number}")
    root.unlink("/u/f")
    assert used(files) == 3 and root.statvfs("/u").f_bfree == root.statvfs("/u").f_blocks


def test_names_of_one_file_have_a_limit(files: Files):
    files.mount("union", "/v", "/low", links=3)
    files.root.link("/v/f", "/v/f2")
    files.root.link("/v/f", "/v/f3")
    fails(EMLINK, files.root.link, "/v/f", "/v/f4")


def test_a_copy_that_fails_leaves_all_as_it_was(over: Files, odd: Odd):
    root = over.root
    odd.put(b"f", 5, 5 << 20).broken = 3 << 20
    over.mount("union", "/u", "/low")
    fd = root.open("/u/f", O_RDWR)
    for call, *arguments in ((root.pwrite, b"y", 0), (root.ftruncate, 4 << 20), (root.fallocate, 0, 0, 1)):
        fails(EIO, call, fd, *arguments)
    assert used(over) == 1 and root.statvfs("/u").f_bfree == root.statvfs("/u").f_blocks
    assert (root.fstat(fd).st_size, root.fstat(fd).st_mtime_ns) == (5 << 20, 0) and root.pread(fd, 3, 0) == b"xxx"
    root.ftruncate(fd, 2 << 20)
    assert root.pwrite(fd, b"y", 1) == 1 and root.pread(fd, 3, 0) == b"xyx" and used(over) == 2


def test_a_file_that_there_is_no_room_for_is_not_even_read(over: Files, odd: Odd):
    odd.put(b"f", 5, 10 << 30).broken = 0
    over.mount("union", "/u", "/low", size=1 << 20)
    fd = over.root.open("/u/f", O_RDWR)
    fails(ENOSPC, over.root.pwrite, fd, b"y", 5 << 30)
    assert used(over) == 1
    over.root.ftruncate(fd, 0)
    assert over.root.pwrite(fd, b"y", 5 << 30) == 1


def test_a_copy_of_which_only_a_part_finds_room(over: Files, odd: Odd):
    root = over.root
    odd.put(b"f", 5, 1 << 16).hole = 4096
    over.mount("union", "/u", "/low", size=(1 << 16) - 4096)
    fd = root.open("/u/f", O_RDWR)
    fails(ENOSPC, root.pwrite, fd, b"y", 5000)
    assert root.pread(fd, 9, (1 << 16) - 9) == b"x" * 9 and used(over) == 1
    assert root.statvfs("/u").f_bfree == 15


def test_files_that_are_too_large_can_be_cut_only(over: Files, odd: Odd):
    root = over.root
    odd.put(b"f", 5, 1 << 20)
    over.mount("union", "/u", "/low", file_size=4096)
    fd = root.open("/u/f", O_RDWR)
    fails(EFBIG, root.pwrite, fd, b"y", 0)
    fails(EFBIG, root.ftruncate, fd, 4097)
    assert root.fstat(fd).st_size == 1 << 20
    root.ftruncate(fd, 4095)
    assert root.get("/u/f") == b"x" * 4095
    assert root.pwrite(fd, b"yy", 4095) == 1


def test_no_two_files_have_one_number(over: Files, odd: Odd):
    root = over.root
    given = [5, 6, (1 << 44) + 1, (1 << 44) + 5, (2 << 44) + 1, 1 << 56 | 5, 1 << 56 | (1 << 44) + 1]
    for number in given:
        odd.put(b"f%d" % number, number, 1)
    over.mount("union", "/u", "/low")
    over.mount("union", "/v", "/u")
    root.put("/u/own1")
    root.put("/v/own2")
    for place, own in (("/u", 1), ("/v", 2)):
        numbers = [root.stat(f"{place}/{name}").st_ino for name in root.names(place)]
        listed = [entry.d_ino for entry in root.readdir(root.open(place, O_RDONLY), 99)[2:]]
        assert listed == numbers and len(set(numbers)) == len(given) + own
        assert all(number < 1 << 64 for number in numbers)
        assert {5, 6, 1 << 56 | 5} <= set(numbers)


def test_two_files_below_with_one_number_are_never_one(over: Files, odd: Odd):
    root = over.root
    first, second = odd.put(b"a", 5), odd.put(b"c", 6)
    odd.put(b"b", 6, above=first)
    odd.put(b"d", 5, above=second)
    over.mount("union", "/u", "/low")
    assert [root.names(place) for place in ("/u/a", "/u/c", "/u/a", "/u/a/b", "/u/c/d")] == [
        ["b"],
        ["d"],
        ["b"],
        [],
        [],
    ]
    root.chdir("/u/a")
    fails(ESTALE, root.stat, "/u/c/d")
    fails(ESTALE, root.rename, "/u/a", "/u/c/d/a")
    root.chmod("/u/c", 0o700)
    fails(ESTALE, root.stat, "b")


def test_a_file_below_with_more_names_than_it_says(over: Files, odd: Odd):
    root = over.root
    node = odd.put(b"f", 5, 1)
    assert odd.root.names is not None
    odd.root.names[b"f2"] = node
    over.mount("union", "/u", "/low")
    fd = root.open("/u/f", O_RDONLY)
    root.unlink("/u/f")
    fails(EUCLEAN, root.unlink, "/u/f2")
    assert root.fstat(fd).st_nlink == 0 and root.read(fd, 9) == b"x"


def test_directories_that_count_no_subdirectories(over: Files, odd: Odd):
    root = over.root
    odd.put(b"e", 6, above=odd.put(b"d", 5))
    over.mount("union", "/u", "/low")
    for number in range(3):
        root.mkdir(f"/u/d/{number}")
        root.rename(f"/u/d/{number}", f"/u/d/new{number}")
    assert root.stat("/u/d").st_nlink == 1
    root.rename("/u/d/e", "/u/e")
    assert (root.stat("/u/d").st_nlink, root.stat("/u/e").st_nlink, root.stat("/u").st_nlink) == (1, 1, 3)
    root.rmdir("/u/e")
    assert root.stat("/u").st_nlink == 2


def test_what_was_let_go_of_is_not_changed(files: Files):
    node = files.entered(files.vfs.resolve, "/u/f")
    mount = node.mount
    assert isinstance(mount, UnionMount)
    for _ in range(2):
        files.entered(mount._evict)
    assert files.entered(files.vfs.resolve, "/u/f") is not node
    fails(ESTALE, files.entered, node.set_mode, 0o600, 0)
    files.root.chmod("/u/f", 0o640)
    for _ in range(2):
        files.entered(mount._evict)
    assert files.root.stat("/u/f").st_mode & 0o777 == 0o640


def test_what_is_open_stays_the_same_file(files: Files):
    root = files.root
    fd = root.open("/u/f", O_RDONLY)
    mount = files.entered(files.vfs.resolve, "/u").mount
    assert isinstance(mount, UnionMount)
    for _ in range(2):
        files.entered(mount._evict)
    root.put("/u/f", b"new")
    assert root.read(fd, 9) == b"new"


def test_who_has_unmounted_a_union_lets_go_of_what_is_below(files: Files):
    root = files.root
    root.put("/u/f", b"changed")
    root.unlink("/u/g")
    root.stat("/u/d/inner")
    files.entered(files.vfs.unmount, "/u")
    files.entered(files.vfs.unmount, "/low")
    assert [one.kind for one in files.vfs.mounts()] == ["tmpfs"]


def test_a_full_layer_removes_no_name(files: Files):
    root = files.root
    root.chmod("/u/d", 0o700)
    root.chmod("/u/d/h", 0o600)
    for number in range(17):
        root.put(f"/u/new{number}")
    fails(ENOSPC, root.unlink, "/u/d/h")
    fails(ENOSPC, root.rename, "/u/d/h", "/u/d/h2")
    fails(ENOSPC, root.rename, "/u/new1", "/u/d/h")
    assert root.names("/u/d") == ["inner", "h"] and root.stat("/u/d/h").st_nlink == 1
    root.unlink("/u/new1")
    root.unlink("/u/d/h")
    assert root.names("/u/d") == ["inner"]


def test_files_are_exchanged_across_directories(files: Files):
    root = files.root
    root.rename("/u/d/h", "/u/e", RENAME_EXCHANGE)
    assert root.get("/u/e") == b"d/h" and root.names("/u/d/h") == []
    assert [root.stat(path).st_nlink for path in ("/u", "/u/d", "/u/e")] == [3, 4, 1]
    assert root.names("/u/d") == ["inner", "h"] and sorted(root.names("/u")) == ["d", "e", "f", "g"]
    root.rename("/u/d/h", "/u/e", RENAME_EXCHANGE)
    assert root.get("/u/d/h") == b"d/h" and [root.stat(path).st_nlink for path in ("/u", "/u/d", "/u/e")] == [4, 3, 2]


def test_directories_in_one_have_a_limit(files: Files):
    root = files.root
    files.mount("union", "/v", "/low", links=4)
    fails(EMLINK, root.mkdir, "/v/new")
    fails(EMLINK, root.rename, "/v/d/inner", "/v/inner")
    root.rename("/v/d/inner", "/v/e")
    root.rename("/v/e", "/v/e2")
    assert root.stat("/v").st_nlink == 4


ACL_NAME = acls.ACCESS.decode()
SHARED = acls.Acl(
    tuple(
        acls.AclEntry(tag, 4 if tag != acls.OTHER else 0, 7 if tag == acls.USER else acls.UNDEFINED_ID)
        for tag in (1, 2, 4, 16, 32)
    )
).pack()
Change = Callable[[Client, str], object]
CHANGES: list[tuple[str, Change, Callable[[Client, str], object]]] = [
    ("mode", lambda p, path: p.chmod(path, 0o601), lambda p, path: p.stat(path).st_mode & 0o777),
    ("owner", lambda p, path: p.chown(path, 7, 8), lambda p, path: p.stat(path)[4:6]),
    ("times", lambda p, path: p.utimens(path, 5, 6), lambda p, path: p.stat(path).st_mtime_ns),
    ("attribute", lambda p, path: p.setxattr(path, "user.new", b"1"), lambda p, path: p.listxattr(path)),
    ("flags", lambda p, path: set_flags(p, path, FS_NODUMP_FL), lambda p, path: get_flags(p, path)),
    (
        "list",
        lambda p, path: p.setxattr(path, ACL_NAME, SHARED),
        lambda p, path: (p.listxattr(path), p.stat(path).st_mode),
    ),
]


def set_flags(client: Client, path: str, flags: int) -> None:
    client.ioctl(fd := client.open(path, O_RDONLY), FS_IOC_SETFLAGS, flags.to_bytes(4, "little"))
    client.close(fd)


def get_flags(client: Client, path: str) -> object:
    flags = client.ioctl(fd := client.open(path, O_RDONLY), FS_IOC_GETFLAGS, b"")
    client.close(fd)
    return flags


@pytest.mark.parametrize("path", ["f", "d"])
@pytest.mark.parametrize(("change", "get"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_no_change_goes_with_the_vnode(files: Files, path: str, change: Change, get: Change):
    root = files.root
    mount = files.entered(files.vfs.resolve, "/u").mount
    assert isinstance(mount, UnionMount)
    change(root, f"/low/{path}")
    wanted = get(root, f"/low/{path}")
    for _ in range(2):
        files.entered(mount._evict)
    assert get(root, f"/u/{path}") == wanted, "as it is below"
    files.mount("locked", "/other")
    root.mkdir("/other/d")
    root.put("/other/f")
    files.mount("union", "/w", "/other")
    mount = files.entered(files.vfs.resolve, "/w").mount
    assert isinstance(mount, UnionMount) and get(root, f"/w/{path}") != wanted
    change(root, f"/w/{path}")
    for _ in range(2):
        files.entered(mount._evict)
    assert get(root, f"/w/{path}") == wanted and get(root, f"/other/{path}") != wanted


def test_who_is_on_a_list_below_gets_in(files: Files):
    root = files.root
    root.chmod("/low/f", 0)
    root.setxattr("/low/f", ACL_NAME, SHARED)
    root.setxattr("/low/d", acls.DEFAULT.decode(), SHARED)
    for user, mode in ((7, R_OK), (0, R_OK)):
        files.process(user).access("/u/f", mode)
    fails(EACCES, files.process(7).access, "/u/f", W_OK)
    root.close(root.open("/u/d/new", O_RDWR | O_CREAT, 0o666))
    assert root.getxattr("/u/d/new", ACL_NAME)[12:20] == SHARED[12:20], "what is new there inherits"


def test_a_file_system_below_without_attributes(over: Files, odd: Odd):
    root = over.root
    odd.put(b"f", 5, 1).device = 77
    over.mount("union", "/u", "/low")
    assert root.listxattr("/u/f") == [] and root.stat("/u/f").st_rdev == 77
    fails(ENODATA, root.getxattr, "/u/f", "user.a")
    root.setxattr("/u/f", "user.a", b"1")
    assert root.getxattr("/u/f", "user.a") == b"1"
