"""A mount of a kernel's tmpfs: files made, opened, removed and read by a process of its own, beside the host's tmpfs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rumpkit import Kernel
from rumpkit.clients.fuse import SOLE

from .result import Result

FILES = 20_000
ROUNDS = 3
BARS = {
    "creates": (15, "k/s"),
    "opens": (50, "k/s"),
    "unlinks": (None, "k/s"),
    "looks for what is not there": (None, "k/s"),
    "writes of 1 MiB": (None, "GB/s"),
    "reads from the server": (None, "GB/s"),
    "cached reads": (1, "GB/s"),
}
CLIENT = """
import os, sys, time
place, files = sys.argv[1], int(sys.argv[2])
folder, buffer, size = place + "/folder", bytearray(1 << 20), 256 << 20

def rate(count, unit, call):
    started = time.perf_counter()
    call()
    print(count / (time.perf_counter() - started) / unit)

def create():
    for number in range(files):
        os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY, 0o644))

def opened():
    for number in range(2 * files):
        os.close(os.open(f"{folder}/{number % 1000}", os.O_RDONLY))

def unlink():
    for number in range(files):
        os.unlink(f"{folder}/{number}")

def look():
    for number in range(files):
        os.path.exists(f"{folder}/{number}x")

def write():
    for _ in range(size >> 20):
        os.write(big, buffer)

def read():
    os.lseek(big, 0, os.SEEK_SET)
    while os.readv(big, [buffer]):
        pass

os.mkdir(folder)
rate(files, 1e3, create)
rate(2 * files, 1e3, opened)
rate(files, 1e3, unlink)
rate(files, 1e3, look)
big = os.open(place + "/big", os.O_CREAT | os.O_RDWR)
rate(size, 1e9, write)
os.fsync(big)
os.posix_fadvise(big, 0, 0, os.POSIX_FADV_DONTNEED)
rate(size, 1e9, read)
rate(size, 1e9, read)
os.close(big)
os.unlink(place + "/big")
os.rmdir(folder)
"""


def fuse() -> Iterator[Result]:
    """The median of three rounds each, ours and the host's tmpfs in turn."""
    ours: list[list[float]] = []
    unchecked: list[list[float]] = []
    theirs: list[list[float]] = []
    for _ in range(ROUNDS):
        for options, rounds in ((SOLE, ours), (SOLE._replace(permissions=False), unchecked)):
            with (
                tempfile.TemporaryDirectory() as directory,
                Kernel(mounts={"/": "tmpfs"}) as kernel,
                kernel.fuse_mount(directory, options=options),
            ):
                rounds.append(measured(directory))
        shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
        with tempfile.TemporaryDirectory(dir=shared) as directory:
            theirs.append(measured(directory))
    for place, (name, (bar, unit)) in enumerate(BARS.items()):
        value, peer = (sorted(round[place] for round in rounds)[ROUNDS // 2] for rounds in (ours, theirs))
        yield Result(f"FUSE mount: {name}", value, unit, "host tmpfs", peer, bar)
        if name == "creates":  # two requests each instead of three
            value = sorted(round[place] for round in unchecked)[ROUNDS // 2]
            yield Result("FUSE mount: creates, permissions=False", value, unit, "host tmpfs", peer, bar)


def measured(directory: str) -> list[float]:
    """What the client measures in a directory."""
    words = [sys.executable, "-c", CLIENT, directory, str(FILES)]
    said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=600, env=os.environ).stdout
    return [float(line) for line in said.split()]
