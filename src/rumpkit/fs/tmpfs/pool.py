"""What one tmpfs may use and what it uses: bytes and inodes, shared by all its files."""

from typing import Final, final

from ...kern.abi.errno import ENOSPC, error

UNIT: Final = 4096
"""Storage is counted in units of this many bytes, as pages are."""


@final
class Pool:
    """The limits of one tmpfs and its use of them."""

    def __init__(self, size: int, inodes: int, file_size: int, links: int, first: int = 0) -> None:
        """Numbers of files begin behind `first`."""
        self.size: int = size
        """Bytes that all files together may take."""
        self.used: int = 0
        """Bytes that they take, in whole units."""
        self.inodes: int = inodes
        """How many files there may be, directories and links included."""
        self.files: int = 0
        self.file_size: int = file_size
        """How long one file may be (EFBIG)."""
        self.links: int = links
        """How many names one file may have (EMLINK)."""
        self._number: int = first

    def take_inode(self) -> int:
        """A number for a new file.  Raises ENOSPC."""
        if self.files >= self.inodes:
            raise error(ENOSPC)
        self.files += 1
        self._number += 1
        return self._number

    def free_inode(self) -> None:
        """A file has gone."""
        self.files -= 1
