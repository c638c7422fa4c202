"""Where a kernel's mounts appear to a program: directories of the host, or places made for them.

Used by `guest` before the start, in the host's own namespaces, where owners are what they are; `mounts.mirror` does in the program's mount
namespace what is decided here.

A mount needs a directory to be mounted on.  Where the host has none, nothing is made on the host: the deepest directory that exists is
shown to the program by a read-only copy of its entries, with the missing ones added.  That is done for directories in which
programs make nothing: the root, and others that only root may write to.  In a home, or /tmp, a program must be able to make files
that stay.
"""

import os
import stat
from collections.abc import Sequence
from typing import Final

from ...hyper.named import NamedTuple

ENTRIES: Final = 4096
"""How many entries a directory may have to be mirrored."""


class Places(NamedTuple):
    """What to do for some mounts."""

    mirrored: dict[str, list[str]]
    """Directories to show a copy of, and the directories to make in each, as absolute paths; outer ones first."""
    refused: dict[str, str]
    """Mounts that can't appear, and why."""


def below(path: str, other: str) -> bool:
    """Whether a path is another one, or leads into it; both are absolute and normalised."""
    return path == other or path.startswith(other.rstrip("/") + "/")


def real(path: str) -> str:
    """What os.path.realpath says, as Linux says it: in three calls, where that one asks for each name on the way, some of them twice."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it is not there, or there are too many
        return os.path.realpath(path)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def arrange(paths: Sequence[str]) -> Places:
    """Find or plan a place for each of `paths` (absolute, normalised).  Paths below another one have their place in that one's mount."""
    mirrored: dict[str, list[str]] = {}
    refused: dict[str, str] = {}
    for path in sorted(paths):
        if any(path.startswith(other + "/") for other in paths):
            continue
        target = os.path.realpath(path)
        if os.path.isdir(target):
            continue
        above = target
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        reason = _why_not(above)
        if reason:
            refused[path] = reason
        else:
            mirrored.setdefault(above, []).append(target)
    for path in sorted(paths):
        above = next((other for other in refused if path.startswith(other + "/")), "")
        if above:
            refused[path] = refused[above]
    return Places(dict(sorted(mirrored.items())), refused)


def _why_not(directory: str) -> str:
    """Why a directory can't be mirrored, "" if it can."""
    found = os.stat(directory)
    if not stat.S_ISDIR(found.st_mode):
        return f"{directory} is not a directory"
    if directory != "/" and (found.st_uid != 0 or found.st_mode & 0o022 or found.st_mode & 0o005 != 0o005):
        return f"the host has no such directory, and programs may make files in {directory}: make it there, with mkdir"
    if len(os.listdir(directory)) > ENTRIES:
        return f"the host has no such directory, and {directory} is too large to add it for the program only: make it, with mkdir"
    return ""
