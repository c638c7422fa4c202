"""One client of a control socket: its requests, what runs for it, and what waits until it reads.

Everything happens on the schedule, a bounded piece at a time: a long listing is made page by page, the next page in an entry of
its own and only once there is room for it; so neither a large kernel nor a client that never reads delays a packet.
"""

import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from errno import EAGAIN, EBUSY, EINTR, EINVAL, EIO, EPROTO
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from typing import TYPE_CHECKING, Any, Final, final

from ...hosts.posix.loop import Source
from ...hosts.task import Task
from ...hyper.time import Instant
from ...kern.abi.errno import NAMES
from .live import Live, Outlet
from .methods import check_parameters
from .protocol import (
    HEADER_SIZE,
    JSON,
    MAX_ANSWER,
    MAX_REQUEST,
    STREAM_NUMBER_SIZE,
    ControlError,
    Decoder,
    Object,
    ProtocolError,
    decode,
    encode,
    encode_bytes,
)

if TYPE_CHECKING:
    from .server import ControlServer

MAX_RUNNING: Final = 8
"""Requests of one client that are being answered at once."""
PLENTY: Final = 256 << 10
"""Bytes that wait for a client beyond which nothing more is made for it, nor asked by it."""
MAX_WAITING: Final = 16 << 20
"""Bytes that wait for a client at most, of what comes by itself (captures, pings); the rest is left out, and counted."""
MAX_WAITING_IN_ALL: Final = 64 << 20
"""The same of all clients of a kernel together."""
READ_SIZE: Final = 65536
MAX_DESCRIPTORS: Final = 3
"""That may come with a request."""
MAX_WRITTEN: Final = 1 << 20
"""Bytes that are written in one entry."""
MAX_DATA: Final = MAX_ANSWER - STREAM_NUMBER_SIZE


@final
class _Running(Outlet):
    """A request that is not answered in full yet."""

    def __init__(self, session: "Session", number: int) -> None:
        self.session = session
        self.number = number
        self.pages: Iterator[Any] | None = None
        self.live: Live | None = None
        self.over = False

    def room(self) -> int:
        return 0 if self.over else self.session.room()

    def part(self, value: Any) -> None:
        if not self.over:
            self.session.put(encode({"id": self.number, "part": value}))

    def data(self, data: bytes) -> None:
        if self.over:
            return
        for start in range(0, len(data), MAX_DATA):
            self.session.put(encode_bytes(self.number, data[start : start + MAX_DATA]))

    def finish(self, result: Any) -> None:
        if not self.over:
            self.over = True
            self.session.put(encode({"id": self.number, "result": result}))
            self.session.ended(self)

    def fail(self, failure: OSError) -> None:
        if not self.over:
            self.session.end(self, failure)


@final
class _Turn(Task):
    """Has a session go on in an entry of its own."""

    def __init__(self, session: "Session") -> None:
        self._session = session

    def run(self, now: Instant) -> None:
        self._session.go_on(now)


