"""ext2, ext3 and ext4 written: after each test e2fsck finds nothing, and debugfs reads what was written."""

from __future__ import annotations

import random
import stat
import subprocess
from pathlib import Path

import pytest

from rumpkit.kern.abi.errno import EACCES, EEXIST, ENODATA, ENOSPC, ENOTEMPTY, EUCLEAN
from rumpkit.kern.abi.fcntl import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    R_OK,
    S_IFBLK,
    S_IFCHR,
)
from tests.system.helpers.extimages import MEBIBYTE, check, debugfs, make, mounted, run
from tests.system.test_ext_read import FEATURES
from tests.vfs.helpers import Client, Files, fails

pytestmark = [pytest.mark.needs("mke2fs", "e2fsck", "debugfs")]

QUICK = ("ext2-1k", "ext4-1k", "inline-1k")
UNWRITABLE = ("bigalloc", "android-data-all")
CASES = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in FEATURES if name not in UNWRITABLE
]


def node(files: Files, path: str):
    found = files.vfs.mounts()[-1].root
    for name in path.split("/"):
        found = files.entered(found.lookup, name.encode())
    return found


def mixture(client: Client, noise: random.Random) -> dict[str, bytes]:
    """Files of many sizes, made in pieces, some removed again; what is left."""
    left: dict[str, bytes] = {}
    for number in range(40):
        path = f"/mnt/d{number % 4}/file-{number}"
        data = noise.randbytes(noise.choice((0, 1, 50, 70, 100, 1000, 1024, 5000, 40_000, 300_000)))
        fd = client.open(path, O_RDWR | O_CREAT, 0o640)
        step = noise.choice((100, 1000, 4096, 1 << 20)) if len(data) < 50_000 else 65536
        for at in range(0, len(data), step):
            client.write(fd, data[at : at + step])
        client.close(fd)
        left[path] = data
    for path in list(left)[::3]:
        client.unlink(path)
        del left[path]
    for path in list(left)[::4]:
        size = noise.randrange(60_000)
        client.truncate(path, size)
        left[path] = left[path][:size].ljust(size, b"\0")
    return left


@pytest.mark.parametrize("features", CASES)
def test_files(features, tmp_path: Path):
    image = make(tmp_path / "image", 24 * MEBIBYTE, FEATURES[features])
    noise = random.Random(features)
    with mounted(image) as files:
        client = files.root
        for number in range(4):
            client.mkdir(f"/mnt/d{number}")
        left = mixture(client, noise)
        client.symlink("short", "/mnt/s1")
        client.symlink("long/" * 50, "/mnt/s2")
        client.link("/mnt/d1/file-1", "/mnt/hard")
        client.mknod("/mnt/null", S_IFCHR | 0o666, 0x103)
        client.mknod("/mnt/disk", S_IFBLK | 0o600, 259 << 8 | 5 << 20)
        client.mkfifo("/mnt/fifo")
        client.chown("/mnt/d2/file-2", 70_000, 80_000)
        client.utimens("/mnt/d2/file-2", 1_000_000_000_123_456_789, 2_500_000_000_987_654_321)
        for path, data in left.items():
            assert client.get(path) == data, path
        client.sync()
        sizes = client.statvfs("/mnt")
    check(image)
    with mounted(image, read_only=True) as files:
        client = files.root
        for path, data in left.items():
            assert client.get(path) == data, path
        assert client.readlink("/mnt/s1") == "short" and client.readlink("/mnt/s2") == "long/" * 50
        got = client.lstat("/mnt/d2/file-2")
        assert (got.st_uid, got.st_gid) == (70_000, 80_000)
        if "-r 0" not in FEATURES[features] and "-I 128" not in FEATURES[features]:
            assert got.st_mtime_ns == 2_500_000_000_987_654_321 or "ext2" in features or "ext3" in features
        assert stat.S_ISCHR(client.lstat("/mnt/null").st_mode) and client.lstat("/mnt/null").st_rdev == 0x103
        assert client.lstat("/mnt/disk").st_rdev == 259 << 8 | 5 << 20
        after = client.statvfs("/mnt")
        assert (after.f_bfree, after.f_ffree) == (sizes.f_bfree, sizes.f_ffree)
    out = tmp_path / "out"
    for path, data in list(left.items())[:5]:
        debugfs(image, f"dump {path.removeprefix('/mnt')} {out}")
        got = out.read_bytes()
        assert got == data or (
            "inline" in features and got == data.ljust(60, b"\0")
        )  # debugfs dumps all that is inline


