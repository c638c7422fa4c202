"""The formats of `rump fs find -printf`: what a file is like, as text."""

import re
import stat
from collections.abc import Callable
from typing import Final

from ...compose.image.manifest import LETTERS
from .show import instant, target_of
from .tests import Facts

Piece = Callable[[Facts], bytes]

ESCAPES: Final = {
    "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\", "a": b"\a", "r": b"\r", "v": b"\v", "f": b"\f", "b": b"\b"
}  # fmt: skip
DIRECTIVES: Final[dict[str, Piece]] = {
    "%": lambda facts: b"%",
    "p": lambda facts: facts.path,
    "P": lambda facts: _below(facts),
    "f": lambda facts: facts.name,
    "h": lambda facts: _above(facts.path),
    "d": lambda facts: b"%d" % facts.visit.depth,
    "y": lambda facts: LETTERS.get(facts.node.kind, "?").encode(),
    "m": lambda facts: b"%o" % (facts.status().st_mode & 0o7777),
    "M": lambda facts: stat.filemode(facts.status().st_mode).encode(),
    "s": lambda facts: b"%d" % facts.status().st_size,
    "k": lambda facts: b"%d" % -(-facts.status().st_blocks // 2),
    "b": lambda facts: b"%d" % facts.status().st_blocks,
    "n": lambda facts: b"%d" % facts.status().st_nlink,
    "i": lambda facts: b"%d" % facts.status().st_ino,
    "u": lambda facts: b"%d" % facts.status().st_uid,
    "U": lambda facts: b"%d" % facts.status().st_uid,
    "g": lambda facts: b"%d" % facts.status().st_gid,
    "G": lambda facts: b"%d" % facts.status().st_gid,
    "l": lambda facts: target_of(facts.node) if facts.node.kind == stat.S_IFLNK else b"",
    "t": lambda facts: instant(facts.status().st_mtime_ns).encode(),
    "T@": lambda facts: b"%d.%09d" % divmod(facts.status().st_mtime_ns, 10**9),
}
_PART: Final = re.compile(r"\\(.)|%(T@|.)|([^\\%]+)", re.DOTALL)


def _above(path: bytes) -> bytes:
    """The directory of a path, which stays an address."""
    head, slash, _ = path.rpartition(b"/")
    return head + slash if not head or head.endswith(b":") else head


def _below(facts: Facts) -> bytes:
    """The path from where the walk began."""
    return b"/".join(facts.path.rsplit(b"/", facts.visit.depth)[1:]) if facts.visit.depth else b""


def parse_format(text: str) -> Piece:
    """What prints a file so.  Raises ValueError for an escape or directive that is not known."""
    pieces: list[Piece | bytes] = []
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            raise ValueError(f"{text!r} ends within a directive")
        escape, directive, plain = found.groups()
        if plain is not None:
            pieces.append(plain.encode("utf-8", "surrogateescape"))
        elif escape is not None:
            if escape not in ESCAPES:
                raise ValueError(f"\\{escape} is no escape (those are {' '.join(ESCAPES)} behind a backslash)")
            pieces.append(ESCAPES[escape])
        else:
            if directive not in DIRECTIVES:
                raise ValueError(f"%{directive} is no directive (those are %{', %'.join(DIRECTIVES)})")
            pieces.append(DIRECTIVES[directive])
        at = found.end()
    return lambda facts: b"".join(piece if isinstance(piece, bytes) else piece(facts) for piece in pieces)
