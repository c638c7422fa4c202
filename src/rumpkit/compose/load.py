"""TOML text to `Spec`: strict, with a line and a suggestion for every mistake."""

import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from .check import check
from .errors import ConfigError, suggest
from .locate import KeyPath, dotted, line_of
from .spec import Spec

MAX_CONFIG_BYTES = 1 << 20


def load(path: str | Path) -> Spec:
    """Read a config file and check its shape.  Raises ConfigError naming file, line, key and remedy."""
    return parse(_read(path), str(path))


def load_checked(path: str | Path) -> Spec:
    """As `load`, and check the values too (`compose.check`)."""
    text = _read(path)
    spec = parse(text, str(path))
    check(spec, str(path), text)
    return spec


def _read(path: str | Path) -> str:
    name = str(path)
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as failure:
        raise ConfigError(f"cannot be read: {failure.strerror}", file=name) from None
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"is larger than {MAX_CONFIG_BYTES} bytes", file=name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as failure:
        line = raw.count(b"\n", 0, failure.start) + 1
        raise ConfigError("is not UTF-8 text", file=name, line=line) from None


def parse(text: str, file: str = "<config>") -> Spec:
    """The spec in a TOML text; `file` is what errors call it.  Raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise _syntax_error(failure, file) from None
    try:
        _refuse_unknown_keys(data, Spec, ())
        return _convert(data)
    except _Misplaced as problem:
        line = line_of(text, problem.path)
        raise ConfigError(problem.text, key=dotted(problem.path), hint=problem.hint, file=file, line=line) from None


class _Misplaced(Exception):
    """A mistake at a key path, before its line is known."""

    def __init__(self, path: KeyPath, text: str, hint: str = "") -> None:
        self.path = path
        self.text = text
        self.hint = hint


def _syntax_error(failure: tomllib.TOMLDecodeError, file: str) -> ConfigError:
    text = str(failure)
    match = re.search(r"\(at line (\d+), column \d+\)", text)
    if match is None:
        return ConfigError(f"is not valid TOML: {text}", file=file)
    return ConfigError(f"is not valid TOML: {text[: match.start()].strip()}", file=file, line=int(match[1]))


def _refuse_unknown_keys(data: object, kind: Any, path: KeyPath) -> None:
    if is_dataclass(kind) and isinstance(data, dict):
        hints = get_type_hints(kind)
        known = [one.name for one in fields(kind)]
        for key, value in data.items():
            if key not in known:
                raise _Misplaced((*path, key), "unknown key", suggest(key, known))
            _refuse_unknown_keys(value, hints[key], (*path, key))
    elif isinstance(data, list) and get_args(kind):
        for index, value in enumerate(data):
            _refuse_unknown_keys(value, get_args(kind)[0], (*path, index))


def _convert(data: dict[str, Any]) -> Spec:
    import msgspec

    try:
        return msgspec.convert(data, Spec)
    except msgspec.ValidationError as failure:
        text, _, place = str(failure).partition(" - at `")
        raise _Misplaced(_path_of(place), text[:1].lower() + text[1:]) from None


def _path_of(place: str) -> KeyPath:
    """msgspec's `$.interface[0].link` as a key path."""
    parts = re.findall(r"\.([^.\[\]`]+)|\[(\d+)\]", place)
    return tuple(name if name else int(index) for name, index in parts)
