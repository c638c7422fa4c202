"""A [[run]]'s limits as Linux has them: files of a control group, for all of a program (`guests.linux.cgroups`), and numbers for each
of its processes (setrlimit(2)).

Between `spec` and `guests`.
"""

import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..hyper.time import SECOND
from .errors import ConfigError
from .record import dataclass, field
from .spec import LimitsSpec
from .values import parse_duration, parse_size

if TYPE_CHECKING:
    from ..guests.linux.cgroups import Group

RLIMIT_CPU: Final = 0
RLIMIT_FSIZE: Final = 1
RLIMIT_DATA: Final = 2
RLIMIT_CORE: Final = 4
RLIMIT_NPROC: Final = 6
RLIMIT_NOFILE: Final = 7
MOST: Final = (1 << 63) - 1
LEAST_FILES: Final = 16
LEAST_MEMORY: Final = 1 << 20
"""Less doesn't load a C library."""

Limit = tuple[int, int, int]
"""A resource, its soft and its hard limit."""


@dataclass()
class Allowance:
    """What a program gets: of `resources` each process, of `group` all of it."""

    resources: list[Limit] = field(default_factory=list)
    group: "Group | None" = None
    processors: int = 0
    """So many processors instead of a part of their time; 0: all."""
    notes: list[str] = field(default_factory=list)
    """What this machine keeps otherwise than the config says."""


def allow(spec: LimitsSpec | None, name: str = "program") -> Allowance:
    """What a program with these limits gets on this machine; the group is called after it.  Raises ConfigError, OSError."""
    found = Allowance()
    if spec is None:
        return found
    numbers = limit_numbers(spec)
    wanted = {key: files(numbers[key]) for key, files in _GROUP_KEYS.items() if key in numbers}
    if not wanted:
        found.resources = resource_limits(spec)
        return found
    from ..guests.linux.cgroups import GROUPS, Unavailable

    try:
        found.group = GROUPS.make(name, {file: text for files in wanted.values() for file, text in files.items()})
    except Unavailable as problem:
        if spec.strict:
            raise ConfigError(f"this machine gives no control group to us: {problem}", key="limits.strict") from None
        found.resources = resource_limits(spec)
        if "cpus" in wanted:
            found.processors = math.ceil(numbers["cpus"])
        why = [f"this machine gives no control group to us ({problem})"] + ["no control group for it, either"] * len(
            wanted
        )
        found.notes = [f"{key}: {said}; {_instead(key, found)}" for key, said in zip(wanted, why, strict=False)]
    else:
        found.resources = resource_limits(spec, wanted)
    return found


def limit_numbers(spec: LimitsSpec | None) -> dict[str, float]:
    """Those that are set: bytes, seconds, processors, counts.  Raises ConfigError."""
    given = {} if spec is None else {key: getattr(spec, key) for key in ALL_KEYS}
    return {key: PARSERS[key](value) for key, value in given.items() if value is not None and value != ""}


def why_killed(spec: LimitsSpec | None) -> str:
    """What is said of a program that Linux has ended for its memory."""
    return f"was killed: it reached memory = {'' if spec is None else spec.memory}"


def limits_from(given: Mapping[str, Any]) -> LimitsSpec:
    """Limits by names, as on a command line: {"files": "64", "memory": "1G"}.  Raises ConfigError."""
    from .errors import suggest

    spec = LimitsSpec()
    for key, value in given.items():
        if value is None:
            continue
        if key not in ALL_KEYS and key != "strict":
            raise ConfigError(f"there is no limit {key!r}", hint=suggest(key, ALL_KEYS))
        try:
            setattr(spec, key, _TYPES.get(key, str)(value))
        except (ValueError, TypeError):
            raise ConfigError(f"{value!r} is not a number", key=key) from None
    for place, test in limit_tests((), spec):
        try:
            test()
        except ConfigError as problem:
            raise ConfigError(problem.message, key=str(place[0]), hint=problem.hint) from None
    return spec


def _instead(key: str, found: Allowance) -> str:
    if key != "cpus":
        return {"memory": "RLIMIT_DATA", "processes": "RLIMIT_NPROC"}[key] + " is used instead"
    there = len(os.sched_getaffinity(0))
    if found.processors >= there:
        return "nothing limits it"
    return f"it is started on {found.processors} of {there} processors instead"