@final
class Session(Source):
    """One connection.  All methods are called on the schedule."""

    def __init__(self, server: "ControlServer", connection: socket.socket) -> None:
        super().__init__(connection.fileno())
        self._server = server
        self._connection = connection
        self._decoder = Decoder(MAX_REQUEST)
        self._running: dict[int, _Running] = {}
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._descriptors: list[int] = []
        """What has come along and nobody has asked for yet."""
        self._turn = _Turn(self)
        self._turn_asked = False
        self._leaving = False
        """Close once what waits is written."""
        self._open = True
        self.active: Instant = 0
        """When bytes came or went last."""

    def greet(self, greeting: Object, now: Instant) -> None:
        """Begin."""
        self.active = now
        self._server.host.loop.register(self, EPOLLIN)
        self.put(encode(greeting))

    def stands_still(self) -> bool:
        """Whether the client neither asks for anything nor takes what it asked for."""
        return self._size > 0 or not self._running

    # In ------------------------------------------------------------------------------------------------

    def on_events(self, events: int, now: Instant) -> None:
        if events & EPOLLIN:
            self._read(now)
        elif events & (EPOLLHUP | EPOLLERR):
            self.close()
        if self._open:
            self.go_on(now)

    def _read(self, now: Instant) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._connection, READ_SIZE, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        except OSError as failure:
            if failure.errno not in (EAGAIN, EINTR):
                self.close()
            return
        self._take_descriptors(fds)
        if not data:
            self.close()
            return
        self.active = now
        self._decoder.feed(data)

    def _take_descriptors(self, fds: list[int]) -> None:
        """Keep those that have come for the next request that wants some; those before them were for nothing."""
        if fds:
            self._drop_descriptors()
            self._descriptors = fds

    def go_on(self, now: Instant) -> None:
        """Take what was asked, make what is wanted, write what waits: as much as one entry may."""
        if not self._open:
            return
        self._turn_asked = True  # it is here
        try:
            # Where too much waits, a request may be there that is looked at once some of it is written.
            asked = not self._leaving and (self._size >= PLENTY or self._take_request(now))
            for running in list(self._running.values()):
                if running.pages is not None and self._size < PLENTY:
                    self._page(running)
            self._write(now)
            self._turn_asked = False
            if self._open:
                self._arrange(asked)
        except Exception as bug:  # ours: nobody else shall suffer from it, least of all the caller whose entry this is
            self.close()
            report(bug)

    def _take_request(self, now: Instant) -> bool:
        """Do what is asked next; False if nothing is."""
        try:
            frame = self._decoder.take()
            if frame is None:
                return False
            kind, body = frame
            if kind != JSON:
                raise ProtocolError("requests are JSON")
            self._request(decode(body), now)
        except ProtocolError as problem:
            self._fail(0, EPROTO, str(problem))
            self._leaving = True
        return True

    def _request(self, request: Object, now: Instant) -> None:
        number, name, parameters = request.get("id"), request.get("method"), request.get("params", {})
        if type(number) is not int or not 0 < number < 1 << 63 or not isinstance(name, str):
            raise ProtocolError("a request has a number as id and the name of a method")
        if name == "cancel":
            self._cancel(number, parameters, now)
            return
        if number in self._running:
            raise ProtocolError(f"request {number} is not answered yet")
        if len(self._running) >= MAX_RUNNING:
            self._fail(number, EBUSY, f"{MAX_RUNNING} requests are being answered already")
            return
        try:
            self._answer(number, self._call(name, parameters), now)
        except OSError as failure:
            self._fail(number, failure.errno or EIO, _text(failure))
        except Exception as failure:  # A bug of ours: whoever looks on must not harm the kernel.
            self._fail(number, EIO, f"internal error in {name!r}: {failure!r}")

    def _call(self, name: str, parameters: Any) -> Any:
        method, checked = check_parameters(name, parameters)
        if not method.descriptors:
            return method.call(self._server, checked)
        if len(self._descriptors) != method.descriptors:
            raise ControlError(EINVAL, f"{method.descriptors} descriptors come with {name}")
        checked["descriptors"] = self._descriptors
        try:
            answer = method.call(self._server, checked)
        except Exception:
            self._drop_descriptors()
            raise
        self._descriptors = []  # they are the answer's now
        return answer

    def _drop_descriptors(self) -> None:
        for fd in self._descriptors:
            os.close(fd)
        self._descriptors = []

    def _answer(self, number: int, answer: Any, now: Instant) -> None:
        if not isinstance(answer, Live | Iterator):
            self.put(encode({"id": number, "result": answer}))
            return
        running = _Running(self, number)
        self._running[number] = running
        if isinstance(answer, Live):
            running.live = answer
            try:
                answer.start(running, now)
            except Exception:
                running.over = True
                answer.stop(now)
                self.ended(running)
                raise
        else:
            running.pages = answer

    def _cancel(self, number: int, parameters: Any, now: Instant) -> None:
        which = parameters.get("id") if isinstance(parameters, dict) else None
        running = self._running.get(which) if isinstance(which, int) else None
        if running is not None:
            if running.live is not None:
                running.live.stop(now)
            running.finish({"cancelled": True})
        self.put(encode({"id": number, "result": {"cancelled": running is not None}}))

    # Out -----------------------------------------------------------------------------------------------

    def room(self) -> int:
        """Bytes that may be put now by what comes by itself."""
        rest = min(MAX_WAITING - self._size, MAX_WAITING_IN_ALL - self._server.waiting)
        return max(rest, 0) if self._open else 0

    def put(self, frame: bytes) -> None:
        """Queue a whole frame.  One that is too long for a client is a bug: it must learn of it."""
        if not self._open:
            return
        if len(frame) > HEADER_SIZE + MAX_ANSWER:
            raise ProtocolError(f"an answer has {len(frame)} bytes")
        if not self._waiting:
            self._want_turn()
        self._waiting.append(frame)
        self._size += len(frame)
        self._server.waiting += len(frame)

    def ended(self, running: _Running) -> None:
        """A request has its answer."""
        self._running.pop(running.number, None)

    def _page(self, running: _Running) -> None:
        assert running.pages is not None
        try:
            part = next(running.pages)
            if part is not None:
                running.part(part)
        except StopIteration as end:
            running.finish(end.value)
        except OSError as failure:
            self.end(running, failure)
        except Exception as failure:
            self.end(running, OSError(EIO, f"internal error: {failure!r}"))

    def end(self, running: _Running, failure: OSError) -> None:
        """A request has failed."""
        running.over = True
        self.ended(running)
        self._fail(running.number, failure.errno or EIO, _text(failure))

    def _fail(self, number: int, errno: int, text: str) -> None:
        self.put(encode({"id": number, "error": {"errno": errno, "name": NAMES.get(errno, ""), "message": text}}))

    def _write(self, now: Instant) -> None:
        written = 0
        while self._waiting and written < MAX_WRITTEN:
            frame = self._waiting[0]
            try:
                sent = self._connection.send(frame)
            except OSError as failure:
                if failure.errno not in (EAGAIN, EINTR):
                    self.close()
                return
            self.active = now
            self._size -= sent
            self._server.waiting -= sent
            written += sent
            if sent < len(frame):
                self._waiting[0] = frame[sent:]
                return
            self._waiting.popleft()
        if self._leaving and not self._waiting:
            self.close()

    def _arrange(self, asked: bool) -> None:
        """Say what is to wake us next.  After a request there may be another one; before those that are here are answered no
        more are read, else they would pile up."""
        events = EPOLLOUT if self._waiting else 0
        if self._size < PLENTY and not self._leaving:
            if not asked:
                events |= EPOLLIN
            if asked or any(running.pages is not None for running in self._running.values()):
                self._want_turn()
        self._server.host.loop.modify(self, events)

    def _want_turn(self) -> None:
        if not self._turn_asked:
            self._turn_asked = True
            self._server.host.later(self._turn)

    def close(self) -> None:
        """End the connection and what runs for it."""
        if not self._open:
            return
        self._open = False
        for running in list(self._running.values()):
            running.over = True
            if running.live is not None:
                running.live.stop(self._server.host.now)
        self._running.clear()
        self._drop_descriptors()
        self._waiting.clear()
        self._server.waiting -= self._size
        self._size = 0
        self._server.host.loop.unregister(self)
        self._connection.close()
        self._server.forget(self)


def report(bug: Exception) -> None:
    """Say that something is wrong with us, as threads do."""
    threading.excepthook(threading.ExceptHookArgs((type(bug), bug, bug.__traceback__, threading.current_thread())))


def _text(failure: OSError) -> str:
    text = failure.strerror or str(failure)
    return f"{failure.filename}: {text}" if failure.filename else text
