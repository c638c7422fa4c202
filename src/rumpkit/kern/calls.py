"""System calls of the base faction: descriptors, processes, identity, time.

A call is a plain method `(process, ...)`, entered on the schedule.  It returns its result, raises OSError with the
errno that POSIX names, or returns `Blocked` (kern/wait.py).  Files with O_NONBLOCK raise EAGAIN instead.
Above are the clients; below are open files, which know nothing of numbers and processes.
"""

from collections.abc import Sequence
from typing import final

from ..hyper.calls import Hypercalls
from ..hyper.time import Duration, Instant
from .abi.errno import EINVAL, EPERM, error
from .abi.fcntl import (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    EFD_SEMAPHORE,
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_GETFD,
    F_GETFL,
    F_GETPIPE_SZ,
    F_SETFD,
    F_SETFL,
    F_SETPIPE_SZ,
    FD_CLOEXEC,
    O_CLOEXEC,
    O_NONBLOCK,
    PIPE_BUF,
    SETTABLE_FLAGS,
)
from .abi.ioctl import FIOCLEX, FIONBIO, FIONCLEX
from .blocking import LingerWait, ReadWait, SleepWait, WriteWait
from .eventfd import HIGHEST, EventFile
from .file import OpenFile
from .kernel import RumpKernel
from .pipe import buffer_of, make_pipe
from .process import Credentials, Process
from .wait import Blocked, WaitQueue


