"""Files in disk images for fsspec, and so for pandas, zarr, Dask and others: the protocol `rump`.

    fsspec.open("rump://disk.img@2:/data/table.csv")
    fsspec.open("rump://data/table.csv::/images/disk.img")
    RumpFileSystem("disk.img").ls("/data")

The package's entry point (group fsspec.specs) makes it known; fsspec itself comes with `rumpkit[fsspec]`.
"""

from __future__ import annotations

import datetime
import os
import shutil
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import IO, Any

import fsspec
from fsspec.spec import AbstractFileSystem

from ...vfs.stat import Stat
from .address import parse, split_partition
from .opened import OpenedImage
from .path import ImagePath

PREFIX = "rump://"


class RumpFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """One image's file system.  Names are absolute paths in it."""

    protocol = "rump"
    root_marker = "/"
    cachable = False  # an instance keeps its image open, and locked

    def __init__(
        self,
        image: str | os.PathLike[str] = "",
        partition: int | str = "",
        writable: bool = False,
        in_place: bool = False,
        auto_mkdir: bool = True,
        fo: str = "",
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Open an image as `rumpkit.open_image` does.  What is written with `writable` becomes the image's at `commit`, with `in_place` at
        once.  With `auto_mkdir` a file that is written gets the directories it lies in, as in stores that have none.  `fo` is the image
        where a chained URL names it; it must be a file of the host's, or one that a caching protocol keeps here.  Raises OSError,
        ValueError."""
        super().__init__(**more)
        self.auto_mkdir = auto_mkdir
        if fo and target_protocol not in (None, "file", "local"):
            fo = _cached(fo, target_protocol, target_options or {})
        name = os.fspath(image or fo)
        if not name:
            raise ValueError("which image? rump://IMAGE:/PATH, or rump://PATH::IMAGE")
        if not partition:
            name, partition = split_partition(name)
        self.opened = OpenedImage(name, partition, writable, in_place)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.opened.name!r}>"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text = os.fspath(path)
        if text.startswith(PREFIX):
            address = parse(text[len(PREFIX) :])
            text = address.path
        return "/" + text.strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        if not path.startswith(PREFIX):
            return {}
        address = parse(path[len(PREFIX) :])
        return {"image": address.image, "partition": address.partition} if address.inside else {}

    # The image ---------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Make all changes the image's, durably, and close it.  Raises OSError."""
        self.opened.commit()

    def close(self) -> None:
        """Close the image; changes that were not committed or made in place are forgotten."""
        self.opened.close()

    def __enter__(self) -> RumpFileSystem:
        return self

    def __exit__(self, *exception: object) -> None:
        self.opened.__exit__(*exception)

    def path(self, path: str) -> ImagePath:
        """The same file as a path."""
        return self.opened.root / str(self._strip_protocol(path))

    def _room(self, path: str, mode: str) -> ImagePath:
        """The file, with a directory to be written into."""
        place = self.path(path)
        if self.auto_mkdir and self.opened.writable and mode[:1] in "wax" and not place.parent.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
        return place

    # What fsspec asks --------------------------------------------------------------------------------------

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        """A file's attributes, as fsspec's local file system gives them."""
        return _info(self.path(path))

    def ls(self, path: str, detail: bool = True, **more: Any) -> list[Any]:
        """What is in a directory, sorted; the file itself where it is none."""
        place = self.path(path)
        found = sorted(place.iterdir()) if place.is_dir() else [place]
        if not detail:
            place.stat()
            return [str(one) for one in found]
        return [_info(one) for one in found]

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **more: Any,
    ) -> IO[Any]:
        if not autocommit:
            raise NotImplementedError("an image is one transaction; open it with writable=True, and commit()")
        return self._room(path, mode).open(mode, block_size if block_size and block_size > 1 else -1)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        """A file's bytes; negative places count from its end."""
        place = self.path(path)
        if start is None and end is None:
            return place.read_bytes()
        size = place.stat().st_size
        first, last, _ = slice(start, end).indices(size)
        with place.open("rb", buffering=0) as file:
            file.seek(first)
            parts = []
            while first < last and (piece := file.read(last - first)):
                parts.append(piece)
                first += len(piece)
        return b"".join(parts)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        """Write a whole file."""
        if mode == "create" and self.path(path).exists():
            raise FileExistsError(path)
        self._room(path, "wb").write_bytes(value)

    def mkdir(self, path: str, create_parents: bool = True, **more: Any) -> None:
        """Make a directory."""
        self.path(path).mkdir(parents=create_parents)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory and those above it."""
        self.path(path).mkdir(parents=True, exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        self.path(path).rmdir()

    def _rm(self, path: str) -> None:
        place = self.path(path)
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        else:
            place.unlink()

    rm_file = _rm

    def cp_file(self, path1: str, path2: str, **more: Any) -> None:
        """Copy a file; make a directory where a directory is copied."""
        if self.path(path1).is_dir():
            self.makedirs(path2, exist_ok=True)
            return
        with self.path(path1).open("rb") as source, self._room(path2, "wb").open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)

    def mv(self, path1: str, path2: str, recursive: bool = False, maxdepth: int | None = None, **more: Any) -> None:
        """Rename a file or a directory."""
        self.path(path1).rename(self.path(path2))

    def touch(self, path: str, truncate: bool = True, **more: Any) -> None:
        """Make a file, or empty it, or set its times."""
        if truncate:
            self.path(path).write_bytes(b"")
        self.path(path).touch()

    def created(self, path: str) -> datetime.datetime:
        """When the file's attributes changed last."""
        return _time(self.path(path).stat().st_ctime_ns)

    def modified(self, path: str) -> datetime.datetime:
        """When the file's data changed last."""
        return _time(self.path(path).stat().st_mtime_ns)


def _cached(path: str, protocol: str, options: dict[str, Any]) -> str:
    """The host's file that a file system of fsspec's keeps for another one.  Raises ValueError where it keeps none."""
    files = fsspec.filesystem(protocol, **options)
    if not getattr(files, "local_file", False):
        text = (
            f"an image must be a file of the host's, not of {protocol}; let it be fetched: rump://PATH::filecache::URL"
        )
        raise ValueError(text)
    with files.open(path, "rb") as file:
        name: str = os.fspath(file.name)
        return name


def _info(path: ImagePath) -> dict[str, Any]:
    status: Stat = path.lstat()
    link = S_ISLNK(status.st_mode)
    found: dict[str, Any] = {"name": str(path), "islink": link}
    if link:
        found["destination"] = str(path.readlink())
        try:
            status = path.stat()
        except OSError:
            pass
    mode = status.st_mode
    found["type"] = "directory" if S_ISDIR(mode) else "file" if S_ISREG(mode) else "link" if S_ISLNK(mode) else "other"
    found["size"] = status.st_size
    found["mtime"], found["created"] = status.st_mtime_ns / 1e9, status.st_ctime_ns / 1e9
    for key in ("mode", "uid", "gid", "ino", "nlink"):
        found[key] = getattr(status, f"st_{key}")
    return found


def _time(nanoseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(nanoseconds / 1e9, datetime.UTC)
