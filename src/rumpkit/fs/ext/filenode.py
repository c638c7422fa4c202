"""Regular files as vnodes.  Small writes gather in memory, so that storage is given for long pieces (delayed allocation)."""

from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EACCES, EFBIG, ENOSPC, error
from . import filedata, filewrite, inline
from .blockmap import largest
from .geometry import corrupt
from .inode import ENCRYPTED, INLINE
from .node import ExtNode
from .preallocate import change_storage
from .state import InodeState

if TYPE_CHECKING:
    from .mount import ExtMount

THROUGH: Final = 512 << 10
"""Writes of so many bytes don't wait to become longer."""


@final
class FileNode(ExtNode):
    """A regular file."""

    def __init__(self, mount: "ExtMount", state: InodeState) -> None:
        super().__init__(mount, state)
        self.waiting: bytearray | None = None
        """Written bytes that are not on disk yet."""
        self.waiting_at: int = 0
        """Where they belong in the file."""
        self.promised: int = 0
        """Blocks that are kept free for them."""
        if self.size > 1 << 62 or (self.size - 1) >> state.volume.block_bits >= largest(state):
            raise corrupt(f"{state.where}: a file of {self.size} bytes")

    # Reading -------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from byte `offset`."""
        end = min(offset + size, self.size)
        if end <= offset:
            return b""
        state = self.state
        if state.inode.flags & (INLINE | ENCRYPTED):
            check_plain(state)
            return inline.read(state)[offset:end]
        waiting = self.waiting
        if waiting is None:
            return filedata.read(state, offset, end)
        start = self.waiting_at
        stop = start + len(waiting)
        if end <= start or offset >= stop:
            return filedata.read(state, offset, end)
        if start <= offset and end <= stop:
            return bytes(waiting[offset - start : end - start])
        data = bytearray(filedata.read(state, offset, end))
        low = max(start, offset)
        high = min(stop, end)
        data[low - offset : high - offset] = waiting[low - start : high - start]
        return bytes(data)

    def next_data(self, offset: int) -> int:
        """The next byte that has storage."""
        self.flush()
        state = self.state
        return offset if state.inode.flags & INLINE else filedata.next_data(state, offset, self.size)

    def next_hole(self, offset: int) -> int:
        """The next byte that has none, or the end."""
        self.flush()
        state = self.state
        return self.size if state.inode.flags & INLINE else filedata.next_hole(state, offset, self.size)

    def blocks(self) -> int:
        """Storage in units of 512 bytes, with that for what waits."""
        return self.state.sectors() + (max(self.promised - 1, 0) << (self.state.volume.block_bits - 9))

    # Writing -------------------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes) -> int:
        """Write as much of `data` as there is room for.  Raises ENOSPC, EFBIG."""
        state = self.state
        if state.inode.flags & (INLINE | ENCRYPTED):
            check_plain(state)
            done = self._write_inline(offset, data)
            if done >= 0:
                return done
        room = self.limit() - offset
        if room < len(data):
            if room <= 0:
                raise error(EFBIG)
            data = data[:room]
        if offset > self.size:
            filewrite.clear_tail(state, min(self.size, state.inode.size))
        waiting = self.waiting
        if waiting is not None:
            at = offset - self.waiting_at
            if 0 <= at <= len(waiting):
                return self._gather(waiting, at, data)
            self.flush()
        if len(data) >= THROUGH:
            return self._write_through(offset, data)
        self.waiting_at = offset
        return self._gather(bytearray(), 0, data)

    def _gather(self, waiting: bytearray, at: int, data: bytes) -> int:
        """Add written bytes to those that wait, at byte `at` of them."""
        bits = self.state.volume.block_bits
        start = self.waiting_at
        end = start + max(len(waiting), at + len(data))
        promise = ((end - 1) >> bits) - (start >> bits) + 2
        ext = self.ext
        if not ext.promise(self, promise):
            self.flush()
            return self._write_through(start + at, data)
        if at == len(waiting):
            waiting += data
        else:
            waiting[at : at + len(data)] = data
        if self.waiting is None:
            self.waiting = waiting
        self._written(start + at + len(data))
        if len(waiting) >= min(ext.delayed_file_bytes, ext.delayed_bytes):
            self.flush()
        return len(data)

    def _write_through(self, offset: int, data: bytes) -> int:
        state = self.state
        blocks = state.volume.blocks
        blocks.kept = self.ext.make_room(self, (len(data) >> state.volume.block_bits) + 2)
        try:
            done = filewrite.store(state, offset, data)
        finally:
            blocks.kept = 0
        self._written(offset + done)
        self.touched()
        return done

    def _written(self, end: int) -> None:
        if end > self.size:
            self.size = end
        self.mtime = self.ctime = self.mount.hyper.wall()

    def flush(self) -> None:
        """Give storage to what waits, and write it.  Raises EIO, EUCLEAN; ENOSPC where what was promised is not there."""
        waiting = self.waiting
        if waiting is None:
            return
        self.waiting = None
        self.ext.keep_promise(self)
        done = filewrite.store(self.state, self.waiting_at, bytes(waiting))
        self.touched()
        if done < len(waiting):
            raise error(ENOSPC)

    def forget(self) -> None:
        """What waits is no longer wanted."""
        if self.waiting is not None:
            self.waiting = None
            self.ext.keep_promise(self)

    def limit(self) -> int:
        """How many bytes the file can have."""
        state = self.state
        return min(largest(state) << state.volume.block_bits, 1 << 62)

    def _write_inline(self, offset: int, data: bytes) -> int:
        """Write into the inode; -1, with the data moved to a block, where there is no room for that."""
        state = self.state
        old = inline.read(state)
        end = offset + len(data)
        if end <= inline.most(state):
            new = old[:offset].ljust(offset, b"\0") + data + old[end:]
            self.ext.begin(4)
            try:
                fits = inline.write(state, new)
            except OSError as problem:
                raise self.ext.failed(problem) from None
            finally:
                self.ext.end()
            if fits:
                self._written(end)
                self.touched()
                return len(data)
        self.leave_inode(old)
        return -1

    def leave_inode(self, data: bytes) -> None:
        """Move inline data to blocks.  Raises ENOSPC."""
        state = self.state
        if data and state.volume.blocks.available(True) < filewrite.CREDITS:
            raise error(ENOSPC)
        self.ext.begin(8 + filewrite.CREDITS)  # one operation: a crash leaves the data either here or there
        try:
            inline.clear(state)
            self.flags = state.inode.flags
            if data:
                filewrite.store(state, 0, data)
        except OSError as problem:
            raise self.ext.failed(problem) from None
        finally:
            self.ext.end()

    # Size and storage ----------------------------------------------------------------------------------

    def truncate(self, size: int) -> None:
        """Cut the file, or let a hole grow at its end.  Raises EFBIG."""
        if size > self.limit():
            raise error(EFBIG)
        state = self.state
        check_plain(state)
        if state.inode.flags & INLINE:
            data = inline.read(state)
            if size <= inline.most(state):
                self.ext.begin(4)
                try:
                    fits = inline.write(state, data[:size].ljust(size, b"\0"))
                except OSError as problem:
                    raise self.ext.failed(problem) from None
                finally:
                    self.ext.end()
                if fits:
                    self._truncated(size)
                    return
            self.leave_inode(data)
        waiting = self.waiting
        if waiting is not None:
            if self.waiting_at >= size:
                self.forget()
            elif self.waiting_at + len(waiting) > size:
                del waiting[size - self.waiting_at :]
        if size > self.size:
            filewrite.clear_tail(state, min(self.size, state.inode.size))
            self.flush()
        if size < state.inode.size or (
            size == state.inode.size and state.sectors()
        ):  # there may be some behind the end
            self.ext.shrink(state, size)
        elif size > state.inode.size and self.waiting is None:
            # It is longer than what is on disk: what was to be written between is cut off, or there was nothing.
            self.ext.begin(4)
            try:
                filewrite.grow(state, size)
            except OSError as problem:
                raise self.ext.failed(problem) from None
            finally:
                self.ext.end()
        self._truncated(size)

    def _truncated(self, size: int) -> None:
        self.size = size
        self.mtime = self.ctime = self.mount.hyper.wall()
        self.touched()

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Give storage to bytes of the file, or take it from them.  Raises ENOSPC, EFBIG, ENOTSUP."""
        check_plain(self.state)
        if offset + length > self.limit():
            raise error(EFBIG)
        change_storage(self, mode, offset, length)

    def sync(self, data_only: bool) -> None:
        """Make the file durable."""
        self.flush()
        self.ext.commit()


def check_plain(state: InodeState) -> None:
    """Raise EACCES for a file whose data is encrypted."""
    if state.inode.flags & ENCRYPTED:
        raise OSError(EACCES, f"{state.where}: it is encrypted, and there is no key")
