"""Processes: who makes a system call.  A process is an argument of every call, never a global."""

from typing import final

from mypy_extensions import mypyc_attr

from ..hyper.time import Instant
from .descriptors import DescriptorTable


@final
class Credentials:
    """Effective user and groups of a process (POSIX 3.*); immutable, shared by fork."""

    def __init__(self, uid: int = 0, gid: int = 0, groups: tuple[int, ...] = ()) -> None:
        self.uid: int = uid
        self.gid: int = gid
        self.groups: tuple[int, ...] = groups

    def in_group(self, gid: int) -> bool:
        """Whether `gid` is the process's group or a supplementary one."""
        return gid == self.gid or gid in self.groups


@mypyc_attr(allow_interpreted_subclasses=True)
class PathContext:
    """Where a process's paths start and what mask its files get; `vfs` subclasses it (kern knows no paths)."""

    def fork(self) -> "PathContext":
        """A copy for a child."""
        raise NotImplementedError

    def close(self) -> None:
        """The process has gone."""
        return None


@final
class Process:
    """One process of a kernel: number, credentials, descriptors and, where the kernel has files, a path context."""

    def __init__(self, pid: int, parent: int, credentials: Credentials, files: DescriptorTable) -> None:
        self.pid: int = pid
        self.parent: int = parent
        self.credentials: Credentials = credentials
        self.files: DescriptorTable = files
        self.paths: PathContext | None = None
        self.name: str = "client"
        """What traces and listings call it."""

    def exit(self, now: Instant) -> None:
        """Close everything.  The kernel forgets the process (`Kernel.exit`)."""
        self.files.close_all(now)
        if self.paths is not None:
            self.paths.close()
