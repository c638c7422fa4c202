"""The server of one FUSE mount: a thread that reads requests from /dev/fuse, has them done on the schedule, and writes replies.

Above `operations` and `waiting`, below `session`, which makes the mount.  Reading and writing the device may block, so both happen off the
schedule.  The thread must never touch a file of its own mount: it would wait for itself.  More threads are started when they are first
needed: some for requests that wait for a disk (`SLOW`), and one for notifications, which Linux may hold up until the server has answered
something.

What changes by other ways than this mount (`changed`, `named`) is told to Linux, which then forgets what it has cached.
"""

import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, final

from ...hosts.posix.host import PosixHost
from ...kern.abi.errno import EAGAIN, EINTR, EINVAL, EIO, ENODEV, ENOENT, EPROTO
from ...kern.counters import Counters
from ...vfs.vnode import Mount, Vnode
from ...vfs.watch import Watcher
from . import wire
from .nodes import TRIM, Node
from .operations import Operations, Request
from .options import PAGE, FuseOptions
from .table import SLOW, Operation, table
from .waiting import Waiting

HEADROOM: Final = 4096
"""What a request may have besides its data."""
SMALL_REPLY: Final = 4096
"""Replies up to this many bytes are copied behind their header, which is faster than writing two pieces."""
WANTED: Final = (
    wire.ASYNC_READ
    | wire.BIG_WRITES
    | wire.DONT_MASK
    | wire.AUTO_INVAL_DATA
    | wire.DO_READDIRPLUS
    | wire.READDIRPLUS_AUTO
    | wire.ASYNC_DIO
    | wire.NO_OPEN_SUPPORT
    | wire.PARALLEL_DIROPS
    | wire.MAX_PAGES
    | wire.CACHE_SYMLINKS
    | wire.NO_OPENDIR_SUPPORT
    | wire.HANDLE_KILLPRIV_V2
)
"""Not ATOMIC_O_TRUNC, which without OPEN would lose truncations."""
MOST_SLOW: Final = 4
"""Threads for requests that wait for a disk: what they wait for may be one and the same flush."""
LIMIT: Final = 65536
"""Notifications that wait to be sent; more are dropped, and what they would have told is found out when its time is over."""


@final
class FuseCounters(Counters):
    """What FUSE mounts have been asked; what each counts is in net/meanings.py."""

    def __init__(self) -> None:
        self.requests: int = 0
        self.errors: int = 0
        self.read_bytes: int = 0
        self.written_bytes: int = 0
        self.notifications: int = 0

    def names(self) -> tuple[str, ...]:
        return ("requests", "errors", "read_bytes", "written_bytes", "notifications")


