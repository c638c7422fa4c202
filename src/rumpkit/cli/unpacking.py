"""Progress while an image or an archive is unpacked, and how that is ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..compose.oci.progress import SHOWS

if TYPE_CHECKING:
    from ..compose.oci.progress import Unpacking


@contextmanager
def shown(check: Callable[[], None] | None = None, quiet: bool = False) -> Iterator[None]:
    """Show it on the terminal, unless `quiet`.  `check` raises what shall end it; without it Ctrl-C and the like do."""

    @contextmanager
    def show(work: "Unpacking") -> Iterator[Callable[[], None]]:
        from .fs.progress import Watch

        if quiet:
            yield check or _nothing
            return
        with Watch.over(work.title, lambda: (work.read, work.size), signals=check is None):
            yield check or _nothing

    SHOWS.append(show)
    try:
        yield
    finally:
        SHOWS.remove(show)


def _nothing() -> None:
    """Signals raise by themselves."""
