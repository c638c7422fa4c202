"""Options of IPv4 headers (RFC 791 section 3.1): which packets to refuse, and which options fragments repeat."""

from typing import Final

END: Final = 0
NOP: Final = 1
LOOSE_SOURCE_ROUTE: Final = 131
STRICT_SOURCE_ROUTE: Final = 137
COPIED: Final = 0x80

OPTIONS_FINE: Final = -1
SOURCE_ROUTED: Final = -2


def check_options(head: bytes, start: int, end: int) -> int:
    """Look at the options in head[start:end]: OPTIONS_FINE, SOURCE_ROUTED (nobody may steer packets through us,
    RFC 7126 section 4.3), or the position in `head` of a length that is below 2 or runs past the header."""
    at = start
    while at < end:
        kind = head[at]
        if kind == END:
            return OPTIONS_FINE
        if kind == NOP:
            at += 1
            continue
        if at + 1 >= end:
            return at
        size = head[at + 1]
        if size < 2 or at + size > end:
            return at + 1
        if kind == LOOSE_SOURCE_ROUTE or kind == STRICT_SOURCE_ROUTE:
            return SOURCE_ROUTED
        at += size
    return OPTIONS_FINE


def copied_options(options: bytes) -> bytes:
    """The options that every fragment repeats, padded; `options` was checked before."""
    out = b""
    at = 0
    while at < len(options) and options[at] != END:
        size = 1 if options[at] == NOP else options[at + 1]
        if options[at] & COPIED:
            out += options[at : at + size]
        at += size
    return out + bytes(-len(out) % 4)