@final
class FuseServer(Watcher):
    """One connection to the Linux kernel."""

    def __init__(
        self, host: PosixHost, operations: Operations, fd: int, options: FuseOptions, counters: FuseCounters
    ) -> None:
        """Takes over `fd`, an open /dev/fuse; `start` serves it."""
        self.host: PosixHost = host
        self.operations: Operations = operations
        self.counters: FuseCounters = counters
        self.flags: int = 0
        """Those of INIT that both sides agreed on."""
        self.minor: int = 0
        """Of the protocol that Linux speaks; 0 before it has said so."""
        self._own: set[int] = set()
        """The threads whose changes Linux knows of, as it has asked for them."""
        self._waiting: dict[bytes, None] = {}
        """The notices in the queue: none is there twice."""
        self._fd: int = fd
        self._options: FuseOptions = options
        self._table: list[Operation] = table(operations, options.writeback)
        self._wake: int = os.eventfd(0, os.EFD_CLOEXEC)
        """What ends the thread's wait.  A read that blocks could not be ended: somebody may use the mount for ever."""
        self._stopping: bool = False
        self._ended = threading.Event()
        self._slow: SimpleQueue[Request | None] | None = None
        self._slow_threads: int = 0
        self._unanswered: int = 0
        """Slow requests that wait or are being done."""
        self._counting = threading.Lock()
        self._notices: SimpleQueue[bytes | None] | None = None
        self._server = threading.Thread(target=self.run, name="rumpkit fuse", daemon=True)
        self._helpers: list[threading.Thread] = []
        self._full: int = options.max_nodes - options.max_nodes // 8
        self._trim_at: int = self._full
        """With how many nodes Linux is asked again to forget some."""

    # Life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Serve from now on, in a thread, and watch what others change."""
        watchers = self.operations.vfs.events.watchers
        self.host.enter()
        watchers.append(self)
        self.host.leave()
        self._server.start()

    def keep(self) -> None:
        """Something is mounted on files of this mount: never ask Linux to forget those that it knows by now.  With a name it would give up
        what is mounted there, too.  Off the schedule."""
        self.host.enter()
        self.operations.nodes.keep()
        self.host.leave()

    def _help(self, function: Callable[[], None], name: str) -> None:
        """Start a further thread."""
        thread = threading.Thread(target=function, name=name, daemon=True)
        self._helpers.append(thread)
        thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the mount has gone or the server was stopped; False if `timeout` seconds pass first."""
        return self._ended.wait(timeout)

    def stop(self) -> None:
        """Serve no longer; whoever still has files of the mount open gets ENOTCONN.  Off the schedule; a second call does nothing."""
        self.host.assert_unscheduled("stopping a FUSE server")
        if self._fd < 0:
            return
        host = self.host
        host.enter()
        self.operations.vfs.events.watchers.remove(self)
        host.leave()
        # The helpers first, as what they do may need the server's answers; and again, as the server may have started one since.
        self._end_helpers()
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._server.join()
        self._end_helpers()
        os.close(self._wake)
        os.close(self._fd)
        self._fd = -1
        host.enter()
        try:
            self.operations.nodes.clear()
        finally:
            host.leave()

    def _end_helpers(self) -> None:
        if self._slow is not None:
            for _ in range(self._slow_threads):
                self._slow.put(None)
            self._slow_threads = 0
        if self._notices is not None:
            self._notices.put(None)
        while self._helpers:
            self._helpers.pop().join()

    # The loop ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the mount has gone."""
        self._own.add(threading.get_ident())
        request = Request(self._options.max_request + HEADROOM)
        buffers = [request.buffer]
        fd = self._fd
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        awaited = Waiting(poll)
        try:
            while True:
                awaited.wait()
                if self._stopping:
                    break
                try:
                    length = os.readv(fd, buffers)
                except OSError as problem:
                    if problem.errno in (EINTR, ENOENT, EAGAIN):
                        continue  # ENOENT: the caller was interrupted before we saw the request
                    if problem.errno == ENODEV:
                        break
                    raise
                self._serve(request, length)
        except Exception as problem:
            complain(problem)
        finally:
            self._ended.set()

    def _serve(self, request: Request, length: int) -> None:
        request.parse(length)
        operation = request.operation
        if operation == wire.FORGET or operation == wire.BATCH_FORGET:
            self._forget(request)
        elif operation == wire.INIT:
            self._init(request)
        elif operation in SLOW and self._sleeps(request):
            self._do_elsewhere(request)
        elif operation != wire.INTERRUPT and operation != wire.NOTIFY_REPLY:
            self._answer(request)

    def _answer(self, request: Request) -> None:
        host = self.host
        counters = self.counters
        code = 0
        payload = b""
        host.enter()
        try:
            counters.requests += 1
            number = request.operation
            operation = self._table[number] if number < wire.OPERATIONS else self.operations.unknown
            payload = operation(request)
            if number == wire.READ:
                counters.read_bytes += len(payload)
            elif number == wire.WRITE:
                counters.written_bytes += request.length - wire.IN_SIZE - wire.READ_SIZE
        except OSError as problem:
            code = problem.errno or EIO
            counters.errors += 1
        except Exception as problem:
            code = EIO
            complain(problem)
        finally:
            if len(self.operations.nodes) > self._trim_at:
                self._trim()
            host.leave_as_driver()
        self._reply(request.unique, code, payload)

    def _reply(self, unique: int, code: int, payload: bytes) -> None:
        size = len(payload)
        header = wire.OUT_HEADER.pack(wire.OUT_SIZE + size, -code, unique)
        try:
            if size <= SMALL_REPLY:
                os.write(self._fd, header + payload)
            else:
                os.writev(self._fd, (header, payload))
        except OSError as problem:
            if problem.errno not in (ENOENT, ENODEV):  # whoever asked has gone, or the mount has
                raise

    def _forget(self, request: Request) -> None:
        host = self.host
        nodes = self.operations.nodes
        host.enter()
        try:
            if request.operation == wire.FORGET:
                nodes.forget(request.node, request.fields(wire.FORGET_IN)[0])
            else:
                count, _ = request.fields(wire.BATCH_FORGET_IN)
                start = wire.IN_SIZE + wire.BATCH_FORGET_IN.size
                step = wire.FORGET_ONE.size
                for place in range(start, min(start + count * step, request.length - step + 1), step):
                    node, lookups = wire.FORGET_ONE.unpack_from(request.buffer, place)
                    nodes.forget(node, lookups)
            self._trim_at = max(self._full, min(self._trim_at, len(nodes)))
        except OSError:
            self.counters.errors += 1
        except Exception as problem:
            complain(problem)
        finally:
            host.leave_as_driver()

    def _init(self, request: Request) -> None:
        """Agree on the protocol."""
        major, minor, readahead, offered = request.fields(wire.INIT_IN)
        if major != wire.MAJOR or minor < wire.OLDEST:
            self._reply(request.unique, EPROTO, b"")
            return
        options = self._options
        self.minor = minor
        wanted = WANTED | (wire.WRITEBACK_CACHE if options.writeback else 0)
        if options.permissions and options.owner is None:
            wanted |= wire.POSIX_ACL
        self.flags = offered & wanted
        self._reply(
            request.unique,
            0,
            wire.INIT_OUT.pack(
                wire.MAJOR,
                wire.MINOR,
                min(readahead, options.max_readahead),
                self.flags,
                options.max_background,
                max(options.max_background * 3 // 4, 1),
                options.max_request,
                1,
                options.max_request // PAGE,
                0,
                0,
            ),
        )

    # Requests that wait for a disk ---------------------------------------------------------------------

    def _sleeps(self, request: Request) -> bool:
        """Whether the request's file system does block I/O."""
        host = self.host
        host.enter()
        try:
            return self.operations.nodes.get(request.node).vnode.mount.lock is not None
        except OSError:
            return False
        finally:
            host.leave_as_driver()

    def _do_elsewhere(self, request: Request) -> None:
        if self._slow is None:
            self._slow = SimpleQueue()
        with self._counting:
            self._unanswered += 1
            more = self._unanswered > self._slow_threads and self._slow_threads < MOST_SLOW
        if more:
            self._slow_threads += 1
            self._help(self._run_slow, "rumpkit fuse sync")
        self._slow.put(request.copy())

    def _run_slow(self) -> None:
        self._own.add(threading.get_ident())
        queue = self._slow
        assert queue is not None
        while True:
            request = queue.get()
            if request is None:
                return
            try:
                self._answer(request)
            except OSError as problem:
                complain(problem)
            finally:
                with self._counting:
                    self._unanswered -= 1

    # Notifications -------------------------------------------------------------------------------------

    def changed(self, vnode: Vnode, data: bool) -> None:
        """A file's attributes, and with `data` its contents, have changed; unless it knows, Linux is told."""
        for node in self._unaware(vnode):
            # A negative offset says that only the attributes are to be forgotten.
            self._notify(wire.NOTIFY_INVAL_INODE, wire.INVAL_INODE.pack(node.number, 0 if data else -1, 0))

    def named(self, directory: Vnode, name: bytes) -> None:
        """A name has come, gone, or means another file; unless it knows, Linux is told."""
        for node in self._unaware(directory):
            self._notify_entry(node.number, name)
            self._notify(wire.NOTIFY_INVAL_INODE, wire.INVAL_INODE.pack(node.number, 0, 0))

    def _unaware(self, vnode: Vnode) -> list[Node]:
        """The nodes of a file that Linux has to be told of.  Of what it has itself asked for it knows, unless the file shows at several
        places, which are different files to it."""
        found = self.operations.nodes.of(vnode)
        return [] if len(found) < 2 and threading.get_ident() in self._own else found

    def revoked(self, mount: Mount, exchange: Callable[[Vnode], Vnode]) -> None:
        """A mount is taken away: what Linux has of it is dead from now on, also what it remembers."""
        for node in self.operations.nodes.revoke(mount, exchange):
            for above, name in node.places():
                self._notify_entry(above, name)
            self._notify(wire.NOTIFY_INVAL_INODE, wire.INVAL_INODE.pack(node.number, 0, 0))

    def _notify_entry(self, number: int, name: bytes) -> None:
        self._notify(wire.NOTIFY_INVAL_ENTRY, wire.INVAL_ENTRY.pack(number, len(name), 0) + name + b"\0")

    def _trim(self) -> None:
        """Have Linux forget some of the files that it has known for longest.  On the schedule."""
        nodes = self.operations.nodes
        self._trim_at = len(nodes) + TRIM // 2
        for node in nodes.oldest():
            for above, name in node.places():
                self._notify_entry(above, name)

    def _notify(self, code: int, body: bytes) -> None:
        if self._stopping:
            return
        if self._notices is None:
            self._notices = SimpleQueue()
            self._help(self._run_notices, "rumpkit fuse notify")
        notice = wire.OUT_HEADER.pack(wire.OUT_SIZE + len(body), code, 0) + body
        if notice in self._waiting or len(self._waiting) >= LIMIT:
            return
        self._waiting[notice] = None
        self.counters.notifications += 1
        self._notices.put(notice)

    def _run_notices(self) -> None:
        queue = self._notices
        assert queue is not None
        while True:
            notice = queue.get()
            if notice is None:
                return
            # Before it is sent: what changes while it is takes another one.
            del self._waiting[notice]
            try:
                os.write(self._fd, notice)
            except OSError as problem:
                if problem.errno not in (ENOENT, ENODEV, EINVAL):  # Linux does not know it (any more)
                    complain(problem)


def complain(problem: Exception) -> None:
    """Show the traceback of what should not have happened."""
    what = (type(problem), problem, problem.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(what))