@pytest.mark.parametrize("features", CASES)
def test_many_names(features, tmp_path: Path):
    image = make(tmp_path / "image", 24 * MEBIBYTE, FEATURES[features])
    count = 1500
    with mounted(image) as files:
        client = files.root
        client.mkdir("/mnt/d")
        client.put("/mnt/d/first")
        for number in range(count):
            client.link("/mnt/d/first", f"/mnt/d/a-name-that-is-long-{number}")
        for number in range(0, count, 5):
            client.unlink(f"/mnt/d/a-name-that-is-long-{number}")
        for number in range(0, count, 10):
            client.rename(f"/mnt/d/a-name-that-is-long-{number + 1}", f"/mnt/d/new{number}")
        expected = {"first"} | {f"new{number}" for number in range(0, count, 10)}
        expected |= {f"a-name-that-is-long-{n}" for n in range(count) if n % 5 and n % 10 != 1}
        names = client.names("/mnt/d")
        assert len(names) == len(set(names)) and set(names) == expected
        for name in names:
            client.lstat(f"/mnt/d/{name}")
    check(image)
    with mounted(image) as files:
        client = files.root
        assert set(client.names("/mnt/d")) == expected
        for name in sorted(expected):
            client.unlink(f"/mnt/d/{name}")
        client.rmdir("/mnt/d")
    check(image)


@pytest.mark.parametrize("features", CASES)
def test_holes_and_storage(features, tmp_path: Path):
    image = make(tmp_path / "image", 24 * MEBIBYTE, FEATURES[features])
    noise = random.Random(1)
    content = bytearray(2_000_000)
    with mounted(image) as files:
        client = files.root
        fd = client.open("/mnt/f", O_RDWR | O_CREAT)
        file = node(files, "f")
        for _ in range(250):
            at = noise.randrange(1_900_000)
            data = noise.randbytes(noise.choice((1, 500, 1024, 5000, 20_000)))
            client.pwrite(fd, data, at)
            content[at : at + len(data)] = data
            if noise.random() < 0.3:
                at = noise.randrange(1_900_000)
                size = noise.randrange(1, 60_000)
                end = min(at + size, client.fstat(fd).st_size)
                files.entered(file.fallocate, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size)
                if end > at:
                    content[at:end] = bytes(end - at)
            if noise.random() < 0.1:
                client.fsync(fd)
        size = client.fstat(fd).st_size
        assert client.get("/mnt/f") == content[:size]
        if file.state.extents:
            files.entered(file.fallocate, 0, 100_000, 2_000_000)
            size = 2_100_000
            content += bytes(100_000)
            client.pwrite(fd, b"middle", 1_990_000)
            content[1_990_000:1_990_006] = b"middle"
        client.close(fd)
    check(image)
    with mounted(image) as files:
        client = files.root
        assert client.get("/mnt/f") == content[:size]
        fd = client.open("/mnt/f", O_RDWR)
        for cut in (1_500_001, 1_000_000, 70_000, 12_288, 100, 0):
            client.ftruncate(fd, cut)
            assert client.get("/mnt/f") == content[:cut]
        client.close(fd)
        assert client.stat("/mnt/f").st_blocks == 0
    check(image)


def test_a_full_disk(tmp_path: Path):
    for features in ("ext2-1k", "ext4-1k"):
        image = make(tmp_path / "image", 8 * MEBIBYTE, FEATURES[features])
        with mounted(image) as files:
            client = files.root
            fd = client.open("/mnt/big", O_RDWR | O_CREAT)
            written = 0
            try:
                while True:
                    written += client.write(fd, b"x" * 10_000)
            except OSError as problem:
                assert problem.errno == ENOSPC
            assert client.fstat(fd).st_size == written > 6 * MEBIBYTE - 1_000_000
            client.close(fd)
            for number in range(20):
                try:
                    other = client.open(f"/mnt/f{number}", O_RDWR | O_CREAT)
                    assert client.write(other, b"y" * 5000) > 0
                except OSError as problem:
                    assert problem.errno == ENOSPC
                client.close(other)
            client.sync()
            client.unlink("/mnt/big")
            client.put("/mnt/again", b"z" * 5 * MEBIBYTE)
            assert client.get("/mnt/again") == b"z" * 5 * MEBIBYTE
        check(image)


