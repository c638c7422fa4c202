"""squashfs read by `rump fs`, beside unsquashfs with one thread: most of either is zlib."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from .result import Result, best
from .storage import FILES, MB, RUMP, folder, make_tree, timed

SIZE = 256 << 20


def make_text(path: Path) -> None:
    """A file that zlib makes some three times smaller."""
    noise = random.Random(1)
    words = [noise.randbytes(noise.randrange(2, 9)).hex().encode() for _ in range(5000)]
    with open(path, "wb") as file:
        while file.tell() < SIZE:
            file.write(b" ".join(noise.choices(words, k=20_000)))
        file.truncate(SIZE)


def squashfs() -> Iterator[Result]:
    """A large file out of an image, and 20,000 small ones."""
    # Files come out in memory where there is any: ext4 makes files slowly for a while after many were removed.
    with folder() as top, TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else top) as memory:
        tree, image, out = top / "tree", top / "image", Path(memory, "out")
        tree.mkdir()
        make_text(tree / "text")
        make_tree(tree / "small")
        subprocess.run(["mksquashfs", tree, image, "-quiet", "-no-progress"], check=True, stdout=subprocess.DEVNULL)
        peer = SIZE / best(lambda: timed("unsquashfs", "-p", "1", "-cat", image, "text"), 3) / MB
        value = SIZE / best(lambda: timed(*RUMP, "cat", f"{image}:/text"), 3) / MB
        yield Result("squashfs: stream 256 MiB out", value, "MB/s", "unsquashfs -p 1 -cat", peer, 0.6, of_peer=True)

        def unpack() -> float:
            subprocess.run(["rm", "-rf", out], check=True)
            return timed("unsquashfs", "-p", "1", "-q", "-n", "-d", out, image, "small")

        def copy() -> float:
            subprocess.run(["rm", "-rf", out], check=True)
            return timed(*RUMP, "cp", "-a", f"{image}:/small", out)

        peer = FILES / best(unpack, 3) / 1e3
        value = FILES / best(copy, 3) / 1e3
        yield Result(
            "squashfs: copy 20,000 small files out", value, "k files/s", "unsquashfs -p 1", peer, 0.2, of_peer=True
        )
