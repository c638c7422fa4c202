"""The line to gdb: a socket that listens, one connection at a time, and the thread that reads from it while the tracer's waits for the
program.

Between `packets` and `session`.  The tracer's thread sleeps in waitpid(2) while the program runs; so Ctrl-C is heard here, and stops it.
"""

import os
import select
import signal
import socket
import stat
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, final

from .packets import ACK, INTERRUPT, BadPacket, Decoder, encode

CONNECTED: Final = "connected"
PACKET: Final = "packet"
CLOSED: Final = "closed"
GOES_ON: Final = b"vCont;"
"""What comes in: gdb is there, says something, is gone."""


def listen(place: str) -> socket.socket:
    """A socket that listens: on a TCP port of the host's loopback where `place` is a number, else a unix socket of that path, which only
    its owner may use.  Raises OSError."""
    if place.isdecimal():
        tcp = socket.socket()
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind(("127.0.0.1", int(place)))
            tcp.listen(1)
        except BaseException:
            tcp.close()
            raise
        return tcp
    try:
        if stat.S_ISSOCK(os.lstat(place).st_mode):
            os.unlink(place)  # of an earlier run; where one listens still, it isn't found any more
    except FileNotFoundError:
        pass
    unix = socket.socket(socket.AF_UNIX)
    try:
        # The mode before the name: nobody can connect in between.
        os.fchmod(unix.fileno(), 0o600)
        unix.bind(place)
        os.chmod(place, 0o600)
        unix.listen(1)
    except BaseException:
        unix.close()
        raise
    return unix


@final
class Line:
    """One listening socket; what comes is put into `inbox` as (what, data, number of the connection).  `interrupt` is called for Ctrl-C,
    and when gdb has gone while the program runs."""

    def __init__(self, listener: socket.socket, interrupt: Callable[[], None]) -> None:
        self.inbox: SimpleQueue[tuple[str, bytes, int]] = SimpleQueue()
        self._listener = listener
        self._interrupt = interrupt
        self._connection: socket.socket | None = None
        self._acknowledging = True
        self._connections = 0
        self.answering = 0
        """Whose packets are being answered, by number; who has come since gets no answers of theirs."""
        self.awaiting = False
        """Whether gdb has had the program go on and has not heard of a stop: then Ctrl-C means something."""
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="rump-gdb", daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """A packet to gdb; to nobody where it is gone."""
        if self.answering == self._connections:
            self._write(encode(data))

    def stop_acknowledging(self) -> None:
        """As gdb has asked."""
        self._acknowledging = False

    def close(self) -> None:
        """Hang up, and listen no more."""
        os.eventfd_write(self._over, 1)
        self._thread.join()
        os.close(self._over)
        if self._connection is not None:
            self._connection.close()
        if self._listener.family == socket.AF_UNIX:
            try:
                os.unlink(self._listener.getsockname())
            except OSError:
                pass
        self._listener.close()

    def _write(self, data: bytes) -> None:
        try:
            if self._connection is not None:
                self._connection.sendall(data)
        except OSError:
            pass  # its end is read, too

    def _run(self) -> None:
        decoder = Decoder()
        while True:
            poll = select.poll()
            for fd in (self._over, (self._connection or self._listener).fileno()):
                poll.register(fd, select.POLLIN)
            ready = {fd for fd, _ in poll.poll()}
            if self._over in ready:
                return
            if self._connection is None and self._listener.fileno() in ready:
                self._connection = self._listener.accept()[0]
                if self._connection.family == socket.AF_INET:
                    self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._acknowledging = True
                self._connections += 1
                decoder = Decoder()
                self.inbox.put((CONNECTED, b"", self._connections))
            elif self._connection is not None and self._connection.fileno() in ready:
                self._read(decoder)

    def _read(self, decoder: Decoder) -> None:
        connection = self._connection
        assert connection is not None
        try:
            data = connection.recv(65536)
            packets = decoder.feed(data)
        except (OSError, BadPacket):
            data, packets = b"", []
        if not data:
            self._connection = None
            connection.close()
            self.inbox.put((CLOSED, b"", self._connections))
            if self.awaiting:
                self._interrupt()
            return
        for packet, right in packets:
            if packet == INTERRUPT:
                if self.awaiting:
                    self._interrupt()
                continue
            if self._acknowledging:
                self._write(ACK if right else b"-")
            if right:
                self.awaiting = self.awaiting or packet.startswith(GOES_ON)
                self.inbox.put((PACKET, packet, self._connections))


def stop(process: int) -> None:
    """Stop a process so that its tracer hears of it, whatever it has blocked."""
    try:
        os.kill(process, signal.SIGSTOP)
    except ProcessLookupError:
        pass
