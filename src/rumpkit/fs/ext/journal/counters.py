"""What the journals of a kernel's mounts count, all together.  Apart from them, so that a kernel without such a mount loads none of it."""

from typing import final

from ....kern.counters import Counters


@final
class JournalCounters(Counters):
    """What journals did."""

    def __init__(self) -> None:
        self.commits: int = 0
        self.logged_blocks: int = 0
        self.revoked_blocks: int = 0
        self.checkpoints: int = 0
        self.aborts: int = 0

    def names(self) -> tuple[str, ...]:
        return ("commits", "logged_blocks", "revoked_blocks", "checkpoints", "aborts")
