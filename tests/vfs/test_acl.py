"""Access control lists: what is one, what it permits, how it goes with the mode, what new files inherit."""

import struct
from itertools import product

from rumpkit.kern.abi.errno import EACCES, EINVAL, ENODATA, ENOSPC, ENOTSUP, EPERM
from rumpkit.kern.abi.fcntl import O_CREAT, O_RDWR, R_OK, W_OK, X_OK
from rumpkit.kern.process import Credentials
from rumpkit.vfs import acl as acls
from rumpkit.vfs.acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, Acl, AclEntry
from tests.vfs.helpers import Files, fails

NOBODY = acls.UNDEFINED_ID
ACCESS, DEFAULT = acls.ACCESS, acls.DEFAULT


def acl(*entries: tuple[int, int] | tuple[int, int, int]) -> Acl:
    return Acl(tuple(AclEntry(entry[0], entry[1], entry[2] if len(entry) == 3 else NOBODY) for entry in entries))


SHARED = acl((USER_OBJ, 7), (USER, 6, 7), (USER, 7, 8), (GROUP_OBJ, 4), (GROUP, 6, 9), (MASK, 6), (OTHER, 1))


def test_the_form_is_that_of_linux():
    packed = SHARED.pack()
    assert packed[:12] == struct.pack("<IHHI", 2, 1, 7, 0xFFFFFFFF)
    read = acls.unpack(packed)
    assert read is not None and read.entries == SHARED.entries
    assert SHARED.mode() == 0o761
    assert acls.unpack(packed[:4]) is None
    for broken in (
        b"",
        packed[:3],
        packed[:-1],
        packed + b"x",
        struct.pack("<IHHI", 2, 3, 0, 0),
        acl((USER, 7)).pack(),
    ):
        fails(EINVAL, acls.unpack, broken)
    fails(ENOTSUP, acls.unpack, struct.pack("<I", 1) + packed[4:])


def test_what_is_no_list():
    base = ((USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 0))
    acls.check(acl(*base))
    acls.check(SHARED)
    for wrong in (
        base[:2],
        base[1:],
        (base[0], base[2], base[1]),
        (*base, (OTHER, 0)),
        (base[0], (USER, 7, 5), *base[1:]),  # no mask
        ((USER_OBJ, 8), *base[1:]),
        (base[0], base[1], (MASK, 7), (GROUP, 1, 5), base[2]),
    ):
        fails(EINVAL, acls.check, acl(*wrong))


def test_permissions_against_the_algorithm():
    """The algorithm as acl(5) writes it, for many lists, users and groups."""
    people = [Credentials(uid, gid, groups) for uid, gid, groups in product((1, 2, 3), (10, 11), ((), (12,)))]
    for user, owner, group, mask, other in product((0, 4, 7), (0, 6), (2, 4), (0, 4, 7), (0, 5)):
        made = acl((USER_OBJ, 6), (USER, user, 2), (GROUP_OBJ, owner), (GROUP, group, 12), (MASK, mask), (OTHER, other))
        for who, wanted in product(people, range(1, 8)):
            if who.uid == 1:
                expected = not wanted & ~6
            elif who.uid == 2:
                expected = not wanted & ~(user & mask)
            elif who.in_group(10) or who.in_group(12):
                some = [owner] * who.in_group(10) + [group] * who.in_group(12)
                expected = any(not wanted & ~(bits & mask) for bits in some)
            else:
                expected = not wanted & ~other
            assert made.permits(1, 10, who, wanted) == expected


