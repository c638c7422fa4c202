"""connect(2) of sockets that stand for none of the kernel's: those of unix(7), and of netlink(7).

Between `calls_socket` and `reach`, whose init looks names up and joins sockets.  Linux is never told to go on with such a call by itself:
the program could exchange what its pointer points to, its descriptor, or a directory, once it was judged.  Who listens is told
(SO_PEERCRED) the users and groups of the caller, and as its process init.

init may take as long as the program likes: a name can lead to a file system that is slow, and a socket be made to wait by whoever shares
it.  So nobody waits for init here: it is asked one thing after another, and its answers are events of the loop.
"""

import os
import socket as host_socket
from collections import deque
from collections.abc import Callable
from select import EPOLLIN
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

from ...hosts.posix.loop import Source
from ...hyper.calls import Alarm
from ...hyper.time import FOREVER, Instant
from ...kern.abi.errno import EAGAIN, EBADF, ECONNREFUSED, EINTR, EINVAL, EISCONN, ENOBUFS, EPERM, EPIPE, error
from ...kern.abi.socket import AF_NETLINK, AF_UNIX, SO_SNDTIMEO, SO_TYPE, SOCK_DGRAM, SOL_SOCKET
from . import ends, libc
from .listener import Notification
from .network import REACH
from .reach import ANSWER, LARGEST, REQUEST
from .record import Attended, Bell
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
MOST_WAITING: Final = 256
"""Calls of one program that wait, each for one of our descriptors, at most."""
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


class _Asked(NamedTuple):
    """What init is asked, or shall be."""

    call: Notification
    copy: host_socket.socket
    address: bytes
    deadline: Instant
    waits: bool
    """Whether it waits for the listener to have room."""


class _Ids(NamedTuple):
    """Who a thread is, in the numbers of its namespaces."""

    number: int

    user: int
    group: int
    groups: list[int]
    capabilities: int


@final
class _Answers(Source):
    """What init says."""

    def __init__(self, named: "Named", end: host_socket.socket) -> None:
        super().__init__(end.fileno(), False)
        self.end = end
        self._named = named

    def on_events(self, events: int, now: Instant) -> None:
        try:
            answer = self.end.recv(ANSWER, host_socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            answer = b""
        self._named.answered(answer)


@final
class Named(Attended):
    """One guest's."""

    def __init__(self, context: "Context") -> None:
        super().__init__(context.work)
        self._context: Context = context
        self._reach: _Answers | None = None
        self._maps: dict[str, list[tuple[int, int, int]]] = {}
        self._asked: _Asked | None = None
        self._queue: deque[_Asked] = deque()
        self._waiting: list[_Asked] = []
        """Those that found no room."""
        self._alarm: Alarm = context.host.alarm(Bell(self))

    def connect(self, call: Notification, read: Reader, deadline: Deadline) -> int | None:
        """Make the call; None where it is answered later.  Raises what it fails with."""
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
            if address.startswith(ends.MEETING, _FAMILY):
                raise error(ECONNREFUSED)  # who filled the queue there would have us wait
            if len(self._queue) + len(self._waiting) >= MOST_WAITING:
                raise error(EAGAIN)
            self._queue.append(self._request(call, copy, address, deadline))
            kept = True
        finally:
            if not kept:
                copy.close()
        self._go_on()
        return None

    def _request(self, call: Notification, copy: host_socket.socket, address: bytes, deadline: Deadline) -> _Asked:
        if copy.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_DGRAM:
            return _Asked(call, copy, address, FOREVER, False)
        if copy.getsockopt(SOL_SOCKET, SO_ACCEPTCONN):
            raise error(EINVAL)
        if _connected(copy):
            raise error(EISCONN)
        asked = (
            self._asked
        )  # whose call was interrupted, if it is of the same socket: then it is we who keep that from blocking
        waits = os.get_blocking(copy.fileno()) or (asked is not None and asked.waits and _same(asked.copy, copy))
        return _Asked(call, copy, address, deadline(self._context, copy, SO_SNDTIMEO) if waits else FOREVER, waits)

    def attend(self) -> None:
        """Try those again that wait."""
        self._queue.extend(self._waiting)
        self._waiting.clear()
        self._go_on()

    # init -------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Ask the next, if init isn't busy."""
        while self._asked is None and self._queue:
            one = self._queue.popleft()
            try:
                self._ask(one)
                self._asked = one
            except OSError as problem:
                self._finish(one, problem.errno or EPIPE)

    def _ask(self, one: _Asked) -> None:
        """Raises OSError."""
        context, call = self._context, one.call
        context.host.assert_unscheduled("a name of a unix socket")
        fds = [one.copy.fileno()]
        try:
            for name in ("root", "cwd"):
                fds.append(os.open(f"/proc/{call.thread}/{name}", os.O_PATH | os.O_CLOEXEC))
            who = self._who(call.thread)
            if not context.listener.valid(call.id):  # its number may have been somebody else's meanwhile
                raise error(EINTR)
            head = REQUEST.pack(who.user, who.group, who.capabilities, len(who.groups))
            groups = b"".join(one.to_bytes(4, "little") for one in who.groups)
            request = head + groups + _seen_by_init(one.address, who.number)
            assert len(request) <= LARGEST
            if one.waits:
                os.set_blocking(one.copy.fileno(), False)
            host_socket.send_fds(self._init(), [request], fds, host_socket.MSG_DONTWAIT)
        finally:
            for fd in fds[1:]:
                os.close(fd)

    def _init(self) -> host_socket.socket:
        if self._reach is None:
            end = host_socket.socket(
                host_socket.AF_UNIX, host_socket.SOCK_SEQPACKET, 0, self._context.factory.take(REACH)
            )
            self._reach = _Answers(self, end)
            self._context.host.loop.register(self._reach, EPOLLIN)
        return self._reach.end

    def answered(self, answer: bytes) -> None:
        """What init says to what it was asked last; nothing when it has ended."""
        if not answer:
            self._part()
        one, self._asked = self._asked, None
        if one is not None:
            code = int.from_bytes(answer, "little") if answer else EPIPE
            if code == EAGAIN and one.waits and self._context.host.now < one.deadline:
                os.set_blocking(one.copy.fileno(), True)
                if not self._waiting:
                    self._context.run(self._alarm.set, self._context.host.now + AGAIN)
                self._waiting.append(one)
            else:
                self._finish(one, code)
        self._go_on()

    def _finish(self, one: _Asked, code: int) -> None:
        """Answer a call, with an errno or 0."""
        with one.copy:
            if one.waits:
                os.set_blocking(one.copy.fileno(), True)
            if code:
                self._context.listener.fail(one.call.id, code)
            else:
                self._context.listener.answer(one.call.id)

    def _part(self) -> None:
        if self._reach is not None:
            self._context.host.loop.unregister(self._reach)
            self._reach.end.close()
            self._reach = None

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
        self._part()
        for one in (*self._queue, *self._waiting, *(() if self._asked is None else (self._asked,))):
            one.copy.close()
        self._queue.clear()
        self._waiting.clear()
        self._asked = None


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


def _same(one: host_socket.socket, other: host_socket.socket) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))


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
