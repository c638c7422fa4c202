"""After a power cut at any moment our fsck makes of the volume what fsck.fat finds nothing wrong with, and all that was synced is there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fs.fat.fatcrash import Workload, recover

pytestmark = [pytest.mark.once, pytest.mark.needs("fsck.fat")]


def survive(seed: int, rounds: int, subsets: int, folder: Path) -> int:
    """Go through a workload's crash points; how many there were."""
    workload = Workload(seed, rounds)
    count = 0
    for passed, image in workload.points(subsets):
        lab = recover(workload, passed, image)
        path = folder / "image"
        path.write_bytes(lab.image())
        said = subprocess.run(["fsck.fat", "-n", str(path)], capture_output=True, text=True)
        assert said.returncode == 0, f"crash point {count} of workload {seed}: {said.stdout}{said.stderr}"
        count += 1
    return count


def test_a_hundred_power_cuts(tmp_path: Path):
    assert sum([survive(seed, 1, 1, tmp_path) for seed in (1, 2)]) > 100


@pytest.mark.long
@pytest.mark.timeout(900)
def test_thousands_of_power_cuts(tmp_path: Path):
    points = sum([survive(seed, 3, 2, tmp_path) for seed in range(100, 120)])
    print(f"{points} crash points")
    assert points > 2500
