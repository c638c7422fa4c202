"""Power cuts: random workloads on a FAT volume, every write and flush recorded, and what a disk may hold after a crash in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.dev.recorder import Durable, Flush, Mark, RecorderBackend, apply, crash, prefix
from rumpkit.kern.abi.fcntl import O_APPEND, O_CREAT, O_TRUNC, O_WRONLY
from tests.fs.fat.fatlab import Lab, tree
from tests.vfs.helpers import Client

SHAPES: tuple[tuple[int, dict[str, Any]], ...] = (
    (160, {"bits": 12, "cluster_size": 512, "root_entries": 112, "align": False}),
    (5000, {"bits": 16, "cluster_size": 1024}),
    (600, {"bits": 32, "cluster_size": 512}),
    (1200, {"bits": 32, "cluster_size": 2048}),
)
NAMES = ("a", "b.txt", "a long name for a file.text", "another very long name of a file", "Ünï \U0001f600", "c" * 60)
DIRECTORIES = ("", "d/", "a directory with a name/")


class Step(NamedTuple):
    """What a workload did between two marks, by file."""

    changed: set[str]
    """Written, truncated, removed, made: what they hold is open."""
    moved: list[tuple[str, str]]
    """Old and new names, in order."""
    before: dict[str, bytes | None]
    """What was durable before."""


class Workload:
    """One random workload: `base` is the disk at first, `events` what happened to it, `steps` what must have survived."""

    def __init__(self, seed: int, rounds: int = 3, operations: int = 3) -> None:
        self.random = Random(seed)
        size, options = SHAPES[seed % len(SHAPES)]
        lab = Lab(RamDisk(size * 1024))
        lab.format(volume_id=7, **options)
        client = lab.up()
        for directory in DIRECTORIES[1:]:
            client.mkdir(directory)
        for number in range(6):
            client.put(self.random.choice(DIRECTORIES) + self.random.choice(NAMES), self.data(number))
        client.put("gone", bytes(3000))
        client.unlink("gone")
        lab.down(client)
        self.base = lab.image()
        disk = RamDisk(len(self.base))
        disk.write(0, self.base)
        self.recorder = RecorderBackend(disk)
        self.lab = Lab(self.recorder)
        self.client = self.lab.up()
        self.steps: list[Step] = []
        for _ in range(rounds):
            self.round(operations)
        self.begin()
        self.lab.down(self.client)
        self.events = self.recorder.events

    def data(self, salt: int) -> bytes:
        return (
            bytes([self.random.randrange(1, 256)]) * self.random.choice((0, 10, 512, 1500, 5000, 9000)) + b"%d" % salt
        )

    def begin(self) -> None:
        self.steps.append(Step(set(), [], tree(self.client)))
        self.recorder.mark(str(len(self.steps) - 1))

    def round(self, operations: int) -> None:
        self.begin()
        for _ in range(operations):
            self.random.choice(OPERATIONS)(self)
        names = [name for name, data in tree(self.client).items() if data is not None]
        if names and self.random.random() < 0.7:
            fd = self.client.open(self.random.choice(names), O_WRONLY)
            self.client.fsync(fd)
            self.client.close(fd)
        else:
            self.lab.entered(self.lab.vfs.sync)

    def some(self) -> str:
        names = [name for name, data in tree(self.client).items() if data is not None]
        return self.random.choice(names) if names else self.fresh()

    def fresh(self) -> str:
        return self.random.choice(DIRECTORIES) + self.random.choice(NAMES)

    # What may happen

    def write(self) -> None:
        name = self.fresh()
        self.steps[-1].changed.add(name)
        fd = self.client.open(name, O_WRONLY | O_CREAT | O_TRUNC)
        self.client.write(fd, self.data(1) or b"x")
        self.client.close(fd)

    def append(self) -> None:
        name = self.some()
        self.steps[-1].changed.add(name)
        fd = self.client.open(name, O_WRONLY | O_CREAT | O_APPEND)
        self.client.write(fd, self.data(2) or b"x")
        self.client.close(fd)

    def truncate(self) -> None:
        name = self.some()
        if name in tree(self.client):
            self.steps[-1].changed.add(name)
            self.client.truncate(name, self.random.choice((0, 1, 700, 2000, 6000)))

    def unlink(self) -> None:
        name = self.some()
        if name in tree(self.client):
            self.steps[-1].changed.add(name)
            self.client.unlink(name)

    def rename(self) -> None:
        old, new = self.some(), self.fresh()
        if old in tree(self.client) and old != new:
            self.steps[-1].moved.append((old, new))
            self.client.rename(old, new)

    def many(self) -> None:
        for number in range(self.random.choice((3, 20))):
            name = f"d/one of many files {number} {self.random.randrange(100)}"
            self.steps[-1].changed.add(name)
            self.client.put(name, b"%d" % number)

    def mkdir(self) -> None:
        name = f"new directory {self.random.randrange(1000)}"
        if name not in tree(self.client):
            self.client.mkdir(name)
            self.steps[-1].changed.update((name, name + "/in it"))
            self.client.put(name + "/in it", b"in it" * 300)

    # What a disk may hold

    def points(self, subsets: int) -> Iterator[tuple[int, bytes]]:
        """Each crash point: how many marks were passed, and the disk: the whole prefix, and `subsets` seeded ones."""
        passed = 0
        for count, event in enumerate(self.events, 1):
            if isinstance(event, Mark):
                passed = int(event.note)
            for seed in range(1 + (0 if isinstance(event, Mark | Durable | Flush) else subsets)):
                disk = RamDisk(len(self.base))
                disk.write(0, self.base)
                apply(crash(self.events, count, 1000 * count + seed) if seed else prefix(self.events, count), disk)
                yield passed, disk.read(0, disk.size)

    def explain(self, passed: int, found: dict[str, bytes | None]) -> list[str]:
        """What was durable at mark `passed` and is not among the files found."""
        step = self.steps[passed]
        lost = []
        for name, data in step.before.items():
            places = {name}
            replaced = False
            for old, new in step.moved:
                if old in places:
                    places.add(new)
                elif new in places:
                    replaced = True
            if replaced or places & step.changed:
                continue
            if not any(place in found and found[place] == data for place in places):
                lost.append(name)
        return lost


OPERATIONS: tuple[Callable[[Workload], None], ...] = (
    Workload.write,
    Workload.write,
    Workload.append,
    Workload.truncate,
    Workload.unlink,
    Workload.rename,
    Workload.rename,
    Workload.many,
    Workload.mkdir,
)


HARMLESS = (
    "the volume was not unmounted",
    "clusters are in use, but no file has them",
    "the chain goes on behind",
    "no bytes, but clusters",
    "parts of long names belong to no file",
    "something lies behind the end",
    "is not like FAT 1",
    "FSInfo says",
)
"""What a crash may leave.  None of it takes anything from a file that was there."""
TWINS = "it is the same file as"
"""What it may leave of a file that was being moved."""


def recover(workload: Workload, passed: int, image: bytes) -> Lab:
    """Mount what a crash left, repair it, and see that everything durable is there; returns the volume, sound and unmounted."""
    lab = Lab.of(image)
    client: Client = lab.up(read_only=True)
    client.names(".")
    lab.down(client)
    moved = any(step.moved for step in workload.steps[passed : passed + 2])
    for finding in lab.check(repair=True)[1]:
        assert any(text in finding.text for text in (*HARMLESS, *((TWINS,) if moved else ()))), finding
        assert finding.fixed
    clean, found = lab.check()
    assert clean and not found
    client = lab.up(read_only=True)
    assert workload.explain(passed, tree(client)) == []
    lab.down(client)
    return lab
