"""File systems made here are clean for e2fsck, and have the features and sizes that mke2fs would give them."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from rumpkit.hosts.posix.block import FileBackend
from rumpkit.hosts.sim.host import SimHost
from rumpkit.vfs.types import OptionValue
from tests.fs.ext.mkfs.mkhelp import format_disk

pytestmark = [pytest.mark.needs("mke2fs", "dumpe2fs", "e2fsck"), pytest.mark.once]

K, M, G = 1 << 10, 1 << 20, 1 << 30

CASES: list[tuple[str, int, dict[str, OptionValue]]] = [
    ("ext2", 256 * K, {}),
    ("ext2", 1 * M, {}),
    ("ext3", 8 * M, {}),
    ("ext4", 8 * M, {}),
    ("ext4", 8217 * K, {}),
    ("ext4", 64 * M, {}),
    ("ext4", 600 * M, {}),
    ("ext4", 4 * G, {}),
    ("ext3", 5 * G, {}),
    ("ext4", 200 * M, {"block_size": 2048}),
    ("ext4", 64 * M, {"block_size": 65536}),
    ("ext4", 64 * M, {"features": "^64bit"}),
    ("ext4", 64 * M, {"features": "^metadata_csum"}),
    ("ext4", 64 * M, {"features": "^metadata_csum,uninit_bg"}),
    ("ext2", 64 * M, {"features": "uninit_bg"}),
    ("ext4", 64 * M, {"features": "^flex_bg,^has_journal"}),
    ("ext4", 2 * G, {"features": "^flex_bg,^resize_inode"}),
    ("ext4", 2 * G, {"features": "sparse_super2,^sparse_super,^resize_inode"}),
    ("ext4", 2 * G, {"features": "meta_bg,^resize_inode"}),
    ("ext4", 500 * M, {"features": "^sparse_super,^resize_inode", "block_size": 1024}),
    ("ext4", 64 * M, {"features": "inline_data"}),
    ("ext4", 64 * M, {"features": "metadata_csum_seed,large_dir,ea_inode"}),
    ("ext2", 64 * M, {"features": "none"}),
    ("ext2", 64 * M, {"inode_size": 128}),
    ("ext4", 64 * M, {"inode_size": 512, "inodes": 20000}),
    ("ext4", 600 * M, {"usage": "largefile4"}),
    ("ext3", 300 * M, {"journal_size": 80, "block_size": 1024}),
    ("ext4", 3 * G, {"journal_size": 1024}),
    ("ext4", 3 * G, {"flex_groups": 64, "root_owner": "1000:100", "label": "hello", "reserved_percent": 1}),
]

FLAGS = {
    "block_size": "-b",
    "inode_size": "-I",
    "inodes": "-N",
    "usage": "-T",
    "label": "-L",
    "reserved_percent": "-m",
    "flex_groups": "-G",
}
SAME = re.compile(
    r"Filesystem (volume name|features|flags|state|OS type|revision #)|Default (mount options|directory hash)|Inode|Block|"
    r"Reserved|Overhead|Free|First|Fragment|Group|Flex|Journal (inode|backup)|Total journal|Required|Desired|Maximum|"
    r"Errors|Check interval|Mount count|Directories"
)
"""Lines of dumpe2fs that are the same in a twin."""


def run(*command: str | Path, status: tuple[int, ...] = (0,)) -> str:
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "LC_ALL": "C"}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode in status, done.stdout + done.stderr
    return done.stdout


def mke2fs(path: Path, kind: str, options: dict[str, OptionValue]) -> None:
    command = ["mke2fs", "-q", "-F", "-t", kind]
    extended = ["lazy_itable_init=0", "lazy_journal_init=1"]
    for name, value in options.items():
        if name in FLAGS:
            command += [FLAGS[name], str(value)]
    if "features" in options:
        command += ["-O", str(options["features"])]
    if "journal_size" in options:
        command += ["-J", f"size={options['journal_size']}"]
    if "root_owner" in options:
        extended.append(f"root_owner={options['root_owner']}")
    run(*command, "-E", ",".join(extended), path)


def described(path: Path) -> list[str]:
    lines = run("dumpe2fs", "-h", path).splitlines()
    return [line for line in lines if SAME.match(line)]


def alike(mine: list[str], twin: list[str]) -> bool:
    """Whether two descriptions are the same but for counts, which may differ by a hundredth."""
    for one, other in zip(mine, twin, strict=True):
        if one != other:
            name, value = one.split(":")
            other_name, other_value = other.split(":")
            if name != other_name or not (
                name.startswith(("Free", "Inode", "Reserved block")) or name == "Overhead clusters"
            ):
                return False
            if abs(int(value) - int(other_value)) > int(value) // 100 + 2:
                return False
    return True


@pytest.mark.parametrize(
    "case", [case if case % 2 else pytest.param(case, marks=pytest.mark.long) for case in range(len(CASES))]
)
def test_a_new_file_system_is_clean_and_like_that_of_mke2fs(tmp_path: Path, case: int) -> None:
    kind, size, options = CASES[case]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for path in (ours, theirs):
        path.touch()
        os.truncate(path, size)
    disk = FileBackend(SimHost(), str(ours))
    format_disk(disk, kind, options)
    disk.close()
    assert ours.stat().st_blocks * 512 < 12 * M, "a new image is sparse"
    said = run("e2fsck", "-fn", ours)
    assert "clean" in said or "files" in said
    mke2fs(theirs, kind, options)
    mine, twin = described(ours), described(theirs)
    assert alike(mine, twin), (mine, twin)