def resource_limits(spec: LimitsSpec | None, without: Mapping[str, Any] | None = None) -> list[Limit]:
    """What to set of each process.  Raises ConfigError for what `limit_tests` has not checked."""
    limits = []
    for key, (resource, parse) in _KEYS.items():
        value = None if spec is None or key in (without or ()) else getattr(spec, key)
        if value is not None and value != "":
            number = parse(value)
            # A second more: Linux kills at once at the hard limit, and sends SIGXCPU at the soft one.
            limits.append((resource, number, number + (resource == RLIMIT_CPU)))
    return limits


def limit_tests(path: tuple[str | int, ...], spec: LimitsSpec) -> list[tuple[tuple[str | int, ...], Callable[[], Any]]]:
    """A check of each value, with the path of its key."""
    given = [(key, getattr(spec, key)) for key in ALL_KEYS]
    return [((*path, key), partial(PARSERS[key], value)) for key, value in given if value is not None and value != ""]


def describe_limits(spec: LimitsSpec | None) -> str:
    """As the config has them, in a line."""
    pairs = [] if spec is None else [(key, getattr(spec, key)) for key in ALL_KEYS]
    text = ", ".join(f"{key} {value}" for key, value in pairs if value is not None and value != "")
    return f"{text}, strict" if text and spec is not None and spec.strict else text


def _count(least: int, number: int) -> int:
    if not least <= number <= MOST:
        raise ConfigError(f"{number} is not within {least} to {MOST}")
    return number


def _size(least: int, text: str) -> int:
    number = parse_size(text)
    if not least <= number <= MOST:
        raise ConfigError(f"{text!r} is not within {least} to {MOST} bytes")
    return number


def _seconds(text: str) -> int:
    number = -(-parse_duration(text) // SECOND)
    if not 1 <= number < MOST:
        raise ConfigError(f"{text!r} is too short", hint='at least "1s"')
    return number


_KEYS: Final[dict[str, tuple[int, Callable[[Any], int]]]] = {
    "files": (RLIMIT_NOFILE, partial(_count, LEAST_FILES)),
    "processes": (RLIMIT_NPROC, partial(_count, 1)),
    "memory": (RLIMIT_DATA, partial(_size, LEAST_MEMORY)),
    "cpu_time": (RLIMIT_CPU, _seconds),
    "file_size": (RLIMIT_FSIZE, partial(_size, 0)),
    "core": (RLIMIT_CORE, partial(_size, 0)),
}
"""Key, resource and how to read its value."""

PERIOD: Final = 100_000
"""Microseconds in which a program has its part of the processors' time."""
LEAST_CPUS: Final = 0.01
MOST_CPUS: Final = 4096.0


def _processors(number: float) -> float:
    if not LEAST_CPUS <= number <= MOST_CPUS:
        raise ConfigError(f"{number} is not within {LEAST_CPUS} to {MOST_CPUS:g} processors")
    return number


PARSERS: Final[dict[str, Callable[[Any], float]]] = {
    "files": _KEYS["files"][1],
    "processes": _KEYS["processes"][1],
    "memory": _KEYS["memory"][1],
    "cpus": _processors,
    "cpu_time": _KEYS["cpu_time"][1],
    "file_size": _KEYS["file_size"][1],
    "core": _KEYS["core"][1],
}
ALL_KEYS: Final = tuple(PARSERS)
_TYPES: Final[dict[str, Callable[[Any], Any]]] = {
    "files": int,
    "processes": int,
    "cpus": float,
    "strict": lambda given: given in (True, "true"),
}
_GROUP_KEYS: Final[dict[str, Callable[[float], dict[str, str]]]] = {
    "memory": lambda size: {"memory.max": f"{size:.0f}", "memory.swap.max": "0", "memory.oom.group": "1"},
    "processes": lambda number: {"pids.max": f"{number:.0f}"},
    "cpus": lambda number: {"cpu.max": f"{number * PERIOD:.0f} {PERIOD}"},
}
"""What a control group can keep, and what is to be written to its files (Linux's Documentation/admin-guide/cgroup-v2.rst)."""