def test_lists_and_modes(files: Files):
    root = files.root
    root.put("/f", b"text", 0o640)
    fails(ENODATA, root.getxattr, "/f", ACCESS)
    root.setxattr("/f", ACCESS, SHARED.pack())
    assert root.stat("/f").st_mode & 0o7777 == 0o761
    assert root.getxattr("/f", ACCESS) == SHARED.pack()
    assert root.listxattr("/f") == [ACCESS.decode()]
    files.process(7).access("/f", R_OK | W_OK)
    files.process(9, 9).access("/f", W_OK)
    fails(EACCES, files.process(8).access, "/f", X_OK)  # the mask
    fails(EACCES, files.process(5).access, "/f", R_OK)
    root.chmod("/f", 0o604)  # clears the mask
    fails(EACCES, files.process(7).access, "/f", R_OK)
    files.process(5).access("/f", R_OK)
    kept = acls.unpack(root.getxattr("/f", ACCESS))
    assert kept is not None
    assert (kept.permissions(MASK), kept.permissions(GROUP_OBJ), kept.permissions(USER_OBJ)) == (0, 4, 6)
    root.setxattr("/f", ACCESS, acl((USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0)).pack())  # no more than a mode says
    fails(ENODATA, root.getxattr, "/f", ACCESS)
    assert root.stat("/f").st_mode & 0o7777 == 0o640
    root.removexattr("/f", ACCESS)


def test_who_may_set_which(files: Files):
    root = files.root
    user = files.process(7)
    root.put("/f")
    fails(EPERM, user.setxattr, "/f", ACCESS, SHARED.pack())
    fails(EPERM, user.removexattr, "/f", ACCESS)
    root.chown("/f", 7, 7)
    user.setxattr("/f", ACCESS, SHARED.pack())
    fails(EACCES, user.setxattr, "/f", DEFAULT, SHARED.pack())
    fails(EINVAL, user.setxattr, "/f", ACCESS, acl((USER_OBJ, 7)).pack())
    root.symlink("f", "/l")
    fails(ENOTSUP, root.lsetxattr, "/l", ACCESS, SHARED.pack())
    fails(ENOTSUP, root.lgetxattr, "/l", ACCESS)


def test_new_files_inherit(files: Files):
    root = files.root
    root.mkdir("/d")
    root.setxattr("/d", DEFAULT, SHARED.pack())
    root.umask(0o077)  # which counts for nothing there
    root.close(root.open("/d/f", O_RDWR | O_CREAT, 0o664))
    assert root.stat("/d/f").st_mode & 0o777 == 0o660
    got = acls.unpack(root.getxattr("/d/f", ACCESS))
    assert got is not None
    assert (got.permissions(USER_OBJ), got.permissions(MASK), got.permissions(OTHER)) == (6, 6, 0)
    assert got.permissions(GROUP_OBJ) == 4
    fails(ENODATA, root.getxattr, "/d/f", DEFAULT)
    root.mkdir("/d/e", 0o750)
    assert root.stat("/d/e").st_mode & 0o777 == 0o740
    assert root.getxattr("/d/e", DEFAULT) == SHARED.pack()
    root.mkfifo("/d/e/p")
    assert ACCESS.decode() in root.listxattr("/d/e/p")
    root.symlink("f", "/d/l")
    assert root.llistxattr("/d/l") == []
    root.setxattr("/d", DEFAULT, acl((USER_OBJ, 7), (GROUP_OBJ, 1), (OTHER, 0)).pack())
    root.close(root.open("/d/plain", O_RDWR | O_CREAT, 0o666))
    assert root.stat("/d/plain").st_mode & 0o777 == 0o600
    assert root.listxattr("/d/plain") == []
    root.removexattr("/d", DEFAULT)
    root.close(root.open("/d/masked", O_RDWR | O_CREAT, 0o666))
    assert root.stat("/d/masked").st_mode & 0o777 == 0o600


def test_no_room_to_inherit(files: Files):
    files.mount("tmpfs", "/small", size=8192)
    root = files.root
    root.mkdir("/small/d")
    root.setxattr("/small/d", DEFAULT, SHARED.pack())
    root.put("/small/full", bytes(4096))
    fails(ENOSPC, root.open, "/small/d/f", O_RDWR | O_CREAT)
    fails(ENOSPC, root.mkdir, "/small/d/e")
    assert root.names("/small/d") == []
