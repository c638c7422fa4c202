"""What a root or a mount names, as what the kernel mounts: a type, and bytes of host files that become its disks.

Below `compose.storage`.  An image's disk, a plain archive: as they are.  A compressed archive, a container image: unpacked into the cache,
once; the next time that is found there.
"""

import hashlib
import os
from typing import Final, NamedTuple

from ...kern.abi.errno import EINVAL, ENOENT
from .cache import unpacked
from .layout import Defaults, Layer, find_image
from .store import LAYOUT, ArchiveStore, DirectoryStore, Place, Store
from .unpack import compression

OCI: Final = "oci"
"""The type of a mount that is a container image."""
TAR: Final = "tar"
KINDS: Final = ("auto", TAR, OCI)
"""The types of mounts that may be something else than the disk that they seem to be."""
_HEAD: Final = 512


class Prepared(NamedTuple):
    """What to mount."""

    type: str
    places: list[Place]
    """The disks, lowest layer first; none where the source is one as it is."""
    options: dict[str, int | bool | str]
    defaults: Defaults | None
    """What a container image says of its program."""


def prepare(source: str, kind: str = "auto") -> Prepared:
    """Look at a host path, which may have ":NAME" behind it for one of several images, and unpack what must be.  Off the schedule; may take
    as long as unpacking does.  Raises OSError, with a text that says what is wrong."""
    path, reference = split(source)
    store = open_store(path, kind)
    if store is not None:
        image = find_image(store, reference)
        places = [_layer(store, layer) for layer in image.layers]
        return Prepared(TAR, places, {"whiteouts": True}, image.defaults)
    if reference or kind == OCI:
        raise OSError(EINVAL, "there is no container image", path)
    if kind in KINDS and os.path.isfile(path) and (packed := _compression(path)):
        with open(path, "rb") as file:
            place = unpacked(file, packed, _name_of(path))
        return Prepared(kind, [Place(place, 0, os.path.getsize(place))], {}, None)
    return Prepared(kind, [], {}, None)


def defaults_of(source: str) -> Defaults | None:
    """What the container image that a root names says of its program; None where it is none.  Unpacks nothing.  Raises OSError."""
    path, reference = split(source)
    store = open_store(path)
    return None if store is None else find_image(store, reference).defaults


def split(source: str) -> tuple[str, str]:
    """A path, and the name of an image in it: "images:web" is "web" in "images", where there is no file of the whole name."""
    if os.path.exists(source):
        return source, ""
    path, _, reference = source.rpartition(":")
    if path.endswith(("@sha256", "@sha512")):
        path, _, algorithm = path.rpartition("@")
        reference = f"{algorithm}:{reference}"
    if path and os.path.exists(path):
        return path, reference
    raise OSError(ENOENT, os.strerror(ENOENT), source)


def open_store(path: str, kind: str = "auto") -> Store | None:
    """The images in a directory or an archive; None where there are none.  Raises OSError."""
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, LAYOUT)):
            return DirectoryStore(path)
        return None
    if kind not in KINDS or not os.path.isfile(path) or not _is_archive(path):
        return None
    try:
        return ArchiveStore(path)
    except OSError:
        if kind == OCI:
            raise
        return None


def _layer(store: Store, layer: Layer) -> Place:
    """A layer's archive: in the cache, under the digest of what it unpacks to, which is checked when it comes there."""
    name = layer.contents.replace(":", "-", 1) + ".tar"
    if "/" in name:
        raise OSError(EINVAL, f"{layer.contents[:80]!r} is no digest", store.path)
    place = store.place(layer.name)
    with place.open() as file:
        head = file.read(_HEAD)
    with place.open() as file:
        try:
            path = unpacked(file, compression(head), name, layer.digest, layer.contents)
        except OSError as problem:
            raise OSError(problem.errno, f"{layer.name}: {problem.strerror or problem}", store.path) from None
    return Place(path, 0, os.path.getsize(path))


def _compression(path: str) -> str:
    with open(path, "rb") as file:
        return compression(file.read(_HEAD))


def _is_archive(path: str) -> bool:
    from ...fs.tar.header import BLOCK, is_header

    with open(path, "rb") as file:
        return is_header(file.read(BLOCK))


def _name_of(path: str) -> str:
    """What the cache calls the unpacked form of a file: another one if the file is changed."""
    status = os.stat(path)
    text = f"{os.path.realpath(path)}\0{status.st_dev}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}"
    return f"file-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}"
