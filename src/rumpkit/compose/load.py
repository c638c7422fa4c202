"""TOML text to `Spec`: strict, with a line and a suggestion for every mistake."""

import os
import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from .check import check, check_runs
from .errors import ConfigError, suggest
from .locate import KeyPath, dotted, line_of, path_of, placed
from .spec import KernelSpec, Spec
from .storage import complete

MAX_CONFIG_BYTES = 1 << 20

Kind = TypeVar("Kind")


def load(path: str | Path) -> Spec:
    """Read a config file and check its shape.  Raises ConfigError naming file, line, key and remedy."""
    return parse(read_text(path), str(path))


def load_checked(path: str | Path) -> Spec:
    """As `load`, and check the values too (`compose.check`).  Host paths are absolute then.  Of one kernel: raises ConfigError for a
    file of several."""
    kernels = load_kernels(path)
    if list(kernels) != [""]:
        raise ConfigError(f"has several kernels: {', '.join(kernels)}", file=str(path), hint="one is wanted here")
    return kernels[""]


def load_kernels(path: str | Path) -> dict[str, Spec]:
    """The kernels of a file by their names, in its order, checked as by `load_checked`; one without a name is called ""."""
    text, file = read_text(path), str(path)
    kernels = parse_kernels(text, file)
    for name, spec in kernels.items():
        check(spec, file, text, name)
        complete(os.path.dirname(path), spec)
    if list(kernels) != [""]:
        check_runs(kernels, file, text)
    return kernels


def parse_kernels(text: str, file: str = "<config>") -> dict[str, Spec]:
    """The specs in a TOML text by their kernels' names, values not checked yet.  Raises ConfigError."""
    kernels: dict[str, Spec] = {}
    for name, part in _parts(_toml(text, file), text, file).items():
        kernels[name] = _decode(part, Spec, text, file, name)
        if name and "hostname" not in part["kernel"]:
            kernels[name].kernel.hostname = name
    return kernels


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
        hint = f"a config is TOML; an image is run by: rump run --root {name}"
        raise ConfigError("is not UTF-8 text", file=name, line=line, hint=hint) from None


def parse(text: str, file: str = "<config>") -> Spec:
    """The spec in a TOML text; `file` is what errors call it.  Raises ConfigError."""
    return decode(text, Spec, file)


def decode(text: str, kind: type[Kind], file: str) -> Kind:
    """A TOML text as the dataclass `kind`, strictly.  Raises ConfigError."""
    return _decode(_toml(text, file), kind, text, file)


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise _syntax_error(failure, file) from None


def _decode(data: dict[str, Any], kind: type[Kind], text: str, file: str, kernel: str = "") -> Kind:
    _list_addresses(data)
    try:
        _refuse_unknown_keys(data, kind, ())
        return _convert(data, kind)
    except _Misplaced as problem:
        path = placed(problem.path, kernel)
        raise ConfigError(
            problem.text, key=dotted(path), hint=problem.hint, file=file, line=line_of(text, path)
        ) from None


def _parts(data: dict[str, Any], text: str, file: str) -> dict[str, dict[str, Any]]:
    """What a file says of each of its kernels, as if it were of that one alone.  It is of several where [kernel] has tables."""
    table = data.get("kernel")
    if not isinstance(table, dict) or not any(isinstance(value, dict) for value in table.values()):
        return {"": data}
    try:
        for key in data:
            if key not in ("kernel", "switch"):
                raise _Misplaced((key,), "is of no kernel", f"write kernel.{next(iter(table))}.{key}")
        return {name: {**_part(name, value), "switch": data.get("switch", [])} for name, value in table.items()}
    except _Misplaced as problem:
        line = line_of(text, problem.path)
        raise ConfigError(problem.text, key=dotted(problem.path), hint=problem.hint, file=file, line=line) from None


def _part(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Misplaced(("kernel", name), "stands beside named kernels", "give it to one of them")
    if not name.replace("-", "").replace("_", "").isalnum():
        raise _Misplaced(("kernel", name), f"{name!r} is not a kernel's name", "letters, digits, - and _")
    own = [one.name for one in fields(KernelSpec)]
    known = [*own, *(one.name for one in fields(Spec) if one.name not in ("kernel", "switch"))]
    for key in value:
        if key not in known:
            raise _Misplaced(("kernel", name, key), "unknown key", suggest(key, known))
    part = {key: one for key, one in value.items() if key not in own}
    part["kernel"] = {key: one for key, one in value.items() if key in own}
    return part


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
    kind = next((one for one in get_args(kind) if is_dataclass(one)), kind) if isinstance(data, dict) else kind
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
        path = path_of(place)
        if path == ("sysctl",):
            path += tuple(name for name, value in data["sysctl"].items() if type(value) is not int)[:1]
        hint = ""
        if text == "Expected `array`, got `object`" and len(path) == 1:
            hint = f"write [[{path[0]}]]"
        elif text == "Expected `int`, got `object`" and path[0] == "sysctl":
            hint = "a sysctl's name has dots: put it in quotes"
        elif text == "Expected `array`, got `str`":
            hint = f"write {_as_list(data, path)}"
        raise _Misplaced(path, _in_words_of_toml(text), hint) from None


def _as_list(data: Any, path: KeyPath) -> str:
    """The text that stands at a path as it is written in an array: a command's words apart."""
    import json
    import shlex

    for part in path:
        data = data[part]
    try:
        words = shlex.split(data) if path[-1] == "command" else [data]
    except ValueError:  # a quote that doesn't end
        words = data.split()
    return json.dumps(words, ensure_ascii=False)


_WORDS = {"str": "a string", "int": "an integer", "bool": "true or false", "float": "a number", "array": "an array"}


def _in_words_of_toml(text: str) -> str:
    """msgspec's message, which speaks of Python's types and JSON's objects."""
    text = text.replace("Object missing required field", "lacks the key").replace("`object`", "a table")
    text = re.sub(r"`(str|int|bool|float|array)`", lambda match: _WORDS[match[1]], text)
    return text[:1].lower() + text[1:]


def located(problem: ConfigError, file: str | Path, kernel: str = "") -> ConfigError:
    """A mistake that was only found while booting the config in `file` (of its kernel of that name), with its place there."""
    if problem.file or not problem.key:
        return problem if problem.file else problem.at(str(file), 0)
    path = path_of(problem.key)
    if path[0] == "sysctl":  # whose names have dots
        path = ("sysctl", problem.key.partition(".")[2])
    path = placed(path, kernel)
    found = problem.at(str(file), line_of(read_text(file), path))
    found.key = dotted(path)
    return found
