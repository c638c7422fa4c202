"""What the container image that is a program's root says of it: environment, directory, command and user, where the config says nothing.

Between `oci.layout`, which reads it, and `programs`, which starts them.
"""

import os
from typing import TYPE_CHECKING, Final

from ...kern.abi.fcntl import O_RDONLY
from ..errors import ConfigError
from ..roots import HOST, OCI_LAYOUT, images

if TYPE_CHECKING:
    from ..kernel import Kernel
    from .layout import Defaults

MOST_BYTES: Final = 1 << 20
"""Of an image's /etc/passwd and /etc/group."""
PASSWD, GROUP = "/etc/passwd", "/etc/group"
LARGEST_ID: Final = 0xFFFFFFFE


def defaults_for(kernel: "Kernel", source: str) -> "Defaults | None":
    """What the image `source` says; None where it is no container image.  Raises ConfigError."""
    if source in HOST:
        return None
    known = kernel.images
    if source not in known:
        try:
            known[source] = _defaults(source)
        except OSError as problem:
            raise ConfigError(f"{source!r} cannot be opened: {problem.strerror or problem}", key="root") from None
    return known[source]


def _defaults(source: str) -> "Defaults | None":
    from ...fs.tar.header import BLOCK, is_header

    if os.path.isdir(source):
        if not os.path.exists(os.path.join(source, OCI_LAYOUT)):
            return None
    elif os.path.exists(source):
        with open(source, "rb") as file:
            if not is_header(file.read(BLOCK)):
                return None
    from .prepare import defaults_of

    return defaults_of(source)


def stop_signal_of(kernel: "Kernel", source: str) -> str:
    """What asks a program to end, as its image says; "" where that says nothing.  Raises ConfigError."""
    said = defaults_for(kernel, source)
    return said.stop_signal if said is not None else ""


def user_in(kernel: "Kernel", source: str, text: str) -> tuple[tuple[int, int, list[int]] | None, str]:
    """The user "NAME", "NAME:GROUP" or numbers of an image, as the image's own files name it, and his home; None for root and "", which
    are whoever `rump` is.  Raises ConfigError."""
    name, _, group = text.partition(":")
    if name in ("", "0", "root"):
        return None, ""
    place = next((one.place for one in images(kernel.spec) if one.source == source), "")
    uid, gid, home = -1, 0, "/"
    for line in _lines(kernel, place + PASSWD):
        if len(line) >= 6 and name in (line[0], line[2]) and _id(line[2]) >= 0 and _id(line[3]) >= 0:
            uid, gid, home = _id(line[2]), _id(line[3]), line[5]
            break
    if uid < 0:
        uid = _id(name)
    if group:
        found = [line[2] for line in _lines(kernel, place + GROUP) if len(line) >= 3 and line[0] == group]
        gid = _id(found[0] if found else group)
    if uid < 0 or gid < 0:
        raise ConfigError(f"the image has no user {text!r}, whom it says that it runs as", key="user")
    return (uid, gid, [gid]), home


def _id(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= LARGEST_ID else -1


def _lines(kernel: "Kernel", path: str) -> list[list[str]]:
    """The lines of a file of the kernel's, with their fields; none where it is not there."""
    process = kernel.process()
    try:
        fd = process.open(path, O_RDONLY)
        data = b""
        while len(data) < MOST_BYTES and (piece := process.read(fd, 1 << 16)):
            data += piece
        process.close(fd)
    except OSError:
        return []
    return [line.split(":") for line in data.decode("utf-8", "replace").splitlines()]
