"""Making a unix stream socket look like TCP to the program that holds the other end.

A program's socket begins as an unconnected unix socket: poll says of one what it says of a fresh TCP socket.  Its
program's descriptor can't be exchanged later (it may be in epoll sets, dup'ed, inherited), but a copy of it in this process is
the same open file: at connect or listen we connect that copy to a unix listener of our own, and hold the other end.

Filling is how such a socket is kept from being writable: its send buffer is made small and filled up through the
copy.  When it shall become writable, the filling is read from our end, and only then the buffer gets its size back.
"""

import _socket
import os
import socket
from typing import Final, final

from ...kern.abi.errno import EOPNOTSUPP

_SMALLEST_BUFFER: Final = 4608
"""The least that Linux allows for SO_SNDBUF."""
_DEFAULT_BUFFER: Final = 212992
_FILLING: Final = bytes(4096)
_BACKLOG: Final = 16
_RANDOM: Final = 8
"""Bytes that make a name of its own."""
_TOKEN: Final = b"!"
_taken: Final = [bytearray(1)]
MEETING: Final = b"\0rumpkit-meeting-"
"""How the abstract names of meeting places begin."""
_PEER: Final = 12
"""Size of struct ucred, which begins with the process id."""


def stream(fd: int) -> socket.socket:
    """A socket object for a unix stream descriptor, without the calls that find out what it is."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)


@final
class MeetingPlace:
    """Our listener, in the abstract name space of the program's network namespace.  No program may connect to it (`named`): with its queue
    full, we would wait for ourselves.  Whoever is not this process is turned away."""

    def __init__(self, fd: int) -> None:
        self._listener = stream(fd)
        self._listener.setblocking(False)
        self._listener.bind(MEETING + os.urandom(_RANDOM).hex().encode())
        self._listener.listen(_BACKLOG)
        self._name = self._listener.getsockname()
        self._me = os.getpid()

    def connect(self, copy: socket.socket) -> socket.socket:
        """Connect the program's socket; returns our end, which does not block.  The copy keeps its own flags."""
        while True:
            try:
                copy.connect(self._name)
                break
            except BlockingIOError:  # strangers fill the queue
                self._turn_away()
        while True:
            end, _ = self._listener.accept()
            if self._ours(end):
                end.setblocking(False)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
                return end
            end.close()

    def _turn_away(self) -> None:
        end, _ = self._listener.accept()
        end.close()

    def _ours(self, end: socket.socket) -> bool:
        peer = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER)
        return int.from_bytes(peer[:4], "little") == self._me

    def close(self) -> None:
        """Connect no more."""
        self._listener.close()


def give_options(fd: int, options: dict[tuple[int, int], bytes]) -> None:
    """Set options as a listener has them.  What it was refused, its connections are, too."""
    copy = stream(fd)
    for (level, name), value in options.items():
        try:
            copy.setsockopt(level, name, value)
        except OSError:
            continue
    copy.detach()


def fill(copy: socket.socket) -> int:
    """Make the program's end unwritable; returns how many bytes of filling wait at ours."""
    copy.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALLEST_BUFFER)
    filled = 0
    while True:
        try:
            filled += copy.send(_FILLING, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return filled


def drain(copy: socket.socket, end: socket.socket, filled: int) -> None:
    """Take the filling out again, which makes the program's end writable."""
    while filled > 0:
        filled -= len(end.recv(filled))
    copy.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _DEFAULT_BUFFER)


def put_token(end: socket.socket) -> bool:
    """Make a listener readable for one more connection; False if its buffer is full of such tokens, or it is gone."""
    try:
        return end.send(_TOKEN, socket.MSG_NOSIGNAL) == 1
    except OSError:
        return False


def take_token(copy: int) -> bool:
    """Take one token back, through a copy of the program's end; False if it has read them itself."""
    try:
        return os.preadv(copy, _taken, -1, os.RWF_NOWAIT) == 1  # without a socket object around it
    except OSError as problem:
        if problem.errno != EOPNOTSUPP:
            return False
    # Linux before 6.5 knows of this for files alone.
    end = _socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, copy)
    try:
        return end.recv(1, socket.MSG_DONTWAIT) == _TOKEN
    except OSError:
        return False
    finally:
        end.detach()


def poison(copy: socket.socket) -> None:
    """Through a copy of the program's end, put a byte into ours that nobody will read: when ours is closed, the program
    sees what is queued for it, then ECONNRESET.  Without it, it would see the end of the stream."""
    try:
        copy.send(b"!", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        pass  # full of unread data, which does as well; or shut down, and then it is not listening for it
