"""A traced process's memory, through /proc/PID/mem, and the breakpoints in it: instructions that trap, which nobody sees who reads the
memory through here."""

import os
from typing import Final, final

MAX_BREAKPOINTS: Final = 4096


@final
class Breakpoints:
    """Those of one process.  Its memory is another after an exec: `reopen`."""

    def __init__(self, process: int, trap: bytes) -> None:
        self._process = process
        self._trap = trap
        self._saved: dict[int, bytes] = {}
        self._fd = -1
        self.reopen()

    def reopen(self) -> None:
        """The process has other memory now, without breakpoints.  Raises OSError."""
        self.close()
        self._saved.clear()
        self._fd = os.open(f"/proc/{self._process}/mem", os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __contains__(self, address: int) -> bool:
        return address in self._saved

    def read(self, address: int, size: int) -> bytes:
        """What the program has there, fewer bytes where memory ends.  Raises OSError where there is none."""
        data = bytearray(os.pread(self._fd, size, _signed(address)))
        for place, saved in self._saved.items():
            for index, byte in enumerate(saved):
                if 0 <= place + index - address < len(data):
                    data[place + index - address] = byte
        return bytes(data)

    def write(self, address: int, data: bytes) -> None:
        """Write, and keep the breakpoints.  Raises OSError."""
        inside = [place for place in self._saved if address - len(self._trap) < place < address + len(data)]
        for place in inside:
            self.remove(place)
        try:
            self._write(address, data)
        finally:
            for place in inside:
                self.insert(place)

    def insert(self, address: int) -> None:
        """Trap there.  Raises OSError."""
        if address in self._saved:
            return
        if len(self._saved) >= MAX_BREAKPOINTS:
            raise OSError(12, "too many breakpoints")
        saved = os.pread(self._fd, len(self._trap), _signed(address))
        self._write(address, self._trap)
        self._saved[address] = saved

    def remove(self, address: int) -> None:
        """Trap there no more.  Raises OSError."""
        saved = self._saved.pop(address, None)
        if saved is not None:
            self._write(address, saved)

    def remove_all(self) -> None:
        """Leave no trace; memory that is gone has none."""
        for address in list(self._saved):
            try:
                self.remove(address)
            except OSError:
                pass

    def clean(self, process: int) -> None:
        """Take the breakpoints out of the copy of the memory that a forked child has.  Raises OSError."""
        fd = os.open(f"/proc/{process}/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            for address, saved in self._saved.items():
                os.pwrite(fd, saved, _signed(address))
        finally:
            os.close(fd)

    def _write(self, address: int, data: bytes) -> None:
        if os.pwrite(self._fd, data, _signed(address)) != len(data):
            raise OSError(14, "Bad address")


def _signed(address: int) -> int:
    """An address as a file's offset; none that a user's memory has is negative.  Raises EFAULT."""
    if not 0 <= address < 1 << 63:
        raise OSError(14, "Bad address")
    return address
