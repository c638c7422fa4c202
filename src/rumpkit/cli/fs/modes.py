"""Modes as chmod takes them: octal, or symbolic as POSIX has them."""

import re
from collections.abc import Callable
from typing import Final

_CLAUSE: Final = re.compile(r"([ugoa]*)((?:[-+=][rwxXst]*|[-+=][ugo])+)")
_WHO: Final = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}
_BITS: Final = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}
_SHIFTS: Final = {"u": 6, "g": 3, "o": 0}

Change = Callable[[int, bool], int]
"""From the old permission bits, and whether it is a directory, to the new ones."""


def parse_mode(text: str, mask: int = 0o022) -> Change:
    """What a mode does.  `mask` holds back what no letter of "ugoa" asks for.  Raises ValueError."""
    if re.fullmatch("[0-7]{1,4}", text):
        bits = int(text, 8)
        # As GNU has it: fewer than five digits leave a directory's set-ID bits.
        return lambda old, directory: bits | (old & 0o6000 if directory else 0)
    clauses = []
    for part in text.split(","):
        found = _CLAUSE.fullmatch(part)
        if found is None:
            raise ValueError(f"{text!r} is no mode such as 644 or u+rwX,go-w")
        who, actions = found.groups()
        clauses.append((who, re.findall(r"([-+=])([rwxXst]+|[ugo]|)", actions)))

    def change(old: int, directory: bool) -> int:
        for who, actions in clauses:
            for action, letters in actions:
                old = _apply(old, who, action, letters, directory, mask)
        return old

    return change


def _apply(old: int, who: str, action: str, letters: str, directory: bool, mask: int) -> int:
    reach = 0
    for letter in who or "a":
        reach |= _WHO[letter]
    if not who:
        reach &= ~mask
    bits = 0
    for letter in letters:
        if letter in _SHIFTS:
            copied = old >> _SHIFTS[letter] & 7
            bits |= copied << 6 | copied << 3 | copied
        elif letter == "X":
            bits |= 0o111 if directory or old & 0o111 else 0
        else:
            bits |= _BITS[letter]
    bits &= reach
    if action == "+":
        return old | bits
    if action == "-":
        return old & ~bits
    kept = 0o6000 if directory else 0
    return old & ~(reach & ~kept) | bits
