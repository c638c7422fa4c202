"""The kernel's end of the control socket: it listens, checks who comes, and keeps a session for each.

It is a source of its host's loop, called on the schedule like a relay, and nothing here blocks: what a client does not read waits, within a
limit, and what it does not ask for costs nothing.
"""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from errno import EAGAIN, EBUSY, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM
from select import EPOLLIN
from typing import TYPE_CHECKING, Final, final

from ...hosts.posix.host import PosixHost
from ...hosts.posix.loop import Source
from ...hosts.task import Task
from ...hyper.time import SECOND, Instant
from ...kern.kernel import RumpKernel
from .place import SUFFIX, listen, withdraw
from .protocol import VERSION, Object, encode

if TYPE_CHECKING:
    from .programs import ProgramService
    from .session import Session

MAX_CLIENTS: Final = 32
IDLE_LIMIT: Final = 10 * SECOND
"""How long a client may do nothing before another one may take its place, where there are too many."""
_PASSING: Final = (EAGAIN, EINTR, ECONNABORTED)
"""What accept may say of a moment, or of somebody who has gone again."""
_EXHAUSTED: Final = (EMFILE, ENFILE, ENOBUFS, ENOMEM)
"""What it says where there are too many descriptors, ours or the machine's, to take another one."""


@final
class ControlServer(Source):
    """The control socket of one kernel.  Made and closed off the schedule."""

    def __init__(
        self, host: PosixHost, kernel: RumpKernel, programs: "Callable[[], ProgramService] | None" = None
    ) -> None:
        """Listen from now on, under a name made of the kernel's host name and our process id.  `programs` makes who answers for what
        runs on the kernel, off the schedule, when somebody comes.  Raises OSError."""
        host.assert_unscheduled("a control socket")
        self._session: type[Session] | None = None
        """Loaded when somebody comes: most kernels are never asked."""
        self.host: PosixHost = host
        self.kernel: RumpKernel = kernel
        self.programs: ProgramService | None = None
        self._make_programs = programs
        self.started: float = time.time()
        self._listener, self.path = listen(f"{kernel.hostname.lstrip('.')}-{os.getpid()}", MAX_CLIENTS)
        super().__init__(self._listener.fileno())
        self._inode = os.lstat(self.path).st_ino
        self._sessions: list[Session] = []
        self.waiting: int = 0
        """Bytes that wait for clients to read them."""
        self._open = True
        host.loop.register(self, EPOLLIN)

    @property
    def name(self) -> str:
        """What `rump net -k` calls the kernel."""
        return os.path.basename(self.path).removesuffix(SUFFIX)

    def on_events(self, events: int, now: Instant) -> None:
        """Somebody wants to come in."""
        if self._session is None:
            self._load()
            return
        try:
            connection, _ = self._listener.accept()
        except OSError as failure:
            if failure.errno in _EXHAUSTED:  # it would be asked again and again
                self.host.loop.modify(self, 0)
                self.host.later(_Again(self), SECOND)
            elif failure.errno not in _PASSING:
                raise
            return
        connection.setblocking(False)
        refusal = self._refusal(connection, now)
        if refusal is not None:
            self._turn_away(connection, *refusal)
            return
        session = self._session(self, connection)
        self._sessions.append(session)
        session.greet(self._greeting(), now)

    def _load(self) -> None:
        """Import what sessions need in a thread of its own, as the network must not wait for it; then look again."""
        self.host.loop.modify(self, 0)
        threading.Thread(target=self._loading, name="rumpkit-control", daemon=True).start()

    def _loading(self) -> None:
        try:
            from .session import Session

            programs = None if self._make_programs is None else self._make_programs()
        except OSError as failure:
            if failure.errno not in _EXHAUSTED:
                raise
            self._rest()
            return
        self.host.enter()
        try:
            self.programs = programs
            self._session = Session
            self.again()
        finally:
            self.host.leave()

    def _rest(self) -> None:
        """There was nothing to load it with: look again a while later."""
        self.host.enter()
        try:
            self.host.later(_Again(self), SECOND)
        finally:
            self.host.leave()

    def _refusal(self, connection: socket.socket, now: Instant) -> tuple[int, str] | None:
        """Why a client is not let in: another user's, or one too many."""
        uid = peer_of(connection)
        if uid not in (0, os.geteuid()):
            return EPERM, "this kernel belongs to another user"
        if len(self._sessions) >= MAX_CLIENTS:
            for session in list(self._sessions):
                if now - session.active > IDLE_LIMIT and session.stands_still():
                    session.close()
        if len(self._sessions) >= MAX_CLIENTS:
            return EBUSY, f"{MAX_CLIENTS} clients are connected already"
        return None

    def _turn_away(self, connection: socket.socket, errno: int, text: str) -> None:
        try:
            connection.send(encode({**self._identity(), "error": {"errno": errno, "message": text}}))
        except OSError:
            pass
        connection.close()

    def _identity(self) -> Object:
        return {"rumpkit": "control", "version": VERSION}

    def _greeting(self) -> Object:
        from .methods import METHODS

        return {
            **self._identity(),
            "name": self.name,
            "hostname": self.kernel.hostname,
            "pid": os.getpid(),
            "started": self.started,
            "methods": sorted(METHODS),
        }

    def again(self) -> None:
        """Take connections again."""
        if self._open:
            self.host.loop.modify(self, EPOLLIN)

    def forget(self, session: "Session") -> None:
        """A session has ended."""
        if session in self._sessions:
            self._sessions.remove(session)

    def close(self) -> None:
        """Listen no more, end all sessions, take the name away.  Off the schedule; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        withdraw(self.path, self._inode)
        self.host.enter()
        try:
            self.host.loop.unregister(self)
            self._listener.close()
            for session in list(self._sessions):
                session.close()
        finally:
            self.host.leave()


@final
class _Again(Task):
    """Has a server look again whether it can take a connection."""

    def __init__(self, server: ControlServer) -> None:
        self._server = server

    def run(self, now: Instant) -> None:
        self._server.again()


def peer_of(connection: socket.socket) -> int:
    """The user on the other end (SO_PEERCRED of unix(7))."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
