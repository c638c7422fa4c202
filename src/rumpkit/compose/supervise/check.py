"""Checks of [[run]]: values, and what programs say of each other."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ...hyper.named import NamedTuple
from ..errors import ConfigError, suggest
from ..limits import limit_tests
from ..locate import KeyPath
from ..spec import HealthSpec, RunSpec
from ..values import parse_duration, parse_size
from .plan import ENDED, POLICIES, parse_after, parse_signal, program_names, whole_name
from .probes import parse_target

Test = tuple[KeyPath, Callable[[], Any]]
DURATIONS: Final = ("restart_delay", "restart_delay_max", "stop_timeout")
HEALTH_DURATIONS: Final = ("interval", "start_interval", "timeout", "start_period")
SHORTEST: Final = 10_000_000
"""Nanoseconds from one health check to the next, at least."""
MAX_NAME: Final = 64
KINDS: Final = ("inherit", "prefix", "log", "null", "stdout")
"""What an output may be but a file."""


class RunPlace(NamedTuple):
    """A [[run]], where it stands, and the kernel it is of ("": the only one)."""

    path: KeyPath
    kernel: str
    spec: RunSpec
    root: str = ""
    """Its kernel's root."""


def run_tests(places: Sequence[RunPlace]) -> list[Test]:
    """What is to be checked of all programs of a file."""
    known: dict[str, RunPlace] = {}
    tests: list[Test] = []
    for kernel in dict.fromkeys(one.kernel for one in places):
        own = [one for one in places if one.kernel == kernel]
        for name, place in zip(program_names([one.spec for one in own]), own, strict=True):
            tests.append(((*place.path, "name"), partial(_name, whole_name(kernel, name), place, known)))
    for place in places:
        tests += _value_tests(place)
    for place in places:
        for index, text in enumerate(place.spec.after):
            tests.append(((*place.path, "after", index), partial(_after, text, place, known)))
        if place.spec.pipe:
            tests.append(((*place.path, "pipe"), partial(_pipe, place, known)))
    tests.append(((), partial(_no_circle, known)))
    mains = [place for place in places if place.spec.main]
    for place in mains[1:]:
        tests.append(((*place.path, "main"), _one_main))
    return tests


def _value_tests(place: RunPlace) -> list[Test]:
    path, spec = place.path, place.spec
    tests: list[Test] = [((*path, "command"), lambda: _words(spec.command, spec.root or place.root))]
    tests.append(((*path, "restart"), lambda: _one_of(spec.restart, POLICIES)))
    tests.append(((*path, "restart_limit"), lambda: _count(spec.restart_limit, 0)))
    for index, name in enumerate(spec.allow):
        tests.append(((*path, "allow", index), partial(_system_call, name)))
    if spec.stop_signal:
        tests.append(((*path, "stop_signal"), lambda: parse_signal(spec.stop_signal)))
    tests.append(((*path, "log_limit"), lambda: parse_size(spec.log_limit)))
    for key in DURATIONS:
        tests.append(((*path, key), partial(parse_duration, getattr(spec, key))))
    tests.append(((*path, "background"), lambda: _not_both(spec)))
    for key in ("stdin", "stdout", "stderr"):
        tests.append(((*path, key), partial(_stream, key, getattr(spec, key))))
    if spec.limits is not None:
        tests += limit_tests((*path, "limits"), spec.limits)
    if spec.health is not None:
        tests += _health_tests((*path, "health"), spec.health)
    return tests


def _system_call(name: str) -> None:
    from ...guests.linux.fences import ALLOWED
    from ...guests.linux.filter import RULES
    from ...guests.linux.numbers import NUMBERS

    known = {name for numbers in NUMBERS.values() for name in numbers}
    if name not in known:
        raise ConfigError(f"{name!r} is no system call", hint=suggest(name, sorted(known)))
    if name in ALLOWED or name in dict(RULES):
        raise ConfigError(f"{name!r} can't be given: it is allowed already, or decided by its arguments")


def _health_tests(path: KeyPath, spec: HealthSpec) -> list[Test]:
    tests: list[Test] = [(path, lambda: _one_check(spec))]
    tests.append(((*path, "retries"), lambda: _count(spec.retries, 1)))
    for key in HEALTH_DURATIONS:
        tests.append(((*path, key), partial(_long_enough, key, getattr(spec, key))))
    if spec.port or spec.http:
        tests.append(((*path, "http" if spec.http else "port"), lambda: parse_target(spec.port, spec.http)))
    return tests


