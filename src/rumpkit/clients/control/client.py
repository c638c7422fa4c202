"""The client's end of a control socket: finds a running kernel, asks it, and gives its answers as Python values.

with connect("rump-4711") as control:
    print(control.call("stat")["counters"]["tcp.segments_in"])
"""

import os
import socket
from collections.abc import Generator, Sequence
from errno import ECONNREFUSED, ENOENT, EPERM, EPROTO, ETIMEDOUT
from typing import Any, Final

from . import place
from .protocol import (
    BYTES,
    MAX_ANSWER,
    STREAM_NUMBER_SIZE,
    VERSION,
    ControlError,
    Decoder,
    Object,
    ProtocolError,
    decode,
    encode,
)

TIMEOUT: Final = 5.0
"""Seconds that a kernel may take to answer."""
_ASIDE: Final = 2_000_000_000
"""Added to the numbers of requests whose answers nobody waits for."""
_READ_SIZE: Final = 1 << 18


class NoKernel(ControlError):
    """There is no such running kernel, or not just one."""


def find(name: str = "") -> str:
    """The socket of the kernel called `name`, by its whole name, the beginning of one, or a path; of the only one where it is "".
    Raises NoKernel."""
    if "/" in name:
        return name
    known = place.names()
    if name in known:
        return known[name]
    near = [one for one in known if one.startswith(name)]
    if len(near) == 1:
        return known[near[0]]
    if near:
        which = f"{len(near)} kernels are called {name}..." if name else f"{len(near)} kernels are running"
        raise NoKernel(ENOENT, f"{which}; name one, by -k NAME: {', '.join(sorted(near))}")
    if known:
        raise NoKernel(ENOENT, f"no kernel called {name!r} is running; there are {', '.join(sorted(known))}")
    raise NoKernel(
        ENOENT, "no kernel of yours is running; start one by `rump run`, or by Kernel(control=True) in Python"
    )


def connect(name: str = "", timeout: float = TIMEOUT) -> "Control":
    """Connect to a running kernel (see `find`).  Raises NoKernel, ControlError, OSError."""
    path = find(name)
    try:
        connection = place.connect(path, timeout)
    except OSError as failure:
        if failure.errno in (ENOENT, ECONNREFUSED):
            raise NoKernel(ENOENT, f"no kernel listens at {path}") from None
        raise ControlError(failure.errno, f"{path}: {failure.strerror or failure}") from None
    try:
        return Control(connection)
    except BaseException:
        connection.close()
        raise


class Control:
    """A connection to a running kernel.  One request at a time; `stream` for those that go on."""

    def __init__(self, connection: socket.socket) -> None:
        """Takes the connection over, and reads the greeting.  Raises ControlError."""
        self._socket = connection
        self._decoder = Decoder(MAX_ANSWER)
        self._last = 0
        self._aside = 0
        greeting = self._object()
        if greeting.get("rumpkit") != "control":
            raise ControlError(EPROTO, "no kernel is behind this socket")
        if "error" in greeting:
            raise _error(greeting["error"])
        if greeting.get("version") != VERSION:
            text = (
                f"the kernel speaks version {greeting.get('version')} of the control protocol, this program {VERSION}"
            )
            raise ControlError(EPROTO, text + "; use the rumpkit that the kernel runs on")
        self.greeting = greeting
        """Who the kernel is: name, hostname, pid, started."""

    def call(self, method: str, **parameters: Any) -> Any:
        """Ask, and wait for the result.  Raises ControlError."""
        parts = self.stream(method, **parameters)
        while True:
            try:
                next(parts)
            except StopIteration as end:
                return end.value

    def rows(self, method: str, **parameters: Any) -> list[Any]:
        """The parts of the answer, which are lists, as one."""
        return [row for part in self.stream(method, **parameters) for row in part]

    def stream(self, method: str, descriptors: Sequence[int] = (), **parameters: Any) -> Generator[Any, None, Any]:
        """Ask, and give the parts of the answer as they come, JSON values or bytes; the generator's value is the result.
        `descriptors` go along.  Raises ControlError."""
        self._last += 1
        number = self._last
        request = encode({"id": number, "method": method, "params": parameters})
        if descriptors:
            sent = socket.send_fds(self._socket, [request], list(descriptors))
            request = request[sent:]
        self._socket.sendall(request)
        while True:
            kind, body = self._frame()
            if kind == BYTES:
                if int.from_bytes(body[:STREAM_NUMBER_SIZE], "big") == number:
                    yield body[STREAM_NUMBER_SIZE:]
                continue
            answer = _checked(body)
            if "error" in answer and answer.get("id") in (0, number):
                raise _error(answer["error"])
            if answer.get("id") != number:
                continue
            if "part" not in answer:
                return answer.get("result")
            yield answer["part"]

    def cancel(self) -> None:
        """End the request that `stream` gives the parts of; what it still has to say comes.  May be called in a signal's handler."""
        number = self._last
        self._socket.sendall(encode({"id": number + 1_000_000_000, "method": "cancel", "params": {"id": number}}))

    def tell(self, method: str, **parameters: Any) -> None:
        """Ask something whose answer nobody waits for, while `stream` waits for another one.  May be called in a signal's handler."""
        self._aside += 1
        self._socket.sendall(encode({"id": _ASIDE + self._aside, "method": method, "params": parameters}))

    def wait_closed(self) -> None:
        """Wait until the kernel has closed the connection, as it does at its end.  Raises ControlError if it takes too long."""
        try:
            while True:
                self._frame()
        except ControlError as problem:
            if problem.errno == ETIMEDOUT:
                raise

    def patience(self, seconds: float | None) -> None:
        """How long to wait for the next bytes; None is for ever."""
        self._socket.settimeout(seconds)

    def _object(self) -> Object:
        return _checked(self._frame()[1])

    def _frame(self) -> tuple[int, bytes]:
        while True:
            try:
                frame = self._decoder.take()
            except ProtocolError as problem:
                raise ControlError(EPROTO, str(problem)) from None
            if frame is not None:
                return frame
            try:
                data = self._socket.recv(_READ_SIZE)
            except TimeoutError:
                raise ControlError(ETIMEDOUT, "the kernel does not answer; is its process stopped?") from None
            except ConnectionResetError:
                data = b""
            if not data:
                raise ControlError(EPERM if self._last == 0 else EPROTO, "the kernel has closed the connection")
            self._decoder.feed(data)

    def close(self) -> None:
        """Hang up, which ends what runs."""
        self._socket.close()

    def __enter__(self) -> "Control":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _checked(body: bytes) -> Object:
    try:
        return decode(body)
    except ProtocolError as problem:
        raise ControlError(EPROTO, str(problem)) from None


def _error(said: Any) -> ControlError:
    if not isinstance(said, dict):
        return ControlError(EPROTO, "the kernel's answer makes no sense")
    number = said.get("errno")
    number = number if isinstance(number, int) else EPROTO
    return ControlError(number, str(said.get("message") or os.strerror(number)))
