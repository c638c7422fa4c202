"""A journal at mount: found, replayed or read through, and opened.  What a mount calls.

A mount that may write does `open_journal`, which leaves an empty log and gives its `Transaction`; the superblock of the file
system has to be read again after that, as the log may have a newer one.  A mount that may not does `replayed`, and uses the
device that this gives in place of its own.  Both want the runs of the journal's inode, which lie outside of the log
always.
"""

from collections.abc import Sequence
from typing import Final

from ....hyper.calls import Hypercalls
from ....hyper.time import SECOND, Duration
from ....kern.abi.errno import ENOSPC, ENOTSUP, EUCLEAN
from ....kern.device import Device
from ....vfs.buffer import Buffer, BufferCache
from ..features import HAS_JOURNAL
from ..superblock import Superblock
from .journalled import Journalled
from .overlay import ChangedDevice, ReplayedDevice
from .replay import Recovery, load, scan, write_home
from .space import LogSpace
from .writer import LogWriter

INTERVAL: Final = 5 * SECOND
"""How old a change gets before it is committed, unless the mount says otherwise."""


def check_external(superblock: Superblock) -> None:
    """Raise ENOTSUP for a file system whose journal lies on another device."""
    if superblock.feature_compat & HAS_JOURNAL and not superblock.journal_inum:
        raise OSError(
            ENOTSUP, f"its journal is on another device ({superblock.journal_uuid.hex()}), which is not supported"
        )


def open_journal(
    hyper: Hypercalls,
    cache: BufferCache,
    runs: Sequence[tuple[int, int]],
    interval: Duration = INTERVAL,
    limit: int = 0,
) -> tuple[Journalled, Recovery]:
    """Replay the journal whose blocks are `runs` (first block and count, in order), and open it for writing.

    Returns the mount's transactions and what was replayed (`Recovery.transactions`; `error` is not 0 where an earlier
    mount aborted it, so that the file system should be marked as having errors).  What the cache has is current.
    Raises EUCLEAN where the journal is damaged, ENOTSUP where it can't be replayed, EIO, EROFS.
    """
    space = LogSpace(cache, runs)
    made = recover(space)
    journal = made.journal
    journal.error = 0
    return Journalled(hyper, space, journal, interval, limit), made


def recover(space: LogSpace) -> Recovery:
    """Replay a log for good.  Raises as `open_journal`, before anything is written where that is for the contents of the log."""
    made = scan(space, load(space))
    if made.damaged:
        raise OSError(EUCLEAN, f"journal: {made.damaged}; mount it read-only, or use e2fsck")
    if made.fast:
        _settle(space, made)
        made = scan(space, load(space))
    if made.journal.start:
        write_home(space, made)
    return made


def _settle(space: LogSpace, made: Recovery) -> None:
    """Make a transaction of the fast commits behind the log, which no longer count then.  Raises EUCLEAN, ENOSPC, EIO."""
    from ..fastreplay import changed_blocks

    journal = made.journal
    device = space.cache.device
    changed = changed_blocks(ReplayedDevice(device, space, made) if made.blocks else device, made.fast)
    writer = LogWriter(space, journal)
    writer.at = made.head
    length = journal.end - journal.first
    if (made.head - journal.start) % length + writer.needed(len(changed), 0) >= length:
        raise OSError(
            ENOSPC, "journal: it has no room for the fast commits behind it; mount it read-only, or use e2fsck"
        )
    sequence = made.next_sequence - 1 & 0xFFFFFFFF
    writer.write(sequence, {block: Buffer(block, bytearray(data)) for block, data in changed.items()}, [])
    space.cache.flush()
    writer.commit(sequence, 0)
    space.cache.flush()


def view(device: Device, space: LogSpace, made: Recovery) -> Device:
    """`device` as it will be after a replay; itself where there is nothing to replay.  Raises EUCLEAN, ENOSPC, EIO."""
    if made.blocks:
        device = ReplayedDevice(device, space, made)
    if made.fast:
        from ..fastreplay import changed_blocks

        device = ChangedDevice(device, space.block_size, changed_blocks(device, made.fast))
    return device


def replayed(device: Device, cache: BufferCache, runs: Sequence[tuple[int, int]]) -> tuple[Device, Recovery]:
    """`device` as it will be after the replay, without a write; `device` itself where the log is empty.

    The cache of the file system has to be made anew, on what is returned.  Raises as `open_journal`, but a damaged
    log counts as far as it goes (`Recovery.damaged` says so).
    """
    space = LogSpace(cache, runs)
    made = scan(space, load(space))
    return view(device, space, made), made
