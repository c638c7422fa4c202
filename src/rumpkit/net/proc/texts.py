"""The files of /proc/net as texts that a file system can show; below `fs.textfs`, above `files`."""

from collections.abc import Iterator, Sequence
from typing import final

from ...kern.kernel import RumpKernel
from ...kern.texts import Texts
from .files import FILES
from .view import View


@final
class NetTexts(Texts):
    """Those of one kernel.  Whose the sockets are isn't known here."""

    def __init__(self, kernel: RumpKernel) -> None:
        self._kernel = kernel

    def names(self) -> Sequence[str]:
        """tcp, udp, dev and others."""
        return list(FILES)

    def text(self, name: str) -> Iterator[str]:
        """One of them.  Raises KeyError."""
        return FILES[name](View(self._kernel))
