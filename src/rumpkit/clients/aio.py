"""The asynchronous client: the calls of `local.py`, awaited.

`process.aio.read(fd, 100)` is a coroutine that does what `process.read(fd, 100)` does, with the same arguments, results and
errors; its docstring is that of the plain call.  It runs under asyncio, or as a `SimTask` in a simulation.  A call that
does not have to wait is done at once, without going through the event loop.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast, overload

from ..kern.abi.poll import POLLIN
from ..kern.abi.socket import SO_DOMAIN, SOCK_STREAM, SOL_SOCKET, SOMAXCONN
from ..kern.calls import KernCalls
from ..kern.kernel import RumpKernel
from ..kern.pollcalls import PollCalls
from ..kern.process import Process
from ..kern.socket import Received, SocketAddress
from ..kern.socketcalls import SocketCalls
from .aio_files import AioFiles
from .convert import (
    NANOSECONDS,
    Address,
    Data,
    Number,
    TextAddress,
    to_address,
    to_bytes,
    to_duration,
    to_option,
    to_parts,
    to_text,
    triple,
)
from .local import LocalProcess
from .table import CALLS

if TYPE_CHECKING:
    from .aiosocket import AioSocket


class AioProcess(AioFiles):
    """One process of a kernel, and the system calls it can make, to be awaited."""

    def __init__(self, kernel: RumpKernel, process: Process) -> None:
        super().__init__(kernel, process)
        self._kern = cast(KernCalls, kernel.service("KernCalls"))
        self._sockets = cast(SocketCalls, kernel.service("SocketCalls"))
        self._poll = cast(PollCalls, kernel.service("PollCalls"))

    async def __aenter__(self) -> "AioProcess":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.exit()

    # Reading and writing ---------------------------------------------------------------------------------

    async def read(self, fd: int, size: int) -> bytes:
        return cast(bytes, await self.run("read", self._kern.read, fd, size))

    async def write(self, fd: int, data: Data) -> int:
        return cast(int, await self.run("write", self._kern.write, fd, to_bytes(data)))

    async def writev(self, fd: int, parts: Sequence[Data]) -> int:
        return cast(int, await self.run("writev", self._kern.writev, fd, to_parts(parts)))

    async def pread(self, fd: int, size: int, offset: int) -> bytes:
        return cast(bytes, await self.run("pread", self._kern.pread, fd, size, offset))

    async def pwrite(self, fd: int, data: Data, offset: int) -> int:
        return cast(int, await self.run("pwrite", self._kern.pwrite, fd, to_bytes(data), offset))

    async def lseek(self, fd: int, offset: int, whence: int = 0) -> int:
        return cast(int, await self.run("lseek", self._kern.lseek, fd, offset, whence))

    async def ioctl(self, fd: int, request: int, argument: Data = b"") -> bytes:
        return cast(bytes, await self.run("ioctl", self._kern.ioctl, fd, request, to_bytes(argument)))

    # Descriptors -----------------------------------------------------------------------------------------

    async def close(self, fd: int) -> None:
        await self.run("close", self._kern.close, fd)

    async def dup(self, fd: int) -> int:
        return cast(int, await self.run("dup", self._kern.dup, fd))

    async def dup2(self, fd: int, other: int) -> int:
        return cast(int, await self.run("dup2", self._kern.dup2, fd, other))

    async def dup3(self, fd: int, other: int, flags: int = 0) -> int:
        return cast(int, await self.run("dup3", self._kern.dup3, fd, other, flags))

    async def fcntl(self, fd: int, command: int, argument: int = 0) -> int:
        return cast(int, await self.run("fcntl", self._kern.fcntl, fd, command, argument))

    async def pipe2(self, flags: int = 0) -> tuple[int, int]:
        return cast("tuple[int, int]", await self.run("pipe2", self._kern.pipe2, flags))

    async def eventfd2(self, value: int = 0, flags: int = 0) -> int:
        return cast(int, await self.run("eventfd2", self._kern.eventfd2, value, flags))

    # Processes, and the kernel ---------------------------------------------------------------------------

    async def getpid(self) -> int:
        return cast(int, await self.run("getpid", self._kern.getpid))

    async def getppid(self) -> int:
        return cast(int, await self.run("getppid", self._kern.getppid))

    async def fork(self) -> "LocalProcess":
        return LocalProcess(self.kernel, cast(Process, await self.run("fork", self._kern.fork)))

    async def exit(self) -> None:
        await self.run("exit", self._kern.exit)

    async def getuid(self) -> int:
        return cast(int, await self.run("getuid", self._kern.getuid))

    async def getgid(self) -> int:
        return cast(int, await self.run("getgid", self._kern.getgid))

    async def getgroups(self) -> list[int]:
        return cast("list[int]", await self.run("getgroups", self._kern.getgroups))

    async def setuid(self, uid: int) -> None:
        await self.run("setuid", self._kern.setuid, uid)

    async def setgid(self, gid: int) -> None:
        await self.run("setgid", self._kern.setgid, gid)

    async def setgroups(self, groups: Sequence[int]) -> None:
        await self.run("setgroups", self._kern.setgroups, groups)

    async def gethostname(self) -> str:
        return cast(str, await self.run("gethostname", self._kern.gethostname))

    async def sethostname(self, name: str) -> None:
        await self.run("sethostname", self._kern.sethostname, name)

    async def clock_gettime(self, clock: int) -> int:
        return cast(int, await self.run("clock_gettime", self._kern.clock_gettime, clock))

    async def nanosleep(self, seconds: Number) -> None:
        await self.run("nanosleep", self._kern.nanosleep, int(seconds * NANOSECONDS))

    async def getrandom(self, size: int) -> bytes:
        return cast(bytes, await self.run("getrandom", self._kern.getrandom, size))

    # Sockets ---------------------------------------------------------------------------------------------

    @overload
    async def socket(self, family: str) -> "AioSocket": ...

    @overload
    async def socket(self, family: int, kind: int, protocol: int = 0) -> int: ...

    async def socket(self, family: int | str, kind: int = SOCK_STREAM, protocol: int = 0) -> "int | AioSocket":
        if isinstance(family, int):
            return cast(int, await self.run("socket", self._sockets.socket, family, kind, protocol))
        from .aiosocket import AioSocket

        family, kind, protocol = triple(family)
        return AioSocket(self, cast(int, await self.run("socket", self._sockets.socket, family, kind, protocol)))

    async def socketpair(self, family: int, kind: int, protocol: int = 0) -> tuple[int, int]:
        pair = await self.run("socketpair", self._sockets.socketpair, family, kind, protocol)
        return cast("tuple[int, int]", pair)

    async def bind(self, fd: int, address: Address) -> None:
        await self.run("bind", self._sockets.bind, fd, await self._address(fd, address))

    @overload
    async def listen(self, fd: str, number: int, address: str = "") -> "AioSocket": ...

    @overload
    async def listen(self, fd: int, number: int = SOMAXCONN) -> None: ...

    async def listen(self, fd: int | str, number: int = SOMAXCONN, address: str = "") -> "AioSocket | None":
        if isinstance(fd, int):
            await self.run("listen", self._sockets.listen, fd, number)
            return None
        socket = await self.socket(fd)
        try:
            await socket.bind((address, number))
            await socket.listen()
        except BaseException:
            await socket.close()
            raise
        return socket

    async def accept4(self, fd: int, flags: int = 0) -> tuple[int, TextAddress]:
        result = await self.run("accept4", self._sockets.accept4, fd, flags)
        accepted, peer = cast("tuple[int, SocketAddress]", result)
        return accepted, to_text(peer)

    @overload
    async def connect(self, fd: str, address: Address) -> "AioSocket": ...

    @overload
    async def connect(self, fd: int, address: Address) -> None: ...

    async def connect(self, fd: int | str, address: Address) -> "AioSocket | None":
        if isinstance(fd, int):
            await self.run("connect", self._sockets.connect, fd, await self._address(fd, address))
            return None
        socket = await self.socket(fd)
        try:
            await socket.connect(address)
        except BaseException:
            await socket.close()
            raise
        return socket

    async def getsockname(self, fd: int) -> TextAddress:
        return to_text(cast("SocketAddress", await self.run("getsockname", self._sockets.getsockname, fd)))

    async def getpeername(self, fd: int) -> TextAddress:
        return to_text(cast("SocketAddress", await self.run("getpeername", self._sockets.getpeername, fd)))

    async def shutdown(self, fd: int, how: int) -> None:
        await self.run("shutdown", self._sockets.shutdown, fd, how)

    async def send(self, fd: int, data: Data, flags: int = 0) -> int:
        return cast(int, await self.run("sendto", self._sockets.sendto, fd, to_bytes(data), flags))

    async def sendto(self, fd: int, data: Data, flags: int = 0, address: Address | None = None) -> int:
        destination = None if address is None else await self._address(fd, address)
        return cast(int, await self.run("sendto", self._sockets.sendto, fd, to_bytes(data), flags, destination))

    async def recv(self, fd: int, size: int, flags: int = 0) -> bytes:
        return cast(Received, await self.run("recvfrom", self._sockets.recvfrom, fd, size, flags)).data

    async def recvfrom(self, fd: int, size: int, flags: int = 0) -> tuple[bytes, TextAddress | None]:
        received = cast(Received, await self.run("recvfrom", self._sockets.recvfrom, fd, size, flags))
        return received.data, None if received.source is None else to_text(received.source)

    async def getsockopt(self, fd: int, level: int, name: int) -> bytes:
        return cast(bytes, await self.run("getsockopt", self._sockets.getsockopt, fd, level, name))

    async def setsockopt(self, fd: int, level: int, name: int, value: int | Data) -> None:
        await self.run("setsockopt", self._sockets.setsockopt, fd, level, name, to_option(value))

    # Readiness -------------------------------------------------------------------------------------------

    async def poll(self, entries: Sequence[tuple[int, int]], timeout: Number | None = None) -> list[tuple[int, int]]:
        found = await self.run("poll", self._poll.poll, entries, to_duration(timeout))
        return cast("list[tuple[int, int]]", found)

    async def select(
        self, read: Sequence[int], write: Sequence[int], exceptional: Sequence[int], timeout: Number | None = None
    ) -> tuple[list[int], list[int], list[int]]:
        found = await self.run("select", self._poll.select, read, write, exceptional, to_duration(timeout))
        return cast("tuple[list[int], list[int], list[int]]", found)

    async def epoll_create1(self, flags: int = 0) -> int:
        return cast(int, await self.run("epoll_create1", self._poll.epoll_create1, flags))

    async def epoll_ctl(
        self, epfd: int, operation: int, fd: int, events: int = POLLIN, data: int | None = None
    ) -> None:
        await self.run("epoll_ctl", self._poll.epoll_ctl, epfd, operation, fd, events, data)

    async def epoll_wait(self, epfd: int, limit: int = 64, timeout: Number | None = None) -> list[tuple[int, int]]:
        found = await self.run("epoll_wait", self._poll.epoll_wait, epfd, limit, to_duration(timeout))
        return cast("list[tuple[int, int]]", found)

    # -----------------------------------------------------------------------------------------------------

    async def _address(self, fd: int, address: Address) -> SocketAddress:
        """The address as kernels take it; what "" means depends on the socket."""
        if address[0] != "":
            return to_address(address)
        family = cast(bytes, await self.run("getsockopt", self._sockets.getsockopt, fd, SOL_SOCKET, SO_DOMAIN))
        return to_address(address, int.from_bytes(family, "little"))


def _take_docstrings() -> None:
    for call in CALLS:
        getattr(AioProcess, call.name).__doc__ = getattr(LocalProcess, call.name).__doc__


_take_docstrings()
