"""Progress on the terminal, for what takes more than a second; and Ctrl-C, which ends a command between two steps and not within one.

One line on stderr, drawn by a thread of its own, as the work may be in the midst of a long step; whoever prints something clears it
before (`common.CLEARERS`).  In a pipe there is none.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread, current_thread, main_thread
from types import FrameType
from typing import Final, final

from ...compose.image.copying import CopyWatcher
from ...compose.image.counting import Amount, count
from ...compose.image.node import Node
from ...compose.image.session import Interrupted
from .common import CLEARERS, Address, Session, human, printable

PATIENCE: Final = 1.0
"""Seconds without progress shown."""
INTERVAL: Final = 0.2
"""Seconds between two looks at what is shown."""
FILE_WEIGHT: Final = 64 << 10
"""Bytes that may be copied in the time that a file takes by itself."""
BAR: Final = 24
"""Letters of a full bar."""
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Count = Callable[[], Amount | None]
"""Says how much is to come, if that can be known."""
Place = Callable[[], tuple[int, int]]
"""Says how far it is, and of how much."""


ENTERED: Final[list["Watch"]] = []
"""Those that are shown now."""


@final
class Watch(CopyWatcher):
    """Shows progress and minds signals while it is entered.  `copied` raises Interrupted when one has come; a second
    signal doesn't wait for that."""

    def __init__(
        self, title: str, at_once: bool = False, name: Callable[[bytes], None] | None = None, signals: bool = True
    ) -> None:
        """`at_once`: nothing is changed, so a signal need not wait for `copied`, which may be long to come where somebody who
        reads what is printed has stopped doing so.  `name` is told each file's path.  Without `signals` they are another's."""
        self.count: Count | None = None
        """Asked once, by `copied`, and only where somebody looks: it takes time."""
        self.place: Place | None = None
        """Asked instead, where what comes is a stream."""
        self._title: str = title
        self._at_once: bool = at_once
        self._signals: bool = signals
        self._name: Callable[[bytes], None] | None = name
        self._total: Amount | None = None
        self._files: int = 0
        self._bytes: int = 0
        self._began: float = time.monotonic()
        self._due: bool = False
        self._drawn: bool = False
        self._asked: int = 0
        self._before: dict[int, object] = {}
        self._ended: Event = Event()
        self._lock: Lock = Lock()
        self._thread: Thread | None = None

    @classmethod
    @contextmanager
    def over(cls, title: str, place: Place, signals: bool = True) -> Iterator[None]:
        """Show something else meanwhile, which changes nothing."""
        if not ENTERED:
            with cls(title, at_once=True, signals=signals) as made:
                made.place = place
                yield
            return
        watch = ENTERED[-1]
        before = watch._title, watch.place, watch._at_once
        watch._title, watch.place, watch._at_once = title, place, True
        try:
            if watch._asked:
                raise Interrupted
            yield
        finally:
            watch._title, watch.place, watch._at_once = before
            watch._began = time.monotonic()

    def copied(self, path: bytes, size: int) -> None:
        """A file begins, or goes on."""
        if self._asked:
            raise Interrupted
        if size:
            self._bytes += size
        else:
            self._files += 1
            if self._name is not None:
                self._name(path)
        if self._due and self.count is not None:
            count, self.count = self.count, None
            self._total = count()

    def restart(self) -> None:
        """All that was done is done again."""
        self._files = self._bytes = 0

    def left_out(self, path: bytes) -> None:
        """It is what is being made or changed."""
        self.clear()
        print(f"rump: {printable(os.fsdecode(path))}: it is the image itself, and left out", file=sys.stderr)

    def clear(self) -> None:
        """Take the line away: something else is going to be printed."""
        with self._lock:
            if self._drawn:
                self._drawn = False
                self._print("\r\x1b[K")

    def line(self, width: int) -> str:
        """What is shown, at most so many letters of it."""
        elapsed = max(time.monotonic() - self._began, 0.001)
        done = self._fraction()
        parts = [self._title]
        if done >= 0:
            full = int(done * BAR)
            parts.append(f"{int(done * 100):3}% [{'#' * full}{'.' * (BAR - full)}]")
        if self._files > 1:
            parts.append(f"{self._files} files")
        if self._bytes:
            parts.append(f"{human(self._bytes)}B, {human(int(self._bytes / elapsed))}B/s")
        elif self._files > 1:
            parts.append(f"{self._files / elapsed:.0f} files/s")
        parts.append(f"{_clock(elapsed * (1 - done) / done)} left" if done > 0.02 else _clock(elapsed))
        return " ".join(parts)[: max(width - 1, 0)]

    def _fraction(self) -> float:
        """How much is done, from 0 to 1; -1 where nobody knows."""
        if self.place is not None:
            at, end = self.place()
            return min(at / end, 1.0) if end > 0 else -1.0
        total = self._total
        if total is None:
            return -1.0
        if total.bytes < 0:
            return min(self._files / max(total.files, 1), 1.0)
        whole = total.files * FILE_WEIGHT + total.bytes
        return min((self._files * FILE_WEIGHT + self._bytes) / max(whole, 1), 1.0)

    def _draw(self) -> None:
        """The thread: a line now and then."""
        pause = PATIENCE
        while not self._ended.wait(pause):
            pause = INTERVAL
            self._due = True
            try:
                width = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # 0: it does not say
                text = self.line(width)
            except (OSError, ValueError):
                continue  # the terminal is gone, or a stream's place can't be had now
            with self._lock:
                if not self._ended.is_set():
                    self._print(f"\r{text}\x1b[K")
                    self._drawn = True

    def _print(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            pass

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1
        if self._asked > 1 or self._at_once:
            raise KeyboardInterrupt

    def __enter__(self) -> "Watch":
        ENTERED.append(self)
        if self._signals and current_thread() is main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._stop)
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            CLEARERS.append(self.clear)
            self._thread = Thread(target=self._draw, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        ENTERED.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self.clear()
            CLEARERS.remove(self.clear)


def expect(watch: Watch, session: Session, addresses: Iterable[Address]) -> None:
    """What is to come is what is at these addresses."""

    def amount() -> Amount | None:
        nodes: list[Node] = []
        try:
            for address in addresses:
                nodes.append(session.node(address, follow=False))
            return count(nodes)
        except OSError:
            return None
        finally:
            for node in nodes:
                node.close()

    watch.count = amount


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
