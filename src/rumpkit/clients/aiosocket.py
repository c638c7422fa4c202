"""Socket objects for coroutines: as `socketlike.py`, awaited."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ..kern.abi.errno import EBADF
from ..kern.abi.socket import SHUT_RDWR, SO_REUSEADDR, SOL_SOCKET, SOMAXCONN
from .aio_call import AioCall
from .convert import Address, Data, TextAddress, to_bytes

if TYPE_CHECKING:
    from .aio import AioProcess

CLOSED = -1


class AioSocket:
    """One socket of a process.  Usable with `async with`, which closes it.  All methods raise OSError with the kernel's
    errno; for timeouts use those of the event loop (`asyncio.timeout`)."""

    def __init__(self, process: "AioProcess", fd: int) -> None:
        self._process = process
        self._fd = fd

    async def __aenter__(self) -> "AioSocket":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self._fd} of process {self._process.process.pid}>"

    def fileno(self) -> int:
        """The number in the kernel's process; -1 once closed."""
        return self._fd

    async def bind(self, address: Address) -> None:
        """Name the local end: ("10.0.2.15", 80); "" for any address, 0 for any port."""
        await self._process.bind(self._fd, address)

    async def listen(self, backlog: int = SOMAXCONN) -> None:
        """Accept connections from now on."""
        await self._process.listen(self._fd, backlog)

    async def accept(self) -> tuple["AioSocket", TextAddress]:
        """The next connection and its peer's address.  Raises ECONNABORTED, EMFILE."""
        fd, peer = await self._process.accept4(self._fd)
        return AioSocket(self._process, fd), peer

    async def connect(self, address: Address) -> None:
        """Connect to ("10.0.2.2", 80), or for datagrams make that the peer.  Raises ECONNREFUSED, ETIMEDOUT,
        EHOSTUNREACH, ENETUNREACH."""
        await self._process.connect(self._fd, address)

    def send(self, data: Data, flags: int = 0) -> Coroutine[Any, Any, int]:
        """Send `data`; how many bytes went (all, unless the call is interrupted)."""
        # Here and in `recv` without a coroutine of its own around the call, which would cost as much.
        process = self._process
        return AioCall(process, "sendto", process.sockets.sendto, (self._fd, to_bytes(data), flags))

    async def sendall(self, data: Data, flags: int = 0) -> None:
        """Send all of `data`."""
        data = data if isinstance(data, bytes) else bytes(data)
        sent = await self._process.send(self._fd, data, flags)
        while sent < len(data):
            sent += await self._process.send(self._fd, data[sent:], flags)

    async def sendto(self, data: Data, address: Address, flags: int = 0) -> int:
        """Send one datagram; how many bytes went."""
        return await self._process.sendto(self._fd, data, flags, address)

    def recv(self, size: int, flags: int = 0) -> Coroutine[Any, Any, bytes]:
        """Up to `size` bytes, or one datagram; b"" at a stream's end.  Raises ECONNRESET."""
        process = self._process
        return AioCall(process, "recvfrom", process.sockets.recvfrom, (self._fd, size, flags), True)

    async def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, TextAddress | None]:
        """As `recv`, with the sender's address (None for streams)."""
        return await self._process.recvfrom(self._fd, size, flags)

    async def getsockname(self) -> TextAddress:
        """The local address and port."""
        return await self._process.getsockname(self._fd)

    async def getpeername(self) -> TextAddress:
        """The peer's address and port.  Raises ENOTCONN."""
        return await self._process.getpeername(self._fd)

    async def getsockopt(self, level: int, name: int) -> int:
        """An option that is an int."""
        return int.from_bytes((await self._process.getsockopt(self._fd, level, name))[:4], "little", signed=True)

    async def setsockopt(self, level: int, name: int, value: int | Data) -> None:
        """Set an option: an int, or the bytes of its C layout."""
        await self._process.setsockopt(self._fd, level, name, value)

    async def reuse_address(self) -> None:
        """Set SO_REUSEADDR."""
        await self.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)

    async def shutdown(self, how: int = SHUT_RDWR) -> None:
        """End one or both directions: SHUT_RD, SHUT_WR, SHUT_RDWR.  Raises ENOTCONN."""
        await self._process.shutdown(self._fd, how)

    async def close(self) -> None:
        """Close the socket; whoever waits on it gets EBADF.  Again, it does nothing."""
        fd, self._fd = self._fd, CLOSED
        if fd != CLOSED:
            try:
                await self._process.close(fd)
            except OSError as problem:
                if problem.errno != EBADF:
                    raise
