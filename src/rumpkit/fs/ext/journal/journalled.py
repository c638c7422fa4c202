"""Transactions with a journal (data=ordered): the running one, its commit to the log, and the log's way home.

Between the file system, whose mount lock makes it the only caller, and the buffer cache.

* Blocks that operations change are pinned in the cache until their transaction commits: before that no change reaches its
  place.  Operations gather in one transaction until it is large (`limit`) or old (`interval`), or somebody syncs.
* A commit writes revoke blocks, descriptors and copies of the blocks to the log; a barrier; the commit block, durable
  on return (FUA).  File data was written past the cache before, so the barrier holds for it, too.
* The log has copies, so operations may go on while that takes its time: a commit that somebody waits for (`sync`) gives
  the mount's lock up from the barrier on.  The blocks stay pinned until it is durable, what it frees is not given out
  (`Sealer.withhold`), and the next commit waits.  It needs the mount's lock for nothing more, so who holds that may wait for it.
* Committed blocks are ordinary dirty blocks of the cache, which writes them home when it likes.  When the log is too
  full for the next transaction, or at the end, all of them go home (`checkpoint`), and the log is empty.
* Where that happens while the running transaction has changed a block again, its committed copy goes home from the log.
* Anything that fails on the way aborts the journal: nothing is written any more, and the mount turns read-only.

Time is looked at when operations begin and end; a mount that nobody calls has it committed in time by `sync`.
"""

from typing import Final, final

from ....hyper.calls import Hypercalls
from ....hyper.mutex import Mutex
from ....hyper.time import Duration, Instant
from ....kern.abi.errno import EIO, EROFS, error
from ....vfs.buffer import Buffer, BufferCache
from ..transaction import Sealer, Transaction
from .counters import JournalCounters
from .format import INCOMPAT_REVOKE, MAGIC_BYTES, JournalSuperblock
from .replay import write_superblock
from .space import LogSpace
from .writer import LogWriter

SHARE_OF_LOG: Final = 4
"""A transaction is committed when it would fill this part of the log,"""
SHARE_OF_CACHE: Final = 8
"""or this part of the cache."""
PATIENCE: Final = 2
"""While a commit is under way, the next transaction may become so many times as large before an operation waits."""


