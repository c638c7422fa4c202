"""Transactions: how the file system says which changed blocks belong together.  Without a journal they mean little.

`ExtMount` brackets each operation with `begin` and `end` and calls `dirty` for each block of metadata that it has
changed.  Checksums are computed once, when a transaction ends up on disk, not at each change: before that the transaction
calls `Sealer.seal`.  The journal's implementation is in journal/.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, final

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from ...hyper.mutex import Mutex
    from ...vfs.buffer import Buffer, BufferCache


@mypyc_attr(allow_interpreted_subclasses=True)
class Sealer(ABC):
    """What has to finish metadata before it is written: the mount."""

    @abstractmethod
    def seal(self) -> None:
        """Bring the blocks of the transaction up to date: counts, checksums, and what the operations freed, which becomes
        free only now, so that nothing is overwritten that a crash may bring back.  May call `dirty`.  Between this call
        and `withhold`, or else the end of the commit, no operation starts."""

    def withhold(self) -> None:
        """The transaction is in the log but not yet durable, and operations may start: what it frees is not given out before
        `give_out`.  Must not sleep."""
        return None

    def give_out(self) -> None:
        """The transaction is durable: what `withhold` kept can be had.  Must not sleep."""
        return None

    def started(self) -> None:
        """The first change of a transaction was made."""
        return None

    def aborted(self, reason: str) -> None:
        """The journal failed: nothing is written any more, and the mount has to be read-only from now on."""
        return None


@mypyc_attr(allow_interpreted_subclasses=True)
class Transaction(ABC):
    """The running transaction of a mount, and the way to the next one."""

    @abstractmethod
    def attach(self, sealer: Sealer) -> None:
        """Have `sealer` called before each commit."""

    @abstractmethod
    def begin(self, credits: int) -> None:
        """An operation starts that changes up to about `credits` blocks.  May commit what was there before, so nothing
        may be half-changed.  Operations do not nest."""

    @abstractmethod
    def dirty(self, buffer: "Buffer") -> None:
        """`buffer` has been changed, or is about to be within this operation: it stays in memory until the commit."""

    @abstractmethod
    def revoke(self, block: int, count: int) -> None:
        """Blocks of metadata have been freed: what the journal has of them must not be replayed any more.  Drops them
        from the cache, too."""

    @abstractmethod
    def end(self) -> None:
        """The operation is over; its changes are on disk all or not at all after a crash, once they are."""

    @abstractmethod
    def sync(self, wait: bool, lock: "Mutex | None" = None) -> None:
        """Commit what was changed so far; with `wait`, return once that is durable.  Raises EIO, and EROFS where the journal
        failed before.

        `lock` is the mount's, given where the caller holds it but needs nothing to stay as it is: others use the mount while the
        device makes things durable.
        """

    @abstractmethod
    def pending(self) -> bool:
        """Whether something was changed that no `sync` has committed."""

    @abstractmethod
    def close(self) -> None:
        """Write everything back for good: the mount goes."""


@final
class Unjournalled(Transaction):
    """No journal: blocks stay in memory until their checksums are computed, and go to the cache's write-back then."""

    def __init__(self, cache: "BufferCache", limit: int) -> None:
        self._cache: BufferCache = cache
        self._limit: int = limit
        """Blocks that a transaction may have before it is handed on."""
        self._held: dict[int, Buffer] = {}
        self._sealer: Sealer | None = None
        self._waiting: bool = False
        """Something was changed since the last `sync` that was waited for."""

    def attach(self, sealer: Sealer) -> None:
        """Have `sealer` called before blocks are handed on."""
        self._sealer = sealer

    def begin(self, credits: int) -> None:
        """Hand on what there is if there is much."""
        if len(self._held) > self._limit:
            self._hand_on()

    def dirty(self, buffer: "Buffer") -> None:
        """Keep the block."""
        held = self._held
        if buffer.block not in held:
            held[buffer.block] = buffer
            buffer.pins += 1
            self._cache.mark(buffer)
            self._started()

    def revoke(self, block: int, count: int) -> None:
        """Forget the blocks."""
        held = self._held
        for number in range(block, block + count) if count < len(held) else [*held]:
            if block <= number < block + count:
                buffer = held.pop(number, None)
                if buffer is not None:
                    buffer.pins -= 1
        self._cache.forget(block, count)

    def end(self) -> None:
        """Nothing depends on where an operation ends."""

    def sync(self, wait: bool, lock: "Mutex | None" = None) -> None:
        """Write everything."""
        self._hand_on()
        if wait:
            self._waiting = False  # others may change something while the device makes this durable
            try:
                self._cache.sync(lock)
            except BaseException:
                self._started()
                raise

    def pending(self) -> bool:
        """Whether something was changed since the last `sync` that was waited for."""
        return self._waiting

    def close(self) -> None:
        """Write everything."""
        self.sync(True)

    def _started(self) -> None:
        if not self._waiting:
            self._waiting = True
            if self._sealer is not None:
                self._sealer.started()

    def _hand_on(self) -> None:
        if self._sealer is not None:
            self._sealer.seal()
        held = self._held
        self._held = {}
        for buffer in held.values():
            buffer.pins -= 1
