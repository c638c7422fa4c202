"""What the container image that is a program's root says of it: environment, directory, command and user, where the config says nothing.

Between `oci.layout`, which reads it, and `programs` and `users`.
"""

import os
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..roots import HOST, OCI_LAYOUT

if TYPE_CHECKING:
    from ..kernel import Kernel
    from .layout import Defaults


def defaults_for(kernel: "Kernel", source: str) -> "Defaults | None":
    """What the image `source` says; None where it is no container image.  Raises ConfigError."""
    if source in HOST:
        return None
    known = kernel.images
    if source not in known:
        try:
            known[source] = _defaults(source, kernel.spec.kernel.root_platform)
        except OSError as problem:
            raise ConfigError(f"{source!r} cannot be opened: {problem.strerror or problem}", key="root") from None
    return known[source]


def _defaults(source: str, platform: str) -> "Defaults | None":
    from ...fs.tar.header import BLOCK, is_header

    if os.path.isdir(source):
        if not os.path.exists(os.path.join(source, OCI_LAYOUT)):
            return None
    elif os.path.exists(source):
        with open(source, "rb") as file:
            if not is_header(file.read(BLOCK)):
                return None
    from .prepare import defaults_of

    return defaults_of(source, platform)


def stop_signal_of(kernel: "Kernel", source: str) -> str:
    """What asks a program to end, as its image says; "" where that says nothing.  Raises ConfigError."""
    said = defaults_for(kernel, source)
    return said.stop_signal if said is not None else ""
