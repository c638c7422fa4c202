"""squashfs images that mksquashfs made, with many of its options, read: every file, name and attribute is equal."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.unpack.method import method
from rumpkit.hyper.block import BlockBackend
from rumpkit.kern.abi import errno as abi
from rumpkit.kern.abi.fcntl import MNT_FORCE, O_CREAT, O_RDONLY, O_WRONLY, SEEK_DATA, SEEK_HOLE
from tests.system.fs_tools import apart, complaint, rump
from tests.system.helpers.treecompare import compare, make_tree, read_all
from tests.vfs.helpers import COMPONENTS, Client, Files

pytestmark = [pytest.mark.needs("mksquashfs"), pytest.mark.once]

OPTIONS = {
    "gzip": "-comp gzip",
    "gzip-level": "-comp gzip -Xcompression-level 1 -Xwindow-size 10",
    "xz": "-comp xz -Xbcj x86",
    "lzma": "-comp lzma",
    "lzo": "-comp lzo",
    "lzo-level": "-comp lzo -Xalgorithm lzo1x_1",
    "lz4": "-comp lz4",
    "lz4-hc": "-comp lz4 -Xhc",
    "zstd": "-comp zstd",
    "plain": "-noI -noD -noF -noX",
    "plain-data": "-noD -noF",
    "plain-metadata": "-noI -noX -noId",
    "4k": "-b 4K",
    "1m": "-b 1M",
    "no-fragments": "-no-fragments",
    "tailends": "-tailends",
    "no-padding": "-nopad",
    "no-exports": "-no-exports",
    "no-sparse": "-no-sparse",
    "no-duplicates": "-no-duplicates",
    "all": "-b 16K -tailends -no-exports -nopad -comp lzo",
}
QUICK = ("gzip", "xz", "lzo", "lz4", "zstd", "plain", "4k", "no-fragments", "tailends", "no-exports")
CASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in OPTIONS]


def make(tree: Path, image: Path, options: str = "") -> Path:
    words = ["mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", *options.split()]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return image


@contextmanager
def mounted(disk: BlockBackend) -> Iterator[Client]:
    files = Files(components=(*COMPONENTS, "squashfs"))
    files.entered(files.service("Disks").attach, "disk0", disk)
    files.mount("squashfs", "/mnt", "disk0")
    yield files.root
    files.entered(files.vfs.unmount, "/mnt")


def disk_of(data: bytes) -> RamDisk:
    disk = RamDisk(len(data))
    disk.write(0, data)
    disk.read_only = True
    return disk


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("squashfs") / "tree")


@pytest.mark.parametrize("case", CASES)
def test_what_mksquashfs_made_is_read(case: str, tree: Path, tmp_path: Path) -> None:
    if case == "zstd":
        try:
            method("zstd")
        except OSError:
            pytest.skip("no zstd: Python 3.14 has it, or the package zstandard")
    image = make(tree, tmp_path / "image", OPTIONS[case])
    with mounted(disk_of(image.read_bytes())) as client:
        assert compare(client, "/mnt", tree) > 1200
        first, second = (client.stat(f"/mnt/{name}") for name in ("numbers", "twin"))
        assert first.st_ino != second.st_ino
        nested = "/mnt/" + "/".join(f"level-{level}" for level in range(8))
        assert client.stat(f"{nested}/hard").st_ino == first.st_ino
        assert client.get(f"{nested}/../../../level-5/file") == b"5"


def test_a_compressor_that_is_missing_is_named(tree: Path, tmp_path: Path) -> None:
    try:
        method("zstd")
    except OSError:
        image = make(tree / "level-0", tmp_path / "image", "-comp zstd")
        assert "zstandard" in complaint("ls", f"{image}:/")
    else:
        pytest.skip("nothing is missing")


def test_pieces_of_files_and_their_holes(tree: Path, tmp_path: Path) -> None:
    image = make(tree, tmp_path / "image")
    noise = random.Random(5)
    with mounted(disk_of(image.read_bytes())) as client:
        fd = client.open("/mnt/sparse", O_RDONLY)
        data = (tree / "sparse").read_bytes()
        for _ in range(60):
            at, size = noise.randrange(len(data) + 5000), noise.randrange(1, 400_000)
            assert client.pread(fd, size, at) == data[at : at + size]
        hole = client.lseek(fd, 0, SEEK_HOLE)
        assert 1200 <= hole < 400_000
        found = client.lseek(fd, hole, SEEK_DATA)
        assert hole < found <= 400_000 and not any(data[hole:found])
        client.close(fd)


def test_nothing_is_written(tree: Path, tmp_path: Path) -> None:
    image = make(tree / "level-0", tmp_path / "image")
    before = image.read_bytes()
    with mounted(disk_of(before)) as client:
        for call in (
            lambda: client.open("/mnt/new", O_CREAT | O_WRONLY, 0o644),
            lambda: client.open("/mnt/file", O_WRONLY),
            lambda: client.mkdir("/mnt/new", 0o755),
            lambda: client.unlink("/mnt/file"),
            lambda: client.chmod("/mnt/file", 0o600),
            lambda: client.rename("/mnt/file", "/mnt/other"),
            lambda: client.setxattr("/mnt/file", "user.a", b"b", 0),
            lambda: client.files.entered(client.files.vfs.remount, "/mnt", {"read_only": False}),
        ):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == abi.EROFS
    assert "squashfs can only be read" in complaint("rm", f"{image}:/file", check=125)
    assert "squashfs can only be read" in complaint("mkdir", f"{image}:/new", check=125)
    assert image.read_bytes() == before


def test_the_tools_read_it(tree: Path, tmp_path: Path) -> None:
    image = make(tree, tmp_path / "image", "-comp lz4")
    out = rump("info", image).decode()
    assert "squashfs" in out and "features: lz4, duplicates, exportable" in out
    assert rump("cat", f"{image}:/level-0/file") == b"0"
    assert rump("cp", "-r", f"{image}:/level-0", tmp_path / "copy") == b""
    assert (tmp_path / "copy" / "level-1" / "file").read_text() == "1"
    assert rump("find", f"{image}:/", "-name", "hard").decode().strip().endswith("level-7/hard")
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path], input=rump("tar", "-c", f"{image}:/large"), check=True)
    assert (
        len(list((tmp_path / "large").iterdir() if (tmp_path / "large").exists() else tmp_path.glob("a-name*"))) == 1200
    )
    before = sorted(os.listdir(tree))
    with mounted(disk_of(image.read_bytes())) as client:
        assert sorted(client.names("/mnt")) == before
        assert client.statvfs("/mnt").f_bfree == 0


def tolerated(call, *arguments):
    """The result, or None where the call says that something is wrong."""
    try:
        return call(*arguments)
    except OSError as problem:
        assert problem.errno in (
            abi.EUCLEAN,
            abi.EIO,
            abi.ENOENT,
            abi.ENOTDIR,
            abi.EISDIR,
            abi.ENXIO,
            abi.ELOOP,
            abi.EACCES,
        ), problem
        assert problem.strerror
        return None


@pytest.mark.parametrize("options", ["-comp gzip", "-noI -noX -noId -comp lzo", "-noI -noX -noId -comp lz4"])
@pytest.mark.parametrize("seed", [1, *[pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12)]])
def test_flipped_bits_are_errors_or_other_files(options: str, seed: int, tmp_path: Path) -> None:
    """Whatever is flipped, it is said, and nothing is endless or an exception of another kind."""
    small = tmp_path / "tree"
    (small / "a" / "b").mkdir(parents=True)
    noise = random.Random(seed)
    for number in range(60):
        (small / "a" / f"file-{number}").write_bytes(b"some text " * number)
    (small / "large").write_bytes(noise.randbytes(9000) + bytes(200_000) + b"end" * 20_000)
    (small / "link").symlink_to("a/b")
    data = make(small, tmp_path / "image", options + " -b 4K").read_bytes()
    used = int.from_bytes(data[40:48], "little")
    start = int.from_bytes(data[64:72], "little")
    for turn in range(40):
        bad = bytearray(data)
        for _ in range(noise.choice((1, 1, 3, 10))):
            place = noise.choice((noise.randrange(96), noise.randrange(used), noise.randrange(start, used)))
            bad[place] ^= 1 << noise.randrange(8) if turn % 3 else noise.randrange(1, 256)
        files = Files(components=(*COMPONENTS, "squashfs"))
        files.entered(files.service("Disks").attach, "disk0", disk_of(bytes(bad)))
        try:
            files.mount("squashfs", "/mnt", "disk0")
        except OSError as problem:
            assert problem.errno in (abi.EUCLEAN, abi.EINVAL, abi.ENOTSUP) and problem.strerror
            continue
        read_all(files.root, "/mnt", tolerated)
        files.entered(files.vfs.unmount, "/mnt", None, MNT_FORCE)  # a listing that failed has left its descriptor open


@pytest.mark.needs("fuse")
def test_it_is_mounted_read_only(tree: Path, tmp_path: Path) -> None:
    image = make(tree / "level-0", tmp_path / "image")
    place = tmp_path / "mnt"
    place.mkdir()
    apart("mount", image, place)
    try:
        assert (place / "level-1" / "file").read_text() == "1"
        with pytest.raises(OSError) as caught:
            (place / "new").touch()
        assert caught.value.errno == abi.EROFS
    finally:
        apart("umount", place)
