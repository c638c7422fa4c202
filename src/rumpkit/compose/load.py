"""TOML text to `Spec`: strict, with a line and a suggestion for every mistake."""

import os
import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from .check import check
from .errors import ConfigError, suggest
from .locate import KeyPath, dotted, line_of
from .spec import Spec
from .storage import complete

MAX_CONFIG_BYTES = 1 << 20

Kind = TypeVar("Kind")


def load(path: str | Path) -> Spec:
    """Read a config file and check its shape.  Raises ConfigError naming file, line, key and remedy."""
    return parse(read_text(path), str(path))


def load_checked(path: str | Path) -> Spec:
    """As `load`, and check the values too (`compose.check`).  Host paths are absolute then."""
    text = read_text(path)
    spec = parse(text, str(path))
    check(spec, str(path), text)
    complete(os.path.dirname(path), spec)
    return spec


def read_text(path: str | Path) -> str:
    """A config file's text.  Raises ConfigError."""
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
    return decode(text, Spec, file)


def decode(text: str, kind: type[Kind], file: str) -> Kind:
    """A TOML text as the dataclass `kind`, strictly.  Raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise _syntax_error(failure, file) from None
    _list_addresses(data)
    try:
        _refuse_unknown_keys(data, kind, ())
        return _convert(data, kind)
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


def _list_addresses(data: dict[str, Any]) -> None:
    """`address = "dhcp"` is short for `address = ["dhcp"]`."""
    interfaces = data.get("interface")
    for interface in interfaces if isinstance(interfaces, list) else ():
        if isinstance(interface, dict) and isinstance(interface.get("address"), str):
            interface["address"] = [interface["address"]]


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


def _convert(data: dict[str, Any], kind: type[Kind]) -> Kind:
    import msgspec

    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as failure:
        text, _, place = str(failure).partition(" - at `")
        path = _path_of(place)
        if path == ("sysctl",):
            path += tuple(name for name, value in data["sysctl"].items() if type(value) is not int)[:1]
        hint = ""
        if text == "Expected `array`, got `object`" and len(path) == 1:
            hint = f"write [[{path[0]}]]"
        elif text == "Expected `int`, got `object`" and path[0] == "sysctl":
            hint = "a sysctl's name has dots: put it in quotes"
        raise _Misplaced(path, _in_words_of_toml(text), hint) from None


_WORDS = {"str": "a string", "int": "an integer", "bool": "true or false", "float": "a number", "array": "an array"}


def _in_words_of_toml(text: str) -> str:
    """msgspec's message, which speaks of Python's types and JSON's objects."""
    text = text.replace("Object missing required field", "lacks the key").replace("`object`", "a table")
    text = re.sub(r"`(str|int|bool|float|array)`", lambda match: _WORDS[match[1]], text)
    return text[:1].lower() + text[1:]


def located(problem: ConfigError, file: str | Path) -> ConfigError:
    """A mistake that was only found while booting the config in `file`, with its place there."""
    if problem.file or not problem.key:
        return problem if problem.file else problem.at(str(file), 0)
    path = _path_of(f".{problem.key}")
    if path[0] == "sysctl":  # whose names have dots
        path = ("sysctl", problem.key.partition(".")[2])
    return problem.at(str(file), line_of(read_text(file), path))


def _path_of(place: str) -> KeyPath:
    """msgspec's `$.interface[0].link` as a key path."""
    parts = re.findall(r"\.([^.\[\]`]+)|\[(\d+)\]", place)
    return tuple(name if name else int(index) for name, index in parts)
