"""Evil made by hand, looked at in a process that may take little memory and time: an error with a reason, and nothing is written."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fs.fat.test_hostile import entry, first_cluster, link, poke, sample
from tests.system.helpers.extimages import debugfs, make

pytestmark = [pytest.mark.once]
HERE = Path(__file__).parents[2]
SIZE = 20 << 20
BLOCK = 1024
MOST = 400 << 10
"""KiB that a process may have at most, with the interpreter and all that it imported."""
EXTENT_MAGIC = 0xF30A


class Image:
    """An ext4 image of small blocks without checksums, to be made evil."""

    def __init__(self, path: Path, tree: Path) -> None:
        self.path = make(
            path, SIZE, f"-t ext4 -b {BLOCK} -N 512 -I 256 -O ^metadata_csum,^has_journal,^resize_inode", tree
        )
        done = subprocess.run(
            ["e2fsck", "-fyD", path], capture_output=True, text=True
        )  # gives large directories a hash tree
        assert done.returncode in (0, 1), done.stdout
        assert "Hash Version" in debugfs(self.path, "htree /large")
        self.data = bytearray(self.path.read_bytes())

    def inode(self, name: str) -> int:
        """Where an inode lies."""
        said = debugfs(self.path, f"imap {name}").split("located at block")[1].split()
        block = int(said[0].rstrip(","))
        return block * BLOCK + int(said[-1], 16)

    def blocks(self, name: str) -> list[int]:
        """The blocks of a file with those of its extents or attributes."""
        return [int(word) for word in debugfs(self.path, f"blocks {name}").split()]

    def put(self, at: int, text: str, *values: int) -> None:
        struct.pack_into(text, self.data, at, *values)

    def save(self, path: Path) -> str:
        path.write_bytes(self.data)
        return str(path)


def extents_in_a_loop(image: Image) -> None:
    at = image.inode("/sparse") + 40
    assert struct.unpack_from("<HHHH", image.data, at)[3] == 1
    child = struct.unpack_from("<I", image.data, at + 16)[0]
    image.put(at + 6, "<H", 2)
    image.put(child * BLOCK, "<HHHHIIIHH", EXTENT_MAGIC, 1, 84, 1, 0, 0, child, 0, 0)


def a_deep_tree_of_extents(image: Image) -> None:
    at = image.inode("/sparse") + 40
    image.put(at + 6, "<H", 65535)


def extents_that_overlap(image: Image) -> None:
    at = image.inode("/file") + 40
    image.put(at, "<HHHHIIHHIIHHI", EXTENT_MAGIC, 2, 4, 0, 0, 0, 30, 0, 100, 5, 30, 0, 100)


def extents_of_a_giant_length(image: Image) -> None:
    at = image.inode("/file") + 40
    image.put(at, "<HHHHIIHHI", EXTENT_MAGIC, 1, 4, 0, 0, 0xFFFFFFF0, 0x8000, 0, 100)
    image.put(image.inode("/file") + 4, "<I", 0xFFFFFFFF)
    image.put(image.inode("/file") + 108, "<I", 0x3FF)


def data_over_the_inode_table(image: Image) -> None:
    table = struct.unpack_from("<I", image.data, 2 * BLOCK + 8)[0]
    image.put(image.inode("/file") + 40, "<HHHHIIHHI", EXTENT_MAGIC, 1, 4, 0, 0, 0, 20, 0, table)


def two_files_in_one_place(image: Image) -> None:
    one, other = image.inode("/file"), image.inode("/other")
    image.data[one + 40 : one + 100] = image.data[other + 40 : other + 100]


def two_directories_in_one_place(image: Image) -> None:
    one, other = image.inode("/d"), image.inode("/large")
    image.data[one + 40 : one + 100] = image.data[other + 40 : other + 100]


def a_directory_of_giant_size(image: Image) -> None:
    image.put(image.inode("/d") + 4, "<I", 0xFFFFFC00)


def a_hash_tree_in_a_loop(image: Image) -> None:
    block = image.blocks("/large")[0]
    at = block * BLOCK
    image.data[at + 30] = 1  # one level more
    count = struct.unpack_from("<H", image.data, at + 34)[0]
    for number in range(count):
        image.put(at + 36 + 8 * number, "<I", 0)


def a_hash_tree_of_giant_counts(image: Image) -> None:
    at = image.blocks("/large")[0] * BLOCK
    image.put(at + 32, "<HH", 65535, 65535)


def entries_of_no_length(image: Image) -> None:
    at = image.blocks("/d")[0] * BLOCK
    image.put(at + 24 + 4, "<H", 0)


def group_tables_that_overlap(image: Image) -> None:
    table = struct.unpack_from("<I", image.data, 2 * BLOCK + 8)[0]
    size = 64 if struct.unpack_from("<I", image.data, 1024 + 96)[0] & 0x80 else 32
    image.put(2 * BLOCK + size + 8, "<I", table)


def giant_counts(image: Image) -> None:
    image.put(1024, "<II", 0xFFFFFFFF, 0xFFFFFFFF)


def a_giant_free_count(image: Image) -> None:
    image.put(1024 + 12, "<II", 0xFFFFFFFF, 0xFFFFFFFF)


def giant_groups(image: Image) -> None:
    image.put(1024 + 32, "<I", 0xFFFFFFF8)
    image.put(1024 + 40, "<I", 0xFFFFFFF8)


def giant_inodes(image: Image) -> None:
    image.put(1024 + 88, "<H", 0x8000)


def giant_flex_groups(image: Image) -> None:
    image.data[1024 + 372] = 255


def a_giant_cluster(image: Image) -> None:
    image.put(1024 + 28, "<I", 30)
    image.put(1024 + 100, "<I", struct.unpack_from("<I", image.data, 1024 + 100)[0] | 0x200)


def giant_reserved_descriptors(image: Image) -> None:
    image.put(1024 + 206, "<H", 65535)


def attributes_of_giant_size(image: Image) -> None:
    """In the inode: an attribute whose name and value are longer than all there is."""
    at = image.inode("/file")
    extra = struct.unpack_from("<H", image.data, at + 128)[0]
    image.put(at + 128 + extra, "<IBBHIII", 0xEA020000, 255, 1, 0xFFFF, 0, 0xFFFFFFFF, 0)


def an_attribute_in_a_giant_file(image: Image) -> None:
    """Its value is said to be a file, which is the one that has the attribute."""
    at = image.inode("/file")
    number = int(debugfs(image.path, "stat /file").split("Inode: ")[1].split()[0])
    extra = struct.unpack_from("<H", image.data, at + 128)[0]
    image.put(at + 128 + extra, "<IBBHIII1s", 0xEA020000, 1, 1, 0, number, 65536, 0, b"x")  # type: ignore[arg-type]
    image.put(1024 + 96, "<I", struct.unpack_from("<I", image.data, 1024 + 96)[0] | 0x400)


def orphans_in_a_loop(image: Image) -> None:
    number = int(debugfs(image.path, "stat /file").split("Inode: ")[1].split()[0])
    image.put(1024 + 232, "<I", number)
    image.put(image.inode("/file") + 20, "<I", number)


EXT: tuple[Callable[[Image], None], ...] = (
    extents_in_a_loop,
    a_deep_tree_of_extents,
    extents_that_overlap,
    extents_of_a_giant_length,
    data_over_the_inode_table,
    two_files_in_one_place,
    two_directories_in_one_place,
    a_directory_of_giant_size,
    a_hash_tree_in_a_loop,
    a_hash_tree_of_giant_counts,
    entries_of_no_length,
    group_tables_that_overlap,
    giant_counts,
    a_giant_free_count,
    giant_groups,
    giant_inodes,
    giant_flex_groups,
    a_giant_cluster,
    giant_reserved_descriptors,
    attributes_of_giant_size,
    an_attribute_in_a_giant_file,
    orphans_in_a_loop,
)
UNNOTICED = {"giant_flex_groups", "giant_reserved_descriptors"}
"""Only hints for whoever makes or grows a file system."""


def looked_at(kind: str, images: dict[str, bytes], folder: Path) -> dict[str, tuple[str, int, int]]:
    """Look at the images in a process of its own: what the mount says of each, the files seen, the findings."""
    paths = []
    for name, data in images.items():
        (folder / name).write_bytes(data)
        paths.append(str(folder / name))
    command = [sys.executable, "-m", "tests.system.helpers.evil", kind, *paths]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    found: dict[str, tuple[str, int, int]] = {}
    for line in done.stdout.splitlines():
        name, said, seen, findings, peak = line.split("\t")
        assert int(peak) < MOST, (name, peak)
        found[name] = (said, int(seen), int(findings))
    assert list(found) == list(images)
    for name, data in images.items():
        assert (folder / name).read_bytes() == data, f"{name} was written"
    return found


@pytest.mark.needs("mke2fs", "debugfs", "e2fsck")
def test_ext(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "large").mkdir()
    for number in range(150):
        (tree / "large" / f"some-rather-long-name-{number}").touch()
    noise = random.Random(5)
    for name in ("file", "other"):
        (tree / name).write_bytes(noise.randbytes(20_000))
    (tree / "d" / "inside").write_bytes(b"inside")
    with open(tree / "sparse", "wb") as file:
        for at in range(0, 400_000, 20_000):
            file.seek(at)
            file.write(b"x" * 1000)
    images: dict[str, bytes] = {}
    for change in EXT:
        image = Image(tmp_path / "base", tree)
        change(image)
        images[change.__name__] = bytes(image.data)
    folder = tmp_path / "evil"
    folder.mkdir()
    for name, (said, seen, findings) in looked_at("ext4", images, folder).items():
        assert said != "mounted" or findings or name in UNNOTICED, f"nothing was noticed of {name}"
        assert seen < 3000, (name, seen)


def fat_images() -> dict[str, bytes]:
    image = sample(16)
    top = first_cluster(image, entry(image, b"TOP        "))
    directory = first_cluster(image, entry(image, b"DIRECT~1   "))
    giant = struct.pack("<I", 0xFFFFFFFF)
    at = entry(image, b"TOP        ")
    names = entry(image, b"DIRECT~1   ")
    found = {
        "a file in a loop": poke(link(image, top + 4, top), at + 28, giant),
        "a directory in a loop": link(image, directory, directory),
        "two chains that meet": link(image, directory, top + 1),
        "a file of giant size": poke(image, at + 28, giant),
        "clusters of giant count": poke(poke(image, 19, b"\0\0"), 32, giant),
        "a table of giant size": poke(image, 22, b"\xff\xff"),
        "a root directory of giant size": poke(image, 17, b"\xff\xff"),
        "many tables": poke(image, 16, b"\xff"),
        "long names without end": poke(
            image, names - 64, (b"\x7f" + b"A\0" * 5 + b"\x0f\0\0" + b"A\0" * 6 + b"\0\0A\0A\0") * 2
        ),
    }
    root = bytes(b"\x41" + b"A\0" * 5 + b"\x0f\0\0" + b"A\0" * 6 + b"\0\0A\0A\0") * 400
    found["nothing but long names"] = poke(image, image.rindex(b"EVIL       "), root)
    return found


def test_fat(tmp_path: Path) -> None:
    images = {name.replace(" ", "_"): data for name, data in fat_images().items()}
    for name, (said, seen, findings) in looked_at("vfat", images, tmp_path).items():
        assert said != "mounted" or findings, f"nothing was noticed of {name}"
        assert seen < 3000, (name, seen)


def test_a_sound_image_is_not_complained_about(tmp_path: Path) -> None:
    """The same way of looking finds nothing wrong with what is not evil."""
    said, seen, findings = looked_at("vfat", {"sound": sample(16)}, tmp_path)["sound"]
    assert (said, findings) == ("mounted", 0) and seen > 20
