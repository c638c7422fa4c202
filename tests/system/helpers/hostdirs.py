"""Directories of the host to compare with: a tmpfs, an ext4 of its own, and what a tmpfs would be if it were vfat."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.system.helpers.samecalls import Host

SYSTEM_PATH = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
WRITE = 0o222
MASK = 0o022
"""What vfat is mounted with, as `fmask` and `dmask`."""


@contextmanager
def memory_directory() -> Iterator[Path]:
    """A new directory, on a tmpfs if there is one."""
    base = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    base.chmod(0o755)
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def loop_mounted(image: Path, where: Path) -> Iterator[Path]:
    """The image, mounted by the host's kernel in a mount namespace of its own; raises OSError where that can't be done.

    Nobody else sees the mount, and it ends with the process that made it, however this one ends.
    """
    script = 'mount -o loop "$0" "$1" && echo there && read line'
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(image), str(where)]
    environment = {**os.environ, "PATH": SYSTEM_PATH, "LC_ALL": "C"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            if not process.stdout.readline():
                raise OSError(errno.EPERM, process.stderr.read().decode().strip())
            yield Path(f"/proc/{process.pid}/root{where}")
        finally:
            process.communicate()


@cache
def why_no_ext4() -> str:
    """Why the host can't mount an image of ext4; "" where it can."""
    with tempfile.TemporaryDirectory() as folder:
        image, where = Path(folder, "image"), Path(folder, "mount")
        where.mkdir()
        try:
            with open(image, "wb") as file:
                file.truncate(1 << 20)
            subprocess.run(["mke2fs", "-q", "-F", "-O", "^has_journal", image], check=True, env={"PATH": SYSTEM_PATH})
            with loop_mounted(image, where) as root:
                (root / "try").touch()
        except (OSError, subprocess.CalledProcessError) as problem:
            return str(problem)
    return ""


class FatLike(Host):
    """A directory of a tmpfs that does what Linux's vfat would, as far as it differs (mount(8), fs/fat's documentation):

    no links, no FIFOs, no extended attributes, no storage without data; an owner and a mask for all; names without regard to case.
    """

    folds = True

    def __init__(self, base: Path, uid: int):
        super().__init__(base, uid)
        self.uid_of_all = uid

    def open(self, path: str, flags: int, mode: int) -> int:
        return super().open(path.lower(), flags, 0o777)

    def mkdir(self, path: str, mode: int) -> None:
        super().mkdir(path.lower(), 0o777)

    def _refused(self, made: str, make: Callable[[], object]) -> None:
        """It is refused last of all checks: when it was possible elsewhere."""
        make()
        super().unlink(made)
        raise OSError(errno.EPERM, "")

    def link(self, path: str, other: str) -> None:
        self._refused(other.lower(), lambda: super(FatLike, self).link(path.lower(), other.lower()))

    def symlink(self, target: str, path: str) -> None:
        self._refused(path.lower(), lambda: super(FatLike, self).symlink(target, path.lower()))

    def mkfifo(self, path: str, mode: int) -> None:
        self._refused(path.lower(), lambda: super(FatLike, self).mkfifo(path.lower(), mode))

    def chmod(self, path: str, mode: int) -> None:
        """All write bits that the mask leaves, or none; a directory's are fixed.  What can't be kept is ignored."""
        now = self.stat(path).st_mode
        super().chmod(path.lower(), stat.S_IMODE(now))
        if mode & ~0o777:
            raise OSError(errno.EPERM, "")
        wanted, everybody = mode & ~MASK, WRITE & ~MASK
        possible = (everybody,) if stat.S_ISDIR(now) else (0, everybody)
        if wanted & 0o555 == now & 0o555 and wanted & WRITE in possible:
            super().chmod(path.lower(), wanted)

    def chown(self, path: str, uid: int, gid: int) -> None:
        super().chown(path.lower(), -1, -1)
        if uid not in (-1, self.uid_of_all) or gid not in (-1, self.uid_of_all):
            raise OSError(errno.EPERM, "")

    def utimens(self, path: str, atime: int, mtime: int) -> None:
        """Times begin in 1980, and have steps of two seconds."""
        start = 315532800 * 10**9
        super().utimens(path.lower(), max(start, atime), max(start, mtime // 2 // 10**9 * 2 * 10**9))

    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        """There is storage, but there are no holes."""
        if mode != 3:
            super().fallocate(fd, mode, offset, length)
            return
        super().fallocate(fd, 1, offset, length)
        raise OSError(errno.ENOTSUP, "")

    def rename(self, path: str, other: str, flags: int) -> None:
        super().rename(path.lower(), other.lower(), flags)

    def stat(self, path: str) -> os.stat_result:
        return os.stat(path.lower(), dir_fd=self.base)

    def lstat(self, path: str) -> os.stat_result:
        return os.lstat(path.lower(), dir_fd=self.base)

    def rmdir(self, path: str) -> None:
        super().rmdir(path.lower())

    def unlink(self, path: str) -> None:
        super().unlink(path.lower())

    def readlink(self, path: str) -> str:
        return super().readlink(path.lower())

    def access(self, path: str, mode: int) -> None:
        super().access(path.lower(), mode)

    def here(self, path: str) -> str:
        return super().here(path.lower())
