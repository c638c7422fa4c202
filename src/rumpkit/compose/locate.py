"""Where a key stands in a TOML text: tomllib gives values without lines, and an error should name one."""

import re
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Such as ("interface", 0, "link")."""

# Compiled when they are first asked for, by a config that is wrong.
_TABLE = r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$"
_ARRAY_TABLE = r"^\s*\[\[\s*([^\[\]]+?)\s*\]\]\s*(#.*)?$"
_KEY = r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
_PART = r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'"""


def line_of(text: str, path: KeyPath) -> int:
    """The line (from 1) of the key at `path`, of the nearest thing around it, or 0.

    Good for files as people write them; keys inside inline tables resolve to the line of the table.
    """
    places = _places(text)
    for length in range(len(path), 0, -1):
        line = places.get(tuple(path[:length]))
        if line is not None:
            return line
    return 0


def _places(text: str) -> dict[KeyPath, int]:
    places: dict[KeyPath, int] = {}
    counts: dict[tuple[str, ...], int] = {}
    prefix: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(_ARRAY_TABLE, line):
            names = _names(match[1])
            index = counts.get(names, -1) + 1
            counts[names] = index
            prefix = (*names, index)
            places.setdefault(names, number)
            places[prefix] = number
        elif match := re.match(_TABLE, line):
            prefix = _names(match[1])
            places.setdefault(prefix, number)
        elif match := re.match(_KEY, line):
            places.setdefault((*prefix, *_names(match[1])), number)
    return places


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, text))


def dotted(path: KeyPath) -> str:
    """`("interface", 0, "link")` as `interface[0].link`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def path_of(place: str) -> KeyPath:
    """`interface[0].link` as a key path, and msgspec's `$.interface[0].link`."""
    place = place.removeprefix("$")
    parts = re.findall(r"\.([^.\[\]`]+)|\[(\d+)\]", place if place.startswith((".", "[")) else f".{place}")
    return tuple(name if name else int(index) for name, index in parts)


def placed(path: KeyPath, kernel: str) -> KeyPath:
    """Where a key of one kernel stands in a file of several; `kernel` "" is the only one."""
    if not kernel or path[:1] in ((), ("switch",)):
        return path
    return ("kernel", kernel, *(path[1:] if path[0] == "kernel" else path))