def test_no_inodes_left(tmp_path: Path):
    image = make(tmp_path / "image", 8 * MEBIBYTE, "-t ext4 -N 32")
    with mounted(image) as files:
        client = files.root
        made = 0
        try:
            while True:
                client.put(f"/mnt/f{made}")
                made += 1
        except OSError as problem:
            assert problem.errno == ENOSPC
        assert client.statvfs("/mnt").f_ffree == 0
        fails(ENOSPC, client.mkdir, "/mnt/d")
    check(image)


def test_removed_files_that_are_open(tmp_path: Path):
    image = make(tmp_path / "image", 16 * MEBIBYTE, "-t ext4 -b 1024")
    with mounted(image) as files:
        client = files.root
        fds = []
        for number in range(4):
            client.put(f"/mnt/f{number}", bytes([number]) * 50_000)
            fds.append(client.open(f"/mnt/f{number}", O_RDONLY))
        for number in (1, 3, 0, 2):
            client.unlink(f"/mnt/f{number}")
        client.sync()
        assert "f1" not in client.names("/mnt")
        for number in (3, 1, 2, 0):
            assert client.pread(fds[number], 50_000, 0) == bytes([number]) * 50_000
            client.close(fds[number])
    check(image)


@pytest.mark.parametrize("options", ["-O ^has_journal", "-O orphan_file", "-O orphan_file,^metadata_csum"])
def test_orphans_are_removed_at_the_next_mount(options: str, tmp_path: Path):
    """By us and by e2fsck, also where the file system has a file for them: the list is as good, and both know it."""
    image = make(tmp_path / "image", 16 * MEBIBYTE, f"-t ext4 -b 1024 {options}")
    copy = tmp_path / "copy"
    with mounted(image) as files:
        client = files.root
        before = client.statvfs("/mnt").f_bfree
        for number in range(3):
            client.put(f"/mnt/f{number}", bytes(50_000))
            client.open(f"/mnt/f{number}", O_RDONLY)
            client.unlink(f"/mnt/f{number}")
        client.sync()
        copy.write_bytes(image.read_bytes())
        for fd in range(3):
            client.close(fd)
    check(image)
    other = tmp_path / "other"
    other.write_bytes(copy.read_bytes())
    repaired = subprocess.run(["e2fsck", "-fy", other], capture_output=True, text=True)
    assert "Clearing orphaned inode" in repaired.stdout and repaired.returncode in (0, 1)
    check(other)
    for each in (copy, other):
        with mounted(each) as files:
            assert files.root.statvfs("/mnt").f_bfree == before
        check(each)


@pytest.mark.parametrize("features", ["ext2-1k", "ext4-1k", "ext4", "inline", "ext4-2k-small-inodes"])
def test_extended_attributes(features, tmp_path: Path):
    image = make(tmp_path / "image", 16 * MEBIBYTE, FEATURES[features])
    acl = bytes.fromhex("0200000001000600ffffffff02000400e803000004000400ffffffff10000600ffffffff20000400ffffffff")
    with mounted(image) as files:
        client = files.root
        for number in range(3):
            client.put(f"/mnt/f{number}", b"data")
        nodes = [node(files, f"f{number}") for number in range(3)]
        for each in nodes:
            files.entered(each.setxattr, b"user.small", b"1", 0)
            files.entered(each.setxattr, b"user.large", b"v" * 500, 0)
            files.entered(each.setxattr, b"system.posix_acl_access", acl, 0)
            files.entered(each.setxattr, b"security.empty", b"", 0)
        fails(EEXIST, lambda: files.entered(nodes[0].setxattr, b"user.small", b"2", 1))
        fails(ENODATA, lambda: files.entered(nodes[0].setxattr, b"user.none", b"2", 2))
        fails(ENODATA, lambda: files.entered(nodes[0].removexattr, b"user.none"))
        fails(ENOSPC, lambda: files.entered(nodes[0].setxattr, b"user.huge", bytes(10_000), 0))
        files.entered(nodes[1].removexattr, b"user.large")
        files.entered(nodes[2].setxattr, b"user.large", b"w" * 400, 0)
        client.put("/mnt/f2", b"more" * 100)
        client.unlink("/mnt/f0")
    check(image)
    with mounted(image) as files:
        nodes = [node(files, f"f{number}") for number in (1, 2)]
        assert files.entered(nodes[0].getxattr, b"system.posix_acl_access") == acl
        assert files.entered(nodes[1].getxattr, b"user.large") == b"w" * 400
        assert set(files.entered(nodes[0].listxattr)) == {b"user.small", b"system.posix_acl_access", b"security.empty"}
        client = files.root
        client.chmod("/mnt/f1", 0o640)  # the list's mask follows
        files.process(1000).access("/mnt/f1", R_OK)
        fails(EACCES, lambda: files.process(1001).access("/mnt/f1", R_OK))
        assert client.getxattr("/mnt/f1", "system.posix_acl_access")[28:] == bytes.fromhex(
            "10000400ffffffff20000000ffffffff"
        )
        for each in nodes:
            for name in files.entered(each.listxattr):
                files.entered(each.removexattr, name)
        assert files.root.get("/mnt/f2") == b"more" * 100
    check(image)


