"""A snapshot: writes go to an overlay, and what is below stays as it was.

The overlay is another backend as large as the first, in which changed bytes lie where they would in the first: a sparse file, a ram disk.
Which bytes those are is known to this object alone.  So a snapshot lives as long as it does, unless its user writes `changed` down.
"""

from collections.abc import Iterable
from typing import Final, final

from ..hyper.block import BlockBackend
from ..kern.abi.errno import EINVAL, ENOSPC, EROFS, error
from .extents import ExtentSet

MAX_EXTENTS: Final = 1 << 20
"""Changed places that a snapshot keeps apart."""
PIECE: Final = 1 << 20
"""Bytes that `merge` copies at once."""


@final
class SnapshotBackend(BlockBackend):
    """`base` with changes in `overlay`.  Closing it closes the overlay, and leaves the base open, unless it is `owner` of that, too."""

    def __init__(
        self, base: BlockBackend, overlay: BlockBackend, max_extents: int = MAX_EXTENTS, owner: bool = False
    ) -> None:
        """Raises EINVAL for an overlay that is smaller than the base."""
        if overlay.size < base.size:
            raise OSError(EINVAL, f"an overlay of {overlay.size} bytes is too small for {base.size}")
        super().__init__(base.size, overlay.read_only)
        self.base: BlockBackend = base
        self.overlay: BlockBackend = overlay
        self._extents: ExtentSet = ExtentSet()
        self._max_extents: int = max_extents
        self._owner: bool = owner

    def read(self, offset: int, size: int) -> bytes:
        """Read exactly `size` bytes.  Raises EINVAL outside of the disk, and what the backends raise."""
        self._check(offset, size)
        pieces = self._extents.pieces(offset, offset + size)
        if len(pieces) == 1:
            return (self.overlay if pieces[0].inside else self.base).read(offset, size)
        return b"".join(
            [
                (self.overlay if piece.inside else self.base).read(piece.start, piece.end - piece.start)
                for piece in pieces
            ]
        )

    def write(self, offset: int, data: bytes) -> None:
        """Write to the overlay.  Raises EINVAL outside of the disk, ENOSPC when too much has changed, and what the overlay raises."""
        if self.read_only:
            raise error(EROFS)
        self._check(offset, len(data))
        if len(self._extents) >= self._max_extents:
            raise OSError(ENOSPC, f"a snapshot keeps no more than {self._max_extents} changed places")
        self.overlay.write(offset, data)
        self._extents.add(offset, offset + len(data))

    def flush(self) -> None:
        """Nothing: a snapshot is as durable as this object."""

    def beneath(self) -> BlockBackend | None:
        """The base, which has to stay as it is."""
        return self.base

    def changed(self) -> list[tuple[int, int]]:
        """What was written, in order: first byte, and the byte after the last."""
        return self._extents.extents()

    def restore(self, changed: Iterable[tuple[int, int]]) -> None:
        """Say what the overlay has already: extents that another snapshot's `changed` gave.  Raises EINVAL outside of the disk."""
        for start, end in changed:
            self._check(start, end - start)
            self._extents.add(start, end)

    def revert(self) -> None:
        """Discard all changes."""
        extents = self._extents.extents()
        self._extents.clear()
        for start, end in extents:
            self.overlay.discard(start, end - start)

    def merge(self) -> None:
        """Write all changes to the base, flush it, and begin anew.  Raises what the backends raise; the changes are known still then."""
        for start, end in self._extents.extents():
            for at in range(start, end, PIECE):
                self.base.write(at, self.overlay.read(at, min(PIECE, end - at)))
        self.base.flush()
        self.revert()

    def close(self) -> None:
        """Close the overlay, and the base if it is ours."""
        self.overlay.close()
        if self._owner:
            self.base.close()

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise error(EINVAL)
