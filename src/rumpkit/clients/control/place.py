"""Where control sockets are: a directory of the user's own, one socket a kernel, named after it.

The directory is `$XDG_RUNTIME_DIR/rumpkit`, or `/tmp/rumpkit-UID` where there is no runtime directory of ours that is closed to others.
`$RUMPKIT_RUNTIME_DIR`, where that is such a directory, is looked into alone: for kernels that know nothing of your others.
A socket appears under its name only once it listens, so who is refused by one knows that its kernel is gone, and may remove it.
"""

import os
import socket
import stat
import time
from errno import EACCES, EADDRINUSE, ECONNREFUSED, ENOENT
from typing import Final

SUFFIX: Final = ".sock"
MAX_PATH: Final = 107
"""Bytes of a unix socket's path (unix(7))."""
MAX_SAME: Final = 100
"""Kernels of one process with one host name."""
STARTING: Final = 60.0
"""Seconds after which a socket that never got its name is a leftover."""


class UnsafePlace(OSError):
    """A directory that others own or can write to."""


def _ours(path: str) -> bool:
    """Whether `path` is a directory (not a link to one) of ours that is closed to everybody else."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def candidates() -> list[str]:
    """The directories where our sockets may be, the best first."""
    alone = os.environ.get("RUMPKIT_RUNTIME_DIR", "")
    if alone.startswith("/") and _ours(alone):
        return [alone]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    places = [f"{runtime}/rumpkit"] if runtime.startswith("/") and _ours(runtime) else []
    return [*places, f"/tmp/rumpkit-{os.geteuid()}"]


def require(place: str) -> None:
    """Make a directory for sockets, if need be.  Raises UnsafePlace, OSError."""
    try:
        os.mkdir(place, 0o700)
    except FileExistsError:
        pass
    if not _ours(place):
        raise UnsafePlace(EACCES, "is not a directory that is ours alone (mode 0700)", place)


def address(path: str, held: list[int]) -> str:
    """What to bind or connect to for `path`; where that is too long for the kernel, a way round it, through a descriptor of its
    directory that is added to `held`."""
    if len(os.fsencode(path)) <= MAX_PATH:
        return path
    folder, name = os.path.split(path)
    held.append(os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    return f"/proc/self/fd/{held[-1]}/{name}"


def connect(path: str, timeout: float) -> socket.socket:
    """A connection to the socket at `path`.  Raises OSError: ECONNREFUSED where nobody listens any more."""
    held: list[int] = []
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(address(path, held))
    except BaseException:
        connection.close()
        raise
    finally:
        for fd in held:
            os.close(fd)
    return connection


def listen(name: str, backlog: int) -> tuple[socket.socket, str]:
    """A listening socket for a kernel called `name`, or NAME-2 and so on where a kernel has that name; and its path, under which
    it is found from now on.  Where one directory can't have it, being on a full disk, the next one does.  Raises OSError."""
    first: OSError | None = None
    for place in candidates():
        try:
            require(place)
            return _listen_in(place, name, backlog)
        except OSError as problem:
            first = first or problem
    assert first is not None
    if first.filename is None:
        first.filename = candidates()[0]
    raise first


def _listen_in(place: str, name: str, backlog: int) -> tuple[socket.socket, str]:
    hidden = f"{place}/.{os.getpid()}-{os.urandom(6).hex()}"
    held: list[int] = []
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.setblocking(False)
        # Nobody else can reach into the directory while the mode is still the umask's.
        listener.bind(address(hidden, held))
        try:
            os.chmod(hidden, 0o600)
            listener.listen(backlog)
            path = _publish(hidden, place, name)
        finally:
            os.unlink(hidden)
    except BaseException:
        listener.close()
        raise
    finally:
        for fd in held:
            os.close(fd)
    return listener, path


def _publish(hidden: str, place: str, name: str) -> str:
    """Give the socket its name."""
    for number in range(1, MAX_SAME):
        path = f"{place}/{name}{SUFFIX}" if number == 1 else f"{place}/{name}-{number}{SUFFIX}"
        for _ in range(2):
            try:
                os.link(hidden, path)
                return path
            except FileExistsError:
                if not remove_stale(path):
                    break
    raise OSError(EADDRINUSE, os.strerror(EADDRINUSE), f"{place}/{name}")


def withdraw(path: str, inode: int) -> None:
    """Take the name away, if it is still that of the socket with this inode."""
    try:
        if os.lstat(path).st_ino == inode:
            os.unlink(path)
    except OSError:
        pass


def remove_stale(path: str) -> bool:
    """Remove a socket whose kernel is gone; whether it is."""
    try:
        connect(path, 1.0).close()
    except OSError as failure:
        if failure.errno == ECONNREFUSED:
            _unlink(path)
        return failure.errno in (ECONNREFUSED, ENOENT)
    return False


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def names() -> dict[str, str]:
    """The running kernels of this user by name; what dead ones have left is removed."""
    found: dict[str, str] = {}
    for place in candidates():
        if not _ours(place):
            continue
        for name in sorted(os.listdir(place)):
            path = f"{place}/{name}"
            if name.startswith("."):
                _remove_unborn(path)
            elif name.endswith(SUFFIX) and not remove_stale(path):
                found.setdefault(name.removesuffix(SUFFIX), path)
    return found


def _remove_unborn(path: str) -> None:
    try:
        if time.time() - os.lstat(path).st_mtime > STARTING:
            os.unlink(path)
    except OSError:
        pass