@final
class Journalled(Transaction):
    """A mount's journal.  Its log is empty when this is made: replayed, that is."""

    def __init__(
        self, hyper: Hypercalls, space: LogSpace, journal: JournalSuperblock, interval: Duration, limit: int = 0
    ) -> None:
        """`interval` is nanoseconds until a change is committed; `limit` the blocks of a transaction (0: as log and cache allow)."""
        self.counters: JournalCounters = JournalCounters()
        self.aborted: str = ""
        """Why nothing is written any more; "" while all is well."""
        self.interval: Duration = interval
        self._hyper: Hypercalls = hyper
        self._space: LogSpace = space
        self._cache: BufferCache = space.cache
        self._journal: JournalSuperblock = journal
        self._writer: LogWriter = LogWriter(space, journal)
        self._size: int = journal.end - journal.first
        most = min(self._size // SHARE_OF_LOG, self._cache.limit // SHARE_OF_CACHE)
        self.limit: int = max(min(most, limit) if limit else most, 1)
        self._sequence: int = journal.sequence
        """The running transaction's number; that in the superblock is the oldest one's in the log."""
        self._used: int = 0
        """Blocks of the log with transactions that are not home yet."""
        self._logged: dict[int, int] = {}
        """Blocks of those transactions: where in the log their newest copy lies, negative where it is escaped."""
        self._held: dict[int, Buffer] = {}
        """Blocks of the running transaction."""
        self._revoked: dict[int, int] = {}
        """Blocks that the running transaction revokes."""
        self._since: Instant = 0
        """When the running transaction's first change was made."""
        self._sealer: Sealer | None = None
        self._gate: Mutex = hyper.mutex()
        """Each commit has one, and holds it until it is over: so whoever waits for one commit doesn't wait for the next, too."""
        self._busy: bool = False
        """A commit is under way.  Whoever waits for the mount's lock has none."""
        self._begun: int = 0
        self._durable: int = 0
        """Commits that were written to the log, and those that are durable."""

    # Operations ----------------------------------------------------------------------------------------

    def attach(self, sealer: Sealer) -> None:
        """Have `sealer` called before each commit, and when the journal fails."""
        self._sealer = sealer

    def begin(self, credits: int) -> None:
        """An operation starts.  Commits what was there before if the two would be too large for one transaction, or it is old.

        Raises EROFS once the journal is aborted; EIO.
        """
        if self.aborted:
            raise OSError(EROFS, self.aborted)
        if not self._held:
            return
        size = len(self._held) + credits
        if size > PATIENCE * self.limit or (not self._busy and (size > self.limit or self._is_old())):
            self._commit()

    def dirty(self, buffer: Buffer) -> None:
        """Keep `buffer` in memory until the commit."""
        held = self._held
        block = buffer.block
        if block in held:
            return
        first = not held
        held[block] = buffer
        if first:
            self._since = self._hyper.now
            if self._sealer is not None:
                self._sealer.started()
        buffer.pins += 1
        self._cache.mark(buffer)
        self._revoked.pop(block, None)

    def revoke(self, block: int, count: int) -> None:
        """Forget the blocks, and see to it that no replay brings them back."""
        held = self._held
        logged = self._logged
        if count > len(held) + len(logged):
            numbers = [number for number in (*held, *logged) if block <= number < block + count]
        else:
            numbers = list(range(block, block + count))
        for number in numbers:
            buffer = held.pop(number, None)
            if buffer is not None:
                buffer.pins -= 1
            if number in logged:
                self._revoked[number] = 0
        self._cache.forget(block, count)

    def end(self) -> None:
        """The operation is over."""
        if self._held and self._is_old() and not self._busy and not self.aborted:
            self._commit()

    def sync(self, wait: bool, lock: Mutex | None = None) -> None:
        """Commit what was changed so far.  Raises EIO, and EROFS once the journal is aborted."""
        if self.aborted:
            raise OSError(EROFS, self.aborted)
        if not self._commit(lock) and wait:
            # Nothing to commit, but file data may have been overwritten in place.
            self._cache.flush(lock)

    def pending(self) -> bool:
        """Whether the running transaction has anything."""
        return bool(self._held)

    def close(self) -> None:
        """Commit, write everything home, and leave the log empty.  An aborted journal is left for replay as it is."""
        if self.aborted:
            return
        self._commit()
        try:
            self._checkpoint()
            self._journal.start = 0
            write_superblock(self._space, self._journal)
        except OSError as problem:
            self._abort(problem)
            raise

    def _is_old(self) -> bool:
        return self._hyper.now - self._since >= self.interval

    # Commit --------------------------------------------------------------------------------------------

    def _commit(self, lock: Mutex | None = None) -> bool:
        """Commit the running transaction; False where there was nothing to commit.  Raises EIO, having aborted the journal; EROFS where
        the commit before, which was under way, has done that."""
        if self._take_log(lock):
            return True
        away = False
        try:
            if self.aborted:
                raise OSError(EROFS, self.aborted)
            if not self._held and not self._revoked:
                return False
            try:
                if self._sealer is not None:
                    self._sealer.seal()
                held = self._write_transaction()
                if lock is not None:
                    if self._sealer is not None:
                        self._sealer.withhold()
                    lock.release()
                    away = True
                self._make_durable(held)
            except OSError as problem:
                self._abort(problem)
                raise
            except BaseException:
                # Ctrl-C, say: nobody knows how far it has got, and the next transaction must not come behind that.
                self._abort(OSError(EIO, "a commit was interrupted"))
                raise
        finally:
            self._busy = False
            self._gate.release()
            if away and lock is not None:
                lock.retake()
        return True

    def _take_log(self, lock: Mutex | None) -> bool:
        """Be the only one who writes to the log; wait for another without the mount's lock, if that is given.  True: not any more, as
        the transaction that was running has become durable by another's commit.

        So nobody waits for more than two commits: the one under way, and the next, which has all that there was when he came.
        """
        wanted = self._begun + 1
        while self._busy:
            gate = self._gate
            if lock is None:
                gate.acquire()
                gate.release()
                continue
            lock.release()
            try:
                gate.acquire()
                gate.release()
            finally:
                lock.retake()
            if self._durable >= wanted:
                return True
        self._gate = self._hyper.mutex()
        self._gate.acquire()
        self._busy = True
        return False

    def _write_transaction(self) -> dict[int, Buffer]:
        """Write the running transaction but for its commit block, and begin the next one.  Returns its blocks, which stay pinned."""
        journal = self._journal
        writer = self._writer
        held = self._held
        revokes = sorted(self._revoked)
        needed = writer.needed(len(held), len(revokes))
        if needed > self._size:
            raise OSError(EIO, f"a transaction of {needed} blocks does not fit into a log of {self._size}")
        if needed > self._size - self._used:
            self._checkpoint()
        if revokes:
            self._need_revokes()
        if not journal.start:
            # An empty log gets its first transaction: it counts with its commit block, and a barrier is before that.
            self._move_tail(False)
        places = writer.write(self._sequence, held, revokes)
        # As if it were durable already: what depends on that, checkpoints and commits, waits for it.
        for block in revokes:
            self._logged.pop(block, None)
        self._logged.update(places)
        self._held = {}
        self._revoked = {}
        self._begun += 1
        self._used += needed
        self.counters.logged_blocks += len(places)
        self.counters.revoked_blocks += len(revokes)
        return held

    def _make_durable(self, held: dict[int, Buffer]) -> None:
        """The barrier of a commit, and its commit block, which is durable on return."""
        self._cache.flush()
        self._writer.commit(self._sequence, self._hyper.wall())
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        for buffer in held.values():
            buffer.pins -= 1
        if self._sealer is not None:
            self._sealer.give_out()
        self._durable = self._begun
        self.counters.commits += 1

    def _need_revokes(self) -> None:
        """The first revoke block of a journal: its superblock has to say that there are some."""
        journal = self._journal
        if not journal.incompat & INCOMPAT_REVOKE:
            journal.version = 2
            journal.incompat |= INCOMPAT_REVOKE
            if journal.start:
                write_superblock(self._space, journal)

    def _move_tail(self, durable: bool) -> None:
        """Say in the superblock that the log starts where the next transaction goes."""
        journal = self._journal
        journal.start = self._writer.at
        journal.sequence = self._sequence
        write_superblock(self._space, journal, durable)

    # Checkpoint ----------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        """Bring everything that is committed home, and start the log anew.  Raises EIO."""
        cache = self._cache
        for block, at in self._logged.items():
            # The cache has what is not committed yet, or nothing as the block is about to be revoked.
            if block in self._held or block in self._revoked:
                data = self._space.read(abs(at))
                self._write_home(block, MAGIC_BYTES + data[4:] if at < 0 else data)
        cache.sync()
        self._logged = {}
        self._used = 0
        self._move_tail(True)
        self.counters.checkpoints += 1

    def _write_home(self, block: int, data: bytes) -> None:
        size = self._space.block_size
        if self._cache.device.write(block * size, data) != size:
            raise error(EIO)

    def _abort(self, problem: OSError) -> None:
        """Something could not be written: write nothing any more.  Blocks of the running transaction stay pinned, so that no part
        of it gets home, and the superblock of the journal says why, if it can."""
        if self.aborted:
            return
        self.aborted = f"the journal is aborted: {problem.strerror or problem}"
        self.counters.aborts += 1
        journal = self._journal
        journal.error = -(problem.errno or EIO) & 0xFFFFFFFF
        try:
            write_superblock(self._space, journal)
        except OSError:
            pass  # the next mount replays the log, and finds nothing wrong with it
        name = self._cache.device.name
        self._hyper.console_write(f"{name}: {self.aborted}; what is mounted from it is read-only now\n".encode())
        if self._sealer is not None:
            self._sealer.aborted(self.aborted)
