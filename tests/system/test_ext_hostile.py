"""Images that were tampered with: whatever is wrong is said with EUCLEAN, EIO or the like; nothing hangs, nothing else breaks."""

from __future__ import annotations

import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi import errno as abi
from rumpkit.kern.abi.fcntl import O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR
from tests.system.helpers.extimages import debugfs, make
from tests.vfs.helpers import Client, Files

pytestmark = [pytest.mark.needs("mke2fs", "debugfs"), pytest.mark.once]

EXPECTED = {
    abi.EUCLEAN,
    abi.EIO,
    abi.EINVAL,
    abi.ENOSPC,
    abi.ENOENT,
    abi.EEXIST,
    abi.ELOOP,
    abi.ENOTDIR,
    abi.EISDIR,
    abi.EACCES,
    abi.EPERM,
    abi.EFBIG,
    abi.EROFS,
    abi.ENXIO,
    abi.ENOTEMPTY,
    abi.EMLINK,
    abi.ENODATA,
    abi.ENOTSUP,
    abi.EBUSY,
    abi.ENAMETOOLONG,
}
SIZE = 4 << 20
FEATURES = {
    "ext2": "-t ext2 -b 1024",
    "ext4": "-t ext4 -b 1024 -O ^metadata_csum,^has_journal",
    "inline": "-t ext4 -b 1024 -O ^metadata_csum,^has_journal,inline_data",
    "journal": "-t ext4 -b 1024 -O ^metadata_csum",
    "checksums": "-t ext4 -b 1024 -O ^has_journal",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    noise = random.Random(2)
    (root / "a" / "b").mkdir(parents=True)
    (root / "large").mkdir()
    for number in range(150):
        (root / "large" / f"some-rather-long-name-{number}").touch()
    for size in (0, 30, 100, 3000, 40_000, 400_000):
        (root / f"file-{size}").write_bytes(noise.randbytes(size))
    with open(root / "a" / "sparse", "wb") as file:
        for at in range(0, 400_000, 20_000):
            file.seek(at)
            file.write(b"x" * 1000)
    (root / "link").symlink_to("a/b")
    (root / "long-link").symlink_to("x/" * 100)
    return root


def tolerated(call: Callable[..., object], *arguments: object) -> object:
    """The result, or None where the call says that something is wrong."""
    try:
        return call(*arguments)
    except OSError as problem:
        assert problem.errno in EXPECTED, problem
        assert problem.strerror
        return None


def attach(image: bytes, read_only: bool) -> tuple[Files, bool]:
    files = Files()
    disk = RamDisk(SIZE)
    disk.write(0, image[:SIZE])
    files.entered(files.service("Disks").attach, "disk0", disk)
    try:
        files.mount("ext4", "/mnt", "disk0", read_only=read_only, access_times=False)
    except OSError as problem:
        assert problem.errno in EXPECTED, problem
        assert problem.strerror
        return files, False
    return files, True


def explore(client: Client, path: str, depth: int, left: list[int]) -> None:
    """Look at everything below a directory."""
    fd = tolerated(client.open, path, O_RDONLY | O_DIRECTORY)
    if not isinstance(fd, int):
        return
    names: list[str] = []
    while True:
        entries = tolerated(client.readdir, fd)
        if not isinstance(entries, list) or not entries or len(names) > 3000:
            break
        names += [entry.d_name for entry in entries]
    client.close(fd)
    for name in names:
        if name in (".", "..") or left[0] <= 0:
            continue
        left[0] -= 1
        where = f"{path}/{name}"
        got = tolerated(client.lstat, where)
        if got is None:
            continue
        kind = stat.S_IFMT(got.st_mode)  # type: ignore[attr-defined]
        if kind == stat.S_IFDIR and depth:
            explore(client, where, depth - 1, left)
        elif kind == stat.S_IFLNK:
            tolerated(client.readlink, where)
        elif kind == stat.S_IFREG:
            file = tolerated(client.open, where, O_RDONLY)
            if isinstance(file, int):
                tolerated(client.pread, file, 100_000, 0)
                tolerated(client.pread, file, 5000, max(got.st_size - 5000, 0))  # type: ignore[attr-defined]
                tolerated(client.lseek, file, 0, 4)
                client.close(file)


def change(files: Files, client: Client) -> None:
    """Change what can be changed."""
    for number in range(5):
        fd = tolerated(client.open, f"/mnt/new{number}", O_RDWR | O_CREAT)
        if isinstance(fd, int):
            tolerated(client.write, fd, b"n" * 20_000)
            tolerated(client.fsync, fd)
            tolerated(client.close, fd)
    for name in ("file-3000", "file-400000", "a/sparse"):
        tolerated(client.truncate, f"/mnt/{name}", 2000)
        tolerated(client.unlink, f"/mnt/{name}")
    tolerated(client.mkdir, "/mnt/large/d")
    for number in range(40):
        tolerated(client.mknod, f"/mnt/large/another-long-name-{number}", 0o644)
        tolerated(client.unlink, f"/mnt/large/some-rather-long-name-{number}")
    tolerated(client.rename, "/mnt/a/b", "/mnt/large/b")
    tolerated(client.rename, "/mnt/link", "/mnt/file-100")
    root = files.vfs.mounts()[-1].root
    tolerated(files.entered, root.setxattr, b"user.x", b"1" * 300, 0)
    tolerated(client.sync)
    tolerated(files.entered, files.vfs.unmount, "/mnt")


def flip(image: bytes, noise: random.Random, places: list[int]) -> bytes:
    broken = bytearray(image)
    for _ in range(noise.choice((1, 3, 10))):
        at = noise.choice(places)
        broken[at] ^= 1 << noise.randrange(8)
    return bytes(broken)


def cross(image: bytes, noise: random.Random, places: list[int]) -> bytes:
    """Let numbers that may be of blocks or inodes be other ones, so that things are claimed twice."""
    broken = bytearray(image)
    for _ in range(noise.choice((1, 3, 10, 30))):
        at = noise.choice(places) & ~3
        broken[at : at + 4] = noise.choice((noise.randrange(1, 600), noise.randrange(1, 40), 8192)).to_bytes(
            4, "little"
        )
    return bytes(broken)


def metadata(image: bytes) -> list[int]:
    """Bytes of blocks that hold metadata: those that aren't zero in the first part, and the file system's own."""
    return [at for at in range(1024, 600 * 1024) if image[at]]


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("start", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(10, 200, 10))])
def test_flipped_bits(features, start, tree: Path, tmp_path: Path):
    image = make(tmp_path / "image", SIZE, FEATURES[features], tree).read_bytes()
    places = metadata(image)
    for seed in range(start, start + 10):
        noise = random.Random(f"{features} {seed}")
        broken = (cross if seed & 1 else flip)(image, noise, places)
        files, there = attach(broken, True)
        if there:
            before = broken
            explore(files.root, "/mnt", 6, [2000])
            disk = files.service("Disks").disks()[0].backend
            assert disk.read(0, SIZE) == before
            tolerated(files.entered, files.vfs.unmount, "/mnt")
        files, there = attach(broken, False)
        if there:
            change(files, files.root)


