"""Images of ext2, ext3 and ext4 made, judged and read by e2fsprogs, and mounted by a kernel in simulated time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rumpkit.hyper.block import BlockBackend
from tests.vfs.helpers import Files

MEBIBYTE = 1 << 20


class FileDisk(BlockBackend):
    """A file as a disk, without a host."""

    def __init__(self, path: Path, read_only: bool = False):
        super().__init__(path.stat().st_size, read_only)
        self.fd = os.open(path, os.O_RDONLY if read_only else os.O_RDWR)
        self.writes = 0

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.fd, size, offset)

    def write(self, offset: int, data: bytes) -> None:
        self.writes += 1
        assert os.pwrite(self.fd, data, offset) == len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        os.close(self.fd)


def run(*command: str | Path) -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="surrogateescape")
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def make(path: Path, size: int, options: str, tree: Path | None = None) -> Path:
    """Make an image of `size` bytes with mke2fs."""
    with open(path, "wb") as image:
        image.truncate(size)
    words = ["mke2fs", "-q", "-F", *options.split()]
    if tree is not None:
        words += ["-d", str(tree)]
    run(*words, path)
    return path


def check(path: Path) -> None:
    """e2fsck finds nothing wrong."""
    done = subprocess.run(["e2fsck", "-fn", str(path)], capture_output=True, text=True, errors="surrogateescape")
    assert done.returncode == 0, f"e2fsck: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-500:]}"


def debugfs(path: Path, *commands: str, write: bool = False) -> str:
    """What debugfs answers."""
    words = ["debugfs", *(["-w"] if write else [])]
    return "".join(run(*words, "-R", command, path) for command in commands)


@contextmanager
def mounted(path: Path, *, read_only: bool = False, where: str = "/mnt", **options: Any) -> Iterator[Files]:
    """A kernel with the image mounted; it is unmounted in the end."""
    files = Files()
    disk = FileDisk(path, read_only)
    files.entered(files.service("Disks").attach, "disk0", disk)
    try:
        files.mount("ext4", where, "disk0", read_only=read_only, **options)
        yield files
        files.entered(files.vfs.unmount, where)
    finally:
        disk.close()
