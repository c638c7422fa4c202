"""The manifest of a tree: a line for each file that says all that a copy has to keep, for hashes and comparisons.

    TYPE MODE UID GID SIZE MTIME HASH PATH [-> TARGET] [=N] [xattrs HASH]

Sizes and times of directories are the file system's own affair and are left out, as are the sizes of special files.  A file that has come
before under another name is `=` and the number of the line that had it.
"""

import stat as modes
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from ...vfs.stat import Stat
from .copying import CopyWatcher
from .node import Node
from .trees import Complaint, Walk, throw

LETTERS: Final = {
    modes.S_IFREG: "f",
    modes.S_IFDIR: "d",
    modes.S_IFLNK: "l",
    modes.S_IFIFO: "p",
    modes.S_IFSOCK: "s",
    modes.S_IFCHR: "c",
    modes.S_IFBLK: "b",
}


def lines(
    node: Node,
    content_only: bool = False,
    times: bool = True,
    complain: Complaint = throw,
    watcher: CopyWatcher | None = None,
) -> Iterator[bytes]:
    """The manifest of the tree at `node`, line by line, paths relative to it.  Raises OSError."""
    seen: dict[tuple[int, int], int] = {}
    number = 0
    for visit in Walk(node, b".", complain):
        if visit.leaving:
            continue
        number += 1
        if watcher is not None:
            watcher.copied(visit.path, 0)
        try:
            yield _line(visit.path, visit.node, number, seen, content_only, times, watcher)
        except OSError as problem:
            complain(visit.path, problem)


def summary(
    node: Node,
    content_only: bool = False,
    times: bool = True,
    complain: Complaint = throw,
    watcher: CopyWatcher | None = None,
) -> str:
    """The SHA-256 of the manifest, in hexadecimal."""
    digest = sha256()
    for line in lines(node, content_only, times, complain, watcher):
        digest.update(line + b"\n")
    return digest.hexdigest()


def digest_of(node: Node, path: bytes = b"", watcher: CopyWatcher | None = None) -> str:
    """The SHA-256 of a file's content."""
    digest = sha256()
    for piece in node.content():
        digest.update(piece)
        if watcher is not None:
            watcher.copied(path, len(piece))
    return digest.hexdigest()


def _line(
    path: bytes,
    node: Node,
    number: int,
    seen: dict[tuple[int, int], int],
    content_only: bool,
    times: bool,
    watcher: CopyWatcher | None,
) -> bytes:
    status = node.stat()
    kind = node.kind
    words = [LETTERS.get(kind, "?")]
    if not content_only:
        words += [f"{status.st_mode & 0o7777:04o}", str(status.st_uid), str(status.st_gid)]
    words.append(_size(kind, status))
    if times and not content_only:
        words.append(f"{status.st_mtime_ns / 1e9:.0f}" if kind != modes.S_IFDIR else "-")
    identity = (status.st_dev, status.st_ino)
    before = seen.get(identity) if kind != modes.S_IFDIR else None
    words.append(digest_of(node, path, watcher) if kind == modes.S_IFREG and before is None else "-")
    text = " ".join(words).encode() + b" " + _escaped(path)
    if kind == modes.S_IFLNK:
        text += b" -> " + _escaped(node.readlink())
    if content_only:
        return text
    if before is not None:
        return text + b" =%d" % before
    if status.st_nlink > 1:
        seen[identity] = number
    attributes = node.xattrs()
    if attributes:
        digest = sha256()
        for name, value in attributes:
            digest.update(b"%d %s%d %s" % (len(name), name, len(value), value))
        text += b" xattrs " + digest.hexdigest()[:16].encode()
    return text


def _size(kind: int, status: Stat) -> str:
    if kind in (modes.S_IFCHR, modes.S_IFBLK):
        return f"dev{status.st_rdev}"
    return str(status.st_size) if kind == modes.S_IFREG else "-"


def _escaped(name: bytes) -> bytes:
    """A name on one line."""
    return name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
