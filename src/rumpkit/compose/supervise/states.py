"""The states of a supervised program and what leads from one to the next, as a table; `machine` does what its actions say."""

from typing import Final

from ...hyper.named import NamedTuple

WAITING: Final = "waiting"
"""For the programs that it is to start after."""
STARTING: Final = "starting"
ABORTING: Final = "aborting"
"""Stopped before its start has succeeded."""
RUNNING: Final = "running"
"""And not known to be well: without a health check, or before it has passed for the first time."""
HEALTHY: Final = "healthy"
UNHEALTHY: Final = "unhealthy"
RENEWING: Final = "renewing"
"""Asked to end because it is unhealthy; it is started again then."""
STOPPING: Final = "stopping"
KILLING: Final = "killing"
BACKOFF: Final = "backoff"
"""Ended, and to be started again after a while."""
ENDED: Final = "ended"
SKIPPED: Final = "skipped"
"""Never started: what it waits for won't come."""

READY: Final = "ready"
"""What it is after is there."""
HOPELESS: Final = "hopeless"
"""What it is after will never be there."""
STARTED: Final = "started"
REFUSED: Final = "refused"
"""It can't be started."""
AGAIN: Final = "again"
"""It has ended, and its restart policy says that it is started again."""
OVER: Final = "over"
"""It has ended for good."""
PASSED: Final = "passed"
"""A health check has passed."""
SICK: Final = "sick"
"""Too many in a row have failed."""
RENEW: Final = "renew"
"""The same of a program that its policy restarts."""
ANEW: Final = "anew"
"""It is not running, and somebody wants it to."""
STOP: Final = "stop"
KILL: Final = "kill"
DUE: Final = "due"
"""The state's time is over."""

ALIVE: Final = (STARTING, ABORTING, RUNNING, HEALTHY, UNHEALTHY, RENEWING, STOPPING, KILLING)
"""States with a process, or with one on its way."""
UP: Final = (RUNNING, HEALTHY, UNHEALTHY)
FINAL: Final = (ENDED, SKIPPED)
ENDING: Final = (ABORTING, STOPPING, KILLING)
LEAVING: Final = (*ENDING, *FINAL)
"""States that need not be asked to end."""


class Step(NamedTuple):
    """What an event leads to: the next state, and the machine's method that does the rest ("": nothing)."""

    state: str
    action: str


STEPS: Final[dict[tuple[str, str], Step]] = {
    (WAITING, READY): Step(STARTING, "start"),
    (WAITING, HOPELESS): Step(SKIPPED, "give_up"),
    (WAITING, STOP): Step(SKIPPED, ""),
    (WAITING, KILL): Step(SKIPPED, ""),
    (STARTING, STARTED): Step(RUNNING, "watch"),
    (STARTING, REFUSED): Step(ENDED, ""),
    (STARTING, AGAIN): Step(BACKOFF, "back_off"),
    (STARTING, STOP): Step(ABORTING, ""),
    (STARTING, KILL): Step(ABORTING, ""),
    (ABORTING, STARTED): Step(STOPPING, "signal"),
    (ABORTING, REFUSED): Step(ENDED, ""),
    (ABORTING, KILL): Step(ABORTING, ""),
    (RUNNING, PASSED): Step(HEALTHY, ""),
    (RUNNING, SICK): Step(UNHEALTHY, "ail"),
    (RUNNING, RENEW): Step(RENEWING, "renew"),
    (RUNNING, AGAIN): Step(BACKOFF, "back_off"),
    (RUNNING, OVER): Step(ENDED, ""),
    (RUNNING, STOP): Step(STOPPING, "signal"),
    (RUNNING, KILL): Step(KILLING, "kill"),
    (HEALTHY, SICK): Step(UNHEALTHY, "ail"),
    (HEALTHY, RENEW): Step(RENEWING, "renew"),
    (HEALTHY, AGAIN): Step(BACKOFF, "back_off"),
    (HEALTHY, OVER): Step(ENDED, ""),
    (HEALTHY, STOP): Step(STOPPING, "signal"),
    (HEALTHY, KILL): Step(KILLING, "kill"),
    (UNHEALTHY, PASSED): Step(HEALTHY, ""),
    (UNHEALTHY, AGAIN): Step(BACKOFF, "back_off"),
    (UNHEALTHY, OVER): Step(ENDED, ""),
    (UNHEALTHY, STOP): Step(STOPPING, "signal"),
    (UNHEALTHY, KILL): Step(KILLING, "kill"),
    (RENEWING, DUE): Step(RENEWING, "kill"),
    (RENEWING, AGAIN): Step(BACKOFF, "back_off"),
    (RENEWING, OVER): Step(ENDED, ""),
    (RENEWING, STOP): Step(STOPPING, "signal"),
    (RENEWING, KILL): Step(KILLING, "kill"),
    (STOPPING, DUE): Step(KILLING, "kill"),
    (STOPPING, KILL): Step(KILLING, "kill"),
    (STOPPING, OVER): Step(ENDED, ""),
    (KILLING, OVER): Step(ENDED, ""),
    (BACKOFF, DUE): Step(STARTING, "start"),
    (BACKOFF, STOP): Step(ENDED, ""),
    (BACKOFF, KILL): Step(ENDED, ""),
    (ABORTING, ANEW): Step(WAITING, "renew_by_hand"),
    (STOPPING, ANEW): Step(WAITING, "renew_by_hand"),
    (KILLING, ANEW): Step(WAITING, "renew_by_hand"),
    (BACKOFF, ANEW): Step(WAITING, "renew_by_hand"),
    (ENDED, ANEW): Step(WAITING, "renew_by_hand"),
    (SKIPPED, ANEW): Step(WAITING, "renew_by_hand"),
}
"""What is not here changes nothing."""
