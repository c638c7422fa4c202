"""A [[run]]'s limits as numbers of Linux's (setrlimit(2)), for the program's process.

Between `spec` and `guests`.  Each holds for one process of the program, as Linux has it; only `processes` counts them all.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ..hyper.time import SECOND
from .errors import ConfigError
from .spec import LimitsSpec
from .values import parse_duration, parse_size

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


def resource_limits(spec: LimitsSpec | None) -> list[Limit]:
    """What to set.  Raises ConfigError for what `limit_tests` has not checked."""
    limits = []
    for key, (resource, parse) in _KEYS.items():
        value = None if spec is None else getattr(spec, key)
        if value is not None and value != "":
            number = parse(value)
            # A second more: Linux kills at once at the hard limit, and sends SIGXCPU at the soft one.
            limits.append((resource, number, number + (resource == RLIMIT_CPU)))
    return limits


def limit_tests(path: tuple[str | int, ...], spec: LimitsSpec) -> list[tuple[tuple[str | int, ...], Callable[[], Any]]]:
    """A check of each value, with the path of its key."""
    return [((*path, key), partial(resource_limits, LimitsSpec(**{key: getattr(spec, key)}))) for key in _KEYS]


def describe_limits(spec: LimitsSpec | None) -> str:
    """As the config has them, in a line."""
    pairs = [] if spec is None else [(key, getattr(spec, key)) for key in _KEYS]
    return ", ".join(f"{key} {value}" for key, value in pairs if value is not None and value != "")


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
