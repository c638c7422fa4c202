"""What loss recovery remembers of one connection: data only, made when something goes wrong for the first time.

Below `recovery` and `rack`, which say what becomes of it.
"""

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

OPEN: Final = 0
"""No loss is being made good."""
REDUCING: Final = 1
"""The network marked a packet (ECN): the window comes down, nothing is lost."""
FAST: Final = 2
"""Fast recovery: losses were found by acknowledgements."""
TIMEOUT: Final = 3
"""The retransmission timer went off, and not all that was in flight then is acknowledged."""


@final
@mypyc_attr(acyclic=True)
class Episode:
    """The present or last loss episode, and what its like have taught."""

    def __init__(self) -> None:
        self.phase: i64 = OPEN
        self.retransmits: i64 = 0
        """Segments sent again since the connection was opened."""

        # Proportional rate reduction (RFC 6937)
        self.delivered: i64 = 0
        """prr_delivered."""
        self.out: i64 = 0
        """prr_out."""
        self.flight: i64 = 0
        """RecoverFS."""

        # Undoing what a spurious retransmission did
        self.prior_window: i64 = 0
        """cwnd before the episode; 0 if there is nothing to undo."""
        self.prior_threshold: i64 = 0
        self.undo_clock: i64 = -1
        """The timestamp clock at the first retransmission of the episode (RFC 3522); -1 before it."""
        self.undo_bytes: i64 = 0
        """Bytes sent again in the episode that the peer hasn't reported as duplicates (RFC 3708)."""

        self.forward: i64 = 0
        """F-RTO (RFC 5682): the step that the next acknowledgement is looked at in, 2 or 3; 0 when it is over."""
        self.forward_at: i64 = 0
        """When the timer went off that it is about."""

        # RACK's reordering window (RFC 8985 section 6.2 step 4)
        self.reorder_multiplier: i64 = 1
        self.reorder_persist: i64 = 0
        """Recoveries until the multiplier is 1 again."""
        self.duplicate_round: i64 = -1
        """D-SACK before this is acknowledged counts for the round that is known; -1 for none."""

        # The tail loss probe (RFC 8985 section 7)
        self.probe_end: i64 = -1
        """TLP.end_seq: a probe is out until this is acknowledged; -1 if none is."""
        self.probe_resent: bool = False
        """TLP.is_retrans."""
