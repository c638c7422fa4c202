"""How files are shown: a line of `ls -l`, a record of JSON, a time, a mode."""

import argparse
import os
import stat as modes
import time
from typing import Any, Final

from ...compose.image.node import Node
from ...vfs.stat import Stat
from .common import Output, human

KINDS: Final = {
    modes.S_IFREG: "file",
    modes.S_IFDIR: "directory",
    modes.S_IFLNK: "link",
    modes.S_IFIFO: "fifo",
    modes.S_IFSOCK: "socket",
    modes.S_IFCHR: "character device",
    modes.S_IFBLK: "block device",
}


def date(nanoseconds: int) -> str:
    """A time, in the local zone, to the minute."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(nanoseconds // 10**9))
    except (ValueError, OverflowError, OSError):
        return "?" * 16


def instant(nanoseconds: int) -> str:
    """A time, in UTC, to the nanosecond, as ISO 8601 has it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    try:
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"
    except (ValueError, OverflowError, OSError):
        return f"@{seconds}.{rest:09d}"


def device(number: int) -> tuple[int, int]:
    """Major and minor number."""
    return number >> 8 & 0xFFF | number >> 32 & ~0xFFF, number & 0xFF | number >> 12 & ~0xFF


def size_of(status: Stat, readable: bool) -> str:
    """The size, or a special file's device, as `ls -l` shows it."""
    if modes.S_ISCHR(status.st_mode) or modes.S_ISBLK(status.st_mode):
        return "{}, {}".format(*device(status.st_rdev))
    return human(status.st_size) if readable else str(status.st_size)


def target_of(node: Node) -> bytes:
    """Where a link points, b"?" where that can't be read."""
    try:
        return node.readlink()
    except OSError:
        return b"?"


def record(path: bytes, node: Node, status: Stat) -> dict[str, Any]:
    """A file as JSON has it."""
    row: dict[str, Any] = {
        "path": os.fsdecode(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        "type": KINDS.get(node.kind, "unknown"),
        "mode": f"{status.st_mode & 0o7777:04o}",
        "links": status.st_nlink,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "size": status.st_size,
        "blocks": status.st_blocks,
        "inode": status.st_ino,
        "atime": instant(status.st_atime_ns),
        "mtime": instant(status.st_mtime_ns),
        "ctime": instant(status.st_ctime_ns),
    }
    if node.kind == modes.S_IFLNK:
        row["target"] = target_of(node).decode("utf-8", "backslashreplace")
    if node.kind in (modes.S_IFCHR, modes.S_IFBLK):
        row["device"] = list(device(status.st_rdev))
    return row


def shown(output: Output, name: bytes, node: Node, status: Stat, target: bool = True) -> bytes:
    """A name, in its colour, with a link's target behind it.  Without `target`, `status` says all, and the node may be another."""
    text = output.name(name, modes.S_IFMT(status.st_mode), status.st_mode)
    return text + b" -> " + output.name(target_of(node)) if target and node.kind == modes.S_IFLNK else text


def long_line(output: Output, path: bytes, node: Node, status: Stat) -> bytes:
    """A file on a line of its own, as `find -ls` has it: inode, storage in KiB, and what `ls -l` says."""
    text = (
        f"{status.st_ino:>9} {-(-status.st_blocks // 2):>6} {modes.filemode(status.st_mode)} {status.st_nlink:>3} "
        f"{status.st_uid:>5} {status.st_gid:>5} {size_of(status, False):>9} {date(status.st_mtime_ns)} "
    )
    return text.encode() + shown(output, path, node, status)


def add_human(parser: argparse.ArgumentParser) -> None:
    """The option -h."""
    parser.add_argument("-h", "--human", action="store_true", help="sizes as 1.5K, 12M, 3G")