def evil(
    tree: Path, tmp_path: Path, *commands: str, options: str = "-t ext4 -b 1024 -O ^metadata_csum,^has_journal"
) -> bytes:
    image = make(tmp_path / "image", SIZE, options, tree)
    debugfs(image, *commands, write=True)
    return image.read_bytes()


@pytest.mark.parametrize(
    "commands",
    [
        ("sif /file-3000 block[0] 0",),
        ("sif /file-3000 block[1] 0x00050004",),
        ("sif /file-3000 size 0x7fffffffffffffff",),
        ("sif /file-3000 mode 0",),
        ("sif /file-3000 mode 0170644",),
        ("sif /file-3000 file_acl 2",),
        ("sif /file-3000 file_acl 99999999",),
        ("sif /file-3000 links_count 0",),
        ("sif /link size 9999",),
        ("sif /long-link size 0",),
        ("sif /a size 0",),
        ("sif /a size 1000000",),
        ("sif /large flags 0x81000",),
        ("sif /a flags 0x1000",),
        ("sif /a/b mode 0100644",),
        ("ssv inodes_count 77",),
        ("ssv blocks_count 99999999",),
        ("ssv blocks_per_group 0",),
        ("ssv inodes_per_group 0",),
        ("ssv inode_size 3",),
        ("ssv first_data_block 9999",),
        ("ssv log_block_size 30",),
        ("ssv feature_incompat 0x80000000",),
        ("ssv last_orphan 12",),
        ("ssv last_orphan 99999999",),
        ("ssv desc_size 7",),
        ("set_bg 0 inode_table 1",),
        ("set_bg 0 block_bitmap 99999999",),
        ("set_bg 0 inode_bitmap 0",),
    ],
)
def test_evil(commands, tree: Path, tmp_path: Path):
    broken = evil(tree, tmp_path, *commands)
    files, there = attach(broken, True)
    if there:
        explore(files.root, "/mnt", 6, [1000])
    files, there = attach(broken, False)
    if there:
        change(files, files.root)


def test_a_directory_in_itself(tree: Path, tmp_path: Path):
    broken = evil(tree, tmp_path, "unlink /a/b", "link /a /a/b")
    files, there = attach(broken, True)
    assert there
    explore(files.root, "/mnt", 20, [500])
    tolerated(files.root.lstat, "/mnt" + "/a/b" * 100)


def test_a_superblock_with_a_wrong_checksum(tree: Path, tmp_path: Path):
    image = bytearray(make(tmp_path / "image", SIZE, "-t ext4 -b 1024", tree).read_bytes())
    image[1024 + 0x78] ^= 1
    files = Files()
    disk = RamDisk(SIZE)
    disk.write(0, bytes(image))
    files.entered(files.service("Disks").attach, "disk0", disk)
    with pytest.raises(OSError, match="superblock") as caught:
        files.mount("ext4", "/mnt", "disk0")
    assert caught.value.errno == abi.EUCLEAN
