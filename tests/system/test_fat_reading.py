"""What mkfs.fat and mtools make is read with every file equal, over sizes of volumes, sectors and clusters."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fs.fat.fatlab import Lab, tree

pytestmark = [pytest.mark.once, pytest.mark.needs("mkfs.fat", "mcopy")]

SHAPES: dict[str, tuple[int, list[str]]] = {
    "floppy": (1440, ["-F", "12"]),
    "12-big-clusters": (16384, ["-F", "12", "-s", "16", "-n", "TWELVE"]),
    "12-sector-4096": (8192, ["-F", "12", "-S", "4096"]),
    "16": (20480, ["-F", "16", "-s", "4"]),
    "16-one-fat": (20480, ["-F", "16", "-f", "1", "-r", "64", "-n", "ONE FAT"]),
    "16-sector-2048": (65536, ["-F", "16", "-S", "2048"]),
    "32": (40960, ["-F", "32", "-s", "1", "-n", "THIRTYTWO"]),
    "32-sector-4096": (300000, ["-F", "32", "-S", "4096", "-R", "64"]),
    "auto": (131072, []),
}
"""KiB, and options of mkfs.fat."""

FILES: dict[str, bytes] = {
    "README.TXT": b"short and upper\n",
    "lower.txt": b"lower",
    "Mixed Case and long.text": b"x" * 513,
    "empty": b"",
    "deep/er/est/file": bytes(range(256)) * 300,
    "deep/two": b"2" * 4096,
    "Grüße.txt": b"umlauts",
    "日本語のファイル名.txt": b"kanji",
    "n" * 200 + ".name": b"a long name",
    "many.dots.in.a.name": b"dots",
    "+[;,=].x": b"allowed in long names only",
    "large": bytes(range(251)) * 1200,
}


def make(folder: Path, size: int, options: list[str]) -> bytes:
    """An image with FILES and a directory of 150 files in it."""
    image = folder / "image"
    subprocess.run(["mkfs.fat", "-C", *options, str(image), str(size)], check=True, capture_output=True)
    source = folder / "source"
    for name, data in {**FILES, **crowd()}.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    subprocess.run(
        ["mcopy", "-s", "-i", str(image), *map(str, sorted(source.iterdir())), "::"],
        check=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1"},
    )
    return image.read_bytes()


def crowd() -> dict[str, bytes]:
    return {f"crowd/a file with a long name {number}": b"%d" % number for number in range(150)}


LARGE = "32-sector-4096"


@pytest.mark.parametrize(
    "shape", [pytest.param(shape, marks=pytest.mark.long) if shape == LARGE else shape for shape in SHAPES]
)
def test_volumes_of_mkfs_and_mtools_are_read_with_every_file_equal(shape: str, tmp_path: Path):
    size, options = SHAPES[shape]
    image = make(tmp_path, size, options)
    lab = Lab.of(image)
    client = lab.up(read_only=True)
    found = tree(client)
    assert {name: data for name, data in found.items() if data is not None} == {**FILES, **crowd()}
    assert [name for name, data in found.items() if data is None] == ["crowd", "deep", "deep/er", "deep/er/est"]
    assert client.get("DEEP/ER/Est/FILE") == FILES["deep/er/est/file"]
    lab.down(client)
    assert lab.image() == image
