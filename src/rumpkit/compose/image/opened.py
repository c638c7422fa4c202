"""`rumpkit.open_image`: a disk image's files as paths, for Python code.

Between `ImagePath` and the session that opens the image, boots a small kernel with the file systems over it, and mounts what is on it.
The paths' calls are system calls of one process of that kernel, whose root is the image's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...clients.local import LocalProcess
from ...hosts.posix.host import PosixHost
from ...kern.abi.errno import EROFS
from ...kern.process import Credentials
from ...vfs.types import AUTO
from .address import Address
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...kern.kernel import RumpKernel
    from ...kern.process import Process
    from ...vfs.types import OptionValue
    from .path import ImagePath

CLOSED = "the image is closed"
READ_ONLY = "the image is open for reading only (writable=True or in_place=True change it)"


def open_image(
    path: str | os.PathLike[str],
    *,
    partition: int | str = "",
    writable: bool = False,
    in_place: bool = False,
    type: str = AUTO,
    options: Mapping[str, OptionValue] | None = None,
) -> ImagePath:
    """The root directory of a disk image's file system, as a path like pathlib's that closes the image at the end of a `with`::

        with rumpkit.open_image("disk.img") as root:
            print((root / "etc" / "fstab").read_text())

    `partition` is a number from 1 or a label, where there are several.  The image is read-only, unless it is `writable`: then all changes
    become the image's at the end of the `with`, or none where an exception ends it or the machine dies.  `in_place` writes them as
    they come.  `type` is a file system type where it shall not be recognised, `options` are that type's for mounting.

    Several threads may use the paths.  Raises OSError: ENOENT, EACCES and so on of the host's, EBUSY where somebody has the image open,
    EINVAL where it holds no file system that is known, EUCLEAN where that is damaged.
    """
    return OpenedImage(path, partition, writable, in_place, type, options).root


class ImageProcess(LocalProcess):
    """The process of an image, whose errors name the paths that they are about, as Python's own do."""

    def __init__(self, kernel: RumpKernel, process: Process, writable: bool) -> None:
        super().__init__(kernel, process)
        self._writable: bool = writable

    def run(self, name: str, method: Callable[..., object], *arguments: object) -> object:
        """As a process does.  Raises OSError with `filename`, and of two names `filename2`."""
        try:
            return super().run(name, method, *arguments)
        except OSError as problem:
            if problem.errno == EROFS and not self._writable:
                problem.strerror = READ_ONLY
            names = [one for one in arguments[:2] if isinstance(one, str)]
            if names and problem.filename is None:
                problem.filename = names[-1] if name == "symlink" else names[0]
                if len(names) > 1 and name in ("rename", "link"):
                    problem.filename2 = names[1]
            raise


class OpenedImage:
    """An image that is open: what all its paths share."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        partition: int | str = "",
        writable: bool = False,
        in_place: bool = False,
        type: str = AUTO,
        options: Mapping[str, OptionValue] | None = None,
    ) -> None:
        """As `open_image`."""
        self.name: str = os.fspath(path)
        """The image's path on the host."""
        self.writable: bool = writable or in_place
        self._gathers: bool = writable and not in_place
        self._process: LocalProcess | None = None
        self._host: PosixHost = PosixHost()
        self._session: Session = Session(in_place, self._host, ("vfs_calls",))
        try:
            self._boot(str(partition), type, options)
        except BaseException as problem:
            self._session.close()
            self._host.close()
            if isinstance(problem, OSError):  # as FileNotFoundError and the like
                raise OSError(problem.errno, problem.strerror, problem.filename or self.name) from None
            raise

    @property
    def root(self) -> ImagePath:
        """The root directory.  Paths keep the image open: it closes with the last of them."""
        from .path import ImagePath

        return ImagePath(self, "/")

    @property
    def process(self) -> LocalProcess:
        """The process whose system calls the paths make.  Raises ValueError once the image is closed."""
        if self._process is None:
            raise ValueError(CLOSED)
        return self._process

    @property
    def closed(self) -> bool:
        """Whether it has been committed or closed."""
        return self._process is None

    def commit(self) -> None:
        """Make all changes the image's, durably, and close it.  Raises OSError: then the image is as it was, unless it was changed in
        place.  A second call does nothing."""
        if self._finish():
            try:
                self._session.commit()
            finally:
                self._session.close()
                self._host.close()

    def close(self) -> None:
        """Close the image and forget changes, unless they were made in place.  A second call does nothing."""
        if self._finish():
            try:
                self._session.close()
            finally:
                self._host.close()

    def _boot(self, partition: str, type: str, options: Mapping[str, OptionValue] | None) -> None:
        session = self._session
        address = Address(self.name, self.name, partition, "/")
        mount = session.mount(address, self.writable, {"devices": False, **(options or {})}, type)
        kernel = session.kernel()
        process = kernel.process(Credentials())
        place = mount.path.decode()
        session.lend()
        self._process = ImageProcess(kernel, process, self.writable)
        self._process.chroot(place)
        self._process.chdir("/")

    def _finish(self) -> bool:
        if self._process is None:
            return False
        self._process = None
        self._session.take_back()
        return True

    def __enter__(self) -> OpenedImage:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.close()

    def __del__(self) -> None:
        if getattr(self, "_process", None) is None:
            return
        if self._gathers:
            import warnings

            warnings.warn(
                f"{self.name}: changes were neither committed nor closed, and are forgotten (use a with, or commit())",
                RuntimeWarning,
                stacklevel=1,
            )
        self.close()
