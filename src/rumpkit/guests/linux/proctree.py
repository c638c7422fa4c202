"""What a program finds in /proc/net, and the answers to FUSE's questions for it: `procnet` loads this when the first one comes.

A directory that never changes: a file for each text that `net.proc` makes, and a symbolic link for each of Linux's own.
A file is read as one of Linux's /proc: its text is made when a read starts at its beginning, and stays the same for that descriptor until
the next.  It is kept until it has been read to its end, as a descriptor may stay open for long.
"""

import os
import time
from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import TYPE_CHECKING, Final, final

from ...clients.fuse import wire
from ...hosts.posix.host import PosixHost
from ...kern.abi.errno import EIO, ENFILE, ENODEV, ENOENT, ENOMEM, ENOSYS
from ...kern.abi.fcntl import S_IFDIR, S_IFLNK, S_IFREG
from ...kern.kernel import RumpKernel
from ...net.proc.files import FILES as TEXTS
from ...net.proc.view import View
from .record import complain

if TYPE_CHECKING:
    from .procnet import ProcNet

FILES: Final = tuple(TEXTS)
UNIX: Final = "unix"
"""Linux's, but for those sockets that stand for TCP sockets, and our own."""
LISTED: Final = "/proc/self/net"
"""Where Linux's own are, for us."""
NATIVE: Final = "/proc/1/net"
"""And for the program: those of its init."""
MOST_OPEN: Final = 1024
MOST_BYTES: Final = 64 << 20
"""Files that may be open, and bytes that their texts may have."""
COLLECT_TIMEOUT: Final = 1.0
COLLECT_LOOK: Final = 0.02
COLLECT_PAUSE: Final = 0.002
"""Seconds that a reader of `UNIX` waits at most for sockets that are on their way to us, for one look, and between two."""
_FIRST: Final = 2
_FOR_LONG: Final = 3600
_DIRECT: Final = 1
"""FOPEN_DIRECT_IO: nothing is cached, and a size of 0 says nothing."""
_OPEN_OUT: Final = Struct("<QII")
_TYPE_SHIFT: Final = 12
_UNIX_INODE: Final = 6
"""Which word of a line of /proc/net/unix has it."""


@cache
def natives() -> list[str]:
    """Linux's own files there that we have none in place of; the same in all network namespaces."""
    try:
        return sorted(set(os.listdir(LISTED)) - {*FILES, UNIX})
    except OSError:
        return []


