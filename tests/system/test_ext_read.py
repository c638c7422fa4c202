"""ext2, ext3 and ext4 images that mke2fs filled from a directory, read: every file, name and attribute is equal."""

from __future__ import annotations

import os
import random
import re
import stat
import subprocess
from pathlib import Path

import pytest

from rumpkit.fs.ext.namehash import HALF_MD4, LEGACY, TEA, UNSIGNED, name_hash
from rumpkit.kern.abi.fcntl import O_RDONLY, SEEK_DATA, SEEK_HOLE, SEEK_SET
from tests.system.helpers.extimages import MEBIBYTE, debugfs, make, mounted, run
from tests.vfs.helpers import Client

pytestmark = [pytest.mark.needs("mke2fs", "debugfs", "e2fsck"), pytest.mark.once]

FEATURES = {
    "ext2-1k": "-t ext2 -b 1024",
    "ext2-4k": "-t ext2 -b 4096",
    "ext2-rev0": "-t ext2 -r 0 -b 1024",
    "ext3-2k": "-t ext3 -b 2048",
    "ext4": "-t ext4",
    "ext4-1k": "-t ext4 -b 1024",
    "ext4-2k-small-inodes": "-t ext4 -b 2048 -I 128",
    "ext4-large-inodes": "-t ext4 -b 4096 -I 512",
    "ext4-64k": "-t ext4 -b 65536 -N 4000",
    "plain": "-t ext4 -b 1024 -O ^metadata_csum,^64bit,^flex_bg,^extent",
    "uninit": "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg",
    "uninit-64bit": "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg,64bit",
    "inline": "-t ext4 -b 4096 -O inline_data",
    "inline-1k": "-t ext4 -b 1024 -O inline_data,^metadata_csum",
    "sparse2": "-t ext4 -b 1024 -O sparse_super2",
    "meta-bg": "-t ext4 -b 1024 -O meta_bg,^resize_inode",
    "meta-bg-32": "-t ext4 -b 1024 -O meta_bg,^resize_inode,^64bit",
    "no-filetype": "-t ext4 -b 4096 -O ^filetype",
    "no-index": "-t ext4 -b 1024 -O ^dir_index",
    "seed": "-t ext4 -b 4096 -O metadata_csum_seed",
    "ea-inode": "-t ext4 -b 4096 -O ea_inode",
    "bigalloc": "-t ext4 -b 1024 -O bigalloc -C 16384",
    "orphan-file": "-t ext4 -b 4096 -O orphan_file",
    "large-dir": "-t ext4 -b 1024 -O large_dir",
    # As Android's build makes them: system images (AOSP's mke2fs.conf, without a journal), and the users' data.
    "android-system": "-t ext4 -b 4096 -I 256 -O none,ext_attr,dir_index,filetype,extent,sparse_super,large_file,huge_file,"
    "uninit_bg,dir_nlink,extra_isize",
    "android-data": "-t ext4 -b 4096 -I 256 -O metadata_csum,64bit,stable_inodes",
    "android-data-all": "-t ext4 -b 4096 -I 256 -O metadata_csum,64bit,project,quota,verity,stable_inodes,casefold,encrypt",
}

