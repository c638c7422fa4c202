"""FAT images: a tree of small files and one large one, beside mtools, which do the same without privileges."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .result import Result, best
from .storage import FILES, GIB, MB, RUMP, folder, make_tree, timed

SIZE = "600M"
LARGE = "1200M"
MTOOLS = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}


def blank(image: Path, size: str) -> Path:
    """An empty volume, as mkfs.fat makes it."""
    image.unlink(missing_ok=True)
    kib = int(size.removesuffix("M")) * 1024
    subprocess.run(
        ["mkfs.fat", "-C", image, str(kib)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return image


def fat() -> Iterator[Result]:
    """20,000 small files into a FAT32 image; 1 GiB in and out."""
    os.environ.update(MTOOLS)
    with folder() as top:
        tree, ours, theirs = top / "tree", top / "ours.img", top / "theirs.img"
        make_tree(tree)
        folders = sorted(tree.iterdir())

        def fill() -> float:
            ours.unlink(missing_ok=True)
            return timed(*RUMP, "mkfs", "-t", "vfat", "--size", SIZE, "-d", tree, ours)

        speed = FILES / best(lambda: timed("mcopy", "-s", "-i", blank(theirs, SIZE), *folders, "::"), 2) / 1e3
        value = FILES / best(fill, 3) / 1e3
        yield Result("vfat: mkfs -d with 20,000 small files", value, "k files/s", "mcopy -s", speed, 1, of_peer=True)
        value = FILES / best(lambda: timed(*RUMP, "cp", "-a", "--in-place", tree, f"{blank(ours, SIZE)}:/"), 3) / 1e3
        yield Result("vfat: copy them in, in place", value, "k files/s", "mcopy -s", speed, 1, of_peer=True)
        subprocess.run(["fsck.fat", "-n", ours], check=True, stdout=subprocess.DEVNULL)
        yield from _streams(top)


def _streams(top: Path) -> Iterator[Result]:
    big, ours, theirs = top / "big", top / "ours.img", top / "theirs.img"
    with open(big, "wb") as file:
        for _ in range(64):
            file.write(os.urandom(GIB // 64))
    speed = GIB / best(lambda: timed("mcopy", "-i", blank(theirs, LARGE), big, "::big"), 2) / MB
    value = GIB / best(lambda: timed(*RUMP, "cp", "--in-place", big, f"{blank(ours, LARGE)}:/big"), 3) / MB
    yield Result("vfat: stream 1 GiB in, in place", value, "MB/s", "mcopy (not durable)", speed, 800)
    speed = GIB / best(lambda: timed("mtype", "-i", theirs, "::big"), 2) / MB
    value = GIB / best(lambda: timed(*RUMP, "cat", f"{ours}:/big"), 3) / MB
    yield Result("vfat: stream 1 GiB out", value, "MB/s", "mtype", speed, 1200)
