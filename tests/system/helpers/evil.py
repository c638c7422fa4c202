"""Evil images looked at in a process of its own, which may take little memory and little time: `python evil.py TYPE IMAGE...`.

Prints a line for each image: what the mount said ("mounted" or its error), how many files could be looked at, what the check found, and
the memory that it took at most, in KiB.
"""

from __future__ import annotations

import resource
import signal
import stat
import sys
from pathlib import Path
from typing import Any

from rumpkit.hosts.posix.block import FileBackend
from rumpkit.kern.abi.fcntl import O_DIRECTORY, O_RDONLY
from rumpkit.vfs.types import Finding
from tests.system.test_ext_hostile import EXPECTED, tolerated
from tests.vfs.helpers import COMPONENTS, Client, Files

MEMORY = 192 << 20
"""Bytes of address space beyond what the interpreter has before the first image."""
SECONDS = 60
FILES = 2000


def main(kind: str, images: list[str]) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for image in images:
        signal.alarm(SECONDS)
        print(Path(image).name, *look(kind, image), sep="\t", flush=True)


def look(kind: str, image: str) -> tuple[str, int, int, int]:
    files = Files(components=(*COMPONENTS, "fat"))
    backend = FileBackend(files.host, image, read_only=True)
    device = files.entered(files.service("Disks").attach, "disk", backend)
    seen = 0
    try:
        files.mount(kind, "/m", "disk", read_only=True)
        said = "mounted"
        seen = explore(files.root, "/m", 12, [FILES])
        tolerated(files.root.statvfs, "/m")
        tolerated(files.entered, files.vfs.unmount, "/m")
    except OSError as problem:
        assert problem.errno in EXPECTED and problem.strerror, problem
        said = f"{problem.errno} {problem.strerror}"
    found: list[Finding] = []
    tolerated(files.entered, files.vfs.types.find(kind).check, files.vfs, device, False, found.append)
    files.entered(files.vfs.close)
    backend.close()
    return said, seen, len(found), _peak()


def _peak() -> int:
    """The most memory that this process had since it was started, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def explore(client: Client, path: str, depth: int, left: list[int]) -> int:
    """Look at everything below a directory, but for what it said to be too much; how many files that were."""
    fd = tolerated(client.open, path, O_RDONLY | O_DIRECTORY)
    if not isinstance(fd, int):
        return 0
    names: list[str] = []
    while len(names) < 3000 and isinstance(entries := tolerated(client.readdir, fd), list) and entries:
        names += [entry.d_name for entry in entries]
    client.close(fd)
    seen = 0
    for name in names:
        if name in (".", "..") or left[0] <= 0:
            continue
        left[0] -= 1
        seen += 1
        where = f"{path}/{name}"
        got: Any = tolerated(client.lstat, where)
        if got is None:
            continue
        if stat.S_ISDIR(got.st_mode) and depth:
            seen += explore(client, where, depth - 1, left)
        elif stat.S_ISREG(got.st_mode):
            file = tolerated(client.open, where, O_RDONLY)
            if isinstance(file, int):
                tolerated(client.pread, file, 100_000, 0)
                tolerated(client.pread, file, 5000, max(got.st_size - 5000, 0))
                for whence in (3, 4):
                    tolerated(client.lseek, file, 0, whence)
                client.close(file)
        tolerated(client.listxattr, where)
    return seen


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
