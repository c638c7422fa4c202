"""Crashes without a journal: a repair makes ext2 sound again nearly always, and what was synced before is there then."""

from __future__ import annotations

import pytest

from tests.fs.crashlab import Recorded, workloads
from tests.fs.ext.fsck.ckhelp import check_disk


def repair_after_crashes(every: int, start: int) -> tuple[int, int]:
    """How many crashes were repaired, and how many could not be."""
    repaired = refused = 0
    for steps in workloads()[start::every]:
        run = Recorded("ext2", 1 << 20, steps, False)
        for count, seed in list(run.points(1))[::3]:
            where = ([step.text for step in steps], count, seed)
            disk = run.image(count, seed)
            sound, found = check_disk(disk, True)
            if not sound:
                refused += 1
                assert "e2fsck" in found[-1].text, where
                continue
            repaired += 1
            seen, found = run.after(disk)
            assert not found, (where, found)
            assert not run.promised(count).check(seen), (where, run.promised(count).check(seen))
    return repaired, refused


def test_a_repair_brings_back_what_was_synced() -> None:
    repaired, refused = repair_after_crashes(250, 5)
    assert repaired > 30 and refused <= repaired // 10


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_many_crashes_are_repaired() -> None:
    repaired, refused = repair_after_crashes(9, 2)
    print(f"ext2: {repaired} crashes repaired, {refused} left to e2fsck")
    assert repaired > 1000 and refused <= repaired // 10
