"""Files of the host that take their place when they are whole: durable, with the owner and mode of what they replace."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Final, final

from ...hosts.posix.filelock import NEW_SUFFIX, is_at, remove_stale

LONGEST_WAIT: Final = 10.0
"""Seconds that a directory's lock is waited for."""
PAUSE: Final = 0.01


def inherit(descriptor: int, old: os.stat_result | None) -> None:
    """Give a new file the owner and mode of the one that it replaces; without one, the mode that new files have."""
    if old is None:
        mask = os.umask(0o077)
        os.umask(mask)
        os.fchmod(descriptor, 0o666 & ~mask)
        return
    mode = stat.S_IMODE(old.st_mode) & 0o777
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except OSError:
            # The group is another one now, which gets no more than everybody had.
            mode = mode & 0o707 | mode & (mode & 7) << 3
    os.fchmod(descriptor, mode)


@final
class Nameless:
    """A new file that gets its name when it is whole, so that whoever is killed before leaves nothing behind: open for reading and
    writing, its owner's alone.  Where the host knows no files without a name, it has another one until then."""

    def __init__(self, path: str) -> None:
        """To be called `path` one day.  Raises OSError, which names that."""
        self._path: str = path
        self._name: str = ""
        """Its name meanwhile; "" where it has none."""
        self.fd: int = -1
        try:
            self.fd = self._make()
        except OSError as problem:
            problem.filename = path
            raise
        self.place: str = self._name or f"/proc/self/fd/{self.fd}"
        """How this process opens it once more."""

    def put(self) -> None:
        """Give it its name, over what has it, durably.  The caller is alone in its directory (`alone`).  Raises EBUSY where another maker
        has taken the name that it has meanwhile."""
        if not self._name and not self._link(self._path):
            self._name = self._path + NEW_SUFFIX
            self._remove()  # of one that was killed just here
            os.link(self.place, self._name, src_dir_fd=self.fd)
        if self._name:
            if not is_at(self.fd, self._name):
                self._name = ""
                raise OSError(errno.EBUSY, "somebody else is making it, too", self._path)
            os.replace(self._name, self._path)
            self._name = ""
        sync_folder(self._path)

    def close(self) -> None:
        """Let it go; without its name, for good."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self._name:
            self._remove()
            self._name = ""

    def _make(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
            try:
                return os.open(os.path.dirname(self._path), flags | os.O_TMPFILE, 0o600)
            except OSError as problem:
                if problem.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                    raise
        self._name = self._path + NEW_SUFFIX
        if not remove_stale(self._name):
            self._name = ""
            raise OSError(errno.EBUSY, "somebody else is making it")
        return os.open(self._name, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)

    def _link(self, path: str) -> bool:
        """Give it a name that nobody has; False where somebody has it."""
        try:
            # With a descriptor of a directory, which an absolute path has no use for, the link in /proc is followed.
            os.link(self.place, path, src_dir_fd=self.fd)
        except FileExistsError:
            return False
        return True

    def _remove(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._name)


@contextmanager
def alone(path: str, longest: float = LONGEST_WAIT) -> Iterator[None]:
    """Be the only one who puts a new file into the directory of `path`, as long as the block takes.

    Anybody who may read a directory may lock it, and keep it locked: after `longest` seconds it goes on without.
    """
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + longest
        with suppress(OSError):  # where there are no locks, the last one wins
            while not _locked(folder) and time.monotonic() < end:
                time.sleep(PAUSE)
        yield
    finally:
        os.close(folder)


def _locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync_folder(path: str) -> None:
    """Make names in the directory of `path` durable."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A new file to be written, which takes the place of `path` where the block ends well, and else goes.  Links are followed."""
    path = os.path.realpath(path)
    old = os.stat(path) if os.path.exists(path) else None
    made = Nameless(path)
    try:
        with open(made.fd, "wb", closefd=False) as stream:
            yield stream
            stream.flush()
            inherit(made.fd, old)
            os.fsync(made.fd)
        with alone(path):
            made.put()
    finally:
        made.close()