def _name(name: str, place: RunPlace, known: dict[str, RunPlace]) -> None:
    own = place.spec.name
    if own and (
        len(own) > MAX_NAME or own[0] == "-" or not own.replace("-", "").replace("_", "").replace(".", "").isalnum()
    ):
        raise ConfigError(f"{own!r} is not a name", hint=f"letters, digits, - _ and ., at most {MAX_NAME}")
    if name in known:
        raise ConfigError(f"there is another program {own!r}", hint="programs of one kernel have different names")
    known[name] = place


def _words(command: list[str], root: str = "/") -> None:
    if not command and root.strip("/"):
        return  # which may be a container image
    if not command or not command[0]:
        raise ConfigError("is empty", hint='write ["program", "argument"]')


def _one_of(text: str, words: Sequence[str]) -> None:
    if text not in words:
        raise ConfigError(f"{text!r} is none of {', '.join(map(repr, words))}", hint=suggest(text, words))


def _count(number: int, low: int) -> None:
    if number < low:
        raise ConfigError(f"{number} is less than {low}")


def _not_both(spec: RunSpec) -> None:
    if spec.main and spec.background:
        raise ConfigError("the run lasts as long as its main program", hint="leave main or background out")


def _stream(key: str, text: str) -> None:
    known = ("inherit", "null") if key == "stdin" else KINDS[:-1] if key == "stdout" else KINDS
    if text in KINDS and text not in known:
        raise ConfigError(f"{key} cannot be {text!r}", hint=f"{', '.join(map(repr, known))}, or a file")


def _one_check(spec: HealthSpec) -> None:
    if sum(map(bool, (spec.command, spec.port, spec.http))) != 1:
        raise ConfigError(
            "needs one check", hint='one of command = ["PROGRAM"], port = 80, http = "http://127.0.0.1:80/"'
        )


def _long_enough(key: str, text: str) -> None:
    if parse_duration(text) < SHORTEST and key != "start_period":
        raise ConfigError(f"{text!r} is too short", hint='at least "10ms"')


def _after(text: str, place: RunPlace, known: dict[str, RunPlace]) -> None:
    wanted = parse_after(text, place.kernel)
    other = known.get(wanted.program)
    if other is None:
        raise ConfigError(f"there is no program {wanted.program!r}", hint=suggest(wanted.program, known))
    if other.spec is place.spec:
        raise ConfigError("it can't wait for itself")
    if wanted.condition == "healthy" and other.spec.health is None:
        raise ConfigError(f"{wanted.program!r} has no health check", hint="give it one, such as health = { port = 80 }")


def _pipe(place: RunPlace, known: dict[str, RunPlace]) -> None:
    name = place.spec.pipe if "/" in place.spec.pipe else whole_name(place.kernel, place.spec.pipe)
    other = known.get(name)
    if other is None:
        raise ConfigError(f"there is no program {name!r}", hint=suggest(name, known))
    if other.spec is place.spec:
        raise ConfigError("it can't read what it writes itself")
    if place.spec.stdout:
        raise ConfigError(f"its output goes to {place.spec.stdout!r} already", hint="leave stdout or pipe out")
    if other.spec.stdin:
        raise ConfigError(f"{name!r} reads {other.spec.stdin!r} already", hint="leave its stdin out")
    for one in known.values():
        if one.spec is not place.spec and one.spec.pipe and known.get(_piped(one)) is other:
            raise ConfigError(f"{name!r} reads the output of another program already")
    for program, wait in ((other, place), (place, other)):
        if any(known.get(a.program) is wait and a.condition == ENDED for a in _waits(program)):
            raise ConfigError("one end of the pipe waits for the other one's end", hint="they run side by side")


def _piped(place: RunPlace) -> str:
    return place.spec.pipe if "/" in place.spec.pipe else whole_name(place.kernel, place.spec.pipe)


def _waits(place: RunPlace) -> list[Any]:
    return [parse_after(text, place.kernel) for text in place.spec.after]


def _no_circle(known: dict[str, RunPlace]) -> None:
    """Whoever can't come first because it waits for somebody who waits for it."""
    left = {name: {one.program for one in _waits(place)} for name, place in known.items()}
    while left:
        free = [name for name, waits in left.items() if not waits & left.keys()]
        if not free:
            name = next(iter(left))
            raise ConfigError(
                f"{', '.join(left)} wait for each other in a circle", key=_key(known[name].path), hint="look at `after`"
            )
        for name in free:
            del left[name]


def _key(path: KeyPath) -> str:
    from ..locate import dotted

    return dotted((*path, "after"))


def _one_main() -> None:
    raise ConfigError("there is a main program already", hint="one program's end ends the run")
