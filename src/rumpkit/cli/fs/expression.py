"""The expression of `rump fs find`: tests, actions and what joins them, as find(1) has them.

Each part answers two questions: `holds`, of a file that is open, and `may`, of a name whose kind is all that is known.  The second
is None where only the file can tell; what can't hold, and does nothing, is not opened, which is most of the price.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, final

from .tests import CHEAP, Facts, Test

NEGATIONS: Final = ("!", "-not")
ANDS: Final = ("-a", "-and")
ORS: Final = ("-o", "-or")
NESTING_LIMIT: Final = 100
"""Parentheses and negations within each other."""


class Part(ABC):
    """A part of an expression."""

    acts: bool = False
    """It does something."""

    @abstractmethod
    def holds(self, facts: Facts) -> bool:
        """Whether it is true of a file; does what it does."""

    @abstractmethod
    def may(self, facts: Facts) -> bool | None:
        """The same of a name, as far as that can be told; does nothing."""


@final
class Asking(Part):
    """A test."""

    def __init__(self, test: Test, cheap: bool) -> None:
        self._test: Test = test
        self._cheap: bool = cheap

    def holds(self, facts: Facts) -> bool:
        """As the test says."""
        return self._test(facts)

    def may(self, facts: Facts) -> bool | None:
        """As the test says, if it asks for no more than a name."""
        return self._test(facts) if self._cheap else None


@final
class Doing(Part):
    """An action."""

    acts = True

    def __init__(self, action: Test) -> None:
        self._action: Test = action

    def holds(self, facts: Facts) -> bool:
        """Do it."""
        return self._action(facts)

    def may(self, facts: Facts) -> bool | None:
        """Nobody knows."""
        return None


@final
class Negated(Part):
    """Not a part."""

    def __init__(self, part: Part) -> None:
        self._part: Part = part
        self.acts = part.acts

    def holds(self, facts: Facts) -> bool:
        """The other way round."""
        return not self._part.holds(facts)

    def may(self, facts: Facts) -> bool | None:
        """The other way round, where it can be told."""
        found = self._part.may(facts)
        return None if found is None else not found


@final
class Joined(Part):
    """Parts of which all have to hold, or any; the first that settles it is the last that is asked."""

    def __init__(self, parts: list[Part], all_of_them: bool) -> None:
        self._parts: list[Part] = parts
        self._settles: bool = not all_of_them
        self.acts = any(part.acts for part in parts)

    def holds(self, facts: Facts) -> bool:
        """Ask one after the other."""
        if self._settles:
            return any(part.holds(facts) for part in self._parts)
        return all(part.holds(facts) for part in self._parts)

    def may(self, facts: Facts) -> bool | None:
        """What settles it does so though others can't be told, unless one of those does something."""
        unknown = False
        for part in self._parts:
            found = part.may(facts)
            if found is None:
                if part.acts:
                    return None
                unknown = True
            elif found == self._settles:
                return found
        return None if unknown else not self._settles


class Word(NamedTuple):
    """What a word of an expression stands for."""

    make: Callable[[str], Test]
    """Of its argument.  Raises ValueError, OSError."""
    takes: bool
    """It has one."""
    action: bool = False


class BadExpression(ValueError):
    """The words make no sense."""


@final
class Parser:
    """Reads one expression."""

    def __init__(self, words: Sequence[str], known: Mapping[str, Word], instead: Mapping[str, str]) -> None:
        """`instead` says, of words that are not known, what to do."""
        self._words: list[str] = list(reversed(words))
        self._known: Mapping[str, Word] = known
        self._instead: Mapping[str, str] = instead
        self._depth: int = 0

    def parse(self) -> Part:
        """All of it.  Raises BadExpression; and OSError, of a test's own."""
        if not self._words:
            return Joined([], True)
        found = self._any()
        if self._words:
            raise BadExpression(
                "a ) without its (" if self._words[-1] == ")" else f"what does {self._words[-1]} do here?"
            )
        return found

    def _any(self) -> Part:
        parts = [self._all()]
        while self._next_is(ORS):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Joined(parts, False)

    def _all(self) -> Part:
        parts = [self._one()]
        while self._words and self._words[-1] not in (*ORS, ")"):
            self._next_is(ANDS)
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Joined(parts, True)

    def _one(self) -> Part:
        if not self._words:
            raise BadExpression("something is missing at the end")
        word = self._words.pop()
        self._depth += 1
        if self._depth > NESTING_LIMIT:
            raise BadExpression(f"more than {NESTING_LIMIT} parts within each other")
        found: Part
        if word in NEGATIONS:
            found = Negated(self._one())
        elif word == "(":
            found = self._any()
            if not self._next_is((")",)):
                raise BadExpression("a ( without its )")
        else:
            found = self._primary(word)
        self._depth -= 1
        return found

    def _primary(self, word: str) -> Part:
        known = self._known.get(word)
        if known is None:
            if word in (*ORS, *ANDS, ")"):
                raise BadExpression(f"nothing stands before {word}")
            raise BadExpression(
                f"{word} {self._instead.get(word, 'is nothing that it knows (--help lists what there is)')}"
            )
        argument = ""
        if known.takes:
            if not self._words:
                raise BadExpression(f"{word} wants an argument")
            argument = self._words.pop()
        try:
            made = known.make(argument)
        except ValueError as problem:
            raise BadExpression(f"{word}: {problem}") from None
        return Doing(made) if known.action else Asking(made, word.lstrip("-") in CHEAP)

    def _next_is(self, words: tuple[str, ...]) -> bool:
        if not self._words or self._words[-1] not in words:
            return False
        self._words.pop()
        return True
