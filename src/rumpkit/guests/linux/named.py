"""connect(2) of sockets that stand for none of the kernel's: those of unix(7), and of netlink(7).

Between `calls_socket` and `reach`, whose init looks names up and joins sockets.  Linux is never told to go on with such a call by itself:
the program could exchange what its pointer points to, its descriptor, or a directory, once it was judged.  Who listens is told
(SO_PEERCRED) the users and groups of the caller, and as its process init.
"""

import os
import socket as host_socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

from ...hyper.calls import Alarm
from ...hyper.time import Instant
from ...kern.abi.errno import EAGAIN, EBADF, EINTR, EINVAL, EISCONN, ENOBUFS, EPERM, EPIPE, error
from ...kern.abi.socket import AF_NETLINK, AF_UNIX, SO_SNDTIMEO, SO_TYPE, SOCK_DGRAM, SOL_SOCKET
from . import ends, libc
from .listener import Notification
from .network import REACH
from .reach import ANSWER, LARGEST, REQUEST
from .record import Attended, Bell, guarded
from .sockaddr import family_of

if TYPE_CHECKING:
    from .context import Context

Deadline: TypeAlias = "Callable[[Context, host_socket.socket, int], Instant]"
"""Until when a call on a socket waits whose limit is this option."""
Reader: TypeAlias = "Callable[[Context, Notification], bytes]"
"""What gets the sockaddr of a call."""
AGAIN: Final = 5_000_000
"""Nanoseconds after which a call that waits for room in a listener's backlog is tried again."""
MOST_GROUPS: Final = 2048
MOST_WAITING: Final = 4096
SO_ACCEPTCONN: Final = 30
SO_DOMAIN: Final = 39
_NETLINK_SIZE: Final = 12
"""Of struct sockaddr_nl: family, process and groups."""
_FAMILY: Final = 2
_OWN: Final = {
    b"/proc/self/": b"/proc/%d/",
    b"/proc/thread-self/": b"/proc/%d/",
    b"/dev/fd/": b"/proc/%d/fd/",
}
"""How names begin that lead to who looks them up."""
_STATUS_SIZE: Final = 1 << 16
_OVERFLOW: Final = 65534
"""Who has no number in a user namespace."""


class _Waiting(NamedTuple):
    call: Notification
    copy: host_socket.socket
    address: bytes
    deadline: Instant


class _Ids(NamedTuple):
    """Who a thread is, in the numbers of its namespaces."""

    number: int

    user: int
    group: int
    groups: list[int]
    capabilities: int