@pytest.mark.parametrize("features", ["ext2-1k", "ext4-1k", "inline"])
def test_directories(features, tmp_path: Path):
    image = make(tmp_path / "image", 16 * MEBIBYTE, FEATURES[features])
    with mounted(image) as files:
        client = files.root
        client.mkdir("/mnt/a")
        client.mkdir("/mnt/a/b")
        client.mkdir("/mnt/a/b/c")
        client.mkdir("/mnt/x")
        client.put("/mnt/x/file", b"1")
        client.put("/mnt/y", b"2")
        fails(ENOTEMPTY, client.rmdir, "/mnt/a")
        fails(ENOTEMPTY, client.rename, "/mnt/a/b", "/mnt/x")
        client.rename("/mnt/a/b", "/mnt/x/b")
        assert client.stat("/mnt/a").st_nlink == 2 and client.stat("/mnt/x").st_nlink == 3
        client.rename("/mnt/x/file", "/mnt/y", 2)
        assert client.get("/mnt/y") == b"1" and client.get("/mnt/x/file") == b"2"
        client.rename("/mnt/a", "/mnt/x/file", 2)
        assert client.get("/mnt/a") == b"2" and client.names("/mnt/x/file") == []
        client.rename("/mnt/y", "/mnt/a")
        client.rmdir("/mnt/x/file")
        assert client.names("/mnt/x/b") == ["c"]
    check(image)
    assert "Directories" not in run("dumpe2fs", "-h", image)


def test_an_overwritten_file_is_read_by_others(tmp_path: Path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "f").write_bytes(b"old" * 10_000)
    image = make(tmp_path / "image", 16 * MEBIBYTE, "-t ext4", tree)
    with mounted(image) as files:
        client = files.root
        fd = client.open("/mnt/f", O_RDWR)
        client.pwrite(fd, b"new" * 3000, 9000)
        client.close(fd)
        client.close(client.open("/mnt/g", O_RDWR | O_CREAT | O_TRUNC))
    check(image)
    debugfs(image, f"dump /f {tmp_path}/out")
    assert (tmp_path / "out").read_bytes() == b"old" * 3000 + b"new" * 3000 + b"old" * 4000


@pytest.mark.parametrize("features", ["ext3-2k", "ext4-1k"])
def test_what_was_synced_is_there_after_a_crash(features, tmp_path: Path):
    image = make(tmp_path / "image", 24 * MEBIBYTE, FEATURES[features])
    copy = tmp_path / "copy"
    with mounted(image) as files:
        client = files.root
        client.mkdir("/mnt/d")
        fd = client.open("/mnt/d/f", O_RDWR | O_CREAT)
        client.write(fd, b"kept" * 5000)
        client.fsync(fd)
        client.write(fd, b"lost" * 5000)
        copy.write_bytes(image.read_bytes())
        client.close(fd)
    check(image)
    assert "needs_recovery" in run("dumpe2fs", "-h", copy)
    before = copy.read_bytes()
    with mounted(copy, read_only=True) as files:
        assert files.root.get("/mnt/d/f") == b"kept" * 5000
    assert copy.read_bytes() == before
    with mounted(copy) as files:
        assert files.root.get("/mnt/d/f") == b"kept" * 5000
    check(copy)
    assert "needs_recovery" not in run("dumpe2fs", "-h", copy)


