"""A [[run]] with its values parsed: what the machine and the conductor work with."""

import signal
from collections.abc import Iterator, Sequence
from typing import Final

from ...hyper.named import NamedTuple
from ...hyper.time import Duration
from ..errors import ConfigError, suggest
from ..record import dataclass, field
from ..spec import HealthSpec, RunSpec
from ..values import parse_duration

ANY: Final = ""
"""Of `after`: healthy where there is a health check, else started."""
STARTED: Final = "started"
HEALTHY: Final = "healthy"
ENDED: Final = "ended"
CONDITIONS: Final = (STARTED, HEALTHY, ENDED)

NEVER: Final = "no"
ON_FAILURE: Final = "on-failure"
ALWAYS: Final = "always"
POLICIES: Final = (NEVER, ON_FAILURE, ALWAYS)


class After(NamedTuple):
    """One thing to wait for: a program by its whole name, and what must have become of it."""

    program: str
    condition: str


@dataclass(slots=True)
class HealthPlan:
    """When to check and how often, in nanoseconds."""

    interval: Duration
    start_interval: Duration
    timeout: Duration
    retries: int
    start_period: Duration


@dataclass(slots=True)
class RunPlan:
    """One program."""

    name: str
    """Its whole name: KERNEL/PROGRAM where a file has several kernels."""
    spec: RunSpec
    kernel: str = ""
    after: list[After] = field(default_factory=list)
    pipe: str = ""
    """The whole name of the program that reads what this one writes."""
    main: bool = False
    background: bool = False
    restart: str = NEVER
    restart_limit: int = 0
    restart_delay: Duration = 0
    restart_delay_max: Duration = 0
    stop_signal: int = signal.SIGTERM
    stop_timeout: Duration = 0
    health: HealthPlan | None = None


class Placed(NamedTuple):
    """A [[run]] and whose it is."""

    kernel: str
    """"": of the only kernel."""
    spec: RunSpec


def program_names(runs: Sequence[RunSpec]) -> list[str]:
    """What the programs of one kernel are called: as they say, or after their commands, with a number behind it for a second one."""
    taken = {run.name for run in runs if run.name}
    names = []
    for run in runs:
        name = run.name
        if not name:
            base = (run.command[0] if run.command else "").rstrip("/").rpartition("/")[2] or "program"
            name = next(one for one in _numbered(base) if one not in taken)
            taken.add(name)
        names.append(name)
    return names


def _numbered(base: str) -> Iterator[str]:
    yield base
    number = 2
    while True:
        yield f"{base}-{number}"
        number += 1


def whole_name(kernel: str, name: str) -> str:
    """KERNEL/PROGRAM, or PROGRAM where there is one kernel only."""
    return f"{kernel}/{name}" if kernel else name


def parse_after(text: str, kernel: str) -> After:
    """ "NAME", "NAME:healthy", "KERNEL/NAME:ended".  Raises ConfigError."""
    name, colon, condition = text.partition(":")
    if colon and condition not in CONDITIONS:
        raise ConfigError(f"{text!r} waits for {condition!r}", hint=suggest(condition, CONDITIONS))
    return After(name if "/" in name else whole_name(kernel, name), condition)


def parse_signal(text: str) -> int:
    """ "SIGINT", "INT", "2", "SIGRTMIN+3".  Raises ConfigError."""
    word = text.upper().removeprefix("SIG")
    name, plus, more = word.partition("+")
    number = int(word) if _is_small(word) else getattr(signal.Signals.__members__.get(f"SIG{name}"), "value", 0)
    if plus:
        number = number + int(more) if name == "RTMIN" and _is_small(more) else 0
    if number not in signal.valid_signals():
        names = [one.removeprefix("SIG") for one in signal.Signals.__members__]
        raise ConfigError(f"{text!r} is no signal", hint=suggest(word, names))
    return number


def _is_small(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 4


def plans(placed: Sequence[Placed]) -> list[RunPlan]:
    """The plans of checked programs, which stand in the order of the file, kernel by kernel.  Raises ConfigError."""
    made = []
    for kernel in dict.fromkeys(one.kernel for one in placed):
        specs = [one.spec for one in placed if one.kernel == kernel]
        for name, spec in zip(program_names(specs), specs, strict=True):
            made.append(_plan(whole_name(kernel, name), kernel, spec))
    return made


def _plan(name: str, kernel: str, spec: RunSpec) -> RunPlan:
    return RunPlan(
        name,
        spec,
        kernel,
        [parse_after(text, kernel) for text in spec.after],
        (spec.pipe if "/" in spec.pipe else whole_name(kernel, spec.pipe)) if spec.pipe else "",
        spec.main,
        spec.background,
        spec.restart,
        spec.restart_limit,
        parse_duration(spec.restart_delay),
        parse_duration(spec.restart_delay_max),
        parse_signal(spec.stop_signal) if spec.stop_signal else signal.SIGTERM,
        parse_duration(spec.stop_timeout),
        _health(spec.health) if spec.health is not None else None,
    )


def _health(spec: HealthSpec) -> HealthPlan:
    return HealthPlan(
        parse_duration(spec.interval),
        parse_duration(spec.start_interval),
        parse_duration(spec.timeout),
        spec.retries,
        parse_duration(spec.start_period),
    )
