"""How much a tree is, as fast as that can be had: for progress, which need not be exact."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from stat import S_ISREG
from typing import Final, NamedTuple

from .inside import Inside
from .node import Named, Node
from .outside import Outside
from .trees import Walk

PATIENCE: Final = 1.0
"""Seconds of counting, after which nobody knows."""


class _TooLong(Exception):
    """It took longer than PATIENCE."""


class Amount(NamedTuple):
    """So many files, and so many bytes in them."""

    files: int
    bytes: int
    """-1: unknown."""


def count(nodes: Iterable[Node]) -> Amount | None:
    """All that is in these; None where that would take too long, or can't be had."""
    files = size = 0
    end = time.monotonic() + PATIENCE
    with suppress(OSError, _TooLong):
        for node in nodes:
            one = _one(node, end)
            files += one.files
            size = -1 if min(size, one.bytes) < 0 else size + one.bytes
        return Amount(files, size)
    return None


def _one(node: Node, end: float) -> Amount:
    if not node.is_directory():
        return Amount(1, node.stat().st_size)
    if isinstance(node, Outside):
        return _host_tree(node.path, end)
    if isinstance(node, Inside) and node.vnode is node.mount().root:
        whole = node.mount().statvfs()
        if whole.f_files:
            return Amount(whole.f_files - whole.f_ffree, (whole.f_blocks - whole.f_bfree) * whole.f_frsize)
    return Amount(_names(node, end), -1)


def _host_tree(top: bytes, end: float) -> Amount:
    """Files and bytes of a directory of the host."""
    files, size = 1, 0
    pending = [top]
    while pending:
        for entry in _scanned(pending.pop()):
            files += 1
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            else:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    size += min(status.st_size, status.st_blocks * 512) if S_ISREG(status.st_mode) else 0
        if time.monotonic() > end:
            raise _TooLong
    return Amount(files, size)


def _scanned(path: bytes) -> "Iterator[os.DirEntry[bytes]]":
    with suppress(PermissionError, FileNotFoundError), os.scandir(path) as found:
        yield from found


def _names(top: Node, end: float) -> int:
    """How many names there are in a directory of an image: its files need not be opened for that."""
    found = 0

    def note(path: bytes, name: Named) -> bool:
        nonlocal found
        found += 1
        if not found & 255 and time.monotonic() > end:
            raise _TooLong
        return False

    for visit in Walk(top, b"", _forgive, in_order=False, wanted=note):
        found += not visit.leaving
    return found


def _forgive(path: bytes, problem: OSError) -> None:
    return None