def test_e2fsck_replays_the_journal(tmp_path: Path):
    image = make(tmp_path / "image", 24 * MEBIBYTE, "-t ext4 -b 1024")
    copy = tmp_path / "copy"
    with mounted(image) as files:
        for number in range(300):
            files.root.put(f"/mnt/file-{number}", b"x" * number)
        files.root.sync()
        copy.write_bytes(image.read_bytes())
    run("e2fsck", "-fp", copy)
    check(copy)
    with mounted(copy, read_only=True) as files:
        assert files.root.get("/mnt/file-299") == b"x" * 299


def test_remounting(tmp_path: Path):
    image = make(tmp_path / "image", 16 * MEBIBYTE, "-t ext4 -b 1024")
    with mounted(image) as files:
        mount = files.vfs.mounts()[-1]
        files.root.put("/mnt/a", b"a" * 3000)
        files.entered(mount.remount, True)
        mount.read_only = True
        check(image)
        assert files.root.get("/mnt/a") == b"a" * 3000
        files.entered(mount.remount, False)
        mount.read_only = False
        files.root.put("/mnt/b", b"b" * 3000)
    check(image)


@pytest.mark.parametrize("features", ["ext2-1k", "ext4-1k"])
@pytest.mark.parametrize("order", ["any", *(pytest.param(order, marks=pytest.mark.long) for order in ("up", "down"))])
def test_deep_block_maps(features, order, tmp_path: Path):
    image = make(tmp_path / "image", 24 * MEBIBYTE, FEATURES[features])
    noise = random.Random(order)
    count = 1500
    places = list(range(0, 2 * count, 2))
    if order == "down":
        places.reverse()
    elif order == "any":
        noise.shuffle(places)
    content = bytearray(2 * count << 10)
    with mounted(image) as files:
        client = files.root
        fd = client.open("/mnt/f", O_RDWR | O_CREAT)
        for place in places:
            data = place.to_bytes(4, "little") * 256
            client.pwrite(fd, data, place << 10)
            content[place << 10 : (place + 1) << 10] = data
        size = client.fstat(fd).st_size
        assert client.get("/mnt/f") == content[:size]
        file = node(files, "f")
        assert not file.state.extents or file.state.inode.block[6] >= 2
        client.fsync(fd)
        for _ in range(200):
            start, length = noise.randrange(2 * count), noise.randrange(1, 60)
            files.entered(file.fallocate, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start << 10, length << 10)
            end = min(start + length << 10, size)
            content[start << 10 : end] = bytes(max(end - (start << 10), 0))
        client.close(fd)
    check(image)
    with mounted(image) as files:
        client = files.root
        assert client.get("/mnt/f") == content[:size]
        client.truncate("/mnt/f", 1 << 20)
        assert client.get("/mnt/f") == content[: 1 << 20]
        client.sync()
        client.link("/mnt/f", "/mnt/g")
        client.unlink("/mnt/f")
    check(image)
    with mounted(image) as files:
        files.root.unlink("/mnt/g")
    check(image)


@pytest.mark.long
@pytest.mark.parametrize("features", ["ext2-1k", "ext4-1k", "large-dir"])
def test_a_directory_of_two_levels(features, tmp_path: Path):
    image = make(tmp_path / "image", 24 * MEBIBYTE, FEATURES[features])
    names = {f"a-name-that-is-rather-long-so-that-few-fit-{number}" * 2 for number in range(5000)}
    with mounted(image) as files:
        client = files.root
        client.put("/mnt/f")
        client.mkdir("/mnt/d")
        for number, name in enumerate(sorted(names)):
            if number % 5000:
                client.link("/mnt/f", f"/mnt/d/{name}")
        names.discard(min(names))
        assert node(files, "d").state.inode.flags & 0x1000
        seen = client.names("/mnt/d")
        assert len(seen) == len(names) and set(seen) == names
        for name in list(names)[::3]:
            client.unlink(f"/mnt/d/{name}")
            names.discard(name)
        for name in names:
            client.lstat(f"/mnt/d/{name}")
    check(image)
    assert "Indirect levels: 1" in debugfs(image, "htree_dump /d")


