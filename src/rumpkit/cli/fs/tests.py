"""The tests of `rump fs find`: each is made of its argument, and is then asked of each file."""

import os
import re
import time
from collections.abc import Callable
from fnmatch import translate
from typing import Final, TypeAlias, final

from ...compose.image.manifest import LETTERS
from ...compose.image.node import Node
from ...compose.image.trees import Visit
from ...kern.abi.fcntl import S_IFDIR, S_IFLNK, S_IFREG
from ...vfs.stat import Stat
from .common import Session, parse


@final
class Facts:
    """A file that is asked about; its attributes are read when a test wants them."""

    def __init__(self, path: bytes, name: bytes, kind: int, visit: Visit | None = None) -> None:
        """Without a visit only the tests of CHEAP can ask."""
        self.path: bytes = path
        self.name: bytes = name
        self.kind: int = kind
        self._visit: Visit | None = visit
        self._status: Stat | None = None

    @property
    def visit(self) -> Visit:
        """Where the walk is."""
        assert self._visit is not None
        return self._visit

    @property
    def node(self) -> Node:
        """The file itself."""
        return self.visit.node

    def status(self) -> Stat:
        """Its attributes."""
        if self._status is None:
            self._status = self.node.stat()
        return self._status


Test: TypeAlias = Callable[[Facts], bool]
CHEAP: Final = ("name", "iname", "path", "wholename", "ipath", "iwholename", "regex", "iregex", "type", "true", "false")
"""Tests that a file need not be opened for."""
SIZES: Final = {"c": 1, "k": 1024, "M": 1 << 20, "G": 1 << 30}


def number(text: str) -> Callable[[int], bool]:
    """N, +N or -N.  Raises ValueError."""
    sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if not digits.isascii() or not digits.isdigit():
        raise ValueError(f"{text!r} is no number such as 5, +5 or -5")
    value = int(digits)
    if sign == "+":
        return lambda other: other > value
    if sign == "-":
        return lambda other: other < value
    return lambda other: other == value


def named(pattern: str, any_case: bool, whole: bool) -> Test:
    """The name, or the whole path in the image, matches a shell pattern."""
    match = re.compile(translate(pattern), re.IGNORECASE if any_case else 0).match
    if whole:
        return lambda facts: match(in_image(facts.path)) is not None
    return lambda facts: match(os.fsdecode(facts.name)) is not None


def in_image(path: bytes) -> str:
    """The path in the image, of an address; the host's and the shell's are as they are."""
    text = os.fsdecode(path)
    return text.partition(":")[2] or text


def matching(pattern: str, any_case: bool) -> Test:
    """The whole path in the image matches a regular expression.  Raises ValueError."""
    try:
        match = re.compile(pattern, re.IGNORECASE if any_case else 0).fullmatch
    except re.error as problem:
        raise ValueError(f"{pattern!r} is no regular expression: {problem}") from None
    return lambda facts: match(in_image(facts.path)) is not None


def pointing(pattern: str) -> Test:
    """A symbolic link, whose target matches a shell pattern."""
    match = re.compile(translate(pattern)).match
    return lambda facts: facts.node.kind == S_IFLNK and match(os.fsdecode(facts.node.readlink())) is not None


def typed(text: str) -> Test:
    """The kind is one of some letters.  Raises ValueError."""
    kinds = {letter: kind for kind, letter in LETTERS.items()}
    wanted = text.split(",") if "," in text else list(text)
    unknown = [letter for letter in wanted if letter not in kinds]
    if unknown or not wanted:
        raise ValueError(f"{text!r} is no list of the letters {', '.join(kinds)}")
    chosen = frozenset(kinds[letter] for letter in wanted)
    return lambda facts: facts.kind in chosen


def size(text: str) -> Test:
    """The size in a unit, rounded up.  Raises ValueError."""
    unit = SIZES.get(text[-1:])
    compare = number(text if unit is None else text[:-1])
    divisor = unit or 512
    return lambda facts: compare(-(-facts.status().st_size // divisor))


def timed(text: str, unit: int, time_of: Callable[[Stat], int]) -> Test:
    """One of its times was so many units of seconds ago.  Raises ValueError."""
    compare = number(text)
    now = time.time_ns()
    return lambda facts: compare((now - time_of(facts.status())) // (unit * 10**9))


def newer(session: Session, text: str) -> Test:
    """Modified after another file was.  Raises OSError."""
    limit = session.node(parse(text)).stat().st_mtime_ns
    return lambda facts: facts.status().st_mtime_ns > limit


def mode(text: str) -> Test:
    """The permissions: exactly, all of (-), any of (/).  Raises ValueError."""
    digits = text.lstrip("-/")
    if not re.fullmatch("[0-7]{1,4}", digits) or len(text) - len(digits) > 1:
        raise ValueError(f"{text!r} is no mode such as 644, -644 or /222")
    bits = int(digits, 8)
    if text[0] == "-":
        return lambda facts: facts.status().st_mode & bits == bits
    if text[0] == "/":
        return lambda facts: not bits or facts.status().st_mode & bits != 0
    return lambda facts: facts.status().st_mode & 0o7777 == bits


def links(text: str) -> Test:
    """How many names it has.  Raises ValueError."""
    compare = number(text)
    return lambda facts: compare(facts.status().st_nlink)


def inode(text: str) -> Test:
    """Its inode's number.  Raises ValueError."""
    compare = number(text)
    return lambda facts: compare(facts.status().st_ino)


def owner(text: str, group: bool) -> Test:
    """The owner or the group, by number.  Raises ValueError."""
    compare = number(text)
    return lambda facts: compare(facts.status().st_gid if group else facts.status().st_uid)


def empty(facts: Facts) -> bool:
    """An empty file, or a directory with nothing in it."""
    if facts.node.kind == S_IFDIR:
        return next(facts.node.entries(), None) is None
    return facts.node.kind == S_IFREG and facts.status().st_size == 0