@final
class Named(Attended):
    """One guest's."""

    def __init__(self, context: "Context") -> None:
        super().__init__(context.work)
        self._context: Context = context
        self._reach: host_socket.socket | None = None
        self._maps: dict[str, list[tuple[int, int, int]]] = {}
        self._waiting: list[_Waiting] = []
        self._alarm: Alarm = context.host.alarm(Bell(self))

    def connect(self, call: Notification, read: Reader, deadline: Deadline) -> int | None:
        """Make the call; None where it waits.  Raises what it fails with."""
        context = self._context
        if context.listener.watcher is not None:
            context.listener.watcher.drop(call.id)  # it is none of the kernel's
        copy = ends.stream(context.copy(call))
        kept = False
        try:
            address = read(context, call)
            domain = copy.getsockopt(SOL_SOCKET, SO_DOMAIN)
            if domain == AF_NETLINK:
                return _connect_netlink(copy, address)
            if domain != AF_UNIX:
                raise error(EPERM)  # of the host's network: somebody there has handed it over
            if family_of(address) != AF_UNIX or len(address) <= 2:
                return _connect_here(copy, address)
            if copy.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_DGRAM:
                return self._ask(call, copy, address)  # which never waits
            kept = self._connect_stream(call, copy, address, deadline)
            return None if kept else 0
        finally:
            if not kept:
                copy.close()

    def _connect_stream(self, call: Notification, copy: host_socket.socket, address: bytes, deadline: Deadline) -> bool:
        """Whether it waits now for the listener to have room."""
        if copy.getsockopt(SOL_SOCKET, SO_ACCEPTCONN):
            raise error(EINVAL)
        if _connected(copy):
            raise error(EISCONN)
        if not os.get_blocking(copy.fileno()):
            self._ask(call, copy, address)
            return False
        try:
            self._ask_at_once(call, copy, address)
            return False
        except OSError as problem:
            if problem.errno != EAGAIN or len(self._waiting) >= MOST_WAITING:
                raise
        context = self._context
        self._waiting.append(_Waiting(call, copy, address, deadline(context, copy, SO_SNDTIMEO)))
        context.run(self._alarm.set, context.host.now + AGAIN)
        return True

    def _ask_at_once(self, call: Notification, copy: host_socket.socket, address: bytes) -> None:
        """Not to wait is a flag of the socket itself, which nobody else can use before it is connected."""
        os.set_blocking(copy.fileno(), False)
        try:
            self._ask(call, copy, address)
        finally:
            os.set_blocking(copy.fileno(), True)

    def attend(self) -> None:
        """Try those again that wait."""
        context = self._context
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            guarded(lambda one=one: self._again(one))  # type: ignore[misc]
        if self._waiting:
            context.run(self._alarm.set, context.host.now + AGAIN)

    def _again(self, one: _Waiting) -> None:
        listener = self._context.listener
        try:
            if listener.valid(one.call.id):
                self._ask_at_once(one.call, one.copy, one.address)
                listener.answer(one.call.id)
        except OSError as problem:
            if problem.errno == EAGAIN and self._context.host.now < one.deadline:
                self._waiting.append(one)
                return
            listener.fail(one.call.id, problem.errno or EPIPE)
        one.copy.close()

    # init -------------------------------------------------------------------------------------------------------

    def _ask(self, call: Notification, copy: host_socket.socket, address: bytes) -> int:
        """Have init make it.  Raises what it fails with."""
        context = self._context
        context.host.assert_unscheduled("a name of a unix socket")
        fds = [copy.fileno()]
        try:
            for name in ("root", "cwd"):
                fds.append(os.open(f"/proc/{call.thread}/{name}", os.O_PATH | os.O_CLOEXEC))
            who = self._who(call.thread)
            if not context.listener.valid(call.id):  # its number may have been somebody else's meanwhile
                raise error(EINTR)
            head = REQUEST.pack(who.user, who.group, who.capabilities, len(who.groups))
            groups = b"".join(one.to_bytes(4, "little") for one in who.groups)
            answer = self._exchange(head + groups + _seen_by_init(address, who.number), fds)
        finally:
            for fd in fds[1:]:
                os.close(fd)
        code = int.from_bytes(answer, "little")
        if code:
            raise error(code)
        return 0

    def _exchange(self, request: bytes, fds: list[int]) -> bytes:
        if self._reach is None:
            fd = self._context.factory.take(REACH)
            self._reach = host_socket.socket(host_socket.AF_UNIX, host_socket.SOCK_SEQPACKET, 0, fd)
        assert len(request) <= LARGEST
        try:
            host_socket.send_fds(self._reach, [request], fds)
            answer = self._reach.recv(ANSWER)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        if not answer:
            raise error(EPIPE)  # the program has ended
        return answer

    def _who(self, thread: int) -> _Ids:
        try:
            fd = os.open(f"/proc/{thread}/status", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise error(EBADF) from None
        try:
            text = os.read(fd, _STATUS_SIZE)
        finally:
            os.close(fd)
        groups = [self._inside("gid_map", int(word)) for word in _words(text, b"\nGroups:")]
        if len(groups) > MOST_GROUPS:
            raise error(ENOBUFS)
        user = self._inside("uid_map", int(_words(text, b"\nUid:")[1]))
        group = self._inside("gid_map", int(_words(text, b"\nGid:")[1]))
        number = int(_words(text, b"\nNSpid:")[-1]) if self._context.program.own_proc else thread
        return _Ids(number, user, group, groups, int(_words(text, b"\nCapEff:")[0], 16))

    def _inside(self, name: str, number: int) -> int:
        if name not in self._maps:
            with open(f"/proc/{self._context.program.init}/{name}") as file:
                rows = [line.split() for line in file]
            self._maps[name] = [(int(inside), int(outside), int(size)) for inside, outside, size in rows]
        for inside, outside, size in self._maps[name]:
            if outside <= number < outside + size:
                return inside + number - outside
        return _OVERFLOW

    def close(self) -> None:
        """The program has ended."""
        self._context.run(self._alarm.close)
        while self._waiting:
            self._waiting.pop().copy.close()
        if self._reach is not None:
            self._reach.close()


def _words(status: bytes, name: bytes) -> list[bytes]:
    """What a line of /proc/PID/status says (proc_pid_status(5)).  Raises EBADF where the thread has gone meanwhile."""
    at = status.find(name)
    if at < 0:
        raise error(EBADF)
    return status[at + len(name) : status.find(b"\n", at + 1)].split()


def _seen_by_init(address: bytes, thread: int) -> bytes:
    """An address, in whose name the caller's own number is in the place of what would be init's."""
    name = address[_FAMILY:].split(b"\0")[0]
    for start, meant in _OWN.items():
        if name.startswith(start):
            return address[:_FAMILY] + meant % thread + name[len(start) :]
    return address


def _connected(copy: host_socket.socket) -> bool:
    try:
        copy.getpeername()
    except OSError:
        return False
    return True


def _connect_here(copy: host_socket.socket, address: bytes) -> int:
    """Without a name there is nothing to look up."""
    if libc.library().connect(copy.fileno(), address, len(address)) == -1:
        raise libc.failed("connect")
    return 0


def _connect_netlink(copy: host_socket.socket, address: bytes) -> int:
    """To the kernel; to processes and groups only who has privileges for it."""
    if family_of(address) == AF_NETLINK and any(address[4:_NETLINK_SIZE]):
        raise error(EPERM)
    return _connect_here(copy, address)
