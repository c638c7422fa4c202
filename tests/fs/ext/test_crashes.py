"""The power fails at any moment: ext3 and ext4 are sound behind their log, and all that was synced is there."""

from __future__ import annotations

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.dev.recorder import apply, crash, prefix
from rumpkit.kern.abi.fcntl import O_WRONLY
from rumpkit.vfs.types import Finding
from tests.fs.crashlab import STALE, Operation, Recorded, further_workloads, prepare_further, workloads
from tests.vfs.helpers import Files

SIZE = 3 << 20
KINDS = {
    "ext3": {"features": "^resize_inode"},
    "ext4": {"features": "^resize_inode"},
    "inline": {"features": "^resize_inode,inline_data"},
    "plain": {"features": "^resize_inode,^metadata_csum,^64bit"},
}


def record(kind: str, steps: tuple[Operation, ...], full: bool = False, further: bool = False) -> Recorded:
    name = "ext3" if kind == "ext3" else "ext4"
    prepare = prepare_further if further else fill_log if full else None
    return Recorded(name, SIZE, steps, True, prepare, **KINDS[kind])


def fill_log(files: Files) -> None:
    """Commit small changes until the log is nearly full, so that it is emptied soon."""
    journal = files.vfs.mounts()[-1].volume.transaction  # type: ignore[attr-defined]
    client = files.root
    fd = client.open("/m/kept", O_WRONLY)
    while journal._used < journal._size - 12:
        client.fchmod(fd, 0o600 + journal.counters.commits % 2)
        client.fsync(fd)
    client.close(fd)


def unexplained(found: list[Finding]) -> list[Finding]:
    """A file that is cut or removed may wait for the next mount: that is what the list of orphans is for.  And the superblock, of
    two sectors, may be torn: then it is in the log, or can be told from its checksum alone."""
    waiting = any("wait to be removed" in finding.text for finding in found)
    return [
        finding
        for finding in found
        if "wait to be removed" not in finding.text
        and "the superblock's checksum" not in finding.text
        and not (waiting and "finishes its truncation" in finding.text)
    ]


def go_through(
    kind: str, steps: tuple[Operation, ...], seeds: int, limit: int = 1 << 30, full: bool = False, further: bool = False
) -> int:
    """Crash a workload everywhere; how many crashes that were."""
    run = record(kind, steps, full, further)
    points = list(run.points(seeds))
    if len(points) > limit:
        points = points[:: -(-len(points) // limit)]
    for count, seed in points:
        where = f"{kind}: {', '.join(step.text for step in steps)}: crash after {count} events, seed {seed}"
        disk = run.image(count, seed)
        seen, found = run.after(disk)
        assert not unexplained(found), (where, found)
        assert not run.promised(count).check(seen), (where, run.promised(count).check(seen))
        assert not [name for name, data in seen.items() if STALE in (data or b"")], (where, "old data is shown")
        again, found = run.after(disk)
        assert not found and again == seen, (where, "after the mount", found)
    return len(points)


def crash_twice(kind: str, steps: tuple[Operation, ...], limit: int) -> int:
    """Crash a workload, and then the mount that works it off; how often."""
    run = record(kind, steps)
    done = 0
    points = [count for count, seed in run.points(0)][-1::-3]
    for count in points[:limit]:
        first = run.image(count, None)
        size = first.size
        start = first.read(0, size)
        events = run.mounted(first)
        for place in range(1, len(events) + 1, 2):
            disk = RamDisk(size)
            disk.write(0, start)
            apply(crash(events, place, place) if place % 4 == 1 else prefix(events, place), disk)
            seen, found = run.after(disk)
            where = f"{kind}: {steps}: after {count} events, and {place} of the mount"
            assert not unexplained(found), (where, found)
            assert not run.promised(count).check(seen), (where, run.promised(count).check(seen))
            done += 1
    return done


@pytest.mark.parametrize(("kind", "every", "limit"), [("ext3", 401, 12), ("ext4", 1001, 8), ("inline", 1501, 6)])
def test_some_workloads_survive_every_crash(kind: str, every: int, limit: int) -> None:
    assert sum(go_through(kind, steps, 1, limit) for steps in workloads()[7::every]) >= 10


@pytest.mark.parametrize(("kind", "every", "limit"), [("ext3", 2001, 6), ("ext4", 1501, 8), ("plain", 2501, 6)])
def test_some_further_workloads_survive_every_crash(kind: str, every: int, limit: int) -> None:
    chosen = further_workloads()[11::every]
    assert sum(go_through(kind, steps, 1, limit, further=True) for steps in chosen) >= 10


def test_a_file_that_is_cut_before_it_was_stored_keeps_its_size() -> None:
    """What was to be written behind the cut is forgotten, and the hole before it is there all the same."""
    chosen = {step.text: step for steps in workloads() for step in steps}
    steps = tuple(chosen[text] for text in ("write a 500+9000", "truncate a", "sync"))
    assert go_through("ext4", steps, 0, 4) >= 4


def test_a_log_that_becomes_full_is_emptied_in_the_right_order() -> None:
    assert sum(go_through("ext3", steps, 2, 12, True) for steps in workloads()[300::1500]) > 30


def test_a_crash_while_a_crash_is_worked_off_loses_nothing() -> None:
    assert crash_twice("ext3", workloads()[900], 3) > 10


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("part", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_many_workloads_survive_every_crash(kind: str, part: int) -> None:
    done = sum(go_through(kind, steps, 2, 40) for steps in workloads()[part::6][::25])
    print(f"{kind}, part {part}: {done} crashes")
    assert done > 300


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_many_further_workloads_survive_every_crash(kind: str, part: int) -> None:
    done = sum(go_through(kind, steps, 2, 40, further=True) for steps in further_workloads()[part::4][::60])
    print(f"{kind}, part {part}: {done} crashes of further operations")
    assert done > 120


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", KINDS)
def test_many_survive_with_a_full_log_and_a_second_crash(kind: str) -> None:
    full = sum(go_through(kind, steps, 2, 30, True) for steps in workloads()[5::150])
    twice = sum(crash_twice(kind, steps, 4) for steps in workloads()[11::150])
    print(f"{kind}: {full} crashes with a full log, {twice} during the mount behind another one")
    assert full > 300 and twice > 300
