"""What a crash leaves of ext3 and ext4, as e2fsck sees it: its own replay succeeds, and behind ours nothing is wrong."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.fs.crashlab import Operation, Recorded, further_workloads, prepare_further, workloads

pytestmark = [pytest.mark.needs("e2fsck"), pytest.mark.once]

SIZE = 3 << 20


def e2fsck(path: Path, *options: str) -> tuple[int, str]:
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "LC_ALL": "C"}
    done = subprocess.run(["e2fsck", *options, str(path)], capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stdout


FEATURES = {"ext3": "^resize_inode", "ext4": "^resize_inode", "plain": "^resize_inode,^metadata_csum,^64bit"}


def chosen(every: int, further: int) -> list[tuple[Operation, ...]]:
    return [*workloads()[3::every], *further_workloads()[5::further]]


def compare(kind: str, every: int, further: int, limit: int, path: Path) -> int:
    done = 0
    for steps in chosen(every, further):
        name = "ext3" if kind == "ext3" else "ext4"
        run = Recorded(name, SIZE, steps, True, prepare_further, features=FEATURES[kind])
        points = list(run.points(1))
        for count, seed in points[:: max(-(-len(points) // limit), 1)]:
            where = (kind, [step.text for step in steps], count, seed)
            disk = run.image(count, seed)
            path.write_bytes(disk.read(0, SIZE))
            status, said = e2fsck(path, "-p")
            assert status in (0, 1), (where, said)
            status, said = e2fsck(path, "-fn")
            assert status == 0, (where, "behind e2fsck's replay", said)
            run.after(disk, False)
            path.write_bytes(disk.read(0, SIZE))
            status, said = e2fsck(path, "-fn")
            assert status == 0, (where, "behind ours", said)
            done += 1
    return done


@pytest.mark.parametrize("kind", ["ext3", "ext4"])
def test_e2fsck_finds_nothing_after_a_crash(kind: str, tmp_path: Path) -> None:
    assert compare(kind, 1800, 5000, 5, tmp_path / "image") >= 9


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", FEATURES)
def test_e2fsck_finds_nothing_after_many_crashes(kind: str, tmp_path: Path) -> None:
    done = compare(kind, 60, 150, 12, tmp_path / "image")
    print(f"{kind}: {done} crashes")
    assert done > 500
