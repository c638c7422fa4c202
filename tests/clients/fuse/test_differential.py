"""The same calls on a mount and on the host's tmpfs give the same results, errnos and trees."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.clients.fuse import SOLE, FuseOptions
from rumpkit.compose.spec import MountSpec, Spec
from tests.clients.fuse.fuse_helpers import mounted

pytestmark = pytest.mark.needs("fuse", "root")

WAYS = pytest.mark.parametrize(
    "options", [FuseOptions(), SOLE, SOLE._replace(writeback=True)], ids=["shared", "sole", "writeback"]
)
PROGRAM = Path(__file__).parent / "programs" / "fsx.py"
SHARED_MEMORY = "/dev/shm"


@pytest.fixture
def reference() -> Iterator[Path]:
    """A directory on the host's tmpfs."""
    if not os.path.isdir(SHARED_MEMORY):
        pytest.skip("missing: a tmpfs of the host")
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as directory:
        yield Path(directory)


def same(place: Path, reference: Path, seed: int, count: int, *what: str) -> None:
    words = [sys.executable, PROGRAM, place, reference, str(seed), str(count), *what]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"seed {seed}:\n{done.stdout}\n{done.stderr}"


@WAYS
def test_random_calls(tmp_path: Path, reference: Path, options: FuseOptions) -> None:
    with mounted(tmp_path, options) as (kernel, place):
        kernel.process().mkdir("/in")
        same(place / "in", reference, 1, 1000)


@pytest.mark.long
@pytest.mark.timeout(900)
@WAYS
@pytest.mark.parametrize("seed", range(2, 8))
def test_many_random_calls(tmp_path: Path, reference: Path, options: FuseOptions, seed: int) -> None:
    with mounted(tmp_path, options) as (kernel, place):
        kernel.process().mkdir("/in")
        same(place / "in", reference, seed, 10_000)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.needs("mke2fs", "e2fsck")
@pytest.mark.parametrize("seed", range(2))
def test_many_random_calls_on_ext4(tmp_path: Path, reference: Path, seed: int) -> None:
    image, place = tmp_path / "disk.img", tmp_path / "mnt"
    with open(image, "wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", image], check=True)
    place.mkdir()
    with Kernel(Spec(mount=[MountSpec("/data", "ext4", str(image))])) as kernel:
        kernel.process().mkdir("/data/in")
        with kernel.fuse_mount(place, "/data"):
            same(place / "in", reference, seed, 3000)
    done = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def hammer(tmp_path: Path, reference: Path, bits: int, options: FuseOptions, seed: int, count: int) -> None:
    """Contents of a file on a FAT, mapped memory too; sound after it."""
    image, place = tmp_path / "disk.img", tmp_path / "mnt"
    with open(image, "wb") as file:
        file.truncate((40 if bits == 32 else 8) << 20)
    subprocess.run(
        ["mkfs.fat", "-F", str(bits), *(["-s", "1"] if bits != 12 else []), image], check=True, capture_output=True
    )
    place.mkdir()
    with (
        Kernel(Spec(mount=[MountSpec("/data", "vfat", str(image))])) as kernel,
        kernel.fuse_mount(place, "/data", options),
    ):
        same(place, reference, seed, count, "data")
    done = subprocess.run(["fsck.fat", "-n", image], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.needs("mkfs.fat", "fsck.fat")
@pytest.mark.parametrize("bits", [12, 32])
def test_random_data_on_fat(tmp_path: Path, reference: Path, bits: int) -> None:
    hammer(tmp_path, reference, bits, SOLE, 1, 250)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.needs("mkfs.fat", "fsck.fat")
@WAYS
@pytest.mark.parametrize("bits", [12, 16, 32])
@pytest.mark.parametrize("seed", range(2, 5))
def test_much_random_data_on_fat(tmp_path: Path, reference: Path, bits: int, options: FuseOptions, seed: int) -> None:
    hammer(tmp_path, reference, bits, options, seed, 5000)
