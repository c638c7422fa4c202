"""What a root or a mount names, as what the kernel mounts: a type, and bytes of host files that become its disks.

Below `compose.storage`.  An image's disk, a plain archive: as they are.  A compressed archive, a container image: unpacked into the cache,
once; the next time that is found there.
"""

import hashlib
import os
from contextlib import ExitStack, closing
from typing import Final, NamedTuple

from ...kern.abi.errno import EINVAL, ENOENT
from .cache import hasher, unpacked
from .layout import Defaults, Layer, find_image
from .progress import Unpacking, shown
from .store import LAYOUT, ArchiveStore, DirectoryStore, Place, Store
from .unpack import compression, pieces

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


def prepare(source: str, kind: str = "auto", held: ExitStack | None = None, platform: str = "") -> Prepared:
    """Look at a host path, which may have ":NAME" behind it for one of several images, of which it is the one for `platform`, and unpack
    what must be.  Off the schedule; may take as long as unpacking does.  What is in the cache stays there until `held` is closed.  Raises
    OSError, with a text that says what is wrong."""
    path, reference = split(source)
    with ExitStack() as own:
        held = held or own
        store = open_store(path, kind)
        if store is not None:
            image = find_image(store, reference, platform)
            return Prepared(TAR, _layers(store, image.layers, source, held), {"whiteouts": True}, image.defaults)
        if reference or kind == OCI:
            raise OSError(EINVAL, "there is no container image", path)
        if kind in KINDS and os.path.isfile(path) and (packed := _compression(path)):
            return Prepared(kind, [_whole(path, packed, held)], {}, None)
    return Prepared(kind, [], {}, None)


def packed_archive(path: str, held: ExitStack) -> Place | None:
    """A compressed tar archive as a plain one in the cache; None where it is something else.  Raises as `prepare`."""
    from ...fs.tar.header import BLOCK, is_header

    if not os.path.isfile(path) or not (packed := _compression(path)):
        return None
    with open(path, "rb") as file:
        head = b""
        try:
            with closing(pieces(file, packed)) as found:
                while len(head) < BLOCK and (piece := next(found, b"")):
                    head += piece
        except OSError as problem:
            if problem.errno != EINVAL:
                raise
    return _whole(path, packed, held) if is_header(head[:BLOCK]) else None


def _whole(path: str, packed: str, held: ExitStack) -> Place:
    """A compressed file, unpacked."""
    place = Place(path, 0, os.path.getsize(path))
    with shown(f"unpacking {os.path.basename(path)}", place.size) as work:
        made = unpacked(place, packed, _name_of(path), held=held, work=work)
    return Place(made, 0, os.path.getsize(made))


def defaults_of(source: str, platform: str = "") -> Defaults | None:
    """What the container image that a root names says of its program; None where it is none.  Unpacks nothing.  Raises OSError."""
    path, reference = split(source)
    store = open_store(path)
    return None if store is None else find_image(store, reference, platform).defaults


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


def _layers(store: Store, layers: list[Layer], source: str, held: ExitStack) -> list[Place]:
    """The layers' archives, the lowest first."""
    places = [store.place(layer.name) for layer in layers]
    with shown(f"unpacking {os.path.basename(source)}", sum(place.size for place in places)) as work:
        return [_layer(store, layer, place, held, work) for layer, place in zip(layers, places, strict=True)]


def _layer(store: Store, layer: Layer, place: Place, held: ExitStack, work: Unpacking) -> Place:
    """A layer's archive: in the cache, under the digest of what it unpacks to, which is checked when it comes there."""
    if hasher(layer.contents) is None:  # or anything would be another image's, too
        raise OSError(EINVAL, "the image does not say what its layers unpack to", store.path)
    name = layer.contents.replace(":", "-", 1) + ".tar"
    with place.open() as file:
        head = file.read(_HEAD)
    try:
        path = unpacked(place, compression(head), name, layer.digest, layer.contents, held, work)
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
