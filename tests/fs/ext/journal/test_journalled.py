"""Transactions: what is committed survives, what is not leaves no trace, and the log finds its way home."""

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.ext.journal import format as fmt
from rumpkit.hyper.block import BlockBackend
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.errno import EROFS
from tests.fs.ext.journal.loghelp import KINDS, Log, Notes, put

MAGIC = fmt.MAGIC_BYTES


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_committed_is_there_after_a_crash_and_the_rest_is_not(kind: str) -> None:
    log = Log(kind)
    cache, journal, _ = log.mount()
    put(cache, journal, {100: b"committed", 101: MAGIC + b"escaped"})
    journal.sync(True)
    put(cache, journal, {100: b"lost", 102: b"lost"})
    assert log.home(100) == bytes(8), "nothing goes home before its commit"
    cache, journal, found = log.mount()
    assert (found.transactions, found.damaged) == (1, "")
    assert log.home(100) == b"committe" and log.home(101) == MAGIC + b"esca" and log.home(102) == bytes(8)
    assert log.mount()[2].transactions == 0, "the log is empty now"


def test_a_dirty_cache_writes_nothing_of_a_running_transaction() -> None:
    log = Log()
    cache, journal, _ = log.mount()
    put(cache, journal, {100: b"one"})
    cache.sync()
    assert log.home(100) == bytes(8)
    journal.sync(True)
    cache.sync()
    assert log.home(100) == b"one" + bytes(5)


def test_operations_gather_until_there_are_too_many_blocks() -> None:
    log = Log()
    cache, journal, _ = log.mount(limit=10)
    for number in range(9):
        put(cache, journal, {100 + number: b"x"})
    assert journal.counters.commits == 0
    journal.begin(2)
    journal.end()
    assert journal.counters.commits == 1


def test_a_change_is_committed_when_it_is_old() -> None:
    log = Log()
    cache, journal, _ = log.mount(interval=5 * SECOND)
    put(cache, journal, {100: b"x"})
    log.host.now += 4 * SECOND
    put(cache, journal, {100: b"y"})
    assert journal.counters.commits == 0
    log.host.now += SECOND
    put(cache, journal, {101: b"z"})
    assert journal.counters.commits == 1


def test_the_log_wraps_and_is_emptied_by_checkpoints() -> None:
    log = Log("v3")
    cache, journal, _ = log.mount()
    for number in range(600):
        put(cache, journal, {100 + number % 50: b"%d" % number, 200 + number: MAGIC, 900: b"%d" % number})
        journal.sync(False)
    assert journal.counters.checkpoints > 1
    _, _, found = log.mount()
    assert 0 < found.transactions < 600
    assert log.home(900) == b"599".ljust(8, b"\0") and log.home(799) == MAGIC + bytes(4)
    assert all(log.home(100 + number % 50) == (b"%d" % number).ljust(8, b"\0") for number in range(550, 600))


def test_a_checkpoint_during_a_transaction_takes_home_only_what_is_committed() -> None:
    """One transaction fills the log nearly, so that it must be emptied while it is being committed."""
    log = Log()
    cache, journal, _ = log.mount()
    put(cache, journal, {100: b"old", 101: MAGIC})
    journal.sync(False)
    journal.begin(1)
    for block in (100, 101, *range(200, 1150)):
        buffer = cache.get(block)
        journal.dirty(buffer)
        buffer.data[:4] = b"new!"
    journal.end()
    for _ in range(20):
        journal._checkpoint()  # as a commit that finds the log full
    assert (log.home(100), log.home(101), log.home(300)) == (b"old" + bytes(5), MAGIC + bytes(4), bytes(8))
    journal.sync(False)
    log.mount()
    assert (log.home(100), log.home(300)) == (b"new!" + bytes(4),) * 2


def test_a_transaction_larger_than_the_log_aborts_and_says_so() -> None:
    log = Log()
    cache, journal, _ = log.mount()
    notes = Notes()
    journal.attach(notes)
    with pytest.raises(OSError, match="does not fit"):
        put(cache, journal, dict.fromkeys(range(100, 1200), b"x"))
        journal.sync(True)
    assert "does not fit" in notes.reasons[0]
    for call in (lambda: journal.begin(1), lambda: journal.sync(True)):
        with pytest.raises(OSError, match="aborted") as caught:
            call()
        assert caught.value.errno == EROFS
    journal.close()
    cache.sync()
    assert log.home(100) == bytes(8)
    _, _, found = log.mount()
    assert found.error and b"read-only now" in log.host.console


