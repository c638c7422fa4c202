"""A kernel whose files are mounted, and requests to operations without Linux."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import Any

from rumpkit import Kernel
from rumpkit.clients.fuse import FuseOptions, wire
from rumpkit.clients.fuse.operations import Operations, Request
from rumpkit.clients.fuse.table import table
from rumpkit.hosts.sim.host import SimHost
from tests.vfs.helpers import Files


class Asker:
    """Asks the operations of a simulated kernel, as Linux would."""

    def __init__(self, options: FuseOptions | None = None, root: str = "tmpfs", path: str = "/") -> None:
        self.files = Files(root=root, host=SimHost())
        self.options = options or FuseOptions()
        self.operations: Operations = self.files.entered(self._operations, path)
        self.table = table(self.operations)

    def _operations(self, path: str) -> Operations:
        from rumpkit.vfs.nodecalls import NodeCalls

        return Operations(self.files.vfs, NodeCalls(self.files.vfs).find(path), self.options)

    def ask(self, operation: int, node: int, body: bytes = b"", uid: int = 0, gid: int = 0) -> bytes:
        """One request; the reply's payload.  Raises OSError."""
        request = Request(1 << 20)
        data = wire.IN_HEADER.pack(wire.IN_SIZE + len(body), operation, 1, node, uid, gid, 1, 0, 0) + body
        request.buffer[: len(data)] = data
        request.parse(len(data))
        reply: bytes = self.files.entered(self.table[operation], request)
        return reply

    def entry(self, operation: int, node: int, body: bytes, **more: int) -> tuple[int, ...]:
        """A request that is answered by an entry."""
        return wire.ENTRY.unpack(self.ask(operation, node, body, **more))

    def lookup(self, name: bytes, node: int = 1) -> tuple[int, ...]:
        return self.entry(wire.LOOKUP, node, name + b"\0")

    def mknod(self, name: bytes, mode: int = 0o100644, mask: int = 0o022, node: int = 1, uid: int = 0) -> int:
        """Make a file; its node."""
        body = wire.MKNOD_IN.pack(mode, 0, mask, 0) + name + b"\0"
        return self.entry(wire.MKNOD, node, body, uid=uid, gid=uid)[0]

    def read(self, node: int, offset: int, size: int, operation: int = wire.READ) -> bytes:
        return self.ask(operation, node, wire.READ_IN.pack(0, offset, size, 0, 0, 0, 0))

    def write(self, node: int, offset: int, data: bytes, flags: int = 0) -> int:
        body = wire.READ_IN.pack(0, offset, len(data), flags, 0, 0, 0) + data
        done: int = wire.WRITE_OUT.unpack(self.ask(wire.WRITE, node, body))[0]
        return done


def dirents(data: bytes, plus: bool = False) -> Iterator[tuple[bytes, int, int, int]]:
    """What a directory listing says: name, cookie, kind, and the node of READDIRPLUS."""
    head = wire.ENTRY_SIZE if plus else 0
    place = 0
    while place < len(data):
        node = wire.ENTRY.unpack_from(data, place)[0] if plus else 0
        _, cookie, length, kind = wire.DIRENT.unpack_from(data, place + head)
        start = place + head + wire.DIRENT_SIZE
        yield data[start : start + length], cookie, kind << 12, node
        place = start + length + (-length & 7)


STRUCTURES: dict[int, Struct] = {
    wire.MKNOD: wire.MKNOD_IN,
    wire.MKDIR: wire.MKDIR_IN,
    wire.LINK: wire.LINK_IN,
    wire.RENAME: wire.RENAME_IN,
    wire.RENAME2: wire.RENAME2_IN,
    wire.SETATTR: wire.SETATTR_IN,
    wire.READ: wire.READ_IN,
    wire.WRITE: wire.READ_IN,
    wire.READDIR: wire.READ_IN,
    wire.READDIRPLUS: wire.READ_IN,
    wire.FSYNC: wire.FSYNC_IN,
    wire.GETXATTR: wire.XATTR_IN,
    wire.SETXATTR: wire.XATTR_IN,
    wire.LISTXATTR: wire.XATTR_IN,
    wire.ACCESS: wire.ACCESS_IN,
    wire.LSEEK: wire.LSEEK_IN,
    wire.FALLOCATE: wire.FALLOCATE_IN,
    wire.COPY_FILE_RANGE: wire.COPY_IN,
}
"""What stands behind the header of requests."""


@contextmanager
def mounted(
    directory: Path, options: FuseOptions | None = None, path: str = "/", mounts: tuple[str, ...] = ()
) -> Iterator[tuple[Kernel, Path]]:
    """A kernel with a tmpfs root, and its files at `directory`/mnt."""
    place = directory / "mnt"
    place.mkdir()
    with Kernel(mounts={"/": "tmpfs", **dict.fromkeys(mounts, "tmpfs")}) as kernel:
        with kernel.fuse_mount(place, path, options):
            yield kernel, place
        assert not os.path.ismount(place)


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, or the errno it raises."""
    try:
        return call(*arguments)
    except OSError as problem:
        return problem.errno
