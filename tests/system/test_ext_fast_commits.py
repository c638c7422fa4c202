"""Fast commits that the host's Linux made, in an image that is taken away from it: we replay them as Linux does, and e2fsck is content."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpkit.fs.ext.journal.replay import Recovery, load, scan
from rumpkit.fs.ext.journal.space import LogSpace
from rumpkit.fs.ext.open import journal_runs, open_volume
from tests.system.helpers.extimages import FileDisk, check, make, mounted
from tests.system.helpers.hostdirs import loop_mounted, why_no_ext4
from tests.system.helpers.samecalls import LIBC
from tests.vfs.helpers import Client, Files

pytestmark = [pytest.mark.needs("root", "mke2fs", "e2fsck"), pytest.mark.once]
SIZE = 24 << 20
OPTIONS = ("-b 1024", "-b 4096", "-b 1024 -O ^metadata_csum,^64bit")
NAMES = ("a", "b", "c", "d/a", "d/b", "e/x", "e/y", "d/s/q")
DIRECTORIES = ("d", "e", "d/s", "d/t")


def attempt(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except OSError:
        return None


def write(root: Path, noise: random.Random) -> None:
    fd = attempt(os.open, root / noise.choice(NAMES), os.O_RDWR | os.O_CREAT)
    if fd is not None:
        os.pwrite(fd, noise.randbytes(noise.choice((5, 1000, 9000, 60000))), noise.choice((0, 0, 500, 20000, 100000)))
        if noise.random() < 0.6:
            os.fsync(fd)
        os.close(fd)


def sync(root: Path, noise: random.Random) -> None:
    fd = attempt(os.open, root / noise.choice(NAMES), os.O_RDONLY)
    if fd is not None:
        os.fsync(fd)
        os.close(fd)


def rename(root: Path, noise: random.Random) -> None:
    name = root / noise.choice(NAMES)
    if not name.is_dir():
        attempt(os.rename, name, root / noise.choice(NAMES))


def allocate(root: Path, noise: random.Random) -> None:
    fd = attempt(os.open, root / noise.choice(NAMES), os.O_RDWR)
    if fd is not None:
        attempt(os.posix_fallocate, fd, noise.choice((0, 5000)), noise.choice((3000, 50000)))
        os.fsync(fd)
        os.close(fd)


STEPS: tuple[Callable[[Path, random.Random], object], ...] = (
    *[write] * 4,
    sync,
    rename,
    allocate,
    lambda root, noise: attempt(os.unlink, root / noise.choice(NAMES)),
    lambda root, noise: attempt(os.link, root / noise.choice(NAMES), root / noise.choice(NAMES)),
    lambda root, noise: attempt(os.mkdir, root / noise.choice(DIRECTORIES)),
    lambda root, noise: attempt(os.rmdir, root / noise.choice(DIRECTORIES)),
    lambda root, noise: attempt(os.truncate, root / noise.choice(NAMES), noise.choice((0, 700, 5000, 80000))),
    lambda root, noise: attempt(os.symlink, noise.choice(("short", "l" * 70)), root / noise.choice(NAMES)),
    lambda root, noise: attempt(os.chmod, root / noise.choice(NAMES), noise.choice((0o600, 0o644, 0o755))),
)


def work(root: Path, noise: random.Random) -> None:
    """Make files that are committed, and changes to them that are fast-committed in part."""
    for name in DIRECTORIES[:2]:
        (root / name).mkdir()
    for name in ("a", "d/a", "e/x"):
        (root / name).write_bytes(noise.randbytes(noise.choice((10, 3000, 40000))))
    fd = os.open(root, os.O_RDONLY)
    assert LIBC.syncfs(fd) == 0
    for _ in range(noise.choice((5, 15, 40, 80))):
        noise.choice(STEPS)(root, noise)
    os.close(fd)
    with open(root / "last", "wb") as file:
        file.write(b"last")
        file.flush()
        os.fsync(file.fileno())


Found = dict[str, tuple[object, ...]]


def host_tree(root: Path, below: str = "") -> Found:
    """Everything there, but for what Linux's replay makes of directories' links and times."""
    found: Found = {}
    for name in sorted(os.listdir(root / below)):
        path = root / below / name
        got = path.lstat()
        if stat.S_ISDIR(got.st_mode):
            found[f"{below}{name}"] = (oct(got.st_mode),)
            found.update(host_tree(root, f"{below}{name}/"))
        else:
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else os.fsencode(os.readlink(path))
            found[f"{below}{name}"] = (oct(got.st_mode), got.st_nlink, got.st_mtime_ns, got.st_blocks, data)
    return found


def our_tree(client: Client, below: str = "") -> Found:
    found: Found = {}
    for name in sorted(client.names(f"/mnt/{below}")):
        path = f"/mnt/{below}{name}"
        got = client.lstat(path)
        if stat.S_ISDIR(got.st_mode):
            found[f"{below}{name}"] = (oct(got.st_mode),)
            found.update(our_tree(client, f"{below}{name}/"))
        else:
            data = client.readlink(path).encode() if stat.S_ISLNK(got.st_mode) else client.get(path)
            found[f"{below}{name}"] = (oct(got.st_mode), got.st_nlink, got.st_mtime_ns, got.st_blocks, data)
    return found


def tags_in(image: Path) -> int:
    """How many tags of fast commits an image has behind its log."""
    files = Files()
    disk = FileDisk(image, True)
    device = files.entered(files.service("Disks").attach, "disk0", disk)

    def look() -> Recovery:
        volume = open_volume(files.vfs, device)
        space = LogSpace(volume.cache, journal_runs(volume))
        return scan(space, load(space))

    found: Recovery = files.entered(look)
    disk.close()
    return len(found.fast)


def compare(seed: int, folder: Path) -> int:
    """Make an image, and compare what it is to both; how many tags were replayed."""
    where = folder / "mount"
    where.mkdir(exist_ok=True)
    image = make(folder / "image", SIZE, f"-t ext4 -O fast_commit {OPTIONS[seed % len(OPTIONS)]}")
    copies = [folder / name for name in ("host", "read", "written")]
    with loop_mounted(image, where) as root:
        work(root, random.Random(seed))
        for copy in copies:
            subprocess.run(
                ["cp", "--sparse=always", image, copies[0]] if copy is copies[0] else ["cp", copies[0], copy],
                check=True,
            )
    with loop_mounted(copies[0], where) as root:
        expected = host_tree(root)
    tags = tags_in(copies[1])
    before = copies[1].read_bytes()
    with mounted(copies[1], read_only=True) as files:
        assert our_tree(files.root) == expected, f"seed {seed}: read-only"
    assert copies[1].read_bytes() == before
    with mounted(copies[2]) as files:
        assert our_tree(files.root) == expected, f"seed {seed}"
    check(copies[2])
    assert tags_in(copies[2]) == 0
    return tags


def compare_many(seeds: range, folder: Path) -> int:
    if why := why_no_ext4():
        pytest.skip(f"the host mounts no ext4: {why}")
    tags = sum([compare(seed, folder) for seed in seeds])
    if not tags:
        pytest.skip("the host's ext4 makes no fast commits")
    return tags


def test_some(tmp_path: Path) -> None:
    assert compare_many(range(3), tmp_path) > 10


@pytest.mark.long
@pytest.mark.timeout(900)
def test_many(tmp_path: Path) -> None:
    tags = compare_many(range(100, 160), tmp_path)
    print(f"{tags} tags")
    assert tags > 300
