"""Evil squashfs images and tar archives for the fuzzer: what can be mounted is read through, and anything else has a reason."""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Any

from rumpkit.kern.abi.errno import EFBIG, EINVAL, EIO, ELOOP, ENOTSUP, EUCLEAN
from rumpkit.vfs.vnode import FIRST_COOKIE, Vnode
from tests.fs.squashfs import squashmake
from tests.fs.tar import tarmake
from tests.vfs.helpers import COMPONENTS, Files

TOLERATED = (EUCLEAN, EIO, EINVAL, ENOTSUP, EFBIG, ELOOP)
MOST_FILES = 200
MOST_BYTES = 1 << 20


def squashfs(data: bytes) -> None:
    """An image, as it is."""
    _read("squashfs", data, squashmake.attach)


def tar(data: bytes) -> None:
    """One of ARCHIVES with some bytes changed: which one in the first byte, then two bytes say where, and one what.  The checksums of its
    headers are mended, so that what is behind them is reached."""
    mended = bytearray(ARCHIVES[data[0] % len(ARCHIVES)] if data else b"")
    for at in range(1, len(data) - 2, 3):
        mended[int.from_bytes(data[at : at + 2], "little") % len(mended)] = data[at + 2]
    for at in range(0, len(mended) - 511, 512):
        block = mended[at : at + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            mended[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    _read("tar", bytes(mended), lambda files, archive: tarmake.attach(files, archive) and None)


def _read(kind: str, data: bytes, attach: Callable[[Files, bytes], Any]) -> None:
    files = Files(components=(*COMPONENTS, kind))
    attach(files, data)
    source = "disk0" if kind == "squashfs" else "tar0"
    files.host.enter()
    try:
        files.vfs.make_directories("/mnt")
        mount = _tolerated(files.vfs.mount, kind, "/mnt", {}, source)
        if mount is not None:
            _walk(mount.root)
            files.vfs.unmount("/mnt")
    finally:
        files.host.leave()


def _walk(root: Vnode) -> None:
    pending, count = [root], 0
    while pending and count < MOST_FILES:
        vnode = pending.pop()
        count += 1
        assert vnode.stat().st_nlink >= 0
        for name in _tolerated(vnode.listxattr) or ():
            _tolerated(vnode.getxattr, name)
        if vnode.kind == stat.S_IFDIR:
            for entry in _tolerated(vnode.readdir, FIRST_COOKIE, 50) or ():
                found = _tolerated(vnode.lookup, entry.name)
                if found is not None:
                    pending.append(found)
        elif vnode.kind == stat.S_IFREG:
            for offset in (0, max(vnode.size - 100, 0)):
                data = _tolerated(vnode.read, offset, MOST_BYTES)
                assert data is None or len(data) == min(MOST_BYTES, vnode.size - offset)
        elif vnode.kind == stat.S_IFLNK:
            assert vnode.readlink()


def _tolerated(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except OSError as problem:
        if problem.errno not in TOLERATED and not str(problem.strerror).startswith("Operation not supp"):
            raise
        assert problem.strerror
        return None


SQUASHFS = [squashmake.one_file(b"x" * 50), squashmake.one_file(b"")]
ARCHIVES = [
    tarmake.archive(
        ("a/b", b"1"),
        ("l", tarmake.link("a")),
        ("l/c", {"data": b"2", "pax_headers": {"SCHILY.xattr.user.a": "b", "mtime": "1.5"}}),
        ("h", tarmake.hard("a/b")),
    )[:4608],
    tarmake.archive(
        (
            "s",
            {
                "data": b"1\n10\n20\n".ljust(512, b"\0") + b"d" * 20,
                "pax_headers": {"GNU.sparse.major": "1", "GNU.sparse.realsize": "30"},
            },
        )
    )[:3072],
]
TAR = [bytes([number]) + change for number in range(len(ARCHIVES)) for change in (b"\x9c\0z", b"\x7c\0a\x7d\0b")]