def test_values_that_are_files_go_with_their_owner(tmp_path: Path):
    image = make(tmp_path / "image", 16 * MEBIBYTE, "-t ext4 -b 1024 -O ea_inode")
    (tmp_path / "value").write_bytes(b"v" * 1024)
    (tmp_path / "f").write_bytes(b"x")
    commands = [f"write {tmp_path}/f f", f"ea_set -f {tmp_path}/value f user.long", "ea_set f user.short 1"]
    debugfs(image, *commands, write=True)
    subprocess.run(["e2fsck", "-fy", image], capture_output=True)  # debugfs does not count the blocks of such values
    with mounted(image) as files:
        file = node(files, "f")
        assert files.entered(file.getxattr, b"user.long") == b"v" * 1024
        files.entered(file.setxattr, b"user.short", b"2", 0)
        assert files.entered(file.getxattr, b"user.long") == b"v" * 1024
    check(image)
    assert 'user.short (1) = "2"' in debugfs(image, "ea_list f")
    with mounted(image) as files:
        files.root.unlink("/mnt/f")
    check(image)


def shared_values(tmp_path: Path) -> tuple[Path, int]:
    """An image with two files that share a block of attributes, one of them with its value in a file; and that block."""
    image = make(tmp_path / "image", 16 * MEBIBYTE, "-t ext4 -I 128 -b 1024 -O ea_inode,^metadata_csum,^extra_isize")
    (tmp_path / "value").write_bytes(b"v" * 1000)
    (tmp_path / "f").write_bytes(b"x")
    commands = [f"write {tmp_path}/f {name}" for name in ("f", "g", "h")]
    debugfs(image, *commands, f"ea_set -f {tmp_path}/value f user.long", "ea_set f user.x " + "z" * 200, write=True)
    subprocess.run(["e2fsck", "-fy", image], capture_output=True)  # debugfs does not count the blocks of such values
    block = int(debugfs(image, "stat f").split("File ACL: ")[1].split()[0])
    debugfs(image, f"sif g file_acl {block}", "sif g blocks 4", write=True)
    subprocess.run(["e2fsck", "-fy", image], capture_output=True)
    check(image)
    return image, block


def test_values_of_a_shared_block_stay_until_its_last_owner_goes(tmp_path: Path):
    image, _ = shared_values(tmp_path)
    with mounted(image) as files:
        files.root.unlink("/mnt/f")
        assert files.entered(node(files, "g").getxattr, b"user.long") == b"v" * 1000
    check(image)
    with mounted(image) as files:
        files.root.unlink("/mnt/g")
    check(image)


def test_another_file_is_not_removed_as_a_value(tmp_path: Path):
    image, block = shared_values(tmp_path)
    victim = int(debugfs(image, "stat h").split("Inode: ")[1].split()[0])
    raw = bytearray(image.read_bytes())
    entries = [at for at in range(block * 1024 + 32, block * 1024 + 96, 4) if raw[at + 1] == 1 and raw[at + 4]]
    assert len(entries) == 1
    raw[entries[0] + 4 : entries[0] + 8] = victim.to_bytes(4, "little")
    raw[block * 1024 + 4] = 1
    image.write_bytes(bytes(raw))
    with pytest.raises(OSError, match="nothing is written"), mounted(image) as files:
        fails(EUCLEAN, files.root.unlink, "/mnt/f")
        assert files.root.get("/mnt/h") == b"x"
    assert "Links: 1" in debugfs(image, "stat h")


def test_times_beyond_what_inodes_have(tmp_path: Path):
    for options, latest in (("-t ext4", (1 << 62) // 10**9), ("-t ext4 -I 128", (1 << 31) - 1)):
        image = make(tmp_path / "image", 16 * MEBIBYTE, options)
        with mounted(image) as files:
            files.root.put("/mnt/f")
            files.root.utimens("/mnt/f", -(1 << 62), 1 << 62)
        with mounted(image, read_only=True) as files:
            got = files.root.stat("/mnt/f")
            assert (got.st_atime_ns // 10**9, got.st_mtime_ns // 10**9) == (-(1 << 31), latest)
        check(image)
