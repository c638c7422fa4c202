"""What requests do, without Linux: bytes in, bytes out."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.clients.fuse import FuseOptions, Owner, wire
from rumpkit.clients.fuse.options import checked
from rumpkit.kern.abi.errno import (
    EEXIST,
    EINVAL,
    ENFILE,
    ENODATA,
    ENOENT,
    ENOSYS,
    ENOTTY,
    ENXIO,
    EPERM,
    ERANGE,
    ESTALE,
)
from rumpkit.kern.abi.fcntl import FS_APPEND_FL, FS_IMMUTABLE_FL, S_IFDIR, S_IFREG, S_ISUID, SEEK_DATA, SEEK_HOLE
from rumpkit.kern.abi.ioctl import FS_IOC_GETFLAGS, FS_IOC_SETFLAGS
from tests.clients.fuse.fuse_helpers import STRUCTURES, Asker, dirents
from tests.vfs.helpers import fails

MODE, LINKS, UID, GID = 16 - 1, 16, 17, 18


def attributes(asker: Asker, node: int) -> tuple[int, ...]:
    return wire.ATTRIBUTES.unpack(asker.ask(wire.GETATTR, node, bytes(16)))


def test_a_file_is_made_found_written_and_read() -> None:
    asker = Asker()
    node = asker.mknod(b"hello", uid=7)
    found = asker.lookup(b"hello")
    assert found[0] == node and found[MODE] == S_IFREG | 0o644 and (found[UID], found[GID]) == (7, 7)
    assert asker.write(node, 3, b"text") == 4
    assert asker.read(node, 0, 100) == b"\0\0\0text"
    assert asker.read(node, 5, 1) == b"x"
    assert asker.read(node, 7, 1) == b""
    assert asker.files.root.get("/hello") == b"\0\0\0text"


def test_what_is_not_there() -> None:
    fails(ENOENT, Asker().lookup, b"nothing")
    found = Asker(FuseOptions(missing_timeout=2.5)).lookup(b"nothing")
    assert (found[0], found[2], found[4]) == (0, 2, 500_000_000), "a node of 0 says for how long there is none"


def test_linux_remembers_no_names_where_one_has_many_spellings() -> None:
    asker = Asker(FuseOptions(name_timeout=5, missing_timeout=5))
    asker.mknod(b"name")
    assert asker.lookup(b"name")[2] == 5
    asker.files.vfs.root().mount.folds_case = True
    assert (asker.lookup(b"name")[2], asker.lookup(b"name")[4]) == (0, 0)
    fails(ENOENT, asker.lookup, b"nothing")


def test_a_node_lives_as_long_as_it_is_remembered() -> None:
    asker = Asker()
    mount = asker.files.vfs.root().mount
    before = mount.references
    node = asker.mknod(b"f")
    asker.lookup(b"f")
    asker.write(node, 0, b"x")
    asker.ask(wire.UNLINK, 1, b"f\0")
    assert asker.read(node, 0, 1) == b"x", "an open file without a name"
    nodes = asker.operations.nodes
    asker.files.entered(nodes.forget, node, 1)
    assert asker.read(node, 0, 1) == b"x"
    asker.files.entered(nodes.forget, node, 1)
    fails(ESTALE, asker.read, node, 0, 1)
    assert asker.mknod(b"f") != node, "numbers are never used again"
    asker.files.entered(nodes.clear)
    assert mount.references == before - 1, "nothing is held, nor is the root"


def test_there_is_a_limit_of_nodes() -> None:
    asker = Asker(FuseOptions(max_nodes=16))
    for number in range(15):
        asker.mknod(b"%d" % number)
    asker.files.root.put("/more")
    fails(ENFILE, asker.lookup, b"more")
    assert [node.name for node in asker.operations.nodes.oldest()] == [b"%d" % number for number in range(15)]
    asker.files.entered(asker.operations.nodes.forget, 2, 1)
    assert asker.lookup(b"more")[0]


def test_what_is_to_be_kept_is_not_named_to_be_forgotten() -> None:
    asker = Asker(FuseOptions(max_nodes=16))
    nodes = asker.operations.nodes
    asker.mknod(b"kept")
    nodes.keep()
    for _ in range(2):
        assert nodes.oldest() == []
    asker.mknod(b"later")
    for _ in range(2):
        assert [node.name for node in nodes.oldest()] == [b"later"]


def test_all_names_of_a_file_are_known_also_those_that_were_never_looked_up() -> None:
    asker = Asker()
    node = asker.mknod(b"a")
    directory = asker.entry(wire.MKDIR, 1, wire.MKDIR_IN.pack(0o777, 0) + b"d\0")[0]

    def places(number: int = node) -> list[tuple[int, bytes]]:
        return asker.operations.nodes.get(number).places()

    def rename(name: bytes, new: bytes, where: int = 1, flags: int = 0) -> None:
        asker.ask(wire.RENAME2, 1, wire.RENAME2_IN.pack(where, flags, 0) + name + b"\0" + new + b"\0")

    asker.ask(wire.LINK, 1, wire.LINK_IN.pack(node) + b"b\0")
    assert places() == [(1, b"b"), (1, b"a")]
    rename(b"a", b"c", directory)
    assert places() == [(directory, b"c"), (1, b"b")]
    other = asker.mknod(b"other")
    rename(b"b", b"other", flags=2)
    assert places() == [(1, b"other"), (directory, b"c")]
    assert places(other) == [(1, b"b")]
    asker.lookup(b"other")
    assert places() == [(1, b"other"), (directory, b"c")]
    for number in range(40):
        asker.ask(wire.LINK, 1, wire.LINK_IN.pack(node) + b"%d\0" % number)
    assert [name for _, name in places()] == [b"39", *(b"%d" % number for number in range(23, 39))]


def test_one_owner_of_everything() -> None:
    asker = Asker(FuseOptions(owner=Owner(1000, 100)))
    asker.files.root.put("/old")
    assert asker.lookup(b"old")[UID : GID + 1] == (1000, 100)
    asker.mknod(b"new", uid=1000)
    assert asker.files.root.stat("/new").st_uid == 0


def test_directories() -> None:
    asker = Asker()
    body = wire.MKDIR_IN.pack(0o777, 0o022)
    made = asker.entry(wire.MKDIR, 1, body + b"d\0")
    assert made[MODE] == S_IFDIR | 0o755 and made[LINKS] == 2
    for number in range(100):
        asker.mknod(b"%03d" % number, node=made[0])
    names: list[bytes] = []
    cookie = 0
    while listing := list(dirents(asker.read(made[0], cookie, 500, wire.READDIR))):
        names += [name for name, *_ in listing]
        cookie = listing[-1][1]
    assert names == [b".", b"..", *(b"%03d" % number for number in range(100))]
    fails(EEXIST, asker.mknod, b"d")


def test_readdirplus_counts_lookups() -> None:
    asker = Asker()
    for number in range(20):
        asker.files.root.put(f"/{number:02}")
    nodes = asker.operations.nodes
    cookie, seen = 0, {}
    while listing := list(dirents(asker.read(1, cookie, 1000, wire.READDIRPLUS), plus=True)):
        assert len(listing) * 160 <= 1000
        seen |= {name: node for name, _, _, node in listing}
        cookie = listing[-1][1]
    assert seen.pop(b".") == seen.pop(b"..") == 0
    assert len(nodes) == 21 and all(nodes.get(node).lookups == 1 for node in seen.values())
    assert all(asker.lookup(name)[0] == node for name, node in seen.items())


def test_links_and_renames() -> None:
    asker = Asker()
    node = asker.mknod(b"a")
    linked = asker.entry(wire.LINK, 1, wire.LINK_IN.pack(node) + b"b\0")
    assert linked[0] == node and linked[LINKS] == 2
    link = asker.entry(wire.SYMLINK, 1, b"s\0where/to\0")
    assert asker.ask(wire.READLINK, link[0]) == b"where/to"
    asker.ask(wire.RENAME, 1, wire.RENAME_IN.pack(1) + b"a\0c\0")
    fails(EEXIST, asker.ask, wire.RENAME2, 1, wire.RENAME2_IN.pack(1, 1, 0) + b"c\0b\0")
    assert asker.lookup(b"c")[0] == node
    fails(ENOENT, asker.lookup, b"a")


def test_attributes_change() -> None:
    asker = Asker()
    node = asker.mknod(b"f", 0o104755)
    asker.write(node, 0, b"0123456789")
    assert attributes(asker, node)[MODE - 3] & S_ISUID
    asker.write(node, 0, b"x", wire.WRITE_KILL_SUIDGID)
    assert not attributes(asker, node)[MODE - 3] & S_ISUID
    valid = wire.FATTR_SIZE | wire.FATTR_UID | wire.FATTR_MODE | wire.FATTR_ATIME | wire.FATTR_MTIME
    body = wire.SETATTR_IN.pack(valid, 0, 0, 4, 0, -5, 60, 0, 1, 2, 0, 0o640, 0, 33, 44, 0)
    said = wire.ATTRIBUTES.unpack(asker.ask(wire.SETATTR, node, body))
    assert said == attributes(asker, node)
    found = asker.files.root.stat("/f")
    assert (found.st_size, found.st_mode & 0o7777, found.st_uid, found.st_gid) == (4, 0o640, 33, 0)
    assert (found.st_atime_ns, found.st_mtime_ns) == (-4_999_999_999, 60_000_000_002)
    assert said[6] == -5 and said[9] == 1, "a time before 1970"


def test_holes() -> None:
    asker = Asker()
    node = asker.mknod(b"f")
    asker.write(node, 1 << 20, b"data")
    seek = lambda offset, whence: asker.ask(wire.LSEEK, node, wire.LSEEK_IN.pack(0, offset, whence, 0))  # noqa: E731
    assert wire.LSEEK_OUT.unpack(seek(0, SEEK_DATA)) == (1 << 20,)
    assert wire.LSEEK_OUT.unpack(seek(1 << 20, SEEK_HOLE)) == ((1 << 20) + 4,)
    fails(ENXIO, seek, 1 << 21, SEEK_DATA)
    fails(EINVAL, seek, 0, 0)


def test_extended_attributes() -> None:
    asker = Asker()
    node = asker.mknod(b"f")
    size = wire.XATTR_IN.pack
    asker.ask(wire.SETXATTR, node, size(5, 0) + b"user.a\0value")
    fails(EEXIST, asker.ask, wire.SETXATTR, node, size(1, 1) + b"user.a\0x")
    assert wire.XATTR_OUT.unpack(asker.ask(wire.GETXATTR, node, size(0, 0) + b"user.a\0")) == (5, 0)
    assert asker.ask(wire.GETXATTR, node, size(5, 0) + b"user.a\0") == b"value"
    fails(ERANGE, asker.ask, wire.GETXATTR, node, size(4, 0) + b"user.a\0")
    assert asker.ask(wire.LISTXATTR, node, size(100, 0)) == b"user.a\0"
    assert asker.files.root.getxattr("/f", "user.a") == b"value"
    asker.ask(wire.REMOVEXATTR, node, b"user.a\0")
    fails(ENODATA, asker.ask, wire.GETXATTR, node, size(0, 0) + b"user.a\0")
    fails(EINVAL, asker.ask, wire.SETXATTR, node, size(100, 0) + b"user.a\0short")
    fails(ENODATA, asker.ask, wire.GETXATTR, asker.mknod(b"g"), size(0, 0) + b"system.posix_acl_access\0")


def test_new_files_inherit_access_control_lists() -> None:
    asker = Asker()
    folder = asker.entry(wire.MKDIR, 1, wire.MKDIR_IN.pack(0o777, 0) + b"d\0")[0]
    entries = ((0x01, 7, -1), (0x02, 7, 1000), (0x04, 5, -1), (0x10, 7, -1), (0x20, 0, -1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    asker.ask(wire.SETXATTR, folder, wire.XATTR_IN.pack(len(acl), 0) + b"system.posix_acl_default\0" + acl)
    node = asker.mknod(b"f", 0o100664, 0o077, folder)
    assert attributes(asker, node)[MODE - 3] & 0o777 == 0o660, "the mask counts for nothing then"
    assert asker.ask(wire.GETXATTR, node, wire.XATTR_IN.pack(1000, 0) + b"system.posix_acl_access\0")


def test_inode_flags_forbid_changes() -> None:
    asker = Asker()
    node = asker.mknod(b"f")
    asker.write(node, 0, b"1234")

    def set_flags(flags: int) -> None:
        body = wire.IOCTL_IN.pack(0, 0, FS_IOC_SETFLAGS, 0, 4, 0) + flags.to_bytes(4, "little")
        asker.ask(wire.IOCTL, node, body)
        said = asker.ask(wire.IOCTL, node, wire.IOCTL_IN.pack(0, 0, FS_IOC_GETFLAGS, 0, 0, 4))
        assert said == bytes(16) + flags.to_bytes(4, "little")

    set_flags(FS_APPEND_FL)
    fails(EPERM, asker.write, node, 0, b"x")
    fails(EPERM, asker.ask, wire.UNLINK, 1, b"f\0")
    assert asker.write(node, 4, b"x") == 1
    set_flags(FS_IMMUTABLE_FL)
    fails(EPERM, asker.write, node, 5, b"x")
    fails(EPERM, asker.ask, wire.FALLOCATE, node, wire.FALLOCATE_IN.pack(0, 0, 100, 0, 0))
    set_flags(0)
    assert asker.write(node, 0, b"x") == 1
    fails(ENOTTY, asker.ask, wire.IOCTL, node, wire.IOCTL_IN.pack(0, 0, 0x5401, 0, 0, 60))


def test_a_range_is_copied() -> None:
    asker = Asker()
    a, b = asker.mknod(b"a"), asker.mknod(b"b")
    asker.write(a, 0, bytes(range(256)) * 8)
    copied = asker.ask(wire.COPY_FILE_RANGE, a, wire.COPY_IN.pack(0, 100, b, 0, 5, 1000, 0))
    assert wire.WRITE_OUT.unpack(copied) == (1000, 0)
    assert asker.read(b, 0, 2000) == bytes(5) + (bytes(range(256)) * 8)[100:1100]


def test_mounts_within_have_numbers_of_their_own() -> None:
    asker = Asker()
    asker.files.mount("tmpfs", "/m")
    asker.files.root.put("/m/f")
    asker.files.root.put("/f")
    inner = asker.lookup(b"m")
    outside, inside = asker.lookup(b"f"), asker.lookup(b"f", inner[0])
    assert outside[6] != inside[6]
    listed = {name: kind for name, _, kind, _ in dirents(asker.read(inner[0], 0, 1000, wire.READDIR))}
    assert listed == {b".": S_IFDIR, b"..": S_IFDIR, b"f": S_IFREG}


def test_what_is_left_to_linux() -> None:
    asker = Asker()
    for operation in (wire.OPEN, wire.OPENDIR, wire.CREATE, wire.FLUSH, wire.POLL, wire.GETLK, wire.BMAP):
        fails(ENOSYS, asker.ask, operation, 1, bytes(64))


@pytest.mark.parametrize("operation", STRUCTURES)
def test_a_request_that_is_cut_off_is_refused(operation: int) -> None:
    asker = Asker()
    node = asker.mknod(b"f")
    for size in range(STRUCTURES[operation].size):
        fails(EINVAL, asker.ask, operation, node, bytes(size))


@given(operation=st.integers(0, wire.OPERATIONS - 1), node=st.integers(0, 5), body=st.binary(max_size=200))
def test_any_bytes_give_a_reply_or_an_errno(operation: int, node: int, body: bytes) -> None:
    asker = Asker()
    asker.mknod(b"f")
    asker.entry(wire.MKDIR, 1, wire.MKDIR_IN.pack(0o777, 0) + b"d\0")
    try:
        asker.ask(operation, node, body)
    except OSError as problem:
        assert problem.errno


def test_options_are_checked() -> None:
    assert checked(FuseOptions(max_request=10000)).max_request == 8192
    for wrong in (
        FuseOptions(max_nodes=3),
        FuseOptions(max_request=100),
        FuseOptions(max_background=0),
        FuseOptions(max_readahead=-1),
        FuseOptions(name_timeout=-1),
    ):
        with pytest.raises(ValueError):
            checked(wrong)
