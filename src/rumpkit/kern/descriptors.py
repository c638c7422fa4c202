"""A process's descriptor table: small numbers to open files, lowest free number first (POSIX 2.14)."""

from heapq import heappop, heappush
from typing import final

from ..hyper.time import Instant
from .abi.errno import EBADF, EINVAL, EMFILE, error
from .file import FileGuard, OpenFile


@final
class DescriptorTable:
    """Open files by number, with the close-on-exec flag of each."""

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        """RLIMIT_NOFILE: numbers are below it."""
        self._files: list[OpenFile | None] = []
        self._free: list[int] = []
        """Heap of numbers that are free, and of some that `replace` or a minimum took since."""
        self._heaped: set[int] = set()
        """What is in the heap, so that nothing is in there twice."""
        self._used: int = 0
        self._close_on_exec: set[int] = set()
        self.guard: FileGuard | None = None
        """Told of each close; a fork has none."""

    def get(self, fd: int) -> OpenFile:
        """The file behind `fd`.  Raises EBADF."""
        files = self._files
        if 0 <= fd < len(files):
            file = files[fd]
            if file is not None:
                return file
        raise error(EBADF)

    def lookup(self, fd: int) -> OpenFile | None:
        """The file behind `fd`, or None."""
        files = self._files
        return files[fd] if 0 <= fd < len(files) else None

    def check_room(self, count: int = 1) -> None:
        """Raise EMFILE unless `count` more files have a number below the limit, for calls that must not fail late."""
        if self._used + count > self.limit:
            raise error(EMFILE)

    def install(self, file: OpenFile, close_on_exec: bool = False, minimum: int = 0) -> int:
        """Give `file` the lowest free number that is at least `minimum`.  Raises EMFILE, EINVAL."""
        fd = self._lowest(minimum)
        self._put(fd, file, close_on_exec)
        return fd

    def replace(self, fd: int, file: OpenFile, close_on_exec: bool, now: Instant) -> None:
        """Make `fd` point to `file`, closing what it pointed to (dup2).  Raises EBADF."""
        if not 0 <= fd < self.limit:
            raise error(EBADF)
        old = self._files[fd] if fd < len(self._files) else None
        self._put(fd, file, close_on_exec)
        if old is not None:
            if self.guard is not None:
                self.guard.closing(old)
            old.release(now)

    def close(self, fd: int, now: Instant) -> None:
        """Free `fd`.  Raises EBADF."""
        file = self.get(fd)
        self._files[fd] = None
        self._used -= 1
        if self._close_on_exec:
            self._close_on_exec.discard(fd)
        self._add_free(fd)
        if self.guard is not None:
            self.guard.closing(file)
        file.release(now)

    def close_all(self, now: Instant) -> None:
        """Free every number (process exit).  A close that sleeps lets others close meanwhile."""
        for fd in self.numbers():
            if self.lookup(fd) is not None:
                self.close(fd, now)

    def close_for_exec(self, now: Instant) -> None:
        """Free the numbers that are marked close-on-exec."""
        for fd in sorted(self._close_on_exec):
            if fd in self._close_on_exec:
                self.close(fd, now)

    def close_on_exec(self, fd: int) -> bool:
        """FD_CLOEXEC of `fd`.  Raises EBADF."""
        self.get(fd)
        return fd in self._close_on_exec

    def set_close_on_exec(self, fd: int, on: bool) -> None:
        """Set or clear FD_CLOEXEC of `fd`.  Raises EBADF."""
        self.get(fd)
        if on:
            self._close_on_exec.add(fd)
        else:
            self._close_on_exec.discard(fd)

    def fork(self) -> "DescriptorTable":
        """A copy that shares the open files."""
        other = DescriptorTable(self.limit)
        other._files = list(self._files)
        other._free = list(self._free)
        other._heaped = set(self._heaped)
        other._used = self._used
        other._close_on_exec = set(self._close_on_exec)
        for file in self._files:
            if file is not None:
                file.hold()
        return other

    def numbers(self) -> list[int]:
        """The numbers in use, ascending."""
        return [fd for fd, file in enumerate(self._files) if file is not None]

    def _put(self, fd: int, file: OpenFile, close_on_exec: bool) -> None:
        files = self._files
        while fd >= len(files):
            if fd > len(files):
                self._add_free(len(files))
            files.append(None)
        file.hold()
        if files[fd] is None:
            self._used += 1
        files[fd] = file
        if close_on_exec:
            self._close_on_exec.add(fd)
        elif self._close_on_exec:
            self._close_on_exec.discard(fd)

    def _add_free(self, fd: int) -> None:
        if fd not in self._heaped:
            self._heaped.add(fd)
            heappush(self._free, fd)

    def _lowest(self, minimum: int) -> int:
        """The free numbers are a heap whose entries may be stale (dup2 took the number): those are dropped here.
        The entry of the number that is returned stays, and is stale once the number is taken."""
        if not 0 <= minimum < self.limit:
            raise error(EINVAL)
        files = self._files
        if minimum == 0:
            fd = self._lowest_free()
        else:
            fd = minimum
            while fd < len(files) and files[fd] is not None:
                fd += 1
        if fd >= self.limit:
            raise error(EMFILE)
        return fd

    def _lowest_free(self) -> int:
        free = self._free
        while free:
            if self._files[free[0]] is None:
                return free[0]
            self._heaped.discard(heappop(free))
        return len(self._files)
