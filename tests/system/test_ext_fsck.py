"""Checks and repairs against e2fsck: where that finds something in a damaged image ours does, and what ours repairs is clean for it."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from rumpkit.fs.ext.geometry import Geometry
from rumpkit.fs.ext.group import GroupDescriptor
from tests.fs.ext.fsck.ckhelp import check_bytes

pytestmark = [pytest.mark.needs("mke2fs", "debugfs", "e2fsck"), pytest.mark.once]

KINDS = {
    "ext2": ["-t", "ext2"],
    "ext3": ["-t", "ext3"],
    "ext4": ["-t", "ext4", "-b", "1024"],
    "4k": ["-t", "ext4", "-b", "4096"],
    "plain": ["-t", "ext4", "-O", "^metadata_csum,^64bit"],
    "inline": ["-t", "ext4", "-O", "inline_data"],
}
SHORT = ("ext2", "ext4")
SIZE = "8M"


def run(*command: str | Path, status: tuple[int, ...] = (0,)) -> str:
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "LC_ALL": "C"}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode in status, done.stdout + done.stderr
    return done.stdout


def e2fsck_finds(path: Path) -> bool:
    """Whether it is not clean.  Wrong sums in the superblock are none to it, though it shows them."""
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "LC_ALL": "C"}
    done = subprocess.run(["e2fsck", "-fn", str(path)], capture_output=True, env=environment, check=False)
    return done.returncode != 0


def fill(folder: Path) -> None:
    source = random.Random(1)
    for number in range(3):
        (folder / f"d{number}" / "sub").mkdir(parents=True)
        for index in range(4):
            (folder / f"d{number}" / f"file{index}").write_bytes(source.randbytes(source.choice([0, 50, 3000, 60000])))
        (folder / f"d{number}" / "short").symlink_to("x" * 20)
        (folder / f"d{number}" / "long").symlink_to("y" * 200)
        (folder / f"d{number}" / "hard").hardlink_to(folder / f"d{number}" / "file0")
    (folder / "many").mkdir()
    for number in range(120):
        (folder / "many" / f"a long name of a file, number {number}").touch()
    with (folder / "sparse").open("wb") as file:
        for number in range(8):
            file.seek(number * 300000)
            file.write(b"x" * 5000)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("images")
    (folder / "tree").mkdir()
    fill(folder / "tree")
    made = {}
    for kind, options in KINDS.items():
        path = folder / kind
        run("mke2fs", "-q", "-F", *options, "-d", folder / "tree", path, SIZE)
        run("e2fsck", "-fyD", path, status=(0, 1))
        made[kind] = path.read_bytes()
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_mke2fs_is_sound(images: dict[str, bytes], kind: str) -> None:
    sound, found, _ = check_bytes(images[kind])
    assert sound and not found


def metadata(data: bytes) -> list[list[tuple[int, int]]]:
    """Where metadata lies in an image (byte, bytes), by kind."""
    geometry = Geometry(data[1024:2048], len(data))
    size = geometry.block_size
    table = (geometry.first_data_block + 1) * size
    length = geometry.descriptor_size
    groups = [GroupDescriptor(data[table + at * length :][:length]) for at in range(geometry.groups)]
    inodes = []
    for group in groups:
        start = group.inode_table * size
        for at in range(start, start + geometry.inode_blocks * size, geometry.inode_size):
            if any(data[at : at + geometry.inode_size]):
                inodes.append((at, geometry.inode_size))
    names, trees = [], []
    for at in range(0, len(data), size):
        if data[at + 8 : at + 12] in (b".\0\0\0", b"a lo"):
            names.append((at, size))
        if data[at : at + 2] == b"\x0a\xf3":
            trees.append((at, 200))
    bitmaps = [(place * size, size) for group in groups for place in (group.block_bitmap, group.inode_bitmap)]
    found = [[(1024, 1024)], [(table, geometry.groups * length)], bitmaps, inodes, inodes, names, names, trees]
    return [places for places in found if places]


def compare(images: dict[str, bytes], kind: str, count: int, path: Path) -> tuple[int, int]:
    """Flip single bits of metadata: how often e2fsck finds something, and how often ours does then."""
    data = images[kind]
    places = metadata(data)
    source = random.Random(5)
    theirs = ours = 0
    path.write_bytes(data)
    with path.open("r+b") as file:
        for _ in range(count):
            at, size = source.choice(source.choice(places))
            at += source.randrange(size)
            bad = data[at] ^ 1 << source.randrange(8)
            file.seek(at)
            file.write(bytes([bad]))
            file.flush()
            if e2fsck_finds(path):
                theirs += 1
                try:
                    sound = check_bytes(data[:at] + bytes([bad]) + data[at + 1 :])[0]
                except OSError:
                    sound = False
                ours += not sound
            file.seek(at)
            file.write(data[at : at + 1])
    return theirs, ours


@pytest.mark.parametrize("kind", SHORT)
def test_ours_finds_something_where_e2fsck_does(images: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    theirs, ours = compare(images, kind, 14, tmp_path / "image")
    assert theirs >= 4 and ours == theirs


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_ours_finds_nearly_all_of_many(images: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    theirs, ours = compare(images, kind, 400, tmp_path / "image")
    print(f"{kind}: e2fsck found something in {theirs} of 400, ours in {ours} of those")
    assert theirs > 100 and ours >= 0.99 * theirs


DAMAGE = {
    "clri d2/sub": True,
    "clri d0/file1": True,
    "unlink d1": True,
    "unlink d0/file1": True,
    "sif d0/file2 links_count 7": True,
    "sif d0/file1 links_count 0": True,
    "sif d0/file1 dtime 12345": True,
    "setb 5000 10": True,
    "freei d1/file1": True,
    "seti <900>": True,
    "ssv free_blocks_count 77": True,
    "ssv state 2": True,
    "ln d0/file1 d0/other": True,
    "sif d0/file1 mode 0": False,
    "sif sparse block[5] 5": False,
    "sif d0/file3 blocks 3": True,
    "sif d0/short mode 0100644": False,
    "zap_block -f d1 0": False,
    "ln d1 d2/again": False,
}
"""What debugfs does to an image, and whether a crash leaves the like, so that it is repaired here."""


def mend(images: dict[str, bytes], kind: str, command: str, path: Path) -> None:
    path.write_bytes(images[kind])
    run("debugfs", "-w", "-R", command, path)
    data = path.read_bytes()
    assert data != images[kind]
    sound, found, same = check_bytes(data)
    assert not sound and found and same == data
    repaired, found, after = check_bytes(data, True)
    assert repaired == DAMAGE[command], found
    assert all(finding.fixed == repaired for finding in found)
    if repaired:
        path.write_bytes(after)
        assert not e2fsck_finds(path)
        assert check_bytes(after)[:2] == (True, [])
    else:
        assert after == data and "e2fsck" in found[-1].text


def _mostly(names: list[str]) -> list[object]:
    """Every other one, and the rest where there is time."""
    return [name if index % 2 == 0 else pytest.param(name, marks=pytest.mark.long) for index, name in enumerate(names)]


@pytest.mark.parametrize("command", _mostly(list(DAMAGE)))
def test_what_a_crash_leaves_is_repaired_and_other_things_are_refused(
    images: dict[str, bytes], command: str, tmp_path: Path
) -> None:
    mend(images, "ext4", command, tmp_path / "image")


@pytest.mark.long
@pytest.mark.parametrize(
    "command", [command for command in DAMAGE if "block[" not in command and "setb" not in command]
)
@pytest.mark.parametrize("kind", ["ext2", "ext3", "4k"])
def test_other_kinds_are_repaired_alike(images: dict[str, bytes], kind: str, command: str, tmp_path: Path) -> None:
    mend(images, kind, command, tmp_path / "image")
