"""Replay: which transactions of a log count, what hostile logs do, and reading through a log without a write."""

import pytest

from rumpkit.fs.ext.crc import crc32c
from rumpkit.fs.ext.journal import fastcommit
from rumpkit.fs.ext.journal import format as fmt
from rumpkit.fs.ext.journal.mount import replayed
from rumpkit.fs.ext.journal.replay import load, scan, write_superblock
from rumpkit.fs.ext.journal.space import LogSpace
from rumpkit.kern.abi.errno import EROFS, EUCLEAN
from rumpkit.vfs.buffer import BufferCache
from tests.fs.ext.journal.loghelp import BLOCK, BLOCKS, KINDS, Log, put


def written(kind: str, count: int = 3) -> Log:
    """A log with so many transactions of two blocks: four blocks of the log each, from 1 on."""
    log = Log(kind)
    cache, journal, _ = log.mount()
    for number in range(count):
        put(cache, journal, {100 + number: b"contents", 50: b"number %d" % number})
        journal.sync(False)
    return log


def spoil(log: Log, block: int, at: int, value: bytes) -> None:
    space = log.space()
    data = bytearray(space.read(block))
    data[at : at + len(value)] = value
    space.write(block, bytes(data))


def found(log: Log) -> tuple[int, str]:
    space = log.space()
    made = scan(space, load(space))
    return made.transactions, made.damaged


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_ends_where_a_commit_block_is_missing(kind: str) -> None:
    log = written(kind)
    assert found(log) == (3, "")
    spoil(log, 8, 0, b"\0")
    assert found(log) == (1, "")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "v2" in kind or "v3" in kind])
def test_a_log_ends_at_a_descriptor_or_a_commit_with_a_wrong_checksum(kind: str) -> None:
    log = written(kind)
    spoil(log, 12, 0x30, b"\x77")
    assert found(log) == (2, "")
    spoil(log, 5, 20, b"\x77")
    assert found(log) == (1, "")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "v2" in kind or "v3" in kind])
def test_a_wrong_block_in_a_committed_transaction_is_damage(kind: str) -> None:
    log = written(kind)
    spoil(log, 7, 100, b"\x77")
    transactions, damaged = found(log)
    assert transactions == 1 and damaged.startswith("transaction 2: the checksum of block")
    with pytest.raises(OSError, match="checksum of block") as caught:
        log.mount()
    assert caught.value.errno == EUCLEAN and log.home(50) == bytes(8)


def test_a_log_with_checksums_of_version_1_ends_where_one_is_wrong() -> None:
    log = written("v1")
    spoil(log, 7, 100, b"\x77")
    assert found(log) == (1, "")


def test_numbers_of_transactions_wrap() -> None:
    log = Log("v3")
    space = log.space()
    journal = load(space)
    journal.sequence = 0xFFFFFFFE
    write_superblock(space, journal)
    cache, made, _ = log.mount()
    for number in range(4):
        put(cache, made, {100: b"%d" % number})
        made.sync(False)
    _, _, recovery = log.mount()
    assert (recovery.transactions, recovery.next_sequence) == (4, 3)


def test_a_transaction_that_writes_behind_the_device_is_refused() -> None:
    log = written("plain")
    spoil(log, 5, 12, BLOCKS.to_bytes(4, "big"))
    with pytest.raises(OSError, match="behind the device's end") as caught:
        log.mount()
    assert caught.value.errno == EUCLEAN and log.home(50) == bytes(8)


def test_a_log_that_names_itself_over_and_over_ends() -> None:
    """Every block of the log is a descriptor of as many blocks as fit: what they name is skipped, once round."""
    log = written("plain", 1)
    space = log.space()
    journal = load(space)
    full = fmt.encode_descriptor(journal, 1, [fmt.Tag(1, 0)] * fmt.tags_per_block(journal), 0)
    for block in range(1, 1024):
        space.write(block, full)
    assert found(log) == (0, "")


@pytest.mark.parametrize("runs", [((5000, 3),), ((4090, 7),), ((0, 3),), ((5, 0),), ((5, -1),)])
def test_a_journal_outside_of_the_device_is_refused(runs: tuple[tuple[int, int], ...]) -> None:
    log = Log()
    with pytest.raises(OSError, match="outside") as caught:
        LogSpace(BufferCache(log.device, BLOCK, 1 << 20), runs)
    assert caught.value.errno == EUCLEAN


def test_a_read_only_mount_reads_through_the_log_and_writes_nothing() -> None:
    log = Log("v3")
    cache, journal, _ = log.mount()
    put(cache, journal, {100: b"newer", 102: fmt.MAGIC_BYTES + b"data"})
    journal.sync(False)
    before = log.disk.read(0, BLOCK * BLOCKS)
    through, made = replayed(log.device, BufferCache(log.device, BLOCK, 1 << 20), log.runs)
    assert made.transactions == 1 and through.size() == log.device.size()
    over = BufferCache(through, BLOCK, 1 << 20)
    assert over.get(100).data[:6] == b"newer\0" and over.get(102).data[:8] == fmt.MAGIC_BYTES + b"data"
    assert over.read_direct(99, 4)[BLOCK : BLOCK + 5] == b"newer"
    assert through.read(100 * BLOCK + 1, 3) == b"ewe" and through.read(102 * BLOCK - 2, 4) == b"\0\0\xc0\x3b"
    with pytest.raises(OSError) as caught:
        over.write_direct(100, bytes(BLOCK))
    assert caught.value.errno == EROFS
    assert log.disk.read(0, BLOCK * BLOCKS) == before
    journal.close()
    clean = BufferCache(log.device, BLOCK, 1 << 20)
    assert replayed(log.device, clean, log.runs)[0] is log.device


def fast_commit(tid: int, good: bool = True) -> bytes:
    head = b"\x09\0\x08\0" + bytes(4) + tid.to_bytes(4, "little")
    name = b"\x03\0\x0c\0" + bytes(12)
    tail = b"\x08\0\x08\0" + tid.to_bytes(4, "little")
    return head + name + tail + (crc32c(0, head + name + tail) ^ (not good)).to_bytes(4, "little")


@pytest.mark.parametrize(("tid", "good", "counts"), [(4, True, True), (4, False, False), (3, True, False)])
def test_fast_commits_that_follow_the_log_count_and_others_do_not(tid: int, good: bool, counts: bool) -> None:
    log = Log("plain", ((2000, 2000),))
    space = log.space()
    journal = load(space)
    journal.incompat |= fmt.INCOMPAT_FAST_COMMIT
    write_superblock(space, journal)
    assert journal.end == 2000 - 256
    cache, made, _ = log.mount()
    for number in range(3):
        put(cache, made, {100: b"%d" % number})
        made.sync(False)
    space.write(journal.end + 1, fast_commit(tid, good).ljust(BLOCK, b"\0"))
    found = scan(space, load(space))
    assert found.transactions == 3
    assert [tag.kind for tag in found.fast] == ([fastcommit.HEAD, fastcommit.CREAT] if counts else [])
