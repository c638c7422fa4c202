"""What programs print: line by line, with the program's name before each, and into a log of limited size.

Pipes are read by a thread of its own, not by the host's loop: what it writes to, a terminal or somebody's pipe, may block, and no
packet shall wait for that.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, final

from ...hyper.named import NamedTuple

if TYPE_CHECKING:
    from selectors import DefaultSelector

READ_SIZE: Final = 65536
MAX_LINE: Final = 65536
"""Bytes after which a line without an end is one."""
COLOURS: Final = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
"""Of names on a terminal (ECMA-48 SGR)."""
OVERHEAD: Final = 64
"""Bytes that an entry counts for beside its text."""


class Entry(NamedTuple):
    """One line of a log."""

    number: int
    """In the order of the whole run."""
    when: float
    """Seconds since 1970."""
    stream: str
    """"out", "err", or "rump": what we say of the program."""
    text: str


@final
class Log:
    """The last lines of one program."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._entries: deque[Entry] = deque()
        self.dropped: int = 0
        """Lines that had to go."""

    def add(self, entry: Entry) -> None:
        """A new line."""
        self._entries.append(entry)
        self._size += len(entry.text) + OVERHEAD
        while self._size > self._limit and len(self._entries) > 1:
            self._size -= len(self._entries.popleft().text) + OVERHEAD
            self.dropped += 1

    def entries(self) -> list[Entry]:
        """All that is left, the oldest first."""
        return list(self._entries)


Follower = Callable[[str, Entry], None]
"""Is told of each line: the program's whole name, and the line."""


@final
class _Reader:
    """The reading end of a program's standard output or error."""

    def __init__(self, fd: int, name: str, stream: str, shown: int) -> None:
        self.fd = fd
        self.name = name
        self.stream = stream
        self.shown = shown
        """Our descriptor to print lines to; -1: they are only remembered."""
        self.rest = b""


@final
class Output:
    """The output of all programs of a run.  Any thread may call it."""

    def __init__(self, names: Sequence[str], quiet: bool = False) -> None:
        """`quiet`: say nothing of our own on stderr."""
        self._quiet = quiet
        self._lock = threading.Lock()
        self._number = 0
        self._width = max((len(name) for name in names), default=0)
        self._colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
        self.logs: dict[str, Log] = {}
        self._followers: list[Follower] = []
        self._selector: DefaultSelector | None = None
        """With the thread, made when they are first needed."""
        self._waker, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._new: list[_Reader] = []
        self._thread: threading.Thread | None = None
        self._closing = False

    def log(self, name: str, limit: int) -> Log:
        """The log of a program; made when it is first asked for."""
        with self._lock:
            return self.logs.setdefault(name, Log(limit))

    def channel(self, name: str, stream: str, shown: int) -> int:
        """The writing end of a new pipe, for a program of which there is a log; the caller closes it."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        with self._lock:
            self._new.append(_Reader(reader, name, stream, shown))
        if self._thread is None:
            from selectors import EVENT_READ, DefaultSelector

            self._selector = DefaultSelector()
            self._selector.register(self._waker, EVENT_READ)
            self._thread = threading.Thread(
                target=self._run, args=(self._selector,), name="rumpkit output", daemon=True
            )
            self._thread.start()
        self._wake()
        return writer

    def say(self, name: str, text: str, show: bool = True) -> None:
        """A line of our own about a program."""
        self._add(name, "rump", text)
        if show and not self._quiet:
            _write(2, f"rump: {name} {text}\n".encode())

    def follow(self, follower: Follower) -> list[tuple[str, Entry]]:
        """Tell `follower` of every line from now on; what there is so far, in order."""
        with self._lock:
            self._followers.append(follower)
            so_far = [(name, entry) for name, log in self.logs.items() for entry in log.entries()]
        return sorted(so_far, key=lambda pair: pair[1].number)

    def unfollow(self, follower: Follower) -> None:
        """Tell it no more."""
        with self._lock:
            if follower in self._followers:
                self._followers.remove(follower)

    def close(self) -> None:
        """Take what is in the pipes still, and end.  To be called once the programs have ended."""
        thread = self._thread
        self._closing = True
        self._wake()
        if thread is not None:
            thread.join()
        if self._selector is not None:
            self._selector.close()
        os.close(self._waker)
        os.close(self._woken)

    def _wake(self) -> None:
        try:
            os.write(self._woken, b"w")
        except BlockingIOError:
            pass  # it wakes up already

    # The thread ----------------------------------------------------------------------------------------------

    def _run(self, selector: "DefaultSelector") -> None:
        from selectors import EVENT_READ

        while True:
            closing = self._closing
            with self._lock:
                new, self._new = self._new, []
            for reader in new:
                selector.register(reader.fd, EVENT_READ, reader)
            if closing:
                break
            for key, _ in selector.select():
                if key.data is None:
                    os.read(self._waker, READ_SIZE)
                elif not self._read(key.data):
                    self._end(key.data, selector)
        for key in list(selector.get_map().values()):
            if key.data is not None:
                while self._read(key.data, last=True):
                    pass
                self._end(key.data, selector)

    def _read(self, reader: _Reader, last: bool = False) -> bool:
        """Take some; False at the end (or, the `last` time, where nothing is left)."""
        try:
            data = os.read(reader.fd, READ_SIZE)
        except BlockingIOError:
            return not last
        *lines, rest = (reader.rest + data).split(b"\n")
        if len(rest) > MAX_LINE:
            lines.append(rest)
            rest = b""
        reader.rest = rest
        self._lines(reader, lines)
        return bool(data)

    def _end(self, reader: _Reader, selector: "DefaultSelector") -> None:
        if reader.rest:
            self._lines(reader, [reader.rest])
        selector.unregister(reader.fd)
        os.close(reader.fd)

    def _lines(self, reader: _Reader, lines: list[bytes]) -> None:
        if not lines:
            return
        for line in lines:
            self._add(reader.name, reader.stream, line.decode("utf-8", "backslashreplace"))
        if reader.shown >= 0:
            before = self._prefix(reader)
            if not _write(reader.shown, b"".join(before + line + b"\n" for line in lines)):
                reader.shown = -1

    def _prefix(self, reader: _Reader) -> bytes:
        text = f"{reader.name.ljust(self._width)} |"
        if os.isatty(reader.shown) and not os.environ.get("NO_COLOR"):
            text = f"\x1b[{self._colours.get(reader.name, COLOURS[0])}m{text}\x1b[0m"
        return f"{text} ".encode()

    def _add(self, name: str, stream: str, text: str) -> None:
        with self._lock:
            self._number += 1
            entry = Entry(self._number, time.time(), stream, text)
            log = self.logs.get(name)
            if log is not None:
                log.add(entry)
            followers = list(self._followers)
        for follower in followers:
            follower(name, entry)


def _write(fd: int, data: bytes) -> bool:
    """All of it; False where nobody wants it any more."""
    if fd == 2:
        sys.stderr.flush()
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return False
    return True
