"""Texts that a component makes when somebody reads them, such as those of Linux's /proc: what lies between such a component and a file
system that shows them (fs/textfs.py)."""

from collections.abc import Iterator, Sequence


class Texts:
    """Files by name.  On the schedule."""

    def names(self) -> Sequence[str]:
        """The names of all files, always the same."""
        raise NotImplementedError

    def text(self, name: str) -> Iterator[str]:
        """One of them as it is now, some lines at a time."""
        raise NotImplementedError
