"""Many who sync at once: each waits for two commits at most, whoever the host lets go on first.

The threads of these tests take turns: one runs until it makes a call of the disk or finds a lock taken, then the seed says which is next.
So a seed is a schedule, and each run of it the same.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from rumpkit.dev.block import BlockDevice
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.ext.journal.mount import open_journal
from rumpkit.fs.ext.journal.replay import write_superblock
from rumpkit.fs.ext.journal.space import LogSpace
from rumpkit.hyper.calls import Alarm, AlarmTarget, Hypercalls, Parker
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.link import Receiver
from rumpkit.hyper.mutex import Mutex
from rumpkit.hyper.time import SECOND
from rumpkit.vfs.buffer import BufferCache
from tests.fs.ext.journal.loghelp import BLOCK, BLOCKS, RUNS, put, superblock

pytestmark = [pytest.mark.once]

THREADS = 8
SYNCS = 12


class Turns(Hypercalls):
    """A host whose threads take turns."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.noise = random.Random(seed)
        self.ready: list[threading.Semaphore] = []
        self.own = threading.local()
        self.part = "device"
        """Whose the locks are that are made now."""
        self.waits: dict[int, int] = {}
        """How often each thread found a lock of the journal taken since it said so."""
        self.done = threading.Event()
        self.alive = 0

    def run(self, tasks: list[Callable[[], None]]) -> None:
        """All of them, to their ends."""
        self.alive = len(tasks)
        problems: list[BaseException] = []
        threads = []
        for task in tasks:
            sign = threading.Semaphore(0)
            self.ready.append(sign)

            def work(task: Callable[[], None] = task, sign: threading.Semaphore = sign) -> None:
                self.own.sign = sign
                sign.acquire()
                try:
                    task()
                except BaseException as problem:  # told below
                    problems.append(problem)
                self.alive -= 1
                if self.ready:
                    self.next()
                else:
                    self.done.set()

            threads.append(threading.Thread(target=work, daemon=True))
        for thread in threads:
            thread.start()
        self.next()
        assert self.done.wait(100)
        if problems:
            raise problems[0]
        assert not self.alive, "somebody waits for ever"

    def next(self) -> None:
        """Let one go on."""
        self.ready.pop(self.noise.randrange(len(self.ready))).release()

    def schedule(self) -> None:
        if hasattr(self.own, "sign"):
            self.ready.append(self.own.sign)
            self.next()
            self.own.sign.acquire()

    def sleep(self) -> None:
        """Until somebody makes this thread ready."""
        if self.ready:
            self.next()
        else:
            self.done.set()
        self.own.sign.acquire()

    def mutex(self) -> Mutex:
        return Turnstile(self, self.part)

    def wall(self) -> int:
        return 0

    def random(self, size: int) -> bytes:
        return self.noise.randbytes(size)

    def alarm(self, target: AlarmTarget) -> Alarm:
        raise NotImplementedError

    def post(self, receiver: Receiver, frame: Frame, delay: int = 0) -> None:
        raise NotImplementedError

    def console_write(self, data: bytes) -> None:
        raise AssertionError(data)

    def enter(self) -> None:
        raise NotImplementedError

    def leave(self) -> None:
        raise NotImplementedError

    def parker(self) -> Parker:
        raise NotImplementedError


class Turnstile(Mutex):
    """A lock that keeps no order at all."""

    def __init__(self, host: Turns, part: str) -> None:
        self.host = host
        self.part = part
        self.taken = False
        self.waiting: list[threading.Semaphore] = []

    def acquire(self) -> None:
        while self.taken:
            if self.part == "journal":
                here = threading.get_ident()
                self.host.waits[here] = self.host.waits.get(here, 0) + 1
            self.waiting.append(self.host.own.sign)
            self.host.sleep()
        self.taken = True

    def release(self) -> None:
        assert self.taken
        self.taken = False
        self.host.ready += self.waiting
        self.waiting = []


@pytest.mark.parametrize("seed", range(25))
def test_each_waits_for_two_commits_at_most(seed: int) -> None:
    host = Turns(seed)
    disk = RamDisk(BLOCK * BLOCKS)
    device = BlockDevice(host, "disk", 0, disk)
    cache = BufferCache(device, BLOCK, 1 << 20)
    write_superblock(LogSpace(cache, RUNS), superblock())
    host.part = "journal"
    journal, _ = open_journal(host, cache, RUNS, 1000 * SECOND)
    host.part = "mount"
    lock = host.mutex()
    host.part = "journal"
    most = 0

    def work(number: int) -> None:
        nonlocal most
        for turn in range(SYNCS):
            lock.acquire()
            put(cache, journal, {100 + number: b"%d" % turn})
            here = threading.get_ident()
            host.waits[here] = 0
            before = journal.counters.commits
            journal.sync(True, lock)
            most = max(most, host.waits[here])
            assert journal.counters.commits > before  # that has this change, or it came with one that began later
            lock.release()

    host.run([lambda number=number: work(number) for number in range(THREADS)])  # type: ignore[misc]
    assert 1 <= most <= 2
    assert journal.counters.commits < THREADS * SYNCS  # they share
    journal.close()
    for number in range(THREADS):
        assert disk.read((100 + number) * BLOCK, 2) == b"%d" % (SYNCS - 1)


@pytest.mark.parametrize("seed", range(10))
def test_each_waits_for_two_flushes_at_most(seed: int) -> None:
    """Of a device, without a journal."""
    host = Turns(seed)
    disk = RamDisk(BLOCK * BLOCKS)
    disk.shares_flush = True
    device = BlockDevice(host, "disk", 0, disk)
    calls = 0

    def work(number: int) -> None:
        nonlocal calls
        for _ in range(SYNCS):
            before = device.counters.flushes
            device.write(number * BLOCK, b"x")
            device.flush()
            calls += 1
            assert device.counters.flushes > before

    host.run([lambda number=number: work(number) for number in range(THREADS)])  # type: ignore[misc]
    assert calls == THREADS * SYNCS and device.counters.flushes < calls  # some share
