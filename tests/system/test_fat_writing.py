"""What rumpkit writes on FAT satisfies fsck.fat after each change, and mtools read it with every file equal."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi.fcntl import O_CREAT, O_RDWR, O_WRONLY
from tests.fs.fat.fatlab import Lab, tree
from tests.vfs.helpers import Client

pytestmark = [pytest.mark.once, pytest.mark.needs("fsck.fat", "mcopy")]

SHAPES: dict[str, tuple[int, dict[str, Any]]] = {
    "floppy": (1440, {}),
    "12-one-fat": (8192, {"fats": 1, "bits": 12, "cluster_size": 4096}),
    "12-sector-4096": (8192, {"bits": 12, "sector_size": 4096, "label": "twelve"}),
    "16": (20480, {}),
    "16-sector-1024": (65536, {"sector_size": 1024, "align": False}),
    "32": (66000, {"bits": 32, "cluster_size": 512, "label": "THIRTY TWO"}),
    "32-small": (8192, {"bits": 32}),
    "32-small-sector-4096": (16384, {"bits": 32, "sector_size": 4096}),
}
"""KiB, and format options."""

MTOOLS = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1"}


def judge(lab: Lab, folder: Path) -> Path:
    """The image in a file, if fsck.fat finds nothing wrong with it."""
    image = folder / "image"
    image.write_bytes(lab.image())
    said = subprocess.run(["fsck.fat", "-n", str(image)], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    return image


def many(client: Client) -> None:
    client.mkdir("many")
    for number in range(200):
        client.put(f"many/a name that is long enough {number}", b"%d" % number)


def fewer(client: Client) -> None:
    for number in range(0, 200, 2):
        client.unlink(f"many/a name that is long enough {number}")


def moved(client: Client) -> None:
    client.mkdir("other")
    for number in range(1, 60, 2):
        client.rename(f"many/a name that is long enough {number}", f"other/{number}.txt")
    client.rename("other", "many/Other Directory")


def punched(client: Client) -> None:
    fd = client.open("grown", O_RDWR | O_CREAT)
    client.pwrite(fd, b"far", 100000)
    client.pwrite(fd, b"near", 5)
    client.close(fd)
    client.truncate("large", 70001)
    client.truncate("grown", 200000)
    client.truncate("second", 0)


def replaced(client: Client) -> None:
    client.rename("large", "LARGER")
    client.put("grown.new", b"new" * 5000)
    client.rename("grown.new", "grown")
    client.rename("Grüße \U0001f600.txt", "grüsse.txt")
    client.rename("LARGER", "Larger")


def interleaved(client: Client) -> None:
    first, second = (client.open(name, O_WRONLY | O_CREAT) for name in ("first", "second"))
    for number in range(100):
        client.write(first, b"1" * 700)
        client.write(second, bytes([number]) * 900)
    client.close(first)
    client.close(second)


def files(client: Client) -> None:
    client.put("SHORT.TXT", b"short")
    client.put("lower.c", b"lower")
    client.put("Grüße \U0001f600.txt", b"beyond the BMP")
    client.put("n" * 251 + ".txt", b"long")
    client.put("large", bytes(range(256)) * 2000)
    client.put("empty")
    client.mkdir("a")
    client.mkdir("a/b")
    client.mkdir("a/b/directory with a name")
    client.put("a/b/directory with a name/+,;=[].x", b"x" * 4097)


def removed(client: Client) -> None:
    client.unlink("a/b/directory with a name/+,;=[].x")
    client.rmdir("a/b/directory with a name")
    client.rmdir("a/b")
    client.unlink("first")


def again(client: Client) -> None:
    for number in range(100):
        client.put(f"many/again {number}", b"again")


CHANGES: tuple[Callable[[Client], None], ...] = (
    files,
    interleaved,
    many,
    fewer,
    moved,
    punched,
    replaced,
    removed,
    again,
)


@pytest.mark.parametrize("shape", SHAPES)
def test_after_each_change_fsck_is_content_and_in_the_end_mtools_read_every_file(shape: str, tmp_path: Path):
    size, options = SHAPES[shape]
    lab = Lab(RamDisk(size * 1024))
    lab.format(**options)
    judge(lab, tmp_path)
    client = lab.up()
    for change in CHANGES:
        change(client)
        before = tree(client)
        lab.down(client)
        image = judge(lab, tmp_path)
        client = lab.up()
        assert tree(client) == before
    if "small" not in shape:
        # mtools take a FAT32 with few clusters for a FAT16.
        assert read_with_mtools(image, tmp_path / "out") == {
            name: data for name, data in before.items() if data is not None
        }


def read_with_mtools(image: Path, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    subprocess.run(["minfo", "-i", str(image), "::"], check=True, env=MTOOLS, capture_output=True)
    subprocess.run(["mdir", "-/", "-i", str(image), "::"], check=True, env=MTOOLS, capture_output=True)
    subprocess.run(
        ["mcopy", "-s", "-n", "-i", str(image), "::*", str(folder)], check=True, env=MTOOLS, capture_output=True
    )
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    name = next((name for name in found if name.startswith("SHORT")), "")
    said = subprocess.run(["mtype", "-i", str(image), f"::{name}"], check=True, env=MTOOLS, capture_output=True)
    assert said.stdout == found[name]
    return found