@final
class KernCalls:
    """System calls over descriptors and processes of one kernel."""

    def __init__(self, kernel: RumpKernel) -> None:
        self.kernel: RumpKernel = kernel
        self.hyper: Hypercalls = kernel.hyper

    # Reading and writing ---------------------------------------------------------------------------------

    def read(self, process: Process, fd: int, size: int) -> bytes | Blocked:
        """Up to `size` bytes, b"" at the end (POSIX read).  Raises EBADF, EINVAL, EISDIR, EIO, ECONNRESET."""
        file = process.files.get(fd)
        file.check_readable()
        if size < 0:
            raise error(EINVAL)
        result = file.read(size, self.hyper.now)
        if isinstance(result, Blocked):
            return self._read_on(file, size, result)
        return result

    def write(self, process: Process, fd: int, data: bytes) -> int | Blocked:
        """Write `data`; how many bytes went: all, unless the medium is full, the file doesn't wait, or the call is
        interrupted (POSIX write).  Keeps `data` by reference.  Raises EBADF, EPIPE, ENOSPC, EFBIG, EIO."""
        file = process.files.get(fd)
        file.check_writable()
        result = file.write(data, self.hyper.now)
        if isinstance(result, Blocked):
            return self._write_on(file, data, result)
        return result

    def writev(self, process: Process, fd: int, parts: Sequence[bytes]) -> int | Blocked:
        """Write the parts as one (POSIX writev)."""
        return self.write(process, fd, parts[0] if len(parts) == 1 else b"".join(parts))

    def pread(self, process: Process, fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`, leaving the file's offset alone (POSIX pread).  Raises ESPIPE, EINVAL."""
        if size < 0 or offset < 0:
            raise error(EINVAL)
        file = process.files.get(fd)
        file.check_readable()
        return file.pread(size, offset, self.hyper.now)

    def pwrite(self, process: Process, fd: int, data: bytes, offset: int) -> int:
        """Write `data` at `offset`, leaving the file's offset alone (POSIX pwrite).  Raises ESPIPE, EINVAL, ENOSPC."""
        if offset < 0:
            raise error(EINVAL)
        file = process.files.get(fd)
        file.check_writable()
        return file.pwrite(data, offset, self.hyper.now)

    def lseek(self, process: Process, fd: int, offset: int, whence: int) -> int:
        """Move the file's offset (SEEK_*); the new one, in bytes (POSIX lseek).  Raises EBADF, ESPIPE, EINVAL."""
        return process.files.get(fd).seek(offset, whence)

    def ioctl(self, process: Process, fd: int, request: int, argument: bytes) -> bytes:
        """Device control; FIONBIO, FIOCLEX and FIONCLEX work on any file.  Raises EBADF, ENOTTY, EINVAL."""
        file = process.files.get(fd)
        if request == FIONBIO:
            file.flags = file.flags | O_NONBLOCK if any(argument) else file.flags & ~O_NONBLOCK
            return b""
        if request == FIOCLEX or request == FIONCLEX:
            process.files.set_close_on_exec(fd, request == FIOCLEX)
            return b""
        return file.ioctl(request, argument)

    # Descriptors -----------------------------------------------------------------------------------------

    def close(self, process: Process, fd: int) -> Blocked | None:
        """Free `fd`; the file goes with its last reference, and whoever waits for it gets EBADF (POSIX close).
        With SO_LINGER the call waits for what was sent, no longer than that says."""
        file = process.files.get(fd)
        process.files.close(fd, self.hyper.now)
        if file.closed():
            linger = file.lingering()
            if linger:
                return LingerWait(self.hyper, file, linger)
        return None

    def dup(self, process: Process, fd: int) -> int:
        """The lowest free number, for the same open file (POSIX dup).  Raises EBADF, EMFILE."""
        return process.files.install(process.files.get(fd))

    def dup2(self, process: Process, fd: int, other: int) -> int:
        """Make `other` mean the same open file as `fd`, closing what it meant (POSIX dup2).  Raises EBADF."""
        file = process.files.get(fd)
        if fd != other:
            process.files.replace(other, file, False, self.hyper.now)
        return other

    def dup3(self, process: Process, fd: int, other: int, flags: int) -> int:
        """As dup2, with O_CLOEXEC (POSIX.1-2024 dup3).  Raises EINVAL for other flags and for equal numbers."""
        if flags & ~O_CLOEXEC or fd == other:
            raise error(EINVAL)
        process.files.replace(other, process.files.get(fd), flags & O_CLOEXEC != 0, self.hyper.now)
        return other

    def fcntl(self, process: Process, fd: int, command: int, argument: int = 0) -> int:
        """F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETPIPE_SZ, F_SETPIPE_SZ (POSIX fcntl).
        Raises EBADF, EINVAL, EMFILE, EBUSY."""
        files = process.files
        file = files.get(fd)
        if command == F_GETFL:
            return file.flags
        if command == F_SETFL:
            file.flags = file.flags & ~SETTABLE_FLAGS | argument & SETTABLE_FLAGS
            return 0
        if command == F_DUPFD or command == F_DUPFD_CLOEXEC:
            return files.install(file, command == F_DUPFD_CLOEXEC, argument)
        if command == F_GETFD:
            return FD_CLOEXEC if files.close_on_exec(fd) else 0
        if command == F_SETFD:
            files.set_close_on_exec(fd, argument & FD_CLOEXEC != 0)
            return 0
        if command == F_GETPIPE_SZ:
            return buffer_of(file).capacity
        if command == F_SETPIPE_SZ:
            return self._resize_pipe(process, file, argument)
        raise error(EINVAL)

    def pipe2(self, process: Process, flags: int = 0) -> tuple[int, int]:
        """A pipe's read and write ends (POSIX pipe2); flags O_CLOEXEC, O_NONBLOCK.  Raises EINVAL, EMFILE."""
        if flags & ~(O_CLOEXEC | O_NONBLOCK):
            raise error(EINVAL)
        files = process.files
        files.check_room(2)
        reader, writer = make_pipe(self.kernel.settings.pipe_size, flags & O_NONBLOCK)
        close_on_exec = flags & O_CLOEXEC != 0
        return files.install(reader, close_on_exec), files.install(writer, close_on_exec)

    def eventfd2(self, process: Process, value: int = 0, flags: int = 0) -> int:
        """An event counter (Linux eventfd); flags EFD_SEMAPHORE, EFD_CLOEXEC, EFD_NONBLOCK.  Raises EINVAL, EMFILE."""
        if flags & ~(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK) or not 0 <= value <= HIGHEST:
            raise error(EINVAL)
        return process.files.install(EventFile(value, flags & ~EFD_CLOEXEC), flags & EFD_CLOEXEC != 0)

    # Processes -------------------------------------------------------------------------------------------

    def getpid(self, process: Process) -> int:
        """The process's number (POSIX getpid)."""
        return process.pid

    def getppid(self, process: Process) -> int:
        """The parent's number; 0 for those that a client made, and once the parent has gone (POSIX getppid)."""
        return process.parent

    def fork(self, process: Process) -> Process:
        """A child that shares the open files and starts with a copy of everything else (POSIX fork, less memory and
        threads, which kernels here don't have).  Raises EAGAIN."""
        return self.kernel.process(parent=process)

    def exit(self, process: Process) -> None:
        """End the process: close its descriptors, free its number (POSIX _exit)."""
        self.kernel.exit(process)

    def getuid(self, process: Process) -> int:
        """The user, real and effective alike (POSIX getuid)."""
        return process.credentials.uid

    def getgid(self, process: Process) -> int:
        """The group, real and effective alike (POSIX getgid)."""
        return process.credentials.gid

    def getgroups(self, process: Process) -> list[int]:
        """The supplementary groups (POSIX getgroups)."""
        return list(process.credentials.groups)

    def setuid(self, process: Process, uid: int) -> None:
        """Become `uid`, for good (POSIX setuid).  Raises EPERM unless root, EINVAL."""
        old = process.credentials
        if uid != old.uid:
            _may_change(old, uid)
            process.credentials = Credentials(uid, old.gid, old.groups)

    def setgid(self, process: Process, gid: int) -> None:
        """Change the group (POSIX setgid).  Raises EPERM unless root, EINVAL."""
        old = process.credentials
        if gid != old.gid:
            _may_change(old, gid)
            process.credentials = Credentials(old.uid, gid, old.groups)

    def setgroups(self, process: Process, groups: Sequence[int]) -> None:
        """Replace the supplementary groups (Linux setgroups).  Raises EPERM unless root, EINVAL."""
        old = process.credentials
        _may_change(old, min(groups, default=0))
        process.credentials = Credentials(old.uid, old.gid, tuple(groups))

    # The kernel, and time --------------------------------------------------------------------------------

    def gethostname(self, process: Process) -> str:
        """The kernel's name (POSIX gethostname)."""
        return self.kernel.hostname

    def sethostname(self, process: Process, name: str) -> None:
        """Rename the kernel (Linux sethostname): up to 64 bytes.  Raises EPERM unless root, EINVAL."""
        if process.credentials.uid != 0:
            raise error(EPERM)
        self.kernel.rename(name)

    def clock_gettime(self, process: Process, clock: int) -> Instant:
        """CLOCK_REALTIME or CLOCK_MONOTONIC in nanoseconds (POSIX clock_gettime).  Raises EINVAL."""
        if clock == CLOCK_REALTIME:
            return self.hyper.wall()
        if clock == CLOCK_MONOTONIC:
            return self.hyper.now
        raise error(EINVAL)

    def nanosleep(self, process: Process, duration: Duration) -> Blocked | None:
        """Wait for `duration` nanoseconds (POSIX nanosleep).  Raises EINVAL, EINTR."""
        if duration < 0:
            raise error(EINVAL)
        return SleepWait(WaitQueue(), self.hyper.now + duration) if duration else None

    def getrandom(self, process: Process, size: int) -> bytes:
        """`size` random bytes fit for keys (Linux getrandom).  Raises EINVAL."""
        if size < 0:
            raise error(EINVAL)
        return self.hyper.random(size)

    # -----------------------------------------------------------------------------------------------------

    def _read_on(self, file: OpenFile, size: int, blocked: Blocked) -> bytes | Blocked:
        if file.nonblocking():
            done = blocked.refused()
            return done if isinstance(done, bytes) else b""
        return ReadWait(self.hyper, file, blocked, size)

    def _write_on(self, file: OpenFile, data: bytes, blocked: Blocked) -> int | Blocked:
        if file.nonblocking():
            done = blocked.refused()
            return done if isinstance(done, int) else 0
        return WriteWait(self.hyper, file, blocked, data)

    def _resize_pipe(self, process: Process, file: OpenFile, size: int) -> int:
        """The size asked for, or PIPE_BUF if that is more; beyond the sysctl is for root (Linux pipe(7))."""
        if size < 0:
            raise error(EINVAL)
        size = max(size, PIPE_BUF)
        if size > self.kernel.settings.pipe_max_size and process.credentials.uid != 0:
            raise error(EPERM)
        buffer_of(file).resize(size)
        return size


def _may_change(credentials: Credentials, number: int) -> None:
    if credentials.uid != 0:
        raise error(EPERM)
    if not 0 <= number < 1 << 32:
        raise error(EINVAL)
