"""Who a program runs as: a name or numbers of a config's, by /etc/passwd and /etc/group of the program's own root, or of the host.

Above `roots`, below `programs`.  Files of another root are read as that root has them: links in it lead within it.
"""

import os
import stat
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..guests.linux import libc
from ..kern.abi.fcntl import O_NONBLOCK, O_RDONLY
from .errors import ConfigError
from .oci.program import defaults_for
from .roots import HOST, images

if TYPE_CHECKING:
    from .kernel import Kernel

Identity = tuple[int, int, Sequence[int]]
"""A user, a group, and further groups."""


MOST_BYTES: Final = 1 << 20
"""Of another root's /etc/passwd and /etc/group."""
PASSWD, GROUP = "/etc/passwd", "/etc/group"
LARGEST_ID: Final = 0xFFFFFFFE
_ROOT: Final = ("", "0", "root")
_OPENAT2: Final = 437
_RESOLVE_IN_ROOT: Final = 0x10
"""Linux <linux/openat2.h>."""


def user_of(kernel: "Kernel", text: str, source: str) -> tuple[Identity | None, dict[str, str]]:
    """The user that a config names, or else the container image that is the program's root (`source`), and what the environment says of
    him.  Raises ConfigError."""
    said = None if text else defaults_for(kernel, source)
    if said is None or not said.user:
        return identity_in(kernel, text, source)
    if said.user.partition(":")[0] in _ROOT:
        return None, {}
    found = _user_in(kernel, source, said.user)
    if found is None:
        raise ConfigError(f"the image has no user {said.user!r}, whom it says that it runs as", key="user")
    return found


def identity_in(kernel: "Kernel", text: str, source: str) -> tuple[Identity | None, dict[str, str]]:
    """A user as the root `source` knows him, or else the host, and what the environment says of him; None for whom we are.  Root is the
    host's.  Raises ConfigError."""
    found = None if source in HOST or text.partition(":")[0] in _ROOT else _user_in(kernel, source, text)
    if found is None:
        return identity(text), home(text)
    (uid, gid, _), environment = found
    if os.geteuid() != 0 and (uid, gid) == (os.geteuid(), os.getegid()):
        return None, environment
    return found


def home(text: str) -> dict[str, str]:
    """What the environment of a program says of the user it runs as; nothing for "" and for numbers without a name."""
    if not text:
        return {}
    import pwd

    name = text.partition(":")[0]
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        return {}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}


def identity(text: str) -> Identity | None:
    """ "nobody", "nobody:nogroup", "65534:65534" as numbers; None for "" and for whom we are.  Raises ConfigError."""
    if not text:
        return None
    import grp
    import pwd

    name, _, group = text.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        uid, gid = entry.pw_uid, entry.pw_gid
    except KeyError:
        if not name.isdecimal():
            raise ConfigError(f"there is no user {name!r}", key="user") from None
        uid = gid = int(name)
        entry = None
    if group:
        try:
            gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise ConfigError(f"there is no group {group!r}", key="user") from None
    groups = os.getgrouplist(entry.pw_name, gid) if entry is not None else [gid]
    if os.geteuid() != 0 and (uid, gid) == (os.geteuid(), os.getegid()):
        return None
    return uid, gid, groups


def _user_in(kernel: "Kernel", source: str, text: str) -> tuple[Identity, dict[str, str]] | None:
    """The user "NAME", "NAME:GROUP" or numbers as the files of a root name it; None where they don't know a name."""
    name, _, group = text.partition(":")
    uid, gid, environment = _id(name), 0, {"HOME": "/"}
    known = ""
    for line in _lines(kernel, source, PASSWD):
        if len(line) >= 6 and name in (line[0], line[2]) and _id(line[2]) >= 0 and _id(line[3]) >= 0:
            known, uid, gid = line[0], _id(line[2]), _id(line[3])
            environment = {"HOME": line[5], "USER": known, "LOGNAME": known}
            break
    groups = [line for line in _lines(kernel, source, GROUP) if len(line) >= 3 and _id(line[2]) >= 0]
    if group:
        gid = next((_id(line[2]) for line in groups if line[0] == group), _id(group))
    if uid < 0 or gid < 0:
        return None
    more = [_id(line[2]) for line in groups if known and len(line) >= 4 and known in line[3].split(",")]
    return (uid, gid, list(dict.fromkeys([gid, *more]))), environment


def _id(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= LARGEST_ID else -1


def _lines(kernel: "Kernel", source: str, path: str) -> list[list[str]]:
    """The lines of a file of a root, with their fields; none where it can't be read."""
    place = next((one.place for one in images(kernel.spec) if one.source == source), "")
    try:
        data = _read_image(kernel, place + path) if place else _read_directory(source, path)
    except OSError:
        return []
    return [line.split(":") for line in data.decode("utf-8", "replace").splitlines()]


def _read_image(kernel: "Kernel", path: str) -> bytes:
    process = kernel.process()
    fd = process.open(path, O_RDONLY | O_NONBLOCK)  # it may be a pipe that nobody writes to
    data = b""
    try:
        while len(data) < MOST_BYTES and (piece := process.read(fd, 1 << 16)):
            data += piece
    finally:
        process.close(fd)
    return data


def _read_directory(directory: str, path: str) -> bytes:
    """Of a regular file below a directory of the host's, which is as a root to its links (openat2(2))."""
    import ctypes

    root = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    try:
        how = struct.pack("=3Q", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, 0, _RESOLVE_IN_ROOT)
        words = (ctypes.c_long(_OPENAT2), ctypes.c_long(root), path.encode(), how, ctypes.c_long(len(how)))
        fd: int = libc.library().syscall(*words)
        if fd < 0:
            raise libc.failed("openat2")
    finally:
        os.close(root)
    with open(fd, "rb") as file:
        return file.read(MOST_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
