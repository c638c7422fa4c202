"""The local client: a kernel's system calls as plain calls, for code in the kernel's own process.

`LocalProcess` is one typed face of the table in `table.py` (`aio.py` is the other).  Its methods enter the kernel on the
caller's own thread and return when the call has ended; `gate.py` has the only wait loop.  All raise OSError with the kernel's errno
(Linux numbers, `rumpkit.kern.abi.errno`); besides what each names, EBADF for numbers that are not open, ENOSYS where
the kernel lacks the faction, and EINTR when `interrupt` ends a wait.

The calls made most often are written out, so that they reach the kernel without a generic step in between.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast, overload

from mypy_extensions import mypyc_attr

from ..kern.abi.poll import POLLIN
from ..kern.abi.socket import SO_DOMAIN, SOCK_STREAM, SOL_SOCKET, SOMAXCONN
from ..kern.calls import KernCalls
from ..kern.kernel import RumpKernel
from ..kern.pollcalls import PollCalls
from ..kern.process import Credentials, Process
from ..kern.socket import ControlMessage, Received, SocketAddress
from ..kern.socketcalls import SocketCalls
from ..kern.wait import Blocked
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
from .local_files import LocalFiles

if TYPE_CHECKING:
    from .aio import AioProcess
    from .fileobject import FileLike
    from .socketlike import SocketLike


@mypyc_attr(allow_interpreted_subclasses=True)
class LocalProcess(LocalFiles):
    """One process of a kernel, and the system calls it can make."""

    def __init__(self, kernel: RumpKernel, process: Process) -> None:
        super().__init__(kernel, process)
        self._kern: KernCalls = cast(KernCalls, kernel.service("KernCalls"))
        self._sockets: SocketCalls = cast(SocketCalls, kernel.service("SocketCalls"))
        self._poll: PollCalls = cast(PollCalls, kernel.service("PollCalls"))
        self._aio: AioProcess | None = None

    @property
    def aio(self) -> "AioProcess":
        """The same process with the same calls, to be awaited."""
        if self._aio is None:
            from .aio import AioProcess

            self._aio = AioProcess(self.kernel, self.process)
        return self._aio

    def __enter__(self) -> "LocalProcess":
        return self

    def __exit__(self, *exception: object) -> None:
        self.exit()

    # Reading and writing ---------------------------------------------------------------------------------

    def read(self, fd: int, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end (POSIX read).  Waits for the first byte unless O_NONBLOCK (EAGAIN).
        Raises EINVAL, EISDIR, EIO, ECONNRESET."""
        if self._trace.sink is not None:
            return cast(bytes, self.run("read", self._kern.read, fd, size))
        host = self.host
        host.enter()
        try:
            result = self._kern.read(self.process, fd, size)
            return cast(bytes, self.wait(result)) if isinstance(result, Blocked) else result
        finally:
            host.leave()

    def write(self, fd: int, data: Data) -> int:
        """Write `data`, waiting until all of it is taken, unless O_NONBLOCK; how many bytes went (POSIX write).
        `bytes` are kept by reference, anything else is copied.  Raises EPIPE, ENOSPC, EFBIG, EIO, EAGAIN."""
        if not isinstance(data, bytes):
            data = bytes(data)
        if self._trace.sink is not None:
            return cast(int, self.run("write", self._kern.write, fd, data))
        host = self.host
        host.enter()
        try:
            result = self._kern.write(self.process, fd, data)
            return cast(int, self.wait(result)) if isinstance(result, Blocked) else result
        finally:
            host.leave()

    def writev(self, fd: int, parts: Sequence[Data]) -> int:
        """Write the parts as one (POSIX writev).  Raises as `write`."""
        return cast(int, self.run("writev", self._kern.writev, fd, to_parts(parts)))

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes at byte `offset`, leaving the file's own offset alone (POSIX pread).
        Raises ESPIPE, EINVAL, EISDIR, EIO."""
        return cast(bytes, self.run("pread", self._kern.pread, fd, size, offset))

    def pwrite(self, fd: int, data: Data, offset: int) -> int:
        """Write `data` at byte `offset`, leaving the file's own offset alone; how many bytes went (POSIX pwrite).
        Raises ESPIPE, EINVAL, ENOSPC, EFBIG, EIO."""
        return cast(int, self.run("pwrite", self._kern.pwrite, fd, to_bytes(data), offset))

    def lseek(self, fd: int, offset: int, whence: int = 0) -> int:
        """Move the file's offset, from SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA or SEEK_HOLE; the new one, in bytes
        (POSIX lseek).  Raises ESPIPE, EINVAL, ENXIO."""
        return cast(int, self.run("lseek", self._kern.lseek, fd, offset, whence))

    def ioctl(self, fd: int, request: int, argument: Data = b"") -> bytes:
        """Device control: the request's argument and answer in their C layout (Linux ioctl).  Raises ENOTTY, EINVAL."""
        return cast(bytes, self.run("ioctl", self._kern.ioctl, fd, request, to_bytes(argument)))

    # Descriptors -----------------------------------------------------------------------------------------

    def close(self, fd: int) -> None:
        """Free the number; the open file goes with its last number, and calls that wait for it end with EBADF
        (POSIX close)."""
        if self._trace.sink is not None:
            self.run("close", self._kern.close, fd)
            return
        host = self.host
        host.enter()
        try:
            result = self._kern.close(self.process, fd)
            if result is not None:
                self.wait(result)
        finally:
            host.leave()

    def dup(self, fd: int) -> int:
        """The lowest free number, for the same open file (POSIX dup).  Raises EMFILE."""
        return cast(int, self.run("dup", self._kern.dup, fd))

    def dup2(self, fd: int, other: int) -> int:
        """Make `other` mean the same open file, closing what it meant (POSIX dup2)."""
        return cast(int, self.run("dup2", self._kern.dup2, fd, other))

    def dup3(self, fd: int, other: int, flags: int = 0) -> int:
        """As dup2, with O_CLOEXEC (POSIX.1-2024 dup3).  Raises EINVAL for other flags and for equal numbers."""
        return cast(int, self.run("dup3", self._kern.dup3, fd, other, flags))

    def fcntl(self, fd: int, command: int, argument: int = 0) -> int:
        """F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETPIPE_SZ, F_SETPIPE_SZ (POSIX fcntl).
        Raises EINVAL, EMFILE, EBUSY, EPERM."""
        return cast(int, self.run("fcntl", self._kern.fcntl, fd, command, argument))

    def pipe2(self, flags: int = 0) -> tuple[int, int]:
        """A pipe's read and write ends; flags O_CLOEXEC, O_NONBLOCK (POSIX pipe2).  Raises EINVAL, EMFILE."""
        return cast("tuple[int, int]", self.run("pipe2", self._kern.pipe2, flags))

    def eventfd2(self, value: int = 0, flags: int = 0) -> int:
        """An event counter, read and written 8 bytes at a time; flags EFD_SEMAPHORE, EFD_CLOEXEC, EFD_NONBLOCK
        (Linux eventfd).  Raises EINVAL, EMFILE."""
        return cast(int, self.run("eventfd2", self._kern.eventfd2, value, flags))

    # Processes, and the kernel ---------------------------------------------------------------------------

    def getpid(self) -> int:
        """The process's number (POSIX getpid)."""
        if self._trace.sink is not None:
            return cast(int, self.run("getpid", self._kern.getpid))
        host = self.host
        host.enter()
        try:
            return self._kern.getpid(self.process)
        finally:
            host.leave()

    def getppid(self) -> int:
        """The parent's number, 0 if there is none (POSIX getppid)."""
        return cast(int, self.run("getppid", self._kern.getppid))

    def fork(self) -> "LocalProcess":
        """A child that shares the open files and starts from copies of everything else (POSIX fork).  Raises EAGAIN."""
        return LocalProcess(self.kernel, cast(Process, self.run("fork", self._kern.fork)))

    def exit(self) -> None:
        """End the process: its descriptors close, its number becomes free (POSIX _exit).  Again, it does nothing."""
        self.run("exit", self._kern.exit)

    def getuid(self) -> int:
        """The user, real and effective alike (POSIX getuid)."""
        return cast(int, self.run("getuid", self._kern.getuid))

    def getgid(self) -> int:
        """The group, real and effective alike (POSIX getgid)."""
        return cast(int, self.run("getgid", self._kern.getgid))

    def getgroups(self) -> list[int]:
        """The supplementary groups (POSIX getgroups)."""
        return cast("list[int]", self.run("getgroups", self._kern.getgroups))

    def setuid(self, uid: int) -> None:
        """Become another user, for good (POSIX setuid).  Raises EPERM unless root, EINVAL."""
        self.run("setuid", self._kern.setuid, uid)

    def setgid(self, gid: int) -> None:
        """Change the group (POSIX setgid).  Raises EPERM unless root, EINVAL."""
        self.run("setgid", self._kern.setgid, gid)

    def setgroups(self, groups: Sequence[int]) -> None:
        """Replace the supplementary groups (Linux setgroups).  Raises EPERM unless root, EINVAL."""
        self.run("setgroups", self._kern.setgroups, groups)

    def gethostname(self) -> str:
        """The kernel's name (POSIX gethostname)."""
        return cast(str, self.run("gethostname", self._kern.gethostname))

    def sethostname(self, name: str) -> None:
        """Rename the kernel (Linux sethostname).  Raises EPERM unless root, EINVAL beyond 64 bytes."""
        self.run("sethostname", self._kern.sethostname, name)

    def clock_gettime(self, clock: int) -> int:
        """CLOCK_REALTIME or CLOCK_MONOTONIC in nanoseconds (POSIX clock_gettime).  Raises EINVAL."""
        return cast(int, self.run("clock_gettime", self._kern.clock_gettime, clock))

    def nanosleep(self, seconds: Number) -> None:
        """Wait for `seconds` (POSIX nanosleep).  Raises EINVAL for negative ones, EINTR."""
        self.run("nanosleep", self._kern.nanosleep, int(seconds * NANOSECONDS))

    def getrandom(self, size: int) -> bytes:
        """`size` random bytes fit for keys; in simulation they come from the seed (Linux getrandom).  Raises EINVAL."""
        return cast(bytes, self.run("getrandom", self._kern.getrandom, size))

    # Sockets ---------------------------------------------------------------------------------------------

    @overload
    def socket(self, family: str) -> "SocketLike": ...

    @overload
    def socket(self, family: int, kind: int, protocol: int = 0) -> int: ...

    def socket(self, family: int | str, kind: int = SOCK_STREAM, protocol: int = 0) -> "int | SocketLike":
        """A new socket's number, for AF_* and SOCK_* (with SOCK_NONBLOCK, SOCK_CLOEXEC); or, for "tcp", "udp", "tcp6",
        "udp6", an object like Python's sockets (POSIX socket).
        Raises EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EINVAL, EMFILE; ValueError for other names."""
        if isinstance(family, int):
            return cast(int, self.run("socket", self._sockets.socket, family, kind, protocol))
        from .socketlike import SocketLike

        family, kind, protocol = triple(family)
        return SocketLike(self, cast(int, self.run("socket", self._sockets.socket, family, kind, protocol)))

    def socketpair(self, family: int, kind: int, protocol: int = 0) -> tuple[int, int]:
        """Two connected sockets (POSIX socketpair).  Raises EOPNOTSUPP where the family has no pairs, and as `socket`."""
        return cast("tuple[int, int]", self.run("socketpair", self._sockets.socketpair, family, kind, protocol))

    def bind(self, fd: int, address: Address) -> None:
        """Name the local end: ("10.0.2.15", 80), "" for any address, 0 for any port (POSIX bind).
        Raises EADDRINUSE, EADDRNOTAVAIL, EINVAL, EACCES."""
        self.run("bind", self._sockets.bind, fd, self._address(fd, address))

    @overload
    def listen(self, fd: str, number: int, address: str = "") -> "SocketLike": ...

    @overload
    def listen(self, fd: int, number: int = SOMAXCONN) -> None: ...

    def listen(self, fd: int | str, number: int = SOMAXCONN, address: str = "") -> "SocketLike | None":
        """Accept connections from now on, at most `number` of them waiting (POSIX listen).  Raises EOPNOTSUPP, EINVAL.

        Or, for "tcp" and a port: a listening socket object, bound to that port and `address`.
        """
        if isinstance(fd, int):
            self.run("listen", self._sockets.listen, fd, number)
            return None
        socket = self.socket(with_family(fd, (address, 0)))
        try:
            socket.bind((address, number))
            socket.listen()
        except BaseException:
            socket.close()
            raise
        return socket

    def accept4(self, fd: int, flags: int = 0) -> tuple[int, TextAddress]:
        """The first waiting connection: its number and its peer's address; flags SOCK_NONBLOCK, SOCK_CLOEXEC
        (POSIX accept4).  Raises EAGAIN, EINVAL unless listening, ECONNABORTED, EMFILE, EOPNOTSUPP."""
        accepted, peer = cast("tuple[int, SocketAddress]", self.run("accept4", self._sockets.accept4, fd, flags))
        return accepted, to_text(peer)

    @overload
    def connect(self, fd: str, address: Address) -> "SocketLike": ...

    @overload
    def connect(self, fd: int, address: Address) -> None: ...

    def connect(self, fd: int | str, address: Address) -> "SocketLike | None":
        """Connect, or for datagrams set the peer: ("10.0.2.2", 80) (POSIX connect).  If the call is interrupted or does
        not wait (EINPROGRESS), the attempt goes on; writability and SO_ERROR tell its end.  Raises ECONNREFUSED,
        ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EISCONN, EALREADY, EADDRNOTAVAIL.

        Or, for "tcp" and the like: a new connected socket object, of the address's version of IP.
        """
        if isinstance(fd, int):
            self.run("connect", self._sockets.connect, fd, self._address(fd, address))
            return None
        socket = self.socket(with_family(fd, address))
        try:
            socket.connect(address)
        except BaseException:
            socket.close()
            raise
        return socket

    def getsockname(self, fd: int) -> TextAddress:
        """The local address (POSIX getsockname)."""
        return to_text(cast("SocketAddress", self.run("getsockname", self._sockets.getsockname, fd)))

    def getpeername(self, fd: int) -> TextAddress:
        """The peer's address (POSIX getpeername).  Raises ENOTCONN."""
        return to_text(cast("SocketAddress", self.run("getpeername", self._sockets.getpeername, fd)))

    def shutdown(self, fd: int, how: int) -> None:
        """End one or both directions: SHUT_RD, SHUT_WR, SHUT_RDWR (POSIX shutdown).  Raises ENOTCONN, EINVAL."""
        self.run("shutdown", self._sockets.shutdown, fd, how)

    def send(self, fd: int, data: Data, flags: int = 0) -> int:
        """As `sendto` without a destination (POSIX send)."""
        if not isinstance(data, bytes):
            data = bytes(data)
        if self._trace.sink is not None:
            return cast(int, self.run("sendto", self._sockets.sendto, fd, data, flags))
        host = self.host
        host.enter()
        try:
            result = self._sockets.sendto(self.process, fd, data, flags)
            return cast(int, self.wait(result)) if isinstance(result, Blocked) else result
        finally:
            host.leave()

    def sendto(self, fd: int, data: Data, flags: int = 0, address: Address | None = None) -> int:
        """Send `data`; a stream waits until all of it is taken, unless O_NONBLOCK or MSG_DONTWAIT; how many bytes went
        (POSIX sendto).  `bytes` are kept by reference.
        Raises EPIPE, ENOTCONN, EDESTADDRREQ, ECONNRESET, EMSGSIZE, EAGAIN, ENETUNREACH."""
        destination = None if address is None else self._address(fd, address)
        return cast(int, self.run("sendto", self._sockets.sendto, fd, to_bytes(data), flags, destination))

    def recv(self, fd: int, size: int, flags: int = 0) -> bytes:
        """As `recvfrom`, without the address (POSIX recv)."""
        if self._trace.sink is not None:
            return cast(Received, self.run("recvfrom", self._sockets.recvfrom, fd, size, flags)).data
        host = self.host
        host.enter()
        try:
            result = self._sockets.recvfrom(self.process, fd, size, flags)
            if isinstance(result, Blocked):
                return cast(Received, self.wait(result)).data
            return result.data
        finally:
            host.leave()

    def recvfrom(self, fd: int, size: int, flags: int = 0) -> tuple[bytes, TextAddress | None]:
        """Up to `size` bytes, or one datagram, and where that came from (POSIX recvfrom); b"" is a stream's end.
        flags MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT.  Raises ENOTCONN, ECONNRESET, ECONNREFUSED, EAGAIN."""
        received = cast(Received, self.run("recvfrom", self._sockets.recvfrom, fd, size, flags))
        return received.data, None if received.source is None else to_text(received.source)

    def sendmsg(
        self,
        fd: int,
        parts: Sequence[Data],
        control: Sequence[ControlMessage] = (),
        flags: int = 0,
        address: Address | None = None,
    ) -> int:
        """As `sendto`, of the parts as one, with control messages: (level, type, data in its C layout) (POSIX sendmsg).
        Raises as `sendto`, and EINVAL."""
        destination = None if address is None else self._address(fd, address)
        arguments = (fd, to_parts(parts), tuple(control), flags, destination)
        return cast(int, self.run("sendmsg", self._sockets.sendmsg, *arguments))

    def recvmsg(self, fd: int, size: int, flags: int = 0) -> ReceivedMessage:
        """As `recvfrom`: data, control messages, MSG_* flags such as MSG_TRUNC, and the sender (POSIX recvmsg).
        MSG_ERRQUEUE gives errors in full."""
        return to_message(cast(Received, self.run("recvmsg", self._sockets.recvmsg, fd, size, flags)))

    def sendmmsg(
        self,
        fd: int,
        messages: Sequence[tuple[Sequence[Data], Sequence[ControlMessage], Address | None]],
        flags: int = 0,
    ) -> int:
        """As `sendmsg` for each of the messages, (parts, control messages, address or None); how many went
        (Linux sendmmsg)."""
        prepared = [
            (to_parts(parts), tuple(control), None if address is None else self._address(fd, address))
            for parts, control, address in messages
        ]
        return cast(int, self.run("sendmmsg", self._sockets.sendmmsg, fd, prepared, flags))

    def recvmmsg(
        self, fd: int, count: int, size: int, flags: int = 0, timeout: Number | None = None
    ) -> list[ReceivedMessage]:
        """As `recvmsg`, up to `count` times; waits for all, or with MSG_WAITFORONE for the first, no longer than `timeout`
        seconds (Linux recvmmsg)."""
        arguments = (fd, count, size, flags, to_duration(timeout))
        found = self.run("recvmmsg", self._sockets.recvmmsg, *arguments)
        return [to_message(one) for one in cast("list[Received]", found)]

    def getsockopt(self, fd: int, level: int, name: int) -> bytes:
        """An option's value in its C layout, little-endian (POSIX getsockopt, Linux socket(7)).  Raises ENOPROTOOPT."""
        return cast(bytes, self.run("getsockopt", self._sockets.getsockopt, fd, level, name))

    def setsockopt(self, fd: int, level: int, name: int, value: int | Data) -> None:
        """Set an option: an int, or its C layout (POSIX setsockopt, Linux socket(7)).  Raises ENOPROTOOPT, EINVAL."""
        self.run("setsockopt", self._sockets.setsockopt, fd, level, name, to_option(value))

    # Readiness -------------------------------------------------------------------------------------------

    def poll(self, entries: Sequence[tuple[int, int]], timeout: Number | None = None) -> list[tuple[int, int]]:
        """The (number, POLL* bits) of those of `entries`, (number, bits) too, that are ready; [] after `timeout` seconds
        (POSIX poll).  Numbers that are not open give POLLNVAL.  Raises EINVAL for too many entries, EINTR."""
        found = self.run("poll", self._poll.poll, entries, to_duration(timeout))
        return cast("list[tuple[int, int]]", found)

    def select(
        self, read: Sequence[int], write: Sequence[int], exceptional: Sequence[int], timeout: Number | None = None
    ) -> tuple[list[int], list[int], list[int]]:
        """Which numbers are readable, writable, exceptional; three empty lists after `timeout` seconds (POSIX select).
        Raises EINTR."""
        found = self.run("select", self._poll.select, read, write, exceptional, to_duration(timeout))
        return cast("tuple[list[int], list[int], list[int]]", found)

    def epoll_create1(self, flags: int = 0) -> int:
        """A new epoll set; flags O_CLOEXEC (Linux epoll_create1).  Raises EINVAL, EMFILE."""
        return cast(int, self.run("epoll_create1", self._poll.epoll_create1, flags))

    def epoll_ctl(self, epfd: int, operation: int, fd: int, events: int = POLLIN, data: int | None = None) -> None:
        """Add, modify or delete (EPOLL_CTL_*) the watch for `fd`; `data`, or else the number, is what waits report
        (Linux epoll_ctl).  Raises EEXIST, ENOENT, EPERM, EINVAL, ELOOP, ENOSPC."""
        self.run("epoll_ctl", self._poll.epoll_ctl, epfd, operation, fd, events, data)

    def epoll_wait(self, epfd: int, limit: int = 64, timeout: Number | None = None) -> list[tuple[int, int]]:
        """Up to `limit` (data, EPOLL* bits) of what is ready; [] after `timeout` seconds (Linux epoll_wait).
        Raises EBADF also when the set is closed meanwhile, EINVAL, EINTR."""
        found = self.run("epoll_wait", self._poll.epoll_wait, epfd, limit, to_duration(timeout))
        return cast("list[tuple[int, int]]", found)

    # -----------------------------------------------------------------------------------------------------

    def open_file(self, path: str, mode: str = "r") -> "FileLike":
        """An unbuffered binary file object for `path` (`io.RawIOBase`); `mode` is "r", "w", "a" or "x", with "+" for both
        ways.  Raises as `open`, and ValueError for other modes."""
        from .fileobject import FileLike

        return FileLike(self, path, mode)

    def _address(self, fd: int, address: Address) -> SocketAddress:
        """The address as kernels take it; what "" means depends on the socket."""
        if address[0] != "":
            return to_address(address)
        family = cast(bytes, self.run("getsockopt", self._sockets.getsockopt, fd, SOL_SOCKET, SO_DOMAIN))
        return to_address(address, int.from_bytes(family, "little"))


def new_process(
    kernel: RumpKernel, uid: int = 0, gid: int = 0, groups: Sequence[int] = (), cwd: str | None = None
) -> LocalProcess:
    """A new process of `kernel` with these credentials, working in `cwd` ("/" unless given).
    Raises EAGAIN where there are too many, ENOENT, ENOTDIR, EACCES for `cwd`."""
    host = kernel.hyper
    host.enter()
    try:
        process = LocalProcess(kernel, kernel.process(Credentials(uid, gid, tuple(groups))))
    finally:
        host.leave()
    if cwd is not None:
        try:
            process.chdir(cwd)
        except OSError:
            process.exit()
            raise
    return process
