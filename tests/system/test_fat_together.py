"""FAT written and synced by several at once, on a disk whose flushes take time: whenever the power fails, what was synced is there."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.dev.recorder import Write, apply, tear
from rumpkit.dev.seeded import Seeded
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hyper.block import BlockBackend
from rumpkit.kern.abi.fcntl import O_CREAT, O_WRONLY
from rumpkit.vfs.types import Finding, check_format_options
from tests.fs.fat.fatcrash import HARMLESS, TWINS
from tests.system.test_slow_disk import running
from tests.vfs.helpers import COMPONENTS, Files

SIZE = 8 << 20
THREADS = 4


class Tape(BlockBackend):
    """A disk that notes its writes, and of each flush how many of them it covers: those that were there when it began."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.shares_flush = True
        self.disk = RamDisk(size)
        self.slow = False
        self.events: list[Write | int] = []
        self.lock = threading.Lock()

    def read(self, offset: int, size: int) -> bytes:
        return self.disk.read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        with self.lock:
            self.disk.write(offset, data)
            self.events.append(Write(offset, data))

    def flush(self) -> None:
        with self.lock:
            covered = len(self.events)
        if self.slow:
            time.sleep(0.002)
        with self.lock:
            self.events.append(covered)


def kept(events: list[Write | int], count: int, seed: int) -> list[Write]:
    """What a disk has of the first `count` events: what a flush covered, and some of the rest, whole or torn."""
    noise = Seeded(seed)
    durable = max([event for event in events[:count] if isinstance(event, int)], default=0)
    found: list[Write] = []
    for index, event in enumerate(events[:count]):
        if isinstance(event, int):
            continue
        if index < durable:
            found.append(event)
        elif noise.chance(0.5):
            found += tear(event, noise) if noise.chance(0.25) else [event]
    return found


@pytest.fixture
def host() -> Iterator[PosixHost]:
    host = PosixHost(console=-1)
    yield host
    host.close()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_synced_beside_others_is_there(host: PosixHost, seed: int) -> None:
    files = Files(host=host, components=(*COMPONENTS, "fat"))
    tape = Tape(SIZE)
    device = files.entered(files.service("Disks").attach, "disk", tape)
    kind = files.vfs.types.find("vfat")
    files.entered(kind.format, files.vfs, device, check_format_options(kind, {"cluster_size": 1024}))
    files.mount("vfat", "/m", "disk")
    for number in range(THREADS):
        files.root.mkdir(f"/m/d{number}", 0o755)
    files.root.sync()
    before = bytes(tape.disk.read(0, SIZE))
    tape.events.clear()
    tape.slow = True
    promises: list[tuple[int, str, bytes | None]] = []
    """How many events there were, a name, and what is there from then on; None: anything, as it is about to change."""

    def promise(name: str, content: bytes | None) -> None:
        with tape.lock:
            promises.append((len(tape.events), name, content))

    def work(number: int) -> None:
        noise = random.Random(1000 * seed + number)
        client = files.process()
        for turn in range(14):
            name = f"/m/d{number}/file {noise.randrange(5)} with a long name"
            promise(name, None)
            what = noise.random()
            if what < 0.15:
                try:
                    client.unlink(name)
                except OSError:
                    pass
                continue
            if what < 0.3:
                other = f"/m/d{number}/another {noise.randrange(3)}"
                promise(other, None)
                try:
                    client.rename(name, other)
                except OSError:
                    pass
                continue
            content = bytes([turn, number]) * noise.choice((5, 300, 3000, 20_000))
            fd = client.open(name, O_WRONLY | O_CREAT)
            client.ftruncate(fd, 0)
            client.write(fd, content)
            client.fsync(fd)
            promise(name, content)
            client.close(fd)
        client.exit()

    with running(*[lambda number=number: work(number) for number in range(THREADS)]):
        pass
    events = list(tape.events)
    files.entered(files.vfs.unmount, "/m")
    checked = 0
    for count in range(seed % 3, len(events) + 1, max(len(events) // 25, 1)):
        again = Files(components=(*COMPONENTS, "fat"))
        disk = RamDisk(SIZE)
        disk.write(0, before)
        apply(kept(events, count, seed * 7919 + count), disk)
        device = again.entered(again.service("Disks").attach, "disk", disk)
        found: list[Finding] = []
        assert again.entered(kind.check, again.vfs, device, True, found.append), found
        for finding in found:
            assert finding.fixed and any(text in finding.text for text in (*HARMLESS, TWINS)), finding
        again.mount("vfat", "/m", "disk", read_only=True)
        state: dict[str, bytes | None] = {}
        for place, name, content in promises:
            if place <= count:
                state[name] = content
        for name, content in state.items():
            if content is not None:
                assert again.root.get(name) == content, (count, name)
                checked += 1
    assert checked > 20
