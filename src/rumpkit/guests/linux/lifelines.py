"""Knowing when the program has closed the last descriptor of a socket, without holding one ourselves.

An epoll set keeps an entry for an open file after our own descriptor for it is closed, and Linux removes the entry when
the last descriptor anywhere is closed, however that happens: close, exit, a kill, the end of a message in flight.  Nothing is
told, but /proc/self/fdinfo lists the inodes that are left.  Looking there costs time in proportion to their
number, so it is done once for as many new sockets as there were entries, and when somebody needs to know.
"""

import select
from typing import Final, final

LOOK_AFTER: Final = 32
"""New sockets before it is worth looking."""


@final
class Lifelines:
    """A set of inodes of the program's sockets."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._info = f"/proc/self/fdinfo/{self._epoll.fileno()}"
        self._watched: set[int] = set()
        self._new = 0

    def watch(self, fd: int, inode: int) -> None:
        """Watch a socket; the caller closes its descriptor."""
        self._epoll.register(fd, 0)
        self._watched.add(inode)
        self._new += 1

    def forget(self, inode: int) -> None:
        """That one is closed, as we know already.  In any thread."""
        self._watched.discard(inode)

    def due(self) -> bool:
        """Whether so many were added since the last look that another is worth it."""
        return self._new > LOOK_AFTER and self._new > len(self._watched) // 2

    def closed(self) -> list[int]:
        """The inodes that the program has let go of since the last look; they are watched no more."""
        self._new = 0
        left: set[int] = set()
        with open(self._info, "rb") as info:
            for line in info:
                if line.startswith(b"tfd:"):
                    left.add(int(line[line.index(b"ino:") + 4 :].split(b" ", 1)[0], 16))
        gone = [inode for inode in list(self._watched) if inode not in left]
        self._watched.difference_update(gone)
        return gone

    def __len__(self) -> int:
        return len(self._watched)

    def close(self) -> None:
        """Watch nothing any more."""
        self._epoll.close()
