"""What is wrong with a config: the file, the line, the key, and the way out."""

from collections.abc import Iterable


class ConfigError(ValueError):
    """A config that can't be used.  `str()` is one line fit for a terminal: `FILE:LINE: KEY: what is wrong (hint)`.

    `key` is a path such as `interface[0].link`; `hint` says what to write instead.
    """

    def __init__(self, message: str, *, key: str = "", hint: str = "", file: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.hint = hint
        self.file = file
        self.line = line

    def at(self, file: str, line: int) -> "ConfigError":
        """The same error with its place in a file."""
        return ConfigError(self.message, key=self.key, hint=self.hint, file=file, line=line)

    def under(self, key: str) -> "ConfigError":
        """The same error, found in what stands at `key`; one that names a key keeps it."""
        return self if self.key else ConfigError(self.message, key=key, hint=self.hint, file=self.file, line=self.line)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        key = f"{self.key}: " if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{key}{self.message}{hint}"


class ProgramError(OSError):
    """A program that can't be started; `errno` and `filename` say why and which."""

    key: str = ""
    """That of its command in a config."""
    place: str = ""
    """The same as a line begins with it: `FILE:LINE: KEY: `."""


def suggest(word: str, known: Iterable[str], shortlist: Iterable[str] = ()) -> str:
    """A hint for a word that isn't known: the nearest known one, else the whole list, or of a long one those of `shortlist`."""
    from difflib import get_close_matches

    words = sorted(known)
    close = get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    words = sorted(shortlist) or words
    return "known: " + ", ".join(words) if words else ""
