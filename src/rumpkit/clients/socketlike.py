"""Socket objects in the manner of Python's `socket.socket`, over a descriptor of a local process.

They differ where a kernel in the same process allows better: addresses are numeric text, a timeout is the socket's own
SO_RCVTIMEO and SO_SNDTIMEO, and `fileno()` is the kernel's number, which only calls of the same process know.
"""

from collections.abc import Sequence
from io import BufferedReader, BufferedRWPair, BufferedWriter, RawIOBase
from typing import TYPE_CHECKING, Final

from ..kern.abi.errno import EAGAIN, EBADF, EINPROGRESS, EISCONN, error
from ..kern.abi.fcntl import F_GETFL, F_SETFL, O_NONBLOCK
from ..kern.abi.socket import (
    SHUT_RDWR,
    SO_DOMAIN,
    SO_ERROR,
    SO_PROTOCOL,
    SO_RCVTIMEO,
    SO_REUSEADDR,
    SO_SNDTIMEO,
    SO_TYPE,
    SOL_SOCKET,
    SOMAXCONN,
)
from .convert import Address, Data, Number, TextAddress, to_timeval

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .local import LocalProcess

CLOSED: Final = -1


class SocketLike:
    """One socket of a process.  Usable as a context manager, which closes it.

    All methods raise OSError with the kernel's errno, and TimeoutError once a timeout that was set has passed.
    """

    def __init__(self, process: "LocalProcess", fd: int) -> None:
        self._process = process
        self._fd = fd
        self._timeout: Number | None = None

    def __enter__(self) -> "SocketLike":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self._fd} of process {self._process.process.pid}>"

    # What it is ------------------------------------------------------------------------------------------

    @property
    def family(self) -> int:
        """AF_*."""
        return self.getsockopt(SOL_SOCKET, SO_DOMAIN)

    @property
    def type(self) -> int:
        """SOCK_*."""
        return self.getsockopt(SOL_SOCKET, SO_TYPE)

    @property
    def proto(self) -> int:
        """IPPROTO_*."""
        return self.getsockopt(SOL_SOCKET, SO_PROTOCOL)

    def fileno(self) -> int:
        """The number in the kernel's process; -1 once closed."""
        return self._fd

    def getsockname(self) -> TextAddress:
        """The local address and port."""
        return self._process.getsockname(self._fd)

    def getpeername(self) -> TextAddress:
        """The peer's address and port.  Raises ENOTCONN."""
        return self._process.getpeername(self._fd)

    # Connecting ------------------------------------------------------------------------------------------

    def bind(self, address: Address) -> None:
        """Name the local end: ("10.0.2.15", 80); "" for any address, 0 for any port.  Raises EADDRINUSE,
        EADDRNOTAVAIL."""
        self._process.bind(self._fd, address)

    def listen(self, backlog: int = SOMAXCONN) -> None:
        """Accept connections from now on."""
        self._process.listen(self._fd, backlog)

    def accept(self) -> tuple["SocketLike", TextAddress]:
        """The next connection and its peer's address.  Raises TimeoutError, EAGAIN if non-blocking, ECONNABORTED."""
        try:
            fd, peer = self._process.accept4(self._fd)
        except OSError as problem:
            raise self._translate(problem) from None
        return SocketLike(self._process, fd), peer

    def connect(self, address: Address) -> None:
        """Connect to ("10.0.2.2", 80), or for datagrams make that the peer.  Raises ECONNREFUSED, ETIMEDOUT,
        EHOSTUNREACH, ENETUNREACH, TimeoutError, and EINPROGRESS if non-blocking."""
        try:
            self._process.connect(self._fd, address)
        except OSError as problem:
            raise self._translate(problem) from None

    def connect_ex(self, address: Address) -> int:
        """As `connect`, but the error's number is returned; 0 if there is none."""
        try:
            self._process.connect(self._fd, address)
        except OSError as problem:
            return 0 if problem.errno == EISCONN else problem.errno or 0
        return 0

    # Sending and receiving -------------------------------------------------------------------------------

    def send(self, data: Data, flags: int = 0) -> int:
        """Send `data`; how many bytes went (all, unless non-blocking or the timeout passes)."""
        try:
            return self._process.send(self._fd, data, flags)
        except OSError as problem:
            raise self._translate(problem) from None

    def sendall(self, data: Data, flags: int = 0) -> None:
        """Send all of `data`.  Raises TimeoutError if it did not go in time."""
        size = len(data) if isinstance(data, bytes) else memoryview(data).nbytes
        sent = self.send(data, flags)
        if sent < size:
            raise self._translate(error(EAGAIN))

    def sendto(self, data: Data, *arguments: "int | Address") -> int:
        """`sendto(data, address)` or `sendto(data, flags, address)`: send one datagram; how many bytes went."""
        flags = arguments[0] if isinstance(arguments[0], int) else 0
        address = arguments[-1]
        if isinstance(address, int):
            raise TypeError("sendto wants an address")
        try:
            return self._process.sendto(self._fd, data, flags, address)
        except OSError as problem:
            raise self._translate(problem) from None

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Up to `size` bytes, or one datagram; b"" at a stream's end.  Raises TimeoutError, ECONNRESET."""
        try:
            return self._process.recv(self._fd, size, flags)
        except OSError as problem:
            raise self._translate(problem) from None

    def recv_into(self, buffer: bytearray | memoryview, size: int = 0, flags: int = 0) -> int:
        """As `recv`, into `buffer` (up to `size` bytes of it, all if 0); how many bytes came."""
        view = memoryview(buffer).cast("B")
        data = self.recv(min(size, len(view)) if size else len(view), flags)
        view[: len(data)] = data
        return len(data)

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, TextAddress | None]:
        """As `recv`, with the sender's address (None for streams)."""
        try:
            return self._process.recvfrom(self._fd, size, flags)
        except OSError as problem:
            raise self._translate(problem) from None

    # Options ---------------------------------------------------------------------------------------------

    def settimeout(self, timeout: Number | None) -> None:
        """Let calls wait for at most `timeout` seconds; None: for ever; 0: not at all (non-blocking)."""
        if timeout is not None and timeout < 0:
            raise ValueError("a timeout can't be negative")
        flags = self._process.fcntl(self._fd, F_GETFL)
        flags = flags | O_NONBLOCK if timeout == 0 else flags & ~O_NONBLOCK
        self._process.fcntl(self._fd, F_SETFL, flags)
        limit = to_timeval(timeout or None)
        self.setsockopt(SOL_SOCKET, SO_RCVTIMEO, limit)
        self.setsockopt(SOL_SOCKET, SO_SNDTIMEO, limit)
        self._timeout = timeout

    def gettimeout(self) -> Number | None:
        """What `settimeout` set last."""
        return self._timeout

    def setblocking(self, blocking: bool) -> None:
        """`settimeout(None)` or `settimeout(0)`."""
        self.settimeout(None if blocking else 0)

    def getblocking(self) -> bool:
        """Whether calls wait."""
        return self._timeout != 0

    def setsockopt(self, level: int, name: int, value: int | Data) -> None:
        """Set an option: an int, or the bytes of its C layout."""
        self._process.setsockopt(self._fd, level, name, value)

    def getsockopt(self, level: int, name: int) -> int:
        """An option that is an int."""
        return int.from_bytes(self._process.getsockopt(self._fd, level, name)[:4], "little", signed=True)

    def getsockopt_bytes(self, level: int, name: int) -> bytes:
        """An option in its C layout, little-endian."""
        return self._process.getsockopt(self._fd, level, name)

    def take_error(self) -> int:
        """SO_ERROR: the pending error's number, which is then forgotten; 0 if there is none."""
        return self.getsockopt(SOL_SOCKET, SO_ERROR)

    def reuse_address(self) -> None:
        """Set SO_REUSEADDR."""
        self.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)

    # Ending ----------------------------------------------------------------------------------------------

    def shutdown(self, how: int = SHUT_RDWR) -> None:
        """End one or both directions: SHUT_RD, SHUT_WR, SHUT_RDWR.  Raises ENOTCONN."""
        self._process.shutdown(self._fd, how)

    def detach(self) -> int:
        """Give the number away: the object is closed, the socket is not."""
        fd, self._fd = self._fd, CLOSED
        return fd

    def close(self) -> None:
        """Close the socket; whoever waits on it gets EBADF.  Again, it does nothing."""
        fd = self.detach()
        if fd != CLOSED:
            try:
                self._process.close(fd)
            except OSError as problem:
                if problem.errno != EBADF:
                    raise

    # Files -----------------------------------------------------------------------------------------------

    def makefile(self, mode: str = "rb", buffering: int = 65536) -> BufferedReader | BufferedWriter | BufferedRWPair:
        """A buffered binary file over a duplicate of the socket: "rb", "wb" or "rwb"."""
        readable, writable = "r" in mode, "w" in mode
        if not (readable or writable) or set(mode) - set("rwb"):
            raise ValueError(f"mode must be rb, wb or rwb, not {mode!r}")
        if readable and writable:
            return BufferedRWPair(_SocketFile(self, True, False), _SocketFile(self, False, True), buffering)
        if readable:
            return BufferedReader(_SocketFile(self, True, False), buffering)
        return BufferedWriter(_SocketFile(self, False, True), buffering)

    def dup(self) -> "SocketLike":
        """Another object and number for the same socket."""
        other = SocketLike(self._process, self._process.dup(self._fd))
        other._timeout = self._timeout
        return other

    def sendmsg(self, parts: Sequence[Data]) -> int:
        """Send the parts as one; how many bytes went."""
        return self.send(b"".join(parts))

    def _translate(self, problem: OSError) -> OSError:
        """What the program gets to see: TimeoutError, where a timeout has passed."""
        if self._timeout and problem.errno in (EAGAIN, EINPROGRESS):
            return TimeoutError("timed out")
        return problem


class _SocketFile(RawIOBase):
    """An unbuffered file over a duplicate of a socket."""

    def __init__(self, socket: SocketLike, readable: bool, writable: bool) -> None:
        self._socket = socket.dup()
        self._readable = readable
        self._writable = writable

    def readable(self) -> bool:
        return self._readable

    def writable(self) -> bool:
        return self._writable

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return self._socket.recv_into(memoryview(buffer))

    def write(self, data: "ReadableBuffer") -> int:
        return self._socket.send(data if isinstance(data, bytes) else bytes(data))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._socket.close()
