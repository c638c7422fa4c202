"""The states of a DHCP client and what leads from one to the next: RFC 2131's figure 5 as a table.

No kernel keeps a lease beyond its own life, so INIT-REBOOT, which is passed through at once, is where an interface with a lease comes
up again; PROBING stands between the ACK and BOUND, where the figure says "check that the address isn't in use" (RFC 5227).
"""

from typing import Final, NamedTuple

INIT: Final = "init"
SELECTING: Final = "selecting"
REQUESTING: Final = "requesting"
PROBING: Final = "probing"
BOUND: Final = "bound"
RENEWING: Final = "renewing"
REBINDING: Final = "rebinding"
REBOOTING: Final = "rebooting"

START: Final = "start"
OFFERED: Final = "offer"
ACKED: Final = "ack"
REFUSED: Final = "nak"
AGAIN: Final = "again"
"""The time to wait for an answer is over."""
GIVEN_UP: Final = "given up"
"""It was over once too often."""
CONFLICT: Final = "conflict"
"""Somebody else uses the address."""
CLEAR: Final = "clear"
"""Nobody answered for the address."""
T1: Final = "T1"
T2: Final = "T2"
EXPIRED: Final = "expired"
LINK_UP: Final = "link up"
"""The interface has come up again, perhaps on another network."""


class Step(NamedTuple):
    """What an event leads to: the next state and the client's method that does the rest."""

    state: str
    action: str


STEPS: Final[dict[tuple[str, str], Step]] = {
    (INIT, START): Step(SELECTING, "discover"),
    (INIT, LINK_UP): Step(SELECTING, "discover"),
    (SELECTING, LINK_UP): Step(SELECTING, "discover"),
    (REQUESTING, LINK_UP): Step(SELECTING, "discover"),
    (BOUND, LINK_UP): Step(REBOOTING, "reboot"),
    (RENEWING, LINK_UP): Step(REBOOTING, "reboot"),
    (REBINDING, LINK_UP): Step(REBOOTING, "reboot"),
    (REBOOTING, LINK_UP): Step(REBOOTING, "reboot"),
    (REBOOTING, AGAIN): Step(REBOOTING, "reboot_again"),
    (REBOOTING, ACKED): Step(BOUND, "extend"),
    (REBOOTING, REFUSED): Step(INIT, "lose"),
    (REBOOTING, EXPIRED): Step(INIT, "lose"),
    (REBOOTING, GIVEN_UP): Step(BOUND, "resume"),
    (REBOOTING, CONFLICT): Step(INIT, "lose_to_another"),
    (SELECTING, OFFERED): Step(REQUESTING, "request"),
    (SELECTING, AGAIN): Step(SELECTING, "discover_again"),
    (REQUESTING, ACKED): Step(PROBING, "probe"),
    (REQUESTING, REFUSED): Step(INIT, "restart"),
    (REQUESTING, AGAIN): Step(REQUESTING, "request_again"),
    (REQUESTING, GIVEN_UP): Step(INIT, "restart"),
    (PROBING, AGAIN): Step(PROBING, "probe_again"),
    (PROBING, CLEAR): Step(BOUND, "bind"),
    (PROBING, CONFLICT): Step(INIT, "decline"),
    (BOUND, T1): Step(RENEWING, "renew"),
    (BOUND, CONFLICT): Step(INIT, "lose_to_another"),
    (RENEWING, AGAIN): Step(RENEWING, "renew"),
    (RENEWING, ACKED): Step(BOUND, "extend"),
    (RENEWING, REFUSED): Step(INIT, "lose"),
    (RENEWING, T2): Step(REBINDING, "rebind"),
    (RENEWING, CONFLICT): Step(INIT, "lose_to_another"),
    (REBINDING, AGAIN): Step(REBINDING, "rebind"),
    (REBINDING, ACKED): Step(BOUND, "extend"),
    (REBINDING, REFUSED): Step(INIT, "lose"),
    (REBINDING, EXPIRED): Step(INIT, "lose"),
    (REBINDING, CONFLICT): Step(INIT, "lose_to_another"),
}
"""By state and event; what is not here changes nothing."""
