"""After a power cut at any moment the volume mounts, our fsck makes it sound, and all that was synced is there."""

import pytest

from tests.fs.fat.fatcrash import SHAPES, Workload, recover


@pytest.mark.parametrize("seed", range(len(SHAPES)))
def test_a_power_cut_at_any_moment_costs_nothing_that_was_synced(seed: int):
    workload = Workload(seed, rounds=2)
    count = 0
    for passed, image in workload.points(subsets=1):
        recover(workload, passed, image)
        count += 1
    assert count >= 20
