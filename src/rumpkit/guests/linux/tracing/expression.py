"""Which calls and signals a trace shows: strace's `-e` expressions.  Between `decode.signatures`, which has the classes, and `calls`.

    [trace=]SET     calls: names, classes (%network or network), all, none; with ! in front, all but those
    signal=SET      signals: names with or without SIG, all, none

A SET is a list with commas.  Of several expressions of a kind, all are shown that one of them names.
"""

import signal
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple, TypeVar

from ..numbers import NUMBERS
from .decode.names import SIGNALS
from .decode.signatures import CLASSES

T = TypeVar("T")
_CALLS: Final = frozenset(name for table in NUMBERS.values() for name in table)
_ALL_SIGNALS: Final = frozenset(range(1, signal.NSIG))
DEFAULT: Final = "network"


class BadExpression(ValueError):
    """An expression that means nothing."""

    def __init__(self, message: str, word: str, known: Collection[str], shortlist: Collection[str] = ()) -> None:
        super().__init__(message)
        self.word = word
        """What of it."""
        self.known = known
        """What it might have been."""
        self.shortlist = shortlist
        """What of that people want to read, where that is too long."""


class Chosen(NamedTuple):
    """What is shown."""

    calls: frozenset[str]
    signals: frozenset[int]


def parse(expressions: Iterable[str], default: str = DEFAULT) -> Chosen:
    """What is chosen by all of `expressions`; signals: all, calls: `default`, unless one speaks of them.  Raises BadExpression."""
    calls: frozenset[str] | None = None
    signals: frozenset[int] | None = None
    for expression in expressions:
        key, equals, value = expression.partition("=")
        if not equals:
            key, value = "trace", expression
        if key in ("trace", "t"):
            calls = (calls or frozenset()) | _set(value, _named_calls, _CALLS)
        elif key in ("signal", "signals", "s"):
            signals = (signals or frozenset()) | _set(value, _named_signals, _ALL_SIGNALS)
        else:
            raise BadExpression(
                f"there is no expression {key!r}; there are trace= and signal=", key, ("trace", "signal")
            )
    if calls is None:
        calls = _named_calls(default)
    return Chosen(calls, _ALL_SIGNALS if signals is None else signals)


def _set(text: str, named: Callable[[str], frozenset[T]], every: frozenset[T]) -> frozenset[T]:
    negative = text.startswith("!")
    found: frozenset[T] = frozenset()
    for word in text.removeprefix("!").split(","):
        if word == "all":
            found |= every
        elif word != "none":
            found |= named(word)
    return every - found if negative else found


def _named_calls(word: str) -> frozenset[str]:
    bare = word.removeprefix("%")
    if bare in CLASSES:
        return CLASSES[bare]
    if word in _CALLS:
        return frozenset((word,))
    raise BadExpression(
        f"there is no system call or class {word!r}", word, [*CLASSES, *_CALLS], [*CLASSES, "all", "none"]
    )


def _named_signals(word: str) -> frozenset[int]:
    name = word.upper() if word.upper().startswith("SIG") else f"SIG{word.upper()}"
    found = [number for number, known in SIGNALS.items() if known == name]
    if not found:
        raise BadExpression(f"there is no signal {word!r}", name, list(SIGNALS.values()))
    return frozenset(found)
