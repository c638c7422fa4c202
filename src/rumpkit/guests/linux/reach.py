"""Unix sockets that the program connects to by name: init's side, which looks the name up as the program would and joins what it has
looked at, so that nothing can be exchanged in between.

Below `starter`; `named` is the supervisor's side.  init stands where the caller stands (root, working directory) and is who the caller
is (users, groups, capabilities): Linux then checks all that it would check.  That is its first thread, whose root and ids are
Linux's alone (the C library would change those of all threads): however long a name takes, another one does the rest of init's work.

A socket on a mount that is read-only for the program is somebody else's, as the program can't have bound it, nor was it opened to it by
the config: to such a one nobody listens.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import _thread
import os
import stat
import sys
from struct import Struct

from . import abi, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, NoReturn

REQUEST: Final = Struct("<IIQI")
"""User, group, effective capabilities, and how many further groups follow, of four bytes each; the rest is the sockaddr.  With it come
the socket, the caller's root and its working directory."""
LARGEST: Final = 1 << 14
"""Bytes of a request, at most."""
ANSWER: Final = 4
"""Bytes of an answer: an errno, 0 for none."""
DESCRIPTORS: Final = 3

_FAMILY: Final = 2
_ECONNREFUSED: Final = 111
_VERSION: Final = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 (capget(2)): two words of each set, the effective one first."""
_SETS: Final = Struct("=6I")
_PATH: Final = os.O_PATH | os.O_CLOEXEC
_STACK: Final = 1 << 18
"""Bytes of the thread's."""
_SAME: Final = -1
"""What setresuid(2) leaves as it is."""


def _go_on(rest: Callable[[], None]) -> None:
    try:
        rest()
    finally:
        os._exit(1)


class Reach:
    """Answers requests."""

    def __init__(self, socket: _socket.socket) -> None:
        """`socket` is our end.  Raises OSError."""
        self.socket = socket
        self._root = os.open("/", _PATH)
        self._numbers = os.open("/proc/self/fd", _PATH)
        """What we look at has a name there, whatever its own one becomes."""
        self._user, self._group, self._groups = os.geteuid(), os.getegid(), os.getgroups()
        self._changed = self._regrouped = False
        """Whether we are somebody else, and of other groups."""
        self._library: Any = libc.library()
        self._header = Struct("=Ii").pack(_VERSION, 0)
        sets = bytearray(_SETS.size)
        self._capabilities("capget", sets)
        self._sets = _SETS.unpack(sets)

    def run(self, rest: Callable[[], None]) -> NoReturn:
        """Answer from now on, in this thread; `rest` is what the process does besides, and with whose end it ends.  Does not come back."""
        try:
            _thread.stack_size(_STACK)
            _thread.start_new_thread(_go_on, (rest,))
            _signal.pthread_sigmask(_signal.SIG_BLOCK, range(1, _signal.NSIG))
            libc.syscall("unshare", abi.CLONE_FS)
            while self.answer():
                pass
        except (OSError, RuntimeError):
            os._exit(1)
        self.socket.close()
        while True:
            _signal.pause()

    def answer(self) -> bool:
        """One request; False when the supervisor has closed its end."""
        room = _socket.CMSG_SPACE(DESCRIPTORS * 4)
        request, ancillary, _, _ = self.socket.recvmsg(LARGEST, room, _socket.MSG_CMSG_CLOEXEC)
        if not request:
            return False
        data = ancillary[0][2] if ancillary else b""
        fds = [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data), 4)]
        try:
            code = self._join(request, fds) if len(fds) == DESCRIPTORS else _ECONNREFUSED
        except OSError as problem:
            code = problem.errno or _ECONNREFUSED
        finally:
            for fd in fds:
                os.close(fd)
        self.socket.send(code.to_bytes(ANSWER, "little"))
        return True

    def _join(self, request: bytes, fds: list[int]) -> int:
        user, group, capabilities, count = REQUEST.unpack_from(request)
        start = REQUEST.size + 4 * count
        groups = [int.from_bytes(request[at : at + 4], "little") for at in range(REQUEST.size, start, 4)]
        socket, root, directory = fds
        try:
            os.fchdir(root)
            os.chroot(".")
            os.fchdir(directory)
            self._become(user, group, groups, capabilities)
            return self._connect(socket, request[start:])
        finally:
            self._return()

    def _connect(self, socket: int, address: bytes) -> int:
        name = address[_FAMILY:].split(b"\0")[0]
        if not name:  # an abstract one, which the network namespace keeps
            return self._call(socket, address)
        found = os.open(name, _PATH)
        try:
            if stat.S_ISSOCK(os.fstat(found).st_mode) and os.fstatvfs(found).f_flag & os.ST_RDONLY:
                return _ECONNREFUSED
            os.fchdir(self._numbers)
            return self._call(socket, address[:_FAMILY] + str(found).encode() + b"\0")
        finally:
            os.close(found)

    def _call(self, socket: int, address: bytes) -> int:
        if self._library.connect(socket, address, len(address)) == -1:
            return libc.failed("connect").errno or _ECONNREFUSED
        return 0

    def _become(self, user: int, group: int, groups: list[int], capabilities: int) -> None:
        self._regrouped = groups != self._groups
        self._changed = self._regrouped or (group, user) != (self._group, self._user)
        if self._changed:
            self._identify(user, group, groups)
        sets = list(self._sets)
        sets[0], sets[3] = capabilities & sets[1], capabilities >> 32 & sets[4]
        self._capabilities("capset", bytearray(_SETS.pack(*sets)))

    def _identify(self, user: int, group: int, groups: list[int]) -> None:
        """Have these effective numbers: this thread alone."""
        if self._regrouped:
            libc.syscall("setgroups", len(groups), b"".join(one.to_bytes(4, sys.byteorder) for one in groups))
        libc.syscall("setresgid", _SAME, group, _SAME)
        libc.syscall("setresuid", _SAME, user, _SAME)

    def _return(self) -> None:
        """Be init again.  Who can't is not fit to go on."""
        try:
            self._capabilities("capset", bytearray(_SETS.pack(*self._sets)))
            if self._changed:
                libc.syscall("setresuid", _SAME, self._user, _SAME)
                self._identify(self._user, self._group, self._groups)
            os.fchdir(self._root)
            os.chroot(".")
        except OSError:
            os._exit(1)

    def _capabilities(self, call: str, sets: bytearray) -> None:
        import ctypes

        place = (ctypes.c_char * len(sets)).from_buffer(sets)
        if getattr(self._library, call)(self._header, place) == -1:
            raise libc.failed(call)
