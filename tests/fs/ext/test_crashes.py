"""The power fails at any moment: ext3 and ext4 are sound behind their log, and all that was synced is there."""

from __future__ import annotations

import pytest

from rumpkit.vfs.types import Finding
from tests.fs.crashlab import Operation, Recorded, workloads

SIZE = 3 << 20
KINDS = {
    "ext3": {"features": "^resize_inode"},
    "ext4": {"features": "^resize_inode"},
    "inline": {"features": "^resize_inode,inline_data"},
}


def record(kind: str, steps: tuple[Operation, ...]) -> Recorded:
    return Recorded("ext3" if kind == "ext3" else "ext4", SIZE, steps, True, **KINDS[kind])


def unexplained(found: list[Finding]) -> list[Finding]:
    """A file that is cut or removed may wait for the next mount: that is what the list of orphans is for."""
    waiting = any("wait to be removed" in finding.text for finding in found)
    return [
        finding
        for finding in found
        if "wait to be removed" not in finding.text and not (waiting and "finishes its truncation" in finding.text)
    ]


def go_through(kind: str, steps: tuple[Operation, ...], seeds: int, limit: int = 1 << 30) -> int:
    """Crash a workload everywhere; how many crashes that were."""
    run = record(kind, steps)
    points = list(run.points(seeds))
    if len(points) > limit:
        points = points[:: -(-len(points) // limit)]
    for count, seed in points:
        where = f"{kind}: {', '.join(step.text for step in steps)}: crash after {count} events, seed {seed}"
        disk = run.image(count, seed)
        seen, found = run.after(disk)
        assert not unexplained(found), (where, found)
        assert not run.promised(count).check(seen), (where, run.promised(count).check(seen))
        again, found = run.after(disk)
        assert not found and again == seen, (where, "after the mount", found)
    return len(points)


@pytest.mark.parametrize("kind", KINDS)
def test_some_workloads_survive_every_crash(kind: str) -> None:
    chosen = workloads()[7::401][:6]
    assert sum(go_through(kind, steps, 1, 12) for steps in chosen) > 30


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("part", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_many_workloads_survive_every_crash(kind: str, part: int) -> None:
    done = sum(go_through(kind, steps, 2, 40) for steps in workloads()[part::6][::25])
    print(f"{kind}, part {part}: {done} crashes")
    assert done > 300
