"""The TCP state machine, as data.

`TRANSITIONS` is RFC 9293 figure 5 row by row; nothing else in this package changes a connection's state
(`ControlBlock.enter` looks the next one up).  Two things that the figure leaves to its notes:

- An arrow with two labels, such as "rcv FIN, snd ACK", is named by what happens first; what is sent follows from the state.
- A segment that acknowledges our FIN and carries the peer's takes two arrows (FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT; note 3).

Where the RFC lets CLOSE wait for data that is still to be sent, the state changes at once and the FIN follows the data; in
SYN-RECEIVED the call itself waits for ESTABLISHED.  RESET stands for all that ends a connection at once: RST either way,
ABORT, time-outs and hard errors.

The numbers are those that Linux shows in `struct tcp_info`.
"""

from typing import Final

ESTABLISHED: Final = 1
SYN_SENT: Final = 2
SYN_RECEIVED: Final = 3
FIN_WAIT_1: Final = 4
FIN_WAIT_2: Final = 5
TIME_WAIT: Final = 6
CLOSED: Final = 7
CLOSE_WAIT: Final = 8
LAST_ACK: Final = 9
LISTEN: Final = 10
CLOSING: Final = 11

STATE_NAMES: Final[tuple[str, ...]] = (
    "", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT",
    "LAST-ACK", "LISTEN", "CLOSING",
)  # fmt: skip

PASSIVE_OPEN: Final = 0
ACTIVE_OPEN: Final = 1
CLOSE: Final = 2
SYN: Final = 3
SYN_ACK: Final = 4
ACK_OF_SYN: Final = 5
FIN: Final = 6
ACK_OF_FIN: Final = 7
TIMEOUT: Final = 8
RESET: Final = 9

EVENT_NAMES: Final[tuple[str, ...]] = (
    "passive OPEN", "active OPEN", "CLOSE", "rcv SYN", "rcv SYN,ACK", "rcv ACK of SYN", "rcv FIN", "rcv ACK of FIN",
    "timeout", "reset",
)  # fmt: skip

TRANSITIONS: Final[tuple[tuple[int, int, int], ...]] = (
    # state        event         next state
    (CLOSED,       PASSIVE_OPEN, LISTEN),
    (CLOSED,       ACTIVE_OPEN,  SYN_SENT),
    (LISTEN,       SYN,          SYN_RECEIVED),
    (LISTEN,       CLOSE,        CLOSED),
    (SYN_SENT,     SYN,          SYN_RECEIVED),
    (SYN_SENT,     SYN_ACK,      ESTABLISHED),
    (SYN_SENT,     CLOSE,        CLOSED),
    (SYN_SENT,     RESET,        CLOSED),
    (SYN_RECEIVED, ACK_OF_SYN,   ESTABLISHED),
    (SYN_RECEIVED, RESET,        CLOSED),
    (ESTABLISHED,  CLOSE,        FIN_WAIT_1),
    (ESTABLISHED,  FIN,          CLOSE_WAIT),
    (ESTABLISHED,  RESET,        CLOSED),
    (FIN_WAIT_1,   ACK_OF_FIN,   FIN_WAIT_2),
    (FIN_WAIT_1,   FIN,          CLOSING),
    (FIN_WAIT_1,   RESET,        CLOSED),
    (FIN_WAIT_2,   FIN,          TIME_WAIT),
    (FIN_WAIT_2,   TIMEOUT,      CLOSED),
    (FIN_WAIT_2,   RESET,        CLOSED),
    (CLOSE_WAIT,   CLOSE,        LAST_ACK),
    (CLOSE_WAIT,   RESET,        CLOSED),
    (CLOSING,      ACK_OF_FIN,   TIME_WAIT),
    (CLOSING,      RESET,        CLOSED),
    (LAST_ACK,     ACK_OF_FIN,   CLOSED),
    (LAST_ACK,     RESET,        CLOSED),
    (TIME_WAIT,    TIMEOUT,      CLOSED),
    (TIME_WAIT,    RESET,        CLOSED),
)  # fmt: skip

_EVENTS: Final = len(EVENT_NAMES)


def _index() -> list[int]:
    table = [0] * (len(STATE_NAMES) * _EVENTS)
    for state, event, following in TRANSITIONS:
        table[state * _EVENTS + event] = following
    return table


_NEXT: Final = _index()


def next_state(state: int, event: int) -> int:
    """The state that `event` leads to.  Raises AssertionError where the table has no such arrow."""
    following = _NEXT[state * _EVENTS + event]
    if following == 0:
        raise AssertionError(f"{EVENT_NAMES[event]} in {STATE_NAMES[state]}")
    return following


def has_transition(state: int, event: int) -> bool:
    """Whether the table has an arrow for `event` out of `state`."""
    return _NEXT[state * _EVENTS + event] != 0


def diagram() -> str:
    """The table as a Mermaid state diagram, for the docs; the arrows of RESET, which all end in CLOSED, are left out."""
    lines = [
        f"  {_identifier(state)} --> {_identifier(following)}: {EVENT_NAMES[event]}"
        for state, event, following in TRANSITIONS
        if event != RESET
    ]
    return "\n".join(["stateDiagram-v2", *lines]) + "\n"


def _identifier(state: int) -> str:
    return STATE_NAMES[state].replace("-", "_")
