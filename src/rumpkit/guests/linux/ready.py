"""The starter's own life: it takes orders, and keeps an init ready for the next one.

Above `starter`, which has the steps of a start; run by `launcher`.  Namespaces, mounts and routes that are the same for all programs
take longer than what is one program's own.  So a first process of new namespaces is made before anybody asks for it, and waits.  Where
a program needs other namespaces (the ids of another user), it is made from nothing.

An init that was not needed is killed, and its process id sent to the supervisor, whose child it is, to be buried.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import gc
import os
import select
import sys

from . import abi, libc, mounts
from .capabilities import privileged
from .passing import receive, rights
from .starter import EIO, SERVICE, Starter, clone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn

_FIRST_UNUSED: Final = 4
_START: Final = b"S"
_FURNISHED: Final = b"f"
PAUSE: Final = 100
"""Milliseconds that the last start is ago before the next init is made ready: it would take time from that program."""


class Ready:
    """An init that waits for its program."""

    def __init__(self, supervisor: int) -> None:
        """Makes it; in its own process this does not come back.  Raises OSError."""
        user, group = os.geteuid(), os.getegid()
        self.namespaces = abi.CLONE_NEWNS | abi.CLONE_NEWPID | abi.CLONE_NEWNET | abi.CLONE_NEWIPC | abi.CLONE_NEWUTS
        self.namespaces |= abi.CLONE_NEWCGROUP if os.path.exists("/proc/self/ns/cgroup") else 0
        self.namespaces |= 0 if privileged() else abi.CLONE_NEWUSER
        self.users, self.groups = [(user, user, 1)], [(group, group, 1)]
        self.orders, its = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            self.process = clone(self.namespaces)
        except OSError:
            self.orders.close()
            raise
        finally:
            if getattr(self, "process", -1):
                its.close()
        if not self.process:
            self._wait(its, supervisor)

    def _wait(self, orders: _socket.socket, supervisor: int) -> NoReturn:
        """As process 1 of the new namespaces."""
        starter = Starter(self.namespaces)
        try:
            os.close(SERVICE)
            self.orders.close()
            if self.namespaces & abi.CLONE_NEWUSER:
                starter.map_own_ids(self.users[0], self.groups[0])
            mounts.isolate()
            starter.furnish()
            orders.send(_FURNISHED)
            poll = select.poll()
            poll.register(orders, select.POLLIN)
            poll.register(supervisor, select.POLLIN)
            poll.poll()
            note, order = receive(orders)
            orders.close()
            if note:
                starter.take(order, True)
                starter.complete(supervisor)
        except OSError as problem:
            starter.report("failed", starter.stage, problem.errno, str(problem))
        except Exception as problem:
            starter.report("failed", starter.stage, EIO, repr(problem))
        finally:
            os._exit(1)

    def suits(self, plan: dict[str, Any]) -> bool:
        """Whether a program may have it."""
        ids = not self.namespaces & abi.CLONE_NEWUSER or (
            not plan["helpers"] and plan["users"] == self.users and plan["groups"] == self.groups
        )
        return bool(ids and plan["namespaces"] == self.namespaces)

    def give(self, order: Starter) -> bool:
        """Hand it an order; False if it has failed to get ready, or somebody has killed it."""
        try:
            if self.orders.recv(1) != _FURNISHED:
                return False
            self.orders.sendmsg([_START], rights(order.descriptors()))
        except OSError:
            return False
        order.report("init", self.process)
        self.orders.close()
        return True

    def end(self, service: _socket.socket) -> None:
        """It is not needed."""
        self.orders.close()
        try:
            os.kill(self.process, _signal.SIGKILL)
            service.send(self.process.to_bytes(4, sys.byteorder))
        except OSError:  # the supervisor has gone, and init with it
            pass


def _discard(fds: list[int]) -> None:
    """Have a child close descriptors, which may take it a while."""
    reader, writer = os.pipe()
    if not os.fork():
        os.close(SERVICE)  # whose end the supervisor may wait for
        os.close(writer)
        os.read(reader, 1)  # until we have closed ours: theirs are the last then
        os._exit(0)
    for fd in (*fds, writer, reader):
        os.close(fd)


def _bury() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


class Service:
    """The orders, and the init that is ready for the next."""

    def __init__(self) -> None:
        self.parent = os.getppid()
        self.supervisor = libc.pidfd_open(self.parent)
        self.socket = _socket.socket(fileno=SERVICE)
        self.ready: Ready | None = None

    def serve(self) -> NoReturn:
        """Until the supervisor closes its end."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        pause: int | None = 0
        while True:
            if not poll.poll(pause):
                self.prepare()
                pause = None
                continue
            note, fds = receive(self.socket)
            _bury()
            if not note:
                if self.ready is not None:
                    self.ready.end(self.socket)
                os._exit(0)
            if note == _START:
                self.start(fds)
                pause = PAUSE
            else:
                _discard(fds)

    def prepare(self) -> None:
        """Have an init ready, if that can be: why not is told to who asks for one."""
        if self.ready is None:
            try:
                self.ready = Ready(self.supervisor)
            except OSError:
                pass

    def start(self, fds: list[int]) -> None:
        """A program."""
        order = Starter()
        order.take(fds)
        if order.plan["supervisor"] != self.parent:
            os._exit(1)  # it died before we could watch it, and somebody else may have its number
        if not order.open_entrance():
            order.close()
            return
        ready = self.ready
        if ready is not None and ready.suits(order.plan):
            self.ready = None
            if ready.give(order):
                order.close()
                return
            ready.end(self.socket)
        others = () if self.ready is None else (self.ready.orders.fileno(),)
        order.run(self.supervisor, (SERVICE, *others))
        order.close()


def main() -> NoReturn:
    """What `launcher` runs."""
    gc.disable()  # it would touch all that is shared with every init
    os.closerange(_FIRST_UNUSED, 1 << 20)
    os.set_inheritable(SERVICE, False)
    Service().serve()