QUICK = ("ext2-1k", "ext3-2k", "ext4-1k", "ext4", "inline", "meta-bg", "android-system", "android-data-all")
CASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in FEATURES]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of many kinds and sizes."""
    root = tmp_path_factory.mktemp("tree")
    noise = random.Random(1)
    for size in (0, 1, 59, 60, 61, 100, 130, 200, 1023, 1024, 4096, 5000, 13 * 1024, 300_000, MEBIBYTE):
        (root / f"file-{size}").write_bytes(noise.randbytes(size))
    with open(root / "sparse", "wb") as file:
        for at in (0, 100_000, 1_000_000, 6_000_000):
            file.seek(at)
            file.write(noise.randbytes(5000))
        file.truncate(8_000_000)
    (root / "deep" / "er" / "still").mkdir(parents=True)
    (root / "deep" / "er" / "x").write_text("x")
    os.symlink("deep/er", root / "short-link")
    os.symlink("deep/" + "./" * 100 + "er", root / "long-link")
    os.link(root / "file-100", root / "deep" / "same")
    os.mkfifo(root / "fifo")
    os.chmod(root / "file-1", 0o4751)
    os.utime(root / "file-1", ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))
    for count in (5, 60, 700):
        names = root / f"names-{count}"
        names.mkdir()
        for number in range(count):
            (names / f"name-{number:05d}-äöü").touch()
    return root


def listing(root: Path) -> dict[str, os.stat_result]:
    found = {"": os.lstat(root)}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            found[str(path.relative_to(root))] = os.lstat(path)
    return found


def walk(client: Client, path: str) -> list[str]:
    found = []
    for name in client.names(path):
        found.append(f"{path}/{name}")
        if stat.S_ISDIR(client.lstat(f"{path}/{name}").st_mode):
            found += walk(client, f"{path}/{name}")
    return found


@pytest.mark.parametrize("features", CASES)
def test_everything_is_equal(features, tree: Path, tmp_path: Path):
    image = make(tmp_path / "image", 24 * MEBIBYTE, FEATURES[features], tree)
    (tmp_path / "before").write_bytes(image.read_bytes())
    with mounted(image, read_only=True) as files:
        client = files.root
        expected = listing(tree)
        found = {path.removeprefix("/mnt/") for path in walk(client, "/mnt")}
        assert found - {"lost+found"} == set(expected) - {""}
        numbers: dict[int, int] = {}
        for path, right in expected.items():
            where = f"/mnt/{path}"
            got = client.lstat(where)
            if path:  # mke2fs makes the root itself
                assert got.st_mode == right.st_mode, path
                assert numbers.setdefault(right.st_ino, got.st_ino) == got.st_ino
                assert stat.S_ISDIR(got.st_mode) or got.st_nlink == right.st_nlink
                assert got.st_mtime_ns // 10**9 == right.st_mtime_ns // 10**9
            if stat.S_ISREG(got.st_mode):
                if path == "sparse" and "inline" in features:
                    continue  # mke2fs makes its size a multiple of blocks
                assert got.st_size == right.st_size
                assert client.get(where) == (tree / path).read_bytes(), path
            elif stat.S_ISLNK(got.st_mode):
                assert client.readlink(where) == os.readlink(tree / path)
        for count in (5, 60, 700):
            assert sorted(client.names(f"/mnt/names-{count}")) == sorted(os.listdir(tree / f"names-{count}"))
        assert client.statvfs("/mnt").f_files > 100
    assert image.read_bytes() == (tmp_path / "before").read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("-O quota", "quota"),
        ("-O project", "project"),
        ("-O verity", "verity"),
        ("-O casefold", "casefold (directories may ignore the case of names)"),
        ("-O encrypt", "encrypt (names and contents may be encrypted)"),
        ("-O mmp", "mmp (another host may have it mounted)"),
        ("-O bigalloc -C 16384", "bigalloc"),
        ("-O quota,verity,casefold", "casefold, quota, verity"),
    ],
)
def test_what_is_not_written_is_named(options: str, said: str, tmp_path: Path):
    image = make(tmp_path / "image", 24 * MEBIBYTE, f"-t ext4 -b 1024 {options}")
    before = image.read_bytes()
    with pytest.raises(OSError, match=re.escape(f"it can only be mounted read-only: {said}")), mounted(image):
        pass
    with mounted(image, read_only=True) as files:
        assert files.root.names("/mnt") == ["lost+found"]
    assert image.read_bytes() == before


def test_holes(tree: Path, tmp_path: Path):
    for options in ("-t ext4 -b 4096", "-t ext2 -b 1024"):
        image = make(tmp_path / "image", 24 * MEBIBYTE, options, tree)
        with mounted(image, read_only=True) as files:
            client = files.root
            fd = client.open("/mnt/sparse", O_RDONLY)
            data = client.lseek(fd, 10_000, SEEK_DATA)
            assert 90_000 < data <= 100_000
            hole = client.lseek(fd, data, SEEK_HOLE)
            assert 105_000 <= hole < 110_000
            assert client.lseek(fd, 7_500_000, SEEK_HOLE) == 7_500_000
            client.lseek(fd, 99_990, SEEK_SET)
            with open(tree / "sparse", "rb") as file:
                file.seek(99_990)
                assert client.read(fd, 6000) == file.read(6000)
            client.close(fd)


@pytest.mark.parametrize(
    "options", ["-t ext4 -b 1024", "-t ext4 -b 4096 -O inline_data,ea_inode", "-t ext2 -b 1024 -I 128"]
)
def test_extended_attributes(options, tmp_path: Path):
    image = make(tmp_path / "image", 16 * MEBIBYTE, options)
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "value").write_bytes(b"v" * 600)
    commands = [
        f"write {tmp_path}/x f",
        "ea_set f user.a 1",
        f"ea_set -f {tmp_path}/value f user.long",
        "ea_set f security.c 3",
    ]
    acl = "0200000001000600ffffffff02000400e803000004000400ffffffff10000600ffffffff20000400ffffffff"
    (tmp_path / "acl").write_bytes(bytes.fromhex(acl))
    commands.append(f"ea_set -f {tmp_path}/acl f system.posix_acl_access")
    debugfs(image, *commands, write=True)
    with mounted(image, read_only=True) as files:
        node = files.entered(files.vfs.mounts()[-1].root.lookup, b"f")
        names = sorted(files.entered(node.listxattr))
        assert names == [b"security.c", b"system.posix_acl_access", b"user.a", b"user.long"]
        values = [files.entered(node.getxattr, name) for name in names]
        assert values == [b"3", bytes.fromhex(acl), b"1", b"v" * 600]


def test_a_large_directory_is_found_through_its_index(tmp_path: Path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(1500):
        (tree / f"a-rather-long-name-{number}").touch()
    image = make(tmp_path / "image", 24 * MEBIBYTE, "-t ext4 -b 1024 -N 3000", tree)
    with mounted(image, read_only=True) as files:
        for number in range(0, 1500, 7):
            files.root.lstat(f"/mnt/a-rather-long-name-{number}")
        assert len(set(files.root.names("/mnt"))) == 1501


def test_hashes_of_names(tmp_path: Path):
    image = make(tmp_path / "image", MEBIBYTE, "-t ext2")
    seed = bytes(range(16))
    text = "00010203-0405-0607-0809-0a0b0c0d0e0f"
    names = ["a", "lost+found", "x" * 31, "x" * 32, "x" * 33, "y" * 64, "z" * 200, "1234", "some-name-0001"]
    commands = [f"dx_hash -h {kind} -s {text} {name}" for kind in ("legacy", "half_md4", "tea") for name in names]
    answers = iter(debugfs(image, *commands).splitlines())
    for version in (LEGACY, HALF_MD4, TEA):
        for name in names:
            major, minor = name_hash(name.encode(), version, seed)
            assert next(answers).endswith(f"is 0x{major:x} (minor 0x{minor:x})")
            assert name_hash(name.encode(), version + UNSIGNED, seed) == (major, minor)


@pytest.mark.parametrize("flag", [1, 2])
@pytest.mark.parametrize("kind", ["half_md4", "tea", "legacy"])
def test_directories_that_e2fsck_indexed(kind, flag, tmp_path: Path):
    tree = tmp_path / "tree"
    tree.mkdir()
    names = [f"\xe4\xf6\xfc-{number}-n\xe4me" for number in range(300)]
    for name in names:
        (tree / name).touch()
    image = make(tmp_path / "image", 8 * MEBIBYTE, "-t ext4 -b 1024", tree)
    run("tune2fs", "-E", f"hash_alg={kind}", image)
    debugfs(image, f"ssv flags {flag}", write=True)
    subprocess.run(["e2fsck", "-fyD", image], capture_output=True)
    with mounted(image, read_only=True) as files:
        assert files.vfs.mounts()[-1].root.flags & 0x1000
        for name in names:
            files.root.lstat(f"/mnt/{name}")
        seen = files.root.names("/mnt")
        assert len(seen) == len(set(seen)) == 301
        fd = files.root.open("/mnt", O_RDONLY)
        slowly = []
        while entries := files.root.readdir(fd, 7):
            slowly += [entry.d_name for entry in entries]
        assert sorted(slowly) == sorted([".", "..", *seen])
        files.root.close(fd)
