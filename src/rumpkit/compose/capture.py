"""A capture into a file of the host: between a kernel's interfaces (`net.link.pcapng`, on the schedule) and the disk.

The sink only keeps blocks; they are written off the schedule, by whoever drives the host's loop, so that a slow disk delays
no frame.  What waits is bounded: frames beyond that are left out, and counted.
"""

import errno
import os
import threading
from pathlib import Path
from select import EPOLLIN
from typing import TYPE_CHECKING, Final, cast, final

from ..hosts.posix.host import PosixHost
from ..hosts.posix.loop import Source
from ..hosts.posix.private_file import create_private
from ..hyper.calls import Hypercalls
from ..hyper.time import Instant
from ..net.link.interface import Interface
from ..net.link.interfaces import Interfaces
from ..net.link.pcapng import Capture as FrameCapture
from ..net.link.pcapng import CaptureSink
from ..net.transport.tcp.layer import Tcp
from ..net.transport.tcp.notes import ConnectionNotes
from .errors import ConfigError, suggest

if TYPE_CHECKING:
    from .kernel import Kernel

MAX_WAITING: Final = 32 << 20
"""Bytes that wait to be written at most."""
WRITE_THROUGH: Final = 1 << 20
"""Bytes after which a host without a loop writes at once: nothing there happens in real time."""


@final
class Capture:
    """A running capture, made by `Kernel.capture`.  `close` ends it; so do `with` and the kernel's end."""

    def __init__(self, kernel: "Kernel", path: str | Path, interface: str = "", comments: bool = True) -> None:
        """Record in the file `path` what goes through `interface`, or through all the kernel has now where that is "".

        The file is created, or emptied, and is its owner's alone to read.  Raises OSError for the file, ConfigError for an interface
        that is not there.  With `comments`, each packet of a TCP connection bears the state of that connection.
        """
        self.path = Path(path)
        self._host = kernel.host
        self._interfaces = _select(kernel, interface)
        self._file = CaptureFile(self._host, path)
        self._open = True
        self._host.enter()
        try:
            tcp = kernel.core.service("Tcp") if comments else None
            annotator = None if tcp is None else ConnectionNotes(cast(Tcp, tcp))
            self._frames = FrameCapture(self._file, self._host.wall(), self._host.now, annotator=annotator)
            for one in self._interfaces:
                one.add_tap(self._frames)
        finally:
            self._host.leave()

    @property
    def frames(self) -> int:
        """Frames in the file (super-segments count as what they are split into)."""
        return self._frames.frames

    @property
    def skipped(self) -> int:
        """Frames left out: the disk did not keep up or failed, or the limit on a capture's size was reached."""
        return self._frames.skipped

    @property
    def error(self) -> int:
        """The errno that ended the writing (ENOSPC, EPIPE); 0 while all is well."""
        return self._file.error

    def flush(self) -> None:
        """Write what has been seen so far.  Off the schedule."""
        if self._open:
            self._file.flush()

    def close(self) -> None:
        """End the capture and complete the file.  Off the schedule; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        self._host.enter()
        try:
            for one in self._interfaces:
                one.remove_tap(self._frames)
            self._frames.close(self._host.now)
        finally:
            self._host.leave()
        self._file.close()

    def __enter__(self) -> "Capture":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _select(kernel: "Kernel", name: str) -> list[Interface]:
    kernel.host.enter()
    try:
        service = kernel.core.service("Interfaces")
        there = cast(Interfaces, service).all() if service is not None else []
    finally:
        kernel.host.leave()
    found = [one for one in there if name in ("", one.name)]
    if not found and name:
        names = [one.name for one in there]
        raise ConfigError(f"there is no interface {name!r} to capture", hint=suggest(name, names))
    return found


@final
class CaptureFile(CaptureSink):
    """Blocks on their way to a file.  `write` and `room` are called on the schedule, `flush` and `close` off it."""

    def __init__(self, host: Hypercalls, path: str | Path) -> None:
        """Create the file, or empty it.  Raises OSError."""
        host.assert_unscheduled("opening a capture")
        self.error: int = 0
        """The errno that ended the writing."""
        self._fd = create_private(path)
        self._host = host
        self._waiting: list[bytes] = []
        self._size = 0
        self._writing = threading.Lock()
        """Held by who writes, so that blocks stay in order."""
        self._bell: _Bell | None = None
        if isinstance(host, PosixHost):
            self._bell = _Bell(self)
            host.loop.register(self._bell, EPOLLIN)

    def room(self) -> int:
        return 0 if self.error else MAX_WAITING - self._size

    def write(self, data: bytes) -> None:
        bell = self._bell
        if bell is not None and not self._waiting:
            bell.ring()
        self._waiting.append(data)
        self._size += len(data)
        if bell is None and self._size >= WRITE_THROUGH:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            self._host.schedule()
            blocks, self._waiting = self._waiting, []
            self._size = 0
            self._host.unschedule()
            data = memoryview(b"".join(blocks))
            while data and not self.error:
                try:
                    data = data[os.write(self._fd, data) :]
                except OSError as problem:
                    self.error = problem.errno or errno.EIO

    def close(self) -> None:
        """Write what waits and close the file."""
        if self._bell is not None:
            self._bell.close(cast(PosixHost, self._host))
            self._bell = None
        self.flush()
        os.close(self._fd)


@final
class _Bell(Source):
    """An eventfd that has the driver of the loop write, off the schedule."""

    def __init__(self, file: CaptureFile) -> None:
        super().__init__(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), False)
        self._file = file
        self._closing = threading.Lock()

    def ring(self) -> None:
        """There is something to write."""
        os.eventfd_write(self.fd, 1)

    def on_events(self, events: int, now: Instant) -> None:
        with self._closing:
            if self.watched < 0:
                return
            os.eventfd_read(self.fd)
            self._file.flush()

    def close(self, host: PosixHost) -> None:
        """Ring no more."""
        with self._closing:
            host.loop.unregister(self)
            os.close(self.fd)
