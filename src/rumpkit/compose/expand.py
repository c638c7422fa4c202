"""${here} and ${tmp} in the strings of a [[run]]: the config's folder, and a private one that lasts as long as the run."""

import os
import re

from .errors import ConfigError, suggest
from .record import replace
from .spec import RunSpec

WORDS = ("", "inherit", "prefix", "log", "null", "stdout")
"""What a program's input and outputs may be but a file."""
_VARIABLE = r"\$\{([^}]*)\}"


class Places:
    """The folders that the variables stand for; the private one is made when first asked for."""

    def __init__(self, here: "str | os.PathLike[str]") -> None:
        self.here = os.path.abspath(here)
        self._tmp = ""

    def get(self, name: str) -> str:
        """What `${name}` stands for.  Raises ConfigError."""
        if name == "here":
            return self.here
        if name == "tmp":
            if not self._tmp:
                import tempfile

                self._tmp = tempfile.mkdtemp(prefix="rump-")
            return self._tmp
        raise ConfigError(f"there is no variable ${{{name}}}", hint=suggest(name, ("here", "tmp")))

    @property
    def tmp(self) -> str:
        """The private folder, "" if nobody has asked for it."""
        return str(self._tmp) if self._tmp is not None else ""

    def close(self) -> None:
        """Remove the private folder and all that is in it."""
        if self._tmp:
            import shutil

            shutil.rmtree(self._tmp, ignore_errors=True)
            self._tmp = ""


def expand(text: str, places: Places) -> str:
    """`text` with its variables replaced.  Raises ConfigError for unknown ones."""
    if "${" not in text:
        return text
    return re.sub(_VARIABLE, lambda match: places.get(match[1]), text)


def expand_run(run: RunSpec, places: Places) -> RunSpec:
    """The program with all variables replaced, its folder and files relative to the config's, and its environment read.
    Raises ConfigError."""
    files = [run.env_file] if isinstance(run.env_file, str) else run.env_file
    env: dict[str, str] = {}
    for file in files:
        if file:
            env.update(read_environment(_path("env_file", file, places)))
    env.update({name: _expanded(f"env.{name}", value, places) for name, value in run.env.items()})
    return replace(
        run,
        command=_words("command", run.command, places),
        env=env,
        cwd=_path("cwd", run.cwd, places),
        writable=_shown("writable", run.writable, places),
        visible=_shown("visible", run.visible, places),
        hidden=_shown("hidden", run.hidden, places),
        health=run.health and replace(run.health, command=_words("health.command", run.health.command, places)),
        stdin=_stream("stdin", run.stdin, places),
        stdout=_stream("stdout", run.stdout, places),
        stderr=_stream("stderr", run.stderr, places),
    )


def _expanded(key: str, text: str, places: Places) -> str:
    try:
        return expand(text, places)
    except ConfigError as problem:
        raise problem.under(key) from None


def _words(key: str, words: list[str], places: Places) -> list[str]:
    return [_expanded(f"{key}[{index}]", word, places) for index, word in enumerate(words)]


def _path(key: str, text: str, places: Places) -> str:
    return os.path.join(places.here, _expanded(key, text, places)) if text else ""


def _shown(key: str, texts: list[str], places: Places) -> list[str]:
    from .roots import absolute

    return [absolute(str(places.here), text) for text in _words(key, texts, places)]


def _stream(key: str, text: str, places: Places) -> str:
    return text if text in WORDS else _path(key, text, places)


def read_environment(path: str) -> dict[str, str]:
    """Lines NAME=VALUE, of which empty ones and those that begin with # don't count; quotes around a value are taken off.
    Raises ConfigError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "is not UTF-8 text"
        raise ConfigError(f"{path} cannot be read: {reason}", key="env_file") from None
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ConfigError("is not NAME=VALUE", file=path, line=number)
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        values[name.strip()] = value
    return values
