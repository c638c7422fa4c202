"""Patterns for the files of an image, as pathlib has them: *, ? and [...] within a name, ** for any directories."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from stat import S_ISDIR, S_ISLNK
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .path import ImagePath

ANY_DIRECTORIES = "**"


def glob(top: ImagePath, pattern: str) -> Iterator[ImagePath]:
    """The paths below `top` that match, each once.  Symbolic links are not followed by **.  Raises ValueError."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts or pattern.startswith("/") or ".." in parts:
        raise ValueError(f"unacceptable pattern: {pattern!r}")
    only_directories = pattern.endswith("/")
    seen: set[str] = set()
    for path in _select(top, parts):
        if str(path) not in seen and not (only_directories and not path.is_dir()):
            seen.add(str(path))
            yield path


def _select(directory: ImagePath, parts: list[str]) -> Iterator[ImagePath]:
    part, rest = parts[0], parts[1:]
    if part == ANY_DIRECTORIES:
        if rest:
            yield from _select(directory, rest)
        else:
            yield directory
        for name, kind in _entries(directory):
            if S_ISDIR(kind):
                yield from _select(directory / name, parts)
        return
    if not any(letter in part for letter in "*?["):
        path = directory / part
        if path.exists(follow_symlinks=bool(rest)):
            yield from _select(path, rest) if rest else (path,)
        return
    for name, kind in _entries(directory):
        if fnmatchcase(name, part):
            if not rest:
                yield directory / name
            elif S_ISDIR(kind) or S_ISLNK(kind):
                yield from _select(directory / name, rest)


def _entries(directory: ImagePath) -> list[tuple[str, int]]:
    """What is in a directory, sorted; nothing where it is none."""
    try:
        return sorted(directory._entries())
    except NotADirectoryError:
        return []
    except FileNotFoundError:
        return []
