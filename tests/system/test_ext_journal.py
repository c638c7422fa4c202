"""Journals that e2fsprogs wrote are replayed here, and journals that are written here are replayed by e2fsck."""

import os
import subprocess
from pathlib import Path

import pytest

from rumpkit.dev.block import BlockDevice
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.ext.journal.mount import open_journal, replayed
from rumpkit.hosts.sim.host import SimHost
from rumpkit.vfs.buffer import BufferCache

pytestmark = [pytest.mark.needs("mke2fs", "debugfs", "e2fsck"), pytest.mark.once]

BLOCK = 1024
FREE = 6000
"""A block that is free in a new file system, and which e2fsck leaves alone."""


def run(*command: str | Path, status: tuple[int, ...] = (0,)) -> str:
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "LC_ALL": "C"}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode in status, done.stdout + done.stderr
    return done.stdout


def image(folder: Path, features: str) -> Path:
    made = folder / "image"
    run("mke2fs", "-q", "-t", "ext4", "-b", str(BLOCK), "-J", "size=1", "-O", features, made, "8M")
    return made


def runs_of(path: Path) -> list[tuple[int, int]]:
    """Where the journal lies, as debugfs says."""
    blocks = run("debugfs", "-R", "blocks <8>", path).splitlines()[-1].split()
    # Blocks of the extent tree itself are none of the file; a journal of 1 MiB has its extents in the inode.
    runs: list[tuple[int, int]] = []
    for block in map(int, blocks):
        if runs and sum(runs[-1]) == block:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((block, 1))
    return runs


def load(path: Path) -> tuple[SimHost, RamDisk, BlockDevice, BufferCache]:
    data = path.read_bytes()
    host = SimHost()
    host.enter()
    disk = RamDisk(len(data))
    disk.write(0, data)
    device = BlockDevice(host, "disk0", 0, disk)
    return host, disk, device, BufferCache(device, BLOCK, 1 << 20)


@pytest.mark.parametrize(
    ("version", "features"), [("", "^64bit"), ("-v 2", "64bit"), ("-v 3", "64bit"), ("-v 3", "^64bit")]
)
def test_a_journal_that_debugfs_wrote_is_replayed(tmp_path: Path, version: str, features: str) -> None:
    path = image(tmp_path, features + (",^metadata_csum" if not version else ""))
    contents = tmp_path / "contents"
    contents.write_bytes(b"\xc0\x3b\x39\x98 escaped".ljust(BLOCK, b"e") + b"plain".ljust(BLOCK, b"p"))
    flag = f"-c {version}" if version else ""
    script = tmp_path / "script"
    script.write_text(f"jo {flag}\njw -b {FREE},{FREE + 1} {contents}\njw -b {FREE + 1} {contents}\njw -r {FREE}\njc\n")
    run("debugfs", "-w", "-f", script, path)
    host, disk, device, cache = load(path)
    runs = runs_of(path)
    through, made = replayed(device, cache, runs)
    assert made.transactions == 3 and made.revoked == 1 and not made.damaged
    assert bytes(BufferCache(through, BLOCK, 1 << 20).get(FREE + 1).data[:12]) == b"\xc0\x3b\x39\x98 escaped"
    _, made = open_journal(host, cache, runs)
    ours = disk.read(0, disk.size)
    run("e2fsck", "-fy", path, status=(0, 1))
    theirs = path.read_bytes()
    place = slice(FREE * BLOCK, (FREE + 2) * BLOCK)
    assert ours[place] == theirs[place]
    assert ours[place][:4] == bytes(4) and ours[place][BLOCK : BLOCK + 4] == b"\xc0\x3b\x39\x98"


@pytest.mark.parametrize("features", ["64bit,metadata_csum", "^64bit,^metadata_csum"])
def test_a_journal_written_here_is_replayed_by_e2fsck(tmp_path: Path, features: str) -> None:
    path = image(tmp_path, features)
    if "^metadata_csum" not in features:
        # e2fsck upgrades such a journal's checksums only when it has to write it: debugfs does so on opening it.
        (tmp_path / "script").write_text("jo -c -v 3\njc\n")
        run("debugfs", "-w", "-f", tmp_path / "script", path)
    host, disk, _, cache = load(path)
    journal, made = open_journal(host, cache, runs_of(path))
    assert made.journal.has_checksums == ("^metadata_csum" not in features)
    for number in range(40):
        journal.begin(3)
        for block in (FREE, FREE + 1 + number, FREE + 100 + number % 7):
            buffer = cache.get(block)
            journal.dirty(buffer)
            buffer.data[:] = (b"\xc0\x3b\x39\x98" if number % 3 else b"data") + bytes([number]) * (BLOCK - 4)
        if number == 30:
            journal.revoke(FREE + 5, 2)
        journal.end()
        journal.sync(True)
    path.write_bytes(disk.read(0, disk.size))
    run("debugfs", "-w", "-R", "feature needs_recovery", path)
    said = run("e2fsck", "-fy", path, status=(0, 1))
    assert "recovering journal" in said and "rror" not in said, said
    theirs = path.read_bytes()
    open_journal(host, BufferCache(load_again(host, disk), BLOCK, 1 << 20), runs_of(path))
    ours = disk.read(FREE * BLOCK, 200 * BLOCK)
    assert theirs[FREE * BLOCK : (FREE + 200) * BLOCK] == ours
    assert ours[4] == 39 and ours[6 * BLOCK] == 0 and ours[10 * BLOCK] != 0


def load_again(host: SimHost, disk: RamDisk) -> BlockDevice:
    return BlockDevice(host, "disk1", 1, disk)
