"""TCP: the life of one of the program's stream sockets, between its unix socket and the kernel's TCP socket.

    FRESH --connect--> CONNECTING --> CONNECTED (a relay moves the bytes from here on)
      |                    `--------> FAILED
      `---listen--> LISTENING --accept--> a new one, CONNECTED

Above `ends`, which has the tricks, and `record`; the handlers in `calls_socket` decide what a call means in which state.  All
methods run off the schedule in the loop's thread, but for those that say otherwise.
"""

import os
import select
import socket as host_socket
from typing import TYPE_CHECKING, Final, cast, final

from ...clients.relay import MIN_READ, Relay, RelayPool
from ...hosts.posix.loop import Source
from ...hosts.task import Task
from ...hyper.time import FOREVER, MILLISECOND, Instant
from ...kern.abi.errno import ECONNABORTED, EINVAL
from ...kern.socket import Chunk, SocketAddress, StreamSocket
from ...kern.wait import Blocked
from . import ends
from .listener import Notification
from .parked import Parked, Waiting
from .record import Record, guarded
from .sockaddr import encode

if TYPE_CHECKING:
    from ...kern.socket import Socket
    from .context import Context

FRESH: Final = 0
CONNECTING: Final = 1
CONNECTED: Final = 2
FAILED: Final = 3
LISTENING: Final = 4
OVER: Final = 5
"""A listener that was shut down."""

SECOND_LOOK: Final = 50 * MILLISECOND
"""After the end of a socket's relay it is looked once more whether the program has closed it."""
_UNSENT: Final = 64
"""Ended connections with unsent bytes before it is worth looking which of them are done."""


class ProgramRelay(Relay):
    """Joins our end of a program's socket with the kernel's."""

    def __init__(self, pool: RelayPool, end: int, stream: "Stream") -> None:
        super().__init__(pool, end, stream.stream)
        self._stream: Stream = stream

    def prepare(self) -> None:
        """Ends are made so."""

    def on_kernel_reset(self, number: int, now: Instant) -> None:
        """Unix sockets have no reset, but closing one that was not read to its end looks like it from the other side."""
        stream = self._stream
        stream.error = number
        try:
            copy = ends.stream(stream.context.copy_of(stream))
        except OSError:
            return  # closed, or on its way to another process: nobody looks
        with copy:
            ends.poison(copy)

    def on_host_end(self, now: Instant) -> None:
        if self.hung_up and self._stream.resets_on_close:
            self.kernel_side.abort(now)
        else:
            self.kernel_side.finish(now)

    def on_end(self, now: Instant) -> None:
        # With both directions over and neither shut down by anybody, the other end is closed.
        self._stream.relay_ended(self.hung_up and not self.output_done, now)
        context = self._stream.context
        context.relays.discard(self)
        if self.kernel_side.unacknowledged():
            if len(context.unsent) > _UNSENT:
                context.settled()
            context.unsent.append(self.kernel_side)

    def on_refused(self, now: Instant) -> bool:
        return not self.host_gone()


