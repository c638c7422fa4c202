"""What the handlers of one guest's calls share: its tools, its tables, and what is done with both.

Above `record`, `carrier` and the bottom layers, below `calls_*`.  Everything here runs in the thread that drives the host's
event loop, off the schedule, but where it says otherwise.
"""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, final

from ...clients.relay import Relay, RelayPool
from ...hosts.posix.host import PosixHost
from ...hosts.posix.libc import keep_heap
from ...hyper.calls import Alarm
from ...hyper.time import FOREVER, Instant
from ...kern.abi.errno import EBADF, EINVAL, EMFILE, ENFILE, error
from ...kern.abi.fcntl import O_NONBLOCK
from ...kern.kernel import RumpKernel
from ...kern.socket import StreamSocket
from ...kern.wait import WaitQueue
from .carrier import Carrier
from .descriptors import Descriptors
from .ends import MeetingPlace
from .factory import Factory
from .lifelines import Lifelines
from .listener import Listener, Notification
from .memory import Memory
from .network import STREAM
from .record import Attended, Bell, Record, Work, guarded
from .spawn import Program

if TYPE_CHECKING:
    from ...net.proc.view import Owner
    from .named import Named

SOCKADDR_LIMIT: Final = 128
"""Bytes of a sockaddr that are read; sizeof(struct sockaddr_storage)."""

P = ParamSpec("P")
T = TypeVar("T")


@final
class Deadlines(Attended):
    """Sees to it that parked calls end when SO_RCVTIMEO or SO_SNDTIMEO say so."""

    def __init__(self, context: "Context") -> None:
        super().__init__(context.work)
        self._context: Context = context
        self._alarm: Alarm = context.host.alarm(Bell(self))
        self._next: Instant = FOREVER

    def add(self, deadline: Instant) -> None:
        """Look at the records at this time, at the latest."""
        if deadline < self._next:
            self._next = deadline
            self._context.run(self._alarm.set, deadline)

    def attend(self) -> None:
        now = self._context.host.now
        self._next = FOREVER
        self.add(min((record.expire(now) for record in list(self._context.records.values())), default=FOREVER))

    def close(self) -> None:
        """Look no more."""
        self._context.run(self._alarm.close)


@final
class Collection(Attended):
    """A look whether sockets that were ordered have come, by who can't take them himself."""

    def __init__(self, context: "Context") -> None:
        super().__init__(context.work)
        self._factory: Factory = context.factory
        self._complete: bool = True
        self._done: threading.Event = threading.Event()

    def attend(self) -> None:
        try:
            self._complete = self._factory.collect()
        except OSError:
            pass  # none are made any more
        finally:
            self._done.set()

    def wait(self, timeout: float) -> bool:
        """Wait for the end of the look; whether all have come.  Off the schedule."""
        return self._done.wait(timeout) and self._complete