@final
class ProcTree:
    """That of one program."""

    def __init__(self, kernel: RumpKernel, host: PosixHost, program: "ProcNet") -> None:
        self._kernel = kernel
        self._host = host
        self._program = program
        self._names = [*FILES, UNIX, *natives()]
        self._numbers = {name.encode(): number for number, name in enumerate(self._names, _FIRST)}
        self._texts: dict[int, tuple[int, int, bytes]] = {}
        """By handle: the file, the size of what it said last, and that, unless all of it has been read; -1 before it said anything."""
        self._last = 0
        self._answers: dict[int, Callable[[int, bytes], bytes]] = {
            wire.LOOKUP: self._lookup,
            wire.GETATTR: self._getattr,
            wire.READLINK: self._readlink,
            wire.OPEN: self._open,
            wire.READ: self._read,
            wire.RELEASE: self._release,
            wire.OPENDIR: lambda node, body: _OPEN_OUT.pack(0, 0, 0),
            wire.READDIR: self._readdir,
            wire.RELEASEDIR: lambda node, body: b"",
            wire.STATFS: lambda node, body: wire.STATFS_OUT.pack(0, 0, 0, len(self._names), 0, 4096, 255, 4096, 0),
        }

    def kept(self) -> int:
        """Bytes of texts that are kept."""
        return sum(len(text) for _, _, text in list(self._texts.values()))

    def answer(self, fd: int, request: bytes) -> None:
        """Answer one request of those that come from `fd`.  Off the schedule."""
        _, operation, unique, node, _, _, _, _, _ = wire.IN_HEADER.unpack_from(request)
        if operation in (wire.FORGET, wire.BATCH_FORGET, wire.INTERRUPT):
            return
        code, reply = 0, b""
        try:
            answer = self._answers.get(operation)
            if answer is None:
                code = ENOSYS
            else:
                reply = answer(node, request[wire.IN_SIZE :])
        except OSError as problem:
            code = problem.errno or EIO
        except Exception as problem:
            code = EIO
            complain(problem)
        try:
            os.write(fd, wire.OUT_HEADER.pack(wire.OUT_SIZE + len(reply), -code, unique) + reply)
        except OSError as problem:
            if problem.errno not in (ENOENT, ENODEV):
                raise

    # The tree ---------------------------------------------------------------------------------------------------

    def _attributes(self, number: int) -> tuple[int, ...]:
        mode, links = S_IFREG | 0o444, 1
        if number == wire.ROOT_ID:
            mode, links = S_IFDIR | 0o555, 2
        elif number > _FIRST + len(FILES):
            mode = S_IFLNK | 0o777
        return (number, 0, 0, 0, 0, 0, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)

    def _lookup(self, node: int, body: bytes) -> bytes:
        name = body.rstrip(b"\0")
        number = self._numbers.get(name, 0) if node == wire.ROOT_ID else 0
        if not number:
            raise OSError(ENOENT, "no such file")
        return wire.ENTRY.pack(number, 0, _FOR_LONG, _FOR_LONG, 0, 0, *self._attributes(number))

    def _getattr(self, node: int, body: bytes) -> bytes:
        return wire.ATTRIBUTES.pack(_FOR_LONG, 0, 0, *self._attributes(node))

    def _readlink(self, node: int, body: bytes) -> bytes:
        return f"{NATIVE}/{self._names[node - _FIRST]}".encode()

    def _readdir(self, node: int, body: bytes) -> bytes:
        _, offset, room = wire.READ_IN.unpack_from(body)[:3]
        entries = [(node, "."), (wire.ROOT_ID, "..")]
        entries += enumerate(self._names, _FIRST)
        out = b""
        for place in range(offset, len(entries)):
            number, name = entries[place]
            kind = self._attributes(number)[9] >> _TYPE_SHIFT
            entry = wire.DIRENT.pack(number, place + 1, len(name), kind) + name.encode()
            entry += bytes(-len(entry) % 8)
            if len(out) + len(entry) > room:
                break
            out += entry
        return out

    # Files ------------------------------------------------------------------------------------------------------

    def _open(self, node: int, body: bytes) -> bytes:
        if len(self._texts) >= MOST_OPEN:
            raise OSError(ENFILE, "too many open files")
        self._last += 1
        self._texts[self._last] = (node, -1, b"")
        return _OPEN_OUT.pack(self._last, _DIRECT, 0)

    def _read(self, node: int, body: bytes) -> bytes:
        handle, offset, size = wire.READ_IN.unpack_from(body)[:3]
        number, said, text = self._texts[handle]
        if offset == 0 or said < 0 or (offset < said and not text):
            self._texts[handle] = (number, -1, b"")
            text = self._make(self._names[number - _FIRST])
            if self.kept() + len(text) > MOST_BYTES:
                raise OSError(ENOMEM, "too much of /proc/net is open")
            self._texts[handle] = (number, len(text), text)
        elif offset >= said:
            self._texts[handle] = (number, said, b"")
        return text[offset : offset + size]

    def _release(self, node: int, body: bytes) -> bytes:
        self._texts.pop(wire.READ_IN.unpack_from(body.ljust(wire.READ_SIZE, b"\0"))[0], None)
        return b""

    def _unix(self) -> bytes:
        ours = self._ours()
        with open(f"/proc/{self._program.init}/net/{UNIX}", "rb") as file:
            lines = file.readlines()
        # What is on its way to us is nobody's that we could find.  Not for ever: who is to take it may wait for what this thread answers.
        end = time.monotonic() + COLLECT_TIMEOUT
        while not self._collected() and time.monotonic() < end:
            time.sleep(COLLECT_PAUSE)
        ours |= self._ours()
        return b"".join(line for line in lines if line.split()[_UNIX_INODE] not in ours)

    def _collected(self) -> bool:
        """Whether all sockets that are made for the program have come to us."""
        collect, host = self._program.collect, self._host
        if collect is None:
            return True
        host.enter()
        try:
            look = collect()
        finally:
            host.leave_as_driver()
        return look.wait(COLLECT_LOOK)

    def _ours(self) -> set[bytes]:
        """The inodes of sockets that stand for some of the kernel's, and of all of this process."""
        host = self._host
        host.enter()
        try:
            inodes = {str(owner.inode).encode() for owner in self._program.owners().values()}
        finally:
            host.leave_as_driver()
        for fd in os.listdir("/proc/self/fd"):
            try:
                kind, _, inode = os.readlink(f"/proc/self/fd/{fd}").partition(":")
            except OSError:
                continue  # closed meanwhile
            if kind == "socket":
                inodes.add(inode.strip("[]").encode())
        return inodes

    def _make(self, name: str) -> bytes:
        if name == UNIX:
            return self._unix()
        host = self._host
        pieces: list[str] = []
        view: View | None = None
        while True:
            host.enter()
            try:
                if view is None:
                    view = View(self._kernel, self._program.owners())
                    text = TEXTS[name](view)
                piece = next(text, None)
            finally:
                host.leave_as_driver()
            if piece is None:
                return "".join(pieces).encode()
            pieces.append(piece)
