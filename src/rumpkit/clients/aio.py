"""The asynchronous client: the calls of `local.py`, awaited.

`process.aio.read(fd, 100)` is a coroutine that does what `process.read(fd, 100)` does, with the same arguments, results and
errors (a test holds the two together).  It runs under asyncio, or as a `SimTask` in a simulation.  A call that
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
from ..kern.socket import ControlMessage, Received, SocketAddress
from ..kern.socketcalls import SocketCalls
from .aio_files import AioFiles
from .convert import (
    NANOSECONDS,
    Address,
    Data,
    Number,
    ReceivedMessage,
    TextAddress,
    to_address,
    to_bytes,
    to_duration,
    to_message,
    to_option,
    to_parts,
    to_text,
    triple,
    with_family,
)
from .local import LocalProcess

if TYPE_CHECKING:
    from .aiosocket import AioSocket


class AioProcess(AioFiles):
    """One process of a kernel, and the system calls it can make, to be awaited."""

    def __init__(self, kernel: RumpKernel, process: Process) -> None:
        super().__init__(kernel, process)
        self._kern = cast(KernCalls, kernel.service("KernCalls"))
        self.sockets = cast(SocketCalls, kernel.service("SocketCalls"))
        self._poll = cast(PollCalls, kernel.service("PollCalls"))

    async def __aenter__(self) -> "AioProcess":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.exit()

    # Reading and writing ---------------------------------------------------------------------------------

    async def read(self, fd: int, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end (POSIX read).  Waits for the first byte unless O_NONBLOCK (EAGAIN).
        Raises EINVAL, EISDIR, EIO, ECONNRESET."""
        return cast(bytes, await self.run("read", self._kern.read, fd, size))

    async def write(self, fd: int, data: Data) -> int:
        """Write `data`, waiting until all of it is taken, unless O_NONBLOCK; how many bytes went (POSIX write).
        `bytes` are kept by reference, anything else is copied.  Raises EPIPE, ENOSPC, EFBIG, EIO, EAGAIN."""
        return cast(int, await self.run("write", self._kern.write, fd, to_bytes(data)))

    async def writev(self, fd: int, parts: Sequence[Data]) -> int:
        """Write the parts as one (POSIX writev).  Raises as `write`."""
        return cast(int, await self.run("writev", self._kern.writev, fd, to_parts(parts)))

    async def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes at byte `offset`, leaving the file's own offset alone (POSIX pread).
        Raises ESPIPE, EINVAL, EISDIR, EIO."""
        return cast(bytes, await self.run("pread", self._kern.pread, fd, size, offset))

    async def pwrite(self, fd: int, data: Data, offset: int) -> int:
        """Write `data` at byte `offset`, leaving the file's own offset alone; how many bytes went (POSIX pwrite).
        Raises ESPIPE, EINVAL, ENOSPC, EFBIG, EIO."""
        return cast(int, await self.run("pwrite", self._kern.pwrite, fd, to_bytes(data), offset))

    async def lseek(self, fd: int, offset: int, whence: int = 0) -> int:
        """Move the file's offset, from SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA or SEEK_HOLE; the new one, in bytes
        (POSIX lseek).  Raises ESPIPE, EINVAL, ENXIO."""
        return cast(int, await self.run("lseek", self._kern.lseek, fd, offset, whence))

    async def ioctl(self, fd: int, request: int, argument: Data = b"") -> bytes:
        """Device control: the request's argument and answer in their C layout (Linux ioctl).  Raises ENOTTY, EINVAL."""
        return cast(bytes, await self.run("ioctl", self._kern.ioctl, fd, request, to_bytes(argument)))

    # Descriptors -----------------------------------------------------------------------------------------

    async def close(self, fd: int) -> None:
        """Free the number; the open file goes with its last number, and calls that wait for it end with EBADF
        (POSIX close)."""
        await self.run("close", self._kern.close, fd)

    async def dup(self, fd: int) -> int:
        """The lowest free number, for the same open file (POSIX dup).  Raises EMFILE."""
        return cast(int, await self.run("dup", self._kern.dup, fd))

    async def dup2(self, fd: int, other: int) -> int:
        """Make `other` mean the same open file, closing what it meant (POSIX dup2)."""
        return cast(int, await self.run("dup2", self._kern.dup2, fd, other))

    async def dup3(self, fd: int, other: int, flags: int = 0) -> int:
        """As dup2, with O_CLOEXEC (POSIX.1-2024 dup3).  Raises EINVAL for other flags and for equal numbers."""
        return cast(int, await self.run("dup3", self._kern.dup3, fd, other, flags))

    async def fcntl(self, fd: int, command: int, argument: int = 0) -> int:
        """F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETPIPE_SZ, F_SETPIPE_SZ (POSIX fcntl).
        Raises EINVAL, EMFILE, EBUSY, EPERM."""
        return cast(int, await self.run("fcntl", self._kern.fcntl, fd, command, argument))

    async def pipe2(self, flags: int = 0) -> tuple[int, int]:
        """A pipe's read and write ends; flags O_CLOEXEC, O_NONBLOCK (POSIX pipe2).  Raises EINVAL, EMFILE."""
        return cast("tuple[int, int]", await self.run("pipe2", self._kern.pipe2, flags))

    async def eventfd2(self, value: int = 0, flags: int = 0) -> int:
        """An event counter, read and written 8 bytes at a time; flags EFD_SEMAPHORE, EFD_CLOEXEC, EFD_NONBLOCK
        (Linux eventfd).  Raises EINVAL, EMFILE."""
        return cast(int, await self.run("eventfd2", self._kern.eventfd2, value, flags))

    # Processes, and the kernel ---------------------------------------------------------------------------

    async def getpid(self) -> int:
        """The process's number (POSIX getpid)."""
        return cast(int, await self.run("getpid", self._kern.getpid))

    async def getppid(self) -> int:
        """The parent's number, 0 if there is none (POSIX getppid)."""
        return cast(int, await self.run("getppid", self._kern.getppid))

    async def fork(self) -> "LocalProcess":
        """A child that shares the open files and starts from copies of everything else (POSIX fork).  Raises EAGAIN."""
        return LocalProcess(self.kernel, cast(Process, await self.run("fork", self._kern.fork)))

    async def exit(self) -> None:
        """End the process: its descriptors close, its number becomes free (POSIX _exit).  Again, it does nothing."""
        await self.run("exit", self._kern.exit)

    async def getuid(self) -> int:
        """The user, real and effective alike (POSIX getuid)."""
        return cast(int, await self.run("getuid", self._kern.getuid))

    async def getgid(self) -> int:
        """The group, real and effective alike (POSIX getgid)."""
        return cast(int, await self.run("getgid", self._kern.getgid))

    async def getgroups(self) -> list[int]:
        """The supplementary groups (POSIX getgroups)."""
        return cast("list[int]", await self.run("getgroups", self._kern.getgroups))

    async def setuid(self, uid: int) -> None:
        """Become another user, for good (POSIX setuid).  Raises EPERM unless root, EINVAL."""
        await self.run("setuid", self._kern.setuid, uid)

    async def setgid(self, gid: int) -> None:
        """Change the group (POSIX setgid).  Raises EPERM unless root, EINVAL."""
        await self.run("setgid", self._kern.setgid, gid)

    async def setgroups(self, groups: Sequence[int]) -> None:
        """Replace the supplementary groups (Linux setgroups).  Raises EPERM unless root, EINVAL."""
        await self.run("setgroups", self._kern.setgroups, groups)

    async def gethostname(self) -> str:
        """The kernel's name (POSIX gethostname)."""
        return cast(str, await self.run("gethostname", self._kern.gethostname))

    async def sethostname(self, name: str) -> None:
        """Rename the kernel (Linux sethostname).  Raises EPERM unless root, EINVAL beyond 64 bytes."""
        await self.run("sethostname", self._kern.sethostname, name)

    async def clock_gettime(self, clock: int) -> int:
        """CLOCK_REALTIME or CLOCK_MONOTONIC in nanoseconds (POSIX clock_gettime).  Raises EINVAL."""
        return cast(int, await self.run("clock_gettime", self._kern.clock_gettime, clock))

    async def nanosleep(self, seconds: Number) -> None:
        """Wait for `seconds` (POSIX nanosleep).  Raises EINVAL for negative ones, EINTR."""
        await self.run("nanosleep", self._kern.nanosleep, int(seconds * NANOSECONDS))

    async def getrandom(self, size: int) -> bytes:
        """`size` random bytes fit for keys; in simulation they come from the seed (Linux getrandom).  Raises EINVAL."""
        return cast(bytes, await self.run("getrandom", self._kern.getrandom, size))

    # Sockets ---------------------------------------------------------------------------------------------

    @overload
    async def socket(self, family: str) -> "AioSocket": ...

    @overload
    async def socket(self, family: int, kind: int, protocol: int = 0) -> int: ...

    async def socket(self, family: int | str, kind: int = SOCK_STREAM, protocol: int = 0) -> "int | AioSocket":
        """A new socket's number, for AF_* and SOCK_* (with SOCK_NONBLOCK, SOCK_CLOEXEC); or, for "tcp", "udp", "tcp6",
        "udp6", an object like Python's sockets (POSIX socket).
        Raises EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EINVAL, EMFILE; ValueError for other names."""
        if isinstance(family, int):
            return cast(int, await self.run("socket", self.sockets.socket, family, kind, protocol))
        from .aiosocket import AioSocket

        family, kind, protocol = triple(family)
        return AioSocket(self, cast(int, await self.run("socket", self.sockets.socket, family, kind, protocol)))

    async def socketpair(self, family: int, kind: int, protocol: int = 0) -> tuple[int, int]:
        """Two connected sockets (POSIX socketpair).  Raises EOPNOTSUPP where the family has no pairs, and as `socket`."""
        pair = await self.run("socketpair", self.sockets.socketpair, family, kind, protocol)
        return cast("tuple[int, int]", pair)

    async def bind(self, fd: int, address: Address) -> None:
        """Name the local end: ("10.0.2.15", 80), "" for any address, 0 for any port (POSIX bind).
        Raises EADDRINUSE, EADDRNOTAVAIL, EINVAL, EACCES."""
        await self.run("bind", self.sockets.bind, fd, await self._address(fd, address))

    @overload
    async def listen(self, fd: str, number: int, address: str = "") -> "AioSocket": ...

    @overload
    async def listen(self, fd: int, number: int = SOMAXCONN) -> None: ...

    async def listen(self, fd: int | str, number: int = SOMAXCONN, address: str = "") -> "AioSocket | None":
        """Accept connections from now on, at most `number` of them waiting (POSIX listen).  Raises EOPNOTSUPP, EINVAL.

        Or, for "tcp" and a port: a listening socket object, bound to that port and `address`.
        """
        if isinstance(fd, int):
            await self.run("listen", self.sockets.listen, fd, number)
            return None
        socket = await self.socket(with_family(fd, (address, 0)))
        try:
            await socket.bind((address, number))
            await socket.listen()
        except BaseException:
            await socket.close()
            raise
        return socket

    async def accept4(self, fd: int, flags: int = 0) -> tuple[int, TextAddress]:
        """The first waiting connection: its number and its peer's address; flags SOCK_NONBLOCK, SOCK_CLOEXEC
        (POSIX accept4).  Raises EAGAIN, EINVAL unless listening, ECONNABORTED, EMFILE, EOPNOTSUPP."""
        result = await self.run("accept4", self.sockets.accept4, fd, flags)
        accepted, peer = cast("tuple[int, SocketAddress]", result)
        return accepted, to_text(peer)

    @overload
    async def connect(self, fd: str, address: Address) -> "AioSocket": ...

    @overload
    async def connect(self, fd: int, address: Address) -> None: ...

    async def connect(self, fd: int | str, address: Address) -> "AioSocket | None":
        """Connect, or for datagrams set the peer: ("10.0.2.2", 80) (POSIX connect).  If the call is interrupted or does
        not wait (EINPROGRESS), the attempt goes on; writability and SO_ERROR tell its end.  Raises ECONNREFUSED,
        ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EISCONN, EALREADY, EADDRNOTAVAIL.

        Or, for "tcp" and the like: a new connected socket object, of the address's version of IP.
        """
        if isinstance(fd, int):
            await self.run("connect", self.sockets.connect, fd, await self._address(fd, address))
            return None
        socket = await self.socket(with_family(fd, address))
        try:
            await socket.connect(address)
        except BaseException:
            await socket.close()
            raise
        return socket

    async def getsockname(self, fd: int) -> TextAddress:
        """The local address (POSIX getsockname)."""
        return to_text(cast("SocketAddress", await self.run("getsockname", self.sockets.getsockname, fd)))

    async def getpeername(self, fd: int) -> TextAddress:
        """The peer's address (POSIX getpeername).  Raises ENOTCONN."""
        return to_text(cast("SocketAddress", await self.run("getpeername", self.sockets.getpeername, fd)))

    async def shutdown(self, fd: int, how: int) -> None:
        """End one or both directions: SHUT_RD, SHUT_WR, SHUT_RDWR (POSIX shutdown).  Raises ENOTCONN, EINVAL."""
        await self.run("shutdown", self.sockets.shutdown, fd, how)

    async def send(self, fd: int, data: Data, flags: int = 0) -> int:
        """As `sendto` without a destination (POSIX send)."""
        return cast(int, await self.run("sendto", self.sockets.sendto, fd, to_bytes(data), flags))

    async def sendto(self, fd: int, data: Data, flags: int = 0, address: Address | None = None) -> int:
        """Send `data`; a stream waits until all of it is taken, unless O_NONBLOCK or MSG_DONTWAIT; how many bytes went
        (POSIX sendto).  `bytes` are kept by reference.
        Raises EPIPE, ENOTCONN, EDESTADDRREQ, ECONNRESET, EMSGSIZE, EAGAIN, ENETUNREACH."""
        destination = None if address is None else await self._address(fd, address)
        return cast(int, await self.run("sendto", self.sockets.sendto, fd, to_bytes(data), flags, destination))

    async def recv(self, fd: int, size: int, flags: int = 0) -> bytes:
        """As `recvfrom`, without the address (POSIX recv)."""
        return cast(Received, await self.run("recvfrom", self.sockets.recvfrom, fd, size, flags)).data

    async def recvfrom(self, fd: int, size: int, flags: int = 0) -> tuple[bytes, TextAddress | None]:
        """Up to `size` bytes, or one datagram, and where that came from (POSIX recvfrom); b"" is a stream's end.
        flags MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT.  Raises ENOTCONN, ECONNRESET, ECONNREFUSED, EAGAIN."""
        received = cast(Received, await self.run("recvfrom", self.sockets.recvfrom, fd, size, flags))
        return received.data, None if received.source is None else to_text(received.source)

    async def sendmsg(
        self,
        fd: int,
        parts: Sequence[Data],
        control: Sequence[ControlMessage] = (),
        flags: int = 0,
        address: Address | None = None,
    ) -> int:
        """As `sendto`, of the parts as one, with control messages: (level, type, data in its C layout) (POSIX sendmsg).
        Raises as `sendto`, and EINVAL."""
        destination = None if address is None else await self._address(fd, address)
        arguments = (fd, to_parts(parts), tuple(control), flags, destination)
        return cast(int, await self.run("sendmsg", self.sockets.sendmsg, *arguments))

    async def recvmsg(self, fd: int, size: int, flags: int = 0) -> ReceivedMessage:
        """As `recvfrom`: data, control messages, MSG_* flags such as MSG_TRUNC, and the sender (POSIX recvmsg).
        MSG_ERRQUEUE gives errors in full."""
        return to_message(cast(Received, await self.run("recvmsg", self.sockets.recvmsg, fd, size, flags)))

    async def sendmmsg(
        self,
        fd: int,
        messages: Sequence[tuple[Sequence[Data], Sequence[ControlMessage], Address | None]],
        flags: int = 0,
    ) -> int:
        """As `sendmsg` for each of the messages, (parts, control messages, address or None); how many went
        (Linux sendmmsg)."""
        prepared = [
            (to_parts(parts), tuple(control), None if address is None else await self._address(fd, address))
            for parts, control, address in messages
        ]
        return cast(int, await self.run("sendmmsg", self.sockets.sendmmsg, fd, prepared, flags))

    async def recvmmsg(
        self, fd: int, count: int, size: int, flags: int = 0, timeout: Number | None = None
    ) -> list[ReceivedMessage]:
        """As `recvmsg`, up to `count` times; waits for all, or with MSG_WAITFORONE for the first, no longer than `timeout`
        seconds (Linux recvmmsg)."""
        arguments = (fd, count, size, flags, to_duration(timeout))
        found = await self.run("recvmmsg", self.sockets.recvmmsg, *arguments)
        return [to_message(one) for one in cast("list[Received]", found)]

    async def getsockopt(self, fd: int, level: int, name: int) -> bytes:
        """An option's value in its C layout, little-endian (POSIX getsockopt, Linux socket(7)).  Raises ENOPROTOOPT."""
        return cast(bytes, await self.run("getsockopt", self.sockets.getsockopt, fd, level, name))

    async def setsockopt(self, fd: int, level: int, name: int, value: int | Data) -> None:
        """Set an option: an int, or its C layout (POSIX setsockopt, Linux socket(7)).  Raises ENOPROTOOPT, EINVAL."""
        await self.run("setsockopt", self.sockets.setsockopt, fd, level, name, to_option(value))

    # Readiness -------------------------------------------------------------------------------------------

    async def poll(self, entries: Sequence[tuple[int, int]], timeout: Number | None = None) -> list[tuple[int, int]]:
        """The (number, POLL* bits) of those of `entries`, (number, bits) too, that are ready; [] after `timeout` seconds
        (POSIX poll).  Numbers that are not open give POLLNVAL.  Raises EINVAL for too many entries, EINTR."""
        found = await self.run("poll", self._poll.poll, entries, to_duration(timeout))
        return cast("list[tuple[int, int]]", found)

    async def select(
        self, read: Sequence[int], write: Sequence[int], exceptional: Sequence[int], timeout: Number | None = None
    ) -> tuple[list[int], list[int], list[int]]:
        """Which numbers are readable, writable, exceptional; three empty lists after `timeout` seconds (POSIX select).
        Raises EINTR."""
        found = await self.run("select", self._poll.select, read, write, exceptional, to_duration(timeout))
        return cast("tuple[list[int], list[int], list[int]]", found)

    async def epoll_create1(self, flags: int = 0) -> int:
        """A new epoll set; flags O_CLOEXEC (Linux epoll_create1).  Raises EINVAL, EMFILE."""
        return cast(int, await self.run("epoll_create1", self._poll.epoll_create1, flags))

    async def epoll_ctl(
        self, epfd: int, operation: int, fd: int, events: int = POLLIN, data: int | None = None
    ) -> None:
        """Add, modify or delete (EPOLL_CTL_*) the watch for `fd`; `data`, or else the number, is what waits report
        (Linux epoll_ctl).  Raises EEXIST, ENOENT, EPERM, EINVAL, ELOOP, ENOSPC."""
        await self.run("epoll_ctl", self._poll.epoll_ctl, epfd, operation, fd, events, data)

    async def epoll_wait(self, epfd: int, limit: int = 64, timeout: Number | None = None) -> list[tuple[int, int]]:
        """Up to `limit` (data, EPOLL* bits) of what is ready; [] after `timeout` seconds (Linux epoll_wait).
        Raises EBADF also when the set is closed meanwhile, EINVAL, EINTR."""
        found = await self.run("epoll_wait", self._poll.epoll_wait, epfd, limit, to_duration(timeout))
        return cast("list[tuple[int, int]]", found)

    # -----------------------------------------------------------------------------------------------------

    async def _address(self, fd: int, address: Address) -> SocketAddress:
        """The address as kernels take it; what "" means depends on the socket."""
        if address[0] != "":
            return to_address(address)
        family = cast(bytes, await self.run("getsockopt", self.sockets.getsockopt, fd, SOL_SOCKET, SO_DOMAIN))
        return to_address(address, int.from_bytes(family, "little"))
