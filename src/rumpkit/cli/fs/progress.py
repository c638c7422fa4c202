"""Progress on the terminal, for what takes more than a second; and Ctrl-C, which ends a command between two steps and not within one."""

import os
import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Final, final

from ...compose.image.copying import CopyWatcher
from ...compose.image.session import Interrupted
from .common import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE: Final = 1.0
"""Seconds without progress shown."""
INTERVAL: Final = 0.1
"""Seconds between two looks at what is shown."""
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@final
class Watch(CopyWatcher):
    """Shows progress and minds signals while it is entered.  `copied` raises Interrupted when one has come; a second
    signal doesn't wait for that."""

    def __init__(self, title: str, total: int = 0, printing: bool = False) -> None:
        """`total` bytes are to come, if that is known; `printing`: lines go to the standard output meanwhile, and progress is not shown
        where that is a terminal, too."""
        self._title: str = title
        self._total: int = total
        self._files: int = 0
        self._bytes: int = 0
        self._calls: int = 0
        self._due: float = time.monotonic() + PATIENCE
        self._visible: bool = sys.stderr.isatty() and not (printing and sys.stdout.isatty())
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._asked: int = 0
        self._before: dict[int, object] = {}

    def copied(self, path: bytes, size: int) -> None:
        """A file begins, or goes on."""
        if self._asked:
            raise Interrupted
        if size:
            self._bytes += size
        else:
            self._files += 1
        self._calls += 1
        if self._visible and not self._calls & 15:
            now = time.monotonic()
            if now >= self._due:
                self._due = now + INTERVAL
                self._draw()

    def left_out(self, path: bytes) -> None:
        """It is what is being made or changed."""
        print(f"rump: {printable(os.fsdecode(path))}: it is the image itself, and left out", file=sys.stderr)

    def step(self, path: bytes) -> None:
        """A file is done with."""
        self.copied(path, 0)

    def _draw(self) -> None:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[files]} files"),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task(self._title, total=self._total or None, files=0)
            self._progress.start()
        assert self._task is not None
        self._progress.update(self._task, completed=self._bytes, files=self._files)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1
        if self._asked > 1:
            raise KeyboardInterrupt

    def __enter__(self) -> "Watch":
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._progress is not None:
            self._progress.stop()