def test_a_freed_block_is_not_replayed_over_its_next_contents() -> None:
    log = Log("v3-64bit")
    cache, journal, _ = log.mount()
    put(cache, journal, {100: b"names", 101: b"keep"})
    journal.sync(False)
    journal.begin(1)
    journal.revoke(100, 1)
    journal.end()
    journal.sync(False)
    cache.write_direct(100, b"file data".ljust(1024))
    cache.flush()
    _, _, found = log.mount()
    assert found.revoked == 1
    assert log.home(100) == b"file dat" and log.home(101) == b"keep" + bytes(4)


def test_a_block_that_is_freed_and_used_again_in_one_transaction_is_replayed() -> None:
    log = Log()
    cache, journal, _ = log.mount()
    put(cache, journal, {100: b"names"})
    journal.sync(False)
    journal.begin(1)
    journal.revoke(100, 1)
    buffer = cache.fresh(100)
    journal.dirty(buffer)
    buffer.data[:5] = b"again"
    journal.end()
    journal.sync(False)
    _, _, found = log.mount()
    assert (found.revoked, log.home(100)) == (0, b"again" + bytes(3))


def test_a_block_that_is_used_again_after_a_revoke_is_replayed() -> None:
    log = Log()
    cache, journal, _ = log.mount()
    put(cache, journal, {100: b"one"})
    journal.sync(False)
    journal.begin(1)
    journal.revoke(100, 1)
    journal.end()
    journal.sync(False)
    put(cache, journal, {100: b"two"})
    journal.sync(False)
    log.mount()
    assert log.home(100) == b"two" + bytes(5)


def test_a_checkpoint_keeps_the_committed_copy_of_a_block_that_is_being_freed() -> None:
    log = Log()
    cache, journal, _ = log.mount()
    put(cache, journal, {100: b"names"})
    journal.sync(False)
    journal.begin(1)
    journal.revoke(100, 1)
    journal.end()
    journal._checkpoint()
    assert log.home(100) == b"names" + bytes(3), "the free is not committed: after a crash the names are still there"


def test_blocks_are_sealed_once_for_each_commit() -> None:
    log = Log()
    cache, journal, _ = log.mount()
    notes = Notes()
    journal.attach(notes)
    journal.sync(True)
    assert notes.seals == 0
    put(cache, journal, {100: b"x"})
    put(cache, journal, {101: b"y"})
    journal.sync(True)
    assert notes.seals == 1


def test_an_unmount_leaves_an_empty_log_and_everything_at_home() -> None:
    log = Log("v2")
    cache, journal, _ = log.mount()
    put(cache, journal, {100: b"x"})
    journal.close()
    assert log.home(100) == b"x" + bytes(7)
    assert fmt.decode_superblock(log.space().read(0), 1024, 1024).start == 0
    assert log.mount()[2].transactions == 0


class Interrupted(BlockBackend):
    """A disk whose first flush ends by Ctrl-C."""

    def __init__(self, disk: RamDisk) -> None:
        super().__init__(disk.size)
        self.disk = disk
        self.calm = False

    def read(self, offset: int, size: int) -> bytes:
        return self.disk.read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        self.disk.write(offset, data)

    def flush(self) -> None:
        if not self.calm:
            self.calm = True
            raise KeyboardInterrupt


@pytest.mark.parametrize("given", [False, True])
def test_a_commit_that_is_interrupted_is_the_last(given: bool) -> None:
    log = Log()
    cache, journal, _ = log.mount()
    put(cache, journal, {100: b"first"})
    journal.sync(True)
    log.device.backend = Interrupted(log.disk)
    put(cache, journal, {100: b"then"})
    lock = log.host.mutex()
    lock.acquire()
    with pytest.raises(KeyboardInterrupt):
        journal.sync(True, lock if given else None)
    lock.release()
    for call in (lambda: journal.begin(1), lambda: journal.sync(True)):
        with pytest.raises(OSError, match="interrupted") as caught:
            call()
        assert caught.value.errno == EROFS
    journal.close()
    _, _, found = log.mount()
    assert found.transactions == 1 and log.home(100) == b"first" + bytes(3)
