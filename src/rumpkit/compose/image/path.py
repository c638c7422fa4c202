"""A file of an opened image as a path like pathlib's: the same names, results and errors, in the image instead of on the host.

It is no `pathlib.Path`, and has no `__fspath__`, as what would take it for one would look for it on the host.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import total_ordering
from pathlib import PurePosixPath
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG, S_ISSOCK
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal, TextIO, cast, overload

from ...clients.fileobject import FileLike
from ...kern.abi.errno import EEXIST, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EUCLEAN, MESSAGES
from ...kern.abi.fcntl import (
    AT_REMOVEDIR,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_RDONLY,
    O_TRUNC,
    O_WRONLY,
    SYMLOOP_MAX,
)
from . import pattern as patterns

if TYPE_CHECKING:
    from ...clients.local import LocalProcess
    from ...vfs.stat import Stat
    from .opened import OpenedImage

BUFFER = 128 << 10
"""Bytes that file objects read or write at once, unless told otherwise."""
PIECE = 4 << 20
"""The same of read_bytes and write_bytes."""
MISSING = (ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG)
"""What it means that nothing is there."""


class ImageFile(FileLike):
    """An open file of an image, which stays open as long as the file is."""

    def __init__(self, path: ImagePath, mode: str) -> None:
        super().__init__(path.image.process, str(path), mode)
        self._image: OpenedImage | None = path.image

    def close(self) -> None:
        """Close it; without other paths and files the image, too."""
        super().close()
        self._image = None


@total_ordering
class ImagePath:
    """An absolute path in an image.  Made by `open_image`, `/` and the like."""

    __slots__ = ("_pure", "image")

    def __init__(self, image: OpenedImage, path: str | PurePosixPath) -> None:
        self.image: OpenedImage = image
        """The image it is in."""
        self._pure: PurePosixPath = PurePosixPath("/", path)

    # The path itself -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The last part; "" of the root."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The name's last suffix with its dot, or ""."""
        return self._pure.suffix

    @property
    def suffixes(self) -> list[str]:
        """All suffixes of the name."""
        return self._pure.suffixes

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts, beginning with "/"."""
        return self._pure.parts

    @property
    def root(self) -> str:
        """ "/": paths in an image are absolute."""
        return self._pure.root

    @property
    def anchor(self) -> str:
        """ "/"."""
        return self._pure.anchor

    @property
    def drive(self) -> str:
        """ ""."""
        return self._pure.drive

    def is_absolute(self) -> bool:
        """True: it begins at the image's root."""
        return True

    def absolute(self) -> ImagePath:
        """The path itself."""
        return self

    @property
    def parent(self) -> ImagePath:
        """The directory above; of the root the root."""
        return self._at(self._pure.parent)

    @property
    def parents(self) -> tuple[ImagePath, ...]:
        """All directories above, the nearest first."""
        return tuple(self._at(one) for one in self._pure.parents)

    def joinpath(self, *others: str | PurePosixPath) -> ImagePath:
        """This path and others behind it; an absolute one begins anew at the image's root."""
        return self._at(self._pure.joinpath(*others))

    def __truediv__(self, other: str | PurePosixPath) -> ImagePath:
        return self._at(self._pure / other)

    def with_name(self, name: str) -> ImagePath:
        """The same with another name."""
        return self._at(self._pure.with_name(name))

    def with_stem(self, stem: str) -> ImagePath:
        """The same with another stem."""
        return self._at(self._pure.with_stem(stem))

    def with_suffix(self, suffix: str) -> ImagePath:
        """The same with another suffix."""
        return self._at(self._pure.with_suffix(suffix))

    def relative_to(self, other: ImagePath | str) -> PurePosixPath:
        """The way from `other` to here.  Raises ValueError where it is not above."""
        return self._pure.relative_to(str(other))

    def is_relative_to(self, other: ImagePath | str) -> bool:
        """Whether `other` is above this, or is this."""
        return self._pure.is_relative_to(str(other))

    def match(self, pattern: str) -> bool:
        """Whether the path matches a pattern, which is compared from the right."""
        return self._pure.match(pattern)

    def as_posix(self) -> str:
        """The path as text."""
        return str(self._pure)

    def __str__(self) -> str:
        return str(self._pure)

    def __repr__(self) -> str:
        return f"ImagePath({self.image.name!r}, {str(self._pure)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImagePath) and other.image is self.image and other._pure == self._pure

    def __hash__(self) -> int:
        return hash(self._pure)

    def __lt__(self, other: ImagePath) -> bool:
        return self._pure < other._pure

    # Asking ----------------------------------------------------------------------------------------------

    def stat(self, *, follow_symlinks: bool = True) -> Stat:
        """The file's attributes: st_mode, st_size and so on; times are st_mtime_ns and the like."""
        return self._process.stat(str(self)) if follow_symlinks else self._process.lstat(str(self))

    def lstat(self) -> Stat:
        """The same of a symbolic link itself."""
        return self._process.lstat(str(self))

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether something is there."""
        return self._mode(follow_symlinks) != 0

    def is_file(self) -> bool:
        """Whether a regular file is there, perhaps by a symbolic link."""
        return S_ISREG(self._mode())

    def is_dir(self) -> bool:
        """Whether a directory is there, perhaps by a symbolic link."""
        return S_ISDIR(self._mode())

    def is_symlink(self) -> bool:
        """Whether a symbolic link is there."""
        return S_ISLNK(self._mode(False))

    def is_fifo(self) -> bool:
        """Whether a FIFO is there, perhaps by a symbolic link."""
        return S_ISFIFO(self._mode())

    def is_socket(self) -> bool:
        """Whether a socket is there, perhaps by a symbolic link."""
        return S_ISSOCK(self._mode())

    def is_char_device(self) -> bool:
        """Whether a character device is there, perhaps by a symbolic link."""
        return S_ISCHR(self._mode())

    def is_block_device(self) -> bool:
        """Whether a block device is there, perhaps by a symbolic link."""
        return S_ISBLK(self._mode())

    def is_mount(self) -> bool:
        """Whether it is the root: nothing else is mounted in an image."""
        return self.is_dir() and self.samefile(self._at(PurePosixPath("/")))

    def resolve(self, strict: bool = False) -> ImagePath:
        """The path without symbolic links and "..".  What is not there is kept as it is, unless `strict`: then it is FileNotFoundError.
        Raises OSError (ELOOP) for links that lead in circles, where `strict`."""
        pending = list(reversed(self._pure.parts[1:]))
        at, links = self._at(PurePosixPath("/")), 0
        while pending:
            part = pending.pop()
            below = at.parent if part == ".." else at / part
            mode = below._mode(False)
            if not mode and strict:
                below.lstat()
            if S_ISLNK(mode) and links < SYMLOOP_MAX:
                links += 1
                target = below.readlink()
                at = self._at(PurePosixPath("/")) if target.is_absolute() else at
                pending += [one for one in reversed(target.parts) if one != "/"]
                continue
            if S_ISLNK(mode) and strict:
                raise OSError(ELOOP, MESSAGES[ELOOP], str(self))
            at = below
        return at

    def samefile(self, other: ImagePath) -> bool:
        """Whether both are names of one file."""
        return other.image is self.image and other.stat().st_ino == self.stat().st_ino

    def readlink(self) -> PurePosixPath:
        """What a symbolic link points to."""
        return PurePosixPath(self._process.readlink(str(self)))

    def iterdir(self) -> Iterator[ImagePath]:
        """What is in the directory, in the order in which it is stored."""
        # All names first, as directories may change while they are gone through; not all paths, which take four times the memory.
        names = [name for name, _ in self._entries()]
        return (self / name for name in names)

    def walk(
        self, top_down: bool = True, follow_symlinks: bool = False
    ) -> Iterator[tuple[ImagePath, list[str], list[str]]]:
        """For each directory from here on: itself, the names of directories in it, and those of other files, as pathlib's walk."""
        pending: list[ImagePath | tuple[ImagePath, list[str], list[str]]] = [self]
        while pending:
            at = pending.pop()
            if isinstance(at, tuple):
                yield at
                continue
            directories: list[str] = []
            files: list[str] = []
            for name, kind in at._entries():
                (directories if S_ISDIR(kind) or (follow_symlinks and (at / name).is_dir()) else files).append(name)
            if top_down:
                yield at, directories, files
            else:
                pending.append((at, directories, files))
            pending += [at / name for name in reversed(directories)]

    def glob(self, pattern: str) -> Iterator[ImagePath]:
        """The files below that match a pattern, in which ** stands for any directories.  Raises ValueError for an absolute one."""
        return patterns.glob(self, pattern)

    def rglob(self, pattern: str) -> Iterator[ImagePath]:
        """As `glob`, with "**/" before the pattern."""
        return patterns.glob(self, f"**/{pattern}")

    # Content ---------------------------------------------------------------------------------------------

    def read_bytes(self) -> bytes:
        """The whole file."""
        process = self._process
        fd = process.open(str(self), O_RDONLY)
        try:
            size = process.fstat(fd).st_size
            parts = []
            while piece := process.read(fd, min(size + 1, PIECE)):
                parts.append(piece)
                size = max(size - len(piece), PIECE - 1)
        finally:
            process.close(fd)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_text(self, encoding: str | None = "utf-8", errors: str | None = None) -> str:
        """The whole file as text, with its line ends made "\\n"."""
        with self.open("r", encoding=encoding, errors=errors) as file:
            return file.read()

    def write_bytes(self, data: bytes | bytearray | memoryview) -> int:
        """Write the whole file; how many bytes that were."""
        if not isinstance(data, bytes):
            data = bytes(data)
        process = self._process
        fd = process.open(str(self), O_WRONLY | O_CREAT | O_TRUNC)
        try:
            done = 0
            while done < len(data):
                done += process.write(fd, data if len(data) <= PIECE else data[done : done + PIECE])
        finally:
            process.close(fd)
        return done

    def write_text(
        self, data: str, encoding: str | None = "utf-8", errors: str | None = None, newline: str | None = ""
    ) -> int:
        """Write the whole file as text; how many characters that were."""
        with self.open("w", encoding=encoding, errors=errors, newline=newline) as file:
            return file.write(data)

    @overload
    def open(
        self, mode: Literal["r", "w", "a", "x", "r+", "w+", "a+", "x+", "rt", "wt"] = "r", buffering: int = -1,
        encoding: str | None = None, errors: str | None = None, newline: str | None = None,
    ) -> TextIO: ...  # fmt: skip

    @overload
    def open(
        self, mode: Literal["rb", "wb", "ab", "xb", "r+b", "w+b", "a+b", "x+b", "rb+", "wb+"], buffering: int = -1,
        encoding: str | None = None, errors: str | None = None, newline: str | None = None,
    ) -> BinaryIO: ...  # fmt: skip

    @overload
    def open(
        self, mode: str, buffering: int = -1,
        encoding: str | None = None, errors: str | None = None, newline: str | None = None,
    ) -> IO[Any]: ...  # fmt: skip

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """A file object, as the built-in open makes it; text is UTF-8 unless `encoding` says otherwise."""
        binary = "b" in mode
        if binary and (encoding is not None or errors is not None or newline is not None):
            raise ValueError("binary files have no encoding, errors and newline")
        if not binary and buffering == 0:
            raise ValueError("text cannot be unbuffered")
        raw = ImageFile(self, "".join(letter for letter in mode if letter not in "bt"))
        if raw.readable() and S_ISDIR(self._process.fstat(raw.fileno()).st_mode):
            raw.close()
            raise IsADirectoryError(EISDIR, "Is a directory", str(self))
        if "a" in mode:
            raw.seek(0, io.SEEK_END)
        if buffering == 0:
            return cast("IO[Any]", raw)
        size = BUFFER if buffering < 2 else buffering
        if raw.readable() and raw.writable():
            buffered: io.BufferedIOBase = io.BufferedRandom(raw, size)
        else:
            buffered = io.BufferedReader(raw, size) if raw.readable() else io.BufferedWriter(raw, size)
        if binary:
            return cast("IO[Any]", buffered)
        return io.TextIOWrapper(cast("BinaryIO", buffered), encoding or "utf-8", errors, newline, buffering == 1)

    # Changing --------------------------------------------------------------------------------------------

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a directory, with `parents` those above it too."""
        if parents and not self.parent.exists():
            self.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._process.mkdir(str(self), mode)
        except OSError as problem:
            if problem.errno != EEXIST or not exist_ok or not self.is_dir():
                raise

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        """Make an empty file, or set the times of one that is there."""
        process = self._process
        process.close(process.open(str(self), O_WRONLY | O_CREAT | (0 if exist_ok else O_EXCL), mode))
        process.utimens(str(self))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove a file or symbolic link."""
        try:
            self._process.unlink(str(self))
        except OSError as problem:
            if problem.errno != ENOENT or not missing_ok:
                raise

    def rmdir(self) -> None:
        """Remove an empty directory."""
        self._process.unlink(str(self), AT_REMOVEDIR)

    def rename(self, target: ImagePath | str) -> ImagePath:
        """Move to `target`, over what is there; the new path.  A relative one is below the image's root."""
        path = self._at(PurePosixPath("/", str(target)))
        self._process.rename(str(self), str(path))
        return path

    replace = rename

    def symlink_to(self, target: ImagePath | PurePosixPath | str) -> None:
        """Make a symbolic link here that points to `target`."""
        self._process.symlink(str(target), str(self))

    def hardlink_to(self, target: ImagePath | str) -> None:
        """Give the file `target` a further name here."""
        self._process.link(str(self._at(PurePosixPath("/", str(target)))), str(self))

    def chmod(self, mode: int) -> None:
        """Set the permission bits."""
        self._process.chmod(str(self), mode)

    def chown(self, uid: int, gid: int = -1) -> None:
        """Set the owner, by number; -1 leaves one as it is."""
        self._process.chown(str(self), uid, gid)

    # The image -------------------------------------------------------------------------------------------

    def __enter__(self) -> ImagePath:
        return self

    def __exit__(self, *exception: object) -> None:
        self.image.__exit__(*exception)

    def close(self) -> None:
        """Close the image this is in; what was changed and not committed is forgotten."""
        self.image.close()

    @property
    def _process(self) -> LocalProcess:
        return self.image.process

    def _at(self, path: PurePosixPath) -> ImagePath:
        return ImagePath(self.image, path)

    def _mode(self, follow: bool = True) -> int:
        """st_mode, or 0 where nothing is there."""
        try:
            return self.stat(follow_symlinks=follow).st_mode
        except OSError as problem:
            if problem.errno in MISSING:
                return 0
            raise

    def _entries(self) -> Iterator[tuple[str, int]]:
        """Names in the directory, and their kinds (S_IFMT)."""
        process = self._process
        fd = process.open(str(self), O_RDONLY | O_DIRECTORY)
        try:
            last = -1
            while entries := process.readdir(fd):
                if entries[-1].d_off == last:
                    raise OSError(EUCLEAN, "the directory's entries don't come to an end", str(self))
                last = entries[-1].d_off
                for entry in entries:
                    if entry.d_name not in (".", ".."):
                        yield entry.d_name, entry.d_type
        finally:
            if not self.image.closed:
                process.close(fd)