@final
class Stream(Record):
    """A TCP socket of the program."""

    def __init__(self, context: "Context", inode: int, family: int, socket: "Socket", state: int = FRESH) -> None:
        super().__init__(context, inode, family, socket)
        self.stream: StreamSocket = cast(StreamSocket, socket)
        self.state: int = state
        self.error: int = 0
        """What SO_ERROR has still to say."""
        self.connect_heard: bool = False
        """Whether a connect call has told of the success."""
        self.parked: Parked = Parked(context.listener)
        self.waiting: list[_Arrival] = []
        """Connections that were taken from the kernel for calls, and those of calls that came to nothing."""
        self.inert: bool = False
        """A listener for real IPv6 only, which never hears of anything."""
        self.shut_down: bool = False
        """The program has called shutdown(2) for more than writing, so that the end of both directions says nothing of a close."""
        self.resets_on_close: bool = False
        """SO_LINGER with a time of zero."""
        self.inherited: dict[tuple[int, int], bytes] = {}
        """Options of its unix socket that those of its connections get, too."""
        self._tokens: int = 0
        self._end: host_socket.socket | None = None
        self._copy: host_socket.socket | None = None
        self._filled: int = 0
        self._connecting: Blocked | None = None
        self._door: _Door | None = None
        self._pump: ProgramRelay | None = None
        self._watched: bool = True
        """Whether a sweep tells when the program has closed it; before that its relay does."""

    # Connecting -------------------------------------------------------------------------------------------------

    def connect(self, copy: host_socket.socket, address: SocketAddress, blocking: bool) -> bool:
        """Begin to connect; takes `copy` over.  True if it is done, False if that will show.

        Raises what the kernel says at once, and for a blocking call also what comes of it at once: then nothing has
        changed, and the program may try again."""
        context = self.context
        try:
            meeting = context.meeting()
            self._connecting = context.run(self._start_connect, address)
            # Peers on the same host have answered by now.
            error = context.run(self._outcome)
            if error and blocking:
                raise OSError(error, os.strerror(error))
        except OSError:
            copy.close()
            raise
        self._copy = copy
        self._end = meeting.connect(copy)
        self.state = CONNECTING
        if error != 0:
            self._filled = ends.fill(copy)
        if error is not None:
            self.connect_heard = blocking
            self._end_connect(error)
        return error is not None

    def _start_connect(self, address: SocketAddress) -> Blocked | None:
        blocked = self.socket.connect(address, self.context.host.now)
        self.socket.queue.subscribe(self)
        return blocked

    def _outcome(self) -> int | None:
        """The errno that ended the attempt, 0 for success, None while there is no outcome.  On the schedule."""
        error = 0
        if self._connecting is not None:
            try:
                result = self._connecting.retry()
            except OSError as problem:
                error = problem.errno or EINVAL
            else:
                if isinstance(result, Blocked):
                    self._connecting = result
                    return None
        self._connecting = None
        self.socket.queue.unsubscribe(self)
        return error

    def _see_connect(self) -> None:
        error = self.context.run(self._outcome)
        if error is not None:
            self.connect_heard = bool(self.parked)
            self._end_connect(error)

    def _end_connect(self, error: int) -> None:
        copy, end = self._copy, self._end
        self._copy = self._end = None
        assert copy is not None and end is not None
        with copy:
            if error:
                self.state = FAILED
                end.close()  # with unread filling in it: the program's end shows an error and a hang-up
                if self.connect_heard:
                    copy.getsockopt(host_socket.SOL_SOCKET, host_socket.SO_ERROR)
                else:
                    self.error = error
            else:
                self.state = CONNECTED
                if self._filled:
                    ends.drain(copy, end, self._filled)
                self.relay(end.detach())
        self.parked.fail_all(error)

    def relay(self, end: int, written: int = 0) -> None:
        """Move bytes between our end and the kernel's socket until both directions are over.  Takes `end` over; `written` bytes of what
        the kernel has went there already."""
        context = self.context
        host = context.host
        host.enter()
        try:
            self._pump = relay = ProgramRelay(context.relay_pool, end, self)
            context.relays.add(relay)
            if written:
                relay.written(written, host.now)
            relay.start(host.now)
        finally:
            host.leave()

    def relay_ended(self, closed: bool, now: Instant) -> None:
        """On the schedule, in any thread.  As a rule the program has closed the socket, which may be `closed` for sure, and the
        kernel's must close with it: from then on TCP answers what the peer still sends with a reset.  If it was only shut down,
        that comes soon, or a sweep will tell."""
        self._pump = None
        if not (closed and not self.shut_down) and self.context.holds(self):
            self.context.host.later(_SecondLook(self), SECOND_LOOK)
        elif self.context.let_go(self):
            self.socket.release(now)

    def look_again(self, now: Instant) -> None:
        """A while after the relay's end.  On the schedule, in any thread."""
        context = self.context
        if context.records.get(self.inode) is not self or self._pump is not None:
            return
        if context.holds(self) and (self._watched or context.watch(self)):
            self._watched = True
        elif context.let_go(self):
            self.socket.release(now)

    # Listening --------------------------------------------------------------------------------------------------

    def listen(self, copy: host_socket.socket, backlog: int) -> None:
        """Begin to listen, or change the backlog; takes `copy` over.  Raises EADDRINUSE and the like."""
        context = self.context
        with copy:
            if not self.inert:
                context.run(self._start_listen, backlog)
            if self.state == LISTENING:
                return
            end = context.meeting().connect(copy)
            ends.fill(copy)
        self.state = LISTENING
        self._end = end
        self._door = _Door(self, end.fileno())
        context.host.loop.register(self._door, select.EPOLLHUP)
        context.reachability_changed()

    def _start_listen(self, backlog: int) -> None:
        self.socket.listen(backlog)
        self.socket.queue.unsubscribe(self)
        self.socket.queue.subscribe(self)

    def pull(self) -> int:
        """Have one connection in `waiting`, if there is any; how many wait, there and in the kernel."""
        if self.inert or self.state != LISTENING:
            return 0
        host = self.context.host
        host.enter()
        try:
            return self._pull()
        finally:
            host.leave()

    def _pull(self) -> int:
        if not self.waiting and self.stream.arrivals():
            accepted = self.socket.accept(self.context.host.now)
            if isinstance(accepted, Blocked):
                accepted.cancel()
                return 0
            accepted.hold()
            self.waiting.append(_Arrival(cast(StreamSocket, accepted)))
        return len(self.waiting) + self.stream.arrivals()

    def _see_arrivals(self) -> None:
        while self.parked and self.pull():
            parked = self.parked.next()
            if parked is not None:
                self.give(parked)
        if self.state == LISTENING and not self.inert:
            host = self.context.host
            host.enter()
            arrivals = self.stream.arrivals()
            host.leave()
            self._show_tokens(len(self.waiting) + arrivals)

    def _show_tokens(self, wanted: int) -> None:
        end = self._end
        while end is not None and self._tokens < wanted and ends.put_token(end):
            self._tokens += 1

    def take_back(self, copy: int, there: int) -> None:
        """Before one of `there` connections is accepted: with what is left the listener may be readable no more.  `copy` is one of
        the program's end."""
        if self._tokens >= there and ends.take_token(copy):
            self._tokens -= 1

    def accept(self, call: Notification, flags: int, there: int) -> None:
        """Answer an accept call with the first of the connections that wait (`pull`)."""
        before = len(self.waiting)
        self._give(Waiting(call, flags, FOREVER))
        self._show_tokens(there - before + len(self.waiting))

    def give(self, parked: Waiting) -> bool:
        """Give the first waiting connection to a call that has waited; False if that was too late, and the connection
        still waits."""
        return self.context.listener.valid(parked.call.id) and self._give(parked)

    def _give(self, parked: Waiting) -> bool:
        context = self.context
        call = parked.call
        arrival = self.waiting.pop(0)
        try:
            if call.arguments[1]:
                context.write_name(call, encode(arrival.peer, self.family))
            theirs, inode, ours = context.factory.take_pair()
        except OSError as problem:
            self.waiting.insert(0, arrival)
            return context.listener.fail(call.id, problem.errno or EINVAL)
        record = Stream(context, inode, self.family, arrival.socket, CONNECTED)
        record.connect_heard = True
        record._watched = False
        if self.inherited:
            ends.give_options(theirs, self.inherited)
            record.inherited = dict(self.inherited)
        if not parked.flags & os.O_NONBLOCK:
            os.set_blocking(theirs, True)
        # Before the program has the other end: so it need not be woken once more.
        written = arrival.carry(ours)
        # When the program has closed it, our end hears of that.
        if not context.hand_over(call, theirs, record, parked.flags & os.O_CLOEXEC, watched=False):
            os.close(ours)
            self.waiting.insert(0, arrival)
            return False
        record.relay(ours, written)
        return True

    def shut(self) -> None:
        """The program has closed the listener, or shut it down."""
        if self.state != LISTENING:
            return
        self.state = OVER
        context = self.context
        if self._door is not None:
            context.host.loop.unregister(self._door)
            self._door = None
        if self._end is not None:
            self._end.close()
            self._end = None
        self.parked.fail_all(EINVAL)
        context.run(self._stop_listening)
        context.sweep()
        context.reachability_changed()

    def _stop_listening(self) -> None:
        now = self.context.host.now
        self.socket.queue.unsubscribe(self)
        while self.waiting:
            connection = self.waiting.pop(0).socket
            connection.abort(now)
            connection.release(now)
        if not self.inert:
            self.socket.shutdown(host_socket.SHUT_RD, now)

    def unsent(self) -> int:
        """Bytes that the peer has not acknowledged (SIOCOUTQ).  On the schedule."""
        return self.stream.unacknowledged() if self._pump is None else self._pump.unsent()

    def drop(self) -> None:
        """Be as new: no connection, no listener, what was bound stays bound."""
        context = self.context
        if self.state == LISTENING:
            self.shut()
        self._stop_connecting()
        self.parked.fail_all(ECONNABORTED)
        context.run(self._drop)
        self.state, self.error, self.connect_heard = FRESH, 0, False
        self._tokens = self._filled = 0

    def _drop(self) -> None:
        now = self.context.host.now
        if self._pump is not None:
            self._pump.close(now)
        self.socket.connect((b"", 0), now)

    # Either -----------------------------------------------------------------------------------------------------

    def attend(self) -> None:
        if self.state == CONNECTING:
            self._see_connect()
        elif self.state == LISTENING:
            self._see_arrivals()

    def port(self) -> int:
        return self.socket.local_address()[1] if self.state == LISTENING and not self.inert else 0

    def expire(self, now: Instant) -> Instant:
        self.parked.expire(now)
        return self.parked.deadline()

    def closed(self) -> None:
        if self.state == LISTENING:
            self.shut()
        self._stop_connecting()
        self.parked.fail_all(EINVAL)
        super().closed()

    def _stop_connecting(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
            self.context.run(self.socket.queue.unsubscribe, self)
        for held in (self._copy, self._end):
            if held is not None:
                held.close()
        self._copy = self._end = None


@final
class _Arrival:
    """A connection that was taken from the kernel to be given to the program.  Made on the schedule."""

    def __init__(self, socket: StreamSocket) -> None:
        self.socket: StreamSocket = socket
        self.peer: SocketAddress = _peer_of(socket)
        self._early: list[Chunk] = []
        """What had come by then; it is the kernel's still."""
        if socket.readable() > 0 and socket.until_urgent() < 0:
            self._early = socket.front(MIN_READ)

    def carry(self, end: int) -> int:
        """Write what had come to our end of the program's socket; how much was written."""
        if not self._early:
            return 0
        try:
            return os.write(end, self._early[0].bytes())
        except OSError:
            return 0


def _peer_of(socket: "Socket") -> SocketAddress:
    try:
        return socket.origin()
    except OSError:  # gone before it was accepted; Linux still knows who it was
        return bytes(4), 0


@final
class _SecondLook(Task):
    """Many programs shut a connection down before they close it."""

    def __init__(self, stream: Stream) -> None:
        self._stream: Stream = stream

    def run(self, now: Instant) -> None:
        self._stream.look_again(now)


class _Door(Source):
    """Our end of a listener: it hangs up when the program closes or shuts down its end."""

    def __init__(self, stream: Stream, fd: int) -> None:
        super().__init__(fd, False)
        self._stream: Stream = stream

    def on_events(self, events: int, now: Instant) -> None:
        guarded(self._stream.shut)
