"""Open special files: what stands between descriptors and devices (BSD's specfs)."""

from typing import final

from ..hyper.time import Instant
from ..kern.abi.errno import EINVAL, ENOSPC, ESPIPE, error
from ..kern.abi.fcntl import O_APPEND, O_DSYNC, S_IFBLK, SEEK_CUR, SEEK_END, SEEK_SET
from ..kern.device import Device
from ..kern.process import Credentials
from ..kern.wait import Blocked
from .file import VnodeFile
from .vnode import Vnode


@final
class SpecialFile(VnodeFile):
    """An open device.  A block device has an offset; a character device ignores it.

    The device sleeps under a lock of its own, if at all, and not under that of the mount its name lies in.
    """

    def __init__(self, vnode: Vnode, flags: int, credentials: Credentials, device: Device) -> None:
        super().__init__(vnode, flags, credentials)
        self.device: Device = device
        self.queue = device.queue
        self._block: bool = device.kind == S_IFBLK

    def close(self, now: Instant) -> None:
        """Tell the device."""
        self.device.close(now)
        super().close(now)

    def read(self, size: int, now: Instant) -> bytes | Blocked:
        """Up to `size` bytes from the device."""
        if not self._block:
            return self.device.read(0, size)
        offset = self.offset
        data = self._read_block(offset, size, now)
        self.offset = offset + len(data)
        return data

    def write(self, data: bytes, now: Instant) -> int | Blocked:
        """Write to the device."""
        if not self._block:
            return self.device.write(0, data)
        offset = self.device.size() if self.flags & O_APPEND else self.offset
        done = self._write_block(offset, data, now)
        self.offset = offset + done
        return done

    def pread(self, size: int, offset: int, now: Instant) -> bytes:
        """Up to `size` bytes at `offset` of a block device."""
        if not self._block:
            raise error(ESPIPE)
        return self._read_block(offset, size, now)

    def pwrite(self, data: bytes, offset: int, now: Instant) -> int:
        """Write at `offset` of a block device."""
        if not self._block:
            raise error(ESPIPE)
        return self._write_block(offset, data, now)

    def seek(self, offset: int, whence: int) -> int:
        """Move a block device's offset, within its size.  Character devices take and ignore it, as Linux's do."""
        if not self._block:
            return 0
        size = self.device.size()
        if whence == SEEK_CUR:
            offset += self.offset
        elif whence == SEEK_END:
            offset += size
        elif whence != SEEK_SET:
            raise error(EINVAL)
        if not 0 <= offset <= size:
            raise error(EINVAL)
        self.offset = offset
        return offset

    def truncate(self, size: int, now: Instant) -> None:
        """Devices have the size they have."""
        raise error(EINVAL)

    def sync(self, data_only: bool, now: Instant) -> None:
        """Flush the device."""
        self.hold()
        try:
            self.device.flush()
        finally:
            self.release(now)

    def poll(self) -> int:
        """The device's readiness."""
        return self.device.poll()

    def pollable(self) -> bool:
        """Character devices can be waited for."""
        return not self._block

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """The device's business."""
        return self.device.ioctl(request, argument)

    def describe(self) -> str:
        """The device's name."""
        return self.device.name

    def _read_block(self, offset: int, size: int, now: Instant) -> bytes:
        size = min(size, self.device.size() - offset)
        if size <= 0:
            return b""
        self.hold()
        try:
            data = self.device.read(offset, size)
        finally:
            self.release(now)
        assert isinstance(data, bytes)
        return data

    def _write_block(self, offset: int, data: bytes, now: Instant) -> int:
        room = self.device.size() - offset
        if room < len(data):
            if room <= 0:
                raise error(ENOSPC)
            data = data[:room]
        self.hold()
        try:
            done = self.device.write(offset, data)
            if self.flags & O_DSYNC:
                self.device.flush()
        finally:
            self.release(now)
        assert isinstance(done, int)
        return done
