"""Where an image's blobs are: a directory in OCI's layout, or an archive of one (`skopeo copy oci-archive:`, `docker save`)."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import Final, NamedTuple

from ...kern.abi.errno import EFBIG, EINVAL, ENOENT, EUCLEAN

MOST_JSON: Final = 4 << 20
"""Bytes of an index, a manifest or a config."""
MOST_MEMBERS: Final = 4096
"""Files of an archive."""
LAYOUT: Final = "oci-layout"
INDEX: Final = "index.json"
DOCKER: Final = "manifest.json"
FAMILIAR: Final = (LAYOUT, INDEX, DOCKER, "repositories", "blobs")


class Place(NamedTuple):
    """Bytes of a host file."""

    path: str
    offset: int
    size: int

    def open(self) -> "Part":
        """The bytes, as a file that ends with them."""
        return Part(self)


class Part:
    """A part of a file, to be read once."""

    def __init__(self, place: Place) -> None:
        self._file = io.FileIO(place.path)
        self._file.seek(place.offset)
        self._left = place.size

    def read(self, size: int = -1) -> bytes:
        """As a file does."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


class Store:
    """Files by names such as "blobs/sha256/..."."""

    def __init__(self, path: str) -> None:
        self.path = path

    def place(self, name: str) -> Place:
        """Where a file is.  Raises ENOENT, and what the host says."""
        raise NotImplementedError

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        try:
            self.place(name)
        except OSError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """All of a small file.  Raises EFBIG for a large one."""
        place = self.place(name)
        if place.size > MOST_JSON:
            raise OSError(EFBIG, f"{name} has {place.size} bytes; the limit is {MOST_JSON}", self.path)
        with place.open() as file:
            return file.read()


class DirectoryStore(Store):
    """A directory.  Links that lead out of it are not followed."""

    def place(self, name: str) -> Place:
        """A regular file below the directory."""
        path = os.path.join(self.path, name)
        real = os.path.realpath(path)
        if not real.startswith(os.path.realpath(self.path).rstrip("/") + "/"):
            raise OSError(EINVAL, f"{name} leads out of the directory", self.path)
        try:
            status = os.stat(real)
        except FileNotFoundError:
            raise OSError(ENOENT, f"it lacks {name}", self.path) from None
        if not stat.S_ISREG(status.st_mode):
            raise OSError(EINVAL, f"{name} is no regular file", self.path)
        return Place(real, 0, status.st_size)


class ArchiveStore(Store):
    """A plain tar archive: blobs are read where they are in it."""

    def __init__(self, path: str) -> None:
        """Raises EINVAL where there is no image in it: its first file that no image has ends the search."""
        super().__init__(path)
        self._places: dict[str, Place] = {}
        links: dict[str, str] = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for info in archive:
                    name = os.path.normpath(info.name)
                    if not _familiar(name) or len(self._places) + len(links) >= MOST_MEMBERS:
                        raise OSError(EINVAL, "there is no container image in it", path)
                    if info.issym():  # docker had layers twice as links to each other
                        links[name] = os.path.normpath(os.path.join(os.path.dirname(name), info.linkname))
                    elif info.isreg():
                        self._places[name] = Place(path, info.offset_data, info.size)
        except (tarfile.TarError, EOFError, UnicodeError, ValueError) as problem:
            raise OSError(EUCLEAN, f"the archive is damaged: {problem}", path) from None
        for name, target in links.items():
            if target in self._places:
                self._places[name] = self._places[target]
        if not self._places.keys() & {INDEX, DOCKER}:
            raise OSError(EINVAL, "there is no container image in it", path)

    def place(self, name: str) -> Place:
        """A member's data."""
        found = self._places.get(os.path.normpath(name))
        if found is None:
            raise OSError(ENOENT, f"it lacks {name}", self.path)
        return found


def _familiar(name: str) -> bool:
    """Whether an image's archive has a file of this name: those of the layout, and docker's, which begin with a digest."""
    first = name.partition("/")[0].partition(".")[0] if not name.startswith(FAMILIAR) else ""
    return not first or (len(first) == 64 and not set(first) - set("0123456789abcdef"))


def lines(names: Iterator[str]) -> str:
    """A few names, for a message."""
    found = sorted(set(names))
    return ", ".join(found[:10]) + (", ..." if len(found) > 10 else "")
