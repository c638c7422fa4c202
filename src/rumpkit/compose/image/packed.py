"""What is unpacked before it is an image: compressed tar archives, and container images.

Between `session` and `compose.oci`, which has them in its cache, and is loaded only where there is something to unpack.
"""

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from .foreign import packed
from .storage import Storage

if TYPE_CHECKING:
    from ...hyper.calls import Hypercalls

OCI: Final = "oci"
LAYOUT: Final = "oci-layout"
"""The file that a directory in OCI's image layout has."""
HEAD: Final = 8


def open_packed(host: "Hypercalls", path: str) -> Storage | None:
    """A compressed tar archive as a plain one, to be read; None where it is something else.  Off the schedule; takes as long as unpacking
    does.  Raises OSError."""
    if not is_packed(path):
        return None
    from ..oci.prepare import packed_archive

    with ExitStack() as held:
        place = packed_archive(path, held)
        return None if place is None else Storage(host, place.path)


def is_packed(path: str) -> bool:
    """Whether a file is compressed, whatever it holds."""
    if not os.path.isfile(path):
        return False
    with suppress(OSError), open(path, "rb") as file:  # opening it as an image says what is wrong
        return bool(packed(file.read(HEAD)))
    return False


def is_container(source: str) -> bool:
    """Whether a path is a directory in OCI's layout; or, with an image's name or digest behind it, that or an archive of images."""
    if os.path.isdir(source):
        return os.path.exists(os.path.join(source, LAYOUT))
    from ..oci.prepare import open_store, split

    try:
        path, reference = split(source)
        return bool(reference) and open_store(path, OCI) is not None
    except OSError:
        return False


def open_layers(host: "Hypercalls", source: str) -> list[Storage]:
    """The layers of a container image, the lowest first.  As `open_packed`."""
    from ..oci.prepare import prepare

    with ExitStack() as held, ExitStack() as failed:
        layers = []
        for place in prepare(source, OCI, held).places:
            layers.append(Storage(host, place.path))
            failed.callback(layers[-1].discard)
        failed.pop_all()
    return layers
