"""How a FUSE server waits for the next request: asleep, or for a moment awake while a program is busy with the mount.

Below `server`.  A program that makes files one after the other waits for each of its requests, and so do we for the next: both threads
fall asleep and are woken three times a file.  Where that lets a processor fall asleep, too, being woken takes longer than the answer.
So who has been asked in quick succession looks for the next request for a moment before it sleeps.  That moment is so short, and so
soon given up where nothing comes, that it costs an idle mount nothing and a busy machine next to nothing.
"""

import os
import select
from time import monotonic_ns
from typing import Final, final

AWAKE: Final = 100_000
"""Nanoseconds that we stay awake for a request at most: twice to four times what it takes to be woken."""
SOON: Final = 200_000
"""A wait up to this many nanoseconds was a short one."""
ENOUGH: Final = 4
"""So many short waits in a row make it likely that the next is short, too."""


@final
class Waiting:
    """The waits of one thread."""

    def __init__(self, poll: select.poll) -> None:
        """For whatever is registered with `poll`."""
        self._poll = poll.poll
        self._short: int = 0
        """Short waits in a row."""
        # On the only processor the program could not even ask while we look.
        self._alone: bool = len(os.sched_getaffinity(0)) < 2

    def wait(self) -> None:
        """Return when there is something.  Off the schedule."""
        poll = self._poll
        since = monotonic_ns()
        if self._short >= ENOUGH:
            until = since + AWAKE
            while not poll(0):
                os.sched_yield()
                if monotonic_ns() >= until:
                    # In vain: the next waits have to be short again before it is tried again.
                    self._short = 0
                    poll()
                    return
            return
        poll()
        if monotonic_ns() - since <= SOON and not self._alone:
            self._short += 1
        else:
            self._short = 0