@final
class Context:
    """One guest's tools and tables."""

    def __init__(self, kernel: RumpKernel, host: PosixHost, program: Program) -> None:
        guard = host.assert_unscheduled
        keep_heap()
        self.kernel: RumpKernel = kernel
        self.host: PosixHost = host
        self.program: Program = program
        self.listener: Listener = Listener(program.take("listener"), guard)
        self.memory: Memory = Memory(guard)
        self.descriptors: Descriptors = Descriptors()
        self.factory: Factory = Factory(program.supply, guard)
        self._meeting: MeetingPlace | None = None
        self._named: Named | None = None
        self.lifelines: Lifelines = Lifelines()
        self.records: dict[int, Record] = {}
        self.relays: set[Relay] = set()
        self.unsent: list[StreamSocket] = []
        """Connections whose relay has ended and which may have bytes to send still.  Used on the schedule."""
        self.relay_pool: RelayPool = RelayPool(host)
        self.ports: frozenset[int] = frozenset()
        """Where the program can be reached."""
        self.unnetworked: int = 0
        """Sockets that it asked for in vain, as the kernel has no network at all."""
        self.changes: WaitQueue = WaitQueue()
        """Woken when `ports` changes and when the program ends."""
        self.work: Work = Work(host)
        self.deadlines: Deadlines = Deadlines(self)
        self.carrier: Carrier = Carrier(self, program)

    def run(self, function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        """Call a function of the kernel on the schedule."""
        self.host.enter()
        try:
            return function(*arguments, **keywords)
        finally:
            self.host.leave()

    def meeting(self) -> MeetingPlace:
        """Where the program's stream sockets are connected.  Made when it is first needed: a program may have ended before
        it is served at all."""
        if self._meeting is None:
            self._meeting = MeetingPlace(self.factory.take(STREAM))
        return self._meeting

    def named(self) -> "Named":
        """Who connects sockets that stand for none of the kernel's.  Made when it is first needed."""
        if self._named is None:
            from .named import Named

            self._named = Named(self)
        return self._named

    # The program's descriptors ----------------------------------------------------------------------------------

    def find(self, call: Notification) -> Record | None:
        """The record of the socket that is the call's first argument, or None: then it is none of ours."""
        inode = self.descriptors.inode_for(call.thread, call.arguments[0] & 0xFFFFFFFF)
        return self.records.get(inode) if inode else None

    def find_copied(self, call: Notification) -> tuple[Record | None, int]:
        """The same, and our own descriptor for the socket, which the caller closes; -1 where it is none of ours.  That tells the inode
        in a fraction of the time that the name takes.  Raises EMFILE, ENFILE."""
        try:
            copy = self.descriptors.copy(call.thread, call.arguments[0] & 0xFFFFFFFF)
        except OSError as problem:
            if problem.errno in (EMFILE, ENFILE):
                raise
            return None, -1
        record = self.records.get(self.descriptors.copied_inode(copy))
        if record is None:
            os.close(copy)
            return None, -1
        return record, copy

    def copy(self, call: Notification) -> int:
        """Our own descriptor for the call's first argument.  Raises EBADF."""
        return self.descriptors.copy(call.thread, call.arguments[0] & 0xFFFFFFFF)

    def copy_of(self, record: Record) -> int:
        """Our own descriptor for the program's end of a socket, wherever the program has it.  Raises EBADF."""
        thread, fd = record.place
        if self.descriptors.socket_inode(thread, fd) != record.inode:
            thread, fd = self.descriptors.search(self.program.init, record.inode)
            record.place = (thread, fd)
        return self.descriptors.copy(thread, fd)

    def holds(self, record: Record) -> bool:
        """Whether the program still has a socket where we saw it last.  In any thread."""
        thread, fd = record.place
        # Most often it has not, and then access(2) is quicker to say so than an exception.
        return (
            os.access(f"/proc/{thread}/fd/{fd}", os.F_OK) and self.descriptors.socket_inode(thread, fd) == record.inode
        )

    def watch(self, record: Record) -> bool:
        """Have sweeps tell when the program has closed a socket; False if it has done so.  In any thread."""
        try:
            copy = self.descriptors.copy(*record.place)
        except OSError as problem:
            return problem.errno != EBADF
        try:
            self.lifelines.watch(copy, record.inode)
        finally:
            os.close(copy)
        return True

    def hand_over(self, call: Notification, fd: int, record: Record, flags: int, watched: bool = True) -> bool:
        """Give a socket to the program as the result of its call, with SOCK_NONBLOCK and SOCK_CLOEXEC in `flags`.

        Takes `fd` over.  A sweep tells when the program has closed it if it is `watched`.  False if the program did not get it:
        the record is then forgotten, and the rest is the caller's to undo."""
        if self.lifelines.due():
            self.sweep()
        if flags & O_NONBLOCK:
            os.set_blocking(fd, False)
        self.records[record.inode] = record
        if watched:
            self.lifelines.watch(fd, record.inode)
        number = self.listener.inject(call.id, fd, bool(flags & os.O_CLOEXEC))
        os.close(fd)
        record.place = (call.thread, number)
        if number < 0:
            del self.records[record.inode]
        return number >= 0

    def exchange(self, call: Notification, number: int, record: Record, flags: int) -> None:
        """Put a fresh unix socket in the place of the program's end of `record`.  Raises OSError."""
        fd = self.factory.take(STREAM)
        try:
            if flags & O_NONBLOCK:
                os.set_blocking(fd, False)
            self.listener.place(call.id, fd, number, bool(flags & os.O_CLOEXEC))
            self.let_go(record)
            record.inode = os.fstat(fd).st_ino
            record.place = (call.thread, number)
            self.records[record.inode] = record
            self.lifelines.watch(fd, record.inode)
        finally:
            os.close(fd)

    def write_name(self, call: Notification, name: bytes) -> None:
        """Give the call a sockaddr by its second argument (where to) and third (how much room, and how long it was).
        Raises EFAULT, EINVAL."""
        where, length = call.arguments[1], call.arguments[2]
        room = self.memory.read_word(call.thread, length)
        if room >= 1 << 31:
            raise error(EINVAL)
        self.memory.write_sized(call.thread, where, name[:room], length, len(name))

    # Records ----------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Look which sockets the program has closed, and forget them."""
        for inode in self.lifelines.closed():
            record = self.records.pop(inode, None)
            if record is not None:
                guarded(record.closed)

    def let_go(self, record: Record) -> bool:
        """Forget one socket, which the program has closed.  If it was known still, the rest of its end is the caller's.
        In any thread."""
        self.lifelines.forget(record.inode)
        return self.records.pop(record.inode, None) is not None

    def reachability_changed(self) -> None:
        """A socket begins or ends to be one that others can reach."""
        self.ports = frozenset(record.port() for record in list(self.records.values())) - {0}
        self.run(self.changes.wake_all)

    def settled(self) -> bool:
        """Whether everything that the program has sent has reached its destination.  On the schedule."""
        self.unsent = [one for one in self.unsent if one.unacknowledged() and not one.reset_by()]
        return not self.unsent and not self.relays

    def owners(self) -> "dict[object, Owner]":
        """Which of the kernel's listeners, connections and endpoints are the program's.  On the schedule, in any thread."""
        from ...net.proc.view import Owner

        uid = os.geteuid()
        found: dict[object, Owner] = {}
        for record in list(self.records.values()):
            socket = record.socket
            for name in ("listener", "channel", "endpoint"):
                one = getattr(socket, name, None)
                if one is not None:
                    found[one] = Owner(record.inode, record.family, uid)
            found[socket] = Owner(record.inode, record.family, uid)
        return found

    def collect(self) -> "Collection":
        """Have all sockets that are made for the program come to us.  On the schedule, in any thread."""
        collection = Collection(self)
        collection.notify()
        return collection

    def forget(self) -> None:
        """The program has ended: nothing can be asked of its sockets any more.  Its relays carry on what is under way."""
        records = list(self.records.values())
        self.records.clear()
        for record in records:
            guarded(record.closed)
        self.deadlines.close()
        self.carrier.close()
        self.run(self.work.close)
        if self._meeting is not None:
            self._meeting.close()
        if self._named is not None:
            self._named.close()
        self.factory.close()
        self.descriptors.close()
        self.lifelines.close()
        self.listener.close()

    def drop_relays(self) -> None:
        """End what is under way.  On the schedule."""
        for relay in list(self.relays):
            relay.abort(self.host.now)
