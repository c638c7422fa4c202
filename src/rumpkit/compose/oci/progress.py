"""How far unpacking is: counted by `cache`, shown by who wants to (`cli.unpacking`), who may also end it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, final


@final
class Unpacking:
    """One image or archive that is unpacked."""

    def __init__(self, title: str, size: int = 0) -> None:
        self.title: str = title
        self.size: int = size
        """Bytes that there are, packed."""
        self.read: int = 0
        """Of them, how many are done."""
        self.check: Callable[[], None] = _nothing
        """Called now and then; what it raises ends it."""


def _nothing() -> None:
    pass


UNSEEN: Final = Unpacking("")
"""At which nobody looks."""
Show = Callable[[Unpacking], AbstractContextManager[Callable[[], None]]]
"""Shows it while it is entered, which gives what becomes `check`."""
SHOWS: Final[list[Show]] = []
"""The last is asked; with none nothing is shown."""


@contextmanager
def shown(title: str, size: int) -> Iterator[Unpacking]:
    """Unpack something."""
    work = Unpacking(title, size)
    if not SHOWS:
        yield work
        return
    with SHOWS[-1](work) as work.check:
        yield work
