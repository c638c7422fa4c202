"""The program's view of the host's files: everything as it is, but a few files of its own.  Run by the starter, in a mount
namespace that nobody else sees."""

from __future__ import annotations

import os
from os import path

from . import abi, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_PLAIN: Final = abi.MS_NOSUID | abi.MS_NODEV
_STAGES: Final = ("/tmp", "/run", "/mnt", "/var", "/etc")


def isolate() -> None:
    """Keep our mounts to ourselves, while the host's later ones still come in.  Raises OSError."""
    libc.mount("none", "/", None, abi.MS_REC | abi.MS_SLAVE)


def cover(files: dict[str, bytes], hidden: list[str]) -> list[str]:
    """Show `files` (path and content) in place of the host's, and the directories `hidden` as empty.

    Symbolic links are followed, as a reader of the path would.  Returns the paths that could not be covered because
    there is nothing to cover.  Raises OSError."""
    for directory in hidden:
        if path.isdir(directory):
            libc.mount("tmpfs", path.realpath(directory), "tmpfs", _PLAIN, "mode=755,size=1m")
    stage = next(directory for directory in _STAGES if path.isdir(directory))
    targets = {name: path.realpath(name) for name in files}
    missing = [name for name, target in targets.items() if not _exists(target, hidden)]
    # A file system in memory, seen at `stage` for a moment only: the bind mounts keep it.
    libc.mount("tmpfs", stage, "tmpfs", _PLAIN, "mode=755,size=1m")
    try:
        for number, (name, target) in enumerate(targets.items()):
            if name in missing:
                continue
            source = f"{stage}/{number}"
            fd = os.open(source, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, files[name])
            os.close(fd)
            libc.mount(source, target, None, abi.MS_BIND)
    finally:
        libc.unmount(stage, abi.MNT_DETACH)
    return missing


def _exists(target: str, hidden: list[str]) -> bool:
    """Whether there is a file to mount upon; in a directory that is ours alone we may make one."""
    if path.isfile(target):
        return True
    if path.dirname(target) in [path.realpath(directory) for directory in hidden if path.isdir(directory)]:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644))
        return True
    return False


def mount_proc() -> bool:
    """Show the program's own process ids in /proc.  False where that is forbidden (in containers that mask parts of
    /proc): then the host's /proc stays, whose /proc/self is right all the same."""
    try:
        libc.mount("proc", "/proc", "proc", _PLAIN | abi.MS_NOEXEC)
    except OSError:
        return False
    return True
